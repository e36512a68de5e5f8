//! Makes the frames of a small event with a few domains.

use misp_sentinel_relay::ledger::Ledger;

pub(crate) const EVENT: &str = "00000001-0000-4000-8000-000000000007";

/// An attribute of the event: its number, value and tags.
pub(crate) type Attribute<'a> = (usize, &'a str, &'a [&'a str]);

/// Yesterday or so, Unix seconds, so that nothing has expired.
pub(crate) fn then() -> i64 {
    Ledger::now() / 1_000 - 100_000
}

pub(crate) fn attribute_uuid(number: usize) -> String {
    format!("{number:08x}-0000-4000-9000-000000000007")
}

/// A frame of `misp_json` with these domains.
pub(crate) fn publication(timestamp: i64, attributes: &[Attribute<'_>]) -> Vec<u8> {
    tagged_publication(timestamp, &[], attributes)
}

/// The same with tags of the event.
pub(crate) fn tagged_publication(
    timestamp: i64,
    event_tags: &[&str],
    attributes: &[Attribute<'_>],
) -> Vec<u8> {
    let attributes: Vec<String> = attributes
        .iter()
        .map(|(number, value, attribute_tags)| {
            let (uuid, tags) = (attribute_uuid(*number), tags(attribute_tags));
            format!(
                r#"{{"id":"{number}","event_id":"7","uuid":"{uuid}","type":"domain","category":"Network activity","value":"{value}","to_ids":true,"deleted":false,"distribution":"5","timestamp":"{timestamp}","Tag":[{tags}]}}"#
            )
        })
        .collect();
    let (attributes, tags) = (attributes.join(","), tags(event_tags));
    format!(
        r#"misp_json {{"Event":{{"id":"7","uuid":"{EVENT}","info":"x","distribution":"3","timestamp":"{timestamp}","Tag":[{tags}],"Attribute":[{attributes}],"Object":[]}}}}"#
    )
    .into_bytes()
}

fn tags(names: &[&str]) -> String {
    let tags = names.iter().map(|name| format!(r#"{{"name":{name:?}}}"#));
    tags.collect::<Vec<_>>().join(",")
}

/// A tag put on an attribute of the event, or taken off.
pub(crate) fn tagged(number: usize, tag: &str, on: bool) -> Vec<u8> {
    let action = if on { "attached to" } else { "detached from" };
    format!(
        r#"misp_json_tag {{"Tag":{{"name":{tag:?},"event_id":"7","attribute_id":"{number}"}},"action":"{action} attribute"}}"#
    )
    .into_bytes()
}

/// An attribute of the event whose `to_ids` is switched off.
pub(crate) fn to_ids_off(number: usize, value: &str, timestamp: i64) -> Vec<u8> {
    let uuid = attribute_uuid(number);
    format!(
        r#"misp_json_attribute {{"Attribute":{{"id":"{number}","event_id":"7","uuid":"{uuid}","type":"domain","category":"Network activity","value":"{value}","to_ids":false,"deleted":false,"timestamp":"{timestamp}"}},"Event":{{"id":"7","uuid":"{EVENT}"}},"action":"edit"}}"#
    )
    .into_bytes()
}

pub(crate) fn deletion(timestamp: i64) -> Vec<u8> {
    format!(
        r#"misp_json_event {{"Event":{{"id":"7","uuid":"{EVENT}","timestamp":"{timestamp}"}},"action":"delete"}}"#
    )
    .into_bytes()
}

/// The frame of another event that says the same.
pub(crate) fn of_another_event(frame: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(frame.to_vec()).unwrap();
    let other = text.replace("-000000000007", "-000000000008");
    other.replace(r#""id":"7""#, r#""id":"8""#).replace(r#"id":"7""#, r#"id":"8""#).into_bytes()
}

/// A sighting of an attribute of the event: its number, type and date.
pub(crate) type Seen = (usize, usize, i64);

fn sighting_uuid(number: usize) -> String {
    format!("{number:08x}-0000-4000-a000-000000000007")
}

/// The frame of a sighting of an attribute, with its value; `action` is `add` or `delete`.
pub(crate) fn sighted(attribute: (usize, &str), (number, kind, at): Seen, action: &str) -> Vec<u8> {
    let (uuid, of) = (sighting_uuid(number), attribute_uuid(attribute.0));
    let value = attribute.1;
    format!(
        r#"misp_json_sighting {{"Sighting":{{"id":"{number}","event_id":"7","date_sighting":"{at}","uuid":"{uuid}","type":"{kind}","Event":{{"id":"7","uuid":"{EVENT}"}},"Attribute":{{"uuid":"{of}","type":"domain","value":"{value}"}}}},"action":"{action}"}}"#
    )
    .into_bytes()
}

/// The same document, in which these sightings stand beside an attribute.
pub(crate) fn with_sightings(frame: &[u8], attribute: usize, sightings: &[Seen]) -> Vec<u8> {
    let list: Vec<String> = sightings
        .iter()
        .map(|(number, kind, at)| {
            let uuid = sighting_uuid(*number);
            format!(r#"{{"id":"{number}","date_sighting":"{at}","uuid":"{uuid}","type":"{kind}"}}"#)
        })
        .collect();
    let named = format!(r#""uuid":"{}","#, attribute_uuid(attribute));
    let text = String::from_utf8(frame.to_vec()).unwrap();
    assert!(text.contains(&named));
    text.replace(&named, &format!(r#"{named}"Sighting":[{}],"#, list.join(","))).into_bytes()
}
