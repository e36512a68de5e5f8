//! Statements on `wanted` that find the indicator which an alert of a target names.

use uuid::Uuid;

use crate::ledger::sql::{Result, Transaction, row, statements, values};

/// Indicators that target $1 was sent.
macro_rules! sent {
    ($($which:literal),+) => {
        concat!(
            "SELECT w.object, w.observable, w.version FROM targets t
             JOIN wanted w ON w.view = t.view
             JOIN delivered d ON d.target = t.target AND d.object = w.object
             WHERE t.target = $1 AND w.kind = 'indicator'",
            $($which),+
        )
    };
}

/// Those of them that the target holds, or held until $3.
macro_rules! in_force {
    ($which:literal) => {
        sent!(
            $which,
            " AND (d.sending <> 0 OR d.accepted <> 0 AND COALESCE(d.valid_until, $3) >= $3
                  OR d.accepted = 0 AND d.accepted_at >= $3)"
        )
    };
}

statements! {
    // Where the id is the object's own key, the index by the id leaves it out.
    BY_ID(Text, Bytes) = concat!(
        sent!(" AND w.object = $2 AND w.stix_id = $2"),
        " UNION ALL ",
        sent!(" AND w.stix_id = $2 AND w.stix_id <> w.object")
    );
    // The first generation, its successors, and indicators that attributes have for themselves: each by its own index.
    BY_OBSERVABLE(Text, Bytes, Integer) = concat!(
        in_force!(" AND w.object = $2 AND w.observable = $2"),
        " UNION ALL ",
        in_force!(" AND w.key = $2 AND w.key <> w.object AND w.observable = $2"),
        " UNION ALL ",
        in_force!(" AND w.observable = $2 AND w.observable <> w.key")
    );
}

row! {
    /// An indicator that a target was sent.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in crate::ledger) struct IndicatorAtTarget {
        pub object: Uuid,
        /// The key of its claims.
        pub observable: Uuid,
        version: i64,
    }
}

impl IndicatorAtTarget {
    pub(in crate::ledger) fn is_live(&self) -> bool {
        self.version != super::WITHDRAWN
    }
}

/// The indicators with this id that the target was sent. Where each attribute has its own, there may be several, one
/// after the other.
pub(in crate::ledger) fn by_id(
    tx: &Transaction<'_>,
    target: &str,
    id: Uuid,
) -> Result<Vec<IndicatorAtTarget>> {
    tx.rows(&BY_ID, &values![target, id])
}

/// The indicators of this observable that the target holds, or held until `since`, Unix milliseconds.
pub(in crate::ledger) fn by_observable(
    tx: &Transaction<'_>,
    target: &str,
    observable: Uuid,
    since: i64,
) -> Result<Vec<IndicatorAtTarget>> {
    tx.rows(&BY_OBSERVABLE, &values![target, observable, since])
}
