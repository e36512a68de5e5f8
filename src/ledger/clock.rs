//! Follows our own clock, which may be wrong and may step. The counter `clock` (the latest time seen) shows a step
//! back, `clock followed` (the last look) a step ahead, `clock jumped` the last jump by days. After a step back it is
//! unknown which time was right. So waits are brought forward, no stored time stays in the future, and everything is
//! compared again.

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::refresh::refresh;
use super::sql::{Result, Transaction, encode};
use super::tables::claims::Mistimed;
use super::tables::counters::{self, ClockTime};
use super::tables::reads::{self, LONGEST_WAIT};
use super::tables::{
    alert_cursors, announced, delivered, events, gaps, held, hits, inferred, own_sightings, queue,
    settings, sightings, suppressed, tag_changes, targets, tombstones,
};
use super::{Lane, Ledger, Views};
use crate::log_event::LogEvent;

/// A step back of up to this many milliseconds changes nothing that matters.
const SMALL: i64 = 60_000;

/// If the clock moved ahead by more than this many milliseconds between two looks, it may be wrong.
const LONG: i64 = 7 * DAY;

/// After such a jump the clock is believed once it has gone on for this many milliseconds.
const BELIEVED_AFTER: i64 = DAY;

const DAY: i64 = 86_400_000;

/// After a pause this long, or after a step ahead, upkeep looks again at times that were in the future.
const PAUSE: i64 = 300_000;

/// The setting that remembers the last step back.
const SET_BACK: &str = "clock set back";

/// A step back of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetBack {
    /// When it was noticed, Unix milliseconds; RFC 3339 in JSON.
    #[serde(with = "crate::ledger::rfc3339")]
    pub at: i64,
    /// By how much, milliseconds.
    pub by: i64,
}

/// What the clock did since the last look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClockStep {
    Steady,
    /// It went on by more than a few minutes.
    Ahead,
    Back(SetBack),
}

impl Ledger {
    /// Looks at the clock, and reacts to a step. `sources`: those that can be read again completely. Returns
    /// whether old rows may be deleted. After a long step ahead they may not, until the clock has gone on for a day.
    pub(super) async fn follow_clock(
        &self,
        views: &Views,
        sources: &[String],
        now: i64,
    ) -> Result<bool> {
        match self.look_at_clock(now).await? {
            ClockStep::Steady => {}
            ClockStep::Ahead => self.hear_again(views, Mistimed::Overtaken, now).await?,
            ClockStep::Back(back) => self.set_back(views, sources, back).await?,
        }
        self.write(move |unit| {
            // What waits for longer than anything does by intent is from a clock that was ahead.
            reads::bring_forward(unit, now, now.saturating_add(LONGEST_WAIT))?;
            delivered::bring_forward(unit, now, now.saturating_add(LONGEST_WAIT))?;
            note(unit, now)?;
            // What deliveries note in between does not count here: a step ahead would go unnoticed.
            counters::store_time(unit, ClockTime::Followed, now)
        })
        .await?;
        let jumped = self.clock_time(ClockTime::Jumped).await?;
        Ok(jumped == 0 || now.saturating_sub(jumped) >= BELIEVED_AFTER)
    }

    async fn look_at_clock(&self, now: i64) -> Result<ClockStep> {
        let latest = self.clock_time(ClockTime::Latest).await?;
        // A new ledger has noted no time, so there is nothing to compare with.
        if latest == 0 {
            return Ok(ClockStep::Steady);
        }
        if now < latest.saturating_sub(SMALL) {
            return Ok(ClockStep::Back(SetBack { at: now, by: latest - now }));
        }
        let followed = match self.clock_time(ClockTime::Followed).await? {
            0 => latest,
            followed => followed,
        };
        if now > followed.saturating_add(LONG) {
            self.write(move |unit| counters::store_time(unit, ClockTime::Jumped, now)).await?;
            tracing::warn!(
                event = LogEvent::ClockAhead.word(),
                days = (now - followed) / DAY,
                "This machine's clock went on by days since the relay last looked. If it is wrong, set it right; nothing is forgotten before it has gone on for a day"
            );
        }
        Ok(if now > followed.saturating_add(PAUSE) { ClockStep::Ahead } else { ClockStep::Steady })
    }

