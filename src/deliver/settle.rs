//! What follows from an answer: the one place where outcomes are matched.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::halving::{Record, Ruling};
use super::line::{DEGRADED_AFTER, Line};
use super::outcome::Outcome;
use super::sender::{Answer, Sender};
use super::tell;
use crate::azure::token::SignInError;
use crate::ledger::{Ledger, Sending, Settlement};
use crate::metrics;

/// A 429 that asks for no wait at all is not obeyed to the letter.
const SHORTEST_HOLD: Duration = Duration::from_millis(100);

/// What stays to be done once the ledger knows the outcome.
enum Next {
    Nothing,
    /// The target is left alone for a while; the reason, if the operator must know.
    Hold(Duration, Option<String>),
}

impl Sender {
    /// Settles a request in the ledger and decides how its target goes on. If the ledger cannot be
    /// written, the outcome stays unknown and the objects go again.
    pub(super) async fn settle(&mut self, answer: Answer, outcome: Outcome) -> sqlx::Result<()> {
        let settled = self.settle_outcome(&answer, outcome).await;
        if let (Err(_), Some(line)) = (&settled, self.lines.get_mut(answer.line)) {
            line.answered(&answer.picked, false);
        }
        settled
    }

    async fn settle_outcome(&mut self, answer: &Answer, outcome: Outcome) -> sqlx::Result<()> {
        if let Some(line) = self.lines.get_mut(answer.line) {
            line.clock.hear(answer.date, Instant::now());
            metrics::request(&line.name, outcome.word(), answer.took);
        }
        let is_early = answer.sending.iter().any(|one| is_early(one, answer));
        let settled = matches!(outcome, Outcome::Accepted { .. }) && !is_early;
        let next = match outcome {
            Outcome::Accepted { rejected, stray } => {
                self.accepted(answer, rejected, &stray).await?
            }
            Outcome::Throttled { wait } => {
                self.give_back(answer).await?;
                self.throttled(answer, wait)
            }
            Outcome::Transient { why, ambiguous, wait } => {
                if !ambiguous {
                    self.give_back(answer).await?;
                }
                self.transient(answer, why, wait)
            }
            Outcome::Foreign { why, may_be_api } => self.foreign(answer, why, may_be_api),
            Outcome::Unreadable { why } => self.unreadable(answer, why).await?,
            Outcome::Unauthorized { why } => {
                self.give_back(answer).await?;
                self.unauthorized(answer, why)
            }
            Outcome::Forbidden { why } | Outcome::Misconfigured { why } => {
                self.give_back(answer).await?;
                self.misconfigured(answer, why)
            }
            Outcome::TooLarge { why } => {
                self.give_back(answer).await?;
                self.refused(answer, why, true).await?
            }
            Outcome::BadRequest { why } => {
                self.give_back(answer).await?;
                self.refused(answer, why, false).await?
            }
        };
        self.go_on(answer, settled, next);
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
        let named: Vec<(&Sending, String)> = rejected
            .into_iter()
            .filter_map(|(index, words)| Some((answer.sending.get(index)?, words)))
            .collect();
        let refusals: Vec<(Uuid, String)> =
            named.iter().map(|(one, words)| (one.object, words.clone())).collect();
        let is_refused = |object: Uuid| refusals.iter().any(|(refused, _)| *refused == object);
        let good = answer.sending.iter().filter(|one| !is_refused(one.object));
        let (early, taken): (Vec<&Sending>, Vec<&Sending>) =
            good.partition(|one| is_early(one, answer));
        let of = |some: &[&Sending]| some.iter().map(|one| one.object).collect::<Vec<_>>();
        let (early, taken) = (of(&early), of(&taken));
        let settlements = [
            Settlement::Accepted(&taken),
            Settlement::NotOver(&early),
            Settlement::Rejected(&refusals),
        ];
        self.store(answer, &settlements).await?;
        let Some(line) = self.lines.get_mut(answer.line) else { return Ok(Next::Nothing) };
        if !early.is_empty() {
            tracing::warn!(
                target_name = line.name,
                withdrawals = early.len(),
                "this machine's clock is ahead of Sentinel's: these withdrawals would end only later, so they are sent again by Sentinel's clock; synchronise the clocks"
            );
        }
        for words in stray {
            tracing::warn!(
                target_name = line.name,
                words,
                "Sentinel complains of no record of ours"
            );
        }
        tell::refusals(&line.name, named.iter().map(|(one, words)| (record(one), words.as_str())));
        tell::accepted(line, answer, &taken);
        let ruling = if answer.is_part { line.halving.accepted() } else { Ruling::Smaller };
        match (answer.is_part, line.probing) {
            (true, _) => {}
            (false, true) => line.halving.prove(),
            (false, false) => line.halving.accepted_other(),
        }
        line.well();
        self.is_token_good |= answer.renewals == self.renewals;
        self.follow(answer, ruling, "the request was refused whenever it held this record").await
    }

