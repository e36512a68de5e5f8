//! What the ledger can tell an operator.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::wanted::decode;
use super::{Lane, Ledger, Resync, ResyncCount, Room, SetBack, Unread};
use crate::notice::Gap;

/// Figures of the ledger, for `status` and metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerStatus {
    pub events: i64,
    pub deleted_events: i64,
    pub claims: i64,
    /// Attributes of the applied events that make no indicator, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Wanted indicators that are not withdrawn, of all views.
    pub wanted: i64,
    /// Wanted objects beside them: identities, techniques, actors, relationships.
    #[serde(default)]
    pub context: i64,
    /// Webhook publications that nothing confirmed yet.
    pub announced: i64,
    /// Events that are to be read over REST.
    pub awaiting_rest: i64,
    /// Events that MISP was asked for in vain, and the first few of them.
    #[serde(default)]
    pub unread: i64,
    #[serde(default)]
    pub unread_first: Vec<Unread>,
    /// Claims that the guard keeps.
    #[serde(default)]
    pub held: i64,
    /// Live indicators that warninglists would withdraw which the guard keeps waiting.
    #[serde(default)]
    pub warninglists_waiting: Option<i64>,
    /// Values that an operator withholds.
    #[serde(default)]
    pub suppressed: i64,
    /// The last full resync, under way or done.
    #[serde(default)]
    pub resync: Option<ResyncStatus>,
    pub gaps: Vec<GapStatus>,
    /// When this machine's clock last went back.
    #[serde(default)]
    pub clock_set_back: Option<SetBack>,
    pub targets: Vec<TargetStatus>,
    /// On disk.
    #[serde(default)]
    pub room: Room,
}

/// How far a full resync has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResyncStatus {
    #[serde(flatten)]
    pub resync: Resync,
    pub left: ResyncCount,
}

/// Something may have been missed, and nothing has healed it yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct GapStatus {
    pub intake: String,
    pub reason: String,
    /// Unix milliseconds.
    pub since: i64,
    pub until: i64,
    pub times: i64,
}

/// What a target holds and waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    pub target: String,
    /// The view that it sees.
    #[serde(default)]
    pub view: String,
    /// `live`, `dry-run`, `disabled`, or `absent`: no longer configured.
    #[serde(default)]
    pub mode: String,
    /// Indicators that Sentinel accepted and that were not withdrawn since.
    pub delivered: i64,
    pub withdrawn: i64,
    pub rejected: i64,
    /// Open changes per lane: withdrawals, live, backlog.
    pub queue: [i64; 3],
    /// Objects that Sentinel refused, in its words; the first few.
    pub refusals: Vec<Refusal>,
}

/// An object that Sentinel refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Refusal {
    pub stix_id: Uuid,
    pub words: String,
}

/// Events that are told one by one.
const UNREAD_TOLD: i64 = 5;

/// What a target refused and is still wanted so.
const REFUSED: &str = "FROM delivered d
    JOIN targets t ON t.target = d.target
    JOIN wanted w ON w.view = t.view AND w.object = d.object
    WHERE d.target = $1 AND d.rejected = w.version AND d.rejected_in = w.change";

