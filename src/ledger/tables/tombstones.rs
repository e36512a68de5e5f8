//! The table `tombstones`: what MISP has withdrawn. A tombstone keeps a snapshot from before the withdrawal
//! from undoing it.

use std::collections::HashSet;

use uuid::Uuid;

use crate::ledger::sql::{Result, Transaction, row, statements, values};
use crate::pure::convert::ClaimFacts;

statements! {
    OF(Text, Bytes) =
        "SELECT attribute, object, timestamp, ids_only, withdrawn_at FROM tombstones
         WHERE source = $1 AND attribute = $2";
    OF_SOURCE(Text, Integer) =
        "SELECT attribute, object, timestamp, ids_only, withdrawn_at FROM tombstones
         WHERE source = $1 LIMIT $2";
    OF_ATTRIBUTE(Bytes) =
        "SELECT attribute, object, timestamp, ids_only, withdrawn_at FROM tombstones
         WHERE attribute = $1 ORDER BY withdrawn_at";
    OF_ANY_SOURCE(Bytes) =
        "SELECT source, attribute, object, timestamp, ids_only FROM tombstones
         WHERE attribute = $1";
    ALL(Integer) =
        "SELECT source, attribute, object, timestamp, ids_only FROM tombstones LIMIT $1";
    /// The later of two withdrawals counts, of the same second the stricter.
    BURY(Text, Bytes, Bytes, Integer, Boolean, Integer) =
        "INSERT INTO tombstones (source, attribute, object, timestamp, ids_only, withdrawn_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (source, attribute, object) DO UPDATE SET
             ids_only = CASE WHEN excluded.timestamp > tombstones.timestamp
                        THEN excluded.ids_only
                        WHEN excluded.timestamp = tombstones.timestamp
                        THEN excluded.ids_only AND tombstones.ids_only
                        ELSE tombstones.ids_only END,
             timestamp = CASE WHEN excluded.timestamp > tombstones.timestamp
                         THEN excluded.timestamp ELSE tombstones.timestamp END,
             withdrawn_at = excluded.withdrawn_at";
    // A read that began after the withdrawal shows what came of it, so the tombstone has done its work.
    END(Text, Bytes, Bytes) =
        "DELETE FROM tombstones WHERE source = $1 AND attribute = $2 AND object = $3";
    // What keeps another source's claim out does so as long as that claim is there.
    FORGET_OLDER(Integer, Integer) =
        "DELETE FROM tombstones WHERE (source, attribute, object) IN
             (SELECT t.source, t.attribute, t.object FROM tombstones t
              WHERE t.withdrawn_at < $1 AND NOT EXISTS
                  (SELECT 1 FROM claims c JOIN events e ON e.number = c.event_number
                   WHERE c.attribute = t.attribute AND e.source <> t.source) LIMIT $2)";
    // Several may have been heard in one millisecond: fewer may be left, and never more.
    KEEP_NEWEST(Integer) =
        "DELETE FROM tombstones WHERE withdrawn_at <=
             (SELECT withdrawn_at FROM tombstones ORDER BY withdrawn_at DESC LIMIT 1 OFFSET $1)
         AND NOT EXISTS
             (SELECT 1 FROM claims c JOIN events e ON e.number = c.event_number
              WHERE c.attribute = tombstones.attribute AND e.source <> tombstones.source)";
    NOT_AFTER(Integer) = "UPDATE tombstones SET withdrawn_at = $1 WHERE withdrawn_at > $1";
}

/// It is faster to read all of at most this many tombstones than to look for each by itself.
const FEW: usize = 250;

/// [`FEW`] as a limit of rows.
const FEW_ROWS: i64 = 250;

row! {
    #[derive(Debug, Clone, Copy)]
    pub(in crate::ledger) struct Tombstone {
        /// The attribute. It may also be a MISP object, for everything that its attributes claim, or an event that the
        /// ledger does not know.
        pub attribute: Uuid,
        /// The observable that was withdrawn. Nil: everything that the attribute claims. See also
        /// [`Tombstone::of_own`].
        pub object: Uuid,
        /// MISP's time of the withdrawal, Unix seconds.
        pub timestamp: i64,
        /// Whether only `to_ids` was switched off.
        pub ids_only: bool,
        /// When the relay heard of it, Unix milliseconds.
        pub withdrawn_at: i64,
    }
}

impl Tombstone {
    /// Makes a tombstone that only keeps older snapshots of its own source from counting. The attribute was edited
    /// since, which takes nothing back, or it was deleted for good, which MISP passes on to no other. So it says nothing
    /// of copies in other sources. No observable has the uuid of the attribute, so it stands for that in the place of
    /// one.
    pub(in crate::ledger) fn of_own(attribute: Uuid, timestamp: i64) -> Self {
        Self { object: attribute, ..Self::of(attribute, timestamp) }
    }

