//! Reading Microsoft's bodies: several shapes, some of them not JSON.

use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;

use super::Reply;

/// Longest wait taken from an answer: asking again after an hour costs one request.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How much of a body that is no JSON is quoted, characters.
const QUOTED: usize = 300;

/// One entry of `errors` in a 200.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct Complaint {
    record_index: serde_json::Value,
    /// The name in the article.
    error_messages: Vec<serde_json::Value>,
    /// The name in the swagger.
    validation_error_messages: Vec<serde_json::Value>,
}

impl Complaint {
    /// The record's position in the request.
    pub(super) fn record(&self) -> Option<usize> {
        let index = self.record_index.as_u64().or_else(|| self.record_index.as_str()?.parse().ok());
        index.and_then(|index| usize::try_from(index).ok())
    }

    /// The record's position as it was spelled.
    pub(super) fn place(&self) -> String {
        self.record_index.to_string()
    }

    pub(super) fn words(&self) -> String {
        let all = self.error_messages.iter().chain(&self.validation_error_messages);
        let words: Vec<String> = all.map(text).filter(|text| !text.is_empty()).collect();
        if words.is_empty() { "no reason given".to_owned() } else { words.join("; ") }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Complaints {
    errors: Option<Vec<Complaint>>,
}

/// The complaints of a 200; `None` where the body is neither empty nor JSON of this shape.
pub(super) fn complaints(body: &[u8]) -> Option<Vec<Complaint>> {
    let body = body.trim_ascii();
    if body.is_empty() || body == b"null" {
        return Some(Vec::new());
    }
    let read: Complaints = serde_json::from_slice(body).ok()?;
    Some(read.errors.unwrap_or_default())
}

/// `{"statusCode","message","activityId"}` of the gateway, or `{"error":{"code","message"}}` of
/// the service, or `{"errors":[…]}` where no record was good.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Failure {
    message: Option<String>,
    activity_id: Option<String>,
    error: Option<Inner>,
    errors: Option<Vec<Complaint>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Inner {
    code: Option<String>,
    message: Option<String>,
}

/// Microsoft's words, in one line: status, code, message, activity id; else the start of the body
/// without markup.
pub(super) fn words(reply: &Reply) -> String {
    let failure: Failure = serde_json::from_slice(&reply.body).unwrap_or_default();
    let inner = failure.error.unwrap_or_default();
    let mut line = format!("HTTP {}", reply.status);
    if let Some(code) = inner.code.or_else(|| reply.error_code.clone()) {
        line.push_str(&format!(" {code}"));
    }
    let complaints = failure.errors.unwrap_or_default();
    let listed = || {
        let first = complaints.iter().take(3);
        first.map(|one| format!("record {}: {}", one.place(), one.words())).collect::<Vec<_>>()
    };
    let message = inner.message.or(failure.message);
    let message = message.or_else(|| Some(listed().join("; ")).filter(|text| !text.is_empty()));
    let message = one_line(&message.unwrap_or_else(|| plain(&reply.body)));
    if !message.is_empty() {
        line.push_str(&format!(": {message}"));
    }
    if let Some(activity) = failure.activity_id {
        line.push_str(&format!(" (activityId {activity})"));
    }
    line
}

/// How long the answer asks to wait: `Retry-After` in seconds or as a date, which counts from the
/// answer's own `Date`; else the number in the gateway's message.
pub(super) fn wait(reply: &Reply) -> Option<Duration> {
    let told = reply.retry_after.as_deref().and_then(|header| {
        let header = header.trim();
        header.parse().ok().map(Duration::from_secs).or_else(|| until(header, reply))
    });
    told.or_else(|| seconds_in_message(&reply.body)).map(|wait| wait.min(LONGEST_WAIT))
}

fn until(header: &str, reply: &Reply) -> Option<Duration> {
    let until = DateTime::parse_from_rfc2822(header).ok()?;
    let sent = DateTime::parse_from_rfc2822(reply.date.as_deref()?.trim()).ok()?;
    Some((until - sent).to_std().unwrap_or(Duration::ZERO))
}

/// "Rate limit is exceeded. Try again in <n> seconds."
fn seconds_in_message(body: &[u8]) -> Option<Duration> {
    let failure: Failure = serde_json::from_slice(body).ok()?;
    let message = failure.message.or_else(|| failure.error?.message)?.to_ascii_lowercase();
    let (_, after) = message.split_once("try again in ")?;
    let number: String = after.chars().take_while(char::is_ascii_digit).collect();
    number.parse().ok().map(Duration::from_secs)
}

/// A body that is no JSON we know: its text without tags, cut.
fn plain(body: &[u8]) -> String {
    let mut inside = false;
    let text = String::from_utf8_lossy(body);
    let text: String = text
        .chars()
        .filter_map(|c| match c {
            '<' => {
                inside = true;
                Some(' ')
            }
            '>' if inside => {
                inside = false;
                None
            }
            _ => (!inside).then_some(c),
        })
        .collect();
    one_line(&text)
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= QUOTED {
        return line;
    }
    line.chars().take(QUOTED).chain(['…']).collect()
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), one_line)
}
