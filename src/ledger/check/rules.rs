//! The invariants that a query can break.

use crate::ledger::sql::{Statement, Type};

/// An invariant that a query can break.
pub(super) struct Rule {
    pub invariant: &'static str,
    /// How many rows break it.
    pub count: Statement,
    /// The first of them, as many as its parameter says.
    pub examples: Statement,
    pub remedy: &'static str,
}

const REREAD: &str = "`resync --event UUID` reads the event anew";
pub(super) const REPAIR: &str = "`ledger check --repair`, then restart the relay: it judges every claim anew and compares each target with the result";

/// Declares rules: `rows` are those that break it, shown by `columns`.
macro_rules! rules {
    ($($name:ident = {
        invariant: $invariant:literal,
        columns: $columns:literal,
        rows: $rows:literal,
        remedy: $remedy:expr,
    })+) => {
        $(
            static $name: Rule = Rule {
                invariant: $invariant,
                count: Statement::new(concat!("SELECT count(*) ", $rows), &[]),
                examples: Statement::new(
                    concat!("SELECT ", $columns, " ", $rows, " LIMIT $1"),
                    &[Type::Integer],
                ),
                remedy: $remedy,
            };
        )+

        pub(super) static RULES: &[&Rule] = &[$(&$name),+];

        /// All statements of this file.
        #[cfg(test)]
        pub(in crate::ledger) static STATEMENTS: &[&Statement] =
            &[$(&$name.count, &$name.examples),+];
    };
}

rules! {
    CLAIMS_HAVE_EVENTS = {
        invariant: "claims-have-events",
        columns: "c.source, c.event, c.attribute, c.part",
        rows: "FROM claims c LEFT JOIN events e ON e.source = c.source AND e.event = c.event
               WHERE e.event IS NULL",
        remedy: REREAD,
    }
    DELETED_EVENTS_CLAIM_NOTHING = {
        invariant: "deleted-events-claim-nothing",
        columns: "c.source, c.event, c.attribute, c.part",
        rows: "FROM events e JOIN claims c ON c.source = e.source AND c.event = e.event
               WHERE e.deleted_at IS NOT NULL AND e.unfinished = 0",
        remedy: REREAD,
    }
    WANTED_OBJECTS_ARE_CLAIMED = {
        invariant: "wanted-objects-are-claimed",
        columns: "w.view, w.object, w.stix_id",
        rows: "FROM wanted w WHERE w.version <> 0 AND w.kind = 'indicator'
               AND NOT EXISTS (SELECT 1 FROM claims c
                               WHERE c.object = COALESCE(w.observable, w.claimed, w.object))",
        remedy: REPAIR,
    }
    OBSERVABLES_ARE_OF_VIEWS_BY_ATTRIBUTE = {
        invariant: "observables-are-of-views-by-attribute",
        columns: "w.view, w.object, w.observable",
        rows: "FROM wanted w WHERE w.version <> 0
               AND (w.observable IS NOT NULL) <> (w.kind = 'indicator' AND EXISTS
                   (SELECT 1 FROM targets t WHERE t.view = w.view AND t.identity = 'attribute'))",
        remedy: REPAIR,
    }
    // Where an id is not that of the object, the index has them in order.
    NO_ID_TWICE = {
        invariant: "no-id-twice",
        columns: "a.view, a.stix_id, a.object",
        rows: "FROM wanted a WHERE a.version <> 0 AND a.stix_id <> a.object
               AND EXISTS (SELECT 1 FROM wanted b WHERE b.view = a.view AND b.stix_id = a.stix_id
                           AND b.kind = a.kind AND b.stix_id <> b.object AND b.object <> a.object AND b.version <> 0)",
        remedy: REPAIR,
    }
    ONLY_THE_NEWEST_GENERATION_LIVES = {
        invariant: "only-the-newest-generation-lives",
        columns: "a.view, a.object, a.claimed, a.generation",
        rows: "FROM wanted b JOIN wanted a ON a.view = b.view AND a.object <> b.object
                   AND (a.object = b.claimed OR a.claimed = b.claimed)
               WHERE b.claimed IS NOT NULL AND a.version <> 0 AND a.generation <= b.generation",
        remedy: REPAIR,
    }
    RELATIONSHIPS_HAVE_THEIR_ENDS = {
        invariant: "relationships-have-their-ends",
        columns: "w.view, w.object, w.source",
        rows: "FROM wanted w WHERE w.kind = 'relationship' AND w.version <> 0
               AND (w.source IS NULL OR NOT EXISTS
                   (SELECT 1 FROM wanted i WHERE i.view = w.view AND i.object = w.source
                    AND i.kind = 'indicator' AND i.version <> 0))",
        remedy: REPAIR,
    }
    ONLY_RELATIONSHIPS_END = {
        invariant: "only-relationships-end",
        columns: "w.view, w.object, w.kind",
        rows: "FROM wanted w WHERE w.kind NOT IN ('indicator', 'relationship') AND w.version = 0
               OR w.kind = 'relationship' AND w.version = 0 AND NOT w.revoke",
        remedy: REPAIR,
    }
    DELIVERED_ROWS_HAVE_TARGETS = {
        invariant: "delivered-rows-have-targets",
        columns: "d.target, d.object",
        rows: "FROM delivered d WHERE d.target NOT IN (SELECT target FROM targets)",
        remedy: "configure a target of that name once, or take the name's rows for lost: its indicators stay in Sentinel until their valid_until",
    }
    QUEUES_HAVE_TARGETS = {
        invariant: "queues-have-targets",
        columns: "q.target, q.change, q.lane",
        rows: "FROM queue q WHERE q.target NOT IN (SELECT target FROM targets)
               OR q.lane NOT IN (0, 1, 2) OR q.change < 0",
        remedy: "restart the relay: it drops the queues of unknown targets",
    }
    CHANGES_ARE_COUNTED = {
        invariant: "changes-are-counted",
        columns: "w.view, w.object, w.change",
        rows: "FROM wanted w WHERE w.change > (SELECT value FROM counters WHERE name = 'change')",
        remedy: REPAIR,
    }
    HELD_CLAIMS_EXIST = {
        invariant: "held-claims-exist",
        columns: "h.source, h.event, h.attribute, h.part",
        rows: "FROM held h LEFT JOIN claims c ON c.source = h.source AND c.event = h.event
                   AND c.attribute = h.attribute AND c.part = h.part
               WHERE c.event IS NULL",
        remedy: REREAD,
    }
    READS_ARE_SOUND = {
        invariant: "reads-are-sound",
        columns: "r.source, r.event, r.lane, r.asked, r.attempts, r.weight",
        rows: "FROM reads r WHERE r.lane NOT IN (0, 1, 2, 3) OR r.asked < 1 OR r.attempts < 0
               OR r.weight < 0 OR r.due_at < 0",
        remedy: REREAD,
    }
    TOMBSTONES_ARE_SOUND = {
        invariant: "tombstones-are-sound",
        columns: "t.source, t.attribute, t.object, t.timestamp, t.withdrawn_at",
        rows: "FROM tombstones t WHERE t.timestamp < 0 OR t.withdrawn_at <= 0",
        remedy: "none needed: such a tombstone ends by itself",
    }
}
