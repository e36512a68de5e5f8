//! What follows from an answer: the one place where outcomes are matched.

use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use uuid::Uuid;

use super::halving::Ruling;
use super::outcome::Outcome;
use super::sender::{Answer, Reached, Sender};
use super::token::SignInError;
use crate::ledger::{Ledger, OpenChange, Settlement};
use crate::metrics;

/// Failures in a row after which an unreachable target counts as degraded.
const DEGRADED_AFTER: u32 = 3;

/// A 429 that asks for no wait at all is not obeyed to the letter.
const SHORTEST_HOLD: Duration = Duration::from_millis(100);

/// What stays to be done once the ledger knows the outcome.
enum Next {
    Nothing,
    /// The target is left alone for a while; the reason, if the operator must know.
    Hold(Duration, Option<String>),
}

impl Sender {
    /// Settles a request in the ledger and decides how its target goes on.
    pub(super) async fn settle(&mut self, answer: Answer, reached: Reached) -> sqlx::Result<()> {
        let outcome = match reached {
            Reached::Sentinel(outcome) => outcome,
            Reached::NoToken(error) => return self.no_token(&answer, &error).await,
        };
        if let Some(line) = self.lines.get(answer.line) {
            metrics::request(&line.name, outcome.word(), answer.took);
        }
        let settled = matches!(outcome, Outcome::Accepted { .. });
        let next = match outcome {
            Outcome::Accepted { rejected, stray } => {
                self.sign_in_failures = 0;
                self.accepted(&answer, rejected, &stray).await?
            }
            Outcome::Throttled { wait } => {
                self.give_back(&answer).await?;
                self.throttled(&answer, wait)
            }
            Outcome::Transient { why, ambiguous, wait } => {
                if !ambiguous {
                    self.give_back(&answer).await?;
                }
                self.transient(&answer, why, wait)
            }
            Outcome::Unauthorized { why } => {
                self.give_back(&answer).await?;
                self.unauthorized(why)
            }
            Outcome::Forbidden { why } | Outcome::Misconfigured { why } => {
                self.give_back(&answer).await?;
                Next::Hold(self.delivery.degraded_retry, Some(why))
            }
            Outcome::TooLarge { why } => self.refused(&answer, why, true).await?,
            Outcome::BadRequest { why } => self.refused(&answer, why, false).await?,
        };
        self.go_on(&answer, settled, next);
        Ok(())
    }

    fn go_on(&mut self, answer: &Answer, settled: bool, next: Next) {
        let Some(line) = self.lines.get_mut(answer.line) else { return };
        line.answered(&answer.picked, settled);
        if let Next::Hold(pause, why) = next {
            if let Some(why) = &why {
                tracing::warn!(target_name = line.name, pause_s = pause.as_secs_f64(), %why, "target degraded: its objects stay pending");
            }
            line.hold(Instant::now(), pause, why);
        }
    }

    async fn accepted(
        &mut self,
        answer: &Answer,
        rejected: Vec<(usize, String)>,
        stray: &[String],
    ) -> sqlx::Result<Next> {
        let refusals: Vec<(Uuid, String)> = rejected
            .into_iter()
            .filter_map(|(index, words)| Some((answer.sending.get(index)?.object, words)))
            .collect();
        let is_refused = |object: Uuid| refusals.iter().any(|(refused, _)| *refused == object);
        let taken: Vec<Uuid> = answer
            .sending
            .iter()
            .map(|one| one.object)
            .filter(|object| !is_refused(*object))
            .collect();
        let settlements = [Settlement::Accepted(&taken), Settlement::Rejected(&refusals)];
        self.store(answer, &settlements).await?;
        let Some(line) = self.lines.get_mut(answer.line) else { return Ok(Next::Nothing) };
        for words in stray {
            tracing::warn!(
                target_name = line.name,
                words,
                "Sentinel complains of no record of ours"
            );
        }
        tell_refusals(&line.name, answer, &refusals);
        tell_accepted(&line.name, answer, &taken);
        if line.probing {
            line.halving.prove();
        }
        line.well();
        match line.halving.accepted() {
            Ruling::Reject(alone) => {
                self.reject(answer, alone, "the request was refused whenever it held this record")
                    .await?;
            }
            Ruling::Smaller | Ruling::Misconfigured(_) => {}
        }
        Ok(Next::Nothing)
    }

