//! Merges the defaults, the operator's file and the environment into one map from dotted key paths to values.
//! Later layers override earlier ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::mistake::{Mistake, SettingOrigin};

/// The defaults: every key with its documentation.
pub const EXAMPLE: &str = include_str!("../../config.toml.example");

/// The file that is read when it exists and no other is named.
pub const DEFAULT_FILE: &str = "/etc/misp-sentinel-relay/config.toml";

/// The environment variable that names another file.
pub const FILE_VARIABLE: &str = "MSR_CONFIG";

/// The block of the example whose lines are the defaults of each target.
const TEMPLATE: &str = "target.sentinel.";

/// Tables that are one value, whatever stands in them.
const VERBATIM: [&str; 5] =
    ["misp.search", "convert.types", "convert.roles", "indicator.threat_types", "policy.tlp_tags"];

/// Whether a table is one value: one of [`VERBATIM`], also in the policy of a target.
fn is_verbatim(path: &str) -> bool {
    VERBATIM.contains(&for_all(path))
}

/// The key that a target's own one, such as `target.NAME.policy.max_age`, stands over.
fn for_all(path: &str) -> &str {
    let of_target = path.strip_prefix("target.").and_then(|rest| rest.split_once('.'));
    of_target.map_or(path, |(_, leaf)| leaf)
}

/// The text that the example gives the key; of a list, its last.
pub(super) fn default_text(path: &str) -> Option<String> {
    let (_, leaves) = defaults().ok()?;
    match &leaves.get(for_all(path))?.raw {
        Raw::Text(text) => Some(text.clone()),
        Raw::Toml(toml::Value::Array(items)) => items.last()?.as_str().map(str::to_owned),
        Raw::Toml(value) => value.as_str().map(str::to_owned),
    }
}

const PREFIX: &str = "MSR_";

/// A leaf as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    Toml(toml::Value),
    /// From the environment: its type is the reader's.
    Text(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf {
    pub(super) raw: Raw,
    pub(super) origin: SettingOrigin,
}

impl Leaf {
    /// A table without a line in it.
    pub(super) fn is_section(&self) -> bool {
        matches!(self.raw, Raw::Toml(toml::Value::Table(_)))
    }

    /// The empty text.
    pub(super) fn is_empty(&self) -> bool {
        match &self.raw {
            Raw::Text(text) | Raw::Toml(toml::Value::String(text)) => text.is_empty(),
            Raw::Toml(_) => false,
        }
    }
}

pub(super) type Leaves = BTreeMap<String, Leaf>;

/// The layers as one map, and the names of the targets in it.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) leaves: Leaves,
    pub(super) targets: BTreeSet<String>,
    /// The keys of a target, with their defaults.
    pub(super) template: Leaves,
    /// Variables that are no keys of ours.
    pub(super) environment: BTreeMap<String, String>,
}

/// Lays `file` and `environment` over the defaults.
///
/// # Errors
/// The mistakes of a file that cannot be read as TOML: nothing can be said of the rest then.
pub(super) fn lay(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Layers, Vec<Mistake>> {
    let (environment, other): (BTreeMap<_, _>, BTreeMap<_, _>) =
        environment.partition(|(name, _)| name.starts_with(PREFIX));
    let file = choose_file(file, &environment);
    let mut own = file.as_deref().map(read_file).transpose()?.unwrap_or_default();

    let (template, mut leaves) = defaults()?;
    let known: Vec<String> = leaves.keys().chain(own.keys()).cloned().collect();
    own.extend(from_environment(environment, &known));

    let targets: BTreeSet<String> =
        own.iter().filter_map(|(path, leaf)| target_of(path, leaf)).map(str::to_owned).collect();
    for name in &targets {
        for (key, leaf) in &template {
            leaves.insert(format!("target.{name}.{key}"), leaf.clone());
        }
    }
    leaves.extend(own);
    drop_empty_sections(&mut leaves);
    Ok(Layers { leaves, targets, template, environment: other })
}

/// `[expiry.days]` without a line is no key. An unknown section stays, and is a mistake.
fn drop_empty_sections(leaves: &mut Leaves) {
    let sections = leaves.iter().filter(|(_, leaf)| leaf.is_section()).map(|(path, _)| path);
    let empty: Vec<String> = sections.filter(|path| !is_verbatim(path)).cloned().collect();
    for path in empty {
        let inside = format!("{path}.");
        let overlays = [".policy", ".delivery"];
        let may_be_empty =
            path.starts_with("target.") && overlays.iter().any(|end| path.ends_with(end));
        if may_be_empty || leaves.keys().any(|other| other.starts_with(&inside)) {
            leaves.remove(&path);
        }
    }
}

fn choose_file(file: Option<&Path>, environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let named = environment.get(FILE_VARIABLE).filter(|path| !path.is_empty());
    file.map(Path::to_path_buf).or_else(|| named.map(PathBuf::from)).or_else(|| {
        let usual = PathBuf::from(DEFAULT_FILE);
        usual.exists().then_some(usual)
    })
}

/// The example's lines: those of a target (their keys without the target's name), and all others.
fn defaults() -> Result<(Leaves, Leaves), Vec<Mistake>> {
    let mut template = Leaves::new();
    let mut leaves = Leaves::new();
    for (path, leaf) in parse(EXAMPLE, &SettingOrigin::Default)? {
        match path.strip_prefix(TEMPLATE) {
            Some(key) => template.insert(key.to_owned(), leaf),
            None => leaves.insert(path, leaf),
        };
    }
    Ok((template, leaves))
}

fn read_file(path: &Path) -> Result<Leaves, Vec<Mistake>> {
    let origin = SettingOrigin::File(path.to_path_buf());
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, &origin),
        Err(error) => {
            let key = path.display().to_string();
            let problem = format!("cannot read the file: {error}");
            Err(vec![Mistake::new(&key, SettingOrigin::Default, problem)])
        }
    }
}

