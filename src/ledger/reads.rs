//! Keeps the requests to read events over REST: why each read is needed, when it is due, and how far the reading has
//! come.

use std::time::Duration;

use super::Ledger;
use super::sql::Result;
use super::tables::claims::STEP;
use super::tables::reads::{
    self, Asking, Candidate, DueRead, Listing, Pauses, ResyncCount, Unread, Urgency, Vain,
};
use super::time::millis;
use crate::config::Rest;

/// A vain read is never put off for longer, whatever `misp.rest.backoff_max` says.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

impl Rest {
    /// The pauses before vain reads are repeated, from `now` on, Unix milliseconds.
    #[must_use]
    pub fn vain_pauses(&self, now: i64) -> Pauses {
        Pauses { now, step: millis(self.backoff_max), longest: millis(LONGEST_PAUSE) }
    }
}

impl Asking {
    /// The read of what was just pushed.
    pub(super) fn read_back(times: &Rest, now: i64) -> Self {
        Self {
            urgency: Urgency::ReadBack,
            due_at: now + millis(times.read_back_after),
            // MISP may still be saving when the first read comes: so it is repeated until the event shows as
            // published.
            publication: Some(millis(times.read_back_within)),
            confirm: true,
        }
    }

    /// The read of a publication that nothing else may add.
    pub(super) fn confirmation(times: &Rest, now: i64) -> Self {
        let first = times.confirm_after.first().copied().unwrap_or_default();
        let due_at = now + millis(first);
        Self { urgency: Urgency::Now, due_at, publication: None, confirm: true }
    }

    /// The read that settles news which cannot be judged.
    pub(super) fn at_once(now: i64) -> Self {
        Self { urgency: Urgency::Now, due_at: now, publication: None, confirm: false }
    }

    /// The read that follows news without a time of MISP's, such as tags: many come together.
    pub(super) fn soon(times: &Rest, now: i64) -> Self {
        Self { publication: None, confirm: false, ..Self::read_back(times, now) }
    }
}

impl Ledger {
    /// Reads that are due, the most urgent and oldest first.
    pub async fn due_reads(&self, source: &str, now: i64, limit: usize) -> Result<Vec<DueRead>> {
        let (source, strange) = (source.to_owned(), self.strange());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |tx| reads::due(tx, &source, now, limit, strange)).await
    }

    /// When the next read is due, Unix milliseconds.
    pub async fn next_read(&self, source: &str) -> Result<Option<i64>> {
        let source = source.to_owned();
        self.read(move |tx| reads::next_due(tx, &source)).await
    }

    /// Asks for the reads of what a listing named.
    pub async fn ask_for(
        &self,
        source: &str,
        candidates: &[Candidate],
        listing: Listing,
        now: i64,
    ) -> Result<()> {
        for candidates in candidates.chunks(STEP) {
            let (source, candidates) = (source.to_owned(), candidates.to_vec());
            self.write(move |unit| reads::ask_for_listed(unit, &source, &candidates, listing, now))
                .await?;
        }
        self.shared.asked.notify_waiters();
        Ok(())
    }

    /// Completes with the next asking for a read, counted from this call.
    pub fn asked(&self) -> tokio::sync::futures::Notified<'_> {
        self.shared.asked.notified()
    }

    /// What a resync still waits for.
    pub async fn resync_left(&self, source: &str) -> Result<ResyncCount> {
        let source = source.to_owned();
        self.read(move |tx| reads::of_resync(tx, &source)).await
    }

    /// Puts off the read of an event whose answer was in vain: it is tried ever later. The number of vain
    /// reads in a row; `None` if the event was asked for anew meanwhile.
    pub async fn put_off_read(&self, source: &str, vain: Vain<'_>) -> Result<Option<i64>> {
        let Vain { event, asked, why, patience, pauses } = vain;
        let (source, why) = (source.to_owned(), why.to_owned());
        self.write(move |unit| {
            reads::put_off(unit, &source, Vain { event, asked, why: &why, patience, pauses })
        })
        .await
    }

    /// Events that were asked for in vain, those first that wait longest, at most `most`; and how many
    /// there are.
    pub async fn unread(&self, most: i64) -> Result<(Vec<Unread>, i64)> {
        self.read(move |tx| Ok((reads::in_vain(tx, most)?, reads::count_in_vain(tx)?))).await
    }
}
