//! Reads the entities of an alert as observables, in the form that the ledger has them in:
//! <https://learn.microsoft.com/en-us/azure/sentinel/entities-reference>.

use std::collections::HashMap;

use serde_json::Value;

use crate::pure::convert;
use crate::pure::stix::Observable;

/// Returns what the entities name, each once, at most `most`.
pub(super) fn observables(entities: &str, most: usize) -> Vec<Observable> {
    let Ok(Value::Array(entities)) = serde_json::from_str(entities) else { return Vec::new() };
    let text =
        |entity: &Value, key: &str| entity.get(key).and_then(Value::as_str).map(str::to_owned);
    // An entity stands as a whole once; others refer to it by its number.
    let by_number: HashMap<String, &Value> =
        entities.iter().filter_map(|one| Some((text(one, "$id")?, one))).collect();
    let mut found = Vec::new();
    for entity in &entities {
        for (kind, value) in named(entity, &by_number) {
            for observable in convert::said(kind, value) {
                if found.len() < most && !found.contains(&observable) {
                    found.push(observable);
                }
            }
        }
    }
    found
}

/// The types of MISP and the values that an entity names.
fn named<'e>(
    entity: &'e Value,
    by_number: &HashMap<String, &'e Value>,
) -> Vec<(&'static str, &'e str)> {
    let text = |key: &str| entity.get(key).and_then(Value::as_str);
    let of = |kind, key| text(key).map(|value| (kind, value));
    let kind = text("Type").unwrap_or_default().to_ascii_lowercase();
    match kind.as_str() {
        "ip" => of("ip-dst", "Address").into_iter().collect(),
        "url" => of("url", "Url").into_iter().collect(),
        "dns" => of("domain", "DomainName").into_iter().collect(),
        "filehash" => hash(entity).into_iter().collect(),
        "file" => hashes_of(entity, by_number),
        "mailbox" => of("email-src", "MailboxPrimaryAddress").into_iter().collect(),
        "mailmessage" => {
            let senders = ["P1Sender", "P2Sender", "Sender"];
            senders.into_iter().filter_map(|key| of("email-src", key)).collect()
        }
        _ => Vec::new(),
    }
}

fn hashes_of<'e>(
    file: &'e Value,
    by_number: &HashMap<String, &'e Value>,
) -> Vec<(&'static str, &'e str)> {
    let hashes = file.get("FileHashes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let whole = |hash: &'e Value| match hash.get("$ref").and_then(Value::as_str) {
        Some(number) => by_number.get(number).copied(),
        None => Some(hash),
    };
    hashes.iter().filter_map(whole).filter_map(hash).collect()
}

fn hash(entity: &Value) -> Option<(&'static str, &str)> {
    let text = |key: &str| entity.get(key).and_then(Value::as_str);
    let algorithm = text("Algorithm")?.to_ascii_uppercase();
    let kind = match algorithm.as_str() {
        "MD5" => "md5",
        "SHA1" => "sha1",
        "SHA256" => "sha256",
        "SHA256AC" => "authentihash",
        _ => return None,
    };
    Some((kind, text("Value")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patterns(entities: &Value) -> Vec<String> {
        observables(&entities.to_string(), 100).iter().map(Observable::pattern).collect()
    }

    /// Documented are the types and the names of their properties; `$id` and `$ref` are general knowledge.
    #[test]
    fn each_entity_is_what_an_attribute_of_misp_would_be() {
        let sha = "A".repeat(64);
        let entities = json!([
            {"$id": "2", "Type": "ip", "Address": "198.51.100.7"},
            {"$id": "3", "Type": "url", "Url": "HTTP://Evil.example/a"},
            {"$id": "4", "Type": "dns", "DomainName": "Evil.Example"},
            {"$id": "5", "Type": "filehash", "Algorithm": "SHA256", "Value": sha},
            {"$id": "6", "Type": "file", "Name": "x.exe", "FileHashes": [{"$ref": "5"},
                {"Type": "filehash", "Algorithm": "MD5", "Value": "d41d8cd98f00b204e9800998ecf8427e"}]},
            {"$id": "7", "Type": "mailbox", "MailboxPrimaryAddress": "a@evil.example"},
            {"$id": "8", "Type": "host", "HostName": "secret"},
        ]);
        let found = patterns(&entities);
        for pattern in [
            "[ipv4-addr:value = '198.51.100.7']",
            "[domain-name:value = 'evil.example']",
            "[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']",
        ] {
            assert!(found.iter().any(|one| one == pattern), "{pattern}: {found:?}");
        }
        let of = |part: &str| found.iter().filter(|one| one.contains(part)).count();
        assert_eq!((of("SHA-256"), of("email"), of("secret")), (1, 1, 0), "{found:?}");
        assert!(of("url:value") >= 1, "{found:?}");
    }

    #[test]
    fn the_number_is_bounded_and_what_is_no_list_is_none() {
        let many: Vec<Value> =
            (0..50).map(|n| json!({"Type": "ip", "Address": format!("198.51.100.{n}")})).collect();
        assert_eq!(observables(&Value::Array(many).to_string(), 10).len(), 10);
        for text in ["", "{}", "[1,null,{}]", "[{\"Type\":7}]"] {
            assert!(observables(text, 10).is_empty(), "{text}");
        }
    }
}
