//! Writes events as JSON. Publications and REST answers have the same shape, as recorded from MISP.

use uuid::Uuid;

use super::model::{Attribute, Event, Object, Organisation, Tag};
use super::wire::Json;

/// What of an event is shown.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// Heads only.
    pub(super) metadata: bool,
    pub(super) live: bool,
    pub(super) deleted: bool,
    /// With the scores of the decaying model.
    pub(super) decay: bool,
    /// Only attributes with this `to_ids`.
    pub(super) to_ids: Option<bool>,
    /// The reader's organisation; `None` for a site administrator, who sees all.
    pub(super) reader: Option<u64>,
    /// Without `published` and `publish_timestamp`.
    pub(super) lacks_publication: bool,
}

impl Shown {
    /// What ZeroMQ carries: all that is not deleted, whatever its distribution.
    pub(super) const PUBLICATION: Self = Self {
        metadata: false,
        live: true,
        deleted: false,
        decay: false,
        to_ids: None,
        reader: None,
        lacks_publication: false,
    };

    /// Whether the reader may know of the event.
    pub(super) fn event(&self, event: &Event) -> bool {
        self.may_read(event, event.distribution)
    }

    pub(super) fn object(&self, event: &Event, object: &Object) -> bool {
        self.state(object.deleted) && self.may_read(event, object.distribution)
    }

    pub(super) fn attribute(&self, event: &Event, attribute: &Attribute) -> bool {
        self.state(attribute.deleted)
            && self.to_ids.is_none_or(|wanted| wanted == attribute.to_ids)
            && self.may_read(event, attribute.distribution)
    }

    fn state(&self, deleted: bool) -> bool {
        if deleted { self.deleted } else { self.live }
    }

    /// Others' data for their own organisation or for a sharing group is not shown.
    fn may_read(&self, event: &Event, distribution: u8) -> bool {
        self.is_own(event) || !matches!(distribution, 0 | 4)
    }

    fn is_own(&self, event: &Event) -> bool {
        self.reader.is_none_or(|reader| reader == event.organisation.id)
    }
}

