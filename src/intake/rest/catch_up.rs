//! Catch-up: what did MISP publish, change or delete since the last time it was asked?
//!
//! It asks twice, with cursors in MISP's own time: what was published since, and what was touched
//! since, published or not. A listing only names candidates; each is read.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::plan::{self, Rounds, Waits};
use super::{Fault, RestIntake, millis, now, own_clock, until};
use crate::ledger::{Candidate, Head};
use crate::rest::HeadsPage;

/// Cursors, and what a listing asks for.
const PUBLICATION: &str = "publication";
const TIMESTAMP: &str = "timestamp";

/// How far before its cursor a listing begins, seconds: MISP shows a change after it was made.
const OVERLAP: i64 = 300;

/// Events checked for existence in one request.
const EXISTENCE: usize = 500;

/// Between two looks at what is to be done.
const SHORTEST_SLEEP: Duration = Duration::from_millis(20);
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What a listing saw.
#[derive(Debug, Default)]
struct Seen {
    /// The newest of MISP's times that are not in its future, Unix seconds.
    newest: i64,
    candidates: usize,
}

impl RestIntake {
    /// Asks at start, after each gap, and now and then; begins and ends full resyncs. Never ends.
    pub(super) async fn keep_up(&self) {
        let mut rounds = Rounds::default();
        let mut scheduled = self.next_resync();
        let mut failures = 0;
        loop {
            let asked = self.ledger.asked();
            tokio::pin!(asked);
            asked.as_mut().enable();
            match self.look(&mut rounds, &mut scheduled).await {
                Ok(sleep) => {
                    failures = 0;
                    tokio::time::sleep(SHORTEST_SLEEP).await;
                    tokio::select! {
                        () = asked => {}
                        () = tokio::time::sleep(sleep) => {}
                    }
                }
                Err(fault) => {
                    failures += 1;
                    self.pause(&fault, failures, "catch up").await;
                }
            }
        }
    }

    /// Does what is due now; returns how long nothing is.
    async fn look(
        &self,
        rounds: &mut Rounds,
        scheduled: &mut Option<SystemTime>,
    ) -> Result<Duration, Fault> {
        if scheduled.is_some_and(|at| at <= SystemTime::now()) {
            *scheduled = self.next_resync();
            self.begin_resync(None).await?;
        }
        let resyncing = self.drive_resync().await?;
        let gaps = self.ledger.open_gaps(self.source()).await?;
        let ends: Vec<i64> = gaps.iter().map(|gap| gap.until).collect();
        let rest = &self.rest;
        let waits = Waits {
            settle: rest.gap_settle,
            grace: rest.gap_grace,
            catch_up_every: rest.catch_up_every,
            existence_every: rest.existence_every,
        };
        let round = plan::next(&ends, *rounds, &waits);
        let began = now();
        if round.at > began {
            let resync = if resyncing { Duration::from_millis(500) } else { LONGEST_SLEEP };
            return Ok(until(round.at).min(resync));
        }
        let named: Vec<Candidate> = gaps
            .iter()
            .filter_map(|gap| Some(Candidate { event: gap.event()?, weight: 0 }))
            .collect();
        self.ledger.ask_for(self.source(), &named, (false, began)).await?;
        self.catch_up().await?;
        rounds.caught_up = began;
        if round.existence {
            self.check_existence(false).await?;
            rounds.existence = began;
        }
        let grace = millis(rest.gap_grace);
        let healed: Vec<_> =
            gaps.into_iter().filter(|gap| gap.until.saturating_add(grace) <= began).collect();
        if !healed.is_empty() {
            self.ledger.heal(self.source(), &healed).await?;
            tracing::info!(
                gaps = healed.len(),
                "gaps healed: MISP was asked for all that may have been missed"
            );
        }
        self.status.caught_up(SystemTime::now());
        Ok(Duration::ZERO)
    }

    /// Both listings. Without cursors everything is news: a full resync fills the ledger.
    async fn catch_up(&self) -> Result<(), Fault> {
        let source = self.source();
        let cursors = (
            self.ledger.cursor(source, PUBLICATION).await?,
            self.ledger.cursor(source, TIMESTAMP).await?,
        );
        let (Some(publication), Some(timestamp)) = cursors else {
            return self.begin_resync(None).await;
        };
        let published = self.news(json!({
            "published": 1, "publish_timestamp": publication - OVERLAP,
        }));
        let published = published.await?;
        let touched = self.news(json!({
            "published": [0, 1], "timestamp": timestamp - OVERLAP,
        }));
        let touched = touched.await?;
        let moved = [
            (PUBLICATION, published.newest.max(publication)),
            (TIMESTAMP, touched.newest.max(timestamp)),
        ];
        self.ledger.move_cursors(source, &moved).await?;
        self.status.succeeded();
        let candidates = published.candidates + touched.candidates;
        tracing::debug!(candidates, "caught up");
        Ok(())
    }

