//! Tells a MISP of hits: it makes due sightings of what the ledger recorded, and sends each until MISP took it or
//! refused it for good. Each source has a task of its own, so a MISP that is down holds up no other.

mod attempt;

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::{Rest, Telling};
use crate::http::HttpError;
use crate::ledger::{DueSighting, Ledger, SqlResult, TellingRules, Told};
use crate::log_event::{LogEvent, ms};
use crate::metrics;
use crate::misp_api::{Key, MispClient, RestError};
use crate::pure::backoff::Backoff;
use crate::pure::outage::{Down, Outage};
use attempt::{Attempt, Attempted};

/// The longest sleep: what an upkeep or a clock moved is seen by then.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The time after which MISP is asked again whose the key is.
const KEY_ASKED_EVERY: Duration = Duration::from_secs(3_600);

/// Sightings that are looked up at once.
const STEP: i64 = 50;

/// Tells one MISP of hits.
#[derive(Debug)]
pub struct Teller {
    client: MispClient,
    ledger: Ledger,
    telling: Telling,
    backoff: Backoff,
    /// How long MISP may take to show what it was asked to add.
    settle: Duration,
    /// Whose the key is, and when MISP said so.
    key: Option<(Key, Instant)>,
    failing: Outage,
    failures: u32,
}

/// Why a round came to no end.
#[derive(Debug)]
enum Halt {
    Misp(RestError),
    Ledger,
}

impl Teller {
    /// # Errors
    /// [`HttpError`]: no client can be made.
    pub fn new(rest: &Rest, telling: &Telling, ledger: Ledger) -> Result<Self, HttpError> {
        Ok(Self {
            client: MispClient::for_sightings(rest, &telling.key)?,
            ledger,
            telling: telling.clone(),
            backoff: Backoff::new(rest.backoff_min, rest.backoff_max),
            settle: rest.read_back_after,
            key: None,
            failing: Outage::default(),
            failures: 0,
        })
    }

