//! What catch-up asks the ledger: which gaps are open, which heads are news, which events should
//! exist.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use super::apply::STEP;
use super::sql::{Result, SqlError, row, statements, values};
use super::{Ledger, start};
use crate::notice::{Gap, GapReason};

statements! {
    OPEN_GAPS(Text) = "SELECT intake, reason, event, until FROM gaps WHERE source = $1";
    HEAL(Text, Text, Text, Bytes, Integer) =
        "DELETE FROM gaps WHERE source = $1 AND intake = $2 AND reason = $3
         AND event = $4 AND until = $5";
    KNOWN(Text, Bytes) =
        "SELECT event, deleted_at IS NOT NULL, read_timestamp, read_publication, read_published,
             read_at
         FROM events WHERE source = $1 AND event = $2";
    LIVE(Text, Bytes, Integer) =
        "SELECT event FROM events
         WHERE source = $1 AND event > $2 AND deleted_at IS NULL ORDER BY event LIMIT $3";
    HAS_CLAIMS(Text) = "SELECT EXISTS (SELECT 1 FROM claims WHERE source = $1)";
    STORE_CURSOR(Text, Text, Integer) =
        "INSERT INTO cursors (source, name, value) VALUES ($1, $2, $3)
         ON CONFLICT (source, name) DO UPDATE SET value = excluded.value";
    CURSOR(Text, Text) = "SELECT value FROM cursors WHERE source = $1 AND name = $2";
}

row! {
    /// Something may have been missed, and no catch-up has begun late enough after it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct OpenGap {
        intake: String,
        reason: String,
        event: Uuid,
        /// Unix milliseconds.
        pub until: i64,
    }
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

row! {
    #[derive(Debug)]
    struct Known {
        event: Uuid,
        deleted: bool,
        read_timestamp: i64,
        read_publication: i64,
        read_published: bool,
        read_at: i64,
    }
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

/// Events looked up at once.
const CHUNK: usize = 500;

impl Ledger {
    /// Gaps that no catch-up has healed.
    pub async fn open_gaps(&self, source: &str) -> Result<Vec<OpenGap>> {
        let source = source.to_owned();
        self.read(move |tx| tx.rows(&OPEN_GAPS, &values![&source])).await
    }

    /// These gaps are healed, unless they went on meanwhile.
    pub async fn heal(&self, source: &str, gaps: &[OpenGap]) -> Result<()> {
        for gaps in gaps.chunks(STEP) {
            let (source, gaps) = (source.to_owned(), gaps.to_vec());
            self.write(move |unit| {
                let rows = gaps
                    .iter()
                    .map(|gap| values![&source, &gap.intake, &gap.reason, gap.event, gap.until]);
                unit.execute_each(&HEAL, rows)
            })
            .await?;
        }
        Ok(())
    }

    /// Those of the heads that say something else than the last read of their event, or of which no
    /// read is known; what was never published, or not since `window` (Unix seconds), counts only
    /// where the ledger holds something of it.
    pub async fn news(
        &self,
        source: &str,
        heads: &[Head],
        window: Option<i64>,
    ) -> Result<Vec<Head>> {
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
    pub async fn worth_reading(&self, source: &str, heads: &[Head]) -> Result<Vec<Head>> {
        let mut worth = Vec::new();
        for heads in heads.chunks(CHUNK) {
            let known = self.known(source, heads).await?;
            worth.extend(heads.iter().filter(|head| {
                head.published || head.publication > 0 || known.contains_key(&head.event)
            }));
        }
        Ok(worth)
    }

    async fn known(&self, source: &str, heads: &[Head]) -> Result<HashMap<Uuid, Known>> {
        let source = source.to_owned();
        let events: Vec<Uuid> = heads.iter().map(|head| head.event).collect();
        let rows: Vec<Known> = self
            .read(move |tx| {
                tx.rows_each(&KNOWN, events.iter().map(|event| values![&source, event]))
            })
            .await?;
        Ok(rows.into_iter().map(|row| (row.event, row)).collect())
    }

    /// Events that are not deleted, in the order of their uuids, those after `after`.
    pub async fn live_events(&self, source: &str, after: Uuid, limit: usize) -> Result<Vec<Uuid>> {
        let source = source.to_owned();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |tx| tx.rows(&LIVE, &values![&source, after, limit])).await
    }

    /// Whether anything of this source claims something.
    pub async fn has_claims(&self, source: &str) -> Result<bool> {
        let source = source.to_owned();
        let found = self.read(move |tx| tx.row(&HAS_CLAIMS, &values![&source])).await?;
        let (has,) = found.ok_or(SqlError::NoRow)?;
        Ok(has)
    }

    /// Has catch-up look again at once, as after a gap.
    pub async fn look_again(&self, source: &str, now: i64) -> Result<()> {
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
    pub async fn move_cursors(&self, source: &str, cursors: &[(&str, i64)]) -> Result<()> {
        let source = source.to_owned();
        let cursors: Vec<(String, i64)> =
            cursors.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        self.write(move |unit| {
            let rows = cursors.iter().map(|(name, value)| values![&source, name, value]);
            unit.execute_each(&STORE_CURSOR, rows)?;
            Ok(())
        })
        .await
    }

    /// How far a listing has come, in MISP's time.
    pub async fn cursor(&self, source: &str, name: &str) -> Result<Option<i64>> {
        let (source, name) = (source.to_owned(), name.to_owned());
        self.read(move |tx| tx.row(&CURSOR, &values![&source, &name])).await
    }

    /// Stores a value under a name, for the tasks that talk to MISP.
    pub async fn remember(&self, name: &str, value: &Value) -> Result<()> {
        let (name, value) = (name.to_owned(), value.to_string());
        self.write(move |unit| start::store_setting(unit, &name, &value)).await
    }

    /// What [`Ledger::remember`] stored.
    pub async fn remembered(&self, name: &str) -> Result<Option<Value>> {
        let name = name.to_owned();
        let text = self.read(move |tx| start::setting(tx, &name)).await?;
        text.map(|text| super::wanted::decode(&text)).transpose()
    }
}
