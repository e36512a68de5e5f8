//! Copies the facts that policy, merging and the ledger need from MISP's document into the types of `claim`.

use std::borrow::Cow;

use super::claim::{ClaimFacts, EventFacts, ObjectFacts, SharingGroupFacts, Since, TagFacts};
use super::galaxy::Clusters;
use super::object;
use super::type_row::category;
use crate::pure::misp::{self, Attribute, Event, Object};

impl Event<'_> {
    /// What policy, merging and the ledger need of the event.
    pub fn facts(&self) -> EventFacts {
        let mut clusters = Clusters::default();
        clusters.take(self);
        EventFacts {
            id: self.id,
            uuid: self.uuid,
            info: self.info.as_ref().to_owned(),
            date: self.date.as_ref().to_owned(),
            org_uuid: self.org_uuid,
            org_name: self.org_name.as_ref().to_owned(),
            threat_level: self.threat_level,
            analysis: self.analysis,
            distribution: self.distribution,
            sharing_group_id: self.sharing_group_id,
            sharing_group: sharing_group(self.sharing_group.as_ref()),
            also: None,
            narrowed_at: 0,
            timestamp: self.timestamp,
            publish_timestamp: self.publish_timestamp,
            tags: tags(&self.tags),
            clusters: clusters.finish(),
        }
    }
}

/// The facts of an attribute of the type `kind`, in `object`.
pub(super) fn of_attribute(
    attribute: &Attribute<'_>,
    object: Option<&Object<'_>>,
    kind: &'static str,
) -> ClaimFacts {
    ClaimFacts {
        attribute_id: attribute.id,
        kind: Cow::Borrowed(kind),
        category: category(&attribute.category),
        to_ids: attribute.to_ids,
        distribution: attribute.distribution,
        sharing_group_id: attribute.sharing_group_id,
        sharing_group: sharing_group(attribute.sharing_group.as_ref()),
        also: Vec::new(),
        narrowed_at: 0,
        timestamp: attribute.timestamp,
        first_seen: attribute.first_seen.or_else(|| object?.first_seen),
        last_seen: attribute.last_seen.or_else(|| object?.last_seen),
        comment: attribute.comment.as_ref().to_owned(),
        tags: tags(&attribute.tags),
        object: object.map(|object| of_object(object, attribute).into()),
        raw: None,
    }
}

fn sharing_group(group: Option<&misp::SharingGroup<'_>>) -> Option<SharingGroupFacts> {
    group.map(|group| SharingGroupFacts { uuid: group.uuid, name: group.name.as_ref().to_owned() })
}

fn of_object(object: &Object<'_>, attribute: &Attribute<'_>) -> ObjectFacts {
    ObjectFacts {
        uuid: object.uuid,
        name: object.name.as_ref().to_owned(),
        comment: object.comment.as_ref().to_owned(),
        distribution: object.distribution,
        sharing_group_id: object.sharing_group_id,
        sharing_group: sharing_group(object.sharing_group.as_ref()),
        relation: attribute.relation.as_ref().to_owned(),
        siblings: object::siblings(attribute, object),
    }
}

fn tags(tags: &[misp::Tag<'_>]) -> Vec<TagFacts> {
    tags.iter()
        .map(|tag| TagFacts {
            name: tag.name.as_ref().to_owned(),
            local: tag.local,
            since: Since::Published,
            heard: 0,
        })
        .collect()
}
