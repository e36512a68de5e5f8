//! Reads the settings that say what MISP's words mean: which attribute types and object roles count, and the
//! tables of tags.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use wildmatch::WildMatch;

use super::mistake::Problem;
use super::reader::{Reader, did_you_mean, nearest, shown};
use super::unseen::as_meant;
use crate::pure::convert::{self, TypeRow};
use crate::pure::policy::{Switches, UrlForms};
use crate::pure::stix::{ContextKind, TagRules};

const TYPES: &str = "convert.types";
const ROLES: &str = "convert.roles";

/// Reads `[convert]`.
pub(super) fn switches(reader: &mut Reader) -> Switches {
    Switches {
        types: types(reader),
        roles: roles(reader),
        urls: reader.word("convert.url_root", UrlForms::Both),
    }
}

/// Reads the switches of `[convert.types]`. The environment sets them as one JSON object, or with a variable
/// for each type: `MSR_CONVERT__TYPES__FILENAME_MD5` is that of `filename|md5`.
fn types(reader: &mut Reader) -> BTreeMap<String, bool> {
    const ALLOWED: &str =
        "a table of attribute types, each true or false; in the environment a JSON object";
    let table = reader.table(TYPES, ALLOWED);
    let mut switches = reader.lines(TYPES, ALLOWED, table, |types, on| {
        let on = on_or_off(on)?;
        unknown(types).map_or(Ok(on), Err)
    });
    for name in reader.keys_below(TYPES) {
        let key = format!("{TYPES}.{name}");
        let on = reader.flag(&key);
        match convert::types().iter().find(|row| variable(row.name) == name) {
            Some(row) if row.skipped().is_none() => drop(switches.insert(row.name.to_owned(), on)),
            _ => reader.refuse(&key, &name, ALLOWED, "no type that is converted"),
        }
    }
    switches
}

/// Returns a type as it stands at the end of a variable's name, in lower case.
fn variable(name: &str) -> String {
    let character = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    name.chars().map(character).collect()
}

/// Returns why a switch would have no effect. `None`: it has one.
fn unknown(types: &str) -> Option<Problem> {
    let pattern = WildMatch::new_case_insensitive(types);
    let mut named = convert::types().iter().filter(|row| pattern.matches(row.name));
    let reason = named.next().map(TypeRow::skipped);
    if reason == Some(None) || named.any(|row| row.skipped().is_none()) {
        return None;
    }
    Some(match reason.flatten() {
        Some(reason) => Problem::new(format!("is never converted: {}", reason.word()))
            .hint("docs/reference/mapping.md has the reasons"),
        None => no_type(types),
    })
}

fn no_type(text: &str) -> Problem {
    let types = convert::types().iter().map(|row| row.name);
    no_name(text, "attribute type", types, "docs/reference/mapping.md lists them")
}

/// Returns the problem that MISP has no `what` of this name, with the most similar one of `known` as a hint.
fn no_name(
    text: &str,
    what: &str,
    known: impl Iterator<Item = &'static str>,
    otherwise: &str,
) -> Problem {
    let hint = nearest(text, known).map_or_else(|| otherwise.to_owned(), did_you_mean);
    Problem::new(format!("{text:?} is no {what} of MISP")).hint(hint)
}

/// Reads a list of attribute types, with wildcards. A name that MISP does not have would match nothing, and
/// is refused.
pub(super) fn type_names(reader: &mut Reader, key: &str) -> Vec<String> {
    reader.names(key, "a list of attribute types of MISP, e.g. [\"ip-*\", \"domain\"]", |text| {
        let is_known = is_named(text, convert::types().iter().map(|row| row.name));
        if is_known { Ok(()) } else { Err(no_type(text)) }
    })
}

/// Reads a list of categories, with wildcards, with the same rule as `type_names`.
pub(super) fn category_names(reader: &mut Reader, key: &str) -> Vec<String> {
    let categories = convert::categories();
    reader.names(key, "a list of categories of MISP, e.g. [\"Network activity\"]", |text| {
        if is_named(text, categories.iter().copied()) {
            return Ok(());
        }
        let all = format!("MISP has {}", categories.join(", "));
        Err(no_name(text, "category", categories.iter().copied(), &all))
    })
}

/// Returns whether a name with wildcards matches one of `known`. Case does not matter.
fn is_named(text: &str, mut known: impl Iterator<Item = &'static str>) -> bool {
    let pattern = WildMatch::new_case_insensitive(text);
    known.any(|name| pattern.matches(name))
}

/// Reads the switches of `[convert.roles]`. In TOML `ddos.ip-dst = true` is the same as
/// `"ddos.ip-dst" = true`.
fn roles(reader: &mut Reader) -> BTreeMap<String, bool> {
    const ALLOWED: &str = "a table of roles (template.relation), each true or false; in the environment a JSON object";
    let table = flat(reader.table(ROLES, ALLOWED));
    reader.lines(ROLES, ALLOWED, table, |role, on| {
        let on = on_or_off(on)?;
        no_role(role, on).map_or(Ok(on), Err)
    })
}

fn on_or_off(value: &Value) -> Result<bool, Problem> {
    value.as_bool().ok_or_else(|| format!("{value} is neither true nor false").into())
}

