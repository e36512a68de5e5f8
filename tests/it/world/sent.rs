//! Checks everything that was ever sent to Sentinel, and what Sentinel holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::Utc;
use misp_sentinel_relay::sandbox::{Fault, Life, Sandbox, Upload};
use serde_json::Value;

use super::draw::LOCAL_ONLY;
use super::site::Site;
use crate::support::relay::held;
use crate::support::scene::{is_live, references};

/// Marks what the harness itself listens for.
pub(super) const ANCHOR: &str = "anchor-";

/// Within so much before a kill or an outage, an answer may not have been heard or remembered.
const UNHEARD: Duration = Duration::from_secs(2);

/// An answer that took longer may have come too late.
const PROMPT: Duration = Duration::from_millis(300);

const RED: &str = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed";

/// Each live pattern with its ids and the events that it refers to.
pub(super) type Live = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

pub(super) fn live(sandbox: &Sandbox) -> Live {
    let mut live = Live::new();
    for held in held(sandbox) {
        let pattern = text(&held.json["pattern"]);
        if is_live(&held.json) && !pattern.contains(ANCHOR) {
            let (ids, events) = live.entry(pattern).or_default();
            ids.insert(held.id);
            events.extend(references(&held.json));
        }
    }
    live
}

/// Whether the sandbox holds the anchor's pattern live.
pub(super) fn is_anchored(sandbox: &Sandbox, value: &str) -> bool {
    let pattern = format!("[domain-name:value = '{value}']");
    held(sandbox).iter().any(|held| held.json["pattern"] == pattern && is_live(&held.json))
}

/// What the relay takes for accepted, by its ledger's export, and Sentinel holds otherwise: above all a
/// withdrawal after which Sentinel's rules still match.
pub(super) fn mistaken(rows: &[Value], sandbox: &Sandbox) -> Vec<String> {
    let held: BTreeMap<String, Value> =
        held(sandbox).into_iter().map(|held| (held.id, held.json)).collect();
    let of = |table: &'static str| rows.iter().filter(move |row| row["table"] == table);
    let ids: BTreeMap<&str, &Value> = of("wanted")
        .filter(|row| row["kind"] == "indicator")
        .filter_map(|row| Some((row["object"].as_str()?, &row["stix_id"])))
        .collect();
    let now = sandbox.now().timestamp_millis();
    let mut mistaken = Vec::new();
    for row in of("delivered") {
        let settled = ["sending", "doubt", "resend_at"].iter().all(|column| row[*column].is_null());
        let accepted = row["accepted"].as_i64().filter(|_| settled);
        let id = row["object"].as_str().and_then(|object| ids.get(object));
        let (Some(accepted), Some(id)) = (accepted, id) else { continue };
        let id = format!("indicator--{}", text(id));
        let Some(object) = held.get(&id) else {
            mistaken.push(format!("{id} is taken for accepted, and is not there: {row}"));
            continue;
        };
        let is_over = Life::of(object, sandbox.now()).is_some_and(Life::is_over);
        // What was sent under a clock that was far behind expires without another upload.
        let has_expired = row["valid_until"].as_i64().is_some_and(|until| until <= now);
        let is_taken_for_live = accepted != 0 && !has_expired;
        if is_over == is_taken_for_live {
            let words = if is_taken_for_live { "live" } else { "withdrawn or expired" };
            mistaken.push(format!("{id} is taken for {words}, and is not: {object}"));
        }
    }
    mistaken
}

/// What is wrong with everything that was ever sent. `stops` are the times of kills and outages.
pub(super) fn violations(sandbox: &Sandbox, sites: &[Site], stops: &[Instant]) -> Vec<String> {
    let mut history = History::default();
    let uploads = sandbox.requests();
    let began = uploads.first().map(|upload| upload.arrived);
    for upload in &uploads {
        let Ok(body) = serde_json::from_slice::<Value>(&upload.body) else { continue };
        let certain = is_certain(upload, stops);
        let after = began.map_or(Duration::ZERO, |began| upload.arrived.duration_since(began));
        let words = format!(
            "{:>6} ms {:?} {:?}{}",
            after.as_millis(),
            upload.status,
            upload.fault,
            if certain { "" } else { " in doubt" }
        );
        let objects = body["stixobjects"].as_array().cloned().unwrap_or_default();
        for (index, object) in objects.into_iter().enumerate() {
            let accepted = upload.status == Some(200) && !upload.rejected.contains(&index);
            let stops = stops.iter().filter(|stop| **stop < upload.arrived).count();
            let sending = Sending { accepted, certain, stops, words: &words };
            history.sent(object, &sending, sites);
        }
    }
    history.wrong
}

