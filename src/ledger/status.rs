//! Gathers the figures of the ledger for `status` and the metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sql::{Result, decode};
use super::tables::gaps::GapStatus;
use super::tables::reads::{ReadsOfSource, ResyncCount, Unread};
use super::tables::standings::Refusal;
use super::tables::targets::{RegisteredTarget, TargetMode, TargetView};
use super::tables::{
    announced, claims, events, gaps, held, queue, reads, settings, standings, suppressed, targets,
    wanted,
};
use super::{
    HitsOfTarget, JudgingState, Ledger, OwnSightingCounts, Resync, Room, SetBack, WaitingObjects,
};

/// Figures of the ledger, for `status` and metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerStatus {
    pub events: i64,
    pub deleted_events: i64,
    pub claims: i64,
    /// The same by source, also of sources that are no longer configured.
    #[serde(default)]
    pub sources: Vec<LedgerSource>,
    /// Attributes of the applied events that make no indicator, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Wanted indicators that are not withdrawn, of all views.
    pub wanted: i64,
    /// Wanted context objects: identities, techniques, actors, relationships.
    #[serde(default)]
    pub context: i64,
    /// Webhook publications that are not confirmed yet.
    pub announced: i64,
    /// Events that are to be read over REST.
    pub awaiting_rest: i64,
    /// The number of events whose reads failed, and the first few of them.
    #[serde(default)]
    pub unread: i64,
    #[serde(default)]
    pub unread_first: Vec<Unread>,
    /// Claims that the guard keeps.
    #[serde(default)]
    pub held: i64,
    /// Live indicators that new warninglists would withdraw, if the guard holds these lists.
    #[serde(default)]
    pub warninglists_waiting: Option<i64>,
    /// Values that an operator withholds.
    #[serde(default)]
    pub suppressed: i64,
    /// The last full resync of each source, under way or done.
    #[serde(default)]
    pub resyncs: Vec<ResyncStatus>,
    /// The judging that is under way after a change of policy, rendering or mapping.
    #[serde(default)]
    pub judging: Option<JudgingState>,
    pub gaps: Vec<GapStatus>,
    /// What alerts of each target told of our indicators.
    #[serde(default)]
    pub hits: Vec<HitsOfTarget>,
    /// The sightings by which each source is told of hits.
    #[serde(default)]
    pub own_sightings: Vec<OwnSightingCounts>,
    /// When this machine's clock last went back.
    #[serde(default)]
    pub clock_set_back: Option<SetBack>,
    pub targets: Vec<TargetStatus>,
    /// On disk.
    #[serde(default)]
    pub room: Room,
}

/// What the ledger holds of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerSource {
    pub source: String,
    /// Events that are not deleted.
    pub events: i64,
    #[serde(default)]
    pub claims: i64,
    /// Events that are to be read over REST.
    pub awaiting_rest: i64,
    /// Those of them whose last read failed.
    pub unread: i64,
}

/// How far a full resync has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResyncStatus {
    #[serde(default)]
    pub source: String,
    #[serde(flatten)]
    pub resync: Resync,
    pub left: ResyncCount,
}

/// What a target holds and waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    pub target: String,
    /// The view that it sees.
    #[serde(default)]
    pub view: String,
    #[serde(default)]
    pub mode: TargetMode,
    /// Live indicators that it should hold.
    #[serde(default)]
    pub wanted: i64,
    /// Indicators that Sentinel accepted and that were not withdrawn since.
    pub delivered: i64,
    pub withdrawn: i64,
    pub rejected: i64,
    /// Open changes per lane: withdrawals, live, backlog.
    pub queue: [i64; 3],
    /// Objects that wait, per lane: withdrawals, live, backlog. In a large ledger the count may be some time old.
    #[serde(default)]
    pub waiting: [WaitingObjects; 3],
    /// Objects that Sentinel refused, in its words; the first few.
    pub refusals: Vec<Refusal>,
}

/// The most events that are listed one by one.
const UNREAD_TOLD: i64 = 5;

/// How much waits for MISP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingCounts {
    /// Events that are to be read over REST.
    pub reads: i64,
    /// Claims that the guard keeps.
    pub held: i64,
    /// Values that an operator withholds.
    pub suppressed: i64,
    /// Times at which something may have been missed, and which nothing has healed.
    pub gaps: i64,
}

