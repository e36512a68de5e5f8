//! Tells which indicators were withdrawn since a moment. The ledger knows it by what targets accepted, so it is also true
//! after a restart.

use uuid::Uuid;

use super::sql::{Result, Transaction};
use super::tables::events;
use super::tables::keys::EventKey;
use super::tables::standings::{self, WithdrawnAtTarget};
use super::{Ledger, Views};
use crate::pure::policy::Tlp;
use crate::pure::stix::SentIndicator;

/// The indicators that are withdrawn, and whose withdrawal a target accepted since a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withdrawals {
    /// How many there are. One that is wanted again is none of them.
    pub indicators: i64,
    /// The last few, the newest first. One stands here once for each target.
    pub newest: Vec<WithdrawnIndicator>,
}

/// An indicator whose withdrawal a target accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithdrawnIndicator {
    pub target: String,
    /// Unix milliseconds.
    pub accepted_at: i64,
    pub stix_id: Uuid,
    pub pattern: String,
    /// The events that it referred to, the newest first.
    pub events: Vec<Uuid>,
    /// The strictest level that is known of it: as it was sent, on the claims since, and on its events now.
    pub tlp: Tlp,
}

impl Ledger {
    /// Tells what was withdrawn since `since` (Unix milliseconds), and names the last `most`. `sources` are those whose
    /// events may tell of the level.
    pub async fn withdrawals(
        &self,
        views: &Views,
        sources: Vec<String>,
        since: i64,
        most: usize,
    ) -> Result<Withdrawals> {
        let views = views.clone();
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.read_counts(move |tx| {
            let indicators = standings::count_withdrawn_since(tx, since)?;
            let mut newest = Vec::new();
            for row in standings::withdrawn_since(tx, since, most)? {
                newest.extend(told(tx, &views, &sources, row)?);
            }
            Ok(Withdrawals { indicators, newest })
        })
        .await
    }
}

/// `None`: its body cannot be read.
fn told(
    tx: &Transaction<'_>,
    views: &Views,
    sources: &[String],
    row: WithdrawnAtTarget,
) -> Result<Option<WithdrawnIndicator>> {
    let WithdrawnAtTarget { target, accepted_at, stix_id, body, tlp } = row;
    let Some(sent) = SentIndicator::read(&body) else { return Ok(None) };
    let mut tlp = sent.tlp.max(Tlp::of_rank(tlp));
    let of_sources = |event| sources.iter().map(move |source| EventKey::new(source, event));
    for event in sent.events.iter().copied().flat_map(of_sources) {
        // Of an event that was deleted the facts stay for a while.
        let known = events::stored(tx, event)?;
        let level = |facts| views.event_level(&facts).unwrap_or(Tlp::Red);
        tlp = tlp.max(known.map_or(Tlp::Clear, |known| known.facts().map_or(Tlp::Red, level)));
    }
    let SentIndicator { pattern, events, .. } = sent;
    Ok(Some(WithdrawnIndicator { target, accepted_at, stix_id, pattern, events, tlp }))
}
