//! Finds invisible characters around a text: white space, byte order marks and control characters.

use super::mistake::Problem;

/// The text without what [`unseen`] tells of.
pub(super) fn bare(text: &str) -> &str {
    text.trim_matches(|character| name(character).is_some())
}

/// What a character is that nobody sees.
fn name(character: char) -> Option<&'static str> {
    match character {
        '\u{feff}' => Some("a byte order mark"),
        space if space.is_whitespace() => Some("white space"),
        control if control.is_control() => Some("a control character"),
        _ => None,
    }
}

/// What stands around a text and is not seen, such as `has white space at its end`.
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

/// The text, unless something stands around it that is not seen. What is compared with such a text would
/// match nothing, and a list of what must stay would let it leave.
pub(super) fn as_meant(text: &str) -> Result<&str, Problem> {
    unseen(text).map_or(Ok(text), |unseen| Err(Problem::new(format!("{text:?} {unseen}"))))
}
