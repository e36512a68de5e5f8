//! Finds the context objects that an indicator needs: the identity of its creator, the techniques and actors
//! that it indicates, and the relationships to them. `document` writes their JSON.

use std::fmt;

use uuid::Uuid;

use super::document::{ContextKind, Document};
use super::indicator::{Merger, fingerprint};
use super::text::{LONGEST_NAME, clean};
use super::{Admitted, tags};
use crate::pure::convert::{ClusterFacts, ClusterKind, EventFacts};

/// The STIX id of a context object: its kind and its uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContextId {
    pub kind: ContextKind,
    pub uuid: Uuid,
}

impl fmt::Display for ContextId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}--{}", self.kind.word(), self.uuid)
    }
}

/// A context object that an indicator needs.
#[derive(Debug, Clone, Copy)]
pub struct Needed<'a> {
    pub kind: ContextKind,
    /// Its STIX uuid.
    pub id: Uuid,
    said: ContextContent<'a>,
    /// The timestamp of the event that describes it, Unix seconds of MISP.
    pub timestamp: i64,
}

#[derive(Debug, Clone, Copy)]
enum ContextContent<'a> {
    Identity(&'a EventFacts),
    Cluster(&'a ClusterFacts),
    /// The relationship from the indicator with this uuid.
    Indicates(Uuid, ContextId),
}

/// A context object as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextObject {
    pub kind: ContextKind,
    pub id: Uuid,
    /// JSON object without `created` and `modified`.
    pub body: String,
    /// The fingerprint of the body. It is never 0.
    pub fingerprint: i64,
    /// The timestamp of the event that describes the object, Unix seconds of MISP. If several events describe it, the
    /// newest counts.
    pub timestamp: i64,
}

impl ContextObject {
    /// Whether this description of an object counts, and not the other one. The order is total, so it does not matter
    /// which description arrives first.
    pub fn outranks(&self, other: &Self) -> bool {
        (self.timestamp, &self.body) > (other.timestamp, &other.body)
    }
}

impl Merger {
    /// Returns the context objects that the indicator with the STIX uuid `indicator` needs, each once: the identity of
    /// its creator, and the techniques and actors that the tags of its claims name, with the relationships to them.
    pub fn needed<'a>(&self, indicator: Uuid, claims: &[Admitted<'a>]) -> Vec<Needed<'a>> {
        let wanted = &self.rendering.context;
        let mut needed = Vec::new();
        if wanted.contains(&ContextKind::Identity) {
            needed.extend(self.creator(claims).and_then(|oldest| identity(oldest.event)));
        }
        let pattern = wanted.contains(&ContextKind::AttackPattern);
        let actor = wanted.contains(&ContextKind::ThreatActor);
        if pattern || actor {
            for found in self.clusters(claims).filter(|found| wanted.contains(&found.kind)) {
                keep_newest(&mut needed, found);
            }
            let targets: Vec<ContextId> = needed.iter().filter_map(Needed::indicated).collect();
            needed.extend(targets.into_iter().map(|target| self.indicates(indicator, target, 0)));
        }
        needed
    }

    /// The clusters whose tags are on the claims or their events, if the tags are sent.
    fn clusters<'a>(&self, claims: &[Admitted<'a>]) -> impl Iterator<Item = Needed<'a>> {
        claims.iter().flat_map(|claim| {
            let (event, claim) = (claim.event, claim.claim);
            let is_on = move |cluster: &&ClusterFacts| {
                tags::sent_of(event, claim).any(|tag| tag.name == cluster.tag)
            };
            self.judge.clusters(event).filter(is_on).map(|cluster| Needed {
                kind: match cluster.kind {
                    ClusterKind::AttackPattern => ContextKind::AttackPattern,
                    ClusterKind::ThreatActor => ContextKind::ThreatActor,
                },
                id: cluster.uuid,
                said: ContextContent::Cluster(cluster),
                timestamp: event.timestamp,
            })
        })
    }

    /// Returns the relationship, of a generation, from an indicator to the object that it indicates. A revocation uses
    /// up the id, so a relationship that returns is of the next generation.
    pub fn relationship(
        &self,
        indicator: Uuid,
        target: ContextId,
        generation: i16,
    ) -> Option<ContextObject> {
        self.indicates(indicator, target, generation).render()
    }

    fn indicates<'a>(&self, indicator: Uuid, target: ContextId, generation: i16) -> Needed<'a> {
        let (source, namespace) = (format!("indicator--{indicator}"), &self.rendering.namespace);
        let id = relationship_id(namespace, &source, &target.to_string(), generation);
        let said = ContextContent::Indicates(indicator, target);
        Needed { kind: ContextKind::Relationship, id, said, timestamp: 0 }
    }

    /// The key of a context object in the ledger. It is not the uuid, because objects of two kinds may have the same
    /// uuid.
    pub fn context_key(&self, kind: ContextKind, id: Uuid) -> Uuid {
        if kind == ContextKind::Relationship {
            return id;
        }
        // A relationship's id is made by us and is unlike any other; the uuids of the others are MISP's.
        let name = format!("{}--{id}", kind.word());
        Uuid::new_v5(&self.rendering.namespace, name.as_bytes())
    }
}