impl Ledger {
    /// Counts everything; a scan of the tables, so for commands, not for loops.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn status(&self) -> sqlx::Result<LedgerStatus> {
        let known: Vec<(String, String, String)> =
            sqlx::query_as("SELECT target, view, mode FROM targets ORDER BY target")
                .fetch_all(&self.readers)
                .await?;
        let mut targets = Vec::with_capacity(known.len());
        for (name, view, mode) in known {
            targets.push(TargetStatus { view, mode, ..self.target_status(name).await? });
        }
        let (unread_first, unread) = self.unread(UNREAD_TOLD).await?;
        Ok(LedgerStatus {
            unread,
            unread_first,
            events: self.count("SELECT count(*) FROM events WHERE deleted_at IS NULL").await?,
            deleted_events: self
                .count("SELECT count(*) FROM events WHERE deleted_at IS NOT NULL")
                .await?,
            claims: self.count("SELECT count(*) FROM claims").await?,
            skipped: self.skipped().await?,
            wanted: self
                .count("SELECT count(*) FROM wanted WHERE version <> 0 AND kind = 'indicator'")
                .await?,
            context: self
                .count("SELECT count(*) FROM wanted WHERE version <> 0 AND kind <> 'indicator'")
                .await?,
            announced: self.count("SELECT count(*) FROM announced").await?,
            awaiting_rest: self.count("SELECT count(*) FROM reads").await?,
            held: self.count("SELECT count(*) FROM held").await?,
            warninglists_waiting: self.waiting_warninglists().await?,
            suppressed: self.count("SELECT count(*) FROM suppressed").await?,
            resync: self.resync_status().await?,
            gaps: self.gaps().await?,
            clock_set_back: self.last_set_back().await?,
            targets,
            room: self.room().await?,
        })
    }

    /// Events that are to be read over REST, and claims that the guard keeps.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn waiting(&self) -> sqlx::Result<(i64, i64)> {
        let reads = self.count("SELECT count(*) FROM reads").await?;
        Ok((reads, self.count("SELECT count(*) FROM held").await?))
    }

    async fn resync_status(&self) -> sqlx::Result<Option<ResyncStatus>> {
        let name: Option<String> =
            sqlx::query_scalar("SELECT name FROM settings WHERE name LIKE 'resync %' LIMIT 1")
                .fetch_optional(&self.readers)
                .await?;
        let Some(source) = name.as_deref().and_then(|name| name.strip_prefix("resync ")) else {
            return Ok(None);
        };
        let progress = self.resync_progress(source).await?;
        Ok(progress.map(|(resync, left)| ResyncStatus { resync, left }))
    }

    /// Open changes of a target per lane.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn queue_depth(&self, target: &str) -> sqlx::Result<[i64; 3]> {
        let rows: Vec<(i16, i64)> =
            sqlx::query_as("SELECT lane, count(*) FROM queue WHERE target = $1 GROUP BY lane")
                .bind(target)
                .fetch_all(&self.readers)
                .await?;
        Ok(Lane::ALL.map(|lane| {
            rows.iter().find(|(number, _)| *number == lane.number()).map_or(0, |(_, count)| *count)
        }))
    }

    async fn target_status(&self, target: String) -> sqlx::Result<TargetStatus> {
        let (delivered, withdrawn): (i64, i64) = sqlx::query_as(
            "SELECT COALESCE(SUM(accepted <> 0), 0), COALESCE(SUM(accepted = 0), 0)
             FROM delivered WHERE target = $1 AND NOT context",
        )
        .bind(&target)
        .fetch_one(&self.readers)
        .await?;
        let rejected = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) {REFUSED}")))
            .bind(&target)
            .fetch_one(&self.readers)
            .await?;
        let words = format!("SELECT w.stix_id, d.words {REFUSED} AND d.words IS NOT NULL LIMIT 10");
        let refusals =
            sqlx::query_as(AssertSqlSafe(words)).bind(&target).fetch_all(&self.readers).await?;
        let queue = self.queue_depth(&target).await?;
        let known = TargetStatus { target, delivered, withdrawn, rejected, ..Default::default() };
        Ok(TargetStatus { queue, refusals, ..known })
    }

    async fn gaps(&self) -> sqlx::Result<Vec<GapStatus>> {
        sqlx::query_as(
            "SELECT intake, reason, MIN(since) AS since, MAX(until) AS until, SUM(times) AS times
             FROM gaps GROUP BY intake, reason ORDER BY until DESC",
        )
        .fetch_all(&self.readers)
        .await
    }

    async fn skipped(&self) -> sqlx::Result<BTreeMap<String, u64>> {
        let events: Vec<String> =
            sqlx::query_scalar("SELECT skipped FROM events WHERE deleted_at IS NULL")
                .fetch_all(&self.readers)
                .await?;
        let mut total = BTreeMap::new();
        for event in events {
            for (reason, count) in decode::<BTreeMap<String, u64>>(&event)? {
                *total.entry(reason).or_default() += count;
            }
        }
        Ok(total)
    }

    async fn count(&self, query: &'static str) -> sqlx::Result<i64> {
        sqlx::query_scalar(query).fetch_one(&self.readers).await
    }

    /// Records that something may have been missed until `now`, Unix milliseconds.
    pub(super) async fn record_gap(
        &self,
        source: &str,
        gap: &Gap,
        since: i64,
        now: i64,
    ) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO gaps (source, intake, reason, event, since, until, times, publication)
             VALUES ($1, $2, $3, $4, $5, $6, 1, $7)
             ON CONFLICT (source, intake, reason, event) DO UPDATE SET until = excluded.until,
                 times = gaps.times + 1, publication = gaps.publication OR excluded.publication",
        )
        .bind(source)
        .bind(&gap.intake)
        .bind(gap.reason.word())
        .bind(gap.event.unwrap_or(Uuid::nil()))
        .bind(since)
        .bind(now)
        .bind(gap.publication)
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}
