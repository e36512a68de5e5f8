//! Builds the stories of all attributes in a MISP document. It does not know the ledger, so the stories do
//! not tell what was sent or withdrawn before.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{ClaimStory, ClaimVerdict, EventOf, Indicated, MAX_OTHERS, Other, Story, Why, remarks};
use crate::pure::convert::{self, Claim, EventFacts, Reason, Since, TagFacts};
use crate::pure::misp::{Attribute, Event, Malformed, Object, Sighting};
use crate::pure::policy::Judge;
use crate::pure::stix::{self, Indicator, KnownClaim, Memo, Merger, Verdict};

/// One policy, and how what it admits is merged.
#[derive(Debug, Clone, Copy)]
pub struct ViewRules<'r> {
    pub judge: &'r Judge,
    pub merger: &'r Merger,
    /// The targets that share the policy.
    pub targets: &'r [String],
    /// The time by which it is judged what has expired, Unix milliseconds.
    pub now: i64,
    /// Whether to render the indicators.
    pub stix: bool,
}

/// The stories of a document. They are told only when all events are in, since any event may claim what another
/// claimed before.
#[derive(Debug, Default)]
pub struct DocumentStories {
    events: Vec<EventFacts>,
    attributes: Vec<Attributed>,
    /// By the key of an observable: its claims, each with the place of its attribute in `attributes`.
    claims: HashMap<Uuid, Vec<(usize, Claim)>>,
}

#[derive(Debug)]
struct Attributed {
    /// The place of its event in `events`.
    event: usize,
    story: Story,
    /// The keys of what it claims.
    keys: Vec<Uuid>,
    sightings: Vec<Sighting>,
}

impl DocumentStories {
    /// Takes in an event and its attributes.
    pub fn take(&mut self, event: &Event<'_>, merger: &Merger) {
        let facts = event.facts();
        // An attributes answer repeats its event for each attribute.
        if self.events.last() != Some(&facts) {
            self.events.push(facts);
        }
        for read in event.attributes() {
            match read {
                Ok((attribute, object)) => self.attribute(&attribute, object, merger),
                Err(malformed) => self.malformed(&malformed),
            }
        }
    }

    fn attribute(
        &mut self,
        attribute: &Attribute<'_>,
        object: Option<&Object<'_>>,
        merger: &Merger,
    ) {
        let Some(event) = self.events.last() else { return };
        let mut story = story(event, attribute, object);
        let mut keys = Vec::new();
        match convert::claims(attribute, object) {
            Err(reason) => story.skipped = Some(reason.into()),
            Ok(claims) => {
                for claim in claims {
                    let key = merger.object_key(&claim.observable, claim.attribute);
                    keys.push(key);
                    self.claims.entry(key).or_default().push((self.attributes.len(), claim));
                }
            }
        }
        self.add(story, keys, attribute.sightings());
    }

    fn malformed(&mut self, malformed: &Malformed<'_>) {
        let Some(event) = self.events.last() else { return };
        let story = Story {
            event: event.into(),
            attribute: malformed.uuid.unwrap_or_default(),
            kind: malformed.kind.as_deref().unwrap_or_default().to_owned(),
            value: malformed.value.as_deref().unwrap_or_default().to_owned(),
            skipped: Some(Reason::Malformed.into()),
            notes: vec![malformed.problem.clone()],
            ..Story::default()
        };
        self.add(story, Vec::new(), Vec::new());
    }

    fn add(&mut self, story: Story, keys: Vec<Uuid>, sightings: Vec<Sighting>) {
        let event = self.events.len().saturating_sub(1);
        self.attributes.push(Attributed { event, story, keys, sightings });
    }

