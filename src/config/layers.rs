//! Merges the defaults, the operator's file and the environment into one map from dotted key paths to values.
//! Later layers override earlier ones.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::excerpt::Excerpt;
use super::mistake::{Mistake, Mistakes, Problem, SettingOrigin};
use super::unreadable::why_unreadable;

/// The defaults: every key with its documentation, compiled in.
pub const EXAMPLE: &str = include_str!("../../config.toml.example");

/// The file that is read if it exists and no other file is named.
pub const DEFAULT_FILE: &str = "/etc/misp-sentinel-relay/config.toml";

/// The environment variable that names another file.
pub const FILE_VARIABLE: &str = "MSR_CONFIG";

/// The section of the example that holds the defaults of every target.
const TEMPLATE: &str = "target.sentinel.";

/// The tables that count as one value, whatever keys they hold.
const VERBATIM: [&str; 5] =
    ["misp.search", "convert.types", "convert.roles", "indicator.threat_types", "policy.tlp_tags"];

/// The section of the only source.
pub const ONE_SOURCE: &str = "misp";

/// The beginning of the sections of several sources.
pub(super) const SOURCE: &str = "source.";

/// Returns whether a table counts as one value: one of [`VERBATIM`], also in the policy of a target.
fn is_verbatim(path: &str) -> bool {
    VERBATIM.contains(&for_all(path).as_ref())
}

/// Returns the key with the default of another key: `policy.max_age` for `target.NAME.policy.max_age`, and `misp.url`
/// for `source.NAME.url`.
fn for_all(path: &str) -> Cow<'_, str> {
    let below = |section: &str| path.strip_prefix(section)?.split_once('.').map(|(_, leaf)| leaf);
    match (below("target."), below(SOURCE)) {
        (Some(leaf), _) => leaf.into(),
        (None, Some(leaf)) => format!("{ONE_SOURCE}.{leaf}").into(),
        (None, None) => path.into(),
    }
}

/// Returns the names that the keys and sections of the configuration are made of.
fn known_names() -> BTreeSet<String> {
    let Ok((template, leaves)) = defaults() else { return BTreeSet::new() };
    let paths = template.keys().chain(leaves.keys());
    paths.flat_map(|path| path.split('.')).map(str::to_owned).collect()
}

/// Returns the default of a key as text. Of a list it returns the last element.
pub(super) fn default_text(path: &str) -> Option<String> {
    let (_, leaves) = defaults().ok()?;
    match &leaves.get(for_all(path).as_ref())?.raw {
        Raw::Text(text) => Some(text.clone()),
        Raw::Toml(toml::Value::Array(items)) => items.last()?.as_str().map(str::to_owned),
        Raw::Toml(value) => value.as_str().map(str::to_owned),
    }
}

const PREFIX: &str = "MSR_";

/// The value of a key as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    Toml(toml::Value),
    /// A value from the environment. The reader decides its type.
    Text(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf {
    pub(super) raw: Raw,
    pub(super) origin: SettingOrigin,
}

impl Leaf {
    /// Returns whether it is an empty table.
    pub(super) fn is_section(&self) -> bool {
        matches!(self.raw, Raw::Toml(toml::Value::Table(_)))
    }

    /// Returns whether it is the empty text.
    pub(super) fn is_empty(&self) -> bool {
        match &self.raw {
            Raw::Text(text) | Raw::Toml(toml::Value::String(text)) => text.is_empty(),
            Raw::Toml(_) => false,
        }
    }
}

pub(super) type Leaves = BTreeMap<String, Leaf>;

/// The merged layers as one map, and the names of the targets in it.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) leaves: Leaves,
    pub(super) targets: BTreeSet<String>,
    /// The names of the sources. Empty: `[misp]` is the only one.
    pub(super) sources: BTreeSet<String>,
    /// The keys of a target, without its name, with their defaults.
    pub(super) template: Leaves,
    /// The environment variables without the prefix `MSR_`.
    pub(super) environment: BTreeMap<String, String>,
}

/// The sources of a configuration besides the defaults: the file, and the environment of this process.
#[derive(Clone)]
pub struct ConfigSource {
    /// The file that overrides the defaults. `None`: the one that `MSR_CONFIG` names, or else
    /// [`DEFAULT_FILE`] if it exists.
    pub file: Option<PathBuf>,
    /// The environment. Its `MSR_` variables override the file.
    pub environment: Vec<(String, String)>,
}

