//! Picks the batches for one target, and holds what its sender remembers of it: the destination, the open
//! changes and the state.

use std::time::{Duration, Instant};

use chrono::Utc;
use uuid::Uuid;

use super::backlog::BacklogSum;
use super::clock::TargetClock;
use super::destination::{Destination, UploadResponse};
use super::health::Health;
use super::lanes::{ChangeStep, Lanes, Picked, Space};
use super::outcome::Why;
use super::state::{Bisection, Record, Ruling, TargetState};
use crate::azure::token::SignInStanding;
use crate::config::{Limits, Target};
use crate::ledger::{Lane, Ledger, Moment, Pending, Sending, SqlResult};
use crate::pure::outage::Outage;
use crate::pure::stix::{self, Identity};
use crate::pure::title;

/// A target, and everything that its sender remembers of it.
#[derive(Debug)]
pub(super) struct TargetDelivery {
    pub name: String,
    pub sourcesystem: String,
    pub destination: Destination,
    pub limits: Limits,
    /// `identity = "attribute"`: an old and a new pattern can share an id. If the new pattern were sent first, the
    /// withdrawal of the old one could end it. So withdrawals are settled before anything else is sent.
    withdrawals_first: bool,
    pub lanes: Lanes,
    pub state: TargetState,
    /// How many probes were picked. It is never reset, so that each probe tries another object.
    probes: usize,
    /// Whether an object may be due to be sent once more.
    pub check_due: bool,
    pub clock: TargetClock,
    /// When this looked last at what is being judged anew, while anything is.
    looked_for_judged: Option<Instant>,
    health: Health,
    /// The failures since the target last took something.
    pub outage: Outage,
    pub backlog: BacklogSum,
}

/// How often a sender looks again at what is being judged anew.
const JUDGED_LOOK: Duration = Duration::from_millis(500);

/// A batch that can be sent.
#[derive(Debug, Default)]
pub(super) struct PickedBatch {
    pub picked: Vec<Picked>,
    pub progress: Vec<ChangeStep>,
    /// Whether more objects would fit.
    pub has_room: bool,
    /// Whether the batch is the part of a search for a bad record.
    pub is_part: bool,
}

/// A request that has ended.
#[derive(Debug)]
pub(super) struct FinishedRequest {
    /// The position of the target among those of the sender.
    pub index: usize,
    pub picked: Vec<Picked>,
    pub sending: Vec<Sending>,
    pub took: Duration,
    pub response: UploadResponse,
    pub token_number: u64,
    /// Whether the request was the part of a search for a bad record.
    pub is_part: bool,
}

impl TargetDelivery {
    /// Prepares the delivery to a target that sees this view.
    pub(super) fn new(
        target: &Target,
        view: &str,
        destination: Destination,
        health: Health,
        progress_every: Duration,
    ) -> Self {
        health.update(&target.name, |_| {});
        Self {
            name: target.name.clone(),
            sourcesystem: target.sourcesystem.clone(),
            destination,
            limits: target.limits,
            withdrawals_first: target.identity == Identity::Attribute,
            lanes: Lanes::new(&target.name, view),
            state: TargetState::default(),
            probes: 0,
            check_due: true,
            clock: TargetClock::default(),
            looked_for_judged: None,
            health,
            outage: Outage::default(),
            backlog: BacklogSum::new(progress_every),
        }
    }

    /// Returns the time by which it is judged what has expired, Unix milliseconds. It is the earlier of both clocks:
    /// if our clock is ahead, nothing must be kept back that is still valid at the target.
    pub(super) fn now(&self) -> i64 {
        self.clock.earlier(Ledger::now(), Instant::now())
    }

    /// Returns the moment of a sending.
    pub(super) fn moment(&self) -> Moment {
        let now = Ledger::now();
        match self.clock.there(Instant::now()) {
            Some(there) => Moment::at_target(now, there),
            None => Moment::by_our_clock(now),
        }
    }

    /// Returns the highest lane that waits, unless something holds the target back.
    pub(super) fn ready(&self, now: Instant) -> Option<Lane> {
        if !self.state.is_ready(now) {
            return None;
        }
        let lane = self.lanes.highest();
        // Parts of a search and repeats are in no lane. They count as live, so that they wait for withdrawals
        // only.
        if self.state.refusals.is_searching() || self.check_due {
            return lane.min(Some(Lane::Live)).or(Some(Lane::Live));
        }
        lane.filter(|lane| *lane <= self.lowest_lane())
    }