    /// What the search for a bad record leads to.
    async fn follow(&mut self, answer: &Answer, ruling: Ruling, why: &str) -> sqlx::Result<Next> {
        let Some(line) = self.lines.get_mut(answer.line) else { return Ok(Next::Nothing) };
        match ruling {
            Ruling::Smaller => Ok(Next::Nothing),
            Ruling::Rest(record) => {
                line.rest(record.object, Instant::now() + self.delivery.degraded_retry);
                Ok(Next::Nothing)
            }
            Ruling::Reject(alone) => {
                let name = line.name.clone();
                let versions: Vec<_> =
                    alone.iter().map(|record| (record.object, record.version)).collect();
                self.ledger.reject_versions(&name, &versions, why).await?;
                tell::refusals(&name, alone.iter().map(|record| (*record, why)));
                Ok(Next::Nothing)
            }
            Ruling::Misconfigured(not_theirs) => {
                line.probing = true;
                let name = line.name.clone();
                let objects: Vec<Uuid> = not_theirs.iter().map(|record| record.object).collect();
                self.ledger.unreject(&name, &objects, Ledger::now()).await?;
                // Two bad records look alike: a single object tells, at once.
                Ok(Next::Hold(self.delivery.backoff_min, None))
            }
        }
    }

    /// 429: the target waits as told. If another one of the credential is told to wait as well, it is
    /// the credential's quota that is used up, by whomever, and all of them wait. Microsoft says that
    /// the quota is a user's; a workspace that is throttled alone must not stop the others.
    fn throttled(&mut self, answer: &Answer, wait: Option<Duration>) -> Next {
        let now = Instant::now();
        let wait = wait.unwrap_or(self.delivery.throttled_default).max(SHORTEST_HOLD);
        let waits = |line: &Line| line.throttled_until.is_some_and(|until| now < until);
        let mut others = self.lines.iter().enumerate().filter(|(at, _)| *at != answer.line);
        let is_alone = !others.any(|(_, line)| waits(line));
        let shared = self.lines.len() > 1;
        let Some(line) = self.lines.get_mut(answer.line) else { return Next::Nothing };
        // Requests that were on their way together are throttled together: that is one answer.
        if !waits(line) {
            line.throttled = line.throttled.saturating_add(1);
        }
        line.throttled_until = line.throttled_until.max(Some(now + wait));
        tracing::warn!(
            target_name = line.name,
            wait_s = wait.as_secs_f64(),
            "Sentinel answers 429: waiting as told, nothing is lost"
        );
        if !(shared && is_alone) {
            self.pacer.hold(now + wait);
            return Next::Nothing;
        }
        // Each try is a slot of the others: again and again it is tried ever more slowly.
        let slower = wait.saturating_mul(1_u32 << line.throttled.saturating_sub(1).min(16));
        let why = (line.throttled >= DEGRADED_AFTER)
            .then(|| "Sentinel throttles it again and again (429), and no other target".to_owned());
        Next::Hold(slower.min(self.delivery.backoff_max).max(wait), why)
    }

    fn transient(&mut self, answer: &Answer, why: String, wait: Option<Duration>) -> Next {
        let Some(line) = self.lines.get_mut(answer.line) else { return Next::Nothing };
        // Requests that were on their way together fail together: that is one failure.
        if line.blocked_until.is_none_or(|until| until <= Instant::now()) {
            line.failures = line.failures.saturating_add(1);
        }
        let pause = self.backoff.pause(line.failures, rand::random()).max(wait.unwrap_or_default());
        tracing::warn!(target_name = line.name, failures = line.failures, pause_s = pause.as_secs_f64(), %why, "upload failed: it is sent again");
        Next::Hold(pause, (line.failures >= DEGRADED_AFTER).then_some(why))
    }

    /// A success that is not the API's: the objects stay in doubt. If it goes on, single objects tell,
    /// slowly, since each of them may be stored and billed.
    fn foreign(&mut self, answer: &Answer, why: String, may_be_api: bool) -> Next {
        let Some(line) = self.lines.get_mut(answer.line) else { return Next::Nothing };
        if !may_be_api {
            line.foreign = 0;
            return self.transient(answer, why, None);
        }
        // Requests that were on their way together are answered together: that is one answer.
        if line.blocked_until.is_none_or(|until| until <= Instant::now()) {
            line.foreign = line.foreign.saturating_add(1);
        }
        if line.foreign < DEGRADED_AFTER {
            return self.transient(answer, why, None);
        }
        let remedy = "if Sentinel itself answers so, set delivery.accept_body = \"any-json\"";
        self.misconfigured(answer, format!("{why}; {remedy}"))
    }

