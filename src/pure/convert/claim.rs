//! The types of a claim: one attribute's statement that an observable is an indicator. A claim holds every fact about
//! the attribute, its object and its event that policy, merging and rendering need.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::pure::misp::{Audience, stands_under};
use crate::pure::stix::Observable;

/// One attribute's statement that an observable is an indicator. An attribute may make two, told apart
/// by `part`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub attribute: Uuid,
    /// 0, or 1 for the second observable of a composite, and for a URL as requests have it.
    pub part: u8,
    pub observable: Observable,
    pub facts: ClaimFacts,
}

/// The facts of a claim's attribute. The ledger stores them as JSON, so fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClaimFacts {
    /// MISP's number of the attribute, since tag frames name nothing else.
    pub attribute_id: i64,
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    pub category: Cow<'static, str>,
    pub to_ids: bool,
    /// MISP `distribution`, 0 to 5; 5 inherits the object's or the event's.
    pub distribution: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sharing_group_id: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing_group: Option<SharingGroupFacts>,
    /// Audiences that an edit gave the attribute or its object since the publication. Until the next publication policy
    /// must allow these too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Audience>,
    /// When an edit last gave the attribute's MISP object another audience, MISP's time, Unix seconds. A publication
    /// that is older than this does not undo the edit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub narrowed_at: i64,
    /// Unix seconds.
    pub timestamp: i64,
    /// Unix microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<i64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Box<ObjectFacts>>,
    /// The attribute's whole value as MISP wrote it. `None`: it is equal to the observable's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

impl ClaimFacts {
    /// The audiences of event, object and attribute, each of which must allow the claim.
    pub fn audiences(&self, event: &EventFacts) -> impl Iterator<Item = Audience> {
        stands_under(
            event.audience(),
            event.also.iter().map(|also| also.audience).chain(self.below()),
        )
    }

    /// The audiences of object and attribute, including those that inherit.
    pub fn below(&self) -> impl Iterator<Item = Audience> {
        let object = self.object.as_ref();
        let of_object = object.map(|one| Audience::new(one.distribution, one.sharing_group_id));
        let own = Audience::new(self.distribution, self.sharing_group_id);
        of_object.into_iter().chain([own]).chain(self.also.iter().copied())
    }

    /// The sharing groups of event, object and attribute that a document describes, with their numbers. MISP describes
    /// each group once. In other places the document may have only the number.
    pub fn sharing_groups<'f>(
        &'f self,
        event: &'f EventFacts,
    ) -> impl Iterator<Item = (i64, &'f SharingGroupFacts)> {
        let object = self.object.as_ref();
        let of_object = object.map(|one| (one.sharing_group_id, one.sharing_group.as_ref()));
        let also = event.also.as_ref();
        let published_for =
            also.map(|also| (also.audience.sharing_group_id, also.sharing_group.as_ref()));
        let all = [
            Some((event.sharing_group_id, event.sharing_group.as_ref())),
            published_for,
            of_object,
            Some((self.sharing_group_id, self.sharing_group.as_ref())),
        ];
        all.into_iter().flatten().filter_map(|(number, group)| Some((number, group?)))
    }

    /// The attribute's whole value as MISP wrote it; both halves of a composite.
    pub fn written<'a>(&'a self, observable: &'a Observable) -> &'a str {
        self.raw.as_deref().unwrap_or(&observable.value)
    }
}

/// The MISP object around an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectFacts {
    pub uuid: Uuid,
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    pub distribution: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sharing_group_id: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing_group: Option<SharingGroupFacts>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub relation: String,
    /// Other attributes of the object that have the same audience, for the description.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<Sibling>,
}

/// Another attribute of the same object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sibling {
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    pub category: Cow<'static, str>,
    /// Its role in the object, or its type if it has no role.
    pub relation: String,
    /// Unix seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timestamp: i64,
    /// Cut to a length that fits into a description.
    pub value: String,
}

/// The uuid and name of a sharing group, which a document may give beside its number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SharingGroupFacts {
    pub uuid: Uuid,
    pub name: String,
}

/// A tag of an event or attribute.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TagFacts {
    pub name: String,
    /// Local tags count for policy and are never sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local: bool,
    #[serde(default, skip_serializing_if = "Since::is_published")]
    pub since: Since,
    /// When the relay heard that the tag was put on or taken off, Unix seconds. 0: it was published.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub heard: i64,
}

/// How a tag differs from the last publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Since {
    /// Part of the publication.
    #[default]
    Published,
    /// Put on after it.
    Attached,
    /// Taken off after it. The tag still forbids until the next publication, and permits nothing any more.
    Detached,
}

impl Since {
    fn is_published(&self) -> bool {
        *self == Self::Published
    }
}

/// The facts of an event. The ledger stores them as JSON, so fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventFacts {
    /// MISP's number of the event.
    pub id: i64,
    pub uuid: Uuid,
    pub info: String,
    /// `YYYY-MM-DD`.
    pub date: String,
    /// The creator organisation (`Orgc`).
    pub org_uuid: Option<Uuid>,
    pub org_name: String,
    pub threat_level: i64,
    pub analysis: i64,
    /// MISP `distribution`, 0 to 4.
    pub distribution: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sharing_group_id: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing_group: Option<SharingGroupFacts>,
    /// The audience of the last publication, if an edit gave the event another one since. Until the next publication
    /// policy must allow this one too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<SharedWith>,
    /// When that edit was made, MISP's time, Unix seconds. A publication that is older than this does not undo the
    /// edit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub narrowed_at: i64,
    /// Unix seconds.
    pub timestamp: i64,
    pub publish_timestamp: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagFacts>,
    /// The techniques and actors whose tags are on the event or its attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<ClusterFacts>,
}

