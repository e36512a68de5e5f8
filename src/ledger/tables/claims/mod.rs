//! The table `claims`: what MISP's attributes say of observables.

pub(super) mod copies;
pub(super) mod merging;
pub(super) mod naming;
pub(super) mod of_event;
pub(super) mod times;
pub(super) mod walk;

pub(in crate::ledger) use copies::{
    AttributeCopy, attributes_of, copies_of, objects_anywhere, objects_elsewhere,
};
pub(in crate::ledger) use merging::{Beside, ClaimRow, StoredClaim, beside, claimed, of_objects};
pub(in crate::ledger) use naming::{
    ClaimingAttribute, SpelledClaim, claiming, claiming_as, claiming_in_event, claiming_object,
    spelled,
};
pub(in crate::ledger) use of_event::{
    ClaimGroup, EventClaim, PlacedObject, after, count_of_event, events_of, objects_of,
    of_attribute_id, of_group, values_of,
};
pub(in crate::ledger) use times::Mistimed;
pub(in crate::ledger) use walk::{WalkedClaim, objects_after, walk};

use std::collections::HashMap;

use uuid::Uuid;

use super::decay;
use super::events::{number, number_of};
use super::keys::{ClaimKey, ClaimPlace, EventKey};
use super::packed::{PackedFacts, pack_facts};
use crate::ledger::sql::{Result, SqlError, Transaction, encode, statements, values};
use crate::pure::convert::{Claim, ClaimFacts};
use crate::pure::stix::Sight;

/// The claim of attribute $3, part $4, of the event of source $1 with uuid $2.
macro_rules! by_key {
    () => {
        concat!(" WHERE attribute = $3 AND part = $4 AND event_number = ", number!())
    };
}

statements! {
    // All claims of the event at once. Only the end of a snapshot tells which of them it does not show, so
    // they are in memory until then: a few dozen bytes each in place of the facts.
    DIGESTS(Text, Bytes) = concat!(
        "SELECT attribute, part, object, digest FROM claims WHERE event_number = ", number!()
    );
    FACTS(Text, Bytes, Bytes, Integer) = concat!("SELECT facts FROM claims", by_key!());
    OBJECT(Text, Bytes, Bytes, Integer) = concat!("SELECT object FROM claims", by_key!());
    COUNT() = "SELECT count(*) FROM claims";
    COUNT_OF_SOURCE(Text) =
        "SELECT count(*) FROM events e JOIN claims c ON c.event_number = e.number
         WHERE e.source = $1";
    COUNT_OBJECTS() = "SELECT count(DISTINCT object) FROM claims";
    // By the events: a claim has no source of its own.
    ARE_THERE(Text) =
        "SELECT EXISTS (SELECT 1 FROM events e WHERE e.source = $1
             AND EXISTS (SELECT 1 FROM claims c WHERE c.event_number = e.number))";
    /// `claimed_at` stays while the observable stays the same. `heard_at` stays while MISP's timestamp is the same too.
    /// So a publication without news changes neither.
    WRITE(Integer, Bytes, Integer, Bytes, Integer, Bytes, Text, Text, Integer, Integer, Integer, Bytes) =
        "INSERT INTO claims (event_number, attribute, part, object, attribute_id, misp_object,
         path, value, timestamp, claimed_at, heard_at, digest, facts)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $12)
         ON CONFLICT (attribute, event_number, part) DO UPDATE SET
            claimed_at = CASE WHEN claims.object = excluded.object
                         THEN claims.claimed_at ELSE excluded.claimed_at END,
            heard_at = CASE WHEN claims.object = excluded.object
                            AND claims.timestamp = excluded.timestamp
                       THEN claims.heard_at ELSE excluded.heard_at END,
            object = excluded.object, attribute_id = excluded.attribute_id,
            misp_object = excluded.misp_object, path = excluded.path, value = excluded.value,
            timestamp = excluded.timestamp, digest = excluded.digest, facts = excluded.facts
         RETURNING claimed_at, heard_at";
    ALTER(Text, Bytes, Bytes, Integer, Bytes, Integer) =
        concat!("UPDATE claims SET facts = $5, digest = $6", by_key!());
    RENAME(Text, Bytes, Bytes, Integer, Bytes, Integer) =
        concat!("UPDATE claims SET object = $5, digest = $6", by_key!());
    /// Does nothing if the claim has changed since it was read.
    RENEW(Text, Bytes, Bytes, Integer, Integer, Bytes, Integer) = concat!(
        "UPDATE claims SET claimed_at = $5", by_key!(), " AND object = $6 AND claimed_at = $7"
    );
    DELETE(Text, Bytes, Bytes, Integer) = concat!("DELETE FROM claims", by_key!());
    DELETE_ORPHANS() = "DELETE FROM claims WHERE event_number NOT IN (SELECT number FROM events)";
}

