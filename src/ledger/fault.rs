//! When the ledger cannot be written: readiness drops, and work goes on by itself once there is room. A notice that was lost meanwhile becomes a gap.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::writer::{Writer, unix};
use super::{Ledger, Shared, SqlResult};
use crate::metrics;
use crate::notice::{Gap, GapReason, Receipt};

impl Ledger {
    /// Whether work on the ledger (`doing`, for the log) went well.
    pub fn judge<T>(&self, result: SqlResult<T>, doing: &str) -> bool {
        let Err(error) = result else { return true };
        if self.shared.writable.swap(false, Ordering::Relaxed) {
            tracing::error!(%error, doing, "cannot write the ledger: notices are lost and a gap is noted; free disk space or mend the file");
        } else {
            tracing::debug!(%error, doing, "still cannot write the ledger");
        }
        false
    }
}

impl Shared {
    /// A transaction was committed.
    pub(super) fn note_written(&self) {
        if !self.writable.swap(true, Ordering::Relaxed) {
            tracing::info!("the ledger can be written again");
        }
    }
}

impl Writer {
    /// What a notice's sender is told. A fault costs the notice, until REST reads it again.
    pub(super) async fn receipt(&mut self, result: SqlResult<Receipt>) -> Receipt {
        let receipt = *result.as_ref().unwrap_or(&Receipt::Failed);
        if result.is_ok() {
            self.record_kept().await;
        }
        if !self.context.ledger.judge(result, "apply a notice") {
            metrics::gap("ledger", GapReason::LedgerFailed);
            let since = SystemTime::now();
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

    /// Records the gap of a fault that is over.
    pub(super) async fn record_kept(&mut self) {
        let Some(gap) = self.unrecorded.take() else { return };
        let (since, now) = (unix(gap.since), unix(SystemTime::now()));
        let recorded =
            self.context.ledger.record_gap(self.context.source(), &gap, since, now).await;
        if let Err(error) = recorded {
            tracing::debug!(%error, "the gap cannot be recorded yet");
            self.unrecorded = Some(gap);
        }
    }
}
