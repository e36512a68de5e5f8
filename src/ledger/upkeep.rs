//! Does the work that is due by time: it deletes what is over, renews what is due, and gives free disk space back. It
//! works step by step. Each step is a few transactions of bounded size.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::prune::ForgottenWithdrawn;
use super::renew::Renewed;
use super::sql::Result;
use super::suppressed::EndedSuppression;
use super::tables::keys::ClaimCursor;
use super::time::millis;
use super::{Ledger, Views, WriterSettings};
use crate::log_event::LogEvent;
use crate::pure::title;

/// The upkeep of a ledger, and how far its walks have come.
#[derive(Debug)]
pub struct Upkeep {
    /// How long a webhook's publication waits for its confirmation.
    confirm_within: Duration,
    /// How long rows that are over are kept.
    remember: Duration,
    /// How long withdrawals by inference are kept, because the guard counts them.
    inferred: Duration,
    /// The sources that can be read again: those with a key for MISP's REST API.
    sources: Vec<String>,
    /// How far the walk over the claims has come.
    claims: Option<ClaimCursor>,
    /// The same over the withdrawn objects of each view.
    withdrawn: HashMap<String, Uuid>,
    /// The same over the sightings, by the time at which they were heard of.
    sightings: i64,
}

impl Upkeep {
    /// The upkeep of a ledger with these writers.
    #[must_use]
    pub fn new(writers: &[WriterSettings]) -> Self {
        let longest = |of: fn(&WriterSettings) -> Duration| writers.iter().map(of).max();
        let remember = longest(|one| one.tombstones).unwrap_or_default();
        let guard =
            longest(|one| one.rest.as_ref().map_or(Duration::ZERO, |rest| rest.guard.window));
        let with_key = writers.iter().filter(|one| one.rest.is_some());
        Self {
            confirm_within: longest(|one| one.confirm_within).unwrap_or_default(),
            remember,
            // The guard adds up what went within its window.
            inferred: remember.max(guard.unwrap_or_default()),
            sources: with_key.map(|one| one.source.clone()).collect(),
            claims: None,
            withdrawn: HashMap::new(),
            sightings: 0,
        }
    }

    /// Does a step of upkeep at `now`, Unix milliseconds. Returns whether it changed anything, since more is then
    /// likely to be due. Walks over large tables continue where the last step ended, with a few thousand rows a step.
    pub async fn step(&mut self, ledger: &Ledger, views: &Views, now: i64) -> Result<bool> {
        // The clock first: by one that jumped ahead everything would be old.
        let may_forget = ledger.follow_clock(views, &self.sources, now).await?;
        ledger.note_running(now).await?;
        let mut changed = if may_forget { self.forget(ledger, views, now).await? } else { 0 };
        if views.expiry().renews() {
            let step = ledger.renew(views, self.claims.take(), now).await?;
            let Renewed { next, claims: renewed } = step;
            self.claims = next;
            changed += renewed;
            if renewed > 0 {
                tracing::info!(
                    event = LogEvent::ClaimsRenewed.word(),
                    claims = renewed,
                    "Claims are at half of their life, and are renewed"
                );
            }
        }
        Ok(ledger.give_some_back().await? || changed > 0)
    }

    /// Deletes rows that are over by their age, and ends suppressions whose time is over. Returns how many.
    async fn forget(&mut self, ledger: &Ledger, views: &Views, now: i64) -> Result<u64> {
        let ago = |age| now.saturating_sub(millis(age));
        let unconfirmed = ledger.drop_unconfirmed(ago(self.confirm_within)).await?;
        if unconfirmed > 0 {
            tracing::warn!(
                event = LogEvent::WebhookUnconfirmed.word(),
                publications = unconfirmed,
                "Publications of the webhook were never confirmed, and are dropped"
            );
        }
        let mut changed = ledger.forget_notes(ago(self.remember), ago(self.inferred)).await?;
        changed += ledger.forget_hits(now).await?;
        changed += self.forget_withdrawn(ledger, ago(self.remember)).await?;
        let (next, forgotten) = ledger.forget_sightings(self.sightings, ago(self.remember)).await?;
        self.sightings = next;
        Ok(changed + forgotten + end_suppressions(ledger, views, now).await?)
    }

    async fn forget_withdrawn(&mut self, ledger: &Ledger, before: i64) -> Result<u64> {
        let mut all = 0;
        // Also of views that only absent targets saw: what was withdrawn there is over some day, too.
        for view in ledger.known_views().await? {
            let after = self.withdrawn.get(&view).copied().unwrap_or(Uuid::nil());
            let step = ledger.forget_withdrawn(&view, after, before).await?;
            let ForgottenWithdrawn { next, objects } = step;
            self.withdrawn.insert(view, next);
            all += objects;
        }
        Ok(all)
    }
}

async fn end_suppressions(ledger: &Ledger, views: &Views, now: i64) -> Result<u64> {
    let over = ledger.end_suppressions(views, now).await?;
    for EndedSuppression { value, tlp } in &over {
        let value = title::may_be_logged(*tlp).then_some(value.as_str());
        tracing::info!(
            event = LogEvent::SuppressionEnded.word(),
            value,
            "The time of a suppression is over, and the value counts again"
        );
    }
    Ok(over.len() as u64)
}
