//! Tests that the example configuration documents every key, and that pages name only variables that exist.

use std::collections::BTreeSet;
use std::path::PathBuf;

use misp_sentinel_relay::config::{EXAMPLE, FILE_VARIABLE, variable};

use super::source::{none, root};

#[test]
fn every_key_of_the_example_has_a_comment() {
    let mut offences = Vec::new();
    let mut before = "";
    for (index, line) in EXAMPLE.lines().enumerate() {
        // The rows of a table of tags explain themselves.
        let is_key = line.contains(" = ") && !line.starts_with(['#', '\'', '"']);
        if is_key && !before.starts_with('#') {
            offences.push(format!("config.toml.example:{}: {line}", index + 1));
        }
        before = line;
    }
    none(&offences);
}

/// Every key is read (a key that nobody reads would be an unknown one), and every key that the
/// code reads is there (a missing one is a mistake by itself).
#[test]
fn the_example_and_the_code_know_the_same_keys() {
    let least = [
        ("MSR_MISP__PUBLIC_URL", "https://misp.example.org"),
        ("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://misp-core:50000"),
        ("MSR_TARGET__SOC__WORKSPACE_ID", "11111111-2222-4333-8444-555555555555"),
        ("MSR_TARGET__SOC__TENANT_ID", "t"),
        ("MSR_TARGET__SOC__CLIENT_ID", "c"),
        ("MSR_TARGET__SOC__CLIENT_SECRET", "s"),
    ];
    let empty = tempfile::NamedTempFile::new().unwrap();
    let environment = least.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    if let Err(mistakes) = misp_sentinel_relay::config::load(Some(empty.path()), environment) {
        panic!("{mistakes}");
    }
}

/// The variables that operators read of are those of the configuration.
#[test]
fn every_variable_that_is_written_about_exists() {
    let files = ["README.md", "config.toml.example", "docker/Dockerfile"].map(PathBuf::from);
    let compose = ["compose.yaml", "compose.misp.yaml", "compose.metrics.yaml"]
        .map(|file| PathBuf::from("docker").join(file));
    let folders = ["tutorial", "how-to", "reference", "explanation", "decisions"].into_iter();
    let pages = folders.flat_map(|folder| {
        let pages = std::fs::read_dir(root().join("docs").join(folder)).unwrap();
        pages.map(|page| page.unwrap().path())
    });
    for file in files.into_iter().chain(compose).chain(pages) {
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        check_variables(&file.display().to_string(), &text);
    }
}

fn check_variables(file: &str, text: &str) {
    let known = variables();
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("MSR_"));
    let strange =
        words.filter(|word| *word != "MSR_" && *word != FILE_VARIABLE && !is_known(word, &known));
    let offences: Vec<String> = strange.map(|word| format!("{file}: {word}")).collect();
    none(&offences);
}

/// The variables of the example; for targets, what comes after the target's name.
fn variables() -> BTreeSet<String> {
    let table: toml::Table = EXAMPLE.parse().unwrap();
    let mut paths = Vec::new();
    walk("", &table, &mut paths);
    paths.iter().map(|path| variable(path).replace("MSR_TARGET__SENTINEL__", "")).collect()
}

fn walk(prefix: &str, table: &toml::Table, paths: &mut Vec<String>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        // An empty table is MISP's own: one variable.
        match value.as_table().filter(|inner| !inner.is_empty()) {
            Some(inner) => walk(&path, inner, paths),
            None => paths.push(path),
        }
    }
}

fn is_known(name: &str, known: &BTreeSet<String>) -> bool {
    if let Some(kind) = name.strip_prefix("MSR_CONVERT__TYPES__") {
        let types = misp_sentinel_relay::pure::convert::types().iter();
        return types.map(|row| variable(row.name)).any(|name| name == format!("MSR_{kind}"));
    }
    // A source has the keys of `[misp]`.
    let of_source = name.strip_prefix("MSR_SOURCE__").and_then(|rest| rest.split_once("__"));
    if let Some((_, key)) = of_source {
        return known.contains(&format!("MSR_MISP__{key}"));
    }
    let target = name.strip_prefix("MSR_TARGET__").and_then(|rest| rest.split_once("__"));
    // A target lays its own policy over the common one.
    let own = target.filter(|(_, key)| key.starts_with("POLICY__"));
    match (own, target) {
        (Some((_, key)), _) => known.contains(&format!("MSR_{key}")),
        (None, Some((_, key))) => known.contains(key),
        (None, None) => known.contains(name),
    }
}