impl EventFacts {
    pub fn audience(&self) -> Audience {
        Audience::new(self.distribution, self.sharing_group_id)
    }

    pub fn shared(&self) -> SharedWith {
        SharedWith { audience: self.audience(), sharing_group: self.sharing_group.clone() }
    }
}

/// An audience, with the uuid and name of its sharing group if a document gave them. A frame about an edit gives only
/// the group's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedWith {
    #[serde(flatten)]
    pub audience: Audience,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing_group: Option<SharingGroupFacts>,
}

/// A cluster of a galaxy. It counts for the events and attributes for which its tag counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFacts {
    pub tag: String,
    pub uuid: Uuid,
    pub kind: ClusterKind,
    /// MISP's community made the cluster, and not an organisation. So anyone may see it, whatever `distribution` says.
    #[serde(default)]
    pub is_default: bool,
    /// MISP `distribution` of the cluster itself, 0 to 4. A row of an earlier release does not have it, and counts as
    /// 0: for the own organisation only.
    #[serde(default)]
    pub distribution: i64,
    /// Without the number that MITRE's names end with.
    pub name: String,
    /// Cut to a length that fits into an object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// MITRE's number, e.g. `T1566.001`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `platform:phase`, as MISP writes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kill_chain: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub synonyms: Vec<String>,
}

/// The kinds of clusters that the relay reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterKind {
    AttackPattern,
    ThreatActor,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What the ledger keeps of a claim with a group, an edit, an object and tags of every state.
    fn full() -> ClaimFacts {
        let group = Some(SharingGroupFacts { uuid: Uuid::from_u128(4), name: "g".into() });
        let tag = |since, heard, local| TagFacts { name: "t".into(), local, since, heard };
        ClaimFacts {
            attribute_id: 7,
            kind: "ip-dst".into(),
            category: "Other".into(),
            to_ids: true,
            distribution: 4,
            sharing_group_id: 9,
            sharing_group: group.clone(),
            also: vec![Audience::new(4, 3)],
            narrowed_at: 5,
            timestamp: 6,
            first_seen: Some(1),
            last_seen: Some(2),
            comment: "c".into(),
            tags: vec![
                tag(Since::Published, 0, false),
                tag(Since::Attached, 8, true),
                tag(Since::Detached, 0, false),
            ],
            object: Some(Box::new(ObjectFacts {
                uuid: Uuid::from_u128(5),
                name: "file".into(),
                comment: "o".into(),
                distribution: 4,
                sharing_group_id: 2,
                sharing_group: group,
                relation: "r".into(),
                siblings: vec![Sibling { timestamp: 1, ..Sibling::default() }],
            })),
            raw: Some("x".into()),
        }
    }

    #[test]
    fn an_audience_that_was_stored_without_its_group_is_read_with_its_number() {
        let stored = json!({"distribution": 4, "sharing_group_id": 3});
        let shared: SharedWith = serde_json::from_value(stored).unwrap();
        assert_eq!(shared, SharedWith { audience: Audience::new(4, 3), sharing_group: None });
    }

    #[test]
    fn facts_are_read_from_the_ledger_as_they_were_stored() {
        for facts in [full(), ClaimFacts::default()] {
            let stored = serde_json::to_string(&facts).unwrap();
            assert_eq!(serde_json::from_str::<ClaimFacts>(&stored).unwrap(), facts, "{stored}");
        }
        let event = EventFacts { sharing_group_id: 3, narrowed_at: 4, ..EventFacts::default() };
        let stored = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<EventFacts>(&stored).unwrap(), event, "{stored}");
    }

    #[test]
    fn what_says_nothing_takes_no_room_in_the_ledger() {
        let tag = |since, heard| TagFacts { name: "t".into(), local: false, since, heard };
        assert_eq!(json!(tag(Since::Published, 0)), json!({"name": "t"}));
        let attached = json!({"name": "t", "since": "Attached", "heard": 8});
        assert_eq!(json!(tag(Since::Attached, 8)), attached);
        let least = json!({
            "attribute_id": 0, "type": "", "category": "", "to_ids": false, "distribution": 0,
            "timestamp": 0,
        });
        assert_eq!(json!(ClaimFacts::default()), least);
    }

    #[test]
    fn a_sharing_group_is_told_with_its_number_wherever_it_stands() {
        let claim = full();
        let of = SharingGroupFacts { uuid: Uuid::from_u128(6), name: "e".into() };
        let event =
            EventFacts { sharing_group_id: 1, sharing_group: Some(of), ..EventFacts::default() };
        let told =
            claim.sharing_groups(&event).map(|(number, group)| (number, group.name.as_str()));
        assert_eq!(told.collect::<Vec<_>>(), [(1, "e"), (2, "g"), (9, "g")]);
    }
}
