//! Runs catch-up: polls MISP for what it published, changed or deleted since the last poll. Each poll asks
//! for two listings, with cursors in MISP's own time: the events that were published since, and the events
//! that were changed since, published or not. A listing only names candidates, and each of them is read.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::plan::{self, Rounds, Waits};
use super::{EXISTENCE, IntakeFault, RestIntake, millis, now, own_clock, until, unweighed};
use crate::ledger::{Candidate, Head, Listing, ListingCursor};
use crate::log_event::LogEvent;
use crate::misp_api::{Heads, HeadsPage, RestError};

// The names of the cursors.
const PUBLICATION: &str = "publication";
const TIMESTAMP: &str = "timestamp";

/// If a cursor is so many seconds ahead of MISP's clock, MISP's clock was set back.
const SET_BACK: i64 = 60;

// The bounds of the wait between two looks at what is due.
const SHORTEST_SLEEP: Duration = Duration::from_millis(20);
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The times that a listing showed.
#[derive(Debug, Default)]
pub(super) struct ListingTimes {
    /// MISP's clock when it began.
    began: Option<i64>,
    /// MISP's clock at its end, where MISP tells it.
    date: Option<i64>,
    /// The newest of MISP's times up to the listing's beginning, Unix seconds. Events that changed later may
    /// have been listed before they changed, so the cursor must not pass them.
    pub newest: i64,
}

impl ListingTimes {
    /// Takes in the times of one page.
    pub(super) fn take(&mut self, page: &HeadsPage) {
        // Only the first page tells when the listing began. The clock of a later page is too late.
        let began = *self.began.get_or_insert(page.date.unwrap_or_else(own_clock));
        let times = page.heads.iter().flat_map(|head| [head.timestamp, head.publish_timestamp]);
        self.newest = times.filter(|time| *time <= began).fold(self.newest, i64::max);
    }
}

impl RestIntake {
    /// Polls at start, after each gap, and at intervals. Never ends.
    pub(super) async fn keep_up(&self) {
        let mut rounds = Rounds::default();
        let mut failures = 0;
        loop {
            let asked = self.ledger.asked();
            tokio::pin!(asked);
            // A request that comes during the look must wake the wait after it.
            asked.as_mut().enable();
            match self.look(&mut rounds).await {
                Ok(sleep) => {
                    failures = 0;
                    // Requests in quick succession share one look.
                    tokio::time::sleep(SHORTEST_SLEEP).await;
                    tokio::select! {
                        () = asked => {}
                        () = tokio::time::sleep(sleep.min(LONGEST_SLEEP)) => {}
                    }
                }
                Err(fault) => {
                    failures += 1;
                    self.pause(&fault, failures, "catch up").await;
                }
            }
        }
    }

    /// Does what is due now. Returns the time until something is due again.
    async fn look(&self, rounds: &mut Rounds) -> Result<Duration, IntakeFault> {
        // Gaps are taken before MISP is asked: a later one is not covered by this look, so it is not
        // healed.
        let gaps = self.ledger.open_gaps(self.source()).await?;
        let ends: Vec<i64> = gaps.iter().map(|gap| gap.until).collect();
        let rest = &self.rest;
        let waits = Waits {
            settle: rest.gap_settle,
            grace: rest.gap_grace,
            catch_up_every: rest.catch_up_every,
            existence_every: rest.existence_every,
        };
        // The time before the listings, since they cover only what was over by then.
        let began = now();
        *rounds = rounds.not_after(began);
        let round = plan::next(&ends, *rounds, &waits);
        if round.at > began {
            return Ok(until(round.at));
        }
        self.judge_key().await?;
        // An event that a gap names is read in any case: a listing may show nothing new of it.
        let named = unweighed(gaps.iter().filter_map(|gap| gap.event()));
        self.ask_for(&named, Listing::CatchUp).await?;
        self.catch_up().await?;
        rounds.caught_up = began;
        if round.existence {
            self.check_existence().await?;
            rounds.existence = began;
        }
        // Healed last: a fault in any step before leaves the gaps open, and the next look does it all
        // again.
        let grace = millis(rest.gap_grace);
        let healed: Vec<_> =
            gaps.into_iter().filter(|gap| gap.until.saturating_add(grace) <= began).collect();
        if !healed.is_empty() {
            self.ledger.heal(self.source(), &healed).await?;
            tracing::info!(
                event = LogEvent::GapsHealed.word(),
                gaps = healed.len(),
                "MISP was asked for all that may have been missed, and these gaps are healed"
            );
        }
        self.status.caught_up(SystemTime::now());
        Ok(Duration::ZERO)
    }