/// The most claims that are written, ended or merged in one transaction.
// A withdrawal waits until a step is done: this many rows are meant to take no more than 100 ms. Fewer
// rows a step would mean more commits, each with a sync of the disk.
pub(in crate::ledger) const STEP: usize = 5_000;

/// [`STEP`] as a limit of rows.
pub(in crate::ledger) const STEP_ROWS: i64 = 5_000;

/// The digest of a claim that was altered since its snapshot. The next snapshot writes the claim again.
pub(in crate::ledger) const ALTERED: i64 = 0;

fn by_key(key: ClaimKey<'_>) -> [crate::ledger::sql::Value<'_>; 4] {
    let ClaimKey { event: EventKey { source, event }, attribute, part } = key;
    values![source, event, attribute, part]
}

/// What a snapshot is compared with: the observable of a stored claim, and its digest.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct KnownDigest {
    pub object: Uuid,
    /// See [`StoredClaim`].
    pub digest: i64,
}

pub(in crate::ledger) fn digests(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<HashMap<ClaimPlace, KnownDigest>> {
    let rows: Vec<(Uuid, i16, Uuid, i64)> = tx.rows(&DIGESTS, &values![source, event])?;
    let keyed = |(attribute, part, object, digest)| {
        (ClaimPlace { attribute, part }, KnownDigest { object, digest })
    };
    Ok(rows.into_iter().map(keyed).collect())
}

/// Returns the facts of a claim.
pub(in crate::ledger) fn facts(
    tx: &Transaction<'_>,
    key: ClaimKey<'_>,
) -> Result<Option<ClaimFacts>> {
    let facts: Option<(PackedFacts,)> = tx.row(&FACTS, &by_key(key))?;
    facts.map(|(facts,)| facts.read()).transpose()
}

/// The observable of a claim.
pub(in crate::ledger) fn object(tx: &Transaction<'_>, key: ClaimKey<'_>) -> Result<Option<Uuid>> {
    tx.row(&OBJECT, &by_key(key))
}

/// How many objects are claimed.
pub(in crate::ledger) fn count_objects(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&COUNT_OBJECTS, &values![])?.ok_or(SqlError::NoRow)
}

pub(in crate::ledger) fn count(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&COUNT, &values![])?.ok_or(SqlError::NoRow)
}

/// How many claims a source has.
pub(in crate::ledger) fn count_of_source(tx: &Transaction<'_>, source: &str) -> Result<i64> {
    tx.row(&COUNT_OF_SOURCE, &values![source])?.ok_or(SqlError::NoRow)
}

/// Whether a source claims anything.
pub(in crate::ledger) fn are_there(tx: &Transaction<'_>, source: &str) -> Result<bool> {
    tx.row(&ARE_THERE, &values![source])?.ok_or(SqlError::NoRow)
}

/// A claim ready to be written.
#[derive(Debug)]
pub(in crate::ledger) struct NewClaim {
    pub claim: Claim,
    pub object: Uuid,
    /// See [`StoredClaim`].
    pub digest: i64,
    /// JSON.
    facts: String,
}

impl NewClaim {
    /// `object`: the key of its observable.
    pub(in crate::ledger) fn new(claim: Claim, object: Uuid) -> Result<Self> {
        let facts = encode(&claim.facts)?;
        // Of all that a snapshot says of the claim, so that an unchanged one is known without its facts.
        let digest = crate::ledger::hash([object.as_bytes().as_slice(), facts.as_bytes()]);
        Ok(Self { claim, object, digest, facts })
    }