/// Returns why a switch of a role is a mistake. `None`: it is none. MISP's and people's own templates decide
/// which roles are on by default, so of those only a name that looks mistyped is refused.
fn no_role(role: &str, on: bool) -> Option<Problem> {
    if has_effect(role) {
        return None;
    }
    if !role.contains(['.', '*']) {
        let problem = Problem::new("no role");
        return Some(problem.hint("a role is template.relation, e.g. \"ddos.ip-dst\""));
    }
    match (nearly(role), on) {
        (Some(meant), _) => Some(Problem::new("no role").hint(did_you_mean(&meant))),
        (None, true) => Some(
            Problem::new("no role that is off by default")
                .hint("docs/reference/mapping.md lists them as template.relation"),
        ),
        (None, false) => None,
    }
}

/// Returns the role, off by default, from which a name or its template differs by one typing error. Names
/// with two differences may be other roles, such as `dns-record.a-record` and `dns-record.ns-record`.
fn nearly(role: &str) -> Option<String> {
    let typed = role.to_lowercase();
    let is_slip = |typed: &str, known: &str| {
        !typed.contains('*') && strsim::damerau_levenshtein(typed, &known.to_lowercase()) == 1
    };
    let (template, relation) = typed.split_once('.')?;
    convert::roles().iter().find_map(|known| {
        let is_name = is_slip(&typed, &known.name());
        let is_template = is_slip(template, known.template);
        let other_template = || format!("{}.{relation}", known.template);
        is_name.then(|| known.name()).or_else(|| is_template.then(other_template))
    })
}

/// Returns nested tables as keys with dots.
fn flat(table: Map<String, Value>) -> Vec<(String, Value)> {
    let one = |(key, value): (String, Value)| {
        let Value::Object(inner) = value else { return vec![(key, value)] };
        flat(inner).into_iter().map(|(name, value)| (format!("{key}.{name}"), value)).collect()
    };
    table.into_iter().flat_map(one).collect()
}

/// Returns whether switching a role on changes anything.
fn has_effect(role: &str) -> bool {
    let pattern = WildMatch::new_case_insensitive(role);
    convert::roles()
        .iter()
        .map(convert::Role::name)
        .any(|name| pattern.matches(&name) || WildMatch::new_case_insensitive(&name).matches(role))
}

/// Reads the rules for tags.
pub(super) fn tags(reader: &mut Reader) -> TagRules {
    TagRules {
        confidence_from: reader.texts("indicator.confidence_from"),
        confidence: table(reader, "indicator.confidence", |reader, key| {
            reader.number(key, 0..=100_u8)
        }),
        kill_chain: table(reader, "indicator.kill_chain", Reader::text),
        category_phases: reader.flag("indicator.category_phases"),
        threat_types: threat_types(reader),
        default_threat_type: default_threat_type(reader),
        threat_level_labels: reader.flag("indicator.threat_level_labels"),
    }
}

/// Reads the kinds of context objects that are sent with indicators.
pub(super) fn context(reader: &mut Reader) -> BTreeSet<ContextKind> {
    const ALLOWED: &str = "a list of \"identity\", \"attack-pattern\", \"threat-actor\"";
    let kinds = reader.list("indicator.context", ALLOWED, |item| {
        let kind = item.as_str().and_then(ContextKind::from_word);
        kind.filter(|kind| *kind != ContextKind::Relationship)
            .ok_or_else(|| format!("{} is none of them", shown(item)).into())
    });
    kinds.into_iter().collect()
}

fn default_threat_type(reader: &mut Reader) -> String {
    const KEY: &str = "indicator.default_threat_type";
    let kind = reader.text(KEY).trim().to_owned();
    if kind.is_empty() {
        let problem = Problem::new("an indicator without a threat type")
            .hint("built-in rules of Sentinel put it into the title of their alert");
        reader.refuse(KEY, &kind, "a threat type, e.g. \"malicious-activity\"", problem);
    }
    kind
}

fn threat_types(reader: &mut Reader) -> BTreeMap<String, String> {
    const KEY: &str = "indicator.threat_types";
    const ALLOWED: &str =
        "a table of tags, each with a threat type; in the environment a JSON object";
    let table = reader.table(KEY, ALLOWED);
    reader.lines(KEY, ALLOWED, table, |tag, kind| {
        self::tag(tag)?;
        match kind.as_str().filter(|kind| !kind.trim().is_empty()) {
            Some(kind) => Ok(as_meant(kind)?.to_owned()),
            None => Err(format!("{kind} is no threat type").into()),
        }
    })
}

/// Checks the tag of a line in a table: it must not be empty or surrounded by invisible characters.
pub(super) fn tag(text: &str) -> Result<&str, Problem> {
    if text.trim().is_empty() { Err("an empty tag".into()) } else { as_meant(text) }
}

fn table<T>(
    reader: &mut Reader,
    section: &str,
    read: impl Fn(&mut Reader, &str) -> T,
) -> BTreeMap<String, T> {
    let mut table = BTreeMap::new();
    for tag in reader.keys_below(section) {
        let key = format!("{section}.{tag}");
        let value = read(reader, &key);
        match self::tag(&tag) {
            Ok(_) => drop(table.insert(tag, value)),
            Err(problem) => reader.fault(&key, problem),
        }
    }
    table
}
