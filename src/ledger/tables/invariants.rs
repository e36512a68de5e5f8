//! The rules of `ledger check`: what must be true of the tables at any moment. Each has a name, and a remedy for
//! when it does not hold.

use super::dump::JsonRow;
use super::pending::unsettled;
use super::targets::TargetView;
use crate::ledger::sql::{ParameterType, Result, SqlError, Statement, Transaction, Value, values};

/// A rule, and the rows that break it.
pub(in crate::ledger) struct Rule {
    pub invariant: &'static str,
    pub remedy: &'static str,
    rows: BreakingRows,
}

/// Rows that break a rule.
struct BreakingRows {
    count: Statement,
    /// The first of them, as many as the last parameter says.
    examples: Statement,
}

/// How many rows break a rule, and the first of them as JSON objects.
#[derive(Debug)]
pub(in crate::ledger) struct RuleBreach {
    pub count: u64,
    pub examples: Vec<String>,
}

impl Rule {
    /// Finds the rows that break the rule.
    pub(in crate::ledger) fn broken(&self, tx: &Transaction<'_>, most: i64) -> Result<RuleBreach> {
        self.rows.broken(tx, &[], most)
    }
}

impl BreakingRows {
    fn broken(&self, tx: &Transaction<'_>, values: &[Value<'_>], most: i64) -> Result<RuleBreach> {
        let count: i64 = tx.row(&self.count, values)?.ok_or(SqlError::NoRow)?;
        let mut examples = Vec::new();
        // Most rules hold, and looking for examples costs as much as counting.
        if count > 0 {
            let values: Vec<Value<'_>> = values.iter().copied().chain([most.into()]).collect();
            examples = tx.rows(&self.examples, &values)?;
        }
        let examples = examples.into_iter().map(|JsonRow(json)| json).collect();
        Ok(RuleBreach { count: count.unsigned_abs(), examples })
    }
}

/// Finds what a target has still to be sent, while no change of the target's queue leads its sender there.
pub(in crate::ledger) fn unqueued(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    now: i64,
    most: i64,
) -> Result<RuleBreach> {
    UNQUEUED.broken(tx, &values![now, target, view], most)
}

// Change 0 leads the sender to everything.
/// What is [`unsettled`] at a target and in no change of its queue.
macro_rules! unqueued {
    () => {
        concat!(
            "FROM wanted w LEFT JOIN delivered d ON d.target = $2 AND d.object = w.object
             WHERE w.view = $3 AND ",
            unsettled!(),
            " AND NOT EXISTS (SELECT 1 FROM queue q
                              WHERE q.target = $2 AND q.change IN (0, w.change))"
        )
    };
}

static UNQUEUED: BreakingRows = BreakingRows {
    count: Statement::new(
        concat!("SELECT count(*) ", unqueued!()),
        &[ParameterType::Integer, ParameterType::Text, ParameterType::Text],
    ),
    examples: Statement::new(
        concat!(
            "SELECT CAST($2 AS TEXT) AS target, w.object, w.stix_id, w.change ",
            unqueued!(),
            " LIMIT $4"
        ),
        &[ParameterType::Integer, ParameterType::Text, ParameterType::Text, ParameterType::Integer],
    ),
};

const REREAD: &str = "`resync --event UUID` reads the event anew";
pub(in crate::ledger) const REPAIR: &str = "`ledger check --repair`, then restart the relay: it judges every claim anew and compares each target with the result";

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
                remedy: $remedy,
                rows: BreakingRows {
                    count: Statement::new(concat!("SELECT count(*) ", $rows), &[]),
                    examples: Statement::new(
                        concat!("SELECT ", $columns, " ", $rows, " LIMIT $1"),
                        &[ParameterType::Integer],
                    ),
                },
            };
        )+

        pub(in crate::ledger) static RULES: &[&Rule] = &[$(&$name),+];

        /// All statements of this file.
        #[cfg(test)]
        pub(in crate::ledger) static STATEMENTS: &[&Statement] = &[
            $(&$name.rows.count, &$name.rows.examples,)+
            &UNQUEUED.count,
            &UNQUEUED.examples,
        ];
    };
}

rules! {
    CLAIMS_HAVE_EVENTS = {
        invariant: "claims-have-events",
        columns: "c.event_number, c.attribute, c.part",
        rows: "FROM claims c LEFT JOIN events e ON e.number = c.event_number
               WHERE e.number IS NULL",
        remedy: REPAIR,
    }
    // While the work is unfinished, the claims are still being ended step by step.
    DELETED_EVENTS_CLAIM_NOTHING = {
        invariant: "deleted-events-claim-nothing",
        columns: "e.source, e.event, c.attribute, c.part",
        rows: "FROM events e JOIN claims c ON c.event_number = e.number
               WHERE e.deleted_at IS NOT NULL AND e.unfinished = 0",
        remedy: REREAD,
    }
    WANTED_OBJECTS_ARE_CLAIMED = {
        invariant: "wanted-objects-are-claimed",
        columns: "w.view, w.object, w.stix_id",
        rows: "FROM wanted w WHERE w.version <> 0 AND w.kind = 'indicator'
               AND NOT EXISTS (SELECT 1 FROM claims c
                               WHERE c.object = w.observable)",
        remedy: REPAIR,
    }
    OBSERVABLES_ARE_OF_VIEWS_BY_ATTRIBUTE = {
        invariant: "observables-are-of-views-by-attribute",
        columns: "w.view, w.object, w.key, w.observable",
        rows: "FROM wanted w WHERE w.version <> 0
               AND (w.observable <> w.key) <> (w.kind = 'indicator' AND EXISTS
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
    // It begins at the successors, which are few and have an index.
    ONLY_THE_NEWEST_GENERATION_LIVES = {
        invariant: "only-the-newest-generation-lives",
        columns: "a.view, a.object, a.key, a.generation",
        rows: "FROM wanted b JOIN wanted a ON a.view = b.view AND a.key = b.key AND a.object <> b.object
               WHERE b.object <> b.key AND a.version <> 0 AND a.generation <= b.generation",
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
    EVENTS_ARE_COUNTED = {
        invariant: "events-are-counted",
        columns: "e.source, e.event, e.number",
        rows: "FROM events e WHERE e.number > (SELECT value FROM counters WHERE name = 'event')",
        remedy: REPAIR,
    }
    HELD_CLAIMS_EXIST = {
        invariant: "held-claims-exist",
        columns: "h.source, h.event, h.attribute, h.part",
        rows: "FROM held h LEFT JOIN events e ON e.source = h.source AND e.event = h.event
                   LEFT JOIN claims c ON c.event_number = e.number
                   AND c.attribute = h.attribute AND c.part = h.part
               WHERE c.part IS NULL",
        remedy: REREAD,
    }
    READS_ARE_SOUND = {
        invariant: "reads-are-sound",
        columns: "r.source, r.event, r.urgency, r.asked, r.attempts, r.weight",
        rows: "FROM reads r WHERE r.urgency NOT IN (0, 1, 2, 3) OR r.asked < 1 OR r.attempts < 0
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