/// The id of the relationship between two STIX ids: UUIDv5 of `indicates SOURCE TARGET` in the namespace, or of
/// `generation N of …` if predecessors were revoked.
pub fn relationship_id(namespace: &Uuid, source: &str, target: &str, generation: i16) -> Uuid {
    let name = format!("indicates {source} {target}");
    let name = match generation {
        0 => name,
        generation => format!("generation {generation} of {name}"),
    };
    Uuid::new_v5(namespace, name.as_bytes())
}

impl<'a> Needed<'a> {
    /// Whether the same event or cluster says it. Relationships are each another one.
    pub fn is_same_as(&self, other: &Self) -> bool {
        use ContextContent::{Cluster, Identity, Indicates};
        match (self.said, other.said) {
            (Identity(one), Identity(other)) => std::ptr::eq(one, other),
            (Cluster(one), Cluster(other)) => std::ptr::eq(one, other),
            (Identity(_) | Cluster(_) | Indicates(..), _) => false,
        }
    }

    /// What an indicator may indicate.
    fn indicated(&self) -> Option<ContextId> {
        let is_one = matches!(self.kind, ContextKind::AttackPattern | ContextKind::ThreatActor);
        is_one.then_some(ContextId { kind: self.kind, uuid: self.id })
    }

    /// What a relationship points to.
    pub fn target(&self) -> Option<ContextId> {
        match self.said {
            ContextContent::Indicates(_, target) => Some(target),
            ContextContent::Identity(_) | ContextContent::Cluster(_) => None,
        }
    }

    /// The object.
    pub fn render(&self) -> Option<ContextObject> {
        let mut document = Document::new(self.kind, self.id);
        match self.said {
            ContextContent::Identity(event) => {
                document.name = Some(clean(&event.org_name, LONGEST_NAME));
                document.identity_class = Some("organization");
            }
            ContextContent::Cluster(cluster) => document.describe(cluster),
            ContextContent::Indicates(indicator, target) => {
                document.relationship_type = Some("indicates");
                document.source_ref = Some(format!("indicator--{indicator}"));
                document.target_ref = Some(target.to_string());
            }
        }
        // Strings only: serialising cannot fail.
        let body = serde_json::to_string(&document).ok()?;
        let fingerprint = fingerprint(&body, 0);
        let Self { kind, id, timestamp, .. } = *self;
        Some(ContextObject { kind, id, body, fingerprint, timestamp })
    }
}

/// The organisation that made the event, under MISP's own uuid.
fn identity(event: &EventFacts) -> Option<Needed<'_>> {
    let id = event.org_uuid.filter(|_| !event.org_name.trim().is_empty())?;
    let (kind, said) = (ContextKind::Identity, ContextContent::Identity(event));
    Some(Needed { kind, id, said, timestamp: event.timestamp })
}

