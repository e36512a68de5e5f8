//! Reads the sources of the content for Sentinel: queries, and what the rules and hunting queries are.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::page::root;

/// The source system by default. The queries hold it as a literal, so that each can be run as it is.
pub(super) const SOURCE: &str = "misp-sentinel-relay";

/// The id of our data connector.
pub(super) const CONNECTOR: &str = "MispSentinelRelay";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    pub rule: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hunting {
    pub query: Vec<About>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rule {
    #[serde(flatten)]
    pub about: About,
    pub severity: String,
    pub entities: Vec<Entity>,
    /// The tables that can hold a kind, where these are not all that the rule reads.
    #[serde(default)]
    pub only: BTreeMap<String, Vec<String>>,
}

/// What rules and hunting queries have in common.
#[derive(Debug, Deserialize)]
pub(super) struct About {
    /// The name of the file that is made.
    pub file: String,
    pub id: String,
    pub version: String,
    pub name: String,
    pub description: String,
    pub connectors: Vec<Connector>,
    pub tactics: Vec<String>,
    pub techniques: Vec<String>,
    /// The left-hand sides of patterns that it compares, without their quotes.
    pub kinds: Vec<String>,
    /// The files of `kql` that make the query, one after the other.
    pub parts: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connector {
    pub id: String,
    pub tables: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    pub kind: String,
    /// Columns of the query by the identifiers of the entity.
    pub fields: BTreeMap<String, String>,
}

impl About {
    pub(super) fn query(&self) -> String {
        let parts: Vec<String> = self.parts.iter().map(|part| kql(part)).collect();
        let query = parts.join("\n");
        if self.kinds.is_empty() {
            return query;
        }
        let kinds: Vec<String> = self.kinds.iter().map(|kind| format!("    {kind:?},\n")).collect();
        let kinds = kinds.concat();
        format!("let Kinds = dynamic([\n{}\n]);\n{query}", kinds.trim_end_matches(",\n"))
    }

    /// The connectors, ours first.
    pub(super) fn data_types(&self) -> Vec<(&str, Vec<&str>)> {
        let others = self.connectors.iter();
        let others = others.map(|one| (one.id.as_str(), one.tables.iter().map(String::as_str)));
        let others = others.map(|(id, tables)| (id, tables.collect()));
        [(CONNECTOR, vec!["ThreatIntelIndicators"])].into_iter().chain(others).collect()
    }
}

/// The source system as it stands in a query.
pub(super) fn literal() -> String {
    format!("\"{SOURCE}\"")
}

pub(super) fn rules() -> Rules {
    toml::from_str(&read("rules.toml")).unwrap()
}

pub(super) fn hunting() -> Hunting {
    toml::from_str(&read("hunting.toml")).unwrap()
}

pub(super) fn read(path: &str) -> String {
    let file = root().join("sentinel").join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A query, by its path below `kql`.
pub(super) fn kql(name: &str) -> String {
    read(&format!("kql/{name}.kql")).trim_end().to_owned()
}

/// The paths of all queries.
pub(super) fn all() -> BTreeSet<String> {
    let folder = root().join("sentinel/kql");
    let folders = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path().with_extension(""));
    files.map(|file| file.strip_prefix(&folder).unwrap().display().to_string()).collect()
}
