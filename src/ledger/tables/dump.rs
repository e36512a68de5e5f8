//! Every row of every table as JSON, for `ledger export`.

use std::ops::ControlFlow;

use serde::ser::Error as _;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::packed::unpack_column;
use crate::ledger::sql::{
    Columns, FromRow, Result, Statement, Transaction, Value, statements, values,
};

/// Declares all tables and the columns that are told of each, beside what they are joined with.
macro_rules! tables {
    ($($name:ident = $table:literal $columns:literal $(beside $joined:literal)?;)+) => {
        statements! {
            $($name() = concat!("SELECT ", $columns, " FROM ", $table $(, " ", $joined)?);)+
        }

        static TABLES: &[(&str, &Statement)] = &[$(($table, &$name)),+];
    };
}

// Those first that explain the others. A webhook's unconfirmed bodies are told by their size: they may be
// of 100 MB, and nothing of them counts yet.
tables! {
    SETTINGS = "settings" "*";
    COUNTERS = "counters" "*";
    CURSORS = "cursors" "*";
    TARGETS = "targets" "*";
    EVENTS = "events" "*";
    // A claim without its event is a fault, and an export must show it.
    CLAIMS = "claims" "e.source, e.event, claims.*"
        beside "LEFT JOIN events e ON e.number = claims.event_number";
    WANTED = "wanted" "*";
    DELIVERED = "delivered" "*";
    QUEUE = "queue" "*";
    TOMBSTONES = "tombstones" "*";
    TAG_CHANGES = "tag_changes" "*";
    EVENT_TAGS = "event_tags" "*";
    ANNOUNCED = "announced" "source, event, received_at, length(body) AS body_bytes";
    GAPS = "gaps" "*";
    READS = "reads" "*";
    HELD = "held" "*";
    INFERRED = "inferred" "*";
    SIGHTINGS = "sightings" "*";
    DECAY = "decay" "*";
    HITS = "hits" "*";
    ALERT_CURSORS = "alert_cursors" "*";
    OWN_SIGHTINGS = "own_sightings" "*";
    SUPPRESSED = "suppressed" "*";
    SUPPRESSED_SPELLINGS = "suppressed_spellings" "*";
}

/// Text columns that hold JSON.
const JSON: [&str; 4] = ["facts", "skipped", "summary", "body"];

/// Columns that hold a flag, which SQLite keeps as a number.
const FLAGS: [&str; 11] = [
    "attached",
    "confirm",
    "context",
    "decayed",
    "in_doubt",
    "ids_only",
    "local",
    "publication",
    "read_published",
    "resync",
    "revoke",
];

/// Appends every row of every table to `lines`, each as a line of JSON, and calls `written` after each, until it has
/// had enough; returns how many rows were written.
pub(in crate::ledger) fn write_all(
    tx: &Transaction<'_>,
    lines: &mut Vec<u8>,
    mut written: impl FnMut(&mut Vec<u8>) -> ControlFlow<()>,
) -> Result<u64> {
    let mut rows = 0;
    let mut flow = ControlFlow::Continue(());
    for (table, statement) in TABLES {
        tx.visit(statement, &values![], |row| {
            write_row(lines, table, row)?;
            rows += 1;
            flow = written(lines);
            Ok(flow)
        })?;
        if flow.is_break() {
            break;
        }
    }
    Ok(rows)
}

/// A row as a JSON object.
pub(in crate::ledger) struct JsonRow(pub String);

impl FromRow for JsonRow {
    fn from_row(row: &mut Columns<'_>) -> Result<Self> {
        let mut json = vec![b'{'];
        for index in 0..row.len() {
            if index > 0 {
                json.push(b',');
            }
            write_member(&mut json, row, index)?;
        }
        json.push(b'}');
        Ok(Self(String::from_utf8(json).map_err(serde_json::Error::custom)?))
    }
}

fn write_row(line: &mut Vec<u8>, table: &str, row: &Columns<'_>) -> Result<()> {
    line.extend_from_slice(b"{\"table\":");
    write(line, table)?;
    for index in 0..row.len() {
        line.push(b',');
        write_member(line, row, index)?;
    }
    line.extend_from_slice(b"}\n");
    Ok(())
}

fn write_member(line: &mut Vec<u8>, row: &Columns<'_>, index: usize) -> Result<()> {
    let name = row.name(index)?;
    write(line, name)?;
    line.push(b':');
    write_value(line, name, row.stored(index)?)
}

fn write_value(line: &mut Vec<u8>, column: &str, stored: Value<'_>) -> Result<()> {
    match stored {
        Value::Null => write(line, &None::<i64>),
        Value::Text(text) => {
            let is_json = JSON.contains(&column);
            match is_json.then(|| serde_json::from_str::<&RawValue>(text)) {
                Some(Ok(json)) => write(line, json),
                Some(Err(_)) | None => write(line, text),
            }
        }
        Value::Bytes(bytes) => match (unpack_column(column, bytes), Uuid::from_slice(bytes)) {
            (Some(text), _) => write_value(line, column, Value::Text(&text)),
            (None, Ok(uuid)) => write(line, &uuid),
            (None, Err(_)) => write(line, bytes),
        },
        Value::Id(uuid) => write(line, &uuid),
        Value::Boolean(flag) => write(line, &flag),
        Value::Integer(number) if FLAGS.contains(&column) => write(line, &(number != 0)),
        Value::Integer(number) => write(line, &number),
    }
}

fn write<T: serde::Serialize + ?Sized>(line: &mut Vec<u8>, value: &T) -> Result<()> {
    Ok(serde_json::to_writer(line, value)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each table of the schema, and its columns with their types.
    fn schema() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
        let mut tables: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
        for line in include_str!("../schema.sql").lines() {
            if let Some(table) = line.strip_prefix("CREATE TABLE ") {
                tables.push((table.trim_end_matches(" ("), Vec::new()));
            }
            let mut words = line.strip_prefix("    ").unwrap_or_default().split_whitespace();
            if let (Some(name), Some(kind)) = (words.next(), words.next()) {
                let kind = kind.trim_end_matches(',');
                if ["BIGINT", "BLOB", "BOOLEAN", "SMALLINT", "TEXT"].contains(&kind) {
                    tables.last_mut().unwrap().1.push((name, kind));
                }
            }
        }
        tables
    }

    #[test]
    fn no_table_is_left_out() {
        let exported: BTreeSet<&str> = TABLES.iter().map(|(table, _)| *table).collect();
        let schema: BTreeSet<&str> = schema().iter().map(|(table, _)| *table).collect();
        assert_eq!(exported, schema);
    }

    #[test]
    fn every_flag_is_known_by_its_name() {
        for (table, columns) in schema() {
            for (name, kind) in columns {
                let is_known = FLAGS.contains(&name);
                assert_eq!(is_known, kind == "BOOLEAN", "{table}.{name} is {kind}");
            }
        }
    }
}
