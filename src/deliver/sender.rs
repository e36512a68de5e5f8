//! Runs the loop that sends. There is one per credential, since the targets of a credential share token and
//! quota. Each slot of the quota goes to the highest lane that waits in any of the targets. Every request takes a
//! slot, a repeat too, because Sentinel counts every request.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Interval;
use tokio_util::sync::CancellationToken;

use super::destination::UploadResponse;
use super::outcome::UploadOutcome;
use super::quota_use::Quota;
use super::session::{Session, SignInFailed, UploadAccess};
use super::settle::Settling;
use super::target_delivery::{FinishedRequest, PickedBatch, TargetDelivery};
use super::tell;
use crate::caught::caught;
use crate::config::{Delivery, Secret};
use crate::ledger::{Lane, Ledger, SqlResult};
use crate::metrics;

/// Sends to all targets of one credential.
#[derive(Debug)]
pub struct Sender {
    ledger: Ledger,
    delivery: Delivery,
    session: Session,
    pub(super) quota: Quota,
    pub(super) targets: Vec<TargetDelivery>,
    in_flight: FuturesUnordered<BoxFuture<'static, FinishedRequest>>,
    /// The time at which the next slot opens, if it is known. No batch is picked before.
    slot_opens: Option<Instant>,
    /// The time since which a batch that is not full waits for more.
    lingering_since: Option<Instant>,
    /// The target that is asked first. The targets take turns.
    first: usize,
}

/// How long nothing is sent after the ledger could not be read or written.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// How often the sender looks whether more is still arriving, while a batch waits for more.
const LINGER_LOOK: Duration = Duration::from_millis(10);

impl Sender {
    pub(super) fn new(
        delivery: Delivery,
        ledger: Ledger,
        session: Session,
        quota: Quota,
        target: TargetDelivery,
    ) -> Self {
        Self {
            ledger,
            delivery,
            session,
            quota,
            targets: vec![target],
            in_flight: FuturesUnordered::new(),
            slot_opens: None,
            lingering_since: None,
            first: 0,
        }
    }

    /// Returns the tokens and the quota by which this sender sends to a target. `None`: the target is
    /// another sender's, or its requests go to a file.
    pub fn access_to(&self, target: &str) -> Option<UploadAccess> {
        self.targets.iter().find(|one| one.name == target)?;
        Some(UploadAccess {
            tokens: self.session.tokens.clone()?,
            pacer: Some(self.quota.pacer.clone()),
        })
    }

