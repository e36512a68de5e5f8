//! The gaps of the webhook.

use std::time::SystemTime;

use uuid::Uuid;

use super::INTAKE;
use crate::intake::Inbox;
use crate::intake::kept_gaps::KeptGaps;
use crate::notice::{Gap, GapReason};

/// The most gaps that are kept with their events while the inbox is full.
const MAX_KEPT: usize = 1_024;

/// The gaps of this intake.
#[derive(Debug)]
pub(super) struct WebhookGaps(KeptGaps);

impl WebhookGaps {
    pub(super) fn new(inbox: Inbox) -> Self {
        Self(KeptGaps::new(inbox, MAX_KEPT))
    }

    /// Tells the ledger that a body did not reach it, at once or when the inbox has room.
    pub(super) fn record(&self, reason: GapReason, event: Option<Uuid>) {
        let (intake, since) = (INTAKE.to_owned(), SystemTime::now());
        self.0.record(Gap { reason, intake, since, event, publication: false });
    }

    /// Offers kept gaps until they fit. Never ends.
    pub(super) async fn offer_kept(&self) {
        self.0.offer_kept().await;
    }

    /// Offers the kept gaps once more at the end of the run.
    pub(super) fn offer_last(&self) {
        let gaps = self.0.offer_all();
        if gaps > 0 {
            tracing::error!(
                gaps,
                "the ledger took no gaps of the webhook until the end: publish these events again in MISP"
            );
        }
    }
}
