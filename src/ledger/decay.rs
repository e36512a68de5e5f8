//! What MISP's decaying models say of attributes: told by reads alone, and kept beside the claims.

use std::collections::HashSet;

use uuid::Uuid;

use super::change::Change;
use super::sightings::merge_anew;
use super::sql::{Result, Transaction, statements, values};
use crate::pure::misp::Decay;

/// Of a row of `claims`; NULL where no model applies.
macro_rules! score {
    () => {
        "(SELECT d.score FROM decay d
          WHERE d.source = claims.source AND d.attribute = claims.attribute)"
    };
}
pub(super) use score;

/// Of a row of `claims`; NULL where no model applies.
macro_rules! decayed {
    () => {
        "(SELECT d.decayed FROM decay d
          WHERE d.source = claims.source AND d.attribute = claims.attribute)"
    };
}
pub(super) use decayed;

statements! {
    KNOWN(Text, Bytes) = "SELECT score, decayed FROM decay WHERE source = $1 AND attribute = $2";
    DELETE(Text, Bytes) = "DELETE FROM decay WHERE source = $1 AND attribute = $2";
    INSERT(Text, Bytes, Integer, Boolean) = "INSERT INTO decay (source, attribute, score, decayed)
         VALUES ($1, $2, $3, $4)";
}

/// Takes in what a read says of an event's attributes, and merges anew what that changes.
pub(super) fn take_in(
    tx: &Transaction<'_>,
    event: (&str, Uuid),
    told: &[(Uuid, Option<Decay>)],
    change: &mut Change<'_>,
) -> Result<()> {
    let mut touched = HashSet::new();
    for (attribute, decay) in told {
        if known(tx, event.0, *attribute)? != *decay {
            store(tx, event.0, (*attribute, *decay))?;
            touched.insert(*attribute);
        }
    }
    merge_anew(tx, event, &touched, change)
}

fn known(tx: &Transaction<'_>, source: &str, attribute: Uuid) -> Result<Option<Decay>> {
    let known: Option<(u8, bool)> = tx.row(&KNOWN, &values![source, attribute])?;
    Ok(known.map(|(score, decayed)| Decay { decayed, score }))
}

fn store(
    tx: &Transaction<'_>,
    source: &str,
    (attribute, decay): (Uuid, Option<Decay>),
) -> Result<()> {
    tx.execute(&DELETE, &values![source, attribute])?;
    let Some(Decay { decayed, score }) = decay else { return Ok(()) };
    tx.execute(&INSERT, &values![source, attribute, score, decayed])?;
    Ok(())
}