    /// A 200 whose complaints cannot be read, because they are too long or broken: the batch is sent
    /// again, and then halved, since fewer records make a shorter list.
    async fn unreadable(&mut self, answer: &Answer, why: String) -> sqlx::Result<Next> {
        let Some(line) = self.lines.get_mut(answer.line) else { return Ok(Next::Nothing) };
        line.unreadable = line.unreadable.saturating_add(1);
        if !answer.is_part && line.unreadable < DEGRADED_AFTER {
            return Ok(self.transient(answer, why, None));
        }
        line.unreadable = 0;
        self.refused(answer, why, true).await
    }

    /// 401: a fresh token, and if that is no better the target waits, not the others of the
    /// credential.
    fn unauthorized(&mut self, answer: &Answer, why: String) -> Next {
        if answer.renewals < self.renewals {
            // The token was thrown away since.
            return Next::Nothing;
        }
        let Some(line) = self.lines.get_mut(answer.line) else { return Next::Nothing };
        line.unauthorized = line.unauthorized.saturating_add(1);
        if line.unauthorized > 1 && self.is_token_good {
            let pause = self.backoff.pause(line.unauthorized, rand::random());
            return Next::Hold(pause, Some(why));
        }
        self.renewals += 1;
        self.is_token_good = false;
        let renewed = self.token.as_ref().map(|token| token.renew());
        if let Some(Err(error)) = renewed {
            return Next::Hold(self.delivery.degraded_retry, Some(error.to_string()));
        }
        if line.unauthorized == 1 {
            tracing::info!(target_name = line.name, %why, "Sentinel answers 401: signing in anew");
            return Next::Nothing;
        }
        let pause = self.backoff.pause(line.unauthorized, rand::random());
        Next::Hold(pause, Some(why))
    }

    /// The target's settings are wrong: single objects are tried, slowly.
    fn misconfigured(&mut self, answer: &Answer, why: String) -> Next {
        if let Some(line) = self.lines.get_mut(answer.line) {
            line.probing = true;
            line.halving.give_up();
        }
        Next::Hold(self.delivery.degraded_retry, Some(why))
    }

    /// Sign-in failed: no target of the credential can be sent anything.
    pub(super) fn no_token(&mut self, error: &SignInError) {
        self.sign_in_failures = self.sign_in_failures.saturating_add(1);
        let pause = match error {
            SignInError::Unreachable(_) => {
                self.backoff.pause(self.sign_in_failures, rand::random())
            }
            SignInError::Refused(_) | SignInError::Unusable(_) | SignInError::Settings(_) => {
                self.delivery.degraded_retry
            }
        };
        let now = Instant::now();
        self.held_until = Some(now + pause);
        tracing::warn!(%error, pause_s = pause.as_secs_f64(), "sign-in failed: nothing can be sent, everything stays pending");
        for line in &mut self.lines {
            line.hold(now, pause, Some(error.to_string()));
        }
    }

    /// A record in the request is bad, or the target is.
    async fn refused(
        &mut self,
        answer: &Answer,
        why: String,
        too_large: bool,
    ) -> sqlx::Result<Next> {
        let Some(line) = self.lines.get_mut(answer.line) else { return Ok(Next::Nothing) };
        // A record that was rejected before tells nothing of the target.
        let tells = !matches!(answer.sending.as_slice(), [one] if one.retried);
        if line.probing && tells {
            let why = format!("every request is refused, whatever it holds: {why}");
            return Ok(Next::Hold(self.delivery.degraded_retry, Some(why)));
        }
        let records: Vec<Record> = answer.sending.iter().map(record).collect();
        tracing::warn!(target_name = line.name, objects = records.len(), %why, "Sentinel refuses a request: looking for the record that it means");
        let ruling = match answer.is_part {
            true => line.halving.refused_part(too_large),
            false => line.halving.refused(&records),
        };
        self.follow(answer, ruling, &why).await
    }

    async fn give_back(&mut self, answer: &Answer) -> sqlx::Result<()> {
        self.store(answer, &[Settlement::Returned(&answer.sending)]).await
    }

    async fn store(&mut self, answer: &Answer, settlements: &[Settlement<'_>]) -> sqlx::Result<()> {
        let Some(line) = self.lines.get(answer.line) else { return Ok(()) };
        let now = Ledger::now();
        let resend = crate::ledger::millis(self.delivery.resend_after);
        self.ledger.settle(&line.name, settlements, now, now.saturating_add(resend)).await
    }

    /// Takes changes off the queues of which nothing is left, and tells how long each took.
    pub(super) async fn close_finished(&mut self) -> sqlx::Result<()> {
        for line in &mut self.lines {
            for closed in line.close_finished(&self.ledger).await? {
                tell::closed(line, &closed);
            }
        }
        Ok(())
    }
}

/// Whether a withdrawal ends only later by the clock of the target that has taken it.
fn is_early(sending: &Sending, answer: &Answer) -> bool {
    sending.ended_at.zip(answer.date).is_some_and(|(end, now)| end > now)
}

fn record(sending: &Sending) -> Record {
    let Sending { object, version, retried, .. } = *sending;
    Record { object, version, retried }
}
