//! Tests that what `monitoring` asks Prometheus for exists, that nothing is forgotten there, and that each panel and
//! each alert is explained.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use misp_sentinel_relay::metrics::{METRICS, Metric, PROCESS_METRICS};
use serde_json::Value;

use crate::page;

fn read(path: impl AsRef<Path>) -> String {
    let path = page::root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The boards with the pages that explain them.
fn boards() -> Vec<(Value, String)> {
    let folder = page::root().join("monitoring/grafana");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let is_board = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "json");
    let boards: Vec<_> = files.filter(is_board).collect();
    assert_eq!(boards.len(), 2, "{boards:?}");
    let explained = |file: PathBuf| {
        let board = serde_json::from_str(&read(&file)).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let page = name.strip_prefix("misp-sentinel-relay-").unwrap();
        (board, read(format!("monitoring/grafana/{page}.md")))
    };
    boards.into_iter().map(explained).collect()
}

/// All texts of this key, however deep.
fn texts<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                found.extend(member.as_str().filter(|_| name == key));
                texts(member, key, found);
            }
        }
        Value::Array(all) => all.iter().for_each(|one| texts(one, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn all_metrics() -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().chain(PROCESS_METRICS)
}

/// The metrics that a text names, histograms without their ends.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '_';
    let words = text.split(|sign| !is_part(sign));
    let ours = words
        .filter(|word| word.starts_with("misp_sentinel_relay_") || word.starts_with("process_"));
    let plain = |word: &str| {
        let ends = ["_bucket", "_sum", "_count"].iter();
        let base = ends.filter_map(|end| word.strip_suffix(end));
        let mut known = base.filter(|base| all_metrics().any(|metric| metric.name == *base));
        known.next().unwrap_or(word).to_owned()
    };
    ours.map(plain).collect()
}

#[test]
fn every_metric_that_boards_and_rules_name_exists_and_none_is_forgotten() {
    let known: BTreeSet<String> = all_metrics().map(|metric| metric.name.to_owned()).collect();
    let (mut on_boards, mut left_out) = (BTreeSet::new(), BTreeSet::new());
    for (board, page) in boards() {
        let mut expressions = Vec::new();
        for key in ["expr", "query", "definition"] {
            texts(&board, key, &mut expressions);
        }
        on_boards.extend(expressions.into_iter().flat_map(named));
        let list = page.split_once("\n## Left out\n").map(|(_, list)| list);
        left_out.extend(list.map(named).unwrap_or_default());
    }
    let in_rules = named(&read("monitoring/prometheus/rules.yml"));
    let in_tests = named(&read("monitoring/prometheus/rules_test.yml"));
    for names in [&on_boards, &left_out, &in_rules, &in_tests] {
        assert!(names.is_subset(&known), "{:?}", names.difference(&known));
    }
    let both: Vec<_> = on_boards.intersection(&left_out).collect();
    assert!(both.is_empty(), "on a board, and named as left out: {both:?}");
    let shown: BTreeSet<String> = on_boards.union(&left_out).cloned().collect();
    let forgotten: Vec<_> = known.difference(&shown).collect();
    assert!(forgotten.is_empty(), "on no board, and not named as left out: {forgotten:?}");
}

#[test]
fn every_panel_is_explained() {
    for (board, page) in boards() {
        let panels = board["panels"].as_array().unwrap();
        let is_panel = |panel: &&Value| panel["type"] != "row";
        let titles: Vec<&str> =
            panels.iter().filter(is_panel).map(|one| one["title"].as_str().unwrap()).collect();
        let explained: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        assert_eq!(titles, explained);
        assert!(titles.len() > 5);
        assert_eq!(board["schemaVersion"], 39);
        let mut sources = Vec::new();
        texts(&board["panels"], "uid", &mut sources);
        assert!(sources.iter().all(|uid| *uid == "${datasource}"), "{sources:?}");
    }
}

#[test]
fn every_alert_is_explained() {
    let rules = read("monitoring/prometheus/rules.yml");
    let page = read("docs/how-to/alerts.md");
    let names = |text: &'static str, of: &str| -> Vec<String> {
        let names = of.lines().filter_map(|line| line.trim_start().strip_prefix(text));
        names.map(str::to_owned).collect()
    };
    let alerts = names("- alert: ", &rules);
    assert_eq!(alerts, names("### ", &page));
    let links = names("runbook_url: ", &rules);
    let place = "https://github.com/misp-sentinel-relay/misp-sentinel-relay/blob/main/docs/how-to/alerts.md";
    let expected: Vec<String> =
        alerts.iter().map(|name| format!("{place}#{}", name.to_lowercase())).collect();
    assert_eq!(links, expected);
}

/// The sources record them as `metrics::degraded(Part::Rest, "late", …)`.
#[test]
fn every_degraded_state_has_its_alert() {
    let text = page::sources(&page::root().join("src"));
    let calls = text.split("metrics::degraded(Part::").skip(1);
    let states: BTreeSet<String> = calls
        .map(|call| {
            let part: String = call.chars().take_while(char::is_ascii_alphabetic).collect();
            let reason = call.split('"').nth(1).unwrap();
            format!("part=\"{}\", reason=\"{reason}\"", part.to_lowercase())
        })
        .collect();
    assert!(states.len() > 15, "{states:?}");
    let rules = read("monitoring/prometheus/rules.yml");
    let missing: Vec<_> = states.iter().filter(|state| !rules.contains(*state)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
