//! One target as its sender sees it: the way to it, its lanes, and what holds it back.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use super::clock::Clock;
use super::halving::Halving;
use super::health::Health;
use super::lanes::{Lanes, Picked, Progress, Room};
use super::upload;
use crate::config::{Api, Limits, Target};
use crate::ledger::{Lane, Ledger, Moment, OpenChange, Pending};
use crate::pure::stix::Identity;

/// Failures in a row after which an unreachable target counts as degraded.
pub(super) const DEGRADED_AFTER: u32 = 3;

/// How objects reach a target.
#[derive(Debug, Clone)]
pub(super) enum Way {
    Upload(upload::Client),
    /// `mode = "dry-run"`.
    File(PathBuf),
}

/// A target and everything that the sender remembers of it.
#[derive(Debug)]
pub(super) struct Line {
    pub name: String,
    pub workspace: Uuid,
    pub sourcesystem: String,
    pub api: Api,
    pub way: Way,
    pub lanes: Lanes,
    pub halving: Halving,
    /// The target refuses everything: single objects are tried, slowly.
    pub probing: bool,
    probes: usize,
    /// The search for a bad record and other requests take turns; it is the search's.
    search_next: bool,
    /// Something may be due to be sent once more.
    pub check_due: bool,
    /// Failures in a row, for the back-off.
    pub failures: u32,
    /// Answers 401 in a row.
    pub unauthorized: u32,
    /// Successes in a row that were not the API's, though they might be.
    pub foreign: u32,
    /// Successes that could not be read since a batch was last halved for it. A readable answer to
    /// another batch does not lessen it, so that no batch is sent again and again unhalved.
    pub unreadable: u32,
    /// Answers 429 in a row.
    pub throttled: u32,
    /// Until when the last of them asked to wait.
    pub throttled_until: Option<Instant>,
    pub limits: Limits,
    pub blocked_until: Option<Instant>,
    /// Objects that were refused alone, until they are tried again.
    resting: HashMap<Uuid, Instant>,
    /// Objects and STIX ids in requests without an answer.
    busy: HashSet<Uuid>,
    pub in_flight: usize,
    pub health: Health,
    /// What time it is there.
    pub clock: Clock,
    /// `identity = "attribute"`: withdrawals are settled before anything else is sent, since an old
    /// and a new pattern can share an id.
    pub withdrawals_first: bool,
}

/// A batch that can be sent.
#[derive(Debug)]
pub(super) struct Batch {
    pub picked: Vec<Picked>,
    pub progress: Progress,
    /// More would fit.
    pub has_room: bool,
    /// A part of the search for a bad record.
    pub is_part: bool,
}

impl Line {
    pub(super) fn new(target: &Target, view: &str, way: Way, health: Health) -> Self {
        Self {
            name: target.name.clone(),
            workspace: target.workspace_id,
            sourcesystem: target.sourcesystem.clone(),
            api: target.api,
            way,
            lanes: Lanes::new(&target.name, view),
            halving: Halving::default(),
            probing: false,
            probes: 0,
            search_next: true,
            check_due: true,
            failures: 0,
            unauthorized: 0,
            foreign: 0,
            unreadable: 0,
            throttled: 0,
            throttled_until: None,
            limits: target.limits,
            blocked_until: None,
            resting: HashMap::new(),
            busy: HashSet::new(),
            in_flight: 0,
            health,
            clock: Clock::default(),
            withdrawals_first: target.identity == Identity::Attribute,
        }
    }

    /// The time by which it is judged what has expired, Unix milliseconds: a clock of ours that is ahead
    /// must not keep anything back that still counts there.
    pub(super) fn now(&self) -> i64 {
        self.clock.earlier(Ledger::now(), Instant::now())
    }

    /// The moment of a sending.
    pub(super) fn moment(&self) -> Moment {
        let now = Ledger::now();
        match self.clock.there(Instant::now()) {
            Some(there) => Moment::at_target(now, there),
            None => Moment::by_our_clock(now),
        }
    }

    /// The highest lane that waits, unless something holds the target back.
    pub(super) fn ready(&self, now: Instant) -> Option<Lane> {
        if self.blocked_until.is_some_and(|until| now < until) {
            return None;
        }
        // A search for a bad record, and a probe, are one request at a time; so is what is tried on a
        // target that has not answered for long.
        let alone = self.halving.is_active() || self.probing || self.failures >= DEGRADED_AFTER;
        if alone && self.in_flight > 0 {
            return None;
        }
        let lane = self.lanes.highest();
        if self.halving.is_active() || self.check_due {
            return lane.min(Some(Lane::Live)).or(Some(Lane::Live));
        }
        let lane = lane?;
        let barred = self.withdrawals_first && lane > self.lowest();
        (!barred).then_some(lane)
    }

    fn lowest(&self) -> Lane {
        let withdrawals = self.withdrawals_first && self.lanes.has_withdrawals();
        if withdrawals { Lane::Withdrawals } else { Lane::Backlog }
    }

    /// The next batch. Withdrawals go before a part of the search for a bad record, which takes turns
    /// with the rest; what is due again goes before the lanes.
    pub(super) async fn pick(&mut self, ledger: &Ledger, room: Room) -> sqlx::Result<Batch> {
        let withdraws = self.lanes.highest() == Some(Lane::Withdrawals);
        if !self.search_next || withdraws {
            let batch = self.pick_other(ledger, room).await?;
            if !batch.picked.is_empty() || !self.halving.is_active() {
                return Ok(batch);
            }
            self.lanes.advance(batch.progress);
        }
        match self.part(ledger).await? {
            Some(batch) => Ok(batch),
            None => self.pick_other(ledger, room).await,
        }
    }

