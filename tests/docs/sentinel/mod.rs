//! Makes the content for Sentinel in `sentinel/` from its sources, `sentinel/kql` and `sentinel/*.toml`, and
//! tests that what lies there is what they make. `UPDATE_DOCS=1` writes it.

mod analytics;
mod connector;
mod coverage;
mod solution;
mod source;
mod template;
mod workbook;

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use crate::page::root;
use source::{Hunting, Rules};

/// Sentinel refuses a longer query: "Scheduled analytics rules", learn.microsoft.com.
const LONGEST_QUERY: usize = 10_000;

/// The most alerts that a rule makes of one run, less the one that sums up.
const ALERTS: &str = "min_of(Row, 149)";

#[test]
fn what_lies_in_sentinel_is_what_its_sources_make() {
    let (rules, hunting) = (source::rules(), source::hunting());
    let mut made: Vec<(String, String)> = analytics::files(&rules);
    made.extend(analytics::hunting_files(&hunting));
    made.push((connector::FILE.to_owned(), json(&connector::page())));
    made.push((workbook::FILE.to_owned(), json(&workbook::workbook())));
    made.push((solution::FILE.to_owned(), json(&solution::packaging(&rules, &hunting))));
    made.push(("azuredeploy.json".to_owned(), json(&template::template(&rules, &hunting))));
    let is_to_be_written = std::env::var_os("UPDATE_DOCS").is_some();
    for (path, text) in &made {
        let file = root().join("sentinel").join(path);
        if is_to_be_written {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            is_same(&written, text),
            "sentinel/{path} is behind its sources; `UPDATE_DOCS=1 cargo test --test docs sentinel` rewrites it"
        );
    }
    none_is_left_over(&made);
}

/// A rule that was renamed leaves no file behind.
fn none_is_left_over(made: &[(String, String)]) {
    for folder in ["Analytic Rules", "Hunting Queries", "Workbooks", "Data Connectors", "Data"] {
        for entry in std::fs::read_dir(root().join("sentinel").join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = format!("{folder}/{name}");
            assert!(made.iter().any(|(known, _)| *known == path), "nothing makes sentinel/{path}");
        }
    }
}

/// Whether two texts say the same: as JSON where they are JSON, whatever the order of its members.
fn is_same(one: &str, other: &str) -> bool {
    let parsed = |text| serde_json::from_str::<Value>(text).ok();
    one == other || parsed(one).is_some_and(|one| parsed(other) == Some(one))
}

fn json(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

#[test]
fn every_rule_and_query_has_an_id_of_its_own() {
    let (Rules { rule }, Hunting { query }) = (source::rules(), source::hunting());
    let ids = rule.iter().map(|rule| &rule.about).chain(query.iter());
    let ids: Vec<Uuid> = ids.map(|about| about.id.parse().unwrap()).collect();
    assert!(ids.len() > 10);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

/// What Sentinel's limits ask for, and what an analyst needs from an alert.
#[test]
fn every_rule_fits_sentinel_and_names_the_indicator() {
    for rule in source::rules().rule {
        let (name, query) = (&rule.about.file, rule.about.query());
        assert!(query.len() <= LONGEST_QUERY, "{name}: {} characters", query.len());
        assert!(query.contains(ALERTS), "{name} makes an alert of each row");
        assert!(query.contains(&source::literal()), "{name} reads the indicators of others");
        assert!((1..=10).contains(&rule.entities.len()), "{name}");
        // What a rule asks of a workspace is what it reads.
        for table in rule.about.connectors.iter().flat_map(|connector| &connector.tables) {
            assert!(query.contains(table), "{name} does not read {table}");
        }
    }
}

/// Microsoft's packager refuses other characters.
#[test]
fn the_content_is_ascii() {
    for (path, text) in analytics::files(&source::rules()) {
        assert!(text.is_ascii(), "{path}");
    }
    for value in [workbook::workbook(), connector::page()] {
        assert!(json(&value).is_ascii());
    }
}

/// Each query is used: by a rule, a hunting query, the workbook, the connector's page, `verify --kql` or the relay.
#[test]
fn every_query_is_used() {
    let asked = ["verify/newest", "verify/one", "hits/alerts"];
    let mut used: BTreeSet<String> = asked.map(str::to_owned).into();
    used.extend(connector::QUERIES.map(str::to_owned));
    used.extend(workbook::queries());
    let (Rules { rule }, Hunting { query }) = (source::rules(), source::hunting());
    let about = rule.into_iter().map(|rule| rule.about).chain(query);
    used.extend(about.flat_map(|about| about.parts));
    assert_eq!(used, source::all());
}