    fn lowest_lane(&self) -> Lane {
        let only_withdrawals = self.withdrawals_first && self.lanes.has_withdrawals();
        if only_withdrawals { Lane::Withdrawals } else { Lane::Backlog }
    }

    /// Picks the next batch; an empty one if nothing of what waited has to be sent.
    pub(super) async fn pick(&mut self, ledger: &Ledger) -> SqlResult<PickedBatch> {
        // A search can take long, and no withdrawal may wait for it.
        let withdraws = self.lanes.highest() == Some(Lane::Withdrawals);
        if withdraws || !self.state.refusals.search().is_some_and(|search| search.is_next) {
            let batch = self.pick_other(ledger).await?;
            if !batch.picked.is_empty() || !self.state.refusals.is_searching() {
                return Ok(batch);
            }
            // Nothing else is to be sent, so it is the search's turn.
            self.lanes.advance(batch.progress);
        }
        match self.pick_part(ledger).await? {
            Some(batch) => Ok(batch),
            None => self.pick_other(ledger).await,
        }
    }

    /// Picks the part of the search that is sent next.
    async fn pick_part(&mut self, ledger: &Ledger) -> SqlResult<Option<PickedBatch>> {
        let Some(part) = self.state.refusals.search().map(Bisection::part) else { return Ok(None) };
        let objects: Vec<Uuid> = part.iter().map(|record| record.object).collect();
        let mut found = ledger.pending_of(&self.name, &objects, self.now()).await?;
        let is_of_part = |one: &Pending| {
            part.iter().any(|it| (it.object, it.version) == (one.object, one.version))
        };
        // A new version of an object is another record and may be good, so it is no part of the search.
        found.retain(is_of_part);
        if found.is_empty() {
            // All of these objects were altered since, so nothing is left to search.
            self.state.refusals.give_up();
            self.lanes.unblock();
            return Ok(None);
        }
        Ok(Some(PickedBatch { is_part: true, ..PickedBatch::of_no_change(found) }))
    }

    /// Picks what is no part of a search: repeats that are due, a probe, or what the lanes hold.
    async fn pick_other(&mut self, ledger: &Ledger) -> SqlResult<PickedBatch> {
        let now = self.now();
        let Limits { max_objects: objects, max_bytes: bytes, .. } = self.limits;
        let space = Space { objects, bytes, now };
        // The sender's tick sets this again, so an object that waits now is found at a later tick.
        if std::mem::take(&mut self.check_due) {
            let limit = i64::try_from(objects).unwrap_or(i64::MAX);
            let due = ledger.due_again(&self.name, Ledger::now(), limit).await?;
            let due: Vec<Pending> =
                due.into_iter().filter(|one| !self.holds(ledger, one)).collect();
            if !due.is_empty() {
                return Ok(PickedBatch::of_no_change(due));
            }
        }
        if self.state.refusals.is_probing() {
            let attempt = self.probes;
            self.probes = self.probes.wrapping_add(1);
            let probe = self.lanes.probe(ledger, attempt, now, |one| self.holds(ledger, one));
            if let Some(probe) = probe.await? {
                return Ok(PickedBatch { picked: vec![probe], ..PickedBatch::default() });
            }
        }
        // What a target is tried with is one object, wherever it comes from.
        let objects = if self.state.refusals.is_probing() { 1 } else { objects };
        let space = Space { objects, ..space };
        let lowest = self.lowest_lane();
        let (picked, progress) =
            self.lanes.pick(ledger, space, lowest, |one| self.holds(ledger, one)).await?;
        let has_room = picked.len() < objects;
        Ok(PickedBatch { picked, progress, has_room, is_part: false })
    }

    /// Whether an object must wait: a request holds it, it rests, or the policy in force has not judged it.
    fn holds(&self, ledger: &Ledger, pending: &Pending) -> bool {
        self.state.holds(pending.object, pending.stix_id)
            || ledger.is_unjudged(self.lanes.view(), pending)
    }

    /// Lets objects that have rested long enough, or that may have been judged meanwhile, be picked again.
    pub(super) fn wake(&mut self, ledger: &Ledger, now: Instant) {
        let (has_rested, may_be_judged) = (self.state.wake(now), self.may_be_judged(ledger, now));
        if has_rested || may_be_judged {
            self.lanes.unblock();
        }
    }