    /// Reads both listings. Without cursors everything is new, so a full resync fills the ledger.
    async fn catch_up(&self) -> Result<(), IntakeFault> {
        let source = self.source();
        let cursors = (
            self.ledger.cursor(source, PUBLICATION).await?,
            self.ledger.cursor(source, TIMESTAMP).await?,
        );
        let (Some(publication), Some(timestamp)) = cursors else {
            return Ok(self.ledger.begin_resync(source, None, now()).await?);
        };
        // The overlap covers two polls, so that an event that a read in flight just missed is listed once
        // more.
        let overlap = seconds(self.rest.overlap + 2 * self.rest.catch_up_every);
        let published = json!({"published": 1, "publish_timestamp": publication - overlap});
        let published = self.news(published).await?;
        let touched = json!({"published": [0, 1], "timestamp": timestamp - overlap});
        let touched = self.news(touched).await?;
        // Only MISP's own clock is compared with the cursors: ours may be set differently.
        let misp = touched.date.or(published.date);
        if misp.is_some_and(|now| now.saturating_add(SET_BACK) < publication.max(timestamp)) {
            tracing::warn!(
                event = LogEvent::MispClockBack.word(),
                "MISP's clock went back, and what was published since lies before what was listed already. Everything is read anew"
            );
            return Ok(self.ledger.begin_resync(source, None, now()).await?);
        }
        let moved = [
            // A quiet listing shows only old times, so the cursors never move back.
            ListingCursor { name: PUBLICATION, value: published.newest.max(publication) },
            ListingCursor { name: TIMESTAMP, value: touched.newest.max(timestamp) },
        ];
        // The cursors move last, so that a poll that fails half way is repeated as a whole.
        self.ledger.move_cursors(source, &moved).await?;
        self.succeeded().await;
        Ok(())
    }

    /// Sets the cursors after a listing of everything.
    pub(super) async fn start_cursors(&self, newest: i64) -> Result<(), IntakeFault> {
        let cursors = [PUBLICATION, TIMESTAMP].map(|name| ListingCursor { name, value: newest });
        Ok(self.ledger.move_cursors(self.source(), &cursors).await?)
    }

    /// Reads one listing, and asks for a read of each event in it that is new to the ledger.
    async fn news(&self, query: Value) -> Result<ListingTimes, IntakeFault> {
        let mut heads = self.client.heads(object(query));
        let mut seen = ListingTimes::default();
        let window = self.window();
        while let Some(page) = self.next_page(&mut heads).await? {
            seen.take(&page);
            let news = self.ledger.news(self.source(), &shown(&page), window).await?;
            // Asked for page by page: the reads are rows of the ledger, and a repeated listing adds none
            // twice.
            self.ask_for(&candidates(&news), Listing::CatchUp).await?;
        }
        seen.date = heads.date();
        Ok(seen)
    }

    /// Returns the next page of a listing. A rate limit is waited out, and the listing goes on.
    pub(super) async fn next_page(
        &self,
        heads: &mut Heads,
    ) -> Result<Option<HeadsPage>, IntakeFault> {
        loop {
            match heads.next().await {
                // A limit is no fault of the listing. Beginning anew would ask for even more.
                Err(error @ RestError::RateLimited { .. }) => {
                    self.pause(&error.into(), 1, "list events").await;
                }
                page => return Ok(page?),
            }
        }
    }

    /// Returns the oldest publication time of `misp.window`, Unix seconds.
    pub(super) fn window(&self) -> Option<i64> {
        self.source.window.map(|window| own_clock().saturating_sub(seconds(window)))
    }

