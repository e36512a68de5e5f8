//! The loop that sends: one per credential, since its targets share token and quota.
//!
//! A slot goes to the highest lane that waits in any of its targets. Every request, also a repeat,
//! pays the pacer.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Interval;
use tokio_util::sync::CancellationToken;

use super::clock;
use super::lanes::{Picked, Room};
use super::line::{Batch, Line, Way};
use super::outcome::{Asked, Outcome};
use super::pacer::SharedPacer;
use super::upload;
use crate::azure::token::{SignInError, TokenSource};
use crate::caught::{Panicked, caught};
use crate::config::{Config, Delivery, Limits, Secret};
use crate::ledger::{Ledger, Sending};
use crate::metrics;
use crate::pure::backoff::Backoff;

/// Sends to all targets of one credential.
#[derive(Debug)]
pub struct Sender {
    pub(super) ledger: Ledger,
    pub(super) delivery: Delivery,
    /// `None` for dry-run targets.
    pub(super) token: Option<Arc<TokenSource>>,
    pub(super) pacer: SharedPacer,
    pub(super) backoff: Backoff,
    pub(super) lines: Vec<Line>,
    /// Requests of all targets together.
    max_in_flight: usize,
    /// Sign-in failures in a row.
    pub(super) sign_in_failures: u32,
    /// As it is shown, see [`TokenSource::trouble`].
    sign_in_trouble: Option<String>,
    /// Nothing is sent before: sign-in failed.
    pub(super) held_until: Option<Instant>,
    /// How many tokens were thrown away: tells the answers to the present one from older ones.
    pub(super) renewals: u64,
    /// Some target took the present token: where another one does not, the token is not at fault.
    pub(super) is_token_good: bool,
    /// At most one.
    signing_in: FuturesUnordered<BoxFuture<'static, Result<Secret, SignInError>>>,
    in_flight: FuturesUnordered<BoxFuture<'static, (Answer, Outcome)>>,
    /// When the next slot opens, as far as is known.
    slot_opens: Option<Instant>,
    /// Since when a batch that is not full waits for more.
    lingering_since: Option<Instant>,
    /// Which target is asked first: they take turns.
    first: usize,
}

/// A request that has ended.
#[derive(Debug)]
pub(super) struct Answer {
    pub line: usize,
    pub picked: Vec<Picked>,
    pub sending: Vec<Sending>,
    pub took: Duration,
    /// What time it was at the target, Unix milliseconds, where the answer tells.
    pub date: Option<i64>,
    /// The sender's count when it was sent.
    pub renewals: u64,
    /// A part of the search for a bad record.
    pub is_part: bool,
}

/// How long nothing is sent after the ledger could not be read or written.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// While a batch waits for more, how often it is looked whether more is still arriving.
const LINGER_LOOK: Duration = Duration::from_millis(10);

impl Sender {
    pub(super) fn new(
        config: &Config,
        ledger: &Ledger,
        (token, pacer): (Option<Arc<TokenSource>>, SharedPacer),
        lines: Vec<Line>,
    ) -> Self {
        let delivery = config.delivery.clone();
        let in_flight = lines.iter().map(|line| line.limits.max_in_flight).max().unwrap_or(1);
        Self {
            ledger: ledger.clone(),
            pacer,
            backoff: Backoff::new(delivery.backoff_min, delivery.backoff_max),
            delivery,
            token,
            // Each target may have one on its way, whatever the others do.
            max_in_flight: in_flight.max(lines.len()),
            lines,
            sign_in_failures: 0,
            sign_in_trouble: None,
            held_until: None,
            renewals: 0,
            is_token_good: false,
            signing_in: FuturesUnordered::new(),
            in_flight: FuturesUnordered::new(),
            slot_opens: None,
            lingering_since: None,
            first: 0,
        }
    }

    /// The tokens and the quota by which it sends to a target of its own; `None` for another's, or a
    /// file.
    #[must_use]
    pub fn means_of(&self, target: &str) -> Option<(Arc<TokenSource>, SharedPacer)> {
        self.lines.iter().find(|line| line.name == target)?;
        Some((self.token.clone()?, self.pacer.clone()))
    }

