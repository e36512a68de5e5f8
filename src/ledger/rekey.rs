//! Ledgers of releases in which all targets had one identity: there, under `identity = "attribute"`,
//! claims had the keys of their attributes' objects. They get those of their observables.

use sqlx::{SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::apply::STEP;
use super::claims::{ClaimKey, behind};
use super::start::{NAMESPACE, setting, store_setting};
use super::views::BY_ATTRIBUTE;
use crate::pure::stix::{Identity, Observable};

/// The setting of older releases, e.g. `Attribute in 8c500619-d1c3-41e9-8c16-d5239cb5451c`.
const BEFORE: &str = "identity";

/// All that names a view.
const VIEWS: [&str; 4] = [
    "UPDATE wanted SET view = view || $1",
    "UPDATE targets SET view = view || $1, identity = $2",
    "UPDATE inferred SET view = view || $1",
    "UPDATE settings SET name = name || $1 WHERE name LIKE 'view %'",
];

/// What a claim's object was is known by its observable from now on.
const WANTED: [&str; 2] = [
    "UPDATE wanted SET observable = $1
     WHERE view IN (SELECT view FROM targets) AND object = $2",
    "UPDATE wanted SET observable = $1
     WHERE view IN (SELECT view FROM targets) AND claimed = $2",
];

#[derive(Debug, sqlx::FromRow)]
struct Claim {
    #[sqlx(flatten)]
    key: ClaimKey,
    object: Uuid,
    path: String,
    value: String,
}

/// Brings the keys of an older release up to date: all of them, or none.
pub(super) async fn settle(writer: &SqlitePool) -> sqlx::Result<()> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    let Some(before) = setting(&mut tx, BEFORE).await? else { return Ok(()) };
    let (identity, namespace) = before.split_once(" in ").unwrap_or_default();
    if let (true, Ok(namespace)) = (identity == "Attribute", Uuid::try_parse(namespace)) {
        tracing::info!("giving all claims their new keys: once, and nothing is sent anew");
        name_by_observable(&mut tx, namespace).await?;
        for statement in VIEWS {
            let query = sqlx::query(statement).bind(BY_ATTRIBUTE);
            query.bind(Identity::Attribute.word()).execute(&mut *tx).await?;
        }
    }
    store_setting(&mut tx, NAMESPACE, namespace).await?;
    sqlx::query("DELETE FROM settings WHERE name = $1").bind(BEFORE).execute(&mut *tx).await?;
    tx.commit().await
}

async fn name_by_observable(tx: &mut SqliteConnection, namespace: Uuid) -> sqlx::Result<()> {
    let (mut place, step) = (ClaimKey::least(), i64::try_from(STEP).unwrap_or(i64::MAX));
    loop {
        let claims: Vec<Claim> = behind(&mut *tx, &place, "object, path, value", step).await?;
        let Some(last) = claims.last() else { return Ok(()) };
        place = last.key.clone();
        for Claim { key, object, path, value } in claims {
            let observable = Observable { path: path.into(), value }.id(&namespace);
            rename(tx, &key, observable).await?;
            for statement in WANTED {
                sqlx::query(statement).bind(observable).bind(object).execute(&mut *tx).await?;
            }
        }
    }
}

/// Gives a claim another key; the next snapshot writes it anew.
pub(super) async fn rename(
    tx: &mut SqliteConnection,
    claim: &ClaimKey,
    object: Uuid,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE claims SET object = $1, digest = 0
         WHERE source = $2 AND event = $3 AND attribute = $4 AND part = $5",
    )
    .bind(object)
    .bind(&claim.source)
    .bind(claim.event)
    .bind(claim.attribute)
    .bind(claim.part)
    .execute(tx)
    .await
    .map(drop)
}
