//! Guards against wrong answers of MISP. If MISP no longer shows claims but does not say that it deleted them, only so
//! many end as the limit allows (`guard.max`, `guard.percent`). The others stand until an operator releases them. So
//! wrong answers never empty a SIEM.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::change::Change;
use super::owner::Unit;
use super::refresh::refresh_with_copies;
use super::sources::Sources;
use super::sql::{Result, Transaction};
use super::tables::claims::{self, PlacedObject, STEP_ROWS};
use super::tables::held::{self, HeldOfEvent};
use super::tables::inferred::{self, Going};
use super::tables::keys::{ClaimPlace, EventKey};
use super::tables::{events, wanted};
use super::time::millis;
use super::{Ledger, View, Views};
use crate::config::Guard;
use crate::log_event::LogEvent;

/// Decides which of the absent claims stand. If the limit does not allow the new ones, all of them stand. Otherwise
/// only those stand that were held before and that no operator has released.
pub(super) fn hold(
    unit: &Unit<'_>,
    event: EventKey<'_>,
    absent: &[PlacedObject],
    measure: &Guard,
    change: &Change<'_>,
) -> Result<HashSet<ClaimPlace>> {
    let held: HashSet<ClaimPlace> = held::of_event(unit, event)?.into_iter().collect();
    let (old, fresh): (Vec<PlacedObject>, Vec<PlacedObject>) =
        absent.iter().copied().partition(|claim| held.contains(&claim.place));
    let mut kept: HashSet<ClaimPlace> = old.iter().map(|claim| claim.place).collect();
    // What is held stays held, whatever the measure allows by now: only an operator releases it.
    if !(fresh.is_empty() || may_go(unit, event.source, &fresh, measure, change)?) {
        kept.extend(fresh.iter().map(|claim| claim.place));
    }
    // What is no longer absent is no longer held.
    held::release(unit, held.difference(&kept).map(|place| event.claim(*place)))?;
    held::hold(unit, kept.iter().map(|place| event.claim(*place)), change.opened_at)?;
    if kept.len() > held.len() {
        let (event, claims) = (event.event, kept.len());
        unit.then(move |_| {
            tracing::error!(
                event = LogEvent::ClaimsHeld.word(),
                misp_event = %event,
                claims,
                "MISP shows these claims no longer without having deleted them, more than guard.max and guard.percent allow. They stand; look with `held`, then `release` them or mend MISP"
            );
        });
    }
    Ok(kept)
}

/// Whether these claims may end because of their absence. If so, the live indicators that are withdrawn are recorded.
fn may_go(
    tx: &Transaction<'_>,
    source: &str,
    absent: &[PlacedObject],
    measure: &Guard,
    change: &Change<'_>,
) -> Result<bool> {
    // By observable: how many attributes claim it no longer.
    let mut attributes: HashMap<Uuid, HashSet<Uuid>> = HashMap::new();
    for claim in absent {
        attributes.entry(claim.object).or_default().insert(claim.place.attribute);
    }
    let mut going = Vec::new();
    for view in change.views.iter() {
        let objects = count_live(tx, view, &attributes)?;
        going.push(Going { view: view.name.clone(), objects });
    }
    infer(tx, source, &going, measure, change.opened_at)
}

/// Whether these live objects may be withdrawn by inference now. In each view they may not exceed the limit together
/// with those that were withdrawn before, within `guard.window`. If they may, they are recorded.
pub(super) fn infer(
    tx: &Transaction<'_>,
    source: &str,
    going: &[Going],
    measure: &Guard,
    now: i64,
) -> Result<bool> {
    let since = now.saturating_sub(millis(measure.window));
    for one in going {
        if !allows(tx, source, one, since, measure)? {
            return Ok(false);
        }
    }
    // Recorded before the claims end: after a crash in between, too many are counted and never too few.
    inferred::record(tx, source, going, now)?;
    Ok(true)
}