fn keep_newest<'a>(needed: &mut Vec<Needed<'a>>, found: Needed<'a>) {
    match needed.iter_mut().find(|known| (known.kind, known.id) == (found.kind, found.id)) {
        None => needed.push(found),
        Some(known) => {
            let body = |one: &Needed<'_>| one.render().map(|object| object.body);
            let by_time = found.timestamp.cmp(&known.timestamp);
            if by_time.then_with(|| body(&found).cmp(&body(known))).is_gt() {
                *known = found;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::convert::{ClaimFacts, Since, TagFacts};
    use crate::pure::policy::{Judge, SideFacts};
    use crate::pure::stix::{ClaimSource, ClaimTimes, Sight};

    fn merger(context: &[ContextKind]) -> Merger {
        let none = tempfile::NamedTempFile::new().unwrap();
        let mut rules = crate::config::load_rules(Some(none.path()), std::iter::empty()).unwrap();
        assert_eq!(rules.rendering.context, [ContextKind::Identity].into(), "the default");
        rules.rendering.context = context.iter().copied().collect();
        Merger::new(&rules.rendering, &Judge::new(&rules.policy))
    }

    const ALL: [ContextKind; 3] =
        [ContextKind::Identity, ContextKind::AttackPattern, ContextKind::ThreatActor];

    fn cluster(number: u128, kind: ClusterKind, name: &str) -> ClusterFacts {
        ClusterFacts {
            tag: format!("misp-galaxy:x=\"{number}\""),
            uuid: Uuid::from_u128(number),
            kind,
            is_default: true,
            distribution: 0,
            name: name.into(),
            description: String::new(),
            external_id: None,
            url: None,
            kill_chain: vec![],
            synonyms: vec![],
        }
    }

    fn tag(number: u128) -> TagFacts {
        TagFacts { name: format!("misp-galaxy:x=\"{number}\""), ..TagFacts::default() }
    }

    /// Of the organisation 100, with a technique 1 and an actor 2.
    fn event(timestamp: i64, tags: Vec<TagFacts>) -> EventFacts {
        EventFacts {
            uuid: Uuid::from_u128(50 + timestamp.unsigned_abs() as u128),
            org_uuid: Some(Uuid::from_u128(100)),
            org_name: format!("CERT {timestamp}"),
            timestamp,
            tags,
            clusters: vec![
                cluster(1, ClusterKind::AttackPattern, &format!("technique {timestamp}")),
                cluster(2, ClusterKind::ThreatActor, "actor"),
            ],
            ..EventFacts::default()
        }
    }

    /// Kind, id and what is said, of what two claims need.
    fn needed(merger: &Merger, claims: &[(&EventFacts, ClaimFacts)]) -> Vec<(ContextKind, String)> {
        let admitted: Vec<Admitted<'_>> = claims
            .iter()
            .enumerate()
            .map(|(number, (event, claim))| Admitted {
                source: ClaimSource::default(),
                event,
                attribute: Uuid::from_u128(number as u128),
                claim,
                times: ClaimTimes::of(claim, Sight::first(0), None),
                side_facts: SideFacts::default(),
                tags: merger.read_tags(event, claim),
                copies: Vec::new(),
            })
            .collect();
        let objects = merger.needed(Uuid::from_u128(9), &admitted).into_iter();
        objects
            .map(|one| {
                let object: serde_json::Value =
                    serde_json::from_str(&one.render().unwrap().body).unwrap();
                let said = object.get("name").or(object.get("target_ref")).unwrap();
                (one.kind, said.as_str().unwrap().to_owned())
            })
            .collect()
    }

    fn at(timestamp: i64, tags: Vec<TagFacts>) -> ClaimFacts {
        ClaimFacts { timestamp, tags, ..ClaimFacts::default() }
    }

    #[test]
    fn an_indicator_needs_its_creator_and_what_its_tags_put_on() {
        let source = event(7, vec![tag(1)]);
        let all = merger(&ALL);
        let technique = "attack-pattern--00000000-0000-0000-0000-000000000001";
        let actor = "threat-actor--00000000-0000-0000-0000-000000000002";
        let own = at(1, vec![tag(2), tag(2), tag(3)]);
        assert_eq!(
            needed(&all, &[(&source, own)]),
            [
                (ContextKind::Identity, "CERT 7".into()),
                (ContextKind::AttackPattern, "technique 7".into()),
                (ContextKind::ThreatActor, "actor".into()),
                (ContextKind::Relationship, technique.into()),
                (ContextKind::Relationship, actor.into()),
            ]
        );
        assert_eq!(needed(&all, &[(&source, at(1, vec![]))]).len(), 3);
        let only_actors = merger(&[ContextKind::ThreatActor]);
        let both = at(1, vec![tag(2)]);
        assert_eq!(
            needed(&only_actors, &[(&source, both)]),
            [(ContextKind::ThreatActor, "actor".into()), (ContextKind::Relationship, actor.into())]
        );
        assert!(needed(&merger(&[]), &[(&source, at(1, vec![tag(2)]))]).is_empty());
    }

    #[test]
    fn a_kind_is_known_by_its_stix_type() {
        for (kind, word) in [
            (ContextKind::Identity, "identity"),
            (ContextKind::AttackPattern, "attack-pattern"),
            (ContextKind::ThreatActor, "threat-actor"),
            (ContextKind::Relationship, "relationship"),
        ] {
            assert_eq!((kind.word(), ContextKind::from_word(word)), (word, Some(kind)));
        }
        assert_eq!(ContextKind::from_word("indicator"), None);
    }

    #[test]
    fn what_is_not_sent_is_not_needed() {
        let merger = merger(&ALL);
        let local = TagFacts { local: true, ..tag(1) };
        let off = TagFacts { since: Since::Detached, ..tag(2) };
        let on_later = TagFacts { since: Since::Attached, ..tag(2) };
        let source = event(7, vec![local, off]);
        let nameless = EventFacts { org_name: " ".into(), ..source.clone() };
        assert_eq!(needed(&merger, &[(&source, at(1, vec![on_later]))]).len(), 1);
        assert!(needed(&merger, &[(&nameless, at(1, vec![]))]).is_empty());
    }

    #[test]
    fn the_newest_event_says_what_a_thing_is_whatever_the_order() {
        let merger = merger(&ALL);
        let (old, new) = (event(7, vec![tag(1)]), event(8, vec![tag(1)]));
        let names = |claims: &[(&EventFacts, ClaimFacts)]| {
            let names = needed(&merger, claims).into_iter().map(|(_, said)| said);
            names.take(2).collect::<Vec<_>>()
        };
        // The creator is that of the oldest claim.
        let (first, second) = ((&new, at(1, vec![])), (&old, at(2, vec![])));
        assert_eq!(names(&[first.clone(), second.clone()]), ["CERT 8", "technique 8"]);
        assert_eq!(names(&[second, first]), ["CERT 8", "technique 8"]);
    }

    #[test]
    fn of_events_that_say_different_things_one_is_believed_whatever_the_order() {
        let merger = merger(&[ContextKind::AttackPattern]);
        let told = |timestamp, name: &str| {
            let clusters = vec![cluster(1, ClusterKind::AttackPattern, name)];
            EventFacts { clusters, ..event(timestamp, vec![tag(1)]) }
        };
        for (low, high) in [((7, "b"), (8, "a")), ((7, "a"), (7, "b"))] {
            let (low, new) = (told(low.0, low.1), told(high.0, high.1));
            for events in [[&low, &new], [&new, &low]] {
                let claims = events.map(|event| (event, at(1, vec![])));
                let said = needed(&merger, &claims).swap_remove(0);
                assert_eq!(said, (ContextKind::AttackPattern, high.1.to_owned()));
            }
        }
    }

    #[test]
    fn a_relationship_needs_what_it_points_to() {
        let merger = merger(&ALL);
        let source = event(7, vec![tag(1)]);
        let claim = at(1, vec![]);
        let admitted = Admitted {
            event: &source,
            attribute: Uuid::nil(),
            source: ClaimSource::default(),
            claim: &claim,
            times: ClaimTimes::of(&claim, Sight::first(0), None),
            side_facts: SideFacts::default(),
            tags: merger.read_tags(&source, &claim),
            copies: Vec::new(),
        };
        let needed = merger.needed(Uuid::nil(), &[admitted]);
        let targets: Vec<_> = needed.iter().map(Needed::target).collect();
        let technique = ContextId { kind: ContextKind::AttackPattern, uuid: Uuid::from_u128(1) };
        assert_eq!(targets, [None, None, Some(technique)]);
    }

    #[test]
    fn ids_are_functions_of_what_is_said() {
        let merger = merger(&ALL);
        let (source, uuid) = (Uuid::from_u128(9), Uuid::from_u128(1));
        let id = |kind, generation| {
            merger.relationship(source, ContextId { kind, uuid }, generation).unwrap().id
        };
        let pattern = id(ContextKind::AttackPattern, 0);
        // python3 -c "import uuid; print(uuid.uuid5(uuid.UUID('NAMESPACE'), 'indicates …'))"
        let name = "indicates indicator--00000000-0000-0000-0000-000000000009 \
                    attack-pattern--00000000-0000-0000-0000-000000000001";
        assert_eq!(pattern, Uuid::new_v5(&merger.rendering.namespace, name.as_bytes()));
        let others = [id(ContextKind::AttackPattern, 1), id(ContextKind::ThreatActor, 0)];
        assert!(!others.contains(&pattern));
        assert_ne!(
            merger.context_key(ContextKind::Identity, source),
            merger.context_key(ContextKind::ThreatActor, source)
        );
    }

    #[test]
    fn of_two_versions_one_counts_whichever_is_heard_first() {
        let merger = merger(&ALL);
        let version = |timestamp, name: &str| {
            let source = EventFacts { org_name: name.into(), ..event(timestamp, vec![]) };
            let claim = at(1, vec![]);
            let admitted = Admitted {
                event: &source,
                attribute: Uuid::nil(),
                source: ClaimSource::default(),
                claim: &claim,
                times: ClaimTimes::of(&claim, Sight::first(0), None),
                side_facts: SideFacts::default(),
                tags: merger.read_tags(&source, &claim),
                copies: Vec::new(),
            };
            let needed = merger.needed(Uuid::nil(), &[admitted]);
            needed[0].render().unwrap()
        };
        for (low, high) in [((7, "b"), (8, "a")), ((7, "a"), (7, "b"))] {
            let (low, high) = (version(low.0, low.1), version(high.0, high.1));
            assert!(high.outranks(&low) && !low.outranks(&high) && !high.outranks(&high));
        }
    }
}
