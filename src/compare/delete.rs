//! Deletes withdrawn indicators some time after their withdrawal was uploaded (`withdraw = "delete"`). It
//! deletes only what Sentinel itself shows as over, and looks for it again afterwards, since deletions of
//! uploaded indicators were seen to succeed without an effect.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::look::uuid_of;
use super::{INDICATOR, LookError, ReadableTarget, Readback};
use crate::azure::manage::WorkspaceObject;
use crate::config::Management;
use crate::deliver::Health;
use crate::ledger::{Deletable, Deletion, Ledger, millis};
use crate::log_event::{LogEvent, ms};
use crate::metrics;
use crate::pure::outage::{Down, Outage};
use crate::pure::stix::Withdraw;
use crate::pure::verify::lives;

/// The number of indicators that are looked up at a time.
const AT_ONCE: i64 = 20;

/// The shortest and the longest pause between two looks for deletions that are due.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));

/// The factor between the first pause before another try and the longest one.
const SLOWEST: u32 = 32;

/// Deletes withdrawn indicators of all targets with `withdraw = "delete"`, until `stop`.
pub async fn delete_withdrawn(
    readback: &Readback,
    ledger: &Ledger,
    rules: &Management,
    health: &Health,
    stop: &CancellationToken,
) {
    let deleting = |place: &&ReadableTarget| place.withdraw == Withdraw::Delete;
    let places: Vec<&ReadableTarget> = readback.places.iter().filter(deleting).collect();
    let mut outages: Vec<Outage> = places.iter().map(|_| Outage::default()).collect();
    while !places.is_empty() && !stop.is_cancelled() {
        for (place, outage) in places.iter().zip(&mut outages) {
            let pass = Pass { ledger, place, rules };
            tokio::select! {
                // A deletion that is interrupted here is still noted in the ledger, and is found there again.
                () = stop.cancelled() => return,
                done = pass.go() => {
                    health.update(&place.target, |health| health.deletion = why(&done));
                    tell(&place.target, &done, outage);
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(rules.delete_after.clamp(LOOK.0, LOOK.1)) => {}
        }
    }
    // Without a target to delete at, this part still waits: to return before the stop would be a fault.
    stop.cancelled().await;
}

fn why(done: &Result<(), LookError>) -> Option<String> {
    let error = done.as_ref().err()?;
    Some(format!("withdrawn indicators cannot be deleted now: {error}"))
}

/// Tells what is new about the deletions of a target.
fn tell(target: &str, done: &Result<(), LookError>, outage: &mut Outage) {
    let now = Instant::now();
    match done {
        Ok(()) => {
            let Some(Down { lasted, failures }) = outage.over(now) else { return };
            tracing::info!(
                event = LogEvent::DeletionRecovered.word(),
                target,
                down_ms = ms(lasted),
                failures,
                "Withdrawn indicators can be deleted again"
            );
        }
        Err(error) => {
            let error = error.to_string();
            let Some(Down { lasted, failures }) = outage.failed(&error, now) else { return };
            tracing::warn!(
                event = LogEvent::DeletionFailing.word(),
                target,
                error,
                down_ms = ms(lasted),
                failures,
                "Withdrawn indicators cannot be deleted now"
            );
        }
    }
}

struct Pass<'a> {
    ledger: &'a Ledger,
    place: &'a ReadableTarget,
    rules: &'a Management,
}

impl Pass<'_> {
    /// Deletes everything that is due.
    async fn go(&self) -> Result<(), LookError> {
        loop {
            let now = Ledger::now();
            let before = now.saturating_sub(millis(self.rules.delete_after));
            let target = &self.place.target;
            let due = self.ledger.due_deletions(target, before, now, AT_ONCE).await?;
            if due.is_empty() {
                return Ok(());
            }
            self.place.confirm().await?;
            let mut held = self.held(&due).await?;
            for one in &due {
                self.delete(one, held.remove(&one.stix_id).as_deref()).await?;
            }
        }
    }

    /// Reads what the workspace holds of these indicators, by their ids. It may hold several copies of one.
    async fn held(
        &self,
        due: &[Deletable],
    ) -> Result<HashMap<Uuid, Vec<WorkspaceObject>>, LookError> {
        let ids: Vec<String> =
            due.iter().map(|one| format!("{INDICATOR}--{}", one.stix_id)).collect();
        let walk = self.place.client.walk(&self.place.own(INDICATOR, &ids));
        let mut held: HashMap<Uuid, Vec<WorkspaceObject>> = HashMap::new();
        for found in walk.all().await? {
            if let Some(id) = uuid_of(INDICATOR, found.id()) {
                held.entry(id).or_default().push(found);
            }
        }
        Ok(held)
    }

    async fn delete(
        &self,
        one: &Deletable,
        held: Option<&[WorkspaceObject]>,
    ) -> Result<(), LookError> {
        let target = &self.place.target;
        let now = Ledger::now();
        let Some(held) = held else {
            return Ok(self.ledger.end_deletion(target, one, Deletion::Gone, now).await?);
        };
        let later = |tried| Deletion::Later { at: now.saturating_add(self.pause(one)), tried };
        if held.iter().any(|found| lives(&found.data, now)) {
            // It is live again by somebody else's upload, or Sentinel does not show its end yet.
            return Ok(self.ledger.end_deletion(target, one, later(false), now).await?);
        }
        tokio::time::sleep(self.rules.delete_pause).await;
        // The ledger is asked last: MISP may have published it again since the list was made.
        if !self.ledger.begin_deletion(target, one.object).await? {
            return Ok(());
        }
        let mut deleted = Ok(());
        // All copies are deleted. After an error, the next pass begins again.
        for found in held {
            deleted = self.place.client.delete(&found.resource).await.map(drop);
            if deleted.is_err() {
                break;
            }
        }
        // Even a success is looked at again. Only an indicator that is absent counts as deleted.
        self.ledger.end_deletion(target, one, later(true), Ledger::now()).await?;
        if deleted.is_ok() {
            metrics::deleted(target);
            tracing::info!(
                event = LogEvent::IndicatorDeleted.word(),
                target,
                indicator = %one.stix_id,
                "A withdrawn indicator was deleted in Sentinel"
            );
        }
        Ok(deleted?)
    }

    /// Returns how long to wait before the next look, milliseconds. It doubles with each deletion.
    fn pause(&self, one: &Deletable) -> i64 {
        let doublings = u32::try_from(one.deletions).unwrap_or_default().min(SLOWEST.ilog2());
        millis(self.rules.delete_after.max(LOOK.0)).saturating_mul(1 << doublings)
    }
}
