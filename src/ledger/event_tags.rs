//! Which events carry a tag, by MISP's number of it: a frame that tells of a renamed or deleted tag
//! names no event.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::Writing;
use super::claims::ROWS;

/// A snapshot shows these tags of its event and of the event's attributes.
pub(super) async fn store(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    tags: &HashSet<i64>,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM event_tags WHERE source = $1 AND event = $2")
        .bind(source)
        .bind(event)
        .execute(&mut **tx)
        .await?;
    let tags: Vec<i64> = tags.iter().copied().filter(|tag| *tag != 0).collect();
    for tags in tags.chunks(ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO event_tags (source, event, tag) ");
        query.push_values(tags, |mut row, tag| {
            row.push_bind(source).push_bind(event).push_bind(*tag);
        });
        query.build().execute(&mut **tx).await?;
    }
    Ok(())
}

/// The living events that carry the tag.
pub(super) async fn carriers(tx: &mut Writing, source: &str, tag: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "SELECT t.event FROM event_tags t JOIN events e ON e.source = t.source AND e.event = t.event
         WHERE t.source = $1 AND t.tag = $2 AND e.deleted_at IS NULL ORDER BY t.event",
    )
    .bind(source)
    .bind(tag)
    .fetch_all(&mut **tx)
    .await
}
