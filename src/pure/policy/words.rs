//! Splits a tag into words and finds where they name the Traffic Light Protocol, however it is spelled.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// The protocol's name, short and in full. The level or version may follow in the same word: `TLPRED`, `TLPv2`,
/// `tlpmarking`.
const NAMES: [&str; 2] = ["tlp", "trafficlightprotocol"];

/// The most words into which separators may split the name: `T.L.P.`, `T-LP`, `Traffic Light Protocol`.
const MOST_PARTS: usize = 3;

/// Signs that stand on top of other letters. They are removed, because a person reads only the letters.
static COMBINING: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\p{M}+").ok());

/// A cheap test before the real one: whether the letters, without separators, hold `tlp` or the middle of
/// `light protocol`. It is true for every ASCII text whose words name the protocol.
pub(super) fn names_the_protocol(text: impl Iterator<Item = u8>) -> bool {
    let mut last = [0; 3];
    let mut letters = text.filter(u8::is_ascii_alphanumeric);
    letters.any(|letter| {
        let [_, second, third] = last;
        last = [second, third, letter.to_ascii_lowercase()];
        last == *b"tlp" || last == *b"htp"
    })
}

/// The words of a tag, in lower case.
#[derive(Debug)]
pub(super) struct Words(Vec<String>);

/// Splits a tag at every character that is no letter or digit, and between letters and digits. With `by_case` it also
/// splits before a capital that begins a word, as in `TLPMarking`. It reads full-width letters as ordinary ones, and
/// ignores invisible characters and signs on top of letters.
pub(super) fn words(tag: &str, by_case: bool) -> Words {
    let tag = COMBINING.as_ref().map_or(Cow::Borrowed(tag), |signs| signs.replace_all(tag, ""));
    let letters: Vec<char> = tag.chars().filter(|c| !is_invisible(*c)).map(narrow).collect();
    let mut words = vec![String::new()];
    for (place, letter) in letters.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|before| letters.get(before)).copied();
        let behind = letters.get(place + 1).copied();
        let begins = before.is_some_and(|before| {
            before.is_alphabetic() != letter.is_alphabetic()
                || by_case && is_capital(before, *letter, behind)
        });
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if let (true, Some(word)) = (letter.is_alphanumeric(), words.last_mut()) {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    Words(words)
}

/// Whether `letter` begins a word: `tlp|Marking`, `TLP|Marking`.
fn is_capital(before: char, letter: char, behind: Option<char>) -> bool {
    letter.is_uppercase() && (before.is_lowercase() || behind.is_some_and(char::is_lowercase))
}

impl Words {
    /// Returns the words after the protocol's name. `None`: the name does not occur.
    pub(super) fn behind(&self) -> Option<Vec<String>> {
        (0..self.0.len()).find_map(|place| self.behind_name_at(place))
    }

    fn behind_name_at(&self, place: usize) -> Option<Vec<String>> {
        let words = self.0.get(place..)?;
        let (word, rest) = words.split_first()?;
        if let Some(remainder) = NAMES.iter().find_map(|name| word.strip_prefix(name)) {
            let remainder = Some(remainder.to_owned()).filter(|one| !one.is_empty());
            return Some(remainder.into_iter().chain(rest.to_vec()).collect());
        }
        (2..=MOST_PARTS).find_map(|parts| {
            let (name, rest) = words.split_at_checked(parts)?;
            NAMES.contains(&name.concat().as_str()).then(|| rest.to_vec())
        })
    }
}

/// Turns a full-width form of ASCII (Unicode, "Halfwidth and Fullwidth Forms") into the ordinary letter.
fn narrow(letter: char) -> char {
    const FULL_WIDTH: std::ops::RangeInclusive<char> = '\u{ff01}'..='\u{ff5e}';
    const OFFSET: u32 = 0xfee0;
    let narrow = || char::from_u32(u32::from(letter).checked_sub(OFFSET)?);
    FULL_WIDTH.contains(&letter).then(narrow).flatten().unwrap_or(letter)
}

/// Unicode's `Default_Ignorable_Code_Point`: what no font shows, such as the zero-width space.
fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_separators_digits_and_where_asked_for_at_capitals() {
        let split = |tag, by_case| words(tag, by_case).0;
        assert_eq!(
            split("ais-marking:TLPMarking=\"A\"", true),
            ["ais", "marking", "tlp", "marking", "a"]
        );
        assert_eq!(split("ais-marking:TLPMarking", false), ["ais", "marking", "tlpmarking"]);
        assert_eq!(split("tlpRed2x", true), ["tlp", "red", "2", "x"]);
        assert_eq!(split("\u{ff34}\u{200b}\u{ff2c}P", false), ["tlp"]);
    }

    #[test]
    fn the_cheap_look_passes_all_that_the_words_may_name() {
        let named = |tag: &str| names_the_protocol(tag.bytes());
        for tag in ["tlp", "a:T.L.P.", "TLPMarking", "x:traffic-light-protocol=\"RED\""] {
            assert!(named(tag), "{tag}");
        }
        for tag in ["type:OSINT", "http://a", "", "tl", "misp-galaxy:tool=\"x\""] {
            assert!(!named(tag), "{tag}");
        }
    }
}
