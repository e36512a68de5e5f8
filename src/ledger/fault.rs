//! When the ledger cannot be written: readiness drops, the connection is replaced, and work goes on
//! by itself once there is room. A notice that was lost meanwhile becomes a gap.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::Ledger;
use super::writer::{Writer, unix};
use crate::metrics;
use crate::notice::{Gap, GapReason, Receipt};

impl Ledger {
    /// Whether work on the ledger (`doing`, for the log) went well. After a fault the writing
    /// connection is replaced: SQLite ends a transaction by itself when the disk is full, and the
    /// connection still believes in it.
    pub async fn judge<T>(&self, result: sqlx::Result<T>, doing: &str) -> bool {
        let Err(error) = result else { return true };
        if self.shared.writable.swap(false, Ordering::Relaxed) {
            tracing::error!(%error, doing, "cannot write the ledger: notices are lost and a gap is noted; free disk space or mend the file");
        } else {
            tracing::debug!(%error, doing, "still cannot write the ledger");
        }
        self.renew_writer().await;
        false
    }

    /// A transaction was committed.
    pub(super) fn note_written(&self) {
        if !self.shared.writable.swap(true, Ordering::Relaxed) {
            tracing::info!("the ledger can be written again");
        }
    }

    async fn renew_writer(&self) {
        match self.writer.acquire().await {
            Ok(connection) => {
                if let Err(error) = connection.close().await {
                    tracing::debug!(%error, "the ledger's connection did not close in order");
                }
            }
            Err(error) => tracing::debug!(%error, "cannot open the ledger anew"),
        }
    }
}

impl Writer {
    /// What a notice's sender is told. A fault costs the notice, until REST reads it again.
    pub(super) async fn receipt(&mut self, result: sqlx::Result<Receipt>) -> Receipt {
        let receipt = *result.as_ref().unwrap_or(&Receipt::Failed);
        if result.is_ok() {
            self.record_kept().await;
        }
        if !self.ledger.judge(result, "apply a notice").await {
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
        let recorded = self.ledger.record_gap(&self.settings.source, &gap, since, now).await;
        if let Err(error) = recorded {
            tracing::debug!(%error, "the gap cannot be recorded yet");
            self.unrecorded = Some(gap);
        }
    }
}
