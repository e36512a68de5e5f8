//! Our own clock may be wrong, and step. The ledger keeps two times: the latest that anybody saw
//! (`clock`), by which a step back is noticed, and when upkeep last looked (`clock followed`), by which a
//! step ahead is noticed, since a delivery right after such a step raises the first.
//!
//! A clock that went back was ahead before, or is behind now, and nothing here can tell which: MISP may
//! share this clock. Either way what waits is brought forward, no stored time stays in the future, and
//! everything is compared anew. If it was behind, what it cut too short is put right when it goes on.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::apply::STEP;
use super::change::Change;
use super::delivered::queue_everything;
use super::sql::{Result, Statement, Transaction, statements, values};
use super::start::store_setting;
use super::wanted::{encode, refresh};
use super::{Lane, Ledger, Views};

/// Claims that were heard by a clock that was ahead.
macro_rules! future {
    () => {
        "(claimed_at > $1 OR heard_at > $1)"
    };
}

/// What they say was in the future when it was heard, perhaps because our clock was behind, and is not
/// any more. There is an index of those that speak of the future, for which the first condition asks. A
/// difference of less than a minute is one between two clocks that are right. Where MISP's clock is ahead
/// by less than a day, ours must have been behind by more than that: a claim is heard again once. A claim
/// that was first seen at the time that is put right was seen by the same clock.
macro_rules! overtaken {
    () => {
        "(heard_at / 1000 < timestamp AND heard_at / 1000 + 60 < timestamp
          AND (timestamp <= CAST($1 AS BIGINT) / 1000
               OR timestamp <= CAST($1 AS BIGINT) / 1000 + 86400 AND heard_at / 1000 + 172800 < timestamp))"
    };
}

statements! {
    COUNTER(Text) = "SELECT value FROM counters WHERE name = $1";
    TARGETS() = "SELECT target FROM targets WHERE mode <> 'absent'";
    NOTE(Integer) = "UPDATE counters SET value = $1 WHERE name = 'clock' AND value < $1";
    JUMPED(Integer) = "UPDATE counters SET value = $1 WHERE name = 'clock jumped'";
    /// What deliveries note in between does not count here: a step ahead would go unnoticed.
    FOLLOWED(Integer) = "INSERT INTO counters (name, value) VALUES ('clock followed', $1)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";

    FUTURE_CLAIMS(Integer, Integer) =
        concat!("SELECT DISTINCT object FROM claims WHERE ", future!(), " LIMIT $2");
    HEAR_FUTURE(Integer, Bytes) = concat!(
        "UPDATE claims SET claimed_at = CASE WHEN claimed_at > $1 THEN $1 ELSE claimed_at END,
             heard_at = CASE WHEN heard_at > $1 THEN $1 ELSE heard_at END
         WHERE object = $2 AND ",
        future!()
    );
    OVERTAKEN_CLAIMS(Integer, Integer) =
        concat!("SELECT DISTINCT object FROM claims WHERE ", overtaken!(), " LIMIT $2");
    HEAR_OVERTAKEN(Integer, Bytes) = concat!(
        "UPDATE claims SET claimed_at = CASE WHEN claimed_at = heard_at THEN $1 ELSE claimed_at END,
             heard_at = $1
         WHERE object = $2 AND ",
        overtaken!()
    );

    READ_DUE(Integer) = "UPDATE reads SET due_at = $1 WHERE due_at > $1";
    READ_NOT_BEFORE(Integer) = "UPDATE reads SET not_before = $1 WHERE not_before > $1";
    READ_ASKED(Integer) = "UPDATE reads SET asked_at = $1 WHERE asked_at > $1";
    RESEND(Integer) = "UPDATE delivered SET resend_at = $1 WHERE resend_at > $1";
    /// Of deletions that are not over for good.
    DELETION(Integer) = "UPDATE delivered SET deletion = $1
        WHERE deletion > $1 AND deletion < 9223372036854775807 AND accepted = 0 AND NOT context";
    GAP_UNTIL(Integer) = "UPDATE gaps SET until = $1 WHERE until > $1";
    GAP_SINCE(Integer) = "UPDATE gaps SET since = $1 WHERE since > $1";

    FAR_READ_DUE(Integer) =
        "UPDATE reads SET due_at = $1 WHERE due_at > CAST($1 AS BIGINT) + 3600000";
    FAR_READ_NOT_BEFORE(Integer) =
        "UPDATE reads SET not_before = $1 WHERE not_before > CAST($1 AS BIGINT) + 3600000";
    FAR_RESEND(Integer) = "UPDATE delivered SET resend_at = $1
        WHERE target IN (SELECT target FROM targets) AND resend_at > CAST($1 AS BIGINT) + 3600000";

    WITHDRAWN(Integer) = "UPDATE tombstones SET withdrawn_at = $1 WHERE withdrawn_at > $1";
    DELETED(Integer) = "UPDATE events SET deleted_at = $1 WHERE deleted_at > $1";
    RECEIVED(Integer) = "UPDATE announced SET received_at = $1 WHERE received_at > $1";
    TAGGED(Integer) = "UPDATE tag_changes SET heard_at = $1 WHERE heard_at > $1";
    SIGHTED(Integer) = "UPDATE sightings SET heard_at = $1 WHERE heard_at > $1";
    HELD(Integer) = "UPDATE held SET since = $1 WHERE since > $1";
    INFERRED(Integer) = "UPDATE inferred SET at = $1 WHERE at > $1";
    ACCEPTED(Integer) = "UPDATE delivered SET accepted_at = $1 WHERE accepted_at > $1";
    SUPPRESSED(Integer) =
        "UPDATE suppressed SET until = until - (since - $1), since = $1 WHERE since > $1";

    /// An operator's leave for an empty MISP is given for minutes.
    END_LEAVE() = "UPDATE settings SET value = '0' WHERE name LIKE 'may empty %'";
    LATEST(Integer) = "UPDATE counters SET value = $1 WHERE name = 'clock'";
}

