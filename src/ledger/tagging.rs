//! Frames about tags: put on and taken off, renamed and deleted.

use uuid::Uuid;

use super::change::Change;
use super::meant::{Meant, meant};
use super::small::{merge_affected, read_soon};
use super::writer::Writer;
use super::{Writing, event_tags, tag_changes, tags};
use crate::notice::{EventRef, TagChange};

/// A tag forbids in every event that the frame may mean, and permits only in one that it means for
/// certain. Whatever it cannot be placed in may come with a publication from before it.
pub(super) async fn tagged(
    writer: &Writer,
    tx: &mut Writing,
    tag: &TagChange,
    change: &mut Change<'_>,
) -> sqlx::Result<Vec<Uuid>> {
    let source = writer.settings.source.as_str();
    tag_changes::remember(tx, source, tag, change.opened_at).await?;
    let by_number = EventRef { uuid: None, id: Some(tag.event_id) };
    let meant = meant(tx, source, &by_number).await?;
    if !matches!(meant, Meant::One(_)) {
        writer.ledger.note_strange();
    }
    read_soon(writer, tx, meant.events(), change).await?;
    let events = match &meant {
        Meant::One(_) => meant.events(),
        Meant::Several(_) if tag.attached => meant.events(),
        Meant::Several(_) | Meant::Dead(_) | Meant::Unknown => &[],
    };
    let mut unfinished = Vec::new();
    for event in events {
        unfinished.extend(tag_one(writer, tx, (*event, tag), change).await?);
    }
    Ok(unfinished)
}

async fn tag_one(
    writer: &Writer,
    tx: &mut Writing,
    (event, tag): (Uuid, &TagChange),
    change: &mut Change<'_>,
) -> sqlx::Result<Vec<Uuid>> {
    let key = (writer.settings.source.as_str(), event);
    writer.applied.invalidate(&event);
    change.event = Some(event);
    let affected = tags::apply(tx, key, tag, change.opened_at / 1_000).await?;
    let unfinished = merge_affected(writer, tx, (event, affected), change).await?;
    if !change.is_empty() {
        let attached = tag.attached;
        tracing::info!(%event, tag = tag.tag, attached, altered = change.altered, withdrawn = change.withdrawn, "tag changed");
    }
    Ok(unfinished)
}

/// A tag was renamed or deleted: the events that carry it are read, once MISP has done so.
pub(super) async fn altered(
    writer: &Writer,
    tx: &mut Writing,
    tag: i64,
    change: &Change<'_>,
) -> sqlx::Result<()> {
    let events = event_tags::carriers(tx, &writer.settings.source, tag).await?;
    if !events.is_empty() {
        tracing::info!(
            tag,
            events = events.len(),
            "a tag was renamed or deleted in MISP: the events that carry it are read"
        );
    }
    read_soon(writer, tx, &events, change).await
}
