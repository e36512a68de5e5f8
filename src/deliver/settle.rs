//! Acts on the outcome of an upload: it stores which objects were accepted or rejected, splits a batch with a bad
//! record, and sets the wait before the next try. No other file of the sender matches on [`UploadOutcome`].

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::lanes::Picked;
use super::outcome::{UploadOutcome, Why};
use super::session::Session;
use super::state::{DEGRADED_AFTER, Record, Ruling};
use super::target_delivery::{FinishedRequest, TargetDelivery, may_be_logged, record};
use super::tell::{self, FailedUpload, RefusedRecord};
use crate::config::Delivery;
use crate::ledger::{Lane, Ledger, RejectedObject, SentVersion, Settlement, SqlResult};
use crate::metrics;
use crate::pure::backoff::Backoff;
use crate::pure::pacer::Pacer;

/// The shortest pause after a 429, even if it asks for none.
const SHORTEST_HOLD: Duration = Duration::from_millis(100);

/// A request that has ended, and all that its outcome can change.
pub(super) struct Settling<'s> {
    pub ledger: &'s Ledger,
    pub delivery: &'s Delivery,
    pub pacer: &'s Pacer,
    pub session: &'s mut Session,
    pub target: &'s mut TargetDelivery,
    /// A 429 to this target holds for all targets of the credential.
    pub is_429_for_all: bool,
    pub request: &'s FinishedRequest,
}

/// A pause in which nothing is sent to the target.
struct Hold {
    pause: Duration,
    /// The failure that it is for, if it is for one.
    failure: Option<Failure>,
}

struct Failure {
    why: Why,
    /// It has gone on for so long, or is such, that the operator must know.
    degrades: bool,
}

impl Hold {
    /// For something that only the operator can mend.
    fn with_reason(pause: Duration, why: Why) -> Self {
        Self { pause, failure: Some(Failure { why, degrades: true }) }
    }
}

