//! Turns a ledger into one that an earlier release wrote, to test migrations.

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::relay::Relay;

/// Takes away what the schema got with clocks and later.
pub(crate) const BEFORE_CLOCKS: [&str; 11] = [
    "DROP INDEX claims_of_the_future",
    "ALTER TABLE claims DROP COLUMN heard_at",
    "ALTER TABLE delivered DROP COLUMN ended_at",
    "ALTER TABLE delivered DROP COLUMN confidence",
    "DELETE FROM counters WHERE name LIKE 'clock%'",
    "DROP INDEX reads_in_vain",
    "ALTER TABLE reads DROP COLUMN vain",
    "ALTER TABLE reads DROP COLUMN why",
    "DROP TABLE tag_changes",
    "DROP TABLE event_tags",
    "DROP INDEX claims_by_attribute",
];

/// Changes the ledger of a relay that has stopped, which then counts as one of before the migration
/// with this number.
pub(crate) async fn age(relay: &Relay, statements: &[&str], migration: i64) {
    let file = relay.folder().join("ledger.db");
    let mut database =
        SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    for statement in statements {
        sqlx::query(AssertSqlSafe(*statement)).execute(&mut database).await.unwrap();
    }
    let forget = "DELETE FROM _sqlx_migrations WHERE version >= $1";
    sqlx::query(forget).bind(migration).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
}
