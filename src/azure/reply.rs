//! Parses an answer of Sentinel's services. Bodies have several shapes, and some are not JSON. Pure.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use serde_json::{Map, Value};

/// The longest wait that an answer can ask for. A retry after an hour costs only one request.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The most characters of a body without JSON that are quoted.
const QUOTED: usize = 300;

/// Returns whether the same request may succeed in a moment.
pub fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// The parts of an HTTP answer that matter here.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The header `Date`.
    pub date: Option<String>,
    /// The header `x-ms-error-code`.
    pub error_code: Option<String>,
    /// The header `Content-Type`.
    pub content_type: Option<String>,
    pub body: Vec<u8>,
    /// Whether the body was longer than its reader accepts, and was cut.
    pub is_cut: bool,
}

impl Reply {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// Returns the answer in one line: status, code, message and activity id, or else the start of the body
    /// without markup.
    pub fn words(&self) -> String {
        let Failure { code, message, activity_id, complaints } = Failure::read(&self.body);
        let mut line = format!("HTTP {}", self.status);
        if let Some(code) = code.or_else(|| self.error_code.clone()) {
            line.push_str(&format!(" {code}"));
        }
        let listed = || {
            let first = complaints.iter().take(3);
            first.map(|one| format!("record {}: {}", one.place, one.words)).collect::<Vec<_>>()
        };
        let message = message.or_else(|| Some(listed().join("; ")).filter(|text| !text.is_empty()));
        let message = one_line(&message.unwrap_or_else(|| plain(&self.body)));
        if !message.is_empty() {
            line.push_str(&format!(": {message}"));
        }
        if let Some(activity) = activity_id {
            line.push_str(&format!(" (activityId {activity})"));
        }
        line
    }

    /// Returns the time of the header `Date` (RFC 9110, 6.6.1).
    pub fn date(&self) -> Option<DateTime<FixedOffset>> {
        DateTime::parse_from_rfc2822(self.date.as_deref()?.trim()).ok()
    }

    /// Returns how long the answer asks to wait: `Retry-After` in seconds or as a date, or else the number in
    /// the gateway's message. A date counts from the answer's own `Date`, since our clock may be wrong.
    pub fn wait(&self) -> Option<Duration> {
        let told = self.retry_after.as_deref().and_then(|header| {
            let header = header.trim();
            header.parse().ok().map(Duration::from_secs).or_else(|| until(header, self))
        });
        told.or_else(|| seconds_in_message(&self.body)).map(|wait| wait.min(LONGEST_WAIT))
    }
}

/// The kinds of bodies of a 2xx.
#[derive(Debug)]
pub enum Body {
    /// The API's own answer: empty, `null`, or an object with `errors`.
    Complaints(Vec<Complaint>),
    /// The API's answer, but cut or broken, or with `errors` that are no list.
    Unreadable,
    /// Other JSON, declared as JSON, without an error.
    OtherJson,
    /// Anything else, such as a web page or the error of another program.
    Other,
}

impl Body {
    /// Reads the body of a 2xx.
    pub fn of(reply: &Reply) -> Self {
        let body = reply.body.trim_ascii();
        if body.is_empty() || body == b"null" {
            return Self::Complaints(Vec::new());
        }
        let is_json = is_json(reply);
        let other = if is_json { Self::OtherJson } else { Self::Other };
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => match (told(&members, "error"), members.get("errors")) {
                (Some(_), _) => Self::Other,
                (None, None) => other,
                (None, Some(Value::Null)) => Self::Complaints(Vec::new()),
                (None, Some(Value::Array(list))) => {
                    Self::Complaints(list.iter().map(Complaint::read).collect())
                }
                (None, Some(_)) => Self::Unreadable,
            },
            Ok(_) => other,
            // The answer was cut, or Microsoft's JSON is broken: it is still the API's and not another program's.
            Err(_) if is_json && body.starts_with(b"{") => Self::Unreadable,
            Err(_) => Self::Other,
        }
    }

    /// Returns whether an answer with an undocumented 2xx may still come from the API.
    pub fn may_be_api(&self, reply: &Reply) -> bool {
        match self {
            Self::Other => false,
            Self::OtherJson => true,
            Self::Complaints(_) | Self::Unreadable => {
                is_json(reply) || reply.body.trim_ascii().is_empty()
            }
        }
    }
}

