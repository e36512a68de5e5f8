//! Tests that `docs/reference/mapping.md` agrees with the program's tables of attribute types, of object
//! roles, and of what Sentinel's rules compare.

use std::collections::BTreeSet;
use std::fmt::Write;

use misp_sentinel_relay::pure::convert::{self, Fidelity, TypeRow};
use misp_sentinel_relay::pure::stix;

use crate::page::{self, code};

#[test]
fn the_page_of_types_is_their_table() {
    let parts = [
        ("converted", converted()),
        ("skipped", skipped()),
        ("roles", roles()),
        ("rules", rules()),
        ("other observables", others()),
    ];
    page::holds("docs/reference/mapping.md", &parts);
}

fn converted() -> String {
    let mut text =
        "| MISP type | default | observable | trust | note |\n|---|---|---|---|---|\n".to_owned();
    for row in convert::types().iter().filter(|row| row.skipped().is_none()) {
        let default = if row.is_on() { "on" } else { "off" };
        let (name, observables) = (code(row.name), observables(row));
        let trust = row.trust().map_or("", Fidelity::word);
        writeln!(text, "| {name} | {default} | {observables} | {trust} | {} |", row.note).unwrap();
    }
    text
}

fn observables(row: &TypeRow) -> String {
    let paths = row.paths().into_iter().map(|path| match path {
        "stix" => "what it compares".to_owned(),
        rule if !rule.contains(':') => format!("pattern type `{rule}`"),
        path => code(path),
    });
    paths.collect::<Vec<String>>().join(", ")
}

fn skipped() -> String {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for row in convert::types() {
        let Some(reason) = row.skipped() else { continue };
        let name = match row.note {
            "" => code(row.name),
            note => format!("{} ({note})", code(row.name)),
        };
        match reasons.iter_mut().find(|(word, _)| *word == reason.word()) {
            Some((_, names)) => names.push(name),
            None => reasons.push((reason.word(), vec![name])),
        }
    }
    let rows = reasons.iter().map(|(word, names)| format!("| `{word}` | {} |\n", names.join(", ")));
    format!("| reason | MISP types |\n|---|---|\n{}", rows.collect::<String>())
}

fn roles() -> String {
    let mut text = "| role | reason | what it names |\n|---|---|---|\n".to_owned();
    for role in convert::roles() {
        let (name, reason) = (code(&role.name()), role.reason.word());
        writeln!(text, "| {name} | `{reason}` | {} |", role.note).unwrap();
    }
    text
}

fn rules() -> String {
    let mut text =
        "| observable | logs that a rule compares with it | spelling |\n|---|---|---|\n".to_owned();
    for row in stix::COMPARED {
        writeln!(text, "| {} | {} | {} |", code(row.path), row.logs, row.spelling).unwrap();
    }
    text
}

/// The observables that no built-in rule compares.
fn others() -> String {
    let paths = convert::types().iter().flat_map(TypeRow::paths).filter(|path| path.contains(':'));
    let is_compared = |path: &str| stix::COMPARED.iter().any(|row| row.path == path);
    let others: BTreeSet<String> = paths.filter(|path| !is_compared(path)).map(code).collect();
    format!("{}.", others.into_iter().collect::<Vec<String>>().join(", "))
}
