//! What the ledger can tell an operator.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sql::{Result, SqlError, Statement, Transaction, row, statements, values};
use super::wanted::decode;
use super::{Lane, Ledger, Resync, ResyncCount, Room, SetBack, Unread};
use crate::notice::Gap;

/// What a target refused and is still wanted so.
macro_rules! refused {
    () => {
        "FROM delivered d
         JOIN targets t ON t.target = d.target
         JOIN wanted w ON w.view = t.view AND w.object = d.object
         WHERE d.target = $1 AND d.rejected = w.version AND d.rejected_in = w.change"
    };
}

statements! {
    TARGETS() = "SELECT target, view, mode FROM targets ORDER BY target";
    COUNT_EVENTS() = "SELECT count(*) FROM events WHERE deleted_at IS NULL";
    COUNT_DELETED() = "SELECT count(*) FROM events WHERE deleted_at IS NOT NULL";
    COUNT_CLAIMS() = "SELECT count(*) FROM claims";
    COUNT_WANTED() = "SELECT count(*) FROM wanted WHERE version <> 0 AND kind = 'indicator'";
    COUNT_CONTEXT() = "SELECT count(*) FROM wanted WHERE version <> 0 AND kind <> 'indicator'";
    COUNT_ANNOUNCED() = "SELECT count(*) FROM announced";
    COUNT_READS() = "SELECT count(*) FROM reads";
    COUNT_HELD() = "SELECT count(*) FROM held";
    COUNT_SUPPRESSED() = "SELECT count(*) FROM suppressed";
    RESYNC() = "SELECT name FROM settings WHERE name LIKE 'resync %' LIMIT 1";
    DEPTHS(Text) = "SELECT lane, count(*) FROM queue WHERE target = $1 GROUP BY lane";
    DELIVERED(Text) =
        "SELECT count(*) FILTER (WHERE accepted <> 0), count(*) FILTER (WHERE accepted = 0)
         FROM delivered WHERE target = $1 AND NOT context";
    COUNT_REFUSED(Text) = concat!("SELECT count(*) ", refused!());
    REFUSALS(Text) = concat!(
        "SELECT w.stix_id, d.words ",
        refused!(),
        " AND d.words IS NOT NULL LIMIT 10"
    );
    GAPS() =
        "SELECT intake, reason, MIN(since) AS since, MAX(until) AS until,
             CAST(SUM(times) AS BIGINT) AS times
         FROM gaps GROUP BY intake, reason ORDER BY until DESC";
    SKIPPED() = "SELECT skipped FROM events WHERE deleted_at IS NULL";
    RECORD_GAP(Text, Text, Text, Bytes, Integer, Integer, Boolean) =
        "INSERT INTO gaps (source, intake, reason, event, since, until, times, publication)
         VALUES ($1, $2, $3, $4, $5, $6, 1, $7)
         ON CONFLICT (source, intake, reason, event) DO UPDATE SET until = excluded.until,
             times = gaps.times + 1, publication = gaps.publication OR excluded.publication";
}

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

row! {
    /// Something may have been missed, and nothing has healed it yet.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct GapStatus {
        pub intake: String,
        pub reason: String,
        /// Unix milliseconds.
        pub since: i64,
        pub until: i64,
        pub times: i64,
    }
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

row! {
    /// An object that Sentinel refused.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Refusal {
        pub stix_id: Uuid,
        pub words: String,
    }
}

/// Events that are told one by one.
const UNREAD_TOLD: i64 = 5;

