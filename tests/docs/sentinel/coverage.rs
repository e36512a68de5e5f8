//! Tests that the how-to on the content for Sentinel lists which logs each observable is compared with: by
//! Sentinel's own rules, and by ours.

use std::collections::BTreeMap;
use std::fmt::Write;

use misp_sentinel_relay::pure::stix;
use serde_json::Value;

use super::source::{self, Rule};
use crate::page::{self, code};

const TABLE: &str = "ThreatIntelIndicators";

#[test]
fn the_page_lists_what_is_compared_with_what() {
    let tables = tables();
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    let rules = source::rules().rule;
    for rule in &rules {
        let all = read(rule, &tables);
        for kind in &rule.about.kinds {
            let cell = rows.entry(kind.clone()).or_default();
            let read = rule.only.get(kind).map_or_else(|| all.clone(), |only| only.join(", "));
            let gap = if cell.is_empty() { "" } else { "; " };
            write!(cell, "{gap}*{}*: {read}", rule.about.file).unwrap();
        }
    }
    let mut text =
        "| observable | Sentinel's own rules | the MISP rules |\n|---|---|---|\n".to_owned();
    for (kind, ours) in &rows {
        writeln!(text, "| {} | {} | {ours} |", code(kind), built_in(kind)).unwrap();
    }
    page::holds("docs/how-to/sentinel-content.md", &[("coverage", text)]);
}

/// The logs that a built-in rule compares the observable with.
fn built_in(kind: &str) -> &'static str {
    let row = stix::COMPARED.iter().find(|row| row.path.replace('\'', "") == kind);
    row.map_or("none", |row| row.logs)
}

/// The tables that a rule reads.
fn read(rule: &Rule, tables: &[String]) -> String {
    let query = rule.about.query();
    let words = |table: &&String| {
        query.split(|sign: char| !sign.is_alphanumeric()).any(|word| word == table.as_str())
    };
    let read: Vec<&str> = tables.iter().filter(words).map(String::as_str).collect();
    read.join(", ")
}

/// The tables of logs whose columns we have.
fn tables() -> Vec<String> {
    let all: Value = serde_json::from_str(&source::read("check/tables.json")).unwrap();
    let tables = all["tables"].as_object().unwrap().keys().cloned();
    tables.filter(|table| table != TABLE).collect()
}