/// The message of a syntax error is taken without the line it quotes: that may hold a secret.
fn parse(text: &str, origin: &SettingOrigin) -> Result<Leaves, Vec<Mistake>> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        let key = format!("line {line}, column {column}");
        let summary = error.message().lines().next().unwrap_or_default();
        vec![Mistake::new(&key, origin.clone(), format!("no TOML: {summary}"))]
    })?;
    let mut leaves = Leaves::new();
    flatten("", table, origin, &mut leaves);
    Ok(leaves)
}

/// Line and column, from 1, in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let column = before.chars().rev().take_while(|character| *character != '\n').count();
    (before.matches('\n').count() + 1, column + 1)
}

fn flatten(prefix: &str, table: toml::Table, origin: &SettingOrigin, leaves: &mut Leaves) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        if let toml::Value::Table(inner) = &value
            && !inner.is_empty()
            && !is_verbatim(&path)
        {
            flatten(&path, inner.clone(), origin, leaves);
            continue;
        }
        leaves.insert(path, Leaf { raw: Raw::Toml(value), origin: origin.clone() });
    }
}

fn from_environment(environment: BTreeMap<String, String>, known: &[String]) -> Leaves {
    let names: BTreeMap<String, &String> =
        known.iter().map(|path| (variable(path), path)).collect();
    environment
        .into_iter()
        .filter(|(name, _)| name != FILE_VARIABLE)
        .map(|(name, text)| {
            let path = names.get(&name).map_or_else(|| path_of(&name), |path| (*path).clone());
            (path, Leaf { raw: Raw::Text(text), origin: SettingOrigin::Environment(name) })
        })
        .collect()
}

/// The environment variable of a path: `misp.zeromq.silence` is `MSR_MISP__ZEROMQ__SILENCE`.
pub fn variable(path: &str) -> String {
    let name = path.replace('.', "__").replace('-', "_").to_uppercase();
    format!("{PREFIX}{name}")
}

/// The path of a variable that names no path known so far: a target that only the environment
/// has, a key of one, an observable's days, or a mistake.
fn path_of(variable: &str) -> String {
    let lower = variable.trim_start_matches(PREFIX).to_lowercase();
    let levels: Vec<&str> = lower.split("__").collect();
    match levels.as_slice() {
        ["target", name, rest @ ..] if !rest.is_empty() => {
            format!("target.{}.{}", name.replace('_', "-"), rest.join("."))
        }
        ["expiry", "days", rest @ ..] => {
            format!("expiry.days.{}", rest.join(".").replace('_', "-"))
        }
        other => other.join("."),
    }
}

/// The target that a path belongs to.
fn target_of<'p>(path: &'p str, leaf: &Leaf) -> Option<&'p str> {
    let rest = path.strip_prefix("target.")?;
    match rest.split_once('.') {
        Some((name, _)) => Some(name),
        None => leaf.is_section().then_some(rest),
    }
}