impl Ledger {
    /// Counts everything; a scan of the tables, so for commands, not for loops.
    pub async fn status(&self) -> Result<LedgerStatus> {
        let known: Vec<(String, String, String)> =
            self.read(|tx| tx.rows(&TARGETS, &values![])).await?;
        let mut targets = Vec::with_capacity(known.len());
        for (name, view, mode) in known {
            targets.push(TargetStatus { view, mode, ..self.target_status(name).await? });
        }
        let (unread_first, unread) = self.unread(UNREAD_TOLD).await?;
        Ok(LedgerStatus {
            unread,
            unread_first,
            events: self.count(&COUNT_EVENTS).await?,
            deleted_events: self.count(&COUNT_DELETED).await?,
            claims: self.count(&COUNT_CLAIMS).await?,
            skipped: self.skipped().await?,
            wanted: self.count(&COUNT_WANTED).await?,
            context: self.count(&COUNT_CONTEXT).await?,
            announced: self.count(&COUNT_ANNOUNCED).await?,
            awaiting_rest: self.count(&COUNT_READS).await?,
            held: self.count(&COUNT_HELD).await?,
            warninglists_waiting: self.waiting_warninglists().await?,
            suppressed: self.count(&COUNT_SUPPRESSED).await?,
            resync: self.resync_status().await?,
            gaps: self.read(|tx| tx.rows(&GAPS, &values![])).await?,
            clock_set_back: self.last_set_back().await?,
            targets,
            room: self.room().await?,
        })
    }

    /// Events that are to be read over REST, and claims that the guard keeps.
    pub async fn waiting(&self) -> Result<(i64, i64)> {
        self.read(|tx| Ok((count(tx, &COUNT_READS)?, count(tx, &COUNT_HELD)?))).await
    }

    async fn resync_status(&self) -> Result<Option<ResyncStatus>> {
        let name: Option<String> = self.read(|tx| tx.row(&RESYNC, &values![])).await?;
        let Some(source) = name.as_deref().and_then(|name| name.strip_prefix("resync ")) else {
            return Ok(None);
        };
        let progress = self.resync_progress(source).await?;
        Ok(progress.map(|(resync, left)| ResyncStatus { resync, left }))
    }

    /// Open changes of a target per lane.
    pub async fn queue_depth(&self, target: &str) -> Result<[i64; 3]> {
        let target = target.to_owned();
        self.read(move |tx| queue_depth(tx, &target)).await
    }

    async fn target_status(&self, target: String) -> Result<TargetStatus> {
        self.read(move |tx| {
            let (delivered, withdrawn) =
                tx.row(&DELIVERED, &values![&target])?.ok_or(SqlError::NoRow)?;
            let rejected = tx.row(&COUNT_REFUSED, &values![&target])?.ok_or(SqlError::NoRow)?;
            let refusals = tx.rows(&REFUSALS, &values![&target])?;
            let queue = queue_depth(tx, &target)?;
            let known =
                TargetStatus { target, delivered, withdrawn, rejected, ..Default::default() };
            Ok(TargetStatus { queue, refusals, ..known })
        })
        .await
    }

    async fn skipped(&self) -> Result<BTreeMap<String, u64>> {
        let events: Vec<String> = self.read(|tx| tx.rows(&SKIPPED, &values![])).await?;
        let mut total = BTreeMap::new();
        for event in events {
            for (reason, count) in decode::<BTreeMap<String, u64>>(&event)? {
                *total.entry(reason).or_default() += count;
            }
        }
        Ok(total)
    }

    /// Each count is a read of its own, so that no other has to wait for all of them.
    async fn count(&self, of: &'static Statement) -> Result<i64> {
        self.read(move |tx| count(tx, of)).await
    }

    /// Records that something may have been missed until `now`, Unix milliseconds.
    pub(super) async fn record_gap(
        &self,
        source: &str,
        gap: &Gap,
        since: i64,
        now: i64,
    ) -> Result<()> {
        let (source, gap) = (source.to_owned(), gap.clone());
        self.write(move |unit| {
            let Gap { intake, reason, event, publication, .. } = &gap;
            let event = event.unwrap_or(Uuid::nil());
            let values = values![&source, intake, reason.word(), event, since, now, *publication];
            unit.execute(&RECORD_GAP, &values).map(drop)
        })
        .await
    }
}

fn count(tx: &Transaction<'_>, of: &Statement) -> Result<i64> {
    tx.row(of, &values![])?.ok_or(SqlError::NoRow)
}

fn queue_depth(tx: &Transaction<'_>, target: &str) -> Result<[i64; 3]> {
    let rows: Vec<(i16, i64)> = tx.rows(&DEPTHS, &values![target])?;
    Ok(Lane::ALL.map(|lane| {
        rows.iter().find(|(number, _)| *number == lane.number()).map_or(0, |(_, count)| *count)
    }))
}
