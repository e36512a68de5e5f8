//! Finds out how claims spell a value that a person wrote, and whether two spellings mean the same value.

use std::collections::BTreeSet;

use crate::pure::convert;

/// The types whose values have several spellings.
const KINDS: [&str; 6] = ["ip-dst", "domain", "url", "email", "mac-address", "regkey"];

/// Returns the spellings of a value in claims, in lower case: as it is written, and as any type reads it.
pub fn spellings(value: &str) -> BTreeSet<String> {
    let said = convert::types().iter().flat_map(|row| convert::said(row.name, value));
    let all = said.map(|observable| observable.value).chain([value.to_owned()]);
    all.map(|spelling| spelling.to_ascii_lowercase()).collect()
}

/// Whether two texts spell the same value: the first type that can read both reads the same value from them. Of a URL
/// the form that requests have is compared.
pub fn is_same(one: &str, other: &str) -> bool {
    normal(one) == normal(other)
}

/// How claims spell a value, in their own case, as the first type reads it that does; a URL may have two
/// forms. Empty: no type that has several spellings reads it.
pub fn forms(value: &str) -> Vec<String> {
    let said = KINDS.iter().map(|kind| convert::said(kind, value)).find(|said| !said.is_empty());
    said.into_iter().flatten().map(|observable| observable.value).collect()
}

/// What all spellings of a value have in common.
fn normal(value: &str) -> String {
    // The last form of a URL is what requests have, on which both its spellings agree.
    forms(value).pop().unwrap_or_else(|| value.to_owned()).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_in_two_spellings_is_known_and_a_part_of_it_is_another() {
        assert!(is_same("evil[.]example", "EVIL.example."));
        assert!(is_same("10.0.0.5/32", "10.0.0.5"));
        assert!(!is_same("http://198.51.100.7", "198.51.100.7"));
        assert!(!is_same("http://evil.example", "evil.example"));
        assert!(is_same("hxxp://evil[.]example", "http://evil.example/"));
        assert!(is_same("http://evil.example/a#b", "http://evil.example/a"));
        // As claims of every type spell it.
        assert!(spellings("AS64500").contains("64500"));
        assert!(spellings("198.51.100.7|443").contains("198.51.100.7"));
    }
}
