//! A model of what MISP has published, built from recorded frames. The sandbox is compared with it, so it
//! shares no code with the relay.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::publisher::Recorded;

/// The reference set: the last publication of each event, less what was withdrawn since.
#[derive(Debug, Default)]
pub(crate) struct Misp {
    /// By uuid; `None` once deleted.
    events: BTreeMap<String, Option<Event>>,
}

#[derive(Debug)]
struct Event {
    id: String,
    timestamp: i64,
    /// Of distribution 1 to 3: without a key nobody knows who may see the others.
    is_open: bool,
    tags: BTreeSet<String>,
    /// By uuid.
    attributes: BTreeMap<String, Attribute>,
}

#[derive(Debug)]
struct Attribute {
    id: String,
    object: Option<String>,
    kind: String,
    value: String,
    to_ids: bool,
    tags: BTreeSet<String>,
}

impl Misp {
    /// Takes in a frame, in the order in which MISP sent it.
    pub(crate) fn hear(&mut self, frame: &Recorded) {
        let json: Value = match serde_json::from_slice(frame.json()) {
            Ok(json) => json,
            Err(error) => panic!("{}: {error}", frame.name),
        };
        let action = json["action"].as_str().unwrap_or_default();
        match frame.topic() {
            "misp_json" => self.published(&json["Event"]),
            "misp_json_attribute" => self.attribute(&json["Attribute"], action),
            "misp_json_object" => self.object(&json["Object"], action),
            "misp_json_event" if action == "delete" => {
                self.events.insert(text(&json["Event"]["uuid"]), None);
            }
            "misp_json_tag" if action.starts_with("attached to") => self.tagged(&json["Tag"]),
            _ => {}
        }
    }

    fn published(&mut self, event: &Value) {
        let uuid = text(&event["uuid"]);
        let timestamp = number(&event["timestamp"]);
        match self.events.get(&uuid) {
            Some(None) => return,
            Some(Some(known)) if timestamp < known.timestamp => return,
            _ => {}
        }
        let mut attributes: BTreeMap<String, Attribute> = list(&event["Attribute"])
            .map(|one| (text(&one["uuid"]), attribute(one, None)))
            .collect();
        for object in list(&event["Object"]) {
            let around = Some(text(&object["uuid"]));
            attributes.extend(
                list(&object["Attribute"])
                    .map(|one| (text(&one["uuid"]), attribute(one, around.clone()))),
            );
        }
        let (id, tags) = (text(&event["id"]), tags(event));
        let is_open = (1..=3).contains(&number(&event["distribution"]));
        self.events.insert(uuid, Some(Event { id, timestamp, is_open, tags, attributes }));
    }

    fn attribute(&mut self, said: &Value, action: &str) {
        let uuid = text(&said["uuid"]);
        let deleted = said["deleted"] == true || action.ends_with("delete");
        for event in self.events.values_mut().flatten() {
            event.attributes.retain(|known, attribute| {
                let edited = action == "edit"
                    && (said["to_ids"] == false
                        || text(&said["type"]) != attribute.kind
                        || text(&said["value"]) != attribute.value);
                *known != uuid || !(deleted || edited)
            });
        }
    }

    fn object(&mut self, said: &Value, action: &str) {
        if said["deleted"] != true && !action.ends_with("delete") {
            return;
        }
        let uuid = text(&said["uuid"]);
        for event in self.events.values_mut().flatten() {
            event.attributes.retain(|_, attribute| attribute.object.as_ref() != Some(&uuid));
        }
    }

    /// What is taken off stays until the next publication: additions count only by one.
    fn tagged(&mut self, tag: &Value) {
        for event in self.events.values_mut().flatten() {
            if event.id != text(&tag["event_id"]) {
                continue;
            }
            match tag["attribute_id"].as_str() {
                None => drop(event.tags.insert(text(&tag["name"]))),
                Some(id) => {
                    event.attributes.values_mut().filter(|one| one.id == id).for_each(|one| {
                        one.tags.insert(text(&tag["name"]));
                    })
                }
            }
        }
    }