/// How many live indicators lose claims. For one observable, this is at most the number of attributes that are absent.
fn count_live(
    tx: &Transaction<'_>,
    view: &View,
    attributes: &HashMap<Uuid, HashSet<Uuid>>,
) -> Result<i64> {
    let mut live = 0;
    for (object, attributes) in attributes {
        let count = if view.is_by_attribute() {
            wanted::count_live_of_observable(tx, &view.name, *object)?
        } else {
            wanted::count_live_of_key(tx, &view.name, *object)?
        };
        // Other attributes may claim it still, so this is the most that can go.
        live += count.min(i64::try_from(attributes.len()).unwrap_or(i64::MAX));
    }
    Ok(live)
}

fn allows(
    tx: &Transaction<'_>,
    source: &str,
    Going { view, objects }: &Going,
    since: i64,
    measure: &Guard,
) -> Result<bool> {
    let all = inferred::sum_since(tx, source, view, since)?.saturating_add(*objects);
    // Either bound is enough: a few objects may always go, and of a large view a share.
    if *objects == 0 || all <= i64::try_from(measure.max).unwrap_or(i64::MAX) {
        return Ok(true);
    }
    let mut live = wanted::count_live_indicators_of(tx, view)?;
    if Sources::load(tx)?.are_several() {
        // Of the source's own indicators there are at most as many as it has claims.
        live = live.min(claims::count_of_source(tx, source)?);
    }
    Ok(all <= live.saturating_mul(i64::from(measure.percent)) / 100)
}

/// Which held claims end. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Releasing {
    /// Only those of this source.
    pub source: Option<String>,
    /// Only those of this event.
    pub event: Option<Uuid>,
}

/// Claims of an event that the guard keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub source: String,
    pub event: Uuid,
    pub info: String,
    pub claims: i64,
    /// Unix milliseconds; RFC 3339 in JSON.
    #[serde(with = "super::rfc3339")]
    pub since: i64,
    /// One of the values.
    pub example: String,
}

impl From<HeldOfEvent> for Held {
    fn from(held: HeldOfEvent) -> Self {
        let info = held.facts().unwrap_or_default().info;
        let HeldOfEvent { source, event, claims, since, example, .. } = held;
        Self { source, event, info, claims, since, example: example.unwrap_or_default() }
    }
}

impl Ledger {
    /// Events with held claims, the oldest first.
    pub async fn held(&self) -> Result<Vec<Held>> {
        let held = self.read(held::by_event).await?;
        Ok(held.into_iter().map(Held::from).collect())
    }

    /// Ends the held claims, of one event or of all; returns how many.
    pub async fn release(&self, views: &Views, which: &Releasing, now: i64) -> Result<usize> {
        let mut released = 0;
        loop {
            let (views, which) = (views.clone(), which.clone());
            let ended = self.write_step(move |unit| end_some(unit, &views, &which, now)).await?;
            if ended == 0 {
                return Ok(released);
            }
            released += ended;
        }
    }
}

/// Ends some of the held claims; returns how many.
fn end_some(unit: &Unit<'_>, views: &Views, which: &Releasing, now: i64) -> Result<usize> {
    let going = held::some(unit, which.source.as_deref(), which.event, STEP_ROWS)?;
    let mut change = Change::new(views, which.event, now);
    let mut ended: BTreeMap<&str, (Vec<Uuid>, Vec<Uuid>)> = BTreeMap::new();
    for held in &going {
        let claim = held.key();
        let (objects, attributes) = ended.entry(&held.source).or_default();
        attributes.push(held.place.attribute);
        objects.extend(claims::object(unit, claim)?);
        claims::delete(unit, claim.event, &[held.place])?;
        // A read under way may still count on the claim, so it is overtaken.
        events::touch(unit, claim.event)?;
    }
    held::release(unit, going.iter().map(held::HeldClaim::key))?;
    for (source, (objects, attributes)) in ended {
        refresh_with_copies(unit, source, objects, attributes.into_iter(), &mut change)?;
    }
    unit.wake(&change);
    Ok(going.len())
}
