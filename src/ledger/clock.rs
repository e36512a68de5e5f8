//! Our own clock may be wrong, and step. The ledger keeps two times: the latest that anybody saw
//! (`clock`), by which a step back is noticed, and when upkeep last looked (`clock followed`), by which a
//! step ahead is noticed, since a delivery right after such a step raises the first.
//!
//! A clock that went back was ahead before, or is behind now, and nothing here can tell which: MISP may
//! share this clock. Either way what waits is brought forward, no stored time stays in the future, and
//! everything is compared anew. If it was behind, what it cut too short is put right when it goes on.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::apply::STEP;
use super::change::Change;
use super::delivered::queue_everything;
use super::start::store_setting;
use super::wanted::{encode, refresh};
use super::{Lane, Ledger, Views, Writing, push_uuids};

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

/// Ids a statement.
const CHUNK: usize = 500;

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

/// What gates work and is brought forward to $1, whichever clock is right.
const WAITS: [&str; 7] = [
    "UPDATE reads SET due_at = $1 WHERE due_at > $1",
    "UPDATE reads SET not_before = $1 WHERE not_before > $1",
    "UPDATE reads SET asked_at = $1 WHERE asked_at > $1",
    "UPDATE delivered SET resend_at = $1 WHERE resend_at > $1",
    // Of deletions that are not over for good.
    "UPDATE delivered SET deletion = $1
     WHERE deletion > $1 AND deletion < 9223372036854775807 AND accepted = 0 AND NOT context",
    "UPDATE gaps SET until = $1 WHERE until > $1",
    "UPDATE gaps SET since = $1 WHERE since > $1",
];

/// What lies further ahead than anything waits is brought forward although no step back was noticed.
const FAR: [&str; 3] = [
    "UPDATE reads SET due_at = $1 WHERE due_at > $1 + 3600000",
    "UPDATE reads SET not_before = $1 WHERE not_before > $1 + 3600000",
    "UPDATE delivered SET resend_at = $1
     WHERE target IN (SELECT target FROM targets) AND resend_at > $1 + 3600000",
];

/// What counts ages and cannot be younger than $1.
const AGES: [&str; 10] = [
    "UPDATE tombstones SET withdrawn_at = $1 WHERE withdrawn_at > $1",
    "UPDATE events SET deleted_at = $1 WHERE deleted_at > $1",
    "UPDATE announced SET received_at = $1 WHERE received_at > $1",
    "UPDATE tag_changes SET heard_at = $1 WHERE heard_at > $1",
    "UPDATE sightings SET heard_at = $1 WHERE heard_at > $1",
    "UPDATE held SET since = $1 WHERE since > $1",
    "UPDATE inferred SET at = $1 WHERE at > $1",
    "UPDATE delivered SET accepted_at = $1 WHERE accepted_at > $1",
    "UPDATE suppressed SET until = until - (since - $1), since = $1 WHERE since > $1",
    // An operator's leave for an empty MISP is given for minutes.
    "UPDATE settings SET value = '0' WHERE name LIKE 'may empty %' AND $1 > 0",
];

/// What the ledger notes of the clock starts anew after a step back.
const LATEST: [&str; 2] = [
    "UPDATE counters SET value = $1 WHERE name = 'clock'",
    "UPDATE counters SET value = 0 * $1 WHERE name = 'clock jumped'",
];

/// What deliveries note in between does not count here: a step ahead would go unnoticed.
const FOLLOWED: &str = "INSERT INTO counters (name, value) VALUES ('clock followed', $1)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

