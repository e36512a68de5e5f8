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
    let ends = [(text.chars().next(), "beginning"), (text.chars().next_back(), "end")];
    let named = ends.into_iter().filter_map(|(end, place)| {
        let name = name(end?)?;
        Some(format!("{name} at its {place}"))
    });
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| format!("has {}", named.join(" and ")))
}

/// Returns the text, or a problem if invisible characters surround it. Such a text would match nothing, and
/// in a list of what must not leave it would let that leave.
pub(super) fn as_meant(text: &str) -> Result<&str, Problem> {
    unseen(text).map_or(Ok(text), |unseen| Err(Problem::new(format!("{text:?} {unseen}"))))
}