/// `{"Event":{…` up to and without the attributes.
fn begin(json: &mut Json, event: &Event, shown: &Shown) {
    json.raw(r#"{"Event":{"id":"#).number(event.id);
    json.raw(r#","orgc_id":"#).number(event.organisation.id);
    json.raw(r#","org_id":"#).number(event.organisation.id);
    json.raw(r#","date":"#).text(&event.date);
    json.raw(r#","threat_level_id":"#).number(event.threat_level);
    json.raw(r#","info":"#).text(&event.info);
    if !shown.lacks_publication {
        json.raw(r#","published":"#).bool(event.published);
    }
    json.raw(r#","uuid":"#).uuid(event.uuid);
    json.raw(r#","attribute_count":"#).number(event.attribute_count());
    json.raw(r#","analysis":"#).number(event.analysis);
    json.raw(r#","timestamp":"#).number(event.timestamp);
    json.raw(r#","distribution":"#).number(event.distribution);
    json.raw(r#","proposal_email_lock":false,"locked":"#).bool(event.locked);
    if !shown.lacks_publication {
        json.raw(r#","publish_timestamp":"#).number(event.publish_timestamp);
    }
    json.raw(r#","sharing_group_id":"#).number(event.sharing_group);
    json.raw(r#","disable_correlation":false,"extends_uuid":"","protected":null"#);
    if shown.is_own(event) {
        json.raw(r#","event_creator_email":"admin@admin.test""#);
    }
    json.raw(r#","Org":"#);
    organisation(json, &event.organisation);
    json.raw(r#","Orgc":"#);
    organisation(json, &event.organisation);
    sharing_group(json, event.sharing_group);
}

/// How far the writing of an event is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Step {
    #[default]
    Head,
    /// The index of the next attribute, and how many were shown.
    Attributes(usize, usize),
    Objects(usize, usize),
    Done,
}

/// Writes on at `{"Event":{…}}` until it is done or `json` is longer than `enough`.
pub(super) fn write_on(
    json: &mut Json,
    step: &mut Step,
    event: &Event,
    shown: &Shown,
    enough: usize,
) {
    while *step != Step::Done && json.0.len() <= enough {
        *step = match *step {
            Step::Head => head(json, event, shown),
            Step::Attributes(next, before) => match event.attributes.get(next) {
                Some(one) if shown.attribute(event, one) => {
                    comma(json, before);
                    attribute(json, event, None, (one, shown.decay));
                    Step::Attributes(next + 1, before + 1)
                }
                Some(_) => Step::Attributes(next + 1, before),
                None => {
                    json.raw(r#"],"ShadowAttribute":[],"RelatedEvent":[],"Galaxy":[],"Object":["#);
                    Step::Objects(0, 0)
                }
            },
            Step::Objects(next, before) => match event.objects.get(next) {
                Some(one) if shown.object(event, one) => {
                    comma(json, before);
                    object(json, event, one, shown);
                    Step::Objects(next + 1, before + 1)
                }
                Some(_) => Step::Objects(next + 1, before),
                None => {
                    json.raw(r#"],"EventReport":[],"CryptographicKey":[]"#);
                    tail(json, event)
                }
            },
            Step::Done => Step::Done,
        };
    }
}

/// A whole event, `{"Event":{…}}`.
pub(super) fn whole(json: &mut Json, event: &Event, shown: &Shown) {
    write_on(json, &mut Step::default(), event, shown, usize::MAX);
}

fn head(json: &mut Json, event: &Event, shown: &Shown) -> Step {
    begin(json, event, shown);
    if shown.metadata {
        json.raw(r#","RelatedEvent":[],"Galaxy":[],"CryptographicKey":[]"#);
        return tail(json, event);
    }
    json.raw(r#","Attribute":["#);
    Step::Attributes(0, 0)
}

fn tail(json: &mut Json, event: &Event) -> Step {
    tags(json, &event.tags);
    json.raw("}}");
    Step::Done
}

fn comma(json: &mut Json, before: usize) {
    if before > 0 {
        json.raw(",");
    }
}

/// An object with its attributes.
fn object(json: &mut Json, event: &Event, object: &Object, shown: &Shown) {
    object_head(json, event, object);
    json.raw(r#","ObjectReference":[]"#);
    sharing_group(json, object.sharing_group);
    json.raw(r#","Attribute":"#);
    let attributes = object.attributes.iter().filter(|one| shown.attribute(event, one));
    json.list(attributes, |json, one| attribute(json, event, Some(object), (one, shown.decay)));
    json.raw("}");
}

/// An object's own members, without the closing brace.
pub(super) fn object_head(json: &mut Json, event: &Event, object: &Object) {
    json.raw(r#"{"id":"#).number(object.id);
    json.raw(r#","name":"#).text(&object.name);
    json.raw(r#","meta-category":"network","description":"x","template_uuid":"#);
    json.raw(r#""43b3b146-77eb-4931-b4cc-b66c60f28734","template_version":"11","event_id":"#);
    json.number(event.id);
    json.raw(r#","uuid":"#).uuid(object.uuid);
    json.raw(r#","timestamp":"#).number(object.timestamp);
    json.raw(r#","distribution":"#).number(object.distribution);
    json.raw(r#","sharing_group_id":"#).number(object.sharing_group);
    json.raw(r#","comment":"","deleted":"#).bool(object.deleted);
    json.raw(r#","first_seen":null,"last_seen":null"#);
}

/// An attribute as it stands in an event.
fn attribute(
    json: &mut Json,
    event: &Event,
    object: Option<&Object>,
    (one, decays): (&Attribute, bool),
) {
    json.raw(r#"{"id":"#).number(one.id);
    json.raw(r#","type":"#).text(&one.kind);
    json.raw(r#","category":"#).text(&one.category);
    json.raw(r#","to_ids":"#).bool(one.to_ids);
    json.raw(r#","uuid":"#).uuid(one.uuid);
    json.raw(r#","event_id":"#).number(event.id);
    json.raw(r#","distribution":"#).number(one.distribution);
    json.raw(r#","timestamp":"#).number(one.timestamp);
    json.raw(r#","comment":"#).text(&one.comment);
    json.raw(r#","sharing_group_id":"#).number(one.sharing_group);
    json.raw(r#","deleted":"#).bool(one.deleted);
    json.raw(r#","disable_correlation":false,"object_id":"#);
    json.number(object.map_or(0, |object| object.id));
    json.raw(r#","object_relation":"#);
    json.or_null(one.relation.as_deref());
    json.raw(r#","first_seen":"#).or_null(one.first_seen.as_deref());
    json.raw(r#","last_seen":null,"value":"#).text(&one.value);
    json.raw(r#","Galaxy":[]"#);
    sharing_group(json, one.sharing_group);
    json.raw(r#","ShadowAttribute":[]"#);
    tags(json, &one.tags);
    if let Some((score, decayed)) = one.decay.filter(|_| decays) {
        let model = r#""DecayingModel":{"id":"1","name":"A model"}"#;
        json.raw(&format!(
            r#","decay_score":[{{"score":{score}.3,"base_score":100,"decayed":{decayed},{model}}}]"#
        ));
    }
    json.raw("}");
}

/// `Tag` is missing when there is none.
fn tags(json: &mut Json, tags: &[Tag]) {
    if tags.is_empty() {
        return;
    }
    json.raw(r#","Tag":"#).list(tags, |json, tag| {
        json.raw(r#"{"id":"#).number(tag.id);
        json.raw(r#","name":"#).text(&tag.name);
        json.raw(r#","colour":"#).text(&tag.colour());
        json.raw(r#","exportable":true,"user_id":"0","hide_tag":false,"numerical_value":null"#);
        json.raw(r#","is_galaxy":false,"is_custom_galaxy":false,"local_only":false,"local":"#);
        json.bool(tag.local).raw(r#","relationship_type":null}"#);
    });
}

fn organisation(json: &mut Json, organisation: &Organisation) {
    json.raw(r#"{"id":"#).number(organisation.id);
    json.raw(r#","name":"#).text(&organisation.name);
    json.raw(r#","uuid":"#).uuid(organisation.uuid);
    json.raw(r#","local":true}"#);
}

/// `SharingGroup` is missing where there is none. The first is the recorded one.
fn sharing_group(json: &mut Json, group: u64) {
    if group == 0 {
        return;
    }
    let uuid = sharing_group_uuid(group);
    let own = Organisation::own();
    let (name, owner) = (own.name, own.uuid);
    json.raw(r#","SharingGroup":{"id":"#).number(group);
    json.raw(&format!(
        r#","name":"SG {group}","releasability":"partners","description":"d","uuid":"{uuid}","organisation_uuid":"{owner}","org_id":"1","sync_user_id":"1","active":true,"created":"2026-11-24 05:54:14","modified":"2026-11-24 05:54:14","local":false,"roaming":true,"Organisation":{{"id":"1","name":"{name}","uuid":"{owner}"}},"SharingGroupOrg":[{{"id":"1","sharing_group_id":"{group}","org_id":"0","extend":false}}],"SharingGroupServer":[]}}"#
    ));
}

/// The uuid of the sharing group with this number.
#[must_use]
pub fn sharing_group_uuid(group: u64) -> Uuid {
    Uuid::from_u128(0x53d0_f46b_4dfc_409d_bafd_a720_b764_3cb6 + u128::from(group))
}

impl Tag {
    /// MISP gives each tag a random one.
    pub(super) fn colour(&self) -> String {
        format!("#{:06x}", self.id.wrapping_mul(0x9e_3779) & 0xff_ffff)
    }
}
