//! The errors of requests to MISP (`RestError`), and what an answer with another status than 200 means. Such
//! an answer may come from MISP or from a proxy in front of it. Pure.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

/// The reason why a request failed. It holds neither the key nor any body, only MISP's own words.
#[derive(
    Debug, Clone, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum RestError {
    /// 401, 403 or 405: MISP refuses the key, its user or its role.
    #[error("MISP refuses {url} ({status}): {words}; {advice}")]
    Refused { url: String, status: u16, words: String, advice: &'static str },
    /// The request was redirected to MISP's login page.
    #[error(
        "MISP is not live: {url} leads to its login page; only site administrators get in until \
         MISP.live is true again (or misp.url is not MISP itself)"
    )]
    NotLive { url: String },
    #[error("{url} is redirected to {to}; set misp.url to the address that MISP itself answers at")]
    Redirected { url: String, to: String },
    #[error(
        "MISP's rate limit for the key's role is used up for {}; raise rate_limit_count of the \
         role, or take the limit off it",
        humantime::format_duration(Duration::from_secs(after.as_secs()))
    )]
    RateLimited { after: Duration },
    #[error(
        "{url} is answered with a web page ({status}, {title:?}) instead of JSON; misp.url must \
         lead to MISP past the sign-in of any reverse proxy"
    )]
    Html { url: String, status: u16, title: String },
    /// The status was 5xx.
    #[error("MISP failed at {url} ({status}): {words}; app/tmp/logs/error.log of MISP says why")]
    Failed { url: String, status: u16, words: String },
    /// The answer had any other status.
    #[error("MISP does not accept {url} ({status}): {words}; is misp.url the address of MISP?")]
    Unexpected { url: String, status: u16, words: String },
    #[error("MISP is not reached at {url}: {why}; check misp.url, name resolution and the proxy")]
    Unreachable { url: String, why: String },
    #[error("MISP's certificate is not trusted at {url}: {why}; {advice}")]
    Untrusted { url: String, why: String, advice: &'static str },
    #[error(
        "MISP said nothing at {url} for {}; ask for less (misp.rest.page_attributes) or wait \
         longer (misp.rest.request_timeout)",
        humantime::format_duration(*waited)
    )]
    Silent { url: String, waited: Duration },
    /// The answer kept arriving, but did not end in time.
    #[error(
        "MISP's answer at {url} did not end within {}; look for what slows it down on the way, ask for \
         less (misp.rest.page_attributes), or wait longer (misp.rest.answer_timeout)",
        humantime::format_duration(*waited)
    )]
    Dripping { url: String, waited: Duration },
    #[error(
        "MISP prints warnings of PHP into its answers ({url}: {words}): set debug to 0 in MISP \
         (Administration > Server Settings > MISP > debug), and display_errors = Off in its php.ini"
    )]
    PhpWarning { url: String, words: String },
    /// The answer was cut off: by a reset, by the end of the connection, or inside the compression.
    #[error("the answer to {url} broke off: {why}")]
    BrokeOff { url: String, why: String },
    #[error("the answer to {url} is not MISP's: {why}")]
    Malformed { url: String, why: String },
    /// A large event could not be written to the data folder, from which it is read part by part.
    #[error(
        "a large event cannot be kept in {folder} while it is read: {why}; free space there: an event needs as \
         much as misp.rest.max_event allows"
    )]
    Unspooled { folder: String, why: String },
    /// This event is skipped. The answer continues.
    #[error(
        "{} is larger than misp.rest.max_event ({} bytes)",
        event.map_or_else(|| "an event".to_owned(), |uuid| format!("event {uuid}")),
        most
    )]
    TooLarge { event: Option<Uuid>, most: usize },
    #[error("MISP's listing changes under the relay: {why}; it is listed again later")]
    Unstable { why: &'static str },
    /// The listing cannot be shown to be whole, so nothing may be withdrawn because of it.
    #[error(
        "MISP tells no X-Result-Count, and a page brought nothing: the listing cannot be told to be \
         whole, and nothing is withdrawn by it; let every proxy before MISP pass this header on"
    )]
    Uncounted,
}

