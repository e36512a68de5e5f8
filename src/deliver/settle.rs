//! Acts on the outcome of an upload: it stores what was accepted or rejected, splits a batch with a bad
//! record, and sets the wait before the next try. Of a sender, no other file matches on [`UploadOutcome`].

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::outcome::UploadOutcome;
use super::pacer::Pacer;
use super::session::Session;
use super::state::{DEGRADED_AFTER, Record, Ruling};
use super::target_delivery::{FinishedRequest, TargetDelivery, record};
use super::tell;
use crate::config::Delivery;
use crate::ledger::{Ledger, RejectedObject, Sending, SentVersion, Settlement, SqlResult};
use crate::metrics;
use crate::pure::backoff::Backoff;

/// The shortest pause after a 429, also where it asks for no wait at all.
const SHORTEST_HOLD: Duration = Duration::from_millis(100);

/// A request that has ended, and all that its outcome can change.
pub(super) struct Settling<'s> {
    pub ledger: &'s Ledger,
    pub delivery: &'s Delivery,
    pub pacer: &'s Pacer,
    pub session: &'s mut Session,
    pub target: &'s mut TargetDelivery,
    pub neighbours: Neighbours,
    pub request: &'s FinishedRequest,
}

/// The other targets of a credential.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbours {
    are_any: bool,
    /// The end of the wait that a 429 asked any of them for.
    throttled_until: Option<Instant>,
}

/// The target is left alone for a while.
struct Hold {
    pause: Duration,
    /// The reason, if the operator must know it.
    why: Option<String>,
}

impl Hold {
    fn with_reason(pause: Duration, why: String) -> Self {
        Self { pause, why: Some(why) }
    }
}

impl Neighbours {
    /// Returns the neighbours of the target at `index`.
    pub(super) fn of(targets: &[TargetDelivery], index: usize) -> Self {
        let now = Instant::now();
        let others = targets.iter().enumerate().filter(|(at, _)| *at != index);
        let throttled_until =
            others.filter_map(|(_, target)| target.state.retry.throttled_until(now)).max();
        Self { are_any: targets.len() > 1, throttled_until }
    }
}