/// Whether sender and receiver know the same of a request.
fn is_certain(upload: &Upload, stops: &[Instant]) -> bool {
    let Some(answered) = upload.answered else { return false };
    let unheard =
        |stop: &Instant| *stop >= upload.arrived && stop.duration_since(upload.arrived) < UNHEARD;
    upload.fault == Fault::None
        && answered.duration_since(upload.arrived) < PROMPT
        && !stops.iter().any(unheard)
}

#[derive(Debug, Default)]
struct History {
    /// By id.
    objects: BTreeMap<String, Past>,
    /// The id of each pattern.
    ids: BTreeMap<String, String>,
    wrong: Vec<String>,
}

/// An object on its way.
#[derive(Debug)]
struct Sending<'w> {
    accepted: bool,
    /// Whether sender and receiver know the same of it.
    certain: bool,
    /// How often the relay or the sandbox was stopped before: each may have cut off a request of
    /// which the sandbox knows nothing.
    stops: usize,
    words: &'w str,
}

#[derive(Debug, Default)]
struct Past {
    pattern: String,
    /// What was certainly accepted last, unless something else may have been since.
    accepted: Option<Value>,
    /// How many requests were in doubt.
    doubts: usize,
    /// How many repeats that explained.
    repeats: usize,
    /// Every sending, in words.
    sendings: Vec<String>,
}

impl History {
    fn sent(&mut self, object: Value, sending: &Sending<'_>, sites: &[Site]) {
        let (id, pattern) = (text(&object["id"]), text(&object["pattern"]));
        if pattern.contains(ANCHOR) {
            return;
        }
        self.judge(&id, &pattern, &object, sites);
        let content = content(object);
        let past = self.objects.entry(id.clone()).or_default();
        if past.pattern.is_empty() {
            past.pattern.clone_from(&pattern);
        }
        if past.pattern != pattern {
            self.wrong.push(format!("{id} was {} and then {pattern}", past.pattern));
        }
        past.sendings.push(format!("{} {content}", sending.words));
        if past.accepted.as_ref() == Some(&content) {
            past.repeats += 1;
            if past.repeats > past.doubts + sending.stops {
                let all = past.sendings.join("\n    ");
                self.wrong.push(format!("{pattern} was sent again, unchanged:\n    {all}"));
            }
        }
        if !sending.certain {
            past.doubts += 1;
            past.accepted = None;
        } else if sending.accepted {
            past.accepted = Some(content);
        }
    }

    fn judge(&mut self, id: &str, pattern: &str, object: &Value, sites: &[Site]) {
        if !sites.iter().any(|site| site.reference.was_allowed(pattern)) {
            self.wrong.push(format!("{pattern} left and never might have"));
        }
        let all = object.to_string();
        if all.contains(LOCAL_ONLY) {
            self.wrong.push(format!("{pattern} left with a local tag"));
        }
        if all.contains(RED) || all.contains("TLP:RED") {
            self.wrong.push(format!("{pattern} left as TLP:RED"));
        }
        let known = self.ids.entry(pattern.to_owned()).or_insert_with(|| id.to_owned());
        if known != id {
            self.wrong.push(format!("{pattern} was sent as {known} and as {id}"));
        }
    }
}

/// Without what each sending has of its own; of a withdrawal, only that it is one.
fn content(mut object: Value) -> Value {
    // By the relay's own clock at this sending, which may be wrong.
    let sent = object["modified"].as_str().and_then(|time| time.parse().ok());
    let live = !Life::of(&object, sent.unwrap_or_else(Utc::now)).is_none_or(Life::is_over);
    if let Some(object) = object.as_object_mut() {
        object.remove("created");
        object.remove("modified");
        if !live {
            object.insert("valid_until".to_owned(), Value::from("withdrawn"));
        }
    }
    object
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
