//! Finds claims by what people name: a value, an event or an attribute.

use uuid::Uuid;

use crate::ledger::sql::{Result, Transaction, row, statements, values};
use crate::ledger::tables::keys::EventKey;
use crate::pure::stix::Observable;

statements! {
    // The index is by the value in lower case; the second condition tells `A` from `a`.
    NAMED_BY_VALUE(Text, Text) =
        "SELECT e.source, e.event, attribute
         FROM claims JOIN events e ON e.number = event_number
         WHERE lower(value) = lower($1) AND value = $1 AND path = $2
         ORDER BY claims.timestamp DESC, attribute";
    NAMED_BY_EVENT(Bytes) =
        "SELECT e.source, e.event, attribute
         FROM claims JOIN events e ON e.number = event_number WHERE e.event = $1
         ORDER BY attribute_id, attribute";
    NAMED_BY_ATTRIBUTE(Bytes) =
        "SELECT e.source, e.event, attribute
         FROM claims JOIN events e ON e.number = event_number WHERE attribute = $1";
    NAMED_BY_OBJECT(Bytes) =
        "SELECT e.source, e.event, attribute
         FROM claims JOIN events e ON e.number = event_number WHERE object = $1
         ORDER BY claims.timestamp DESC, attribute";
    /// Also finds the claims of the other form of a URL, because a suppression withholds both forms.
    SPELLED(Text) =
        "SELECT DISTINCT c.object, e.source, e.event, c.attribute, c.part
         FROM claims named
         JOIN claims c ON c.event_number = named.event_number AND c.attribute = named.attribute
         JOIN events e ON e.number = c.event_number
         WHERE (c.part = named.part OR c.path = 'url:value') AND lower(named.value) = $1";
}

row! {
    /// An attribute that claims something.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub(in crate::ledger) struct ClaimingAttribute {
        pub source: String,
        pub event: Uuid,
        pub attribute: Uuid,
    }
}

impl ClaimingAttribute {
    pub(in crate::ledger) fn event_key(&self) -> EventKey<'_> {
        EventKey::new(&self.source, self.event)
    }
}

/// The attributes that claim this observable, the newest first. One that claims it twice is there twice.
pub(in crate::ledger) fn claiming(
    tx: &Transaction<'_>,
    observable: &Observable,
) -> Result<Vec<ClaimingAttribute>> {
    tx.rows(&NAMED_BY_VALUE, &values![&observable.value, observable.path.as_ref()])
}

/// The attributes that make claims with this key, the newest first.
pub(in crate::ledger) fn claiming_object(
    tx: &Transaction<'_>,
    object: Uuid,
) -> Result<Vec<ClaimingAttribute>> {
    tx.rows(&NAMED_BY_OBJECT, &values![object])
}

/// The attributes of an event that claim something, in MISP's order. One with two claims is there twice.
pub(in crate::ledger) fn claiming_in_event(
    tx: &Transaction<'_>,
    event: Uuid,
) -> Result<Vec<ClaimingAttribute>> {
    tx.rows(&NAMED_BY_EVENT, &values![event])
}

/// The attribute with this uuid in each event where it claims something.
pub(in crate::ledger) fn claiming_as(
    tx: &Transaction<'_>,
    attribute: Uuid,
) -> Result<Vec<ClaimingAttribute>> {
    let mut named: Vec<ClaimingAttribute> = tx.rows(&NAMED_BY_ATTRIBUTE, &values![attribute])?;
    // DISTINCT would have SQLite read each row of the table, beside the index that has all of this.
    named.sort_unstable();
    named.dedup();
    Ok(named)
}

row! {
    /// A claim that was found by the spelling of its value.
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(in crate::ledger) struct SpelledClaim {
        pub object: Uuid,
        source: String,
        event: Uuid,
        attribute: Uuid,
        part: i16,
    }
}

/// The claims of a value with these spellings, in lower case, each once.
pub(in crate::ledger) fn spelled(
    tx: &Transaction<'_>,
    spellings: &[String],
) -> Result<Vec<SpelledClaim>> {
    let mut found: Vec<SpelledClaim> =
        tx.rows_each(&SPELLED, spellings.iter().map(|spelling| values![spelling]))?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