    /// Whether it is time to look again at what was not judged.
    fn may_be_judged(&mut self, ledger: &Ledger, now: Instant) -> bool {
        let is_judging = ledger.is_judging();
        let looks = match self.looked_for_judged {
            Some(last) => !is_judging || now - last >= JUDGED_LOOK,
            None => is_judging,
        };
        if looks {
            self.looked_for_judged = is_judging.then_some(now);
        }
        looks
    }

    /// Notes that a batch was sent, and returns it.
    pub(super) fn sent(&mut self, batch: PickedBatch) -> Vec<Picked> {
        self.state.sent(ids(&batch.picked), batch.is_part);
        self.lanes.sent(&batch.picked, batch.progress);
        self.show_requests();
        batch.picked
    }

    /// Notes that a batch was answered; `is_settled`: nothing of it stays pending.
    pub(super) fn answered(&mut self, picked: &[Picked], is_settled: bool) {
        self.state.answered(ids(picked));
        self.lanes.answered(picked, is_settled);
        self.show_requests();
    }

    /// Notes which objects of a batch the target accepted.
    pub(super) fn took(&mut self, picked: &[Picked], taken: &[Uuid]) {
        self.lanes.accepted(picked, taken);
    }

    /// Notes that the target accepted a request. Returns what that tells of a search.
    pub(super) fn accepted(&mut self, is_part: bool) -> Ruling {
        let ruling = self.state.accepted(Instant::now(), is_part);
        self.health.update(&self.name, |health| {
            // Whatever was wrong, the target accepts requests now.
            health.degraded = None;
            health.degraded_unquoted = None;
            health.next_try = None;
            health.last_accepted = Some(Utc::now());
        });
        ruling
    }

    /// Sends nothing to the target for `pause`; `why` is shown to the operator.
    pub(super) fn hold(&mut self, pause: Duration, why: Option<&Why>) {
        self.state.retry.block(Instant::now() + pause);
        self.health.update(&self.name, |health| {
            health.next_try = Some(Utc::now() + pause);
            if let Some(why) = why {
                health.degrade(why);
            }
        });
    }

    /// Shows how the sign-ins stand.
    pub(super) fn show_sign_in(&self, standing: &SignInStanding) {
        let SignInStanding { trouble, last, certificate_ends } = standing.clone();
        self.health.update(&self.name, |health| {
            health.sign_in = trouble;
            health.signed_in_at = last;
            health.certificate_ends = certificate_ends;
        });
    }

    fn show_requests(&self) {
        self.health.update(&self.name, |health| health.in_flight = self.state.requests);
    }
}

/// The objects and STIX ids of a batch.
fn ids(picked: &[Picked]) -> impl Iterator<Item = Uuid> {
    picked.iter().flat_map(|one| [one.pending.object, one.pending.stix_id])
}

impl PickedBatch {
    /// Makes a batch of objects that belong to no change of the lanes.
    fn of_no_change(found: Vec<Pending>) -> Self {
        let picked = found
            .into_iter()
            // No change has the number -1, so the lanes take no notice of the answer.
            .map(|pending| Picked { pending, lane: Lane::Backlog, change: -1 })
            .collect();
        Self { picked, ..Self::default() }
    }
}

impl FinishedRequest {
    /// Returns a reason as the log tells it: with the other side's words only if every object that they may quote may
    /// be named there.
    pub(super) fn for_log(&self, why: &Why) -> String {
        let is_open = self.sending.iter().all(may_be_logged);
        if is_open { why.to_string() } else { why.unquoted() }
    }

    /// Returns the records of the request in their versions.
    pub(super) fn records(&self) -> Vec<Record> {
        self.sending.iter().map(record).collect()
    }

    /// Whether the target took a withdrawal that ends only later by the target's own clock. Until then the indicator
    /// still matches there.
    pub(super) fn is_early(&self, sending: &Sending) -> bool {
        sending.ended_at.zip(self.response.date).is_some_and(|(end, now)| end > now)
    }
}

/// Whether the log may name the value of an object, by the marking that it is sent with.
pub(super) fn may_be_logged(sending: &Sending) -> bool {
    title::may_be_logged(stix::level_of(&sending.json))
}

pub(super) fn record(sending: &Sending) -> Record {
    let Sending { object, version, retried, .. } = *sending;
    Record { object, version, retried }
}
