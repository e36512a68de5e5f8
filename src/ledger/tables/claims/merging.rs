//! Reads the claims on an observable for merging, each with its sightings, its scores and whether it is suppressed.

use std::collections::HashSet;

use uuid::Uuid;

use super::by_key;
use crate::ledger::sql::{Columns, FromRow, Result, SqlError, Transaction, statements, values};
use crate::ledger::tables::decay::{decayed, score};
use crate::ledger::tables::keys::{ClaimKey, ClaimPlace, EventKey};
use crate::ledger::tables::packed::PackedFacts;
use crate::ledger::tables::sightings::{expires_at, false_positives};
use crate::pure::misp::Decay;
use crate::pure::stix::{Observable, Sight};

/// Whether an operator withholds the claim's value, or of a URL the other form.
// Logs have the one form of a URL or the other, so whoever withholds one of them means both.
macro_rules! suppressed {
    () => {
        "(EXISTS (SELECT 1 FROM suppressed_spellings s WHERE s.spelling = lower(claims.value))
         OR claims.path = 'url:value' AND EXISTS (
             SELECT 1 FROM claims form
             JOIN suppressed_spellings s ON s.spelling = lower(form.value)
             WHERE form.event_number = claims.event_number
             AND form.attribute = claims.attribute AND form.path = 'url:value'))"
    };
}

/// The columns of [`Beside`], of `claims` joined with its event `e`.
macro_rules! beside {
    () => {
        concat!(
            expires_at!(),
            ", ",
            suppressed!(),
            ", ",
            false_positives!(),
            ", ",
            score!(),
            ", ",
            decayed!()
        )
    };
}

statements! {
    OF_OBJECT(Bytes) = concat!(
        "SELECT e.source, e.event, attribute, part, object, path, value, claimed_at, heard_at, ",
        beside!(), ", digest, claims.facts
         FROM claims JOIN events e ON e.number = event_number WHERE object = $1"
    );
    /// The index alone answers it.
    CLAIMED(Bytes) = "SELECT object FROM claims WHERE object = $1 LIMIT 1";
    BESIDE(Text, Bytes, Bytes, Integer) = concat!(
        "SELECT ", beside!(), " FROM claims JOIN events e ON e.number = event_number
         WHERE e.source = $1 AND e.event = $2 AND attribute = $3 AND part = $4"
    );
    // A first sync has nothing of these, and this saves it a look-up for each claim.
    IS_ANYTHING_BESIDE(Text) =
        "SELECT EXISTS (SELECT 1 FROM suppressed_spellings)
             OR EXISTS (SELECT 1 FROM sightings)
             OR EXISTS (SELECT 1 FROM decay WHERE source = $1)";
}

/// What the ledger knows of a claim besides its publication.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::ledger) struct Beside {
    /// The date of the newest expiration, Unix milliseconds.
    pub expires_at: Option<i64>,
    /// An operator withholds the value.
    pub suppressed: bool,
    /// How many false positives were reported.
    pub false_positives: u32,
    pub decay: Option<Decay>,
}

impl FromRow for Beside {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        let (expires_at, suppressed) = (columns.take()?, columns.take()?);
        let false_positives = columns.take()?;
        let (score, decayed): (Option<u8>, Option<bool>) = (columns.take()?, columns.take()?);
        let decay = score.zip(decayed).map(|(score, decayed)| Decay { decayed, score });
        Ok(Self { expires_at, suppressed, false_positives, decay })
    }
}

/// A claim without its facts.
#[derive(Debug)]
pub(in crate::ledger) struct ClaimRow {
    pub source: String,
    pub event: Uuid,
    pub attribute: Uuid,
    pub part: i16,
    /// The key of the observable.
    pub object: Uuid,
    pub observable: Observable,
    pub sight: Sight,
    pub beside: Beside,
}

impl ClaimRow {
    pub(in crate::ledger) fn event_key(&self) -> EventKey<'_> {
        EventKey::new(&self.source, self.event)
    }

    pub(in crate::ledger) fn place(&self) -> ClaimPlace {
        ClaimPlace { attribute: self.attribute, part: self.part }
    }
}

impl FromRow for Observable {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        let path: String = columns.take()?;
        Ok(Self { path: path.into(), value: columns.take()? })
    }
}

impl FromRow for Sight {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { claimed_at: columns.take()?, heard_at: columns.take()? })
    }
}

impl FromRow for ClaimRow {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            source: columns.take()?,
            event: columns.take()?,
            attribute: columns.take()?,
            part: columns.take()?,
            object: columns.take()?,
            observable: Observable::from_row(columns)?,
            sight: Sight::from_row(columns)?,
            beside: Beside::from_row(columns)?,
        })
    }
}

/// A claim with its facts as they are stored.
#[derive(Debug)]
pub(in crate::ledger) struct StoredClaim {
    pub row: ClaimRow,
    /// [`ALTERED`](super::ALTERED), or the fingerprint of what a snapshot said.
    pub digest: i64,
    pub facts: PackedFacts,
}

impl FromRow for StoredClaim {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        let row = ClaimRow::from_row(columns)?;
        Ok(Self { row, digest: columns.take()?, facts: columns.take()? })
    }
}

/// Returns those of these observables that have a claim.
pub(in crate::ledger) fn claimed(tx: &Transaction<'_>, objects: &[Uuid]) -> Result<HashSet<Uuid>> {
    let claimed = tx.rows_each(&CLAIMED, objects.iter().map(|object| values![object]))?;
    Ok(claimed.into_iter().collect())
}

/// The claims on these observables.
pub(in crate::ledger) fn of_objects(
    tx: &Transaction<'_>,
    objects: &[Uuid],
) -> Result<Vec<StoredClaim>> {
    tx.rows_each(&OF_OBJECT, objects.iter().map(|object| values![object]))
}

/// Returns what the ledger knows of these claims of one source besides their publications, in their order. Mostly there
/// is nothing, and then this is one look-up.
pub(in crate::ledger) fn beside<'k>(
    tx: &Transaction<'_>,
    source: &str,
    keys: impl ExactSizeIterator<Item = ClaimKey<'k>>,
) -> Result<Vec<Beside>> {
    let is_any: bool = tx.row(&IS_ANYTHING_BESIDE, &values![source])?.ok_or(SqlError::NoRow)?;
    if !is_any {
        return Ok(vec![Beside::default(); keys.len()]);
    }
    tx.rows_each(&BESIDE, keys.map(by_key))
}