    /// The part of the search that is to be sent next.
    async fn part(&mut self, ledger: &Ledger) -> sqlx::Result<Option<Batch>> {
        let now = self.now();
        let Some(part) = self.halving.part() else { return Ok(None) };
        let objects: Vec<Uuid> = part.iter().map(|record| record.object).collect();
        let mut found = ledger.pending_of(&self.name, &objects, now).await?;
        let is_of_part = |one: &Pending| {
            part.iter().any(|it| (it.object, it.version) == (one.object, one.version))
        };
        found.retain(is_of_part);
        if found.is_empty() {
            // All of it was altered since: there is nothing left to search in.
            self.halving.give_up();
            self.lanes.unblock();
            return Ok(None);
        }
        Ok(Some(Batch { is_part: true, ..Batch::alone(found) }))
    }

    async fn pick_other(&mut self, ledger: &Ledger, room: Room) -> sqlx::Result<Batch> {
        if std::mem::take(&mut self.check_due) {
            let limit = i64::try_from(room.objects).unwrap_or(i64::MAX);
            let due = ledger.due_again(&self.name, (Ledger::now(), limit)).await?;
            let due: Vec<Pending> = due.into_iter().filter(|one| !self.is_busy(one)).collect();
            if !due.is_empty() {
                return Ok(Batch::alone(due));
            }
        }
        if self.probing {
            let attempt = self.probes;
            self.probes = self.probes.wrapping_add(1);
            let probe =
                self.lanes.probe(ledger, (attempt, self.now()), |one| self.is_busy(one)).await?;
            if let Some(probe) = probe {
                let progress = Progress::default();
                return Ok(Batch {
                    picked: vec![probe],
                    progress,
                    has_room: false,
                    is_part: false,
                });
            }
        }
        let (picked, progress) =
            self.lanes.pick(ledger, room, self.lowest(), |one| self.is_busy(one)).await?;
        let has_room = picked.len() < room.objects;
        Ok(Batch { picked, progress, has_room, is_part: false })
    }

    fn is_busy(&self, pending: &Pending) -> bool {
        self.busy.contains(&pending.object)
            || self.busy.contains(&pending.stix_id)
            || self.resting.contains_key(&pending.object)
            || self.halving.holds(pending.object)
    }

    /// An object is left alone until `until`, or until the target accepts something.
    pub(super) fn rest(&mut self, object: Uuid, until: Instant) {
        self.resting.insert(object, until);
    }

    /// Objects that have rested long enough are tried again.
    pub(super) fn wake(&mut self, now: Instant) {
        let before = self.resting.len();
        self.resting.retain(|_, until| now < *until);
        if self.resting.len() < before {
            self.lanes.unblock();
        }
    }

    /// When time alone changes something.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let blocked = self.blocked_until.filter(|until| *until > now);
        blocked.or_else(|| self.resting.values().min().copied())
    }

    /// Takes changes that are wholly picked and answered off the queue; returns them.
    pub(super) async fn close_finished(
        &mut self,
        ledger: &Ledger,
    ) -> sqlx::Result<Vec<OpenChange>> {
        let now = self.now();
        self.lanes.close_finished(ledger, now).await
    }

    /// A batch leaves.
    pub(super) fn sent(&mut self, batch: Batch) -> Vec<Picked> {
        for one in &batch.picked {
            self.busy.extend([one.pending.object, one.pending.stix_id]);
        }
        self.in_flight += 1;
        self.search_next = !batch.is_part;
        self.lanes.sent(&batch.picked, batch.progress);
        let in_flight = self.in_flight;
        self.health.update(&self.name, |health| health.in_flight = in_flight);
        batch.picked
    }

    /// Its answer came; `settled`: nothing of it stays pending.
    pub(super) fn answered(&mut self, picked: &[Picked], settled: bool) {
        for one in picked {
            self.busy.remove(&one.pending.object);
            self.busy.remove(&one.pending.stix_id);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        self.lanes.answered(picked, settled);
        let in_flight = self.in_flight;
        self.health.update(&self.name, |health| health.in_flight = in_flight);
    }

    /// The target accepted something.
    pub(super) fn well(&mut self) {
        self.failures = 0;
        self.unauthorized = 0;
        self.foreign = 0;
        // What was on its way before a 429 does not shorten the wait.
        self.throttled_until = self.throttled_until.filter(|until| Instant::now() < *until);
        self.throttled = if self.throttled_until.is_some() { self.throttled } else { 0 };
        self.blocked_until = match self.throttled_until {
            Some(until) => self.blocked_until.max(Some(until)),
            None => None,
        };
        self.probing = false;
        if !self.resting.is_empty() {
            self.resting.clear();
            self.lanes.unblock();
        }
        self.health.update(&self.name, |health| {
            health.degraded = None;
            health.next_try = None;
            health.last_accepted = Some(SystemTime::now());
        });
    }

    /// Nothing is sent to the target for `pause`. `why` is told to the operator.
    pub(super) fn hold(&mut self, now: Instant, pause: Duration, why: Option<String>) {
        self.blocked_until = Some(now + pause);
        self.health.update(&self.name, |health| {
            health.next_try = Some(SystemTime::now() + pause);
            if why.is_some() {
                health.degraded = why;
            }
        });
    }
}

impl Batch {
    /// Objects that belong to no change of the lanes.
    fn alone(found: Vec<Pending>) -> Self {
        let picked = found
            .into_iter()
            .map(|pending| Picked { pending, lane: Lane::Backlog, change: -1 })
            .collect();
        Self { picked, progress: Progress::default(), has_room: false, is_part: false }
    }
}
