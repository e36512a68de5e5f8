//! Collects the claims of a whole document and groups them by indicator. Any later event may claim the same
//! observable, so nothing is written before all events are read. It also keeps, in the order of the document,
//! what is left out and why.

use std::collections::HashMap;
use std::io;
use std::iter;

use uuid::Uuid;

use super::skipped::SkippedLine;
use crate::config::Rules;
use crate::pure::convert::{self, Claim, Claims, EventFacts, Reason};
use crate::pure::explain;
use crate::pure::misp::{Attribute, Event, Sighting};
use crate::pure::policy::Judge;
use crate::pure::stix::{KnownClaim, Memo, Merger, Needed, Verdict};

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

/// The claims that make one indicator. Most are one.
#[derive(Debug)]
pub(super) struct GatheredObject {
    pub stix_id: Uuid,
    first: GatheredClaim,
    others: Vec<GatheredClaim>,
}

impl GatheredObject {
    fn claims(&self) -> impl Iterator<Item = &GatheredClaim> {
        iter::once(&self.first).chain(&self.others)
    }
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
    LeftOut(Box<SkippedLine<'d>>),
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
                    Ok(Claims { first, second }) => {
                        self.claim(first, &attribute);
                        second.into_iter().for_each(|second| self.claim(*second, &attribute));
                        continue;
                    }
                    Err(why) => SkippedLine::attribute(event.uuid, attribute, why),
                },
                Err(malformed) => SkippedLine::malformed(event.uuid, malformed),
            };
            self.readings.push(ReadPart::LeftOut(Box::new(left_out)));
        }
    }

    /// Notes that an event cannot be read.
    pub(super) fn no_event(&mut self, problem: String) {
        self.readings.push(ReadPart::LeftOut(Box::new(SkippedLine::no_event(problem))));
    }

    fn claim(&mut self, claim: Claim, attribute: &Attribute<'_>) {
        let key = self.merger.object_key(&claim.observable, claim.attribute);
        // Several attributes may claim one object. It is found by its key.
        let place = *self.places.entry(key).or_insert(self.objects.len());
        let stix_id = self.merger.stix_id_of_key(key, claim.attribute, claim.part);
        let event = self.events.len().saturating_sub(1);
        let claim = GatheredClaim { event, claim, sightings: attribute.sightings() };
        let number = match self.objects.get_mut(place) {
            Some(object) => {
                object.others.push(claim);
                object.others.len()
            }
            None => {
                self.objects.push(GatheredObject { stix_id, first: claim, others: Vec::new() });
                0
            }
        };
        self.readings.push(ReadPart::Claim { object: place, claim: number });
    }

    /// Merges the claims of `object`. An indicator that is not valid after `valid_after` (Unix milliseconds)
    /// has expired.
    pub(super) fn verdict<'g>(
        &'g self,
        memo: &mut Memo<'g>,
        object: &'g GatheredObject,
        valid_after: i64,
    ) -> Verdict<'g> {
        let known = object.claims().map(|GatheredClaim { event, claim, sightings }| {
            KnownClaim::of_document(self.events.get(*event), claim, sightings, self.now)
        });
        let GatheredObject { stix_id, first, .. } = object;
        let observable = &first.claim.observable;
        let mut verdict = self.merger.merge_observable(memo, *stix_id, observable, known.collect());
        if verdict.indicator.take_if(|merged| merged.valid_until <= valid_after).is_some() {
            for reason in &mut verdict.reasons {
                // A claim that was left out for another reason keeps that reason.
                reason.get_or_insert(Reason::Expired);
            }
        }
        verdict
    }

    /// Returns the context objects that the indicator of `object` needs.
    pub(super) fn needed<'g>(
        &self,
        object: &GatheredObject,
        verdict: &Verdict<'g>,
    ) -> Vec<Needed<'g>> {
        self.merger.needed(object.stix_id, &verdict.admitted)
    }

    /// Gives `tell` a line for each event, attribute and claim that is left out.
    pub(super) fn each_left_out(
        &self,
        left_out: &LeftOut,
        mut tell: impl FnMut(&SkippedLine<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        for reading in &self.readings {
            match reading {
                ReadPart::LeftOut(line) => tell(line)?,
                ReadPart::Claim { object, claim } => {
                    let reason = left_out.get(*object).and_then(|reasons| *reasons.get(*claim)?);
                    let claimed = || self.objects.get(*object)?.claims().nth(*claim);
                    if let Some((reason, claimed)) = reason.zip(claimed()) {
                        self.claim_line(claimed, reason).iter().try_for_each(&mut tell)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn claim_line<'g>(
        &self,
        GatheredClaim { event, claim, .. }: &'g GatheredClaim,
        reason: Reason,
    ) -> Option<SkippedLine<'g>> {
        let event = self.events.get(*event)?;
        let markings = (reason == Reason::TlpTooStrict)
            .then(|| explain::markings(&self.judge, event, &claim.facts).join("; "))
            .filter(|words| !words.is_empty());
        Some(SkippedLine::claim(event.uuid, claim, reason, markings))
    }
}