    fn throttled(&mut self, answer: &Answer, wait: Option<Duration>) -> Next {
        let wait = wait.unwrap_or(self.delivery.throttled_default).max(SHORTEST_HOLD);
        self.pacer.hold(Instant::now() + wait);
        if let Some(line) = self.lines.get(answer.line) {
            tracing::warn!(
                target_name = line.name,
                wait_s = wait.as_secs_f64(),
                "Sentinel answers 429: waiting as told, nothing is lost"
            );
        }
        Next::Nothing
    }

    fn transient(&mut self, answer: &Answer, why: String, wait: Option<Duration>) -> Next {
        let Some(line) = self.lines.get_mut(answer.line) else { return Next::Nothing };
        line.failures = line.failures.saturating_add(1);
        let pause = self.backoff.pause(line.failures, rand::random()).max(wait.unwrap_or_default());
        tracing::warn!(target_name = line.name, failures = line.failures, pause_s = pause.as_secs_f64(), %why, "upload failed: it is sent again");
        Next::Hold(pause, (line.failures >= DEGRADED_AFTER).then_some(why))
    }

    fn unauthorized(&mut self, why: String) -> Next {
        self.sign_in_failures = self.sign_in_failures.saturating_add(1);
        let renewed = self.token.as_ref().map(|token| token.renew());
        if let Some(Err(error)) = renewed {
            return Next::Hold(self.delivery.degraded_retry, Some(error.to_string()));
        }
        if self.sign_in_failures == 1 {
            tracing::info!(%why, "Sentinel answers 401: signing in anew");
            return Next::Nothing;
        }
        let pause = self.backoff.pause(self.sign_in_failures, rand::random());
        self.held_until = Some(Instant::now() + pause);
        Next::Hold(pause, Some(why))
    }

    async fn no_token(&mut self, answer: &Answer, error: &SignInError) -> sqlx::Result<()> {
        self.give_back(answer).await?;
        self.sign_in_failures = self.sign_in_failures.saturating_add(1);
        let pause = match error {
            SignInError::Unreachable(_) => {
                self.backoff.pause(self.sign_in_failures, rand::random())
            }
            SignInError::Refused(_) | SignInError::Settings(_) => self.delivery.degraded_retry,
        };
        self.held_until = Some(Instant::now() + pause);
        self.go_on(answer, false, Next::Hold(pause, Some(error.to_string())));
        Ok(())
    }

    /// 400 or 413: a record in it is bad, or the target is.
    async fn refused(
        &mut self,
        answer: &Answer,
        why: String,
        too_large: bool,
    ) -> sqlx::Result<Next> {
        self.give_back(answer).await?;
        let Some(line) = self.lines.get_mut(answer.line) else { return Ok(Next::Nothing) };
        if line.probing {
            return Ok(Next::Hold(self.delivery.degraded_retry, Some(why)));
        }
        let objects: Vec<Uuid> = answer.sending.iter().map(|one| one.object).collect();
        tracing::warn!(target_name = line.name, objects = objects.len(), %why, "Sentinel refuses a request: looking for the record that it means");
        match line.halving.refused(&objects, too_large) {
            Ruling::Smaller => Ok(Next::Nothing),
            Ruling::Reject(alone) => {
                self.reject(answer, alone, &why).await?;
                Ok(Next::Nothing)
            }
            Ruling::Misconfigured(not_theirs) => {
                line.probing = true;
                let name = line.name.clone();
                self.ledger.unreject(&name, &not_theirs, Ledger::now()).await?;
                let why = format!("every request is refused, whatever it holds: {why}");
                Ok(Next::Hold(self.delivery.degraded_retry, Some(why)))
            }
        }
    }

