//! Keeps the sightings by which hits are told to each MISP. A hit becomes one due sighting for each attribute of the
//! source that claims its observable, if the audience admits the attribute, and at most one an attribute, target and day.

use uuid::Uuid;

use super::Ledger;
use super::last_run::restored_at;
use super::owner::Unit;
use super::sql::{Result, Transaction};
use super::tables::claims::{self, ClaimGroup};
use super::tables::cursors::{self, ListingCursor};
use super::tables::events;
use super::tables::hits::{self, NumberedHit};
use super::tables::own_sightings::{
    self, DueSighting, NewOwnSighting, OwnSightingCounts, OwnSightingKey,
};
use crate::pure::policy::Reach;

/// The cursor that keeps the number of the last hit of which sightings were made.
const HITS: &str = "hits";

/// Hits in a transaction.
const STEP: i64 = 100;

/// Milliseconds.
pub(super) const DAY: i64 = 24 * 3_600_000;

/// How long after a restoration MISP is asked before it is told: alerts of longer ago are not read again.
const RESTORED_FOR: i64 = 30 * DAY;

/// By which rules a source is told of hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TellingRules {
    pub source: String,
    pub reach: Reach,
    /// The uuid of the organisation of the key, where MISP told it.
    pub organisation: Option<Uuid>,
    /// What sightings name as their source. `{target}` stands for the target's name.
    pub said_by: String,
}

impl TellingRules {
    /// What sightings of hits of a target name as their source.
    pub fn said_by(&self, target: &str) -> String {
        self.said_by.replace("{target}", target)
    }
}

/// What became of an attempt to tell a sighting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// MISP has it, under this uuid.
    Taken(Uuid),
    /// It never takes it; why.
    Refused(String),
    /// It is tried again at this time, Unix milliseconds. `doubt`: MISP may have it.
    PutOff { due_at: i64, doubt: bool },
}

impl Ledger {
    /// Names the sources that are told of hits. Of hits from before a source was named it is told nothing.
    pub async fn tell_hits_to(&self, told: Vec<String>, others: Vec<String>) -> Result<()> {
        self.write(move |unit| {
            let last = hits::last(unit)?;
            for source in &told {
                if cursors::value(unit, source, HITS)?.is_none() {
                    cursors::store(unit, source, ListingCursor { name: HITS, value: last })?;
                }
            }
            // Who is told no more must not be told later of what was due before.
            others.iter().try_for_each(|source| {
                own_sightings::forget_due(unit, source)?;
                cursors::forget(unit, source, HITS)
            })
        })
        .await
    }

    /// Whether hits came of which a source was not told yet.
    pub async fn has_new_hits(&self, source: &str) -> Result<bool> {
        let source = source.to_owned();
        self.read(move |tx| {
            let told = cursors::value(tx, &source, HITS)?;
            Ok(told.is_some() && told < Some(hits::last(tx)?))
        })
        .await
    }

    /// Makes due sightings of the hits that came since the last call. Returns how many there are. Done again after a
    /// crash, it makes none twice.
    pub async fn make_sightings(&self, rules: &TellingRules) -> Result<u64> {
        let mut made = 0;
        loop {
            let rules = rules.clone();
            let now = Self::now();
            let step = self.write(move |unit| make_some(unit, &rules, now)).await?;
            let Some(step) = step else { return Ok(made) };
            made += step;
        }
    }

    /// The sightings of a source that are due at `now`, Unix milliseconds.
    pub async fn due_sightings(
        &self,
        source: &str,
        now: i64,
        limit: i64,
    ) -> Result<Vec<DueSighting>> {
        let source = source.to_owned();
        self.read(move |tx| own_sightings::due(tx, &source, now, limit)).await
    }

    /// When the next sighting of a source is due, Unix milliseconds.
    pub async fn next_sighting(&self, source: &str) -> Result<Option<i64>> {
        let source = source.to_owned();
        self.read(move |tx| own_sightings::next_due(tx, &source)).await
    }

    /// Whether a sighting may be told by the rules of now. What became of the attribute since it was made, and another
    /// audience, count: what is seen by more than it was is not told.
    pub async fn may_be_told(&self, rules: &TellingRules, due: &DueSighting) -> Result<bool> {
        let (rules, attribute) = (rules.clone(), due.attribute);
        self.read(move |tx| admits(tx, &rules, attribute)).await
    }

    /// Notes that MISP is about to be asked to take a sighting, which names `said_by` as its source. If nothing is noted
    /// after it, MISP may have it, and it is tried again at `due_at`, Unix milliseconds.
    pub async fn begin_sighting(
        &self,
        source: &str,
        due: &DueSighting,
        said_by: &str,
        due_at: i64,
    ) -> Result<()> {
        let (source, due, said_by) = (source.to_owned(), due.clone(), said_by.to_owned());
        self.write(move |unit| own_sightings::begin(unit, due.key(&source), &said_by, due_at)).await
    }

