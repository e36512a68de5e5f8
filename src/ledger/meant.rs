//! Finds the events that a frame may be about. A frame may name only MISP's number of the event. After a restore MISP
//! may give a number to another event, so several events in the ledger may have it.

use uuid::Uuid;

use super::sql::{Result, Transaction};
use super::tables::events;
use super::tables::keys::EventKey;
use crate::notice::EventRef;

/// The known events that a frame may be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// The event with this uuid, or the only living event with this number.
    One(Uuid),
    /// Several events that are not deleted have the number. Only reads can tell which of them has it now.
    Several(Vec<Uuid>),
    /// Only deleted events have the number. It may now belong to an event that the ledger does not know.
    Dead(Vec<Uuid>),
    Unknown,
}

impl Meant {
    pub(super) fn events(&self) -> &[Uuid] {
        match self {
            Self::One(event) => std::slice::from_ref(event),
            Self::Several(events) | Self::Dead(events) => events,
            Self::Unknown => &[],
        }
    }
}

pub(super) fn meant(tx: &Transaction<'_>, source: &str, event: &EventRef) -> Result<Meant> {
    if let Some(uuid) = event.uuid {
        let is_known = events::is_known(tx, EventKey::new(source, uuid))?;
        return Ok(if is_known { Meant::One(uuid) } else { Meant::Unknown });
    }
    // An event that was deleted before the ledger knew it has no number.
    let Some(number) = event.id.filter(|number| *number != 0) else { return Ok(Meant::Unknown) };
    let numbered = events::with_number(tx, source, number)?;
    let (live, dead): (Vec<_>, Vec<_>) = numbered.into_iter().partition(|one| one.lives);
    let uuids = |events: Vec<events::NumberedEvent>| events.iter().map(|one| one.event).collect();
    Ok(match (live.as_slice(), dead.is_empty()) {
        ([one], _) => Meant::One(one.event),
        ([], true) => Meant::Unknown,
        ([], false) => Meant::Dead(uuids(dead)),
        ([_, ..], _) => Meant::Several(uuids(live)),
    })
}
