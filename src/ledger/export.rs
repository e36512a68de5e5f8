//! The ledger as lines of JSON, for people and scripts: one object a row, from one snapshot, never
//! more than a few rows in memory.

use futures::TryStreamExt;
use serde_json::value::RawValue;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column, Row, TypeInfo, ValueRef};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Ledger;

/// All tables, those first that explain the others. A webhook's unconfirmed bodies are told by their
/// size: they may be of 100 MB, and nothing of them counts yet.
const TABLES: [(&str, &str); 21] = [
    ("settings", "*"),
    ("counters", "*"),
    ("cursors", "*"),
    ("targets", "*"),
    ("events", "*"),
    ("claims", "*"),
    ("wanted", "*"),
    ("delivered", "*"),
    ("queue", "*"),
    ("tombstones", "*"),
    ("tag_changes", "*"),
    ("event_tags", "*"),
    ("announced", "source, event, received_at, length(body) AS body_bytes"),
    ("gaps", "*"),
    ("reads", "*"),
    ("held", "*"),
    ("inferred", "*"),
    ("sightings", "*"),
    ("decay", "*"),
    ("suppressed", "*"),
    ("suppressed_spellings", "*"),
];

/// Text columns that hold JSON.
const JSON: [&str; 4] = ["facts", "skipped", "summary", "body"];

/// Lines are handed on when so many bytes are together.
const CHUNK_BYTES: usize = 64 << 10;

impl Ledger {
    /// Writes every row as a line: `{"table":"claims","source":"misp",…}`. Columns are named as in
    /// the tables; ids are uuids, JSON columns JSON, flags `true` or `false`, times the numbers that
    /// the ledger keeps: Unix milliseconds, MISP's own (`timestamp`) Unix seconds. It is one moment
    /// of the ledger, whatever is written meanwhile, and the writer is not held up; but what is
    /// written meanwhile stays in the WAL, so whoever takes the chunks should not dawdle.
    ///
    /// Ends early when nobody takes the chunks any more. Returns how many rows were written.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn export(&self, chunks: mpsc::Sender<Vec<u8>>) -> sqlx::Result<u64> {
        let mut snapshot = self.readers.begin().await?;
        let mut rows_written = 0;
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        for (table, columns) in TABLES {
            let query = AssertSqlSafe(format!("SELECT {columns} FROM {table}"));
            let mut rows = sqlx::query(query).fetch(&mut *snapshot);
            while let Some(row) = rows.try_next().await? {
                write_row(&mut chunk, table, &row)?;
                rows_written += 1;
                if chunk.len() >= CHUNK_BYTES {
                    let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_BYTES));
                    if chunks.send(full).await.is_err() {
                        return Ok(rows_written);
                    }
                }
            }
        }
        // Whoever asked may be gone.
        chunks.send(chunk).await.ok();
        Ok(rows_written)
    }
}

fn write_row(line: &mut Vec<u8>, table: &str, row: &SqliteRow) -> sqlx::Result<()> {
    line.extend_from_slice(b"{\"table\":");
    write(line, table)?;
    for index in 0..row.len() {
        line.push(b',');
        write_member(line, row, index)?;
    }
    line.extend_from_slice(b"}\n");
    Ok(())
}

/// The columns of a row as a JSON object.
pub(super) fn object(row: &SqliteRow) -> sqlx::Result<String> {
    let mut json = vec![b'{'];
    for index in 0..row.len() {
        if index > 0 {
            json.push(b',');
        }
        write_member(&mut json, row, index)?;
    }
    json.push(b'}');
    String::from_utf8(json).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn write_member(line: &mut Vec<u8>, row: &SqliteRow, index: usize) -> sqlx::Result<()> {
    let name = row.column(index).name();
    write(line, name)?;
    line.push(b':');
    write_value(line, row, index, name)
}

fn write_value(
    line: &mut Vec<u8>,
    row: &SqliteRow,
    index: usize,
    column: &str,
) -> sqlx::Result<()> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return write(line, &None::<i64>);
    }
    let stored = value.type_info();
    let is_flag = row.column(index).type_info().name() == "BOOLEAN";
    match stored.name() {
        "TEXT" => {
            let text: &str = row.try_get_unchecked(index)?;
            let is_json = JSON.contains(&column);
            match is_json.then(|| serde_json::from_str::<&RawValue>(text)) {
                Some(Ok(json)) => write(line, json),
                Some(Err(_)) | None => write(line, text),
            }
        }
        "BLOB" => {
            let bytes: &[u8] = row.try_get_unchecked(index)?;
            match Uuid::from_slice(bytes) {
                Ok(uuid) => write(line, &uuid),
                Err(_) => write(line, &bytes),
            }
        }
        _ => {
            let number: i64 = row.try_get_unchecked(index)?;
            if is_flag { write(line, &(number != 0)) } else { write(line, &number) }
        }
    }
}

fn write<T: serde::Serialize + ?Sized>(line: &mut Vec<u8>, value: &T) -> sqlx::Result<()> {
    serde_json::to_writer(line, value).map_err(|error| sqlx::Error::Encode(error.into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::LedgerConfig;

    #[tokio::test]
    async fn no_table_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let config = LedgerConfig {
            data_dir: folder.path().to_owned(),
            fsync: false,
            tombstones: Duration::from_secs(1),
        };
        let ledger = Ledger::open(&config).await.unwrap();
        let mut tables: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'
             ORDER BY name",
        )
        .fetch_all(&ledger.readers)
        .await
        .unwrap();
        let mut exported: Vec<&str> = TABLES.iter().map(|(table, _)| *table).collect();
        exported.sort_unstable();
        tables.retain(|table| !table.starts_with("sqlite_"));
        assert_eq!(exported, tables);
    }
}