    /// Sends until `stop`, then waits for the answers of the requests in flight. While the ledger cannot be read or
    /// written, nothing is sent. A request whose outcome cannot be stored stays in doubt, and is sent again.
    pub async fn run(mut self, stop: CancellationToken) {
        let tick = self.delivery.resend_after.min(Duration::from_secs(2)) / 2;
        let mut due = tokio::time::interval(tick.max(Duration::from_millis(1)));
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            let turn = self.turn(&stop, &mut due).await;
            if !self.ledger.judge(turn, "send") {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(LEDGER_PAUSE) => {}
                }
            }
        }
        // If these requests were cut off, they would be in doubt after every stop. Each of their objects would be
        // sent again, and billed twice.
        while let Some(finished) = self.in_flight.next().await {
            let settled = self.settle(finished).await;
            self.ledger.judge(settled, "settle");
        }
        let closed = self.close_finished().await;
        self.ledger.judge(closed, "settle");
    }

    /// Sends what can be sent, then waits until something happens.
    async fn turn(&mut self, stop: &CancellationToken, due: &mut Interval) -> SqlResult<()> {
        let ledger = self.ledger.clone();
        // A commit during the refill must wake this turn, so the wait for it begins before.
        let changed = ledger.changed();
        for target in &mut self.targets {
            target.lanes.refill(&self.ledger).await?;
            if let Some(news) = target.backlog.news(target.lanes.has_backlog(), Instant::now()) {
                tell::backlog(&self.ledger, &target.name, news).await;
            }
        }
        let wake = self.send_what_can_be_sent().await?;
        let sleep = tokio::time::sleep(wake.unwrap_or_default());
        tokio::select! {
            () = stop.cancelled() => {}
            Some(finished) = self.in_flight.next() => self.settle(finished).await?,
            result = self.session.sign_in_ended() => {
                self.signed_in(result);
            }
            () = changed => {}
            () = sleep, if wake.is_some() => {}
            _ = due.tick() => self.targets.iter_mut().for_each(|target| target.check_due = true),
        }
        Ok(())
    }

    /// Sends batches until no slot is open or nothing waits. Returns when to look again, if time
    /// alone can change something.
    async fn send_what_can_be_sent(&mut self) -> SqlResult<Option<Duration>> {
        loop {
            self.close_finished().await?;
            let now = Instant::now();
            self.targets.iter_mut().for_each(|target| target.wake(&self.ledger, now));
            if let Err(wait) = self.may_send(now) {
                return Ok(wait);
            }
            let Some(index) = self.next_target(now) else { return Ok(self.next_wake(now)) };
            // Without a batch nothing has to be sent. Answers are settled before the next target is asked.
            let Some(batch) = self.batch_of(index).await? else { return Ok(Some(Duration::ZERO)) };
            if let Some(wait) = self.lingers(&batch, now) {
                return Ok(Some(wait));
            }
            // The token must be there before a slot is taken. Otherwise several slots could wait for one sign-in,
            // and their requests would leave together after it: more than the quota allows.
            let Some(token) = self.authorize().await else { return Ok(Some(Duration::ZERO)) };
            if let Err(wait) = self.quota.pacer.take(Instant::now()) {
                self.slot_opens = Some(Instant::now() + wait);
                return Ok(Some(wait));
            }
            self.lingering_since = None;
            self.send(index, batch, token).await?;
        }
    }

    /// Checks whether a request of any target may leave now. The error is the time to wait. `None`: the next answer
    /// or the end of a sign-in must come first.
    fn may_send(&self, now: Instant) -> Result<(), Option<Duration>> {
        if self.in_flight.len() >= self.max_in_flight() || self.session.is_signing_in() {
            return Err(None);
        }
        match self.slot_opens.max(self.session.paused_until) {
            Some(until) if now < until => Err(Some(until - now)),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns how many requests of all targets together may be in flight. Each target may have one, whatever the
    /// others do.
    fn max_in_flight(&self) -> usize {
        let limits = self.targets.iter().map(|target| target.limits.max_in_flight);
        limits.max().unwrap_or(1).max(self.targets.len())
    }

    /// Returns the target with the highest waiting lane. Equal ones take turns.
    fn next_target(&self, now: Instant) -> Option<usize> {
        let count = self.targets.len();
        // A place is kept free for each other target, so that a target that hangs stops no other.
        let most = self.max_in_flight().saturating_sub(count.saturating_sub(1)).max(1);
        let ready = |index: usize| -> Option<(Lane, usize)> {
            let target = self.targets.get(index)?;
            let has_place = target.state.requests < most.min(target.limits.max_in_flight);
            if has_place { Some((target.ready(now)?, index)) } else { None }
        };
        let in_turn = (0..count).map(|offset| (self.first + offset) % count);
        in_turn.filter_map(ready).min_by_key(|(lane, _)| *lane).map(|(_, index)| index)
    }

    fn next_wake(&self, now: Instant) -> Option<Duration> {
        let next = self.targets.iter().filter_map(|target| target.state.next_wake(now)).min();
        next.map(|until| until.saturating_duration_since(now))
    }

    /// Returns a token for a request, or no token for a dry run; `None` while a sign-in is under way, or when one has just failed.
    async fn authorize(&mut self) -> Option<Option<Secret>> {
        let result = self.session.authorize().await?;
        self.signed_in(result)
    }

    /// Shows each target how the sign-in went, and returns what it gave.
    fn signed_in<T>(&mut self, result: Result<T, SignInFailed>) -> Option<T> {
        match result {
            Ok(token) => {
                if let Some(down) = self.session.outage.over(Instant::now()) {
                    tell::signed_in_again(&self.names(), down);
                }
                let standing = self.session.standing();
                self.targets.iter().for_each(|one| one.show_sign_in(&standing));
                Some(token)
            }
            Err(SignInFailed { error, pause }) => {
                // The session already holds all requests back. The targets are held as well, so that each shows the
                // reason in its status.
                let now = Instant::now();
                let down = self.session.outage.failed(error.word(), now);
                tell::sign_in_failed(&self.names(), &error, pause, down);
                for target in &mut self.targets {
                    // Told for all of them together. Each tells by itself when it takes something again.
                    target.outage.failed("sign_in", now);
                    target.hold(pause, Some(&error.to_string().into()));
                }
                None
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        self.targets.iter().map(|target| target.name.as_str()).collect()
    }

    /// Picks a batch for a target. `None`: nothing of what waited has to be sent.
    async fn batch_of(&mut self, index: usize) -> SqlResult<Option<PickedBatch>> {
        let Some(target) = self.targets.get_mut(index) else { return Ok(None) };
        let batch = target.pick(&self.ledger).await?;
        if batch.picked.is_empty() {
            target.lanes.advance(batch.progress);
            return Ok(None);
        }
        Ok(Some(batch))
    }

    /// Returns how long a batch with room waits while more is arriving: at most the linger time in all.
    fn lingers(&mut self, batch: &PickedBatch, now: Instant) -> Option<Duration> {
        if !batch.has_room || !self.ledger.is_busy() {
            return None;
        }
        // A publication may be written in several commits. If each were sent by itself, each would cost a slot.
        let since = *self.lingering_since.get_or_insert(now);
        let left = self.delivery.linger.checked_sub(now - since)?;
        (!left.is_zero()).then(|| left.min(LINGER_LOOK))
    }

    async fn send(
        &mut self,
        index: usize,
        batch: PickedBatch,
        token: Option<Secret>,
    ) -> SqlResult<()> {
        // The next target has the next turn, whatever becomes of this batch.
        self.first = index + 1;
        let Some(target) = self.targets.get_mut(index) else { return Ok(()) };
        let pending: Vec<_> = batch.picked.iter().map(|one| one.pending.clone()).collect();
        // The ledger stores the exact objects before they leave. So after a kill it knows that their outcome is in
        // doubt, and the repeat has the same bytes: Sentinel sees the same version again and no second one.
        let sending = self.ledger.mark_sending(&target.name, &pending, target.moment()).await?;
        let is_part = batch.is_part;
        // The lanes go past the batch even if nothing of it was sent: what was altered is in a newer change.
        let picked = target.sent(batch);
        if sending.is_empty() {
            // All of it was altered since it was picked.
            target.answered(&picked, true);
            return Ok(());
        }
        for one in &picked {
            metrics::sent(&target.name, one.lane.word(), 1);
        }
        let (destination, sourcesystem) = (target.destination.clone(), target.sourcesystem.clone());
        let token_number = self.session.token_number;
        let started = Instant::now();
        self.quota.used.sent(sending.len(), started);
        self.in_flight.push(Box::pin(async move {
            let objects: Vec<&str> = sending.iter().map(|one| one.json.as_str()).collect();
            let response = caught(destination.send(token.as_ref(), &sourcesystem, &objects)).await;
            // After a panic it is unknown what arrived. The objects are sent again, and other requests go on.
            let response = response.unwrap_or_else(|panicked| UploadResponse {
                outcome: UploadOutcome::Transient {
                    why: panicked.to_string().into(),
                    ambiguous: true,
                    wait: None,
                },
                date: None,
            });
            let took = started.elapsed();
            FinishedRequest { index, picked, sending, took, response, token_number, is_part }
        }));
        Ok(())
    }

    /// Settles a request in the ledger and decides how its target goes on.
    async fn settle(&mut self, finished: FinishedRequest) -> SqlResult<()> {
        let is_429_for_all = self.is_429_for_all(finished.index);
        let Some(target) = self.targets.get_mut(finished.index) else { return Ok(()) };
        let settling = Settling {
            ledger: &self.ledger,
            delivery: &self.delivery,
            pacer: &self.quota.pacer,
            session: &mut self.session,
            target,
            is_429_for_all,
            request: &finished,
        };
        settling.settle().await
    }

    /// Whether a 429 to this target means that the quota of the credential is used up: it has no other target,
    /// or another one waits after a 429 as well.
    fn is_429_for_all(&self, target: usize) -> bool {
        let now = Instant::now();
        let others = self.targets.iter().enumerate().filter(|(index, _)| *index != target);
        self.targets.len() == 1
            || others.map(|(_, other)| &other.state.retry).any(|retry| retry.is_throttled(now))
    }

    /// Closes the changes of which nothing is left, and logs how long each took.
    async fn close_finished(&mut self) -> SqlResult<()> {
        for target in &mut self.targets {
            let now = target.now();
            let closed = target.lanes.close_finished(&self.ledger, now).await?;
            for news in closed.sent {
                self.ledger.recent().taken(news.event, news.heard, &target.name);
            }
            for last in &closed.last {
                tell::closed(target, last);
            }
        }
        Ok(())
    }
}