    async fn news(&self, query: Value) -> Result<Seen, Fault> {
        let mut heads = self.client.heads(self.narrowed(query));
        let mut seen = Seen::default();
        while let Some(page) = heads.next().await? {
            let heads = shown(&page);
            seen.newest = seen.newest.max(newest(&page));
            let news = self.ledger.news(self.source(), &heads).await?;
            seen.candidates += news.len();
            self.ledger.ask_for(self.source(), &candidates(&news), (false, now())).await?;
        }
        Ok(seen)
    }

    /// A listing within `misp.window`.
    pub(super) fn narrowed(&self, query: Value) -> Map<String, Value> {
        let Value::Object(mut query) = query else { return Map::new() };
        if let (Some(window), None) = (self.misp.window, query.get("publish_timestamp")) {
            let seconds = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
            let since = own_clock().saturating_sub(seconds);
            query.insert("publish_timestamp".to_owned(), json!(since));
        }
        query
    }

    /// Where catch-up begins after a listing of everything.
    pub(super) async fn start_cursors(&self, newest: i64) -> Result<(), Fault> {
        let cursors = [(PUBLICATION, newest), (TIMESTAMP, newest)];
        Ok(self.ledger.move_cursors(self.source(), &cursors).await?)
    }

    /// Asks for a read of each event of the ledger that MISP does not list. If it lists none at all,
    /// something is wrong with MISP rather than with all events.
    pub(super) async fn check_existence(&self, resync: bool) -> Result<(), Fault> {
        let (mut after, mut known, mut missing) = (Uuid::nil(), 0, Vec::new());
        loop {
            let events = self.ledger.live_events(self.source(), after, EXISTENCE).await?;
            let Some(last) = events.last() else { break };
            after = *last;
            known += events.len();
            let found = self.listed(&events).await?;
            missing.extend(events.into_iter().filter(|event| !found.contains(event)));
        }
        self.status.succeeded();
        let nothing_left = known > 0 && missing.len() == known;
        if nothing_left && self.ledger.has_claims(self.source()).await? && !self.may_empty().await?
        {
            if self.status.set_empty(true) {
                tracing::error!(
                    known,
                    "MISP returns none of the events that the ledger holds: nothing is withdrawn; mend MISP or the key, or `release --empty` if it is meant so"
                );
            }
            return Ok(());
        }
        self.status.set_empty(false);
        let gone: Vec<Candidate> =
            missing.into_iter().map(|event| Candidate { event, weight: 0 }).collect();
        if !gone.is_empty() {
            tracing::info!(
                events = gone.len(),
                "MISP does not list these events any more: each is read"
            );
        }
        Ok(self.ledger.ask_for(self.source(), &gone, (resync, now())).await?)
    }

    async fn listed(&self, events: &[Uuid]) -> Result<HashSet<Uuid>, Fault> {
        let query = json!({"uuid": events, "published": [0, 1]});
        let Value::Object(query) = query else { return Ok(HashSet::new()) };
        let mut found = HashSet::new();
        let mut heads = self.client.heads(query);
        while let Some(page) = heads.next().await? {
            found.extend(page.heads.iter().map(|head| head.uuid));
        }
        Ok(found)
    }

    /// Whether an operator said that MISP is empty. Counts once.
    async fn may_empty(&self) -> Result<bool, Fault> {
        let name = crate::ledger::may_empty(self.source());
        let allowed = self.ledger.remembered(&name).await? == Some(Value::Bool(true));
        if allowed {
            self.ledger.remember(&name, &Value::Bool(false)).await?;
        }
        Ok(allowed)
    }
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

/// The newest of MISP's times on a page; one in MISP's own future would hide what comes before it.
pub(super) fn newest(page: &HeadsPage) -> i64 {
    let date = page.date.unwrap_or_else(own_clock);
    let times = page.heads.iter().flat_map(|head| [head.timestamp, head.publish_timestamp]);
    times.filter(|time| *time <= date).max().unwrap_or_default()
}