/// The environment is left out, since it holds secrets.
impl fmt::Debug for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigSource").field("file", &self.file).finish_non_exhaustive()
    }
}

impl ConfigSource {
    pub fn new(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let environment = environment.into_iter().collect();
        Self { file: file.map(Path::to_path_buf), environment }
    }

    /// Returns the file that is read; `None` if there is none.
    pub fn used_file(&self) -> Option<PathBuf> {
        let value = |name: &str| {
            let named = self.environment.iter().find(|(other, _)| other == name);
            named.map(|(_, value)| value.as_str())
        };
        self.file.clone().or_else(|| usual_file(value(FILE_VARIABLE)))
    }

    /// Returns the names of the variables that are read, in order, and never their values.
    pub fn variables(&self) -> Vec<&str> {
        let names = self.environment.iter().map(|(name, _)| name.as_str());
        let mut names: Vec<&str> = names.filter(|name| name.starts_with(PREFIX)).collect();
        names.sort_unstable();
        names
    }
}

/// Merges the defaults and the source. Later ones override earlier ones.
///
/// # Errors
/// The file cannot be read as TOML. Then no other mistakes can be found.
pub(super) fn lay(source: &ConfigSource) -> Result<Layers, Mistakes> {
    let (environment, other): (BTreeMap<_, _>, BTreeMap<_, _>) =
        source.environment.iter().cloned().partition(|(name, _)| name.starts_with(PREFIX));
    let file = source.used_file();
    let mut own = file.as_deref().map(read_file).transpose()?.unwrap_or_default();

    let (template, mut leaves) = defaults()?;
    // Names of variables are ambiguous (`_` stands for `-` too), so known paths are tried before `path_of`.
    let known: Vec<String> = leaves.keys().chain(own.keys()).cloned().collect();
    own.extend(from_environment(environment, &known));

    let targets: BTreeSet<String> =
        own.iter().filter_map(|(path, leaf)| below("target.", path, leaf)).collect();
    // A target's defaults go below the operator's values, which `extend` lays over them.
    for name in &targets {
        for (key, leaf) in &template {
            leaves.insert(format!("target.{name}.{key}"), leaf.clone());
        }
    }
    let sources = sources(&own, &mut leaves)?;
    leaves.extend(own);
    drop_empty_sections(&mut leaves);
    Ok(Layers { leaves, targets, sources, template, environment: other })
}

/// Removes empty sections such as `[expiry.days]`, which are no keys. An unknown section stays, and is
/// reported as a mistake.
fn drop_empty_sections(leaves: &mut Leaves) {
    let sections = leaves.iter().filter(|(_, leaf)| leaf.is_section()).map(|(path, _)| path);
    let empty: Vec<String> = sections.filter(|path| !is_verbatim(path)).cloned().collect();
    for path in empty {
        let inside = format!("{path}.");
        let is_overlay = path.ends_with(".policy") || path.ends_with(".delivery");
        let may_be_empty = path.starts_with("target.") && is_overlay;
        if may_be_empty || leaves.keys().any(|other| other.starts_with(&inside)) {
            leaves.remove(&path);
        }
    }
}

/// Returns the file that is read if the command line names none: `named` by the environment, or the usual one.
fn usual_file(named: Option<&str>) -> Option<PathBuf> {
    let named = named.filter(|path| !path.is_empty());
    let usual = || Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists());
    named.map(PathBuf::from).or_else(usual)
}

/// Parses the example. Returns the keys of a target (without the target's name), and all other keys.
fn defaults() -> Result<(Leaves, Leaves), Mistakes> {
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

fn read_file(path: &Path) -> Result<Leaves, Mistakes> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let problem = why_unreadable(&error);
        Mistakes::from(Mistake::new(&path.display().to_string(), SettingOrigin::Default, problem))
    })?;
    parse(&text, &SettingOrigin::File(path.to_path_buf()))
}

/// Parses TOML. In place of the line that a syntax error quotes stands one without what may be a secret.
fn parse(text: &str, origin: &SettingOrigin) -> Result<Leaves, Mistakes> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        let key = format!("line {line}, column {column}");
        let summary = error.message().lines().next().unwrap_or_default();
        let excerpt = Excerpt::of(text, line, column, &known_names()).map(Box::new);
        let problem = Problem { excerpt, ..Problem::new(format!("no TOML: {summary}")) };
        Mistakes::from(Mistake::new(&key, origin.clone(), problem))
    })?;
    let mut leaves = Leaves::new();
    flatten("", table, origin, &mut leaves);
    Ok(leaves)
}

