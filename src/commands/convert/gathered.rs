//! The admitted claims of a document, by indicator, in the order of the document.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use uuid::Uuid;

use super::skipped::{Named, SkippedLines};
use crate::config::Rules;
use crate::pure::convert::{self, Claim, ClaimFacts, EventFacts, Reason};
use crate::pure::explain;
use crate::pure::misp::{self, Attribute, Event};
use crate::pure::policy::{Beside, Judge};
use crate::pure::stix::{
    Admitted, ClaimTimes, ContextObject, Indicator, Memo, Merger, Needed, Observable, Sight,
};

/// All that is kept of a document until its last event is read, since any event may claim what
/// another claimed before.
#[derive(Debug)]
pub(super) struct Gathered<'d> {
    judge: Judge,
    merger: Merger,
    /// When the relay first sees the claims, Unix milliseconds.
    now: i64,
    pub namespace: Uuid,
    events: Vec<EventFacts>,
    pub objects: Vec<Object<'d>>,
    /// Where in `objects` the one with this key is.
    places: HashMap<Uuid, usize>,
    /// Keys of what an attribute marks as a false positive.
    disputed: HashSet<Uuid>,
}

/// The claims of one indicator.
#[derive(Debug)]
pub(super) struct Object<'d> {
    pub observable: Observable,
    pub stix_id: Uuid,
    key: Uuid,
    claims: Vec<Admissible<'d>>,
}

#[derive(Debug)]
struct Admissible<'d> {
    /// Where in `events` its event is.
    event: usize,
    attribute: Uuid,
    facts: ClaimFacts,
    seen: Seen,
    /// As MISP has it, both halves of a composite.
    value: Cow<'d, str>,
}

/// What the sightings of an attribute say.
#[derive(Debug, Clone)]
struct Seen {
    beside: Beside,
    /// Unix milliseconds.
    expires_at: Option<i64>,
}

impl Seen {
    fn of(attribute: &Attribute<'_>) -> Self {
        let sightings = attribute.sightings();
        let false_positives = misp::false_positives(&sightings);
        let beside = Beside { false_positives, ..Beside::default() };
        Self { beside, expires_at: misp::expires_at(&sightings) }
    }
}

impl<'d> Gathered<'d> {
    pub(super) fn new(rules: &Rules, now: i64) -> Self {
        let judge = Judge::new(&rules.policy);
        Self {
            merger: Merger::new(&rules.rendering, &judge),
            judge,
            now,
            namespace: rules.rendering.namespace,
            events: Vec::new(),
            objects: Vec::new(),
            places: HashMap::new(),
            disputed: HashSet::new(),
        }
    }

    /// Takes in the claims of an event that policy admits.
    ///
    /// # Errors
    /// A line cannot be written.
    pub(super) fn take(
        &mut self,
        event: &Event<'d>,
        skipped: &mut SkippedLines<impl Write>,
    ) -> io::Result<()> {
        self.hold(event.facts());
        for read in event.attributes() {
            let (attribute, object) = match read {
                Ok(read) => read,
                Err(malformed) => {
                    skipped.malformed(event.uuid, &malformed)?;
                    continue;
                }
            };
            match convert::claims(&attribute, object) {
                Ok(claims) => self.judge(event.uuid, &attribute, claims, skipped)?,
                Err(reason) => skipped.attribute(Named::new(event.uuid, &attribute), reason)?,
            }
        }
        Ok(())
    }

    /// An attributes answer repeats its event for each attribute.
    fn hold(&mut self, event: EventFacts) {
        if self.events.last() != Some(&event) {
            self.events.push(event);
        }
    }

    fn judge(
        &mut self,
        event: Uuid,
        attribute: &Attribute<'d>,
        claims: impl IntoIterator<Item = Claim>,
        skipped: &mut SkippedLines<impl Write>,
    ) -> io::Result<()> {
        let Some(facts) = self.events.last() else { return Ok(()) };
        let seen = Seen::of(attribute);
        let mut admitted = Vec::new();
        for claim in claims {
            if self.judge.disputes(&claim.facts) {
                self.disputed.insert(self.merger.object_key(&claim.observable, claim.attribute));
            }
            match self.judge.admit(facts, &claim.facts, &claim.observable, &seen.beside) {
                Ok(()) => admitted.push(claim),
                Err(Reason::TlpTooStrict) => {
                    let markings = explain::markings(&self.judge, facts, &claim.facts);
                    let named = Named::new(event, attribute);
                    skipped.too_strict(named, &claim.observable, &markings)?;
                }
                Err(reason) => {
                    skipped.claim(Named::new(event, attribute), &claim.observable, reason)?;
                }
            }
        }
        for claim in admitted {
            self.admit(claim, attribute.value.clone(), seen.clone());
        }
        Ok(())
    }

    fn admit(&mut self, claim: Claim, value: Cow<'d, str>, seen: Seen) {
        let Claim { attribute, part, observable, facts } = claim;
        let event = self.events.len().saturating_sub(1);
        let admissible = Admissible { event, attribute, facts, seen, value };
        let key = self.merger.object_key(&observable, attribute);
        let place = *self.places.entry(key).or_insert(self.objects.len());
        if let Some(object) = self.objects.get_mut(place) {
            object.claims.push(admissible);
            return;
        }
        let stix_id = self.merger.stix_id(&observable, attribute, part);
        self.objects.push(Object { observable, stix_id, key, claims: vec![admissible] });
    }

    /// The indicator that the claims of `object` add up to, if it is valid after `valid_after`, Unix
    /// milliseconds.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn indicator(
        &self,
        object: &Object<'_>,
        valid_after: i64,
    ) -> Result<Indicator, Reason> {
        if self.disputed.contains(&object.key) {
            return Err(Reason::FalsePositive);
        }
        let admitted = self.admitted(object);
        let mut memo = Memo::default();
        let merged = self.merger.merge(&mut memo, object.stix_id, &object.observable, &admitted);
        merged.filter(|indicator| indicator.valid_until > valid_after).ok_or(Reason::Expired)
    }

    /// The context objects that the indicator of `object` needs.
    pub(super) fn needed(&self, object: &Object<'_>) -> Vec<ContextObject> {
        let needed = self.merger.needed(object.stix_id, &self.admitted(object));
        needed.iter().filter_map(Needed::render).collect()
    }

    fn admitted<'o>(&'o self, object: &'o Object<'_>) -> Vec<Admitted<'o>> {
        object
            .claims
            .iter()
            .filter_map(|claim| {
                let Seen { beside, expires_at } = claim.seen.clone();
                let times = ClaimTimes::of(&claim.facts, Sight::first(self.now), expires_at)
                    .until(self.judge.counts_until(&claim.facts));
                let event = self.events.get(claim.event)?;
                let (attribute, claim) = (claim.attribute, &claim.facts);
                Some(Admitted { event, attribute, claim, times, beside })
            })
            .collect()
    }

    /// The attributes that claim `object`.
    pub(super) fn claimants<'o>(&self, object: &'o Object<'_>) -> impl Iterator<Item = Named<'o>> {
        object.claims.iter().map(|claim| Named {
            event: self.events.get(claim.event).map(|event| event.uuid).unwrap_or_default(),
            attribute: claim.attribute,
            kind: &claim.facts.kind,
            value: &claim.value,
        })
    }
}

impl Object<'_> {
    /// When MISP last changed an attribute that claims it, Unix milliseconds.
    pub(super) fn changed_at(&self) -> i64 {
        let newest = self.claims.iter().map(|claim| claim.facts.timestamp).max();
        newest.unwrap_or_default().saturating_mul(1_000)
    }
}