/// What gates work and is brought forward to $1, whichever clock is right.
static WAITS: [&Statement; 7] =
    [&READ_DUE, &READ_NOT_BEFORE, &READ_ASKED, &RESEND, &DELETION, &GAP_UNTIL, &GAP_SINCE];

/// What lies further ahead than anything waits is brought forward although no step back was noticed.
static FAR: [&Statement; 3] = [&FAR_READ_DUE, &FAR_READ_NOT_BEFORE, &FAR_RESEND];

/// What counts ages and cannot be younger than $1.
static AGES: [&Statement; 9] =
    [&WITHDRAWN, &DELETED, &RECEIVED, &TAGGED, &SIGHTED, &HELD, &INFERRED, &ACCEPTED, &SUPPRESSED];

/// Some claims.
struct Which {
    /// The objects that they count for at $1.
    objects: &'static Statement,
    /// Gives those of an object the time $1.
    hear: &'static Statement,
}

static FUTURE: Which = Which { objects: &FUTURE_CLAIMS, hear: &HEAR_FUTURE };

static OVERTAKEN: Which = Which { objects: &OVERTAKEN_CLAIMS, hear: &HEAR_OVERTAKEN };

/// A step back that small changes nothing that matters, milliseconds.
const SMALL: i64 = 60_000;

/// Nothing waits longer by intent, milliseconds: a stored time that lies further ahead is from a clock
/// that was ahead.
pub(super) const LONGEST_WAIT: i64 = 3_600_000;

/// A clock that moved ahead by so much while nobody looked may be wrong, milliseconds.
const LONG: i64 = 7 * DAY;

/// It is believed once it has gone on for so long, milliseconds.
const BELIEVED_AFTER: i64 = DAY;

const DAY: i64 = 86_400_000;

/// After a pause of so much, or a step ahead, times that were in the future are looked at again.
const PAUSE: i64 = 300_000;

/// The setting that remembers the last step back.
const SET_BACK: &str = "clock set back";

/// That the clock went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetBack {
    /// When it was noticed, Unix milliseconds.
    pub at: i64,
    /// By how much, milliseconds.
    pub by: i64,
}

/// What the clock did since it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Steady,
    /// It went on by more than a few minutes.
    Ahead,
    Back(SetBack),
}

impl Ledger {
    /// Looks at the clock, and follows what it did. `source`: where everything can be read again.
    /// Returns whether what is old may be forgotten: after a long step ahead, not before the clock has
    /// gone on for a day.
    pub(super) async fn follow_clock(
        &self,
        views: &Views,
        source: Option<&str>,
        now: i64,
    ) -> Result<bool> {
        match self.look_at_clock(now).await? {
            Step::Steady => {}
            Step::Ahead => self.hear_again(views, &OVERTAKEN, now).await?,
            Step::Back(back) => self.set_back(views, source, back).await?,
        }
        self.write(move |unit| {
            for statement in FAR {
                unit.execute(statement, &values![now])?;
            }
            note(unit, now)?;
            unit.execute(&FOLLOWED, &values![now])
        })
        .await?;
        let jumped = self.counter("clock jumped").await?;
        Ok(jumped == 0 || now.saturating_sub(jumped) >= BELIEVED_AFTER)
    }

