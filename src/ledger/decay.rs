//! What MISP's decaying models say of attributes: told by reads alone, and kept beside the claims.

use std::collections::{HashMap, HashSet};

use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::change::Change;
use super::claims::ROWS;
use super::sightings::merge_anew;
use super::{Writing, push_uuids};
use crate::pure::misp::Decay;

/// Of a row of `claims`; NULL where no model applies.
pub(super) const SCORE: &str = "(SELECT d.score FROM decay d
    WHERE d.source = claims.source AND d.attribute = claims.attribute)";
pub(super) const DECAYED: &str = "(SELECT d.decayed FROM decay d
    WHERE d.source = claims.source AND d.attribute = claims.attribute)";

/// Takes in what a read says of an event's attributes, and merges anew what that changes.
pub(super) async fn take_in(
    tx: &mut Writing,
    event: (&str, Uuid),
    told: &[(Uuid, Option<Decay>)],
    change: &mut Change<'_>,
) -> sqlx::Result<()> {
    let mut touched = HashSet::new();
    for told in told.chunks(ROWS) {
        let attributes: Vec<Uuid> = told.iter().map(|(attribute, _)| *attribute).collect();
        let known = known(tx, event.0, &attributes).await?;
        for (attribute, decay) in told {
            if known.get(attribute) != decay.as_ref() {
                store(tx, event.0, (*attribute, *decay)).await?;
                touched.insert(*attribute);
            }
        }
    }
    merge_anew(tx, event, &touched, change).await
}

async fn known(
    tx: &mut Writing,
    source: &str,
    attributes: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, Decay>> {
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT attribute, score, decayed FROM decay WHERE source = ");
    query.push_bind(source);
    push_uuids(&mut query, " AND attribute IN ", attributes);
    let rows: Vec<(Uuid, u8, bool)> = query.build_query_as().fetch_all(&mut **tx).await?;
    let decay = |(attribute, score, decayed)| (attribute, Decay { decayed, score });
    Ok(rows.into_iter().map(decay).collect())
}

async fn store(
    tx: &mut Writing,
    source: &str,
    (attribute, decay): (Uuid, Option<Decay>),
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM decay WHERE source = $1 AND attribute = $2")
        .bind(source)
        .bind(attribute)
        .execute(&mut **tx)
        .await?;
    let Some(Decay { decayed, score }) = decay else { return Ok(()) };
    sqlx::query("INSERT INTO decay (source, attribute, score, decayed) VALUES ($1, $2, $3, $4)")
        .bind(source)
        .bind(attribute)
        .bind(score)
        .bind(decayed)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