    /// Asks for a read of each event of the ledger that MISP does not list. Absence from a listing withdraws
    /// nothing by itself.
    async fn check_existence(&self) -> Result<(), IntakeFault> {
        let (known, mut missing) = (self.known_events().await?, Vec::new());
        for events in known.chunks(EXISTENCE) {
            let found = self.listed(events).await?;
            missing.extend(events.iter().copied().filter(|event| !found.contains(event)));
        }
        self.succeeded().await;
        if self.looks_empty(!known.is_empty() && missing.len() == known.len()).await? {
            return Ok(());
        }
        if !missing.is_empty() {
            tracing::info!(
                event = LogEvent::EventsUnlisted.word(),
                events = missing.len(),
                "MISP does not list some events any more, and each is read"
            );
        }
        // Absence from a listing may be a filter or a fault, so each event is read before it counts as gone.
        self.ask_for(&unweighed(missing), Listing::CatchUp).await
    }

    /// Returns whether MISP shows none of the known events, and no operator has confirmed that this is right.
    /// Then something is wrong with MISP or the key, so nothing is withdrawn.
    pub(super) async fn looks_empty(&self, none_shown: bool) -> Result<bool, IntakeFault> {
        if !none_shown {
            // The operator confirmed what MISP showed then. It does not count for a later emptiness.
            let name = crate::ledger::may_empty(self.source());
            if self.ledger.remembered(&name).await?.is_some_and(|until| until != 0) {
                self.ledger.remember(&name, &Value::from(0)).await?;
            }
        }
        let empty = none_shown
            && self.ledger.has_claims(self.source()).await?
            && !self.may_be_empty().await?;
        self.status.set_empty(empty);
        Ok(empty)
    }

    /// Returns whether MISP shows other events of the ledger than these, or an operator confirmed that it
    /// shows none.
    pub(super) async fn shows_others(&self, events: &[Uuid]) -> Result<bool, IntakeFault> {
        // Twenty more than these, so that up to twenty others are among them.
        let some = EXISTENCE.min(events.len() + 20);
        let known = self.ledger.live_events(self.source(), Uuid::nil(), some).await?;
        let others: Vec<Uuid> = known.into_iter().filter(|one| !events.contains(one)).collect();
        // The ledger may know no others. Then any event of MISP will do.
        let nothing = if others.is_empty() {
            self.shows_nothing().await?
        } else {
            self.listed(&others).await?.is_empty()
        };
        Ok(!self.looks_empty(nothing).await?)
    }

    async fn shows_nothing(&self) -> Result<bool, IntakeFault> {
        let mut heads = self.client.heads(object(json!({"published": [0, 1]})));
        Ok(self.next_page(&mut heads).await?.is_none())
    }

    /// Returns those of the events that MISP lists, published or not.
    pub(super) async fn listed(&self, events: &[Uuid]) -> Result<HashSet<Uuid>, IntakeFault> {
        let mut found = HashSet::new();
        let mut heads = self.client.heads(object(json!({"uuid": events, "published": [0, 1]})));
        while let Some(page) = self.next_page(&mut heads).await? {
            found.extend(page.heads.iter().map(|head| head.uuid));
        }
        Ok(found)
    }

    /// Returns whether an operator lately confirmed that MISP is empty. The confirmation has an end.
    async fn may_be_empty(&self) -> Result<bool, IntakeFault> {
        let until = self.ledger.remembered(&crate::ledger::may_empty(self.source())).await?;
        Ok(until.and_then(|until| until.as_i64()).is_some_and(|until| now() < until))
    }
}

/// Returns the members of an object as the parameters of a search.
pub(super) fn object(query: Value) -> Map<String, Value> {
    if let Value::Object(query) = query { query } else { Map::new() }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn shown(page: &HeadsPage) -> Vec<Head> {
    page.heads
        .iter()
        .map(|head| Head {
            event: head.uuid,
            timestamp: head.timestamp,
            publication: head.publish_timestamp,
            published: head.published,
            weight: i64::try_from(head.attributes).unwrap_or(i64::MAX),
        })
        .collect()
}

pub(super) fn candidates(heads: &[Head]) -> Vec<Candidate> {
    heads.iter().map(|head| Candidate { event: head.event, weight: head.weight }).collect()
}
