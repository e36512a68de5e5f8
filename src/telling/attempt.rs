//! One attempt to tell a sighting. MISP makes another sighting of each request, so that a request without an answer is
//! in doubt: before it is repeated, MISP is asked whether it has the sighting.

use std::time::Duration;

use uuid::Uuid;

use crate::config::LONGEST_SOURCE;
use crate::ledger::{DueSighting, Ledger, SqlResult, TellingRules};
use crate::misp_api::{ListedSighting, MispClient, NewSighting, RestError, SightingAnswer};
use crate::pure::backoff::Backoff;

/// The longest pause before a sighting is tried again at which MISP itself failed. It may be this one alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

const SECONDS_OF_DAY: i64 = 24 * 3_600;

/// What an attempt came to.
#[derive(Debug)]
pub(super) enum Attempted {
    Taken(Uuid),
    /// MISP never takes it; why.
    Refused(String),
    /// `doubt`: MISP may have it all the same.
    Failed {
        error: RestError,
        doubt: bool,
    },
}

/// A sighting that is told now.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub client: &'a MispClient,
    pub ledger: &'a Ledger,
    /// MISP's number of the organisation of the key.
    pub organisation: i64,
    pub due: &'a DueSighting,
    pub rules: &'a TellingRules,
    /// How long MISP may take to show what it was asked to add.
    pub settle: Duration,
}

impl Attempt<'_> {
    pub(super) async fn make(self) -> SqlResult<Attempted> {
        let DueSighting { attribute, target, seen_at, .. } = self.due;
        let said_by = &self.rules.said_by(target);
        // Of a source that is too long MISP fails with 500, which looks as if it could pass.
        if said_by.len() > LONGEST_SOURCE {
            let why = format!("its source is longer than {LONGEST_SOURCE} bytes");
            return Ok(Attempted::Refused(why));
        }
        if self.due.doubt {
            match self.look_up().await? {
                Ok(Some(sighting)) => return Ok(Attempted::Taken(sighting)),
                Ok(None) => {}
                // MISP shows no sightings of what it no longer shows.
                Err(RestError::Refused { status: 405, .. }) => {
                    let why = "MISP no longer shows the attribute; whether it took the sighting is not known";
                    return Ok(Attempted::Refused(why.to_owned()));
                }
                Err(error) => return Ok(Attempted::Failed { error, doubt: true }),
            }
        }
        if !self.ledger.may_be_told(self.rules, self.due).await? {
            let why = "the attribute is gone, or no longer within misp.sightings.audience";
            return Ok(Attempted::Refused(why.to_owned()));
        }
        // Before the request: after a crash in between, MISP may have it, and may take a moment to show it.
        let due_at = Ledger::now().saturating_add(millis(self.settle));
        self.ledger.begin_sighting(self.client.source(), self.due, said_by, due_at).await?;
        let new = NewSighting { attribute: *attribute, said_by, seen_at: *seen_at };
        Ok(match self.client.add_sighting(new).await {
            Ok(SightingAnswer::Taken(sighting)) => Attempted::Taken(sighting),
            Ok(SightingAnswer::Refused(why)) => Attempted::Refused(why),
            Err(error) => {
                let doubt = !is_surely_undone(&error);
                Attempted::Failed { error, doubt }
            }
        })
    }

    /// Looks in MISP for the sighting. Those that were taken before are others, e.g. of another target.
    async fn look_up(&self) -> SqlResult<Result<Option<Uuid>, RestError>> {
        let (source, DueSighting { attribute, attribute_id, .. }) =
            (self.client.source(), self.due);
        let known = self.ledger.taken_sightings(source, *attribute).await?;
        let listed = self.client.sightings_of(*attribute_id).await;
        Ok(listed.map(|listed| {
            let found =
                listed.into_iter().find(|one| self.is_it(one) && !known.contains(&one.uuid));
            found.map(|one| one.uuid)
        }))
    }

    /// By the day: after the ledger was restored, another alert of the day may come first.
    fn is_it(&self, listed: &ListedSighting) -> bool {
        let DueSighting { said_by, day, .. } = self.due;
        listed.organisation == self.organisation
            && listed.said_by == *said_by
            && listed.seen_at.div_euclid(SECONDS_OF_DAY) == *day
    }
}

/// Whether MISP surely did not do what it was asked.
fn is_surely_undone(error: &RestError) -> bool {
    matches!(
        error,
        RestError::Refused { .. }
            | RestError::NotLive { .. }
            | RestError::Redirected { .. }
            | RestError::RateLimited { .. }
            | RestError::Untrusted { .. }
    )
}

/// The pause before the next attempt after so many `tries`.
pub(super) fn pause(backoff: Backoff, tries: u32, error: &RestError) -> Duration {
    let first = backoff.pause(1, 1.0);
    // MISP answered: it may fail at this sighting alone, and the others must not wait for it again and again.
    if matches!(error, RestError::Failed { .. }) {
        return (first * (1 << tries.min(12))).min(LONGEST_PAUSE);
    }
    first
}

/// What is wrong, with the remedy for the key of sightings.
pub(super) fn words(error: &RestError) -> String {
    let RestError::Refused { url, status, words, .. } = error else { return error.to_string() };
    format!(
        "MISP refuses {url} ({status}): {words}; misp.sightings.key needs a user whose role may add sightings \
         (perm_sighting), and must not be read-only"
    )
}

pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