    /// Tells MISP of hits until `stop`. What MISP was asked at the stop is looked up after the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let ledger = self.ledger.clone();
            let hit = ledger.hit();
            tokio::pin!(hit);
            // From here on, so that a hit which comes during the round is not missed.
            hit.as_mut().enable();
            let halted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                round = self.round() => self.judge(round),
            };
            let sleep = match halted {
                Some(pause) => pause,
                None => self.until_next().await,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                // While MISP fails, news is no reason to ask it sooner.
                () = hit, if halted.is_none() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Tells all that is due.
    async fn round(&mut self) -> Result<(), Halt> {
        let source = self.client.source().to_owned();
        // Nothing is asked of a MISP that there is nothing to tell.
        let has_hits = self.written(self.ledger.has_new_hits(&source).await)?;
        if has_hits {
            let rules = self.rules().await?;
            self.written(self.ledger.make_sightings(&rules).await)?;
        }
        loop {
            let due = self.ledger.due_sightings(&source, Ledger::now(), STEP).await;
            let due = self.written(due)?;
            if due.is_empty() {
                return Ok(());
            }
            for sighting in &due {
                self.tell(&source, sighting).await?;
            }
        }
    }

    async fn rules(&mut self) -> Result<TellingRules, Halt> {
        let key = self.key().await?;
        Ok(TellingRules {
            source: self.client.source().to_owned(),
            reach: self.telling.reach,
            organisation: Uuid::parse_str(&key.view.organisation).ok(),
            said_by: self.telling.said_by.clone(),
        })
    }

    /// Whose the key is. MISP is asked once an hour, since an operator may give the user another organisation.
    async fn key(&mut self) -> Result<Key, Halt> {
        if let Some((key, asked)) = &self.key
            && asked.elapsed() < KEY_ASKED_EVERY
        {
            return Ok(key.clone());
        }
        let key = self.client.key().await.map_err(Halt::Misp)?;
        self.key = Some((key.clone(), Instant::now()));
        Ok(key)
    }

    async fn tell(&mut self, source: &str, due: &DueSighting) -> Result<(), Halt> {
        let organisation = self.key().await?.organisation;
        let rules = &self.rules().await?;
        let (client, ledger, settle) = (&self.client, &self.ledger, self.settle);
        let attempt = Attempt { client, ledger, organisation, due, rules, settle };
        let attempted = self.written(attempt.make().await)?;
        let (told, halt) = self.settled(due, attempted);
        note(source, due, &told);
        let settled = self.ledger.settle_sighting(source, due, told).await;
        self.written(settled)?;
        halt.map_or(Ok(()), |error| Err(Halt::Misp(error)))
    }

    /// What an attempt comes to, and the error after which the others wait too.
    fn settled(&self, due: &DueSighting, attempted: Attempted) -> (Told, Option<RestError>) {
        match attempted {
            Attempted::Taken(sighting) => (Told::Taken(sighting), None),
            Attempted::Refused(why) => (Told::Refused(why), None),
            Attempted::Failed { error, doubt } => {
                let tries = u32::try_from(due.attempts).unwrap_or(u32::MAX);
                let pause = attempt::pause(self.backoff, tries, &error);
                // MISP may show what it was asked a little later.
                let pause = if doubt { pause.max(self.settle) } else { pause };
                let due_at = Ledger::now().saturating_add(attempt::millis(pause));
                (Told::PutOff { due_at, doubt }, Some(error))
            }
        }
    }

    /// Tells the log how the round went. Returns the pause after one that came to no end.
    fn judge(&mut self, round: Result<(), Halt>) -> Option<Duration> {
        let Err(halt) = round else {
            self.failures = 0;
            if let Some(Down { lasted, .. }) = self.failing.over(Instant::now()) {
                tracing::info!(
                    event = LogEvent::SightingsRecovered.word(),
                    down_ms = ms(lasted),
                    "MISP takes sightings again"
                );
            }
            return None;
        };
        self.failures = self.failures.saturating_add(1);
        if let Halt::Misp(error) = &halt
            && let Some(Down { lasted, failures }) =
                self.failing.failed(error.word(), Instant::now())
        {
            tracing::warn!(
                event = LogEvent::SightingsFailing.word(),
                error = attempt::words(error),
                down_ms = ms(lasted),
                failures,
                "MISP cannot be told of hits. Nothing is lost: they are told later"
            );
        }
        Some(self.backoff.pause(self.failures, rand::random()))
    }

    fn written<T>(&self, done: SqlResult<T>) -> Result<T, Halt> {
        match done {
            Ok(done) => Ok(done),
            Err(error) => {
                self.ledger.judge(Err::<(), _>(error), "tell MISP of hits");
                Err(Halt::Ledger)
            }
        }
    }

    async fn until_next(&self) -> Duration {
        let next = self.ledger.next_sighting(self.client.source()).await.ok().flatten();
        let left = next.map(|due_at| due_at.saturating_sub(Ledger::now()).max(0));
        let left = left.and_then(|left| u64::try_from(left).ok()).map(Duration::from_millis);
        left.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }
}

/// Counts and logs what became of a sighting. What is refused for good is told once by name.
fn note(source: &str, due: &DueSighting, told: &Told) {
    let DueSighting { attribute, target, .. } = due;
    match told {
        Told::Taken(sighting) => {
            metrics::sighting_told(source, "taken");
            tracing::info!(
                event = LogEvent::SightingTaken.word(),
                target,
                attribute = %attribute,
                sighting = %sighting,
                "MISP was told that an attribute was hit"
            );
        }
        Told::Refused(why) => {
            metrics::sighting_told(source, "refused");
            tracing::warn!(
                event = LogEvent::SightingRefused.word(),
                target,
                attribute = %attribute,
                why,
                "MISP refuses the sighting of an attribute for good"
            );
        }
        Told::PutOff { .. } => metrics::sighting_told(source, "put_off"),
    }
}
