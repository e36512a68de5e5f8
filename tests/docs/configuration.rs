//! Tests that `docs/reference/configuration.md` lists every key of `config.toml.example` with its default and
//! its comment, and that the settings named on all other pages exist.

use std::collections::BTreeSet;
use std::fmt::Write;

use misp_sentinel_relay::config::EXAMPLE;

use crate::page::{self, code};

const COLUMNS: &str = "\n| key | default | meaning |\n|---|---|---|\n";

/// What was read of the example, and the page that it makes.
#[derive(Default)]
struct Settings {
    text: String,
    /// Path of the section, with a dot at its end.
    section: String,
    /// Lines of the comment that stands before the next key or section.
    comment: Vec<String>,
    in_table: bool,
}

impl Settings {
    fn section(&mut self, name: &str) {
        // The section that holds the defaults of every target.
        let name = name.replace("target.sentinel", "target.NAME");
        writeln!(self.text, "\n### `[{name}]`\n").unwrap();
        self.section = format!("{name}.");
        self.paragraphs();
    }

    /// The comment as text, with its examples as code.
    fn paragraphs(&mut self) {
        self.in_table = false;
        let mut in_code = false;
        for line in self.comment.drain(..) {
            if is_example(&line) != in_code {
                in_code = !in_code;
                self.text.push_str(if in_code { "\n```text\n" } else { "```\n\n" });
            }
            let line = if in_code { line.trim().to_owned() } else { escaped(&line) };
            writeln!(self.text, "{line}").unwrap();
        }
        self.text.push_str(if in_code { "```\n" } else { "" });
    }

    fn key(&mut self, key: &str, value: &str) {
        if !self.in_table {
            self.text.push_str(COLUMNS);
            self.in_table = true;
        }
        let lines = self.comment.drain(..).map(|line| match is_example(&line) {
            true => format!("<br>{}", code(line.trim())),
            false => escaped(&line),
        });
        let meaning = lines.collect::<Vec<String>>().join(" ");
        // A row of a table of tags is named by the tag.
        let name = match key.strip_prefix(['\'', '"']) {
            Some(tag) => tag.trim_end_matches(['\'', '"']).to_owned(),
            None => format!("{}{key}", self.section),
        };
        writeln!(self.text, "| {} | {} | {meaning} |", code(&name), code(value)).unwrap();
    }
}

/// Examples are indented in their comment.
fn is_example(line: &str) -> bool {
    line.starts_with("  ")
}

/// Outside of code, what Markdown or a table would take for its own.
fn escaped(line: &str) -> String {
    let mut is_code = false;
    let parts = line.split('`').map(|part| {
        let part = match is_code {
            true => part.replace('|', "\\|"),
            false => part.replace('|', "\\|").replace('*', "\\*").replace('<', "&lt;"),
        };
        is_code = !is_code;
        part
    });
    parts.collect::<Vec<String>>().join("`")
}

/// A value, with the lines of a list joined.
fn value(first: &str, lines: &mut std::str::Lines<'_>) -> String {
    if first != "[" {
        return first.to_owned();
    }
    let items = lines.by_ref().take_while(|line| *line != "]").map(str::trim);
    format!("[{}]", items.collect::<Vec<&str>>().join(" ").trim_end_matches(','))
}

fn settings() -> String {
    // The head of the file, up to the first empty line, says where settings come from.
    let (_, body) = EXAMPLE.split_once("\n\n").unwrap();
    let mut settings = Settings::default();
    settings.text.push_str("### Before all sections\n");
    let mut lines = body.lines();
    while let Some(line) = lines.next() {
        if let Some(comment) = line.strip_prefix('#') {
            settings.comment.push(comment.strip_prefix(' ').unwrap_or(comment).to_owned());
        } else if let Some(name) = line.strip_prefix('[') {
            settings.section(name.trim_end_matches(']'));
        } else if let Some((key, first)) = line.split_once(" = ") {
            settings.key(key, &value(first, &mut lines));
        } else if !settings.comment.is_empty() {
            settings.text.push('\n');
            settings.paragraphs();
        }
    }
    settings.text
}

#[test]
fn the_page_of_settings_is_the_example() {
    let head = EXAMPLE.split("\n\n").next().unwrap();
    let head = head.lines().map(|line| line.trim_start_matches('#').trim_end());
    let head: Vec<&str> = head.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let sources = format!("```text\n{}\n```", head.join("\n").trim());
    page::holds(
        "docs/reference/configuration.md",
        &[("sources", sources), ("settings", settings())],
    );
}

/// Paths of the keys and sections of a document of TOML.
fn paths(table: &toml::Table, prefix: &str, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        if let Some(inner) = value.as_table() {
            paths(inner, &format!("{path}."), found);
        }
        found.insert(path);
    }
}

/// A path as the example has it: a source as `misp`, a target by the name of its defaults, and what a target lays over
/// a common section by that section.
fn as_in_example(path: &str) -> String {
    if path == "source" || path.starts_with("source.") {
        // `source.NAME.url`: the section, the name, and the key of `[misp]`.
        let key = path.splitn(3, '.').nth(2);
        return key.map_or_else(|| "misp".to_owned(), |key| format!("misp.{key}"));
    }
    let Some((_, own)) = path.strip_prefix("target.").and_then(|rest| rest.split_once('.')) else {
        return if path.starts_with("target.") { "target".to_owned() } else { path.to_owned() };
    };
    match own.starts_with("policy") || own.starts_with("delivery") {
        true => own.to_owned(),
        false => format!("target.sentinel.{own}"),
    }
}

/// Settings in the code of a sentence, such as `policy.never` or `[policy]`, and in blocks of TOML.
fn named(text: &str, sections: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for block in text.split("```").skip(1).step_by(2).filter_map(|b| b.strip_prefix("toml\n")) {
        let lines: String = block.lines().map(|line| format!("{}\n", line.trim_start())).collect();
        paths(&lines.parse().unwrap(), "", &mut found);
    }
    let prose = text.split("```").step_by(2).collect::<Vec<&str>>().join("");
    for code in prose.split('`').skip(1).step_by(2) {
        let path = code.split(" = ").next().unwrap().trim_matches(['[', ']']);
        let is_path = path.chars().all(|sign| sign.is_ascii_alphanumeric() || "._-".contains(sign));
        let first = path.split('.').next().unwrap();
        let is_section = path.contains('.') || code.starts_with('[');
        if is_path && is_section && sections.contains(first) && !path.starts_with("ledger.db") {
            found.insert(path.to_owned());
        }
    }
    found
}

#[test]
fn every_setting_on_a_page_exists() {
    let example: toml::Table = EXAMPLE.parse().unwrap();
    let sections: BTreeSet<String> = example.keys().cloned().collect();
    let mut known = BTreeSet::new();
    paths(&example, "", &mut known);
    let mut count = 0;
    let mut wrong = Vec::new();
    for file in page::all() {
        // Of the past as well.
        if file.ends_with("CHANGELOG.md") {
            continue;
        }
        let settings = named(&std::fs::read_to_string(&file).unwrap(), &sections);
        count += settings.len();
        let strange = settings.iter().filter(|path| !known.contains(&as_in_example(path)));
        wrong.extend(strange.map(|path| format!("{}: {path}", file.display())));
    }
    assert!(count > 100, "only {count} settings are named");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
