//! What claims objects: stored claims as the merge needs them, with what is known beside them.

use std::collections::HashMap;

use uuid::Uuid;

use super::Views;
use super::decay::{decayed, score};
use super::sightings::{expires_at, false_positives};
use super::sql::{Result, Transaction, row, statements, values};
use super::wanted::decode;
use crate::pure::convert::{ClaimFacts, EventFacts};
use crate::pure::misp::Decay;
use crate::pure::policy::SideFacts;
use crate::pure::stix::{KnownClaim, Observable, Sight};

/// Whether an operator withholds the claim's value, or of a URL the other form.
macro_rules! suppressed {
    () => {
        "(EXISTS (SELECT 1 FROM suppressed_spellings s WHERE s.spelling = lower(claims.value))
         OR claims.path = 'url:value' AND EXISTS (
             SELECT 1 FROM claims form
             JOIN suppressed_spellings s ON s.spelling = lower(form.value)
             WHERE form.source = claims.source AND form.event = claims.event
             AND form.attribute = claims.attribute AND form.path = 'url:value'))"
    };
}

statements! {
    OF_OBJECT(Bytes) = concat!(
        "SELECT source, event, attribute, part, object, path, value, claimed_at, heard_at, ",
        expires_at!(), ", ", suppressed!(), ", ", false_positives!(), ", ", score!(), ", ", decayed!(),
        ", facts FROM claims WHERE object = $1 ORDER BY attribute"
    );
    FACTS(Text, Bytes) = "SELECT facts FROM events WHERE source = $1 AND event = $2";
}

/// A stored claim.
#[derive(Debug)]
pub(super) struct Claimed {
    pub row: ClaimRow,
    /// `None`: unreadable, and not admitted.
    pub facts: Option<ClaimFacts>,
    /// What is known of it beside its publication.
    pub side_facts: SideFacts,
}

impl Claimed {
    pub(super) fn known<'a>(&'a self, events: &'a EventsByKey) -> KnownClaim<'a> {
        let ClaimRow { attribute, claimed_at, heard_at, expires_at, .. } = self.row;
        KnownClaim {
            event: events.get(&(self.row.source.clone(), self.row.event)),
            attribute,
            facts: self.facts.as_ref(),
            sight: Sight { claimed_at, heard_at },
            expires_at,
            side_facts: self.side_facts.clone(),
        }
    }
}

row! {
    #[derive(Debug)]
    pub(super) struct ClaimRow {
        pub source: String,
        pub event: Uuid,
        pub attribute: Uuid,
        pub part: i16,
        pub object: Uuid,
        pub path: String,
        pub value: String,
        claimed_at: i64,
        heard_at: i64,
        expires_at: Option<i64>,
        suppressed: bool,
        false_positives: u32,
        score: Option<u8>,
        decayed: Option<bool>,
        facts: String,
    }
}

impl ClaimRow {
    pub(super) fn observable(&self) -> Observable {
        Observable { path: self.path.clone().into(), value: self.value.clone() }
    }

    fn decay(&self) -> Option<Decay> {
        Some(Decay { decayed: self.decayed?, score: self.score? })
    }
}

/// In the order of objects, those of an attribute together.
pub(super) fn claims_of(
    tx: &Transaction<'_>,
    objects: &[Uuid],
    views: &Views,
) -> Result<Vec<Claimed>> {
    let mut objects = objects.to_vec();
    objects.sort_unstable();
    objects.dedup();
    let objects = objects.iter().map(|object| values![object]);
    let rows: Vec<ClaimRow> = tx.rows_each(&OF_OBJECT, objects)?;
    let lists = views.warninglists().now();
    let claimed = |row: ClaimRow| {
        let facts: Option<ClaimFacts> = serde_json::from_str(&row.facts).ok();
        let warned = facts.as_ref().map(|facts| lists.warned(facts, &row.observable()));
        let warned = warned.unwrap_or_default();
        let ClaimRow { suppressed, false_positives, .. } = row;
        let decay = row.decay();
        let side_facts =
            SideFacts { suppressed, false_positives, warned, decay, ..SideFacts::default() };
        Claimed { row, facts, side_facts }
    };
    Ok(rows.into_iter().map(claimed).collect())
}

pub(super) type EventsByKey = HashMap<(String, Uuid), EventFacts>;

/// Facts kept for the next claims; those of an event may take tens of kilobytes.
const MAX_EVENTS: usize = 500;

/// The facts of the claims' events, as far as they are not known yet. Of many, only these are kept.
pub(super) fn load_events(
    tx: &Transaction<'_>,
    claims: &[Claimed],
    events: &mut EventsByKey,
) -> Result<()> {
    if events.len() > MAX_EVENTS {
        events.clear();
    }
    for Claimed { row: claim, .. } in claims {
        let key = (claim.source.clone(), claim.event);
        if events.contains_key(&key) {
            continue;
        }
        let facts: Option<String> = tx.row(&FACTS, &values![&claim.source, claim.event])?;
        // A claim whose event is not there is not admitted.
        let Some(facts) = facts else { continue };
        events.insert(key, decode(&facts)?);
    }
    Ok(())
}
