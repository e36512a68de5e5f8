//! Where objects stand at the targets of a view.

use uuid::Uuid;

use super::Lane;
use super::queue::unsettled;
use super::sql::{Result, Transaction, row, statements, values};
use super::start::{DISABLED, DRY_RUN};
use super::wanted::WITHDRAWN;
use crate::pure::explain::{DeliveryState, TargetStanding};

statements! {
    STANDINGS(Integer, Text, Bytes) = concat!(
        "SELECT w.object, t.target, t.mode, w.version, w.valid_until AS wanted_until, w.change,
             d.accepted, d.accepted_at, d.rejected, d.rejected_in, d.words,
             d.sending IS NOT NULL OR d.doubt IS NOT NULL AS in_doubt, COALESCE(",
        unsettled!(),
        ", FALSE) AS pending, q.lane
         FROM targets t JOIN wanted w ON w.view = t.view AND w.object = $3
         LEFT JOIN delivered d ON d.target = t.target AND d.object = w.object
         LEFT JOIN queue q ON q.target = t.target AND q.change = w.change
         WHERE t.mode <> 'absent' AND t.view = $2 ORDER BY t.target"
    );
}

row! {
    /// An object at a target.
    #[derive(Debug)]
    pub(super) struct Standing {
        pub object: Uuid,
        target: String,
        mode: String,
        version: i64,
        wanted_until: i64,
        change: i64,
        accepted: Option<i64>,
        accepted_at: Option<i64>,
        rejected: Option<i64>,
        rejected_in: Option<i64>,
        words: Option<String>,
        in_doubt: bool,
        pending: bool,
        lane: Option<i16>,
    }
}

impl Standing {
    pub(super) fn told(self, now: i64) -> TargetStanding {
        let state = self.state(now);
        let waits = matches!(state, DeliveryState::Pending | DeliveryState::Withdrawing);
        let lane = waits.then(|| self.lane.map_or(Lane::Backlog, Lane::of));
        TargetStanding {
            dry_run: self.mode == DRY_RUN,
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
        match (is_rejected, self.pending, self.accepted) {
            (true, ..) => DeliveryState::Rejected,
            (_, true, _) if self.mode == DISABLED => DeliveryState::Disabled,
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

/// Those of each object in the order of the targets.
pub(super) fn standings(
    tx: &Transaction<'_>,
    view: &str,
    objects: &[Uuid],
    now: i64,
) -> Result<Vec<Standing>> {
    tx.rows_each(&STANDINGS, objects.iter().map(|object| values![now, view, object]))
}
