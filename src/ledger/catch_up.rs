//! Answers the questions of catch-up: which gaps are open, which event heads show something new, and which events
//! should still exist in MISP.

use std::collections::HashMap;

use uuid::Uuid;

use super::Ledger;
use super::sql::Result;
use super::tables::claims::{self, STEP};
use super::tables::cursors::{self, ListingCursor};
use super::tables::events::{self, LastRead};
use super::tables::gaps::{self, GapStatus, OpenGap, Span};
use super::tables::keys::EventKey;
use crate::metrics;
use crate::notice::{Gap, GapReason};

/// The head of an event, as a listing shows it; times are MISP's, Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub event: Uuid,
    pub timestamp: i64,
    /// 0: never published.
    pub publication: i64,
    pub published: bool,
    /// Attributes.
    pub weight: i64,
}

impl Head {
    /// Whether the last read of the event showed the same, and did so after that second was over.
    fn is_shown_by(&self, last: &LastRead) -> bool {
        !last.is_deleted
            && last.timestamp == self.timestamp
            && last.publication == self.publication
            && last.published == self.published
            // Within the second of the read MISP may have changed the event once more.
            && self.timestamp.max(self.publication) < last.date
    }

    /// Whether the event was published at some time.
    fn was_published(&self) -> bool {
        self.published || self.publication > 0
    }
}

/// Events looked up at once.
const CHUNK: usize = 500;

impl Ledger {
    /// Records that something may have been missed until `now`, Unix milliseconds.
    pub(super) async fn record_gap(
        &self,
        source: &str,
        gap: &Gap,
        since: i64,
        now: i64,
    ) -> Result<()> {
        let (source, gap) = (source.to_owned(), gap.clone());
        let span = Span { since, until: now };
        let (intake, reason) = (gap.intake.clone(), gap.reason);
        self.write(move |unit| gaps::record(unit, &source, &gap, span)).await?;
        metrics::gap(&intake, reason);
        Ok(())
    }

    /// The gaps that no catch-up has closed.
    pub async fn open_gaps(&self, source: &str) -> Result<Vec<OpenGap>> {
        let source = source.to_owned();
        self.read(move |tx| gaps::open(tx, &source)).await
    }

    /// Closes all gaps of a source although nothing healed them, and returns them.
    pub async fn close_gaps(&self, source: &str) -> Result<Vec<GapStatus>> {
        let source = source.to_owned();
        self.write(move |unit| gaps::close(unit, &source)).await
    }

    /// Closes these gaps, unless they went on meanwhile.
    pub async fn heal(&self, source: &str, gaps: &[OpenGap]) -> Result<()> {
        for gaps in gaps.chunks(STEP) {
            let (source, gaps) = (source.to_owned(), gaps.to_vec());
            self.write(move |unit| gaps::heal(unit, &source, &gaps)).await?;
        }
        Ok(())
    }

    /// Returns the heads that differ from the last read of their event, and those of events that were never read. An
    /// event that was never published, or not since `window` (Unix seconds), counts only if the ledger knows it.
    pub async fn news(
        &self,
        source: &str,
        heads: &[Head],
        window: Option<i64>,
    ) -> Result<Vec<Head>> {
        let within = |head: &Head| window.is_none_or(|since| head.publication >= since);
        let mut news = Vec::new();
        for heads in heads.chunks(CHUNK) {
            let known = self.last_reads(source, heads).await?;
            news.extend(heads.iter().filter(|head| match known.get(&head.event) {
                Some(last) => !head.is_shown_by(last),
                None => head.was_published() && within(head),
            }));
        }
        Ok(news)
    }

    /// Returns the heads of events that matter: those that were published at some time, and those that the ledger
    /// knows.
    pub async fn worth_reading(&self, source: &str, heads: &[Head]) -> Result<Vec<Head>> {
        let mut worth = Vec::new();
        for heads in heads.chunks(CHUNK) {
            let known = self.last_reads(source, heads).await?;
            let matters = |head: &&Head| head.was_published() || known.contains_key(&head.event);
            worth.extend(heads.iter().filter(matters));
        }
        Ok(worth)
    }

    async fn last_reads(&self, source: &str, heads: &[Head]) -> Result<HashMap<Uuid, LastRead>> {
        let source = source.to_owned();
        let events: Vec<Uuid> = heads.iter().map(|head| head.event).collect();
        let known = self.read(move |tx| events::last_reads(tx, &source, &events)).await?;
        Ok(known.into_iter().map(|last| (last.event, last)).collect())
    }

    /// Events that are not deleted, in the order of their uuids, those after `after`.
    pub async fn live_events(&self, source: &str, after: Uuid, limit: usize) -> Result<Vec<Uuid>> {
        let source = source.to_owned();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |tx| events::living_after(tx, EventKey::new(&source, after), limit)).await
    }

    /// Whether anything of this source claims something.
    pub async fn has_claims(&self, source: &str) -> Result<bool> {
        let source = source.to_owned();
        self.read(move |tx| claims::are_there(tx, &source)).await
    }

    /// Has catch-up look again at once, as after a gap.
    pub async fn look_again(&self, source: &str, now: i64) -> Result<()> {
        let since = std::time::SystemTime::now();
        let gap = Gap {
            reason: GapReason::Asked,
            intake: "operator".into(),
            since,
            event: None,
            publication: false,
        };
        self.record_gap(source, &gap, now, now).await?;
        self.shared.asked.notify_waiters();
        Ok(())
    }

    /// Stores how far a listing has come.
    pub async fn move_cursors(&self, source: &str, cursors: &[ListingCursor]) -> Result<()> {
        let (source, cursors) = (source.to_owned(), cursors.to_vec());
        self.write(move |unit| {
            cursors.iter().try_for_each(|cursor| cursors::store(unit, &source, *cursor))
        })
        .await
    }

    /// How far a listing has come, in MISP's time.
    pub async fn cursor(&self, source: &str, name: &str) -> Result<Option<i64>> {
        let (source, name) = (source.to_owned(), name.to_owned());
        self.read(move |tx| cursors::value(tx, &source, &name)).await
    }
}