    pub(in crate::ledger) fn place(&self) -> ClaimPlace {
        ClaimPlace { attribute: self.claim.attribute, part: i16::from(self.claim.part) }
    }

    pub(in crate::ledger) fn misp_object(&self) -> Option<Uuid> {
        self.claim.facts.object.as_ref().map(|object| object.uuid)
    }
}

/// A claim that was written.
#[derive(Debug)]
pub(in crate::ledger) struct WrittenClaim {
    pub new: NewClaim,
    /// The times that count for it.
    pub sight: Sight,
}

/// Writes claims of an event; returns them in their order.
pub(in crate::ledger) fn write(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    claims: Vec<NewClaim>,
    now: i64,
) -> Result<Vec<WrittenClaim>> {
    // The snapshot has written the row of its event before.
    let event_number = number_of(tx, event)?.ok_or(SqlError::NoRow)?;
    let packed: Vec<Vec<u8>> = claims.iter().map(|new| pack_facts(&new.facts)).collect();
    let rows = claims.iter().zip(&packed).map(|(new, facts)| {
        let NewClaim { claim, object, digest, .. } = new;
        let Claim { attribute, part, observable, facts: said } = claim;
        values![
            event_number,
            *attribute,
            i16::from(*part),
            *object,
            said.attribute_id,
            new.misp_object(),
            observable.path.as_ref(),
            observable.value.as_str(),
            said.timestamp,
            now,
            *digest,
            facts.as_slice(),
        ]
    });
    // What was stored before decides on the times, and merging from memory needs them as a reader of the
    // row sees them.
    let sights: Vec<Sight> = tx.rows_each(&WRITE, rows)?;
    let written = claims.into_iter().zip(sights);
    Ok(written.map(|(new, sight)| WrittenClaim { new, sight }).collect())
}

/// Stores altered facts of a claim, which come from a frame and not from a snapshot.
pub(in crate::ledger) fn alter(
    tx: &Transaction<'_>,
    key: ClaimKey<'_>,
    facts: &ClaimFacts,
) -> Result<()> {
    let ClaimKey { event: EventKey { source, event }, attribute, part } = key;
    let facts = pack_facts(&encode(facts)?);
    let values = values![source, event, attribute, part, facts.as_slice(), ALTERED];
    tx.execute(&ALTER, &values).map(drop)
}

/// Gives a claim the key that its observable has now. The next snapshot writes the claim anew.
pub(in crate::ledger) fn rename(
    tx: &Transaction<'_>,
    key: ClaimKey<'_>,
    object: Uuid,
) -> Result<()> {
    let ClaimKey { event: EventKey { source, event }, attribute, part } = key;
    tx.execute(&RENAME, &values![source, event, attribute, part, object, ALTERED]).map(drop)
}

/// Makes a claim count from `from` on, Unix milliseconds, if it has not changed since the walk read it. Returns whether
/// it did.
pub(in crate::ledger) fn renew(
    tx: &Transaction<'_>,
    seen: &WalkedClaim,
    from: i64,
) -> Result<bool> {
    let [source, event, attribute, part] = by_key(seen.key());
    let (from, object) = (from.into(), seen.object.into());
    let values = [source, event, attribute, part, from, object, seen.sight.claimed_at.into()];
    Ok(tx.execute(&RENEW, &values)? > 0)
}

/// Deletes claims of an event, and the scores of attributes that make no claim any more.
pub(in crate::ledger) fn delete(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    places: &[ClaimPlace],
) -> Result<()> {
    tx.execute_each(&DELETE, places.iter().map(|place| by_key(event.claim(*place))))?;
    decay::delete_unclaimed(tx, event.source, places.iter().map(|place| place.attribute))
}

/// Deletes claims whose event is missing. Only a damaged ledger has such claims, and nothing else would find them.
pub(in crate::ledger) fn delete_orphans(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(&DELETE_ORPHANS, &values![]).map(drop)
}
