//! Reads the answers of Log Analytics' query API:
//! <https://learn.microsoft.com/en-us/azure/azure-monitor/logs/api/response-format>.

use serde::Deserialize;
use serde_json::Value;

use super::LogsError;

/// The name of the table that holds the rows of a query.
const PRIMARY: &str = "PrimaryResult";

/// The rows that a query found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogsTable {
    /// The names of the columns.
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
}

impl LogsTable {
    /// Returns the text in a column of a row. `None`: there is no such column, or something else in it.
    pub fn text<'r>(&self, row: &'r [Value], column: &str) -> Option<&'r str> {
        let place = self.columns.iter().position(|name| name == column)?;
        row.get(place)?.as_str()
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    tables: Vec<Table>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Table {
    name: String,
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
}

/// Reads the body of a 200.
pub(super) fn read(body: &[u8]) -> Result<LogsTable, LogsError> {
    let unreadable = |why: &str| LogsError::Unreadable(why.to_owned());
    if body.trim_ascii().is_empty() {
        return Err(unreadable("it is empty"));
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| unreadable(&place(&error)))?;
    if let Some(error) = answer.error {
        return Err(LogsError::Incomplete(words(&error)));
    }
    let primary = answer.tables.into_iter().find(|table| table.name == PRIMARY);
    let Table { columns, rows, .. } =
        primary.ok_or_else(|| unreadable("it holds no PrimaryResult"))?;
    Ok(LogsTable { columns: columns.into_iter().map(|column| column.name).collect(), rows })
}

/// Where an answer cannot be read; the words of the parser may quote it.
fn place(error: &serde_json::Error) -> String {
    format!("{:?} error at line {}, column {}", error.classify(), error.line(), error.column())
}

/// Returns code and message of an error, with those of the error within it, which says more.
pub(super) fn words(error: &Value) -> String {
    let mut words = Vec::new();
    let mut within = Some(error);
    // Real errors have two or three levels.
    for _ in 0..5 {
        let Some(one) = within else { break };
        let text = |key| one.get(key).and_then(Value::as_str).unwrap_or_default();
        let (code, message) = (text("code"), text("message"));
        words.push(format!("{code} {message}").trim().to_owned());
        within = one.get("innererror");
    }
    words.retain(|one| !one.is_empty());
    crate::pure::safe::line(&words.join(": ")).chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_stand_below_their_columns() {
        let body = br#"{"tables":[{"name":"PrimaryResult","columns":[{"name":"A","type":"string"},{"name":"B","type":"long"}],"rows":[["x",1],["y",null]]}]}"#;
        let table = read(body).unwrap();
        let first = &table.rows[0];
        assert_eq!((table.text(first, "A"), table.text(first, "B")), (Some("x"), None));
        assert_eq!((table.rows.len(), table.text(first, "C")), (2, None));
    }

    #[test]
    fn a_part_of_the_rows_is_no_answer() {
        let body = br#"{"tables":[{"name":"PrimaryResult","columns":[],"rows":[]}],"error":{"code":"PartialError","message":"There were some errors.","innererror":{"code":"-2133196797","message":"The results of this query exceed the set limit."}}}"#;
        let Err(LogsError::Incomplete(why)) = read(body) else { panic!() };
        assert!(why.contains("PartialError") && why.contains("exceed the set limit"), "{why}");
    }

    #[test]
    fn what_is_no_answer_is_unreadable() {
        for body in [&b""[..], b" ", b"null", b"<html>", br#"{"tables":[]}"#, br#"{"tables":1}"#] {
            assert!(matches!(read(body), Err(LogsError::Unreadable(_))), "{body:?}");
        }
    }
}
