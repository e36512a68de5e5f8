//! A model of Sentinel's built-in "TI map" rules: which values a rule takes from an indicator, and when they
//! equal a value in the log. It was written from the published rules (solution 3.0.17). It shares no code
//! with the relay and contains none of the rules' text.

use regex::Regex;
use serde_json::Value;

/// What rules read of an indicator.
#[derive(Debug, Clone)]
pub(super) struct Indicator {
    /// `ObservableKey`, e.g. `url:value`.
    pub(super) key: String,
    /// `ObservableValue`.
    pub(super) value: String,
    pub(super) confidence: i64,
    pub(super) description: String,
}

impl Indicator {
    /// Sentinel fills key and value only for a pattern of one comparison.
    pub(super) fn read(stix: &Value) -> Option<Self> {
        let pattern = stix["pattern"].as_str()?;
        let (key, value) = pattern.strip_prefix('[')?.strip_suffix(']')?.split_once(" = ")?;
        let quoted = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
        let value = quoted.unwrap_or(value).replace("\\'", "'").replace("\\\\", "\\");
        Some(Self {
            key: key.to_owned(),
            value,
            confidence: stix["confidence"].as_i64()?,
            description: stix["description"].as_str().unwrap_or_default().to_owned(),
        })
    }

    fn is_of(&self, types: &[&str]) -> bool {
        let kind = self.key.split(':').next().unwrap_or_default();
        types.contains(&kind)
    }
}