impl RestError {
    /// Returns the name of the error in metrics and in `status`.
    pub fn word(&self) -> &'static str {
        self.into()
    }

    /// Returns whether one of the requested events may be the cause: MISP fails at it, writes something else
    /// than JSON into its answer, or it is too large for the disk.
    pub fn may_be_of_one_event(&self) -> bool {
        matches!(
            self,
            Self::Failed { .. }
                | Self::Silent { .. }
                | Self::Dripping { .. }
                | Self::PhpWarning { .. }
                | Self::BrokeOff { .. }
                | Self::Malformed { .. }
                | Self::Html { .. }
                | Self::Unexpected { .. }
                | Self::Unspooled { .. }
        )
    }

    /// Returns whether it is a failure of the network or the server that may pass in a moment.
    pub fn may_pass(&self) -> bool {
        self.is_overload()
            || matches!(
                self,
                Self::Unreachable { .. }
                    | Self::Silent { .. }
                    | Self::Dripping { .. }
                    | Self::BrokeOff { .. }
            )
    }

    /// Returns whether a smaller request may help, because MISP ran out of memory or time.
    pub(super) fn is_too_much(&self) -> bool {
        self.took_long() || self.is_overload()
    }

    fn is_overload(&self) -> bool {
        matches!(self, Self::Failed { status, .. } if OVERLOADED.contains(status))
    }

    pub(super) fn took_long(&self) -> bool {
        matches!(
            self,
            Self::Silent { .. }
                | Self::Dripping { .. }
                | Self::Failed { status: GATEWAY_TIMEOUT, .. }
        )
    }
}

/// The status with which a proxy answers when MISP did not answer in time.
const GATEWAY_TIMEOUT: u16 = 504;

/// The statuses with which MISP, its web server or a proxy answers if a request was too much or MISP is down.
const OVERLOADED: [u16; 4] = [500, 502, 503, 504];

/// Makes the error for an answer with another status than 200. `wait` is the time to wait, from a header or
/// else from the settings. `body` holds the first bytes of the body.
pub(super) fn refusal(
    url: &str,
    status: u16,
    location: Option<&str>,
    wait: Duration,
    body: &[u8],
) -> RestError {
    let url = url.to_owned();
    match status {
        300..=399 => redirect(url, location.unwrap_or_default()),
        429 => RestError::RateLimited { after: wait },
        500..=599 => RestError::Failed { url, status, words: any_words(body) },
        _ if is_html(body) => RestError::Html { url, status, title: title(body) },
        401 | 403 => refused(url, status, any_words(body)),
        405 => match words(body) {
            // MISP's status for a role that may not search at all (rate_limit_count 0).
            Some(words) => refused(url, status, words),
            None => RestError::Unexpected { url, status, words: any_words(body) },
        },
        _ => RestError::Unexpected { url, status, words: any_words(body) },
    }
}

fn refused(url: String, status: u16, words: String) -> RestError {
    let advice = advice(&words);
    RestError::Refused { url, status, words, advice }
}

fn redirect(url: String, location: &str) -> RestError {
    // The query and the fragment are of no use in a message, and may hold a secret.
    let to = location.split(['?', '#']).next().unwrap_or_default();
    if to.trim_end_matches('/').ends_with("/users/login") {
        RestError::NotLive { url }
    } else {
        RestError::Redirected { url, to: shortened(to) }
    }
}

/// Returns advice for people. The program must not rely on it, because MISP answers a wrong key and a lack of
/// rights with the same status.
fn advice(words: &str) -> &'static str {
    let lower = words.to_lowercase();
    let is_about = |word: &str| lower.contains(word);
    if is_about("permission") || is_about("not authorised") || is_about("not allowed") {
        "the role of the key's user does not allow it: give it a role with \"Auth key access\", \
         such as Read Only"
    } else if is_about("ip address") {
        "add the relay's address to the key's allowed IPs"
    } else if is_about("disabled") {
        "enable the user, or use the key of another"
    } else {
        "set misp.key to a valid authentication key (Global Actions > My Profile > Auth keys); it \
         may be expired or mistyped"
    }
}

/// Returns MISP's own words, or the title of a web page, or the beginning of the body.
fn any_words(body: &[u8]) -> String {
    if is_html(body) {
        return format!("a web page, {:?}", title(body));
    }
    words(body).unwrap_or_else(|| match body.trim_ascii() {
        [] => "no words".to_owned(),
        some => shortened(&String::from_utf8_lossy(some)),
    })
}

/// Returns the words of an error of MISP: `{"name": …, "message": …, "url": …}`.
pub(super) fn words(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    text("message").or_else(|| text("name")).map(shortened)
}

/// Returns whether MISP says that the event does not exist: the body is its JSON for exactly this path.
pub(super) fn is_no_such_event(path: &str, body: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return false };
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    // "Not Found" is MISP's name for unknown paths. The other names are in the language of the MISP.
    let named = text("name").is_some_and(|name| name != "Not Found");
    named && text("message").is_some() && text("url").is_some_and(|url| url.ends_with(path))
}

