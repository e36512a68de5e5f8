//! Keeps sightings, and serves `/sightings/add` and `/sightings/listSightings` in the shapes that were recorded of MISP
//! 2.5.1. MISP makes another sighting of each request, and most of its refusals have status 200.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answer;
use super::frame::Frame;
use super::key::Key;
use super::store::{Misp, Store};

/// The longest `source`; a longer one is a fault of MISP's database.
const LONGEST_SOURCE: usize = 255;

const NONE_MATCHES: &str = "No valid attributes found that match the criteria.";

/// A sighting of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    pub id: u64,
    pub uuid: Uuid,
    /// The uuid of the attribute, and its number.
    pub attribute: Uuid,
    pub attribute_id: u64,
    pub event: Uuid,
    pub event_id: u64,
    pub org_id: u64,
    /// Unix seconds.
    pub date_sighting: i64,
    pub source: String,
    /// `0` sighting, `1` false positive, `2` expiration.
    pub kind: String,
}

impl Misp {
    /// All sightings, in the order of their numbers.
    #[must_use]
    pub fn sightings(&self) -> Vec<Sighting> {
        self.with(|store| store.sightings.clone())
    }

    /// The frames of sightings that came since the last call.
    #[must_use]
    pub fn sighting_frames(&self) -> Vec<Frame> {
        self.with(|store| std::mem::take(&mut store.sighting_frames))
    }
}

/// `/sightings/add`, with the attribute in the path or in the body.
pub(super) fn add(misp: &Misp, key: &Key, path: &str, body: &Map<String, Value>) -> Response {
    if !key.may_sight() {
        const NO: &str = "You do not have permission to use this functionality.";
        return answer::error(403, NO, path);
    }
    let asked = Asked::read(path, body);
    if asked.source.chars().count() > LONGEST_SOURCE || asked.names_a_list {
        return answer::error(500, "An Internal Error Has Occurred.", "/sightings/add");
    }
    match misp.with(|store| store.sight(key, &asked)) {
        Ok(sighting) => answer::document(200, json!({"Sighting": row(&sighting)}).to_string()),
        Err(reason) => {
            let message = format!("Could not add the Sighting. Reason: {reason}");
            answer::document(200, json!({"message": message}).to_string())
        }
    }
}

/// `/sightings/listSightings/NUMBER/attribute`, or of an event; the newest date first.
pub(super) fn list(misp: &Misp, path: &str) -> Response {
    let mut parts = path.trim_start_matches("/sightings/listSightings/").split('/');
    let (number, context) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let number: u64 = number.parse().unwrap_or_default();
    // Of what it does not show, MISP lists nothing (SightingsController, MISP 2.5.1).
    let is_shown = misp.events().iter().any(|event| {
        let mut attributes = event.all().map(|(_, one)| one);
        attributes.any(|one| one.id == number && !one.deleted)
    });
    if context == "attribute" && !is_shown {
        return answer::error(405, "Invalid object.", path);
    }
    let mut found = misp.sightings();
    found.retain(|one| match context {
        "event" => one.event_id == number,
        _ => one.attribute_id == number,
    });
    found.sort_by_key(|one| std::cmp::Reverse((one.date_sighting, one.id)));
    let rows: Vec<Value> = found
        .iter()
        .map(|one| {
            let name = if one.org_id == 1 { "ORGNAME" } else { "OTHERORG" };
            json!({"Sighting": row(one), "Organisation": {"name": name}})
        })
        .collect();
    answer::document(200, Value::from(rows).to_string())
}

/// What a request asks for.
#[derive(Debug)]
struct Asked {
    /// uuids and numbers of attributes.
    names: Vec<String>,
    values: Vec<String>,
    /// A list where MISP takes one name.
    names_a_list: bool,
    source: String,
    kind: String,
    timestamp: Option<Value>,
}