    async fn reject(&mut self, answer: &Answer, alone: Vec<Uuid>, why: &str) -> sqlx::Result<()> {
        let Some(line) = self.lines.get(answer.line) else { return Ok(()) };
        let refusals: Vec<_> = alone.into_iter().map(|object| (object, why.to_owned())).collect();
        self.ledger.reject_wanted(&line.name, &refusals).await?;
        tell_refusals(&line.name, answer, &refusals);
        Ok(())
    }

    async fn give_back(&mut self, answer: &Answer) -> sqlx::Result<()> {
        let objects: Vec<Uuid> = answer.sending.iter().map(|one| one.object).collect();
        self.store(answer, &[Settlement::Returned(&objects)]).await
    }

    async fn store(&mut self, answer: &Answer, settlements: &[Settlement<'_>]) -> sqlx::Result<()> {
        let Some(line) = self.lines.get(answer.line) else { return Ok(()) };
        let now = Ledger::now();
        let resend = i64::try_from(self.delivery.resend_after.as_millis()).unwrap_or(i64::MAX);
        self.ledger.settle(&line.name, settlements, now, now.saturating_add(resend)).await
    }

    /// Takes changes off the queues of which nothing is left, and tells how long each took.
    pub(super) async fn close_finished(&mut self) -> sqlx::Result<()> {
        for line in &mut self.lines {
            for closed in line.lanes.close_finished(&self.ledger).await? {
                tell_closed(&line.name, &closed);
            }
        }
        Ok(())
    }
}

fn tell_accepted(target: &str, answer: &Answer, taken: &[Uuid]) {
    for one in &answer.picked {
        if taken.contains(&one.pending.object) {
            metrics::accepted(target, one.lane.word(), 1);
        }
    }
    let withdrawn = answer
        .sending
        .iter()
        .filter(|one| one.is_withdrawal && taken.contains(&one.object))
        .count();
    metrics::withdrawn(target, withdrawn as u64);
    tracing::debug!(
        target_name = target,
        objects = taken.len(),
        withdrawn,
        took_ms = u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX),
        "batch accepted"
    );
}

fn tell_refusals(target: &str, answer: &Answer, refusals: &[(Uuid, String)]) {
    metrics::rejected(target, refusals.len() as u64);
    for (object, words) in refusals {
        let sent = answer.sending.iter().find(|one| one.object == *object);
        if sent.is_some_and(|one| one.is_withdrawal) {
            tracing::error!(target_name = target, %object, words, "Sentinel rejects a withdrawal: the indicator stays active there until its valid_until");
        } else {
            tracing::warn!(target_name = target, %object, words, "Sentinel rejects an object: kept with its words, see retry-rejected");
        }
    }
}

/// Of a change's summary, what its log line tells.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Summary {
    info: String,
    attributes: u64,
    new: u64,
    changed: u64,
    gone: u64,
    skipped: serde_json::Value,
}

fn tell_closed(target: &str, closed: &OpenChange) {
    let opened = u64::try_from(closed.opened_at).unwrap_or_default();
    let opened = SystemTime::UNIX_EPOCH + Duration::from_millis(opened);
    let took = SystemTime::now().duration_since(opened).unwrap_or_default();
    metrics::time_to_accepted(target, closed.lane.word(), took);
    let Some(event) = closed.event else { return };
    if closed.summary == "{}" {
        // A withdrawal, or one of the first changes of a large event: the last tells the whole.
        let (lane, accepted_after_s) = (closed.lane.word(), took.as_secs_f64());
        tracing::debug!(target_name = target, lane, %event, accepted_after_s, "change accepted");
        return;
    }
    let summary: Summary = serde_json::from_str(&closed.summary).unwrap_or_default();
    tracing::info!(
        target_name = target,
        lane = closed.lane.word(),
        %event,
        info = summary.info,
        attributes = summary.attributes,
        new = summary.new,
        changed = summary.changed,
        gone = summary.gone,
        skipped = %summary.skipped,
        accepted_after_s = took.as_secs_f64(),
        "event accepted"
    );
}