    /// Notes what became of a sighting.
    pub async fn settle_sighting(&self, source: &str, due: &DueSighting, told: Told) -> Result<()> {
        let (source, due) = (source.to_owned(), due.clone());
        self.write(move |unit| {
            let key = due.key(&source);
            match &told {
                Told::Taken(sighting) => own_sightings::taken(unit, key, *sighting),
                Told::Refused(reason) => own_sightings::refused(unit, key, reason),
                Told::PutOff { due_at, doubt } => {
                    own_sightings::put_off(unit, key, *due_at, *doubt)
                }
            }
        })
        .await
    }

    /// The uuids of the sightings of an attribute that MISP took from the relay.
    pub async fn taken_sightings(&self, source: &str, attribute: Uuid) -> Result<Vec<Uuid>> {
        let source = source.to_owned();
        let told = self.read(move |tx| own_sightings::of_attribute(tx, &source, attribute)).await?;
        Ok(told.into_iter().filter_map(|one| one.sighting).collect())
    }

    /// How many sightings of each source are due, taken and refused.
    pub async fn own_sighting_counts(&self) -> Result<Vec<OwnSightingCounts>> {
        self.read_counts(own_sightings::counts).await
    }

    /// Completes with the next commit that records a new hit, counted from this call.
    pub fn hit(&self) -> tokio::sync::futures::Notified<'_> {
        self.shared.hit.notified()
    }
}

impl DueSighting {
    fn key<'a>(&'a self, source: &'a str) -> OwnSightingKey<'a> {
        OwnSightingKey { source, attribute: self.attribute, target: &self.target, day: self.day }
    }
}

/// Whether the rules admit a claim that the attribute makes in the source.
fn admits(tx: &Transaction<'_>, rules: &TellingRules, attribute: Uuid) -> Result<bool> {
    for named in claims::claiming_as(tx, attribute)? {
        if named.source != rules.source {
            continue;
        }
        let Some(event) = events::facts(tx, named.event_key())? else { continue };
        for claim in claims::of_group(tx, named.event_key(), ClaimGroup::OfAttribute(attribute))? {
            let facts = claim.facts.read();
            if facts.is_ok_and(|facts| rules.reach.admits(rules.organisation, &event, &facts)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Makes sightings of the next hits. `None`: there are none.
fn make_some(unit: &Unit<'_>, rules: &TellingRules, now: i64) -> Result<Option<u64>> {
    let source = rules.source.as_str();
    let Some(number) = cursors::value(unit, source, HITS)? else { return Ok(None) };
    let hits = hits::after(unit, number, STEP)?;
    let Some(last) = hits.last().map(|hit| hit.number) else { return Ok(None) };
    let mut made = 0;
    // What was told between the copy and its restoration is told again by the same alerts.
    let doubt = restored_at(unit)?.is_some_and(|at| now.saturating_sub(at) < RESTORED_FOR);
    for hit in &hits {
        made += make(unit, rules, hit, Making { now, doubt })?;
    }
    cursors::store(unit, source, ListingCursor { name: HITS, value: last })?;
    Ok(Some(made))
}

/// When sightings are made, and whether MISP may have them already.
#[derive(Debug, Clone, Copy)]
struct Making {
    now: i64,
    doubt: bool,
}

fn make(unit: &Unit<'_>, rules: &TellingRules, hit: &NumberedHit, making: Making) -> Result<u64> {
    let Making { now, doubt } = making;
    let said_by = rules.said_by(&hit.target);
    let mut made = 0;
    for claim in claims::of_objects(unit, &[hit.observable])? {
        let event = claim.row.event_key();
        if event.source != rules.source {
            continue;
        }
        // What cannot be read is told to nobody.
        let (Ok(facts), Some(event)) = (claim.facts.read(), events::facts(unit, event)?) else {
            continue;
        };
        if !rules.reach.admits(rules.organisation, &event, &facts) {
            continue;
        }
        let key = OwnSightingKey {
            source: &rules.source,
            attribute: claim.row.attribute,
            target: &hit.target,
            day: hit.last_seen.div_euclid(DAY),
        };
        let (attribute_id, seen_at) = (facts.attribute_id, hit.last_seen.div_euclid(1_000));
        let new = NewOwnSighting { key, attribute_id, seen_at, said_by: &said_by, doubt };
        made += u64::from(own_sightings::add(unit, new, now)?);
    }
    Ok(made)
}
