//! Reads attributes whose value is itself a STIX pattern. Only a pattern that is one equality comparison becomes an
//! observable. (`stix::observable` writes the patterns of indicators.)

use super::kind::ValueKind;
use super::skipped::Reason;
use super::table::types;
use super::type_row::Shape;
use crate::pure::stix::Observable;

/// The observable of a pattern that is one equality comparison of a path that the table has.
///
/// # Errors
/// `ComplexPattern` for every other pattern; `InvalidValue` where the compared value is none.
pub(super) fn observable(value: &str) -> Result<Observable, Reason> {
    let inside = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let (path, literal) =
        inside.and_then(|inside| inside.split_once('=')).ok_or(Reason::ComplexPattern)?;
    let kind = kind_at(path.trim()).ok_or(Reason::ComplexPattern)?;
    kind.observable(&constant(literal.trim()).ok_or(Reason::ComplexPattern)?)
}

fn kind_at(path: &str) -> Option<ValueKind> {
    let bare = |path: &str| path.replace('\'', "");
    let wanted = bare(path);
    types().iter().find_map(|row| match row.shape() {
        Ok(Shape::Whole(ValueKind::Rule(_))) => None,
        Ok(Shape::Whole(kind)) => {
            kind.paths().into_iter().any(|path| bare(path) == wanted).then_some(kind)
        }
        _ => None,
    })
}

/// A string literal (STIX 2.1, 9.2 "Constants") without its quotes, or a whole number.
fn constant(literal: &str) -> Option<String> {
    if !literal.is_empty() && literal.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(literal.to_owned());
    }
    let inside = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut text = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => characters.next().filter(|next| matches!(next, '\'' | '\\'))?,
            '\'' => return None,
            other => other,
        });
    }
    Some(text)
}