/// Returns line and column of a byte offset, both from 1. The column counts characters.
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
        // It names the file, and is no key.
        .filter(|(name, _)| name != FILE_VARIABLE)
        .map(|(name, text)| {
            let path = names.get(&name).map_or_else(|| path_of(&name), |path| (*path).clone());
            (path, Leaf { raw: Raw::Text(text), origin: SettingOrigin::Environment(name) })
        })
        .collect()
}

/// Returns the environment variable of a path: `MSR_MISP__ZEROMQ__SILENCE` for `misp.zeromq.silence`.
pub fn variable(path: &str) -> String {
    let name = path.replace('.', "__").replace('-', "_").to_uppercase();
    format!("{PREFIX}{name}")
}

/// Returns the path for a variable that matches no known path: a target or source that only the environment sets, a
/// key of such a one, the days of an observable, or a mistake.
fn path_of(variable: &str) -> String {
    let lower = variable.trim_start_matches(PREFIX).to_lowercase();
    let levels: Vec<&str> = lower.split("__").collect();
    match levels.as_slice() {
        ["target", name, rest @ ..] if !rest.is_empty() => {
            format!("target.{}.{}", name.replace('_', "-"), rest.join("."))
        }
        ["source", name, rest @ ..] if !rest.is_empty() => {
            format!("{SOURCE}{}.{}", name.replace('_', "-"), rest.join("."))
        }
        ["expiry", "days", rest @ ..] => {
            format!("expiry.days.{}", rest.join(".").replace('_', "-"))
        }
        other => other.join("."),
    }
}

/// Returns the name of the target or source that a path below `section` belongs to.
fn below(section: &str, path: &str, leaf: &Leaf) -> Option<String> {
    let rest = path.strip_prefix(section)?;
    match rest.split_once('.') {
        Some((name, _)) => Some(name.to_owned()),
        None => leaf.is_section().then(|| rest.to_owned()),
    }
}

/// Says what to do with the settings of `[misp]` where there are sections `[source.NAME]` too.
fn two_forms(of_one: &[(&String, &Leaf)]) -> Problem {
    let what_to_do = |(path, leaf): &(&String, &Leaf)| {
        let SettingOrigin::Environment(variable) = &leaf.origin else {
            return format!("move {path}");
        };
        format!("unset {variable}")
    };
    let what_to_do: Vec<String> = of_one.iter().map(what_to_do).collect();
    Problem::new("[misp] is the form for one source, and there are sections [source.NAME]").hint(format!(
        "write this source as [source.NAME] too ({}); to go on with its ledger, give it the name that it has there: misp, unless misp.name was set",
        what_to_do.join(", ")
    ))
}

/// Returns the names of the sources, and gives each the defaults of `[misp]`, which then has none itself.
///
/// # Errors
/// The operator's settings hold both forms.
fn sources(own: &Leaves, leaves: &mut Leaves) -> Result<BTreeSet<String>, Mistakes> {
    let sources: BTreeSet<String> =
        own.iter().filter_map(|(path, leaf)| below(SOURCE, path, leaf)).collect();
    if sources.is_empty() {
        return Ok(sources);
    }
    let is_of_misp = |path: &str| for_all(path).split('.').next() == Some(ONE_SOURCE);
    let of_one = own.iter().filter(|(path, _)| !path.starts_with(SOURCE) && is_of_misp(path));
    let of_one: Vec<(&String, &Leaf)> = of_one.collect();
    if let [(path, leaf), ..] = of_one[..] {
        return Err(Mistake::new(path, leaf.origin.clone(), two_forms(&of_one)).into());
    }
    let of_misp = leaves.keys().filter(|path| is_of_misp(path)).cloned();
    for path in of_misp.collect::<Vec<_>>() {
        let Some(leaf) = leaves.remove(&path) else { continue };
        // The section has the name.
        let Some(key) = path.strip_prefix("misp.").filter(|key| *key != "name") else { continue };
        for name in &sources {
            leaves.insert(format!("{SOURCE}{name}.{key}"), leaf.clone());
        }
    }
    Ok(sources)
}
