//! Builds the new configuration file: settings by section, each with a comment that names its origin, and a
//! list of the settings that have no counterpart.

use std::collections::BTreeMap;
use std::fmt::Write;

use toml::Value;

/// The sections, in the order of config.toml.example.
const SECTIONS: &str = "misp misp.search misp.rest policy convert.types indicator indicator.confidence expiry expiry.days delivery target.sentinel log";

const HEAD: &str = "\
# Made by `misp-sentinel-relay import-config` of misp2sentinel's settings; config.toml.example documents
# every key. Still to be set: [misp.zeromq] endpoints, e.g. [\"tcp://misp-core:50000\"], the fast way in.
";

/// What the comment on a secret says.
pub(super) const SECRET: &str = "a secret: better in a file of its own";

/// The configuration, as far as it is translated.
#[derive(Debug, Default)]
pub(super) struct TomlPage {
    /// The lines of each section, by its index in [`SECTIONS`], in the order in which keys were set first.
    sections: BTreeMap<usize, Vec<TomlLine>>,
    /// A comment line for each setting without a counterpart.
    left: Vec<String>,
}

#[derive(Debug)]
struct TomlLine {
    key: String,
    value: Value,
    comments: Vec<String>,
}

impl TomlPage {
    /// Sets a key. `section` is one of [`SECTIONS`]. A key that is set twice has the later value, and both
    /// comments.
    pub(super) fn set(
        &mut self,
        section: &str,
        key: &str,
        value: impl Into<Value>,
        comment: String,
    ) {
        let place = SECTIONS.split(' ').position(|one| one == section).unwrap_or_default();
        let (section, value) = (self.sections.entry(place).or_default(), value.into());
        match section.iter_mut().find(|line| line.key == key) {
            Some(line) => {
                line.value = value;
                line.comments.push(comment);
            }
            None => section.push(TomlLine { key: key.to_owned(), value, comments: vec![comment] }),
        }
    }

    /// Notes that a setting has no counterpart, and why.
    pub(super) fn leave(&mut self, what: &str, why: &str) {
        self.left.push(format!("# {}: {}", one_line(what), one_line(why)));
    }

    /// Returns the text of the file.
    pub(super) fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (place, section) in &self.sections {
            // Writing to a string cannot fail.
            let name = SECTIONS.split(' ').nth(*place).unwrap_or_default();
            writeln!(text, "\n[{name}]").ok();
            for TomlLine { key, value, comments } in section {
                for comment in comments {
                    writeln!(text, "# {}", one_line(comment)).ok();
                }
                writeln!(text, "{} = {value}", quoted(key)).ok();
            }
        }
        if !self.left.is_empty() {
            let left = self.left.join("\n");
            writeln!(text, "\n# Without a counterpart:\n{left}").ok();
        }
        text
    }
}

/// Puts a text on one line, so that no part of a comment becomes a setting.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Quotes a key, unless TOML allows it without quotes.
fn quoted(key: &str) -> String {
    // TOML allows these characters in bare keys, and no others.
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(bare) {
        return key.to_owned();
    }
    Value::String(key.to_owned()).to_string()
}
