//! Tests that `docs/reference/log.md` lists every name that the log gives to its lines, and that the sources give a
//! name to each line at level INFO or above.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use misp_sentinel_relay::log_event::LogEvent;
use regex::Regex;

use crate::page;

/// A line of the log as a source has it.
struct Line {
    /// The name of the macro: `info`, or `info_if`, which is `info` or `debug`.
    level: String,
    /// What stands in its brackets.
    text: String,
}

/// What stands up to the bracket that ends it. Brackets in strings do not count.
fn until_end(text: &str) -> &str {
    let (mut depth, mut in_string, mut escaped) = (1, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_string = !in_string,
            '(' | '[' | '{' if !in_string => depth += 1,
            ')' | ']' | '}' if !in_string => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.split_at(at).0;
        }
    }
    panic!("no end: {text}");
}

fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    let calls = Regex::new(r"\b(?:tracing::(error|warn|info|debug|trace)|(info_if))!\(").unwrap();
    collect(&page::root().join("src"), &mut |source| {
        // The tests of a file may log what they like.
        let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
        for call in calls.captures_iter(source) {
            let level = call.get(1).or(call.get(2)).unwrap().as_str().to_owned();
            let text = until_end(source.split_at(call.get(0).unwrap().end()).1).to_owned();
            lines.push(Line { level, text });
        }
    });
    // The macro itself.
    lines.retain(|line| !line.text.contains("$($line)*"));
    assert!(lines.len() > 100, "only {}", lines.len());
    lines
}

fn collect(folder: &Path, see: &mut impl FnMut(&str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, see);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            see(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// The names that the sources log, each with its levels.
fn logged() -> BTreeMap<String, BTreeSet<String>> {
    let name = Regex::new(r"event = LogEvent::(\w+)\.word\(\)").unwrap();
    let mut logged: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Line { level, text } in lines() {
        for found in name.captures_iter(&text) {
            let levels = logged.entry(found[1].to_owned()).or_default();
            levels.extend(
                level.split('_').map(|word| if word == "if" { "debug" } else { word }.to_owned()),
            );
        }
    }
    logged
}

#[test]
fn the_page_of_the_log_lists_every_name() {
    let logged = logged();
    let mut text = "| event | level | meaning |\n|---|---|---|\n".to_owned();
    for event in LogEvent::all() {
        let levels = logged.get(&format!("{event:?}")).map(|levels| {
            let order = ["error", "warn", "info", "debug"].into_iter();
            order.filter(|level| levels.contains(*level)).collect::<Vec<_>>().join(", ")
        });
        let levels = levels.unwrap_or_else(|| panic!("nothing logs {event:?}"));
        let meaning = event.meaning();
        assert!(meaning.ends_with('.'), "{event:?} says no sentence: {meaning:?}");
        writeln!(text, "| `{}` | {levels} | {meaning} |", event.word()).unwrap();
    }
    page::holds("docs/reference/log.md", &[("log", text)]);
}

#[test]
fn each_line_that_an_operator_sees_has_one_name() {
    for Line { level, text } in lines() {
        let names = text.matches("event = LogEvent::").count();
        let expected = usize::from(!matches!(level.as_str(), "debug" | "trace"));
        assert_eq!(names, expected, "{level}: {text}");
        assert_eq!(
            text.matches("event = ").count(),
            text.matches("misp_event = ").count() + names,
            "{text}"
        );
    }
}

/// A reader of JSON would find the one or the other.
#[test]
fn no_line_has_a_field_of_the_logs_own() {
    let own = Regex::new(r"(?m)(^|,)\s*[%?]?(timestamp|level|message|module)( = |,|$)").unwrap();
    for Line { text, .. } in lines() {
        let fields = text.split('"').next().unwrap();
        assert!(!own.is_match(fields), "{text}");
    }
}