/// Returns whether a body begins like a web page (or like PHP's warnings). JSON never begins so.
pub(super) fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

/// Returns PHP's own message (`display_errors`), as HTML or as plain text, from the beginning of a body.
pub(super) fn php_warning(body: &[u8]) -> Option<String> {
    const KINDS: [&str; 6] = [
        "Warning: ",
        "Notice: ",
        "Deprecated: ",
        "Fatal error: ",
        "Parse error: ",
        "Strict Standards: ",
    ];
    let begun = String::from_utf8_lossy(body.get(..4 << 10).unwrap_or(body));
    let text = shortened(&without_tags(&begun));
    let is_php = |kind: &&str| text.replacen(" : ", ": ", 1).starts_with(*kind);
    let names_a_file = begun.contains(" on line ");
    (KINDS.iter().any(is_php) && names_a_file).then_some(text)
}

/// Returns the title of a web page, or else its first words.
pub(super) fn title(body: &[u8]) -> String {
    let page = String::from_utf8_lossy(body);
    let lower = page.to_ascii_lowercase();
    let inside = lower.find("<title").and_then(|at| {
        let begin = at + lower.get(at..)?.find('>')? + 1;
        let end = begin + lower.get(begin..)?.find("</title")?;
        page.get(begin..end)
    });
    let shown = inside.map(shortened).filter(|title| !title.is_empty());
    shown.unwrap_or_else(|| shortened(&without_tags(&page)))
}

fn without_tags(page: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for character in page.chars() {
        match character {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                text.push(' ');
            }
            other if !in_tag => text.push(other),
            _ => {}
        }
    }
    text
}