    /// Sends until `stop`, then waits for the answers of the requests in flight. While the ledger
    /// cannot be read or written, nothing is sent; what was sent meanwhile is in doubt and goes again.
    pub async fn run(mut self, stop: CancellationToken) {
        let tick = self.delivery.resend_after.min(Duration::from_secs(2)) / 2;
        let mut due = tokio::time::interval(tick.max(Duration::from_millis(1)));
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            let turn = self.turn(&stop, &mut due).await;
            if !self.ledger.judge(turn, "send").await {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(LEDGER_PAUSE) => {}
                }
            }
        }
        while let Some((answer, outcome)) = self.in_flight.next().await {
            let settled = self.settle(answer, outcome).await;
            self.ledger.judge(settled, "settle").await;
        }
        let closed = self.close_finished().await;
        self.ledger.judge(closed, "settle").await;
    }

    /// Sends what can be sent, then waits until something happens.
    async fn turn(&mut self, stop: &CancellationToken, due: &mut Interval) -> sqlx::Result<()> {
        let ledger = self.ledger.clone();
        let changed = ledger.changed();
        self.refill().await?;
        let wake = self.send_what_can_be_sent().await?;
        let sleep = tokio::time::sleep(wake.unwrap_or_default());
        tokio::select! {
            () = stop.cancelled() => {}
            Some((answer, outcome)) = self.in_flight.next() => self.settle(answer, outcome).await?,
            Some(token) = self.signing_in.next() => self.signed_in(token),
            () = changed => {}
            () = sleep, if wake.is_some() => {}
            _ = due.tick() => self.lines.iter_mut().for_each(|line| line.check_due = true),
        }
        Ok(())
    }

    async fn refill(&mut self) -> sqlx::Result<()> {
        for line in &mut self.lines {
            line.lanes.refill(&self.ledger).await?;
        }
        Ok(())
    }

    /// Sends batches until no slot is open or nothing waits; returns when to look again, if time
    /// alone can change something. A token is at hand before a slot is taken: slots that wait for a
    /// sign-in would all be used at once.
    async fn send_what_can_be_sent(&mut self) -> sqlx::Result<Option<Duration>> {
        loop {
            self.close_finished().await?;
            let now = Instant::now();
            self.lines.iter_mut().for_each(|line| line.wake(now));
            if let Some(wait) = self.must_wait(now) {
                return Ok(wait);
            }
            let Some(line) = self.next_line(now) else { return Ok(self.next_wake(now)) };
            // Nothing of it is to be sent: before the next one is asked, answers are heard.
            let Some(batch) = self.batch_of(line).await? else { return Ok(Some(Duration::ZERO)) };
            if let Some(wait) = self.lingers(&batch, now) {
                return Ok(Some(wait));
            }
            let Some(token) = self.token_at_hand().await else { return Ok(Some(Duration::ZERO)) };
            if let Err(wait) = self.pacer.take(Instant::now()) {
                self.slot_opens = Some(Instant::now() + wait);
                return Ok(Some(wait));
            }
            self.lingering_since = None;
            self.send(line, batch, token).await?;
        }
    }

    /// Whether no request may leave now, and how long that lasts, if time alone ends it.
    fn must_wait(&mut self, now: Instant) -> Option<Option<Duration>> {
        if self.in_flight.len() >= self.max_in_flight || !self.signing_in.is_empty() {
            return Some(None);
        }
        let until = [self.slot_opens, self.held_until].into_iter().flatten().max()?;
        if now < until {
            return Some(Some(until - now));
        }
        self.slot_opens = None;
        None
    }

    /// The target with the highest waiting lane; equal ones take turns.
    fn next_line(&self, now: Instant) -> Option<usize> {
        let count = self.lines.len();
        // A place is kept free for each other target, so that one that hangs stops none.
        let most = self.max_in_flight.saturating_sub(count.saturating_sub(1)).max(1);
        let ready = |line: &usize| {
            let line = self.lines.get(*line)?;
            let has_place = line.in_flight < most.min(line.limits.max_in_flight);
            if has_place { line.ready(now) } else { None }
        };
        (0..count)
            .map(|offset| (self.first + offset) % count)
            .filter_map(|line| Some((ready(&line)?, line)))
            .min_by_key(|(lane, _)| *lane)
            .map(|(_, line)| line)
    }

    fn next_wake(&self, now: Instant) -> Option<Duration> {
        let next = self.lines.iter().filter_map(|line| line.next_wake(now)).min();
        next.map(|until| until.saturating_duration_since(now))
    }

    /// The token for a request; `None` while a sign-in is under way, or if one just failed. A
    /// target that is written to a file needs none.
    async fn token_at_hand(&mut self) -> Option<Option<Secret>> {
        let Some(source) = self.token.clone() else { return Some(None) };
        let mut asked: BoxFuture<'static, _> = Box::pin(async move { source.token().await });
        match futures::poll!(&mut asked) {
            Poll::Ready(Ok(token)) => {
                self.has_token();
                Some(Some(token))
            }
            Poll::Ready(Err(error)) => {
                self.no_token(&error);
                None
            }
            Poll::Pending => {
                self.signing_in.push(asked);
                None
            }
        }
    }

    /// There is a token; what is wrong with it nevertheless is shown at each target.
    fn has_token(&mut self) {
        self.sign_in_failures = 0;
        let trouble = self.token.as_ref().and_then(|source| source.trouble());
        if trouble == self.sign_in_trouble {
            return;
        }
        for line in &self.lines {
            line.health.update(&line.name, |health| health.sign_in.clone_from(&trouble));
        }
        self.sign_in_trouble = trouble;
    }

    fn signed_in(&mut self, token: Result<Secret, SignInError>) {
        match token {
            Ok(_) => self.has_token(),
            Err(error) => self.no_token(&error),
        }
    }

    /// `None`: nothing of what waited has to be sent.
    async fn batch_of(&mut self, line: usize) -> sqlx::Result<Option<Batch>> {
        let Some(line) = self.lines.get_mut(line) else { return Ok(None) };
        let Limits { max_objects: objects, max_bytes: bytes, .. } = line.limits;
        let room = Room { objects, bytes, is_untouched: true, now: line.now() };
        let batch = line.pick(&self.ledger, room).await?;
        if batch.picked.is_empty() {
            line.lanes.advance(batch.progress);
            return Ok(None);
        }
        Ok(Some(batch))
    }

    /// A batch with room waits while more is arriving, at most the linger time.
    fn lingers(&mut self, batch: &Batch, now: Instant) -> Option<Duration> {
        if !batch.has_room || !self.ledger.is_busy() {
            return None;
        }
        let since = *self.lingering_since.get_or_insert(now);
        let left = self.delivery.linger.checked_sub(now - since)?;
        (!left.is_zero()).then(|| left.min(LINGER_LOOK))
    }

    async fn send(
        &mut self,
        index: usize,
        batch: Batch,
        token: Option<Secret>,
    ) -> sqlx::Result<()> {
        self.first = index + 1;
        let Some(line) = self.lines.get_mut(index) else { return Ok(()) };
        let pending: Vec<_> = batch.picked.iter().map(|one| one.pending.clone()).collect();
        let sending = self.ledger.mark_sending(&line.name, &pending, line.moment()).await?;
        let is_part = batch.is_part;
        let picked = line.sent(batch);
        if sending.is_empty() {
            // All of it was altered since it was picked.
            line.answered(&picked, true);
            return Ok(());
        }
        for one in &picked {
            metrics::sent(&line.name, one.lane.word(), 1);
        }
        let objects: Vec<&str> = sending.iter().map(|one| one.json.as_str()).collect();
        let body = upload::body(line.api, &line.sourcesystem, &objects);
        let asked = Asked {
            workspace: line.workspace,
            objects: objects.len(),
            accept_body: self.delivery.accept_body,
        };
        let (way, renewals) = (line.way.clone(), self.renewals);
        let started = Instant::now();
        self.in_flight.push(Box::pin(async move {
            let reached = caught(reach(way, token, body, asked)).await;
            let (outcome, date) = reached.unwrap_or_else(|panicked| (faulty(&panicked), None));
            let took = started.elapsed();
            (Answer { line: index, picked, sending, took, date, renewals, is_part }, outcome)
        }));
        Ok(())
    }
}

