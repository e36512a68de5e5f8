//! Finds invisible characters around a text: white space, byte order marks and control characters.

use super::mistake::Problem;

/// Returns the text without the characters that [`unseen`] reports.
pub(super) fn bare(text: &str) -> &str {
    text.trim_matches(|character| name(character).is_some())
}

/// Returns the name of an invisible character. `None`: the character is visible.
fn name(character: char) -> Option<&'static str> {
    match character {
        '\u{feff}' => Some("a byte order mark"),
        space if space.is_whitespace() => Some("white space"),
        control if control.is_control() => Some("a control character"),
        _ => None,
    }
}

/// Describes the invisible characters around a text, e.g. `has white space at its end`.
pub(super) fn unseen(text: &str) -> Option<String> {
    let beginning = text.chars().next().and_then(name);
    let end = text.chars().next_back().and_then(name);
    match (beginning, end) {
        (Some(one), Some(other)) => {
            Some(format!("has {one} at its beginning and {other} at its end"))
        }
        (Some(one), None) => Some(format!("has {one} at its beginning")),
        (None, Some(other)) => Some(format!("has {other} at its end")),
        (None, None) => None,
    }
}

/// Returns the text, or a problem if invisible characters surround it. Such a text would match nothing, and
/// in a list of what must not leave it would let that leave.
pub(super) fn as_meant(text: &str) -> Result<&str, Problem> {
    unseen(text).map_or(Ok(text), |unseen| Err(Problem::new(format!("{text:?} {unseen}"))))
}