    /// Tells the stories under each of the policies, in the order of the document.
    pub fn stories(&self, views: &[ViewRules<'_>]) -> impl Iterator<Item = Story> {
        self.attributes.iter().enumerate().map(move |(place, attributed)| {
            let claims = attributed.keys.iter().filter_map(|key| self.claimed(place, *key, views));
            Story { claims: claims.collect(), ..attributed.story.clone() }
        })
    }

    /// Tells what became of the claim on the observable with this key by the attribute at `place`.
    fn claimed(&self, place: usize, key: Uuid, views: &[ViewRules<'_>]) -> Option<ClaimStory> {
        let claims = self.claims.get(&key)?;
        let (_, own) = claims.iter().find(|(of, _)| *of == place)?;
        let views = views.iter().filter_map(|rules| self.seen(place, claims, *rules));
        Some(ClaimStory { pattern: own.observable.pattern(), views: views.collect() })
    }

    fn seen(
        &self,
        place: usize,
        claims: &[(usize, Claim)],
        rules: ViewRules<'_>,
    ) -> Option<ClaimVerdict> {
        let verdict = self.verdict(claims, rules)?;
        let judged = || claims.iter().zip(verdict.reasons.iter().copied());
        let ((_, own), reason) = judged().find(|((of, _), _)| *of == place)?;
        let other = |((of, claim), reason): (&(usize, Claim), Option<Reason>)| {
            let event = self.event_of(*of)?;
            Some(Other {
                source: None,
                event: event.uuid,
                info: event.info.clone(),
                attribute: claim.attribute,
                withheld: reason.map(Why::from),
            })
        };
        let others = judged().filter(|((of, _), _)| *of != place);
        let mut others: Vec<Other> = others.filter_map(other).collect();
        let more = others.len().saturating_sub(MAX_OTHERS);
        others.truncate(MAX_OTHERS);
        Some(ClaimVerdict {
            targets: rules.targets.to_vec(),
            withheld: reason.map(Why::from),
            remarks: remarks(rules.judge, self.event_of(place)?, &own.facts, &own.observable),
            others,
            more,
            indicator: verdict.indicator.and_then(|merged| indicated(claims, &merged, rules)),
            kept_by: Vec::new(),
        })
    }

    fn event_of(&self, attribute: usize) -> Option<&EventFacts> {
        self.events.get(self.attributes.get(attribute)?.event)
    }

    /// Judges and merges the claims on one observable. `None`: there is none.
    fn verdict<'a>(
        &'a self,
        claims: &'a [(usize, Claim)],
        rules: ViewRules<'_>,
    ) -> Option<Verdict<'a>> {
        let known = |(of, claim): &'a (usize, Claim)| {
            let event = self.event_of(*of);
            let sightings =
                self.attributes.get(*of).map_or(&[][..], |attributed| &attributed.sightings);
            KnownClaim::of_document(event, claim, sightings, rules.now)
        };
        let known = claims.iter().map(known).collect();
        let (_, Claim { observable, .. }) = claims.first()?;
        let mut memo = Memo::default();
        Some(rules.merger.merge_observable(&mut memo, id(claims, rules)?, observable, known))
    }
}

/// Returns the STIX uuid of the indicator of these claims.
fn id(claims: &[(usize, Claim)], rules: ViewRules<'_>) -> Option<Uuid> {
    let (_, first) = claims.first()?;
    Some(rules.merger.stix_id(&first.observable, first.attribute, first.part))
}

fn indicated(
    claims: &[(usize, Claim)],
    merged: &Indicator,
    rules: ViewRules<'_>,
) -> Option<Indicated> {
    let changed_at = claims.iter().map(|(_, claim)| claim.facts.timestamp).max()?;
    let at = changed_at.saturating_mul(1_000);
    let stix = rules.stix.then(|| stix::live(&merged.body, merged.valid_until, at, at));
    Some(Indicated {
        id: format!("indicator--{}", id(claims, rules)?),
        valid_from: merged.valid_from,
        valid_until: merged.valid_until,
        expired: merged.valid_until <= rules.now,
        stix: stix.and_then(|json| serde_json::from_str(&json).ok()),
        ..Indicated::default()
    })
}

fn story(event: &EventFacts, attribute: &Attribute<'_>, object: Option<&Object<'_>>) -> Story {
    Story {
        event: event.into(),
        attribute: attribute.uuid,
        kind: attribute.kind.as_ref().to_owned(),
        category: attribute.category.as_ref().to_owned(),
        value: attribute.value.as_ref().to_owned(),
        to_ids: attribute.to_ids,
        timestamp: attribute.timestamp,
        tags: tags(event, attribute.tags.iter().map(|tag| tag.name.as_ref().to_owned())),
        object: object.map(|object| object.name.as_ref().to_owned()),
        ..Story::default()
    }
}

impl From<&EventFacts> for EventOf {
    fn from(event: &EventFacts) -> Self {
        Self {
            uuid: event.uuid,
            id: event.id,
            info: event.info.clone(),
            organisation: event.org_name.clone(),
            publish_timestamp: event.publish_timestamp,
            published: event.publish_timestamp > 0,
        }
    }
}

/// Lists the tags of an event and of an attribute, each once, those of the event first.
pub(super) fn tags(event: &EventFacts, of_attribute: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let all = event.tags.iter().map(spelled).chain(of_attribute);
    all.filter(|tag| seen.insert(tag.clone())).collect()
}

/// Spells a tag, and adds what policy asks of it: whether it is local, and since when it is there.
pub(super) fn spelled(tag: &TagFacts) -> String {
    let name = &tag.name;
    let local = if tag.local { LOCAL } else { "" };
    match tag.since {
        Since::Published => format!("{name}{local}"),
        Since::Attached => format!("{name}{local}{ATTACHED}"),
        Since::Detached => format!("{name}{local}{DETACHED}"),
    }
}

/// Returns the name of a tag that a story spells, without what the story adds.
pub fn tag_name(spelled: &str) -> &str {
    let name = spelled.strip_suffix(ATTACHED).or_else(|| spelled.strip_suffix(DETACHED));
    let name = name.unwrap_or(spelled);
    name.strip_suffix(LOCAL).unwrap_or(name)
}

const LOCAL: &str = " (local)";
const ATTACHED: &str = " (put on since the publication)";
const DETACHED: &str = " (taken off since the publication)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_spelled_tag_is_the_tags_own() {
        for local in [false, true] {
            for since in [Since::Published, Since::Attached, Since::Detached] {
                let tag = TagFacts { name: "ours:secret".to_owned(), local, since, heard: 0 };
                assert_eq!(tag_name(&spelled(&tag)), "ours:secret", "{tag:?}");
            }
        }
    }
}
