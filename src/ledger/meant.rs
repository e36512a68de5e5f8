//! Which events a frame means. MISP's numbers are not for ever: after a restore, or when MISP counts
//! anew, another event has the number.

use uuid::Uuid;

use super::sql::{Result, Transaction, statements, values};
use crate::notice::EventRef;

statements! {
    KNOWN(Text, Bytes) = "SELECT event FROM events WHERE source = $1 AND event = $2";
    WITH_NUMBER(Text, Integer) =
        "SELECT event, deleted_at IS NULL FROM events WHERE source = $1 AND misp_id = $2
         ORDER BY timestamp DESC, event";
}

/// The known events that a frame may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// The event with this uuid, or the only living event with this number.
    One(Uuid),
    /// Several living events have the number: only reads tell whose it is now.
    Several(Vec<Uuid>),
    /// Only deleted events have the number: it may belong to an event that the ledger does not know.
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
        let known = tx.row(&KNOWN, &values![source, uuid])?;
        return Ok(known.map_or(Meant::Unknown, Meant::One));
    }
    // An event that was deleted before the ledger knew it has no number.
    let Some(number) = event.id.filter(|number| *number != 0) else { return Ok(Meant::Unknown) };
    let rows: Vec<(Uuid, bool)> = tx.rows(&WITH_NUMBER, &values![source, number])?;
    let (live, dead): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, lives)| *lives);
    let events = |rows: Vec<(Uuid, bool)>| rows.into_iter().map(|(event, _)| event).collect();
    Ok(match (live.as_slice(), dead.is_empty()) {
        ([(one, _)], _) => Meant::One(*one),
        ([], true) => Meant::Unknown,
        ([], false) => Meant::Dead(events(dead)),
        ([_, ..], _) => Meant::Several(events(live)),
    })
}