fn is_json(reply: &Reply) -> bool {
    let declared = reply.content_type.as_deref().unwrap_or_default();
    let kind = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// Returns a member that is there and not `null`.
fn told<'v>(members: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    members.get(name).filter(|value| !value.is_null())
}

/// One entry of `errors`. Everything in it that can be read counts: a service that writes `null` for an
/// empty list still names the record.
#[derive(Debug)]
pub struct Complaint {
    /// The record's position in the request.
    pub record: Option<usize>,
    /// The record's position as the answer spells it.
    pub place: String,
    pub words: String,
}

impl Complaint {
    fn read(entry: &Value) -> Self {
        // The article and the swagger name the list differently.
        let lists = ["errorMessages", "validationErrorMessages"].iter();
        let words = match entry.as_object() {
            Some(members) => lists.filter_map(|name| members.get(*name)).flat_map(texts).collect(),
            None => texts(entry),
        };
        let words = if words.is_empty() { "no reason given".to_owned() } else { words.join("; ") };
        let index = entry.get("recordIndex").unwrap_or(&Value::Null);
        let number = index.as_u64().or_else(|| index.as_str()?.trim().parse().ok());
        let record = number.and_then(|number| usize::try_from(number).ok());
        Self { record, place: index.to_string(), words }
    }
}

/// Returns the texts of a list or of a single value without the empty ones.
fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let said = all.iter().filter(|one| !one.is_null());
    let texts = said.map(|one| one.as_str().map_or_else(|| one.to_string(), one_line));
    texts.filter(|text| !text.is_empty()).collect()
}

/// A failure in one of three shapes: `{"statusCode","message","activityId"}` of the gateway,
/// `{"error":{"code","message"}}` of the service, or `{"errors":[…]}` where no record was good. A body of
/// another shape makes an empty failure.
#[derive(Debug, Default)]
struct Failure {
    code: Option<String>,
    message: Option<String>,
    activity_id: Option<String>,
    complaints: Vec<Complaint>,
}

impl Failure {
    fn read(body: &[u8]) -> Self {
        let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
            return Self::default();
        };
        let text = |members: &Map<String, Value>, name: &str| {
            members.get(name).and_then(Value::as_str).map(str::to_owned)
        };
        let inner = members.get("error").and_then(Value::as_object);
        let of_inner = |name: &str| inner.and_then(|inner| text(inner, name));
        let entries = members.get("errors").and_then(Value::as_array);
        Self {
            code: of_inner("code"),
            message: of_inner("message").or_else(|| text(&members, "message")),
            activity_id: text(&members, "activityId"),
            complaints: entries.into_iter().flatten().map(Complaint::read).collect(),
        }
    }
}

fn until(header: &str, reply: &Reply) -> Option<Duration> {
    let until = DateTime::parse_from_rfc2822(header).ok()?;
    Some((until - reply.date()?).to_std().unwrap_or(Duration::ZERO))
}

/// Reads the gateway's "Rate limit is exceeded. Try again in <n> seconds."
fn seconds_in_message(body: &[u8]) -> Option<Duration> {
    let message = Failure::read(body).message?.to_ascii_lowercase();
    let (_, after) = message.split_once("try again in ")?;
    let number: String = after.chars().take_while(char::is_ascii_digit).collect();
    number.parse().ok().map(Duration::from_secs)
}

/// Returns the text of a body that is no JSON we know, without tags and cut.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut pieces = text.split('<');
    let first = pieces.next().unwrap_or_default();
    // Every other piece begins with a tag. A tag without an end hides what follows it.
    let others = pieces.map(|piece| piece.split_once('>').map_or("", |(_, text)| text));
    one_line(&[first].into_iter().chain(others).collect::<Vec<_>>().join(" "))
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= QUOTED {
        return line;
    }
    line.chars().take(QUOTED).chain(['…']).collect()
}