impl Settling<'_> {
    /// Settles the request in the ledger and decides how its target goes on. If the ledger cannot be
    /// written, the outcome stays unknown and the objects are sent again.
    pub(super) async fn settle(mut self) -> SqlResult<()> {
        let (request, response) = (self.request, &self.request.response);
        self.target.clock.hear(response.date, Instant::now());
        metrics::request_outcome(&self.target.name, response.outcome.word());
        metrics::request_time(&self.target.name, request.took);
        let followed = self.follow_outcome(response.outcome.clone()).await;
        // A withdrawal whose end is still to come by Sentinel's clock leaves the indicator active there. So it is not
        // settled: it is sent again, with an end that is over by that clock.
        let is_early = request.sending.iter().any(|one| request.is_early(one));
        let is_accepted = matches!(response.outcome, UploadOutcome::Accepted { .. });
        let is_settled = followed.is_ok() && is_accepted && !is_early;
        // The objects are freed first, so that the batch after the pause may hold them again.
        self.target.answered(&request.picked, is_settled);
        if let Some(Hold { pause, failure }) = followed? {
            if let Some(failure) = &failure {
                self.tell_failure(failure, pause);
            }
            let degraded = failure.as_ref().filter(|failure| failure.degrades);
            self.target.hold(pause, degraded.map(|failure| &failure.why));
        }
        Ok(())
    }

    fn tell_failure(&mut self, failure: &Failure, pause: Duration) {
        let Failure { why, degrades } = failure;
        let (word, degrades) = (self.request.response.outcome.word(), *degrades);
        // By its kind and not by its words, which may hold the time or the number of a request.
        let kind = if degrades { format!("degraded by {word}") } else { word.to_owned() };
        let down = self.target.outage.failed(&kind, Instant::now());
        tell::failed(
            self.target,
            FailedUpload { why: &self.request.for_log(why), pause, degrades },
            down,
        );
    }

    /// Does what follows from the outcome. If the request was surely not processed, its objects are returned to
    /// the ledger as they were before.
    ///
    /// All other failures leave the objects in doubt: after a time-out, Sentinel may have the version or may still
    /// receive it. If the object changes meanwhile, that older version may arrive after the newer one. So the ledger
    /// keeps the doubt, and the final version is sent once more after `delivery.resend_after`.
    async fn follow_outcome(&mut self, outcome: UploadOutcome) -> SqlResult<Option<Hold>> {
        let may_be_processed = matches!(
            outcome,
            UploadOutcome::Accepted { .. }
                | UploadOutcome::Transient { ambiguous: true, .. }
                | UploadOutcome::Foreign { .. }
                | UploadOutcome::Unreadable { .. }
        );
        if !may_be_processed {
            self.store(&[Settlement::Returned(&self.request.sending)]).await?;
        }
        match outcome {
            UploadOutcome::Accepted { rejected, stray } => self.accepted(&rejected, &stray).await,
            UploadOutcome::Throttled { wait } => Ok(self.throttled(wait)),
            UploadOutcome::Transient { why, wait, .. } => Ok(Some(self.failed(why, wait))),
            UploadOutcome::Foreign { why, may_be_api } => Ok(Some(self.foreign(why, may_be_api))),
            UploadOutcome::Unreadable { why } => self.unreadable(why).await,
            UploadOutcome::Unauthorized { why } => Ok(self.unauthorized(why)),
            UploadOutcome::Forbidden { why } | UploadOutcome::Misconfigured { why } => {
                Ok(Some(self.misconfigured(why)))
            }
            UploadOutcome::TooLarge { why } => self.refused(why, true).await,
            UploadOutcome::BadRequest { why } => self.refused(why, false).await,
        }
    }

    async fn accepted(
        &mut self,
        rejected: &[(usize, String)],
        stray: &[String],
    ) -> SqlResult<Option<Hold>> {
        let request = self.request;
        let (mut refused, mut early, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for (index, sending) in request.sending.iter().enumerate() {
            // Sentinel names only the bad records, so a record without a complaint is accepted.
            match rejected.iter().find(|(at, _)| *at == index) {
                Some((_, words)) => refused.push((sending, words)),
                None if request.is_early(sending) => early.push(sending.object),
                None => taken.push(sending.object),
            }
        }
        let refusals: Vec<RejectedObject> = refused
            .iter()
            .map(|(one, words)| RejectedObject { object: one.object, words: (*words).clone() })
            .collect();
        let settlements = [
            Settlement::Accepted(&taken),
            Settlement::NotOver(&early),
            Settlement::Rejected(&refusals),
        ];
        self.store(&settlements).await?;
        self.target.took(&request.picked, &taken);
        tell::early_withdrawals(&self.target.name, early.len());
        let may_be_quoted = request.sending.iter().all(may_be_logged);
        tell::stray_complaints(&self.target.name, stray, may_be_quoted);
        let told = refused.iter().map(|(one, words)| RefusedRecord {
            record: record(one),
            words: may_be_logged(one).then_some(words.as_str()),
        });
        tell::refusals(&self.target.name, told);
        tell::accepted(self.target, request, &taken);
        self.show(&taken, refused.len());
        self.note_backlog(&taken);
        self.tell_recovery().await;
        let ruling = self.target.accepted(request.is_part);
        // From now on a 401 of another target is that target's own fault.
        self.session.accepted(request.token_number);
        let why = "the request was refused whenever it held this record".to_owned().into();
        self.follow_ruling(ruling, why).await
    }

    /// Shows to people what a request came to.
    fn show(&self, taken: &[Uuid], refused: usize) {
        let sending = self.request.sending.iter();
        let withdrawn = sending.filter(|one| one.is_withdrawal() && taken.contains(&one.object));
        let recent = self.ledger.recent();
        recent.accepted(taken.len(), withdrawn.count());
        recent.rejected(refused);
    }

    fn note_backlog(&mut self, taken: &[Uuid]) {
        let is_taken =
            |one: &&Picked| one.lane == Lane::Backlog && taken.contains(&one.pending.object);
        let objects = self.request.picked.iter().filter(is_taken).count();
        self.target.backlog.accepted(objects as u64, Instant::now());
    }

    /// Tells that the target works again, if it did not. A request that left before a 429 came ends no wait.
    async fn tell_recovery(&mut self) {
        let now = Instant::now();
        if self.target.state.retry.is_throttled(now) {
            return;
        }
        if let Some(down) = self.target.outage.over(now) {
            tell::recovered(self.ledger, &self.target.name, down).await;
        }
    }

    /// Does what follows from a refusal, or from the answer to a part of a search.
    async fn follow_ruling(&mut self, ruling: Ruling, why: Why) -> SqlResult<Option<Hold>> {
        let name = &self.target.name;
        match ruling {
            Ruling::Smaller => Ok(None),
            Ruling::Rest(record) => {
                let until = Instant::now() + self.delivery.degraded_retry;
                self.target.state.rest(record.object, until);
                Ok(None)
            }
            Ruling::Reject(alone) => {
                let version =
                    |&Record { object, version, .. }: &Record| SentVersion { object, version };
                let versions: Vec<SentVersion> = alone.iter().map(version).collect();
                self.ledger.reject_versions(name, &versions, &why.to_string()).await?;
                let words = self.request.for_log(&why);
                let words = Some(words.as_str());
                let told = alone.iter().map(|record| RefusedRecord { record: *record, words });
                tell::refusals(name, told);
                self.ledger.recent().rejected(alone.len());
                Ok(None)
            }
            Ruling::Misconfigured(not_theirs) => {
                // These records were rejected because of a target that refuses everything, so they are not bad.
                let objects: Vec<Uuid> = not_theirs.iter().map(|record| record.object).collect();
                self.ledger.unreject(name, &objects, Ledger::now()).await?;
                // Two bad records look like a bad target. A single object shows which it is, so it is tried at once.
                Ok(Some(Hold { pause: self.delivery.backoff_min, failure: None }))
            }
            Ruling::StillMisconfigured => {
                let why = why.under("every request is refused, whatever it holds: ");
                Ok(Some(Hold::with_reason(self.delivery.degraded_retry, why)))
            }
        }
    }

    /// Follows a 429: the target waits as long as Sentinel asks. Microsoft counts the quota per user. So if another
    /// target of the credential waits after a 429 as well, the quota of the credential is used up, and all of its
    /// targets wait. A workspace that is throttled alone must not stop the others.
    fn throttled(&mut self, wait: Option<Duration>) -> Option<Hold> {
        let now = Instant::now();
        let wait = wait.unwrap_or(self.delivery.throttled_default).max(SHORTEST_HOLD);
        let times = self.target.state.retry.throttled(now, wait);
        let degrades = times >= DEGRADED_AFTER && !self.is_429_for_all;
        if !degrades {
            let down = self.target.outage.failed("throttled", now);
            tell::throttled(self.target, wait, down);
        }
        if self.is_429_for_all {
            self.pacer.hold(now + wait);
            return None;
        }
        // Each try takes a slot from the other targets, so the tries become rare.
        let slower = wait.saturating_mul(1_u32 << times.saturating_sub(1).min(16));
        let pause = slower.min(self.delivery.backoff_max).max(wait);
        let why = "Sentinel throttles it again and again (429), and no other target";
        let failure = degrades.then(|| Failure { why: why.to_owned().into(), degrades });
        Some(Hold { pause, failure })
    }

    /// Follows a failure after which a repeat may succeed.
    fn failed(&mut self, why: Why, wait: Option<Duration>) -> Hold {
        let failures = self.target.state.retry.failed(Instant::now());
        let pause = self.backoff(failures).max(wait.unwrap_or_default());
        Hold { pause, failure: Some(Failure { why, degrades: failures >= DEGRADED_AFTER }) }
    }

    /// Follows a success that is not the API's: the objects stay in doubt. If such answers go on, single objects are
    /// tried slowly, since Sentinel may store and bill each of them.
    fn foreign(&mut self, why: Why, may_be_api: bool) -> Hold {
        if !self.target.state.retry.foreign(Instant::now(), may_be_api) {
            return self.failed(why, None);
        }
        // Whether the API has changed is for the operator to decide: believing a proxy would lose indicators.
        let remedy = "; if Sentinel itself answers so, set delivery.accept_body = \"any-json\"";
        self.misconfigured(why.and(remedy))
    }

    /// Follows a 200 whose complaints cannot be read, because they are too long or broken. The batch is sent
    /// again, and then halved, since fewer records make a shorter list.
    async fn unreadable(&mut self, why: Why) -> SqlResult<Option<Hold>> {
        match self.target.state.retry.unreadable(self.request.is_part) {
            true => self.refused(why, true).await,
            false => Ok(Some(self.failed(why, None))),
        }
    }

    /// Follows a 401: a fresh token is asked for. If that is no better, the target waits and not the others of the
    /// credential.
    fn unauthorized(&mut self, why: Why) -> Option<Hold> {
        if self.session.is_outdated(self.request.token_number) {
            return None;
        }
        let times = self.target.state.retry.unauthorized();
        let pause = self.backoff(times);
        // Another target accepts this token, so a new token would not help.
        if times > 1 && self.session.is_token_good {
            return Some(Hold::with_reason(pause, why));
        }
        if let Err(error) = self.session.renew() {
            return Some(Hold::with_reason(self.delivery.degraded_retry, error.to_string().into()));
        }
        if times == 1 {
            tell::signing_in_anew(&self.target.name, &self.request.for_log(&why));
            return None;
        }
        Some(Hold::with_reason(pause, why))
    }

    /// Follows an answer that shows wrong settings: single objects are tried slowly.
    fn misconfigured(&mut self, why: Why) -> Hold {
        self.target.state.refusals.suspect_target();
        Hold::with_reason(self.delivery.degraded_retry, why)
    }

    /// Follows a refusal: either a record in the request is bad, or the target is set up wrongly.
    async fn refused(&mut self, why: Why, too_large: bool) -> SqlResult<Option<Hold>> {
        let records = self.request.records();
        let refusals = &mut self.target.state.refusals;
        let ruling = match self.request.is_part {
            true => refusals.refused_part(too_large),
            false => refusals.refused(&records),
        };
        if ruling != Ruling::StillMisconfigured {
            let told = self.request.for_log(&why);
            tell::refused(&self.target.name, records.len(), &told, self.request.is_part);
        }
        self.follow_ruling(ruling, why).await
    }

    async fn store(&mut self, settlements: &[Settlement<'_>]) -> SqlResult<()> {
        let now = Ledger::now();
        // An older version in doubt may still arrive after this one and overwrite it. So the ledger notes when the
        // final version is sent once more: late enough that nothing older is on its way any more.
        let resend = crate::ledger::millis(self.delivery.resend_after);
        self.ledger.settle(&self.target.name, settlements, now, now.saturating_add(resend)).await
    }

    fn backoff(&self, failures: u32) -> Duration {
        let Delivery { backoff_min, backoff_max, .. } = *self.delivery;
        Backoff::new(backoff_min, backoff_max).pause(failures, rand::random())
    }
}