/// How a log came to hold something: what its row says is made of this.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fact {
    /// A URL as somebody wrote it into a mail or a text, and requested it.
    Url(&'static str),
    /// A host that was looked up and visited, a mail's sender domain.
    Host(&'static str),
    Address(&'static str),
    /// An e-mail address, or a user's name.
    Mailbox(&'static str),
    /// The hash of a file, in hexadecimal digits.
    Md5(&'static str),
    Sha1(&'static str),
    Sha256(&'static str),
}

/// A rule, or several that compare alike.
pub(super) struct Rule {
    pub(super) name: &'static str,
    /// What a row of its log holds of a fact; empty: nothing.
    pub(super) logs: fn(Fact) -> Vec<String>,
    takes: fn(&Indicator) -> Option<String>,
    equals: fn(&str, &str) -> bool,
    /// It passes over indicators with a lower or the same confidence.
    above: i64,
    /// It passes over indicators whose description says an inactive state.
    heeds_state: bool,
}

impl Rule {
    /// Whether it alarms on a row of its log that holds `log`.
    pub(super) fn matches(&self, indicator: &Indicator, log: &str) -> bool {
        let silenced = self.heeds_state
            && ["State: inactive;", "State: falsepos;"]
                .iter()
                .any(|state| indicator.description.contains(state));
        let taken = (self.takes)(indicator).filter(|value| !value.is_empty());
        !silenced
            && indicator.confidence > self.above
            && taken.is_some_and(|value| (self.equals)(&value, log))
    }
}

const fn rule(
    name: &'static str,
    takes: fn(&Indicator) -> Option<String>,
    equals: fn(&str, &str) -> bool,
    logs: fn(Fact) -> Vec<String>,
) -> Rule {
    Rule { name, logs, takes, equals, above: -1, heeds_state: false }
}

/// The same, and it heeds the state.
const fn heeding(
    name: &'static str,
    takes: fn(&Indicator) -> Option<String>,
    equals: fn(&str, &str) -> bool,
    logs: fn(Fact) -> Vec<String>,
) -> Rule {
    Rule { name, logs, takes, equals, above: -1, heeds_state: true }
}

pub(super) static RULES: &[Rule] = &[
    rule("URL EmailUrlInfo", url, no_capital, written),
    rule("URL EmailUrlInfo (domain rule)", url, any_case, written),
    rule(
        "URL UrlClickEvents",
        url,
        |value, log| value == log || value == log.to_lowercase(),
        written,
    ),
    heeding("URL DeviceNetworkEvents", url, |value, log| value.to_lowercase() == log, written),
    rule("URL PaloAlto", url, same, palo_alto),
    rule("URL Syslog", url, in_text, text),
    rule("URL CloudAppEvents", url, in_text, json_text),
    heeding("URL SecurityAlert", url, no_capital, written),
    rule("URL imWebSession", url, any_case, requested),
    heeding("Domain DeviceNetworkEvents", domain, host_of_lower, visited),
    rule("Domain PaloAlto", domain, host_of_lower, palo_alto_host),
    rule("Domain DnsEvents", domain, |value, log| value.to_lowercase() == log, looked_up),
    rule("Domain imDns", domain, same, looked_up),
    heeding("Domain EmailEvents", domain, any_case, looked_up),
    rule("Domain EmailUrlInfo", domain, any_case, looked_up),
    heeding("Domain SecurityAlert", domain, host_in_alert, host_in_json),
    rule("Domain Syslog", domain, first_host, host_in_text),
    rule("Domain imWebSession", host, |value, log| host_of(log) == value, visited),
    rule("IP public (11 rules)", address, |value, log| is_public(value) && upper(value, log), seen),
    rule(
        "IP any (sign-ins, network sessions, Duo, Workday, GitHub, CloudAppEvents)",
        address,
        upper,
        seen,
    ),
    heeding("IP DeviceNetworkEvents", address, upper, seen),
    heeding("IP OfficeActivity", address, upper, seen),
    Rule {
        above: 50,
        ..rule("IP AppService", address, |value, log| is_public(value) && value == log, seen)
    },
    rule("IP imDns", ipv4, same, seen),
    rule("Email EmailEvents", mailbox, any_case, mailed),
    rule(
        "Email lower-case logs (5 rules)",
        mailbox,
        |value, log| value == log.to_lowercase(),
        mailed,
    ),
    heeding("Email OfficeActivity", mailbox, same, mailed),
    rule("Email CloudAppEvents", mailbox, same, mailed),
    rule(
        "Hash CommonSecurityLog",
        file,
        |value, log| value.to_lowercase() == log || value.to_uppercase() == log,
        any_hash,
    ),
    heeding("Hash DeviceFileEvents", file, same, device_hash),
    rule("Hash SecurityEvent", file, any_case, applocker_hash),
];

// What a rule takes of an indicator.

fn taken(indicator: &Indicator, types: &[&str]) -> Option<String> {
    indicator.is_of(types).then(|| indicator.value.clone())
}

fn url(indicator: &Indicator) -> Option<String> {
    taken(indicator, &["url"])
}

fn domain(indicator: &Indicator) -> Option<String> {
    taken(indicator, &["domain-name"])
}

/// From version 1.0.12 on the rule takes a URL for its host.
fn host(indicator: &Indicator) -> Option<String> {
    match indicator.key.as_str() {
        "domain-name:value" => Some(indicator.value.to_lowercase()),
        "url:value" => indicator.value.split(['/', '?', '@']).nth(2).map(str::to_owned),
        _ => None,
    }
}

fn address(indicator: &Indicator) -> Option<String> {
    taken(indicator, &["ipv4-addr", "ipv6-addr", "network-traffic"])
}

fn ipv4(indicator: &Indicator) -> Option<String> {
    taken(indicator, &["ipv4-addr"])
}

fn mailbox(indicator: &Indicator) -> Option<String> {
    taken(indicator, &["email-addr"])
}

fn file(indicator: &Indicator) -> Option<String> {
    taken(indicator, &["file"])
}

// How it compares. Kusto's `==`, `in` and joins heed case.

fn same(value: &str, log: &str) -> bool {
    value == log
}

fn any_case(value: &str, log: &str) -> bool {
    value.to_lowercase() == log.to_lowercase()
}

/// Filters by the value in small letters, then joins the value as it is.
fn no_capital(value: &str, log: &str) -> bool {
    value.to_lowercase() == log && value == log
}

fn upper(value: &str, log: &str) -> bool {
    value.to_uppercase() == log
}

/// `ipv4_is_private()` is null for IPv6, so those do not pass.
fn is_public(value: &str) -> bool {
    let Ok(address) = value.parse::<std::net::Ipv4Addr>() else { return false };
    !address.is_private() && !value.starts_with("127.")
}

/// The first URL of a text, by the rules' own expression.
fn in_text(value: &str, log: &str) -> bool {
    let urls = Regex::new(r"https?://[a-zA-Z0-9$-_@.&+!*(),%]+").unwrap();
    urls.find(log).is_some_and(|found| found.as_str() == value)
}

/// `parse_url()` gives no host for a text without a scheme.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#', ':']).next().unwrap_or_default()
}

fn host_of_lower(value: &str, log: &str) -> bool {
    value.to_lowercase() == host_of(&log.to_lowercase())
}

fn host_in_alert(value: &str, log: &str) -> bool {
    let hosts = Regex::new(r"(?:(?:xn--)?[a-z0-9\-]+\.)+(?:[a-z]+|xn--[a-z0-9]+)").unwrap();
    hosts.find_iter(&log.to_lowercase()).any(|found| found.as_str() == value.to_lowercase())
}

fn first_host(value: &str, log: &str) -> bool {
    let hosts = Regex::new(r"(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z]{2,}").unwrap();
    hosts.find(&log.to_lowercase()).is_some_and(|found| found.as_str() == value.to_lowercase())
}

// What logs hold.

impl Fact {
    fn url(self) -> Option<&'static str> {
        if let Self::Url(url) = self { Some(url) } else { None }
    }

    fn host(self) -> Option<&'static str> {
        if let Self::Host(host) = self { Some(host) } else { None }
    }
}

fn row(held: Option<String>) -> Vec<String> {
    held.into_iter().collect()
}

fn written(fact: Fact) -> Vec<String> {
    row(fact.url().map(str::to_owned))
}

fn requested(fact: Fact) -> Vec<String> {
    row(fact.url().map(wire))
}

/// Palo Alto logs no scheme, and the rule puts `http://` before it.
fn palo_alto(fact: Fact) -> Vec<String> {
    let bare = |url| wire(url).split_once("://").map(|(_, bare)| format!("http://{bare}"));
    row(fact.url().and_then(bare))
}

fn palo_alto_host(fact: Fact) -> Vec<String> {
    row(fact.host().map(|host| format!("http://{host}/index.html")))
}

fn visited(fact: Fact) -> Vec<String> {
    row(fact.host().map(|host| format!("https://{host}/index.html")))
}

fn looked_up(fact: Fact) -> Vec<String> {
    row(fact.host().map(str::to_owned))
}

fn text(fact: Fact) -> Vec<String> {
    row(fact.url().map(|url| format!("query {url} done")))
}

fn json_text(fact: Fact) -> Vec<String> {
    row(fact.url().map(|url| format!("[{{\"Value\":\"{url}\"}}]")))
}

fn host_in_text(fact: Fact) -> Vec<String> {
    row(fact.host().map(|host| format!("query {host} done")))
}

fn host_in_json(fact: Fact) -> Vec<String> {
    row(fact.host().map(|host| format!("[{{\"Value\":\"{host}\"}}]")))
}

fn seen(fact: Fact) -> Vec<String> {
    let Fact::Address(address) = fact else { return vec![] };
    vec![address.to_owned()]
}

/// Directories keep a user's name as somebody typed it, or in small letters.
fn mailed(fact: Fact) -> Vec<String> {
    let Fact::Mailbox(mailbox) = fact else { return vec![] };
    vec![mailbox.to_owned(), mailbox.to_lowercase()]
}

fn any_hash(fact: Fact) -> Vec<String> {
    let (Fact::Md5(hash) | Fact::Sha1(hash) | Fact::Sha256(hash)) = fact else { return vec![] };
    vec![hash.to_lowercase(), hash.to_uppercase()]
}

fn device_hash(fact: Fact) -> Vec<String> {
    let (Fact::Sha1(hash) | Fact::Sha256(hash)) = fact else { return vec![] };
    vec![hash.to_lowercase()]
}

fn applocker_hash(fact: Fact) -> Vec<String> {
    let Fact::Sha256(hash) = fact else { return vec![] };
    vec![hash.to_uppercase()]
}

/// What a browser requests (RFC 9110, 7.1; RFC 3986, 6.2.3): no fragment, no default port, a path.
fn wire(url: &str) -> String {
    let (scheme, rest) = url.split('#').next().unwrap().split_once("://").unwrap();
    let scheme = scheme.to_lowercase();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let default_port = if scheme == "http" { ":80" } else { ":443" };
    let host = host.strip_suffix(default_port).unwrap_or(host).to_lowercase();
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{scheme}://{host}{slash}{path}")
}
