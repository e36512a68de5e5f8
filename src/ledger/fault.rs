//! When the ledger cannot be written: the notice becomes a gap, which is recorded as soon as there
//! is room, and the writer goes on.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::writer::{Writer, unix};
use crate::metrics;
use crate::notice::{Gap, GapReason, Receipt};

impl Writer {
    /// What a notice's sender is told. A fault costs the notice, until REST reads it again.
    pub(super) async fn receipt(&mut self, result: sqlx::Result<Receipt>) -> Receipt {
        match result {
            Ok(receipt) => {
                self.note_recovery().await;
                receipt
            }
            Err(error) => {
                self.note_fault(&error).await;
                Receipt::Failed
            }
        }
    }

    async fn note_fault(&mut self, error: &sqlx::Error) {
        if self.ledger.shared.writable.swap(false, Ordering::Relaxed) {
            tracing::error!(%error, "cannot write the ledger: notices are lost and a gap is noted; free disk space or mend the file");
        } else {
            tracing::debug!(%error, "still cannot write the ledger");
        }
        metrics::gap("ledger", GapReason::LedgerFailed);
        self.ledger.renew_writer().await;
        let since = SystemTime::now();
        self.unrecorded.get_or_insert_with(|| Gap {
            reason: GapReason::LedgerFailed,
            intake: "ledger".into(),
            since,
            event: None,
            publication: false,
        });
    }

    async fn note_recovery(&mut self) {
        if let Some(gap) = self.unrecorded.take() {
            let (since, now) = (unix(gap.since), unix(SystemTime::now()));
            if let Err(error) =
                self.ledger.record_gap(&self.settings.source, &gap, since, now).await
            {
                tracing::debug!(%error, "the gap cannot be recorded yet");
                self.unrecorded = Some(gap);
                return;
            }
        }
        if !self.ledger.shared.writable.swap(true, Ordering::Relaxed) {
            tracing::info!("the ledger can be written again");
        }
    }
}
