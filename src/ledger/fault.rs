//! Handles faults of the ledger's file and its disk. While the ledger cannot be written, the relay is not ready. Work
//! continues by itself when writing works again. A notice that is lost meanwhile becomes a gap.

use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use super::time::unix;
use super::writing::Context;
use super::{Ledger, Shared, SqlError, SqlResult};
use crate::log_event::{LogEvent, ms};
use crate::notice::{Gap, GapReason, Receipt};

/// The time after a fault before the ledger is tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(5);

/// A fault of the file or its disk that is not over.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileFault {
    began: Instant,
    /// When a transaction last failed for it.
    last: Instant,
}

impl FileFault {
    fn begun() -> Self {
        let now = Instant::now();
        Self { began: now, last: now }
    }
}

impl Ledger {
    /// Whether work on the ledger (`doing`, for the log) went well.
    pub fn judge<T>(&self, result: SqlResult<T>, doing: &str) -> bool {
        let Err(error) = result else { return true };
        // The thread that notes its own faults is gone.
        if matches!(error, SqlError::Closed) {
            self.shared.note_failed(&error);
        } else if error.is_fault() {
            // The thread that writes told of it.
            tracing::debug!(%error, doing, "The ledger cannot be written");
        } else {
            tracing::error!(
                event = LogEvent::LedgerWorkFailed.word(),
                %error,
                doing,
                "A piece of work on the ledger failed"
            );
        }
        false
    }
}

impl Shared {
    /// Notes that a transaction was committed. A small one may find room on the disk where the next large one does not.
    /// So a fault counts as over only when none has come for a while.
    pub(super) fn note_written(&self) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(over) = failed.take_if(|fault| fault.last.elapsed() >= TRY_AGAIN) else { return };
        tracing::info!(
            event = LogEvent::LedgerRecovered.word(),
            down_ms = ms(over.began.elapsed()),
            "The ledger can be written again"
        );
    }

    /// Notes that a transaction was lost, or that a unit of work failed in it.
    pub(super) fn note_failed(&self, error: &SqlError) {
        if !error.is_fault() {
            return;
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = failed.as_mut() {
            fault.last = Instant::now();
            return;
        }
        *failed = Some(FileFault::begun());
        tracing::error!(
            event = LogEvent::LedgerFailing.word(),
            %error,
            "The ledger cannot be written: notices are lost, and a gap is noted. Free disk space, or mend the file"
        );
    }
}

/// The faults of the ledger that cost notices.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// A gap that could not be recorded yet.
    unrecorded: Option<Gap>,
}

impl Faults {
    /// Returns the answer to a notice's sender. If the ledger has a fault, the notice is lost until a read over REST
    /// replaces it.
    pub(super) async fn receipt(
        &mut self,
        context: &Context,
        result: SqlResult<Receipt>,
    ) -> Receipt {
        let receipt = *result.as_ref().unwrap_or(&Receipt::Failed);
        if result.is_ok() {
            self.record(context).await;
        }
        if !context.ledger.judge(result, "apply a notice") {
            let since = SystemTime::now();
            // One gap stands for all faults until it is recorded: the first, which began earliest.
            self.unrecorded.get_or_insert_with(|| Gap {
                reason: GapReason::LedgerFailed,
                intake: "ledger".into(),
                since,
                event: None,
                publication: false,
            });
        }
        receipt
    }

    /// Records the gap of faults that are over.
    pub(super) async fn record(&mut self, context: &Context) {
        let Some(gap) = self.unrecorded.take() else { return };
        let (since, now) = (unix(gap.since), unix(SystemTime::now()));
        let recorded = context.ledger.record_gap(context.source(), &gap, since, now).await;
        if let Err(error) = recorded {
            tracing::debug!(%error, "The gap cannot be recorded yet");
            self.unrecorded = Some(gap);
        }
    }
}