impl Asked {
    fn read(path: &str, body: &Map<String, Value>) -> Self {
        // Either wrapper is taken off.
        let inside = ["request", "Sighting"].iter().find_map(|key| body.get(*key)?.as_object());
        let body = inside.unwrap_or(body);
        let text = |key: &str| body.get(key).and_then(plain);
        let in_path = path.trim_start_matches("/sightings/add").trim_matches('/');
        let in_path = in_path
            .split("%7C")
            .flat_map(|name| name.split('|'))
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        let names = in_path.chain(text("uuid")).chain(text("id")).collect();
        let listed = body.get("values").and_then(Value::as_array).into_iter().flatten();
        let values = text("value").into_iter().chain(listed.filter_map(plain)).collect();
        Self {
            names,
            values,
            names_a_list: ["uuid", "id"]
                .iter()
                .any(|key| body.get(*key).is_some_and(Value::is_array)),
            source: text("source").unwrap_or_default(),
            kind: text("type").unwrap_or_else(|| "0".to_owned()),
            timestamp: body.get("timestamp").cloned(),
        }
    }

    /// `None`: it is no number.
    fn at(&self, now: i64) -> Option<i64> {
        match &self.timestamp {
            None => Some(now),
            Some(at) => plain(at)?.parse().ok(),
        }
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Store {
    /// Adds a sighting of each attribute that is named; returns the last one.
    fn sight(&mut self, key: &Key, asked: &Asked) -> Result<Sighting, &'static str> {
        if asked.names.is_empty() && asked.values.is_empty() {
            return Err("No valid attributes found.");
        }
        if !["0", "1", "2"].contains(&asked.kind.as_str()) {
            return Err("Invalid type, please change it before you POST 1000000 sightings.");
        }
        let at = asked
            .at(self.clock)
            .ok_or(r#"{"date_sighting":["This field cannot be left blank"]}"#)?;
        let mut last = Err(NONE_MATCHES);
        for (event_id, attribute) in self.named(key, asked) {
            last = self.add_sighting(key, asked, event_id, attribute, at).ok_or(NONE_MATCHES);
        }
        last
    }

    /// Event numbers and attributes that are named, and that the key may see.
    fn named(&self, key: &Key, asked: &Asked) -> Vec<(u64, Uuid)> {
        let mut found = Vec::new();
        for event in self.events.values() {
            let seen =
                key.site_admin || event.distribution > 0 || event.organisation.id == key.org_id;
            for (_, one) in event.all().filter(|(_, one)| seen && !one.deleted) {
                let is_named =
                    |name: &String| *name == one.uuid.to_string() || *name == one.id.to_string();
                let has = |value: &String| {
                    one.value.split('|').any(|part| part.eq_ignore_ascii_case(value))
                };
                if asked.names.iter().any(is_named) || asked.values.iter().any(has) {
                    found.push((event.id, one.uuid));
                }
            }
        }
        found
    }

    fn add_sighting(
        &mut self,
        key: &Key,
        asked: &Asked,
        event_id: u64,
        attribute: Uuid,
        at: i64,
    ) -> Option<Sighting> {
        let event = Arc::clone(self.events.get(&event_id)?);
        let (_, one) = event.attribute(attribute)?;
        // Of expirations the newest of an organisation replaces the others.
        let (kind, org_id) = (asked.kind.clone(), key.org_id);
        self.sightings.retain(|old| {
            kind != "2" || old.kind != "2" || old.org_id != org_id || old.attribute != attribute
        });
        let id = self.sightings.iter().map(|one| one.id).max().unwrap_or_default() + 1;
        let sighting = Sighting {
            id,
            uuid: Uuid::new_v4(),
            attribute,
            attribute_id: one.id,
            event: event.uuid,
            event_id,
            org_id,
            date_sighting: at,
            source: asked.source.clone(),
            kind,
        };
        self.sighting_frames.push(Frame::sighting(&event, one, &row(&sighting), "add"));
        self.sightings.push(sighting.clone());
        Some(sighting)
    }
}

/// As answers and frames have it.
fn row(sighting: &Sighting) -> Value {
    json!({
        "id": sighting.id.to_string(),
        "attribute_id": sighting.attribute_id.to_string(),
        "event_id": sighting.event_id.to_string(),
        "org_id": sighting.org_id.to_string(),
        "date_sighting": sighting.date_sighting.to_string(),
        "uuid": sighting.uuid,
        "source": sighting.source,
        "type": sighting.kind,
    })
}
