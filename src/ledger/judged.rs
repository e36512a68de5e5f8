//! Judges and merges all claims again for `ledger check`, and compares the result with `wanted`. The two must be equal.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::json;
use uuid::Uuid;

use super::context::{self, Astray};
use super::finding::Finding;
use super::full_claims::{FullClaim, KnownEvents, claims_of};
use super::generations::Generations;
use super::merge::{Merged, merge};
use super::sources::Sources;
use super::sql::{Result, Transaction};
use super::tables::claims;
use super::tables::keys::{EventKey, EventOfSource};
use super::tables::wanted::{WITHDRAWN, WantedRow};
use super::{View, Views};

/// Objects at a time.
const CHUNK: i64 = 500;

/// The invariants that need a look at every claim.
#[derive(Debug)]
pub(super) struct Judging {
    pub keys: Finding,
    pub readable: Finding,
    pub wanted: Finding,
    pub context: Finding,
    /// Events whose claims are being merged anew: they may differ for a while.
    unfinished: HashSet<EventOfSource>,
    /// Unix milliseconds.
    now: i64,
}

fn agree(wanted: &WantedRow, merged: &Merged) -> bool {
    let indicator = &merged.indicator;
    wanted.version == indicator.fingerprint
        && wanted.observable == merged.observable
        && wanted.object == merged.ids.object
        && wanted.stix_id == merged.ids.stix_id
        && wanted.body == indicator.body
        && wanted.valid_from == indicator.valid_from
        && wanted.valid_until == indicator.valid_until
}

impl Judging {
    pub(super) fn new(unfinished: HashSet<EventOfSource>, now: i64) -> Self {
        Self {
            keys: Finding::new(
                "claims-have-their-keys",
                "set indicator.namespace back, or start once with --rehome",
            ),
            readable: Finding::new(
                "claims-are-readable",
                "`resync --event UUID` reads the event anew",
            ),
            wanted: Finding::new(
                "wanted-is-what-claims-give",
                "`ledger check --repair`, then restart the relay: it judges every claim anew",
            ),
            context: Finding::new(
                "context-is-what-indicators-need",
                "`ledger check --repair`, then restart the relay: it judges every claim anew",
            ),
            unfinished,
            now,
        }
    }

    /// Goes through all claims in the order of their objects.
    pub(super) fn go(&mut self, tx: &Transaction<'_>, views: &Views) -> Result<()> {
        let (mut after, sources) = (Uuid::nil(), Sources::load(tx)?);
        loop {
            let objects = claims::objects_after(tx, after, CHUNK)?;
            let Some(last) = objects.last() else { return Ok(()) };
            after = *last;
            let claims = claims_of(tx, &objects, views, &sources)?;
            self.look_at(views, &claims);
            // Judged by another configuration than that of the last run, everything would differ.
            let views = views.iter().filter(|_| self.wanted.left_out.is_none());
            for view in views.collect::<Vec<_>>() {
                self.compare(tx, view, &objects, &claims)?;
            }
        }
    }

    fn look_at(&mut self, views: &Views, claims: &[FullClaim]) {
        for FullClaim { row: claim, facts, .. } in claims {
            let place = || {
                json!({"source": claim.source, "event": claim.event, "attribute": claim.attribute,
                       "part": claim.part, "object": claim.object})
                .to_string()
            };
            if views.object_key(&claim.observable) != claim.object {
                self.keys.add(place);
            }
            if facts.is_none() {
                self.readable.add(place);
            }
        }
    }

    /// Whether the claim's event is being merged, or that of a copy, which decides on the claim too.
    fn is_unfinished(&self, claim: &FullClaim) -> bool {
        let is_in_work = |event: EventKey<'_>| self.unfinished.contains(&EventOfSource::of(event));
        let FullClaim { row, elsewhere, .. } = claim;
        is_in_work(row.event_key())
            || elsewhere.copies(&row.source).any(|copy| is_in_work(copy.event_key()))
    }

    fn compare(
        &mut self,
        tx: &Transaction<'_>,
        view: &View,
        objects: &[Uuid],
        claims: &[FullClaim],
    ) -> Result<()> {
        let events = KnownEvents::of(tx, claims)?;
        let known = Generations::load(tx, view, objects)?;
        let outcome = merge(view, &known, claims, &events);
        let merged = outcome.merged.into_iter();
        let mut merged: HashMap<Uuid, Merged> = merged.map(|one| (one.key, one)).collect();
        let wanted = known.contents(tx, view)?;
        // Between two steps of a large event the ledger is sound, but some of its objects are still to be
        // merged.
        let moving: BTreeSet<Uuid> = claims
            .iter()
            .filter(|claim| self.is_unfinished(claim))
            .map(|claim| view.key(&claim.row))
            .chain(outcome.waiting)
            .collect();
        let standing: Vec<&Merged> =
            merged.values().filter(|one| !moving.contains(&one.key)).collect();
        for Astray { indicator, context } in context::astray(tx, view, &standing, self.now)? {
            let example = json!({"view": view.name, "object": indicator, "context": context});
            self.context.add(|| example.to_string());
        }
        let keys: BTreeSet<Uuid> = merged.keys().chain(wanted.keys()).copied().collect();
        for object in keys.difference(&moving) {
            let (merged, wanted) = (merged.remove(object), wanted.get(object));
            let holds = match (&merged, wanted) {
                (Some(merged), Some(wanted)) => agree(wanted, merged),
                (None, Some(wanted)) => wanted.version == WITHDRAWN,
                (Some(_), None) => false,
                (None, None) => true,
            };
            if !holds {
                self.wanted.add(|| {
                    json!({"view": view.name, "object": object,
                           "stix_id": wanted.map(|wanted| wanted.stix_id),
                           "wanted": wanted.map(|wanted| wanted.version),
                           "claims_give": merged.map(|merged| merged.indicator.fingerprint)})
                    .to_string()
                });
            }
        }
        Ok(())
    }
}
