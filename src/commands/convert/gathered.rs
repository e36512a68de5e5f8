//! Collects the claims of a whole document and groups them by indicator. Any later event may claim the same
//! observable, so nothing is written before all events are read. It also keeps, in the order of the document,
//! what is left out and why.

use std::collections::HashMap;
use std::io::{self, Write};

use uuid::Uuid;

use super::skipped::SkippedLine;
use crate::config::Rules;
use crate::pure::convert::{self, Claim, EventFacts, Reason};
use crate::pure::explain;
use crate::pure::misp::{Attribute, Event, Sighting};
use crate::pure::policy::Judge;
use crate::pure::stix::{ContextObject, KnownClaim, Memo, Merger, Needed, Observable, Verdict};

/// What is kept of a document until its last event is read. Any event may claim what another claimed before.
#[derive(Debug)]
pub(super) struct Gathered<'d> {
    judge: Judge,
    merger: Merger,
    /// When the relay first sees the claims, Unix milliseconds.
    now: i64,
    pub namespace: Uuid,
    events: Vec<EventFacts>,
    pub objects: Vec<GatheredObject>,
    /// The index in `objects` of the one with this key.
    places: HashMap<Uuid, usize>,
    readings: Vec<ReadPart<'d>>,
}

/// The claims that make one indicator.
#[derive(Debug)]
pub(super) struct GatheredObject {
    pub observable: Observable,
    pub stix_id: Uuid,
    claims: Vec<GatheredClaim>,
}

#[derive(Debug)]
struct GatheredClaim {
    /// The index of its event in `events`.
    event: usize,
    claim: Claim,
    sightings: Vec<Sighting>,
}

/// What a part of the document became, in the document's order.
#[derive(Debug)]
enum ReadPart<'d> {
    LeftOut(SkippedLine<'d>),
    /// The claim at this index among the claims of this object.
    Claim {
        object: usize,
        claim: usize,
    },
}

/// For each object, and for each of its claims: why it is left out; `None` if it counts.
pub(super) type LeftOut = Vec<Vec<Option<Reason>>>;

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
            readings: Vec::new(),
        }
    }

    /// Takes in the attributes of an event.
    pub(super) fn take(&mut self, event: &Event<'d>) {
        let facts = event.facts();
        // MISP's answer of attributes repeats the event for each of them.
        if self.events.last() != Some(&facts) {
            self.events.push(facts);
        }
        for read in event.attributes() {
            let left_out = match read {
                Ok((attribute, object)) => match convert::claims(&attribute, object) {
                    Ok(claims) => {
                        claims.into_iter().for_each(|claim| self.claim(claim, &attribute));
                        continue;
                    }
                    Err(why) => SkippedLine::attribute(event.uuid, attribute, why),
                },
                Err(malformed) => SkippedLine::malformed(event.uuid, malformed),
            };
            self.readings.push(ReadPart::LeftOut(left_out));
        }
    }

    /// Notes that an event cannot be read.
    pub(super) fn no_event(&mut self, problem: String) {
        self.readings.push(ReadPart::LeftOut(SkippedLine::no_event(problem)));
    }

    fn claim(&mut self, claim: Claim, attribute: &Attribute<'_>) {
        let key = self.merger.object_key(&claim.observable, claim.attribute);
        // Several attributes may claim one object. It is found by its key.
        let place = *self.places.entry(key).or_insert(self.objects.len());
        if place == self.objects.len() {
            let stix_id = self.merger.stix_id(&claim.observable, claim.attribute, claim.part);
            let observable = claim.observable.clone();
            self.objects.push(GatheredObject { observable, stix_id, claims: Vec::new() });
        }
        let Some(object) = self.objects.get_mut(place) else { return };
        self.readings.push(ReadPart::Claim { object: place, claim: object.claims.len() });
        let event = self.events.len().saturating_sub(1);
        object.claims.push(GatheredClaim { event, claim, sightings: attribute.sightings() });
    }

    /// Merges the claims of `object`. An indicator that is not valid after `valid_after` (Unix milliseconds)
    /// has expired.
    pub(super) fn verdict<'g>(
        &'g self,
        object: &'g GatheredObject,
        valid_after: i64,
    ) -> Verdict<'g> {
        let known = object.claims.iter().map(|GatheredClaim { event, claim, sightings }| {
            KnownClaim::of_document(self.events.get(*event), claim, sightings, self.now)
        });
        let (known, mut memo) = (known.collect(), Memo::default());
        let GatheredObject { observable, stix_id, .. } = object;
        let mut verdict = self.merger.merge_observable(&mut memo, *stix_id, observable, known);
        if verdict.indicator.take_if(|merged| merged.valid_until <= valid_after).is_some() {
            for reason in &mut verdict.reasons {
                // A claim that was left out for another reason keeps that reason.
                reason.get_or_insert(Reason::Expired);
            }
        }
        verdict
    }

    /// Returns the context objects that the indicator of `object` needs.
    pub(super) fn needed(
        &self,
        object: &GatheredObject,
        verdict: &Verdict<'_>,
    ) -> Vec<ContextObject> {
        let needed = self.merger.needed(object.stix_id, &verdict.admitted);
        needed.iter().filter_map(Needed::render).collect()
    }

    /// Writes a line for each event, attribute and claim that is left out.
    pub(super) fn write_left_out(
        &self,
        left_out: &LeftOut,
        skipped: &mut impl Write,
    ) -> io::Result<()> {
        for reading in &self.readings {
            match reading {
                ReadPart::LeftOut(line) => line.write(skipped)?,
                ReadPart::Claim { object, claim } => {
                    let reason = left_out.get(*object).and_then(|reasons| *reasons.get(*claim)?);
                    let claimed = self.objects.get(*object).and_then(|one| one.claims.get(*claim));
                    if let (Some(reason), Some(claimed)) = (reason, claimed) {
                        self.write_claim(claimed, reason, skipped)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn write_claim(
        &self,
        GatheredClaim { event, claim, .. }: &GatheredClaim,
        reason: Reason,
        skipped: &mut impl Write,
    ) -> io::Result<()> {
        let Some(event) = self.events.get(*event) else { return Ok(()) };
        let markings = (reason == Reason::TlpTooStrict)
            .then(|| explain::markings(&self.judge, event, &claim.facts).join("; "))
            .filter(|words| !words.is_empty());
        SkippedLine::claim(event.uuid, claim, reason, markings).write(skipped)
    }
}
