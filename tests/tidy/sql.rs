//! Tests that SQL stands only in `ledger`, and that it uses no syntax that PostgreSQL could not read.

use regex::Regex;

use super::source::{Source, none, sources};

/// Lines outside of the ledger that name the database's crate or hold a statement.
fn strays(sources: &[Source]) -> Vec<String> {
    let statement = Regex::new(
        r"\b(SELECT|INSERT INTO|INSERT OR|UPDATE|DELETE FROM|CREATE TABLE|ALTER TABLE|PRAGMA|VACUUM)\b",
    )
    .unwrap();
    let mut strays = Vec::new();
    for source in sources.iter().filter(|source| !source.path.starts_with("src/ledger/")) {
        for (number, line) in source.code() {
            if line.contains("rusqlite") || statement.is_match(line) {
                strays.push(format!("{}:{number}: SQL belongs into src/ledger", source.path));
            }
        }
    }
    strays
}

#[test]
fn sql_stands_in_the_ledger_alone() {
    none(&strays(&sources()));
}

#[test]
fn a_stray_statement_is_found() {
    let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    for text in ["use rusqlite::Connection;", "let q = \"SELECT 1\";", "\"DELETE FROM claims\""] {
        assert_eq!(strays(&[file("src/deliver/a.rs", text)]).len(), 1, "{text}");
        assert_eq!(strays(&[file("src/ledger/a.rs", text)]), [""; 0], "{text}");
    }
    let error = file("src/deliver/a.rs", "fn f() -> Result<(), SqlError> {");
    assert_eq!(strays(&[error]), [""; 0]);
}

/// Whether a call with these arguments has more than one.
fn has_several(arguments: &str) -> bool {
    let mut depth = 0;
    for sign in arguments.chars() {
        match sign {
            '(' => depth += 1,
            ')' if depth == 0 => return false,
            ')' => depth -= 1,
            ',' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[test]
fn sql_takes_the_least_of_two_values_by_case() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/ledger/")) {
        for (number, line) in source.code() {
            let calls = ["MIN(", "MAX("].into_iter().flat_map(|call| line.split(call).skip(1));
            if calls.into_iter().any(has_several) {
                offences.push(format!("{}:{number}: PostgreSQL has no such function", source.path));
            }
        }
    }
    none(&offences);
}

/// What follows a sub-query that begins behind its opening parenthesis.
fn behind(query: &str) -> &str {
    let mut depth = 1;
    let end = query.char_indices().find(|(_, sign)| {
        depth += match sign {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    end.map_or("", |(place, _)| query.split_at(place + 1).1.trim_start())
}

#[test]
fn sql_names_each_query_that_it_reads_from() {
    assert_eq!(behind("SELECT (1)) AS held"), "AS held");
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/ledger/")) {
        let words: Vec<&str> = source.production().split_whitespace().collect();
        let text = words.join(" ");
        for begin in ["FROM (SELECT", "JOIN (SELECT", "FROM ( SELECT", "JOIN ( SELECT"] {
            let nameless = text
                .split(begin)
                .skip(1)
                .filter(|query| !behind(query).starts_with("AS "))
                .map(|query| query.chars().take(60).collect::<String>());
            offences.extend(nameless.map(|query| {
                format!("{}: PostgreSQL before 16 wants a name for (SELECT{query}", source.path)
            }));
        }
    }
    none(&offences);
}
