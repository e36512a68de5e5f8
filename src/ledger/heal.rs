//! What catch-up asks the ledger: which gaps are open, which heads are news, which events should
//! exist.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{Ledger, push_uuids};
use crate::notice::{Gap, GapReason};

/// Something may have been missed, and no catch-up has begun late enough after it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct OpenGap {
    intake: String,
    reason: String,
    event: Uuid,
    /// Unix milliseconds.
    pub until: i64,
}

impl OpenGap {
    /// The event that the dropped notice was about, where it is known.
    #[must_use]
    pub fn event(&self) -> Option<Uuid> {
        (!self.event.is_nil()).then_some(self.event)
    }
}

/// The head of an event, as a listing shows it; times are MISP's, Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub event: Uuid,
    pub timestamp: i64,
    /// 0: never published.
    pub publication: i64,
    pub published: bool,
    /// Attributes.
    pub weight: i64,
}

#[derive(Debug, sqlx::FromRow)]
struct Known {
    event: Uuid,
    deleted: bool,
    read_timestamp: i64,
    read_publication: i64,
    read_published: bool,
    read_at: i64,
}

impl Known {
    /// Whether the last read showed the same, and did so after that second was over.
    fn is_same(&self, head: &Head) -> bool {
        !self.deleted
            && self.read_timestamp == head.timestamp
            && self.read_publication == head.publication
            && self.read_published == head.published
            && head.timestamp.max(head.publication) < self.read_at
    }
}

/// Ids a statement.
const CHUNK: usize = 500;

impl Ledger {
    /// Gaps that no catch-up has healed.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn open_gaps(&self, source: &str) -> sqlx::Result<Vec<OpenGap>> {
        sqlx::query_as("SELECT intake, reason, event, until FROM gaps WHERE source = $1")
            .bind(source)
            .fetch_all(&self.readers)
            .await
    }

    /// These gaps are healed, unless they went on meanwhile.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn heal(&self, source: &str, gaps: &[OpenGap]) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        for gap in gaps {
            sqlx::query(
                "DELETE FROM gaps WHERE source = $1 AND intake = $2 AND reason = $3
                 AND event = $4 AND until = $5",
            )
            .bind(source)
            .bind(&gap.intake)
            .bind(&gap.reason)
            .bind(gap.event)
            .bind(gap.until)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await
    }

    /// Those of the heads that say something else than the last read of their event, or of which no
    /// read is known; what was never published, or not since `window` (Unix seconds), counts only
    /// where the ledger holds something of it.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn news(
        &self,
        source: &str,
        heads: &[Head],
        window: Option<i64>,
    ) -> sqlx::Result<Vec<Head>> {
        let within = |head: &Head| window.is_none_or(|since| head.publication >= since);
        let mut news = Vec::new();
        for heads in heads.chunks(CHUNK) {
            let known = self.known(source, heads).await?;
            news.extend(heads.iter().filter(|head| match known.get(&head.event) {
                Some(known) => !known.is_same(head),
                None => (head.published || head.publication > 0) && within(head),
            }));
        }
        Ok(news)
    }

    /// Those of the heads whose events matter: published at some time, or known here.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn worth_reading(&self, source: &str, heads: &[Head]) -> sqlx::Result<Vec<Head>> {
        let mut worth = Vec::new();
        for heads in heads.chunks(CHUNK) {
            let known = self.known(source, heads).await?;
            worth.extend(heads.iter().filter(|head| {
                head.published || head.publication > 0 || known.contains_key(&head.event)
            }));
        }
        Ok(worth)
    }

    async fn known(&self, source: &str, heads: &[Head]) -> sqlx::Result<HashMap<Uuid, Known>> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT event, deleted_at IS NOT NULL AS deleted, read_timestamp, read_publication,
                 read_published, read_at
             FROM events WHERE source = ",
        );
        query.push_bind(source);
        let events: Vec<Uuid> = heads.iter().map(|head| head.event).collect();
        push_uuids(&mut query, " AND event IN ", &events);
        let rows: Vec<Known> = query.build_query_as().fetch_all(&self.readers).await?;
        Ok(rows.into_iter().map(|row| (row.event, row)).collect())
    }

    /// Events that are not deleted, in the order of their uuids, those after `after`.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn live_events(
        &self,
        source: &str,
        after: Uuid,
        limit: usize,
    ) -> sqlx::Result<Vec<Uuid>> {
        sqlx::query_scalar(
            "SELECT event FROM events
             WHERE source = $1 AND event > $2 AND deleted_at IS NULL ORDER BY event LIMIT $3",
        )
        .bind(source)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
    }

    /// Whether anything of this source claims something.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn has_claims(&self, source: &str) -> sqlx::Result<bool> {
        let one: Option<i64> = sqlx::query_scalar("SELECT 1 FROM claims WHERE source = $1 LIMIT 1")
            .bind(source)
            .fetch_optional(&self.readers)
            .await?;
        Ok(one.is_some())
    }

    /// Has catch-up look again at once, as after a gap.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn look_again(&self, source: &str, now: i64) -> sqlx::Result<()> {
        let since = std::time::SystemTime::now();
        let gap = Gap {
            reason: GapReason::Asked,
            intake: "operator".into(),
            since,
            event: None,
            publication: false,
        };
        self.record_gap(source, &gap, now, now).await?;
        self.shared.asked.notify_waiters();
        Ok(())
    }

    /// Stores how far a listing has come.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn move_cursors(&self, source: &str, cursors: &[(&str, i64)]) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        for (name, value) in cursors {
            store_cursor(&mut tx, source, name, *value).await?;
        }
        tx.commit().await
    }

    /// How far a listing has come, in MISP's time.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn cursor(&self, source: &str, name: &str) -> sqlx::Result<Option<i64>> {
        sqlx::query_scalar("SELECT value FROM cursors WHERE source = $1 AND name = $2")
            .bind(source)
            .bind(name)
            .fetch_optional(&self.readers)
            .await
    }

    /// Stores a value under a name, for the tasks that talk to MISP.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn remember(&self, name: &str, value: &Value) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        super::start::store_setting(&mut tx, name, &value.to_string()).await?;
        tx.commit().await
    }

    /// What [`Ledger::remember`] stored.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn remembered(&self, name: &str) -> sqlx::Result<Option<Value>> {
        let text: Option<String> = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.readers)
            .await?;
        text.map(|text| super::wanted::decode(&text)).transpose()
    }
}

async fn store_cursor(
    connection: &mut SqliteConnection,
    source: &str,
    name: &str,
    value: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO cursors (source, name, value) VALUES ($1, $2, $3)
         ON CONFLICT (source, name) DO UPDATE SET value = excluded.value",
    )
    .bind(source)
    .bind(name)
    .bind(value)
    .execute(connection)
    .await?;
    Ok(())
}