    async fn look_at_clock(&self, now: i64) -> Result<Step> {
        let latest = self.counter("clock").await?;
        if latest == 0 {
            return Ok(Step::Steady);
        }
        if now < latest.saturating_sub(SMALL) {
            return Ok(Step::Back(SetBack { at: now, by: latest - now }));
        }
        let followed = match self.counter("clock followed").await? {
            0 => latest,
            followed => followed,
        };
        if now > followed.saturating_add(LONG) {
            self.write(move |unit| unit.execute(&JUMPED, &values![now])).await?;
            tracing::warn!(
                days = (now - followed) / DAY,
                "the clock went on by days since the relay last looked: if it is wrong, set it right; nothing is forgotten before it has gone on for a day"
            );
        }
        Ok(if now > followed.saturating_add(PAUSE) { Step::Ahead } else { Step::Steady })
    }

    /// Each step may be repeated; the last one ends it.
    async fn set_back(&self, views: &Views, source: Option<&str>, back: SetBack) -> Result<()> {
        let SetBack { at: now, by } = back;
        let seconds = Duration::from_millis(by.unsigned_abs()).as_secs();
        tracing::warn!(
            seconds,
            "this machine's clock went back: it was ahead, or it is behind now and must be set right; everything is compared with MISP and with each target"
        );
        // First of all: a relay that is killed before the end, and started again with a clock that is right,
        // sees a step ahead, which undoes what was cut too short.
        self.write(move |unit| unit.execute(&FOLLOWED, &values![now])).await?;
        self.hear_again(views, &FUTURE, now).await?;
        if let Some(source) = source {
            self.begin_resync(source, None, now).await?;
        }
        self.write(move |unit| {
            put_right(unit, now)?;
            store_setting(unit, SET_BACK, &encode(&back)?)?;
            unit.then(|shared| {
                shared.changed.notify_waiters();
                shared.asked.notify_waiters();
            });
            Ok(())
        })
        .await
    }

    /// Claims of which `which` says that their times were judged by a clock that was wrong count as
    /// heard now.
    async fn hear_again(&self, views: &Views, which: &'static Which, now: i64) -> Result<()> {
        let step = i64::try_from(STEP).unwrap_or(i64::MAX);
        loop {
            let objects: Vec<Uuid> =
                self.read(move |tx| tx.rows(which.objects, &values![now, step])).await?;
            if objects.is_empty() {
                return Ok(());
            }
            let views = views.clone();
            self.write(move |unit| {
                unit.execute_each(which.hear, objects.iter().map(|object| values![now, object]))?;
                let mut change = Change::new(&views, None, now).in_lane(Lane::Backlog);
                refresh(unit, &objects, &mut change)?;
                unit.wake(&change);
                Ok(())
            })
            .await?;
        }
    }

    async fn counter(&self, name: &'static str) -> Result<i64> {
        let value: Option<i64> = self.read(move |tx| tx.row(&COUNTER, &values![name])).await?;
        Ok(value.unwrap_or_default())
    }

    /// The last step back of the clock.
    pub(super) async fn last_set_back(&self) -> Result<Option<SetBack>> {
        let stored = self.remembered(SET_BACK).await?;
        Ok(stored.and_then(|stored| serde_json::from_value(stored).ok()))
    }
}

/// Stored times that are later than `now`, and change 0 for each target.
fn put_right(tx: &Transaction<'_>, now: i64) -> Result<()> {
    for statement in WAITS.iter().chain(&AGES) {
        tx.execute(statement, &values![now])?;
    }
    tx.execute(&END_LEAVE, &values![])?;
    // What the ledger notes of the clock starts anew.
    tx.execute(&LATEST, &values![now])?;
    tx.execute(&JUMPED, &values![0])?;
    let targets: Vec<String> = tx.rows(&TARGETS, &values![])?;
    for target in targets {
        queue_everything(tx, &target, now)?;
    }
    Ok(())
}

/// Notes that it was `now`, Unix milliseconds.
pub(super) fn note(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOTE, &values![now])?;
    Ok(())
}