impl Settling<'_> {
    /// Settles the request in the ledger and decides how its target goes on. If the ledger cannot be
    /// written, the outcome stays unknown and the objects are sent again.
    pub(super) async fn settle(mut self) -> SqlResult<()> {
        let (request, response) = (self.request, &self.request.response);
        self.target.clock.hear(response.date, Instant::now());
        metrics::request(&self.target.name, response.outcome.word(), request.took);
        let followed = self.follow_outcome(response.outcome.clone()).await;
        // A withdrawal that ends only later by Sentinel's clock still matches there, so it stays pending.
        let is_early = request.sending.iter().any(|one| request.is_early(one));
        let is_accepted = matches!(response.outcome, UploadOutcome::Accepted { .. });
        let is_settled = followed.is_ok() && is_accepted && !is_early;
        // The objects are free before the target is held, so that the next batch may hold them again.
        self.target.answered(&request.picked, is_settled);
        if let Some(Hold { pause, why }) = followed? {
            if let Some(why) = &why {
                tell::degraded(&self.target.name, pause, why);
            }
            self.target.hold(Instant::now(), pause, why);
        }
        Ok(())
    }

    /// Does what follows from the outcome. Where the request was surely not processed, its objects are given
    /// back first, so that the ledger has no doubt about them. All other failures leave them in doubt.
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
            UploadOutcome::Accepted { rejected, stray } => self.accepted(rejected, &stray).await,
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
        rejected: Vec<(usize, String)>,
        stray: &[String],
    ) -> SqlResult<Option<Hold>> {
        let request = self.request;
        let named: Vec<(&Sending, String)> = rejected
            .into_iter()
            .filter_map(|(index, words)| Some((request.sending.get(index)?, words)))
            .collect();
        let refusals: Vec<RejectedObject> = named
            .iter()
            .map(|(one, words)| RejectedObject { object: one.object, words: words.clone() })
            .collect();
        let is_refused = |object: Uuid| refusals.iter().any(|refused| refused.object == object);
        // Sentinel names only the bad records, so a record without a complaint is accepted.
        let good = request.sending.iter().filter(|one| !is_refused(one.object));
        let (early, taken): (Vec<&Sending>, Vec<&Sending>) =
            good.partition(|one| request.is_early(one));
        let of = |some: &[&Sending]| some.iter().map(|one| one.object).collect::<Vec<_>>();
        let (early, taken) = (of(&early), of(&taken));
        let settlements = [
            Settlement::Accepted(&taken),
            Settlement::NotOver(&early),
            Settlement::Rejected(&refusals),
        ];
        self.store(&settlements).await?;
        tell::early_withdrawals(&self.target.name, early.len());
        tell::stray_complaints(&self.target.name, stray);
        let told = named.iter().map(|(one, words)| (record(one), words.as_str()));
        tell::refusals(&self.target.name, told);
        tell::accepted(self.target, request, &taken);
        let ruling = self.target.accepted(request.is_part);
        // From now on a 401 of another target is that target's own fault.
        self.session.accepted(request.token_number);
        self.follow_ruling(ruling, "the request was refused whenever it held this record").await
    }

    /// Does what follows from a refusal, or from the answer to a part of a search.
    async fn follow_ruling(&mut self, ruling: Ruling, why: &str) -> SqlResult<Option<Hold>> {
        let name = &self.target.name;
        match ruling {
            Ruling::Smaller => Ok(None),
            Ruling::Rest(record) => {
                let until = Instant::now() + self.delivery.degraded_retry;
                self.target.state.rest(record.object, until);
                Ok(None)
            }
            Ruling::Reject(alone) => {
                let version = |record: &Record| SentVersion {
                    object: record.object,
                    version: record.version,
                };
                let versions: Vec<SentVersion> = alone.iter().map(version).collect();
                self.ledger.reject_versions(name, &versions, why).await?;
                tell::refusals(name, alone.iter().map(|record| (*record, why)));
                Ok(None)
            }
            Ruling::Misconfigured(not_theirs) => {
                // The records were rejected on the word of a target that refuses everything.
                let objects: Vec<Uuid> = not_theirs.iter().map(|record| record.object).collect();
                self.ledger.unreject(name, &objects, Ledger::now()).await?;
                // Two bad records look like a bad target. A single object tells, so it is tried at once.
                Ok(Some(Hold { pause: self.delivery.backoff_min, why: None }))
            }
            Ruling::StillMisconfigured => {
                let why = format!("every request is refused, whatever it holds: {why}");
                Ok(Some(Hold::with_reason(self.delivery.degraded_retry, why)))
            }
        }
    }

    /// Follows a 429: the target waits as long as Sentinel asks. If another target of the credential waits
    /// as well, the credential's quota is used up, by whomever, and all of its targets wait. Microsoft says
    /// that the quota is a user's; a workspace that is throttled alone must not stop the others.
    fn throttled(&mut self, wait: Option<Duration>) -> Option<Hold> {
        let now = Instant::now();
        let wait = wait.unwrap_or(self.delivery.throttled_default).max(SHORTEST_HOLD);
        let times = self.target.state.retry.throttled(now, wait);
        tell::throttled(&self.target.name, wait);
        let is_alone = self.neighbours.throttled_until.is_none_or(|until| until <= now);
        if !(self.neighbours.are_any && is_alone) {
            self.pacer.hold(now + wait);
            return None;
        }
        // Each try costs the others a slot, so the tries grow rare.
        let slower = wait.saturating_mul(1_u32 << times.saturating_sub(1).min(16));
        let why = (times >= DEGRADED_AFTER)
            .then(|| "Sentinel throttles it again and again (429), and no other target".to_owned());
        Some(Hold { pause: slower.min(self.delivery.backoff_max).max(wait), why })
    }

    /// Follows a failure that a repeat may mend.
    fn failed(&mut self, why: String, wait: Option<Duration>) -> Hold {
        let failures = self.target.state.retry.failed(Instant::now());
        let pause = self.backoff(failures).max(wait.unwrap_or_default());
        tell::failed(&self.target.name, failures, pause, &why);
        Hold { pause, why: (failures >= DEGRADED_AFTER).then_some(why) }
    }

    /// Follows a success that is not the API's: the objects stay in doubt. If it goes on, single objects are
    /// tried slowly, since each of them may be stored and billed.
    fn foreign(&mut self, why: String, may_be_api: bool) -> Hold {
        if !self.target.state.retry.foreign(Instant::now(), may_be_api) {
            return self.failed(why, None);
        }
        // Each try may be stored and billed, so the operator must decide whether the API has changed.
        let remedy = "if Sentinel itself answers so, set delivery.accept_body = \"any-json\"";
        self.misconfigured(format!("{why}; {remedy}"))
    }

    /// Follows a 200 whose complaints cannot be read, because they are too long or broken. The batch is sent
    /// again, and then halved, since fewer records make a shorter list.
    async fn unreadable(&mut self, why: String) -> SqlResult<Option<Hold>> {
        match self.target.state.retry.unreadable(self.request.is_part) {
            true => self.refused(why, true).await,
            false => Ok(Some(self.failed(why, None))),
        }
    }

    /// Follows a 401: a fresh token is asked for. If that is no better, the target waits and not the others of the
    /// credential.
    fn unauthorized(&mut self, why: String) -> Option<Hold> {
        if self.session.is_outdated(self.request.token_number) {
            return None;
        }
        let times = self.target.state.retry.unauthorized();
        let pause = self.backoff(times);
        // Another target accepts this token, so a new one would not help.
        if times > 1 && self.session.is_token_good() {
            return Some(Hold::with_reason(pause, why));
        }
        if let Err(error) = self.session.renew() {
            return Some(Hold::with_reason(self.delivery.degraded_retry, error.to_string()));
        }
        if times == 1 {
            tell::signing_in_anew(&self.target.name, &why);
            return None;
        }
        Some(Hold::with_reason(pause, why))
    }

    /// Follows an answer by which the settings are wrong: single objects are tried, slowly.
    fn misconfigured(&mut self, why: String) -> Hold {
        self.target.state.refusals.suspect_target();
        Hold::with_reason(self.delivery.degraded_retry, why)
    }

    /// Follows a refusal: a record in the request is bad, or the target is.
    async fn refused(&mut self, why: String, too_large: bool) -> SqlResult<Option<Hold>> {
        let records = self.request.records();
        let refusals = &mut self.target.state.refusals;
        let ruling = match self.request.is_part {
            true => refusals.refused_part(too_large),
            false => refusals.refused(&records),
        };
        if ruling != Ruling::StillMisconfigured {
            tell::refused(&self.target.name, records.len(), &why);
        }
        self.follow_ruling(ruling, &why).await
    }

    async fn store(&mut self, settlements: &[Settlement<'_>]) -> SqlResult<()> {
        let now = Ledger::now();
        // An older version in doubt may arrive after this one. The final version goes once more when that is over.
        let resend = crate::ledger::millis(self.delivery.resend_after);
        self.ledger.settle(&self.target.name, settlements, now, now.saturating_add(resend)).await
    }

    fn backoff(&self, failures: u32) -> Duration {
        let Delivery { backoff_min, backoff_max, .. } = *self.delivery;
        Backoff::new(backoff_min, backoff_max).pause(failures, rand::random())
    }
}
