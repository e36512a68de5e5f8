//! Translates `misp_event_filters`, which holds parameters of MISP's restSearch. A parameter that a policy
//! can express becomes a policy setting, because the feed does not use restSearch. All others are copied to
//! `misp.search`.

use toml::Value;

use super::page::TomlPage;
use super::python::{Literal, Setting};

/// The parameters that the relay sets by itself, or that only shape the answer, and why they are left out.
const ALWAYS: [(&str, &str); 10] = [
    ("published", "what is published counts, always"),
    ("includeEventTags", "tags of events always count"),
    ("includeSightings", "sightings come with the feed"),
    ("includeDecayScore", "see misp.decay"),
    ("withAttachments", "attachments are never asked for"),
    ("limit", "see misp.rest.page_events"),
    ("page", "pages are the relay's own"),
    ("returnFormat", "JSON, always"),
    ("metadata", "whole events are read"),
    ("deleted", "what is deleted is asked for, to withdraw it"),
];

/// The parameters that become lists in `[policy]`: the list of what must be met, and the list of what must
/// not, if there is one.
const LISTS: [(&str, &str, Option<&str>); 7] = [
    ("tags", "tags_include", Some("tags_exclude")),
    ("org", "orgs_include", Some("orgs_exclude")),
    ("type", "types_include", Some("types_exclude")),
    ("category", "categories_include", Some("categories_exclude")),
    ("threat_level_id", "threat_levels", None),
    ("analysis", "analysis", None),
    ("distribution", "distributions", None),
];

/// Translates each parameter into the page.
pub(super) fn translate(setting: &Setting, page: &mut TomlPage) {
    let Literal::Table(filters) = &setting.value else {
        let why = "not a dictionary: set policy, misp.window and misp.search by hand";
        return page.leave(&setting.origin(), why);
    };
    if !filters.iter().any(|(name, _)| name == "enforceWarninglist") {
        let why = format!("{} does not ask for enforceWarninglist", setting.origin());
        page.set("policy", "warninglists", "off", why);
    }
    for (name, value) in filters {
        filter(name, value, &setting.origin_of(name), page);
    }
}

fn filter(name: &str, value: &Literal, from: &str, page: &mut TomlPage) {
    if let Some((_, why)) = ALWAYS.iter().find(|(always, _)| *always == name) {
        return page.leave(from, why);
    }
    if let Some((_, include, exclude)) = LISTS.iter().find(|(list, ..)| *list == name)
        && let Some((wanted, unwanted)) = sides(value)
        // Some lists of policy have no opposite. Such a filter goes into misp.search below.
        && (unwanted.is_empty() || exclude.is_some())
    {
        for (key, values) in [(Some(*include), wanted), (*exclude, unwanted)] {
            if let Some(key) = key.filter(|_| !values.is_empty()) {
                page.set("policy", key, Value::Array(values), from.to_owned());
            }
        }
        return;
    }
    // A file may write a flag as True or as 1.
    let on = matches!(value, Literal::Flag(true) | Literal::Integer(1));
    match (name, value) {
        ("enforceWarninglist", _) => {
            page.set("policy", "warninglists", if on { "enforce" } else { "off" }, from.to_owned());
        }
        ("to_ids", Literal::Flag(_) | Literal::Integer(_)) => {
            page.set("policy", "to_ids", on, from.to_owned());
        }
        ("publish_timestamp" | "last", Literal::Text(age)) if is_age(age) => {
            page.set("misp", "window", age.as_str(), from.to_owned());
        }
        _ => match value.toml() {
            Some(value) => page.set("misp.search", name, value, format!("{from}, as it is")),
            None => page.leave(from, "made by running the file: set it by hand"),
        },
    }
}

/// Returns whether a text is an age such as `14d`, `12h` or `30m`.
fn is_age(text: &str) -> bool {
    let mut characters = text.chars();
    matches!(characters.next_back(), Some('d' | 'h' | 'm'))
        && !characters.as_str().is_empty()
        && characters.all(|c| c.is_ascii_digit())
}

/// Returns what must be met, and what must not. MISP writes it as a value, as a list of which one must be
/// met, or with `!value` and `NOT` for what must not. `None` if all of several must be met, which the lists
/// of policy cannot say.
fn sides(value: &Literal) -> Option<(Vec<Value>, Vec<Value>)> {
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    if let Literal::Table(logic) = value {
        for (word, values) in logic {
            let (these, others) = sides(values)?;
            match word.to_ascii_uppercase().as_str() {
                "OR" if wanted.is_empty() => wanted = these,
                // All of one value is the same as one of it.
                "AND" if these.len() < 2 && wanted.is_empty() => wanted = these,
                "NOT" => unwanted.extend(these),
                _ => return None,
            }
            unwanted.extend(others);
        }
        return Some((wanted, unwanted));
    }
    let values =
        if let Literal::List(values) = value { values } else { std::slice::from_ref(value) };
    for value in values {
        match value.text() {
            Some(text) => match text.strip_prefix('!') {
                Some(text) => unwanted.push(wildcard(text)),
                None => wanted.push(wildcard(text)),
            },
            None => wanted.push(Value::Integer(value.integer()?)),
        }
    }
    Some((wanted, unwanted))
}

/// Replaces MISP's wildcard `%` by that of policy, `*`.
fn wildcard(text: &str) -> Value {
    Value::String(text.replace('%', "*"))
}
