//! Tests that SQL stands only in the ledger's tables, each of which has a file that owns its statements.

use regex::Regex;

use super::source::{Source, none, sources};

/// Where SQL may stand: a file a table, the executor, and what gives a new file its schema.
const PLACES: [&str; 3] = ["src/ledger/tables/", "src/ledger/sql/", "src/ledger/open.rs"];

/// Lines elsewhere that name the database's crate or hold a statement.
fn strays(sources: &[Source]) -> Vec<String> {
    let statement = Regex::new(
        r"\b(SELECT|INSERT INTO|INSERT OR|UPDATE|DELETE FROM|CREATE TABLE|ALTER TABLE|PRAGMA|VACUUM)\b",
    )
    .unwrap();
    let mut strays = Vec::new();
    let is_elsewhere =
        |source: &&Source| PLACES.iter().all(|place| !source.path.starts_with(place));
    for source in sources.iter().filter(is_elsewhere) {
        for (number, line) in source.code() {
            if line.contains("rusqlite") || statement.is_match(line) {
                strays
                    .push(format!("{}:{number}: SQL belongs into src/ledger/tables", source.path));
            }
        }
    }
    strays
}

#[test]
fn sql_stands_in_the_tables_alone() {
    none(&strays(&sources()));
}

#[test]
fn a_stray_statement_is_found() {
    let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    for text in ["use rusqlite::Connection;", "let q = \"SELECT 1\";", "\"DELETE FROM claims\""] {
        assert_eq!(strays(&[file("src/deliver/a.rs", text)]).len(), 1, "{text}");
        assert_eq!(strays(&[file("src/ledger/a.rs", text)]).len(), 1, "{text}");
        assert_eq!(strays(&[file("src/ledger/tables/a.rs", text)]), [""; 0], "{text}");
    }
    let error = file("src/deliver/a.rs", "fn f() -> Result<(), SqlError> {");
    assert_eq!(strays(&[error]), [""; 0]);
}
