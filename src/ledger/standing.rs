//! Decides in which state an object at a target is shown to people: delivered, pending, withdrawn, rejected or expired.

use super::Lane;
use super::tables::standings::Standing;
use super::tables::targets::TargetMode;
use super::tables::wanted::WITHDRAWN;
use crate::pure::explain::{DeliveryState, TargetStanding};

impl Standing {
    pub(super) fn told(self, now: i64) -> TargetStanding {
        let state = self.state(now);
        let waits = matches!(state, DeliveryState::Pending | DeliveryState::Withdrawing);
        let lane = waits.then(|| self.lane.unwrap_or(Lane::Backlog));
        TargetStanding {
            dry_run: self.mode == TargetMode::DryRun,
            target: self.target,
            state,
            at: self.accepted_at,
            words: self.words,
            lane: lane.map(|lane| lane.word().to_owned()),
            in_doubt: self.in_doubt,
        }
    }

    fn state(&self, now: i64) -> DeliveryState {
        let is_withdrawn = self.version == WITHDRAWN;
        let is_rejected =
            self.rejected == Some(self.version) && self.rejected_in == Some(self.change);
        // In this order: what was refused waits for nothing, and what is pending is not yet what was accepted.
        match (is_rejected, self.pending, self.accepted) {
            (true, ..) => DeliveryState::Rejected,
            (_, true, _) if self.mode == TargetMode::Disabled => DeliveryState::Disabled,
            (_, true, _) if is_withdrawn => DeliveryState::Withdrawing,
            (_, true, _) => DeliveryState::Pending,
            (.., None) if is_withdrawn || self.wanted_until > now => DeliveryState::NeverSent,
            (.., Some(WITHDRAWN)) if is_withdrawn => DeliveryState::Withdrawn,
            (.., Some(accepted)) if accepted == self.version && self.wanted_until > now => {
                DeliveryState::Delivered
            }
            _ => DeliveryState::Expired,
        }
    }
}