    /// Each step may be repeated; the last one ends it.
    async fn set_back(&self, views: &Views, sources: &[String], back: SetBack) -> Result<()> {
        let SetBack { at: now, by } = back;
        tracing::warn!(
            event = LogEvent::ClockBack.word(),
            by_ms = by,
            "This machine's clock went back: it was ahead, or is behind now and must be set right. Everything is compared with MISP and with each target"
        );
        // First of all: a relay that is killed before the end, and started again with a clock that is right,
        // sees a step ahead, which undoes what was cut too short.
        self.write(move |unit| counters::store_time(unit, ClockTime::Followed, now)).await?;
        self.hear_again(views, Mistimed::Future, now).await?;
        for source in sources {
            self.begin_resync(source, None, now).await?;
        }
        self.write(move |unit| {
            put_right(unit, now)?;
            settings::store(unit, SET_BACK, &encode(&back)?)?;
            unit.then(|shared| {
                shared.changed.notify_waiters();
                shared.asked.notify_waiters();
            });
            Ok(())
        })
        .await
    }

    /// Treats claims whose times were noted by a wrong clock as heard now.
    async fn hear_again(&self, views: &Views, mistimed: Mistimed, now: i64) -> Result<()> {
        loop {
            let objects = self.read(move |tx| mistimed.objects(tx, now)).await?;
            if objects.is_empty() {
                return Ok(());
            }
            let views = views.clone();
            self.write_step(move |unit| {
                mistimed.hear(unit, &objects, now)?;
                let mut change = Change::new(&views, None, now).in_lane(Lane::Backlog);
                refresh(unit, &objects, &mut change)?;
                unit.wake(&change);
                Ok(())
            })
            .await?;
        }
    }

    async fn clock_time(&self, time: ClockTime) -> Result<i64> {
        self.read(move |tx| counters::time(tx, time)).await
    }

    /// The last step back of the clock.
    pub(super) async fn last_set_back(&self) -> Result<Option<SetBack>> {
        let stored = self.remembered(SET_BACK).await?;
        Ok(stored.and_then(|stored| serde_json::from_value(stored).ok()))
    }
}

/// Brings waits forward, sets stored times that are later than `now` to `now`, and has each target compared with
/// everything.
fn put_right(tx: &Transaction<'_>, now: i64) -> Result<()> {
    // If the clock is behind, this cuts some times too short. The step ahead that follows puts them right
    // again (`Mistimed::Overtaken`).
    // What gates work.
    reads::bring_forward(tx, now, now)?;
    delivered::bring_forward(tx, now, now)?;
    delivered::deletions::bring_forward(tx, now)?;
    // What counts ages.
    alert_cursors::not_after(tx, now)?;
    announced::not_after(tx, now)?;
    delivered::not_after(tx, now)?;
    events::not_after(tx, now)?;
    gaps::not_after(tx, now)?;
    held::not_after(tx, now)?;
    hits::not_after(tx, now)?;
    own_sightings::bring_forward(tx, now)?;
    inferred::not_after(tx, now)?;
    reads::not_after(tx, now)?;
    sightings::not_after(tx, now)?;
    suppressed::not_after(tx, now)?;
    tag_changes::not_after(tx, now)?;
    tombstones::not_after(tx, now)?;
    // An operator gives leave for an empty MISP for minutes.
    settings::end_leaves(tx)?;
    // What the ledger notes of the clock starts anew.
    counters::store_time(tx, ClockTime::Latest, now)?;
    counters::store_time(tx, ClockTime::Jumped, 0)?;
    for known in targets::present(tx)? {
        queue::open_everything(tx, &known.entry.target, now)?;
    }
    Ok(())
}

/// Notes that it was `now`, Unix milliseconds.
pub(super) fn note(tx: &Transaction<'_>, now: i64) -> Result<()> {
    counters::raise_time(tx, ClockTime::Latest, now)
}
