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

/// The longest wait before a failed read is repeated, whatever `misp.rest.backoff_max` says.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

impl Rest {
    /// The pauses before failed reads are repeated, counted from `now`, Unix milliseconds.
    #[must_use]
    pub fn vain_pauses(&self, now: i64) -> Pauses {
        Pauses { now, step: millis(self.backoff_max), longest: millis(LONGEST_PAUSE) }
    }
}

impl Asking {
    /// The request to read back a publication that was just pushed.
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

    /// The request to read a publication that only a read may add.
    pub(super) fn confirmation(times: &Rest, now: i64) -> Self {
        let first = times.confirm_after.first().copied().unwrap_or_default();
        let due_at = now + millis(first);
        Self { urgency: Urgency::Now, due_at, publication: None, confirm: true }
    }

    /// The request to read an event at once, because a notice about it cannot be judged.
    pub(super) fn at_once(now: i64) -> Self {
        Self { urgency: Urgency::Now, due_at: now, publication: None, confirm: false }
    }

    /// The request to read an event soon, after a notice without a time of MISP's, such as one about a tag. It waits a
    /// little, because many such notices come together.
    pub(super) fn soon(times: &Rest, now: i64) -> Self {
        Self { publication: None, confirm: false, ..Self::read_back(times, now) }
    }
}

impl Ledger {
    /// Reads that are due, the most urgent and oldest first.
    pub async fn due_reads(&self, source: &str, now: i64, limit: usize) -> Result<Vec<DueRead>> {
        let (source, strange) = (source.to_owned(), self.strange(source));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |tx| reads::due(tx, &source, now, limit, strange)).await
    }

    /// When the next read is due, Unix milliseconds.
    pub async fn next_read(&self, source: &str) -> Result<Option<i64>> {
        let source = source.to_owned();
        self.read(move |tx| reads::next_due(tx, &source)).await
    }

    /// Asks for reads of the events that a listing named.
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

    /// Completes at the next request for a read, counted from this call.
    pub fn asked(&self) -> tokio::sync::futures::Notified<'_> {
        self.shared.asked.notified()
    }

    /// Returns the reads that a resync still waits for.
    pub async fn resync_left(&self, source: &str) -> Result<ResyncCount> {
        let source = source.to_owned();
        self.read(move |tx| reads::of_resync(tx, &source)).await
    }

    /// Puts off a failed read of an event: it is repeated after ever longer waits. Returns the number of failed reads
    /// in a row. `None`: the event was asked for again meanwhile.
    pub async fn put_off_read(&self, source: &str, vain: Vain<'_>) -> Result<Option<i64>> {
        let Vain { event, asked, why, patience, pauses } = vain;
        let (source, why) = (source.to_owned(), why.to_owned());
        self.write(move |unit| {
            reads::put_off(unit, &source, Vain { event, asked, why: &why, patience, pauses })
        })
        .await
    }

    /// Returns at most `most` events whose reads failed, those first that wait longest, and the number of all such
    /// events.
    pub async fn unread(&self, most: i64) -> Result<(Vec<Unread>, i64)> {
        self.read(move |tx| Ok((reads::in_vain(tx, most)?, reads::count_in_vain(tx)?))).await
    }
}