impl Ledger {
    /// Looks at the clock, and follows what it did. `source`: where everything can be read again.
    /// Returns whether what is old may be forgotten: after a long step ahead, not before the clock has
    /// gone on for a day.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(super) async fn follow_clock(
        &self,
        views: &Views,
        source: Option<&str>,
        now: i64,
    ) -> sqlx::Result<bool> {
        match self.look_at_clock(now).await? {
            Step::Steady => {}
            Step::Ahead => self.hear_again(views, &OVERTAKEN, now).await?,
            Step::Back(back) => self.set_back(views, source, back).await?,
        }
        let mut tx = self.begin().await?;
        for statement in FAR {
            bring_forward(&mut tx, statement, now).await?;
        }
        note(&mut tx, now).await?;
        bring_forward(&mut tx, FOLLOWED, now).await?;
        tx.commit().await?;
        let jumped = self.counter("clock jumped").await?;
        Ok(jumped == 0 || now.saturating_sub(jumped) >= BELIEVED_AFTER)
    }

    async fn look_at_clock(&self, now: i64) -> sqlx::Result<Step> {
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
            sqlx::query("UPDATE counters SET value = $1 WHERE name = 'clock jumped'")
                .bind(now)
                .execute(&self.writer)
                .await?;
            tracing::warn!(
                days = (now - followed) / DAY,
                "the clock went on by days since the relay last looked: if it is wrong, set it right; nothing is forgotten before it has gone on for a day"
            );
        }
        Ok(if now > followed.saturating_add(PAUSE) { Step::Ahead } else { Step::Steady })
    }

    /// Each step may be repeated; the last one ends it.
    async fn set_back(
        &self,
        views: &Views,
        source: Option<&str>,
        back: SetBack,
    ) -> sqlx::Result<()> {
        let SetBack { at: now, by } = back;
        let seconds = Duration::from_millis(by.unsigned_abs()).as_secs();
        tracing::warn!(
            seconds,
            "this machine's clock went back: it was ahead, or it is behind now and must be set right; everything is compared with MISP and with each target"
        );
        // First of all: a relay that is killed before the end, and started again with a clock that is right,
        // sees a step ahead, which undoes what was cut too short.
        sqlx::query(FOLLOWED).bind(now).execute(&self.writer).await?;
        self.hear_again(views, &FUTURE, now).await?;
        if let Some(source) = source {
            self.begin_resync(source, None, now).await?;
        }
        let mut tx = self.begin().await?;
        put_right(&mut tx, now).await?;
        store_setting(&mut tx, SET_BACK, &encode(&back)?).await?;
        tx.commit().await?;
        self.note_written();
        self.shared.changed.notify_waiters();
        self.shared.asked.notify_waiters();
        Ok(())
    }

    /// Claims of which `which` says that their times were judged by a clock that was wrong count as
    /// heard now.
    async fn hear_again(&self, views: &Views, which: &Which, now: i64) -> sqlx::Result<()> {
        loop {
            let objects: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(format!(
                "SELECT DISTINCT object FROM claims WHERE {} LIMIT $2",
                which.claims
            )))
            .bind(now)
            .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await?;
            if objects.is_empty() {
                return Ok(());
            }
            let mut tx = self.begin().await?;
            for objects in objects.chunks(CHUNK) {
                // A builder numbers its own values only.
                let [claims, times] =
                    [which.claims, which.times].map(|sql| sql.replace("$1", &now.to_string()));
                let mut query = QueryBuilder::<Sqlite>::new(format!(
                    "UPDATE claims SET {times} WHERE ({claims})"
                ));
                push_uuids(&mut query, " AND object IN ", objects);
                query.build().execute(&mut *tx).await?;
            }
            let mut change = Change::new(views, None, now).in_lane(Lane::Backlog);
            refresh(&mut tx, &objects, &mut change).await?;
            self.commit(tx, &change).await?;
        }
    }

    async fn counter(&self, name: &str) -> sqlx::Result<i64> {
        let value: Option<i64> = sqlx::query_scalar("SELECT value FROM counters WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.readers)
            .await?;
        Ok(value.unwrap_or_default())
    }

    /// The last step back of the clock.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(super) async fn last_set_back(&self) -> sqlx::Result<Option<SetBack>> {
        let stored = self.remembered(SET_BACK).await?;
        Ok(stored.and_then(|stored| serde_json::from_value(stored).ok()))
    }
}

/// Stored times that are later than `now`, and change 0 for each target.
async fn put_right(tx: &mut Writing, now: i64) -> sqlx::Result<()> {
    for statement in WAITS.iter().chain(&AGES).chain(&LATEST) {
        bring_forward(tx, statement, now).await?;
    }
    let targets: Vec<String> =
        sqlx::query_scalar("SELECT target FROM targets WHERE mode <> 'absent'")
            .fetch_all(&mut **tx)
            .await?;
    for target in targets {
        queue_everything(tx, &target, now).await?;
    }
    Ok(())
}

/// Some claims, and the times that they get at $1.
struct Which {
    claims: &'static str,
    times: &'static str,
}

/// Heard by a clock that was ahead.
const FUTURE: Which = Which {
    claims: "claimed_at > $1 OR heard_at > $1",
    times: "claimed_at = CASE WHEN claimed_at > $1 THEN $1 ELSE claimed_at END,
        heard_at = CASE WHEN heard_at > $1 THEN $1 ELSE heard_at END",
};

/// What they say was in the future when it was heard, perhaps because our clock was behind, and is not
/// any more. There is an index of those that speak of the future, for which the first condition asks. A
/// difference of less than a minute is one between two clocks that are right. Where MISP's clock is ahead
/// by less than a day, ours must have been behind by more than that: a claim is heard again once. A claim
/// that was first seen at the time that is put right was seen by the same clock.
const OVERTAKEN: Which = Which {
    claims: "heard_at / 1000 < timestamp AND heard_at / 1000 + 60 < timestamp
        AND (timestamp <= $1 / 1000
             OR timestamp <= $1 / 1000 + 86400 AND heard_at / 1000 + 172800 < timestamp)",
    times: "claimed_at = CASE WHEN claimed_at = heard_at THEN $1 ELSE claimed_at END,
        heard_at = $1",
};

/// Notes that it was `now`, Unix milliseconds.
pub(super) async fn note(tx: &mut SqliteConnection, now: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE counters SET value = $1 WHERE name = 'clock' AND value < $1")
        .bind(now)
        .execute(tx)
        .await?;
    Ok(())
}

async fn bring_forward(
    tx: &mut SqliteConnection,
    statement: &'static str,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(statement).bind(now).execute(tx).await?;
    Ok(())
}