    /// Makes a tombstone for everything that the attribute claims.
    pub(in crate::ledger) fn of(attribute: Uuid, timestamp: i64) -> Self {
        Self { attribute, object: Uuid::nil(), timestamp, ids_only: false, withdrawn_at: 0 }
    }

    /// Whether a snapshot with these facts is older than the withdrawal. If both are of the same second, the withdrawal
    /// wins.
    pub(in crate::ledger) fn keeps_out(&self, facts: &ClaimFacts) -> bool {
        let is_same_news = self.ids_only && !facts.to_ids;
        facts.timestamp < self.timestamp || (facts.timestamp == self.timestamp && !is_same_news)
    }
}

row! {
    /// A tombstone of any source.
    #[derive(Debug, Clone)]
    pub(in crate::ledger) struct Buried {
        pub source: String,
        pub attribute: Uuid,
        object: Uuid,
        pub timestamp: i64,
        ids_only: bool,
    }
}

impl Buried {
    /// Whether it is newer than another source's claim, which is on `object` and of `timestamp`. Of the same second the
    /// withdrawal wins, unless it only switched `to_ids` off.
    pub(in crate::ledger) fn outdates(&self, object: Uuid, timestamp: i64) -> bool {
        let is_meant = self.object.is_nil() || self.object == object;
        is_meant && (self.timestamp > timestamp || self.timestamp == timestamp && !self.ids_only)
    }
}

/// The tombstones of these attributes, of any source.
pub(in crate::ledger) fn of_any_source(
    tx: &Transaction<'_>,
    attributes: &[Uuid],
) -> Result<Vec<Buried>> {
    if attributes.len() > FEW {
        let mut all: Vec<Buried> = tx.rows(&ALL, &values![FEW_ROWS + 1])?;
        if all.len() <= FEW {
            let attributes: HashSet<&Uuid> = attributes.iter().collect();
            all.retain(|one| attributes.contains(&one.attribute));
            return Ok(all);
        }
    }
    tx.rows_each(&OF_ANY_SOURCE, attributes.iter().map(|attribute| values![attribute]))
}

/// The tombstones of these attributes, MISP objects and unknown events.
pub(in crate::ledger) fn of(
    tx: &Transaction<'_>,
    source: &str,
    buried: &[Uuid],
) -> Result<Vec<Tombstone>> {
    if buried.len() > FEW {
        // Mostly a source has few, which one statement reads.
        let mut all: Vec<Tombstone> = tx.rows(&OF_SOURCE, &values![source, FEW_ROWS + 1])?;
        if all.len() <= FEW {
            let buried: HashSet<&Uuid> = buried.iter().collect();
            all.retain(|tombstone| buried.contains(&tombstone.attribute));
            return Ok(all);
        }
    }
    tx.rows_each(&OF, buried.iter().map(|uuid| values![source, uuid]))
}

/// The tombstones of an attribute of any source, the oldest first.
pub(in crate::ledger) fn of_attribute(
    tx: &Transaction<'_>,
    attribute: Uuid,
) -> Result<Vec<Tombstone>> {
    tx.rows(&OF_ATTRIBUTE, &values![attribute])
}

/// Writes a tombstone of what was withdrawn at `now`, Unix milliseconds.
pub(in crate::ledger) fn bury(
    tx: &Transaction<'_>,
    source: &str,
    tombstone: &Tombstone,
    now: i64,
) -> Result<()> {
    let Tombstone { attribute, object, timestamp, ids_only, .. } = *tombstone;
    tx.execute(&BURY, &values![source, attribute, object, timestamp, ids_only, now]).map(drop)
}

/// Ends tombstones.
pub(in crate::ledger) fn end(
    tx: &Transaction<'_>,
    source: &str,
    tombstones: &[Tombstone],
) -> Result<()> {
    let rows = tombstones.iter().map(|one| values![source, one.attribute, one.object]);
    tx.execute_each(&END, rows).map(drop)
}

/// Forgets at most `most` tombstones from before `before`, Unix milliseconds; returns how many.
pub(in crate::ledger) fn forget_older(
    tx: &Transaction<'_>,
    before: i64,
    most: i64,
) -> Result<usize> {
    tx.execute(&FORGET_OLDER, &values![before, most])
}

/// Forgets all but the newest `most` tombstones, so that a flood of frames does not fill the disk. Returns how many.
pub(in crate::ledger) fn keep_newest(tx: &Transaction<'_>, most: i64) -> Result<usize> {
    tx.execute(&KEEP_NEWEST, &values![most])
}

/// Sets stored times that are later than `now` to `now`: a clock that was ahead noted them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}