impl Ledger {
    /// Counts everything; a scan of the tables, so for commands, not for loops. Each count is a read of its
    /// own, so that no other has to wait for all of them.
    pub async fn status(&self) -> Result<LedgerStatus> {
        let targets = self.target_statuses().await?;
        let (unread_first, unread) = self.unread(UNREAD_TOLD).await?;
        let sources = self.sources().await?;
        Ok(LedgerStatus {
            unread,
            unread_first,
            events: self.read_counts(events::count_living).await?,
            deleted_events: self.read_counts(events::count_deleted).await?,
            claims: sources.iter().map(|one| one.claims).sum(),
            sources,
            skipped: self.skipped().await?,
            wanted: self.read_counts(wanted::count_live_indicators).await?,
            context: self.read_counts(wanted::count_live_context).await?,
            announced: self.read_counts(announced::count).await?,
            awaiting_rest: self.read_counts(reads::count).await?,
            held: self.read_counts(held::count).await?,
            warninglists_waiting: self.waiting_warninglists().await?,
            suppressed: self.read_counts(suppressed::count).await?,
            resyncs: self.resync_statuses().await?,
            judging: self.judging(),
            gaps: self.read_counts(gaps::by_reason).await?,
            hits: self.hits().await?,
            own_sightings: self.own_sighting_counts().await?,
            clock_set_back: self.last_set_back().await?,
            targets,
            room: self.room().await?,
        })
    }

    /// How each target stands, also one that is no longer configured.
    pub async fn target_statuses(&self) -> Result<Vec<TargetStatus>> {
        let mut targets = Vec::new();
        for known in self.read_counts(targets::all).await? {
            targets.push(self.target_status(known).await?);
        }
        Ok(targets)
    }

    pub async fn waiting(&self) -> Result<WaitingCounts> {
        self.read_counts(|tx| {
            Ok(WaitingCounts {
                reads: reads::count(tx)?,
                held: held::count(tx)?,
                suppressed: suppressed::count(tx)?,
                gaps: gaps::by_reason(tx)?.iter().map(|gap| gap.times).sum(),
            })
        })
        .await
    }

    /// The sources of which a full resync has begun at any time.
    pub async fn resynced_sources(&self) -> Result<Vec<String>> {
        self.read_counts(settings::resynced_sources).await
    }

    async fn resync_statuses(&self) -> Result<Vec<ResyncStatus>> {
        let mut all = Vec::new();
        for source in self.resynced_sources().await? {
            if let Some((resync, left)) = self.resync_progress(&source).await? {
                all.push(ResyncStatus { source, resync, left });
            }
        }
        Ok(all)
    }

    /// What the ledger holds of each source, in the order of their names.
    pub async fn sources(&self) -> Result<Vec<LedgerSource>> {
        let mut sources: BTreeMap<String, LedgerSource> = BTreeMap::new();
        for held in self.read_counts(events::by_source).await? {
            sources.entry(held.source).or_default().events = held.events;
        }
        for (source, claims) in self.claims_by_source(sources.keys()).await? {
            sources.entry(source).or_default().claims = claims;
        }
        for reads in self.waiting_reads().await? {
            let known = sources.entry(reads.source).or_default();
            (known.awaiting_rest, known.unread) = (reads.all, reads.in_vain);
        }
        let named = sources.into_iter().map(|(source, held)| LedgerSource { source, ..held });
        Ok(named.collect())
    }

    /// The claims of these sources, which are all that have any.
    async fn claims_by_source(
        &self,
        sources: impl Iterator<Item = &String>,
    ) -> Result<Vec<(String, i64)>> {
        let names: Vec<String> = sources.cloned().collect();
        self.read_counts(move |tx| {
            // Of one source all claims are, and they are counted without a look at the events.
            if let [only] = &names[..] {
                return Ok(vec![(only.clone(), claims::count(tx)?)]);
            }
            let count = |name: String| Ok((name.clone(), claims::count_of_source(tx, &name)?));
            names.into_iter().map(count).collect()
        })
        .await
    }

    /// What is to be read over REST, by source.
    pub async fn waiting_reads(&self) -> Result<Vec<ReadsOfSource>> {
        self.read_counts(reads::by_source).await
    }

    /// Open changes of a target per lane.
    pub async fn queue_depth(&self, target: &str) -> Result<[i64; 3]> {
        let target = target.to_owned();
        // Not among the counts: a sender asks, and must not wait while a million objects are counted.
        self.read(move |tx| queue::depths(tx, &target)).await
    }

    async fn target_status(&self, known: RegisteredTarget) -> Result<TargetStatus> {
        let figures = self.figures(&known.entry.target, &known.view).await?;
        self.read_counts(move |tx| {
            let RegisteredTarget { entry, view } = known;
            let at = TargetView { target: &entry.target, view: &view };
            Ok(TargetStatus {
                wanted: figures.wanted,
                delivered: figures.delivered,
                withdrawn: figures.withdrawn,
                waiting: figures.waiting,
                rejected: standings::count_refused(tx, at)?,
                queue: queue::depths(tx, at.target)?,
                refusals: standings::refusals(tx, at)?,
                target: entry.target,
                view,
                mode: entry.mode,
            })
        })
        .await
    }

    async fn skipped(&self) -> Result<BTreeMap<String, u64>> {
        let mut total = BTreeMap::new();
        for event in self.read_counts(events::skipped).await? {
            for (reason, count) in decode::<BTreeMap<String, u64>>(&event)? {
                *total.entry(reason).or_default() += count;
            }
        }
        Ok(total)
    }
}
