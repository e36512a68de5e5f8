//! Shows a line of a configuration file with a mark below the place of a mistake. A line may hold a secret, so of what is
//! set only the signs are shown that TOML reads.

use std::collections::BTreeSet;
use std::fmt;

/// Stands for a sign that is not shown.
const HIDDEN: char = '·';

/// The longest part of a line that is shown, characters.
const LONGEST: usize = 100;

/// A line, and a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// With [`HIDDEN`] in place of most of what is set.
    line: String,
    /// The place, counted in characters from 0.
    place: usize,
}

impl Excerpt {
    /// `line` and `column` count from 1, `known` are the names that keys are made of. `None`: nothing is there to be seen.
    pub(super) fn of(
        text: &str,
        line: usize,
        column: usize,
        known: &BTreeSet<String>,
    ) -> Option<Self> {
        let shown = shown(known, text.lines().nth(line.checked_sub(1)?)?.trim_end());
        let place = column.checked_sub(1)?;
        (!shown.trim().is_empty() && place <= LONGEST)
            .then(|| Self { line: shown.chars().take(LONGEST).collect(), place })
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, place } = self;
        write!(f, "    | {line}\n    | {:place$}^", "")
    }
}

/// Hides what may be a secret: all but a key of the configuration, and the heading of a section.
fn shown(known: &BTreeSet<String>, line: &str) -> String {
    let hidden = |text: &str| text.chars().map(signs_only).collect::<String>();
    let begin = line.len() - line.trim_start_matches([' ', '\t', '[']).len();
    let (opening, rest) = line.split_at(begin);
    let is_heading = opening.contains('[');
    let end = if is_heading { rest.find(']') } else { rest.find('=') };
    let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let may_show = match (is_heading, end) {
        (true, _) => is_section(known, name),
        (false, Some(_)) => is_key(known, name.trim_end()),
        // It may go on with a text that began in a line above.
        (false, None) => false,
    };
    let name = if may_show { name.to_owned() } else { hidden(name) };
    format!("{opening}{name}{}", hidden(rest))
}

/// Whether it is the name of a section of the configuration. What comes after it there is a name of the operator's.
fn is_section(known: &BTreeSet<String>, name: &str) -> bool {
    let is_plain = name.chars().all(|sign| sign.is_ascii_lowercase() || "_-.".contains(sign));
    let first = name.split('.').next().unwrap_or_default();
    is_plain && (["source", "target"].contains(&first) || known.contains(first))
}

/// Whether it is a key of the configuration. A secret that ends with `=` is none.
fn is_key(known: &BTreeSet<String>, name: &str) -> bool {
    name.split('.').all(|part| known.contains(part))
}

fn signs_only(sign: char) -> char {
    if "=[]{},#\"' \t".contains(sign) { sign } else { HIDDEN }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> BTreeSet<String> {
        ["misp", "rest", "url", "client_secret"].map(str::to_owned).into()
    }

    fn told(text: &str, line: usize, column: usize) -> String {
        Excerpt::of(text, line, column, &known()).unwrap().to_string()
    }

    #[test]
    fn the_mark_stands_below_the_place() {
        let told = told("[misp]\nurl = \"https\n", 2, 13);
        assert_eq!(told, "    | url = \"·····\n    |             ^");
    }

    #[test]
    fn what_is_set_is_not_shown() {
        for line in [
            "client_secret = \"s3cret",
            "client_secret = s3cret",
            "a = {client_secret = 's3cret'",
            "s3cret",
            "  s3cret\"\"\"",
            "\"s3cret\" 'a'",
            "[misp] key = \"s3cret\"",
            "[misp] # key s3cret",
            "[\"s3cret\", 'x",
            "secret: \"s3cret==\"",
            "client_secret \"s3cret=\"",
            "s3cret=",
            "s3cret = 1",
        ] {
            let told = told(line, 1, 1);
            assert!(!told.contains("s3cret"), "{told}");
        }
        assert!(told("client_secret = \"s3cret", 1, 17).contains("client_secret = \"······"));
        assert!(told("[target.soc", 1, 12).contains("[target.soc"));
        assert!(told("[misp.rest] x", 1, 13).contains("[misp.rest] ·"));
        assert!(told("misp.url = 7x", 1, 13).contains("misp.url = ··"));
    }

    #[test]
    fn nothing_is_shown_of_what_is_not_there() {
        assert_eq!(Excerpt::of("a = 1\n", 7, 1, &known()), None);
        assert_eq!(Excerpt::of("\n", 1, 1, &known()), None);
        assert_eq!(Excerpt::of("a = 1", 1, 1_000, &known()), None);
    }
}