    /// What must be live under the default policy: each pattern with the uuids of the events that
    /// claim it.
    pub(crate) fn live(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut live: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (uuid, event) in &self.events {
            let Some(event) = event.as_ref().filter(|event| event.is_open) else { continue };
            for attribute in event.attributes.values() {
                let red = event.tags.contains("tlp:red") || attribute.tags.contains("tlp:red");
                if !attribute.to_ids || red {
                    continue;
                }
                for pattern in patterns(&attribute.kind, &attribute.value) {
                    live.entry(pattern).or_default().insert(uuid.clone());
                }
            }
        }
        live
    }
}

fn attribute(json: &Value, object: Option<String>) -> Attribute {
    Attribute {
        id: text(&json["id"]),
        object,
        kind: text(&json["type"]),
        value: text(&json["value"]),
        to_ids: json["to_ids"] == true,
        tags: tags(json),
    }
}

fn tags(json: &Value) -> BTreeSet<String> {
    list(&json["Tag"]).map(|tag| text(&tag["name"])).collect()
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().into_iter().flatten()
}

fn text(json: &Value) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

fn number(json: &Value) -> i64 {
    text(json).parse().unwrap()
}

/// The patterns of an attribute as MISP recorded it: its values are canonical already, but for a
/// URL's missing scheme and the short names of hives.
fn patterns(kind: &str, value: &str) -> Vec<String> {
    let (before, behind) = value.rsplit_once('|').unwrap_or((value, value));
    let found = match kind {
        "ip-src" | "ip-dst" => vec![ip(value)],
        "ip-src|port" | "ip-dst|port" => vec![ip(before)],
        "domain" | "hostname" => vec![("domain-name:value", value.to_owned())],
        "hostname|port" => vec![("domain-name:value", before.to_owned())],
        "domain|ip" => vec![("domain-name:value", before.to_owned()), ip(behind)],
        "url" if value.contains('#') => {
            let on_the_wire = value.split('#').next().unwrap();
            vec![("url:value", value.to_owned()), ("url:value", on_the_wire.to_owned())]
        }
        "url" if value.contains("://") => vec![("url:value", value.to_owned())],
        "url" => vec![("url:value", format!("http://{value}"))],
        "email" | "email-src" => vec![("email-addr:value", value.to_owned())],
        "md5" | "filename|md5" | "malware-sample" => vec![("file:hashes.MD5", behind.to_owned())],
        "sha1" | "filename|sha1" => vec![("file:hashes.'SHA-1'", behind.to_owned())],
        "sha224" | "filename|sha224" => vec![("file:hashes.'SHA-224'", behind.to_owned())],
        "sha256" | "filename|sha256" => vec![("file:hashes.'SHA-256'", behind.to_owned())],
        "sha384" | "filename|sha384" => vec![("file:hashes.'SHA-384'", behind.to_owned())],
        "sha512" | "filename|sha512" => vec![("file:hashes.'SHA-512'", behind.to_owned())],
        "ssdeep" => vec![("file:hashes.SSDEEP", value.to_owned())],
        "tlsh" => vec![("file:hashes.TLSH", value.to_owned())],
        "imphash" => vec![("file:hashes.IMPHASH", value.to_owned())],
        "authentihash" => vec![("file:hashes.AUTHENTIHASH", value.to_owned())],
        "email-subject" => vec![("email-message:subject", value.to_owned())],
        "mutex" => vec![("mutex:name", value.to_owned())],
        "regkey" => vec![("windows-registry-key:key", full_key(value))],
        "user-agent" => vec![(
            "network-traffic:extensions.'http-request-ext'.request_header.'User-Agent'",
            value.to_owned(),
        )],
        "x509-fingerprint-sha1" => vec![("x509-certificate:hashes.'SHA-1'", value.to_owned())],
        "x509-fingerprint-sha256" => vec![("x509-certificate:hashes.'SHA-256'", value.to_owned())],
        _ => vec![],
    };
    let escaped = |value: String| value.replace('\\', r"\\").replace('\'', r"\'");
    found.into_iter().map(|(path, value)| format!("[{path} = '{}']", escaped(value))).collect()
}

fn full_key(key: &str) -> String {
    key.replace("HKLM", "HKEY_LOCAL_MACHINE").replace("HKCU", "HKEY_CURRENT_USER")
}

fn ip(address: &str) -> (&'static str, String) {
    let path = if address.contains(':') { "ipv6-addr:value" } else { "ipv4-addr:value" };
    (path, address.to_owned())
}
