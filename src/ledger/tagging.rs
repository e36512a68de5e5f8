//! Applies frames about tags: a tag was put on, taken off, renamed or deleted.

use uuid::Uuid;

use super::change::Change;
use super::meant::{Meant, meant};
use super::owner::Unit;
use super::sql::Result;
use super::tables::keys::EventKey;
use super::tables::{claims, event_tags, tag_changes};
use super::tags::{self, Affected};
use super::whole::{Unfinished, merge_affected};
use super::writing::Context;
use crate::log_event::LogEvent;
use crate::notice::{EventRef, TagChange};
use crate::recent::Committed;

/// If the frame may be about several events, a tag that was put on counts in all of them, because it may forbid. A tag
/// that was taken off counts only if the event is certain, because that may permit. The tag is stored in any case,
/// because a publication that is older than the frame may arrive later.
pub(super) fn tagged(
    context: &Context,
    unit: &Unit<'_>,
    tag: &TagChange,
    change: &mut Change<'_>,
) -> Result<Vec<Unfinished>> {
    let source = context.source();
    tag_changes::store(unit, source, tag, change.opened_at)?;
    let by_number = EventRef { uuid: None, id: Some(tag.event_id) };
    let meant = meant(unit, source, &by_number)?;
    if !matches!(meant, Meant::One(_)) {
        // A read of an event that is unknown so far may have begun before this frame, which it may be about.
        context.ledger.note_strange(source);
    }
    context.ask_soon(unit, meant.events(), change.opened_at)?;
    let events = match &meant {
        Meant::One(_) => meant.events(),
        Meant::Several(_) if tag.attached => meant.events(),
        Meant::Several(_) | Meant::Dead(_) | Meant::Unknown => &[],
    };
    let mut unfinished = Vec::new();
    for event in events {
        unfinished.extend(tag_one(context, unit, *event, tag, change)?);
    }
    Ok(unfinished)
}

fn tag_one(
    context: &Context,
    unit: &Unit<'_>,
    event: Uuid,
    tag: &TagChange,
    change: &mut Change<'_>,
) -> Result<Option<Unfinished>> {
    let key = context.key(event);
    context.applied.invalidate(&event);
    change.event = Some(event);
    let affected = tags::apply(unit, key, tag, change.opened_at / 1_000)?;
    let marking = || context.views.iter().filter_map(|view| view.marking(&tag.tag)).max();
    if let Some(level) = tag.attached.then(marking).flatten() {
        unit.then(move |shared| shared.recent.marked(event, level));
    }
    let unfinished = merge_affected(context, unit, event, &affected, change)?;
    show(unit, key, &affected, tag.attached, change)?;
    if !change.is_empty() {
        let (tag, attached) = (tag.tag.clone(), tag.attached);
        let (altered, withdrawn) = (change.altered, change.withdrawn);
        unit.then(move |_| {
            tracing::info!(
                event = LogEvent::TagChanged.word(),
                misp_event = %event,
                tag,
                attached,
                altered,
                withdrawn,
                "A tag was put on or taken off, and that changed what is wanted"
            );
        });
    }
    Ok(unfinished)
}

/// Shows to people that a tag altered what an event claims.
fn show(
    unit: &Unit<'_>,
    key: EventKey<'_>,
    affected: &Affected,
    attached: bool,
    change: &Change<'_>,
) -> Result<()> {
    let claims = match affected {
        Affected::Nothing => return Ok(()),
        Affected::Objects(objects) => objects.len(),
        Affected::Event => claims::count_of_event(unit, key)?,
    };
    let (event, heard) = (key.event, change.opened_at);
    let is_withdrawal = change.withdrawn > 0 && change.altered == 0;
    unit.then(move |shared| {
        let news = Committed::tagged(event, claims, attached, is_withdrawal, heard);
        shared.recent.committed(news);
    });
    Ok(())
}

/// A tag was renamed or deleted: the events that carry it are read, once MISP has done so.
pub(super) fn altered(
    context: &Context,
    unit: &Unit<'_>,
    tag: i64,
    change: &Change<'_>,
) -> Result<()> {
    let events = event_tags::carriers(unit, context.source(), tag)?;
    if !events.is_empty() {
        let carriers = events.clone();
        let events = events.len();
        unit.then(move |shared| {
            carriers.iter().for_each(|event| shared.recent.retagged(*event));
            tracing::info!(
                event = LogEvent::TagAltered.word(),
                tag_id = tag,
                events,
                "A tag was renamed or deleted in MISP, and the events that carry it are read"
            );
        });
    }
    context.ask_soon(unit, &events, change.opened_at)
}
