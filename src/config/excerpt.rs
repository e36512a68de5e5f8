//! Shows a line of a configuration file with a mark below the place of a mistake. A line may hold a secret, so of what is
//! set only the signs are shown that TOML reads.

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
    /// `line` and `column` count from 1. `None`: nothing is there to be seen.
    pub(super) fn of(text: &str, line: usize, column: usize) -> Option<Self> {
        let shown = shown(text.lines().nth(line.checked_sub(1)?)?.trim_end());
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

/// Hides what may be a secret: all but the key, and the heading of a section.
fn shown(line: &str) -> String {
    let is_heading = line.trim_start().starts_with('[');
    let is_setting = line.contains('=');
    let (key, value) = match line.find('=') {
        Some(at) if !is_heading => line.split_at(at),
        Some(_) | None if is_heading => (line, ""),
        // It may go on with a text that began in a line above.
        Some(_) | None => ("", line),
    };
    let key = if is_setting || is_heading { bare(key) } else { String::new() };
    key + &value.chars().map(signs_only).collect::<String>()
}

/// Keys as TOML writes them: anything else there is no key.
fn bare(key: &str) -> String {
    let is_part = |sign: char| sign.is_ascii_alphanumeric() || "_-. \t[]\"'".contains(sign);
    key.chars().map(|sign| if is_part(sign) { sign } else { HIDDEN }).collect()
}

fn signs_only(sign: char) -> char {
    if "=[]{},#\"' \t".contains(sign) { sign } else { HIDDEN }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, line: usize, column: usize) -> String {
        Excerpt::of(text, line, column).unwrap().to_string()
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
        ] {
            let told = told(line, 1, 1);
            assert!(!told.contains("s3cret"), "{told}");
        }
        assert!(told("client_secret = \"s3cret", 1, 17).contains("client_secret = \"······"));
        assert!(told("[target.soc", 1, 12).contains("[target.soc"));
    }

    #[test]
    fn nothing_is_shown_of_what_is_not_there() {
        assert_eq!(Excerpt::of("a = 1\n", 7, 1), None);
        assert_eq!(Excerpt::of("\n", 1, 1), None);
        assert_eq!(Excerpt::of("a = 1", 1, 1_000), None);
    }
}
