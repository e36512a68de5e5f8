//! The keys that several tables share.

use uuid::Uuid;

use crate::ledger::sql::{Columns, FromRow, Result, row};

/// An event of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ledger) struct EventKey<'a> {
    pub source: &'a str,
    pub event: Uuid,
}

impl<'a> EventKey<'a> {
    pub(in crate::ledger) fn new(source: &'a str, event: Uuid) -> Self {
        Self { source, event }
    }

    /// The claim of this event at a place.
    pub(in crate::ledger) fn claim(
        self,
        ClaimPlace { attribute, part }: ClaimPlace,
    ) -> ClaimKey<'a> {
        ClaimKey { event: self, attribute, part }
    }
}

row! {
    /// An [`EventKey`] to keep.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub(in crate::ledger) struct EventOfSource {
        pub source: String,
        pub event: Uuid,
    }
}

impl EventOfSource {
    pub(in crate::ledger) fn of(EventKey { source, event }: EventKey<'_>) -> Self {
        Self { source: source.to_owned(), event }
    }
}

/// A claim: an attribute of an event, and which of its observables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ledger) struct ClaimKey<'a> {
    pub event: EventKey<'a>,
    pub attribute: Uuid,
    /// 0, or 1 for the second observable of a composite, and for a URL as requests have it.
    pub part: i16,
}

/// The place of a claim within its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::ledger) struct ClaimPlace {
    pub attribute: Uuid,
    /// See [`ClaimKey`].
    pub part: i16,
}

impl ClaimPlace {
    /// Before the first claim.
    pub(in crate::ledger) const BEGINNING: Self = Self { attribute: Uuid::nil(), part: -1 };
}

impl FromRow for ClaimPlace {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { attribute: columns.take()?, part: columns.take()? })
    }
}

/// The position of a walk over the claims of an event: the last claim that it read. The walk goes in the order of
/// MISP's numbers, because the index has this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct EventCursor {
    pub attribute_id: i64,
    pub place: ClaimPlace,
}

impl EventCursor {
    /// Before the first claim.
    pub(in crate::ledger) const BEGINNING: Self =
        Self { attribute_id: i64::MIN, place: ClaimPlace::BEGINNING };
}

impl FromRow for EventCursor {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { attribute_id: columns.take()?, place: ClaimPlace::from_row(columns)? })
    }
}

/// The position of a walk over all claims: the last claim that it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct ClaimCursor {
    /// The relay's number of the event, see the table `events`.
    pub event_number: i64,
    pub at: EventCursor,
}

impl ClaimCursor {
    /// Before the first claim.
    pub(in crate::ledger) const BEGINNING: Self =
        Self { event_number: 0, at: EventCursor::BEGINNING };
}

impl FromRow for ClaimCursor {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { event_number: columns.take()?, at: EventCursor::from_row(columns)? })
    }
}

/// The key that all generations of an object share, and the number of the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ledger) struct GenerationKey {
    pub key: Uuid,
    /// 0: the object was never revoked.
    pub number: i16,
}
