//! Builds ZeroMQ frames in the shapes that were recorded from MISP 2.5.1.

use axum::body::Bytes;

use super::model::{Attribute, Event, Object, Tag};
use super::render::{self, Shown};
use super::wire::Json;

/// One frame of MISP's publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What stands before the space.
    pub topic: &'static str,
    /// `topic SPACE json`, as it goes over the wire.
    pub bytes: Bytes,
}

impl Frame {
    fn new(topic: &'static str, write: impl FnOnce(&mut Json)) -> Self {
        let mut json = Json::default();
        json.raw(topic).raw(" ");
        write(&mut json);
        Self { topic, bytes: json.0.into() }
    }

    /// `misp_json`: the event as it is at this moment.
    pub(super) fn publication(event: &Event) -> Self {
        Self::new("misp_json", |json| render::whole(json, event, &Shown::PUBLICATION))
    }

    /// `misp_json_event`; a deletion has no tags and no organisation.
    pub(super) fn event(event: &Event, action: &str) -> Self {
        Self::new("misp_json_event", |json| {
            event_row(json, event);
            if action != "delete" {
                json.raw(r#","Orgc":"#);
                organisation(json, event);
                json.raw(r#","EventTag":"#)
                    .list(&event.tags, |json, tag| event_tag(json, event, tag));
            }
            end(json, action);
        })
    }

    /// `misp_json_event` of a pull. The number is the one that the event has on the other server.
    pub(super) fn pulled(number: u64, action: &str) -> Self {
        Self::new("misp_json_event", |json| {
            json.raw(r#"{"Event":"#).number(number).raw(r#","Server":1"#);
            end(json, &format!("{action}_from_connected_server"));
        })
    }

    /// `misp_json_warninglist`: the list without its entries.
    pub(super) fn warninglist(list: &serde_json::Value, action: &str) -> Self {
        Self::new("misp_json_warninglist", |json| {
            json.raw(r#"{"Warninglist":"#).raw(&list.to_string());
            end(json, action);
        })
    }

    /// `misp_json_attribute` with the event as `published` says, or without for a hard delete.
    pub(super) fn attribute(
        event: &Event,
        (object, attribute): (Option<&Object>, &Attribute),
        published: bool,
        action: &str,
    ) -> Self {
        let for_good = action == "delete";
        Self::new("misp_json_attribute", |json| {
            attribute_row(json, event, object, attribute, for_good);
            if !for_good {
                json.raw(r#","Event":"#);
                event_part(json, event, published);
            }
            if let Some(object) = object.filter(|_| action == "soft-delete") {
                json.raw(r#","Object":"#);
                render::object_head(json, event, object);
                json.raw("}");
            }
            end(json, action);
        })
    }

    /// `misp_json_object`.
    pub(super) fn object(event: &Event, object: &Object, action: &str) -> Self {
        Self::new("misp_json_object", |json| {
            json.raw(r#"{"Object":"#);
            render::object_head(json, event, object);
            json.raw("}");
            end(json, action);
        })
    }

    /// `misp_json_tag` for a tag that is new to MISP.
    pub(super) fn new_tag(tag: &Tag) -> Self {
        Self::new("misp_json_tag", |json| {
            tag_row(json, tag);
            json.raw("}");
            end(json, "add");
        })
    }

    /// `misp_json_tag` for a tag put on or taken off: the only topic that names things by number
    /// alone. Being local is told of event tags, and only when they are put on.
    pub(super) fn tag(event: &Event, attribute: Option<u64>, tag: &Tag, attached: bool) -> Self {
        Self::new("misp_json_tag", |json| {
            tag_row(json, tag);
            if let Some(attribute) = attribute {
                json.raw(r#","attribute_id":"#).number(attribute);
            }
            json.raw(r#","event_id":"#).number(event.id);
            if attribute.is_none() && attached {
                json.raw(r#","local":"#).bool(tag.local);
            }
            json.raw("}");
            let done = if attached { "attached to" } else { "detached from" };
            let what = if attribute.is_some() { "attribute" } else { "event" };
            end(json, &format!("{done} {what}"));
        })
    }

    /// `misp_json_sighting`. `row`: the sighting as answers have it.
    pub(super) fn sighting(
        event: &Event,
        attribute: &Attribute,
        row: &serde_json::Value,
        action: &str,
    ) -> Self {
        let mut row = row.clone();
        if let Some(row) = row.as_object_mut() {
            let organisation = event.organisation.id.to_string();
            let of_event = serde_json::json!({
                "id": event.id.to_string(), "uuid": event.uuid, "orgc_id": organisation,
                "org_id": organisation, "info": event.info,
                "Orgc": {"name": event.organisation.name},
            });
            let of_attribute = serde_json::json!({
                "id": attribute.id.to_string(), "uuid": attribute.uuid, "type": attribute.kind,
                "category": attribute.category, "to_ids": attribute.to_ids,
                "value": attribute.value,
            });
            row.insert("Event".to_owned(), of_event);
            row.insert("Attribute".to_owned(), of_attribute);
        }
        Self::new("misp_json_sighting", |json| {
            json.raw(r#"{"Sighting":"#).raw(&row.to_string());
            end(json, action);
        })
    }

    /// `misp_json_self`, which MISP sends when nothing else was sent for 10 s.
    #[must_use]
    pub fn heartbeat(uptime: u64) -> Self {
        Self::new("misp_json_self", |json| {
            json.raw(&format!(
                r#"{{"status":"And believe me I am still alive.","uptime":{uptime}}}"#
            ));
        })
    }
}

fn end(json: &mut Json, action: &str) {
    json.raw(r#","action":"#).text(action).raw("}");
}

fn event_row(json: &mut Json, event: &Event) {
    json.raw(r#"{"Event":{"id":"#).number(event.id);
    json.raw(r#","org_id":"#).number(event.organisation.id);
    json.raw(r#","date":"#).text(&event.date);
    json.raw(r#","info":"#).text(&event.info);
    json.raw(r#","user_id":"1","uuid":"#).uuid(event.uuid);
    json.raw(r#","published":"#).bool(event.published);
    json.raw(r#","analysis":"#).number(event.analysis);
    json.raw(r#","attribute_count":"#).number(event.attribute_count());
    json.raw(r#","orgc_id":"#).number(event.organisation.id);
    json.raw(r#","timestamp":"#).number(event.timestamp);
    json.raw(r#","distribution":"#).number(event.distribution);
    json.raw(r#","sharing_group_id":"#).number(event.sharing_group);
    json.raw(r#","proposal_email_lock":false,"locked":"#).bool(event.locked);
    json.raw(r#","threat_level_id":"#).number(event.threat_level);
    json.raw(r#","publish_timestamp":"#).number(event.publish_timestamp);
    json.raw(r#","sighting_timestamp":"0","disable_correlation":false,"extends_uuid":"""#);
    json.raw(r#","protected":null}"#);
}

/// The event as attribute frames name it.
fn event_part(json: &mut Json, event: &Event, published: bool) {
    json.raw(r#"{"id":"#).number(event.id);
    json.raw(r#","date":"#).text(&event.date);
    json.raw(r#","info":"#).text(&event.info);
    json.raw(r#","uuid":"#).uuid(event.uuid);
    json.raw(r#","published":"#).bool(published);
    json.raw(r#","analysis":"#).number(event.analysis);
    json.raw(r#","threat_level_id":"#).number(event.threat_level);
    json.raw(r#","org_id":"#).number(event.organisation.id);
    json.raw(r#","orgc_id":"#).number(event.organisation.id);
    json.raw(r#","distribution":"#).number(event.distribution);
    json.raw(r#","sharing_group_id":"#).number(event.sharing_group);
    json.raw(r#","Orgc":"#);
    organisation(json, event);
    json.raw("}");
}

fn attribute_row(
    json: &mut Json,
    event: &Event,
    object: Option<&Object>,
    one: &Attribute,
    for_good: bool,
) {
    // Only composite types are split.
    let split = one.value.split_once('|').filter(|_| one.kind.contains('|'));
    let (first, second) = split.unwrap_or((&one.value, ""));
    json.raw(r#"{"Attribute":{"id":"#).number(one.id);
    json.raw(r#","event_id":"#).number(event.id);
    json.raw(r#","object_id":"#).number(object.map_or(0, |object| object.id));
    json.raw(r#","object_relation":"#);
    json.or_null(one.relation.as_deref());
    json.raw(r#","category":"#).text(&one.category);
    json.raw(r#","type":"#).text(&one.kind);
    json.raw(r#","value1":"#).text(first).raw(r#","value2":"#).text(second);
    json.raw(r#","to_ids":"#).bool(one.to_ids);
    json.raw(r#","uuid":"#).uuid(one.uuid);
    json.raw(r#","timestamp":"#).number(one.timestamp);
    json.raw(r#","distribution":"#).number(one.distribution);
    json.raw(r#","sharing_group_id":"#).number(one.sharing_group);
    json.raw(r#","comment":"#).text(&one.comment);
    json.raw(r#","deleted":"#).bool(one.deleted);
    json.raw(r#","disable_correlation":false,"first_seen":"#).or_null(one.first_seen.as_deref());
    json.raw(r#","last_seen":null,"value":"#);
    json.text(&one.value);
    if !for_good {
        attribute_tags(json, &one.tags);
        json.raw(r#","Sighting":[]"#);
    }
    json.raw("}");
}

fn attribute_tags(json: &mut Json, tags: &[Tag]) {
    if tags.is_empty() {
        return;
    }
    json.raw(r#","Tag":"#).list(tags, |json, tag| {
        json.raw(r#"{"id":"#).number(tag.id);
        json.raw(r#","name":"#).text(&tag.name);
        json.raw(r#","colour":"#).text(&tag.colour());
        json.raw(r#","exportable":true,"local":"#).bool(tag.local).raw("}");
    });
}

fn event_tag(json: &mut Json, event: &Event, tag: &Tag) {
    json.raw(r#"{"id":"#).number(tag.id);
    json.raw(r#","event_id":"#).number(event.id);
    json.raw(r#","tag_id":"#).number(tag.id);
    json.raw(r#","local":"#).bool(tag.local);
    json.raw(r#","relationship_type":"","Tag":{"id":"#).number(tag.id);
    json.raw(r#","name":"#).text(&tag.name);
    json.raw(r#","colour":"#).text(&tag.colour()).raw(r#","exportable":true}}"#);
}

/// Without the closing brace.
fn tag_row(json: &mut Json, tag: &Tag) {
    json.raw(r#"{"Tag":{"id":"#).number(tag.id);
    json.raw(r#","name":"#).text(&tag.name);
    json.raw(r#","colour":"#).text(&tag.colour());
    json.raw(r#","exportable":true,"org_id":"0","user_id":"0","hide_tag":false"#);
    json.raw(r#","numerical_value":null,"is_galaxy":false,"is_custom_galaxy":false"#);
    json.raw(r#","local_only":false"#);
}

fn organisation(json: &mut Json, event: &Event) {
    json.raw(r#"{"id":"#).number(event.organisation.id);
    json.raw(r#","uuid":"#).uuid(event.organisation.uuid);
    json.raw(r#","name":"#).text(&event.organisation.name).raw("}");
}
