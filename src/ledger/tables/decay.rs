//! The table `decay`: the scores of MISP's decaying models for attributes. Only reads show them.

use uuid::Uuid;

use crate::ledger::sql::{Result, Transaction, statements, values};
use crate::pure::misp::Decay;

/// The score of a row of `claims`, joined with its event `e`; NULL where no model applies.
macro_rules! score {
    () => {
        "(SELECT d.score FROM decay d
          WHERE d.source = e.source AND d.attribute = claims.attribute)"
    };
}
pub(super) use score;

/// Whether a row of `claims`, joined with its event `e`, has decayed; NULL where no model applies.
macro_rules! decayed {
    () => {
        "(SELECT d.decayed FROM decay d
          WHERE d.source = e.source AND d.attribute = claims.attribute)"
    };
}
pub(super) use decayed;

statements! {
    OF_ATTRIBUTE(Text, Bytes) =
        "SELECT score, decayed FROM decay WHERE source = $1 AND attribute = $2";
    DELETE(Text, Bytes) = "DELETE FROM decay WHERE source = $1 AND attribute = $2";
    INSERT(Text, Bytes, Integer, Boolean) =
        "INSERT INTO decay (source, attribute, score, decayed) VALUES ($1, $2, $3, $4)";
    // The attribute may claim something in another event.
    DELETE_UNCLAIMED(Text, Bytes) =
        "DELETE FROM decay WHERE source = $1 AND attribute = $2 AND NOT EXISTS
             (SELECT 1 FROM claims c JOIN events e ON e.number = c.event_number
              WHERE c.attribute = $2 AND e.source = $1)";
}

pub(in crate::ledger) fn of_attribute(
    tx: &Transaction<'_>,
    source: &str,
    attribute: Uuid,
) -> Result<Option<Decay>> {
    let known: Option<(u8, bool)> = tx.row(&OF_ATTRIBUTE, &values![source, attribute])?;
    Ok(known.map(|(score, decayed)| Decay { decayed, score }))
}

/// Replaces what is known of an attribute. `None`: no model applies.
pub(in crate::ledger) fn replace(
    tx: &Transaction<'_>,
    source: &str,
    attribute: Uuid,
    decay: Option<Decay>,
) -> Result<()> {
    tx.execute(&DELETE, &values![source, attribute])?;
    let Some(Decay { decayed, score }) = decay else { return Ok(()) };
    tx.execute(&INSERT, &values![source, attribute, score, decayed]).map(drop)
}

/// Deletes what is known of these attributes as far as they claim nothing any more.
pub(super) fn delete_unclaimed(
    tx: &Transaction<'_>,
    source: &str,
    attributes: impl IntoIterator<Item = Uuid>,
) -> Result<()> {
    let attributes = attributes.into_iter().map(|attribute| values![source, attribute]);
    tx.execute_each(&DELETE_UNCLAIMED, attributes).map(drop)
}
