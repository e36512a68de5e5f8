//! Tells people of hits, and of what MISP was told of them.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::own_sightings::DAY;
use super::sql::{Result, Transaction};
use super::tables::claims::{self, ClaimingAttribute};
use super::tables::hits::{self, HitsOfRule};
use super::tables::own_sightings::{self, ToldSighting};
use crate::pure::count::Count;
use crate::pure::explain::time;

/// The rules of a target, and the sightings of an attribute, that are told one by one.
const MOST: usize = 10;

/// The hits of some observables, and which rules they were of.
pub(super) fn of_observables(
    tx: &Transaction<'_>,
    observables: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<String>> {
    let mut words = Vec::new();
    // An attribute may claim one thing twice.
    for observable in observables.into_iter().collect::<BTreeSet<Uuid>>() {
        let all = hits::of_observable(tx, observable)?;
        for of_target in all.chunk_by(|one, other| one.target == other.target) {
            words.extend(of_target.iter().take(MOST).map(rule_words));
            words.extend(more(of_target.len(), "further rule"));
        }
    }
    Ok(words)
}

fn rule_words(hits: &HitsOfRule) -> String {
    let HitsOfRule { target, rule, times, first_seen, last_seen } = hits;
    let (alerts, rule) = (Count(*times, "alert"), crate::pure::safe::line(rule));
    let (first, last) = (time(*first_seen), time(*last_seen));
    format!("hit at {target} by rule {rule:?}: {alerts}, first seen {first}, last {last}")
}

/// The hits of what an attribute claims, and what its MISP was told of them.
pub(super) fn of_attribute(tx: &Transaction<'_>, one: &ClaimingAttribute) -> Result<Vec<String>> {
    let objects = claims::objects_of(tx, one.event_key(), [one.attribute])?;
    let mut words = of_observables(tx, objects)?;
    let told = own_sightings::of_attribute(tx, one.event_key().source, one.attribute)?;
    words.extend(told.iter().take(MOST).map(sighting_words));
    words.extend(more(told.len(), "older sighting"));
    Ok(words)
}

fn sighting_words(told: &ToldSighting) -> String {
    let ToldSighting { target, day, sighting, refused, doubt, .. } = told;
    let seen = time(day.saturating_mul(DAY));
    let day = seen.get(..10).unwrap_or(&seen);
    let of = format!("sighting of {day} for {target}");
    match (sighting, refused) {
        (Some(sighting), _) => format!("{of}: MISP took it as {sighting}"),
        (None, Some(reason)) => format!("{of}: refused for good: {reason}"),
        (None, None) if *doubt => format!("{of}: MISP was asked, and its answer is not known yet"),
        (None, None) => format!("{of}: to be told to MISP"),
    }
}

fn more(all: usize, what: &'static str) -> Option<String> {
    let rest = all.saturating_sub(MOST);
    (rest > 0).then(|| format!("and {}", Count(rest, what)))
}