/// Returns the first words in one line, without control characters.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 160;
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of a MISP 2.5.1: status, `Location` and body.
    fn recorded(name: &str) -> (u16, Option<String>, Vec<u8>) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/rest-api");
        let answer = std::fs::read(format!("{folder}/{name}.response.http")).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let location = head.lines().find_map(|line| line.strip_prefix("Location: "));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, location.map(str::to_owned), answer[end + 4..].to_vec())
    }

    fn of(status: u16, location: Option<&str>, body: &[u8]) -> RestError {
        refusal("/p", status, location, Duration::from_secs(900), body)
    }

    fn of_recorded(name: &str) -> RestError {
        let (status, location, body) = recorded(name);
        of(status, location.as_deref(), &body)
    }

    /// The advice of an error.
    fn told(error: &RestError) -> String {
        error.to_string()
    }

    #[test]
    fn each_recorded_refusal_is_told_with_its_remedy() {
        for (name, word, parts) in [
            ("notlive_readonly", "not_live", ["MISP is not live", "/p"]),
            ("publish_as_readonly", "refused", ["You do not have permission", "give it a role"]),
            ("servers_getVersion_wrongkey", "refused", ["Authentication failed", "set misp.key"]),
            ("ratelimit_3", "rate_limited", ["for 15m", "rate_limit_count"]),
            ("nosuch_endpoint", "unexpected", ["404", "Not Found"]),
        ] {
            let error = of_recorded(name);
            assert_eq!(error.word(), word, "{name}");
            for part in parts {
                assert!(told(&error).contains(part), "{name}: {error}");
            }
        }
    }

    #[test]
    fn a_status_decides_what_an_answer_is() {
        let json = br#"{"name":"no"}"#;
        let page = b"<html><title>Sign in</title></html>";
        for (status, body, word) in [
            (302, &json[..], "redirected"),
            (429, json, "rate_limited"),
            (500, json, "failed"),
            (503, page, "failed"),
            (401, json, "refused"),
            (403, json, "refused"),
            (403, page, "html"),
            (405, json, "refused"),
            (405, b"", "unexpected"),
            (404, json, "unexpected"),
            (404, page, "html"),
        ] {
            assert_eq!(of(status, None, body).word(), word, "{status}");
        }
    }

    #[test]
    fn a_redirection_shows_no_query() {
        let error = of(302, Some("https://misp.example/events?key=secret#x"), b"");
        assert!(told(&error).contains("https://misp.example/events;"), "{error}");
        assert_eq!(of(302, Some("/users/login/"), b"").word(), "not_live");
        assert_eq!(of(302, Some("/users/login?next=/events"), b"").word(), "not_live");
    }

    #[test]
    fn advice_follows_what_misp_says() {
        for (words, remedy) in [
            ("You do not have permission to use this functionality.", "give it a role"),
            ("You are not authorised.", "give it a role"),
            ("This is not allowed.", "give it a role"),
            ("It is not possible to use this Auth key from your IP address", "allowed IPs"),
            ("Your user account has been disabled.", "enable the user"),
            ("Authentication failed.", "set misp.key"),
        ] {
            assert!(advice(words).contains(remedy), "{words}: {}", advice(words));
        }
    }

    #[test]
    fn whether_it_passes_or_is_too_much_follows_from_its_kind() {
        let failed = |status| of(status, None, b"");
        for status in [500, 502, 503, 504] {
            assert!(failed(status).may_pass() && failed(status).is_too_much(), "{status}");
        }
        assert!(!failed(501).may_pass() && !failed(501).is_too_much());
        assert!(failed(504).took_long() && !failed(500).took_long());
        let url = || "/p".to_owned();
        let silent = RestError::Silent { url: url(), waited: Duration::from_secs(1) };
        let dripping = RestError::Dripping { url: url(), waited: Duration::from_secs(1) };
        for slow in [silent, dripping] {
            assert!(slow.may_pass() && slow.is_too_much() && slow.took_long(), "{slow}");
            assert!(slow.may_be_of_one_event(), "{slow}");
        }
        let away = RestError::Unreachable { url: url(), why: "refused".to_owned() };
        assert!(away.may_pass() && !away.is_too_much() && !away.may_be_of_one_event());
        let refused = of(403, None, b"");
        assert!(!refused.may_pass() && !refused.may_be_of_one_event() && !refused.is_too_much());
        assert!(failed(500).may_be_of_one_event());
    }

    #[test]
    fn a_missing_event_is_named_by_its_own_path_only() {
        let missing = recorded("events_view_missing").2;
        assert!(is_no_such_event("/events/view/999999", &missing));
        assert!(!is_no_such_event("/events/view/7", &missing));
        assert!(!is_no_such_event("/nosuch/endpoint", &recorded("nosuch_endpoint").2));
        let url = "/events/view/7";
        for other in [
            r#"{"name":"x","url":"/events/view/7"}"#,
            r#"{"message":"x","url":"/events/view/7"}"#,
            "<html>",
        ] {
            assert!(!is_no_such_event(url, other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn words_are_misps_message_then_its_name_then_the_body() {
        assert_eq!(any_words(br#"{"name":"n","message":"m"}"#), "m");
        assert_eq!(any_words(br#"{"name":"n"}"#), "n");
        assert_eq!(any_words(b" \n"), "no words");
        assert_eq!(any_words(b"upstream\r\n\x07 timed out"), "upstream timed out");
        assert_eq!(any_words(b" <HTML><TITLE>Bad gateway</TITLE>"), "a web page, \"Bad gateway\"");
        assert_eq!(words(b"[]"), None);
    }

    /// The two forms of `display_errors` (php-src, main.c): with and without `html_errors`.
    #[test]
    fn a_warning_of_php_is_told_from_a_page_and_from_other_text() {
        let html = b"<br />\n<b>Warning</b>:  Undefined array key 1 in <b>/var/a.php</b> on line \
                     <b>12</b><br />\n{\"response\":[]}";
        let told = php_warning(html).unwrap();
        assert!(
            told.starts_with("Warning : Undefined array key 1 in /var/a.php on line 12"),
            "{told}"
        );
        let text = b"\nDeprecated: Function f() is deprecated in /var/a.php on line 3\n{}";
        assert!(php_warning(text).unwrap().starts_with("Deprecated: Function f()"));
        for other in
            ["", "{\"response\":[]}", "Warning: the disk is full", "<p>error on line 3</p>"]
        {
            assert_eq!(php_warning(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_page_is_told_by_its_title_or_its_first_words() {
        assert!(is_html(b"\n <!DOCTYPE html>"));
        assert!(!is_html(b"{\"a\":\"<\"}") && !is_html(b""));
        assert_eq!(title(b"<title lang=\"en\">Sign\n in</title><p>x"), "Sign in");
        assert_eq!(title(b"<title></title><b>Hello</b>there"), "Hello there");
        assert_eq!(title(b"<p>no title"), "no title");
        assert_eq!(title(b"<title>never closed"), "never closed");
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let long = "é".repeat(161);
        assert_eq!(shortened(&long), format!("{}…", "é".repeat(160)));
        assert_eq!(shortened(&"é".repeat(160)), "é".repeat(160));
    }
}