/// A panic on the way costs this request, which is sent again.
fn faulty(panicked: &Panicked) -> Outcome {
    Outcome::Transient { why: panicked.to_string(), ambiguous: true, wait: None }
}

/// One request: what became of it, and what time it was at the target.
async fn reach(
    way: Way,
    token: Option<Secret>,
    body: axum::body::Bytes,
    asked: Asked,
) -> (Outcome, Option<i64>) {
    match (way, token) {
        (Way::Upload(client), Some(token)) => {
            let answer = client.send(&token, body).await;
            let date = answer.as_ref().ok().and_then(|reply| clock::date(reply.date.as_deref()));
            (Outcome::of(&answer, asked), date)
        }
        (Way::File(path), _) => (write_down(&path, &body).await, None),
        (Way::Upload(_), None) => (Outcome::Unauthorized { why: "no credential".into() }, None),
    }
}

/// A dry run: the request's body as a line of the target's file.
async fn write_down(path: &std::path::Path, body: &[u8]) -> Outcome {
    use tokio::io::AsyncWriteExt;
    let appended = async {
        let mut file =
            tokio::fs::File::options().create(true).append(true).mode(0o600).open(path).await?;
        file.write_all(&[body, b"\n"].concat()).await?;
        file.flush().await
    };
    match appended.await {
        Ok(()) => Outcome::accepted_all(),
        Err(error) => Outcome::Transient {
            why: format!("cannot write dry_run_file {}: {error}", path.display()),
            ambiguous: false,
            wait: None,
        },
    }
}
