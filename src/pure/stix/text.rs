//! Cleans texts that people typed in MISP (names, descriptions, labels) for use in an indicator: one line, no
//! hidden characters and a limited length.

use std::borrow::Cow;

/// The longest name of an object, in characters.
pub(super) const LONGEST_NAME: usize = 500;

/// The longest piece of a description, in characters. A description has at most three pieces, so it
/// stays well below the 32 KiB that Log Analytics keeps of a field.
pub(super) const LONGEST_PIECE: usize = 2_000;

/// The text as one line without white space around it, cut after `longest` characters.
///
/// Line breaks and tabs become spaces. Other control signs, and the signs that turn the direction of
/// writing (Unicode TR 9, section 2), are left out: they would hide or reorder what an analyst reads.
pub(super) fn clean(text: &str, longest: usize) -> Cow<'_, str> {
    let text = text.trim();
    // Most texts: seen many bytes at a time.
    let is_plain = text.bytes().fold(true, |all, byte| all & matches!(byte, b' '..=b'~'));
    if is_plain && text.len() <= longest {
        return Cow::Borrowed(text);
    }
    let fits = text.len() <= longest || text.chars().nth(longest).is_none();
    if fits && !text.chars().any(|sign| is_space(sign) || is_hidden(sign)) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().filter(|sign| !is_hidden(*sign));
    let mut shown = shown.map(|sign| if is_space(sign) { ' ' } else { sign });
    let mut cleaned: String = shown.clone().take(longest).collect();
    if shown.nth(longest).is_some() {
        cleaned.pop();
        cleaned.push('…');
    }
    Cow::Owned(cleaned.trim().to_owned())
}

/// Twelve of Sentinel's built-in rules skip an indicator whose description holds `State: inactive;` or
/// `State: falsepos;`, since an older connector wrote it so. A comment in MISP must not silence an
/// indicator, so the semicolon becomes a comma.
pub(super) fn without_state(description: Cow<'_, str>) -> Cow<'_, str> {
    const SILENCING: [(&str, &str); 2] =
        [("State: inactive;", "State: inactive,"), ("State: falsepos;", "State: falsepos,")];
    if !description.contains(';') {
        return description;
    }
    SILENCING.iter().fold(description, |text, (silencing, harmless)| {
        if text.contains(silencing) { Cow::Owned(text.replace(silencing, harmless)) } else { text }
    })
}

fn is_space(sign: char) -> bool {
    matches!(sign, '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_hidden(sign: char) -> bool {
    let turns = matches!(
        sign,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    turns || sign == '\u{feff}' || sign.is_control() && !is_space(sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_signs_and_signs_that_turn_the_writing_are_left_out() {
        for (text, shown) in [
            ("plain é 漢", "plain é 漢"),
            ("  a\u{0}b\u{7f}c\u{1b}[31m ", "abc[31m"),
            ("one\r\ntwo\tthree", "one  two three"),
            ("invoice\u{202e}fdp.exe\u{2066}x\u{200f}", "invoicefdp.exex"),
            ("\u{feff}\u{61c}", ""),
            ("\u{1}", ""),
        ] {
            assert_eq!(clean(text, 50), shown, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(clean("äöüß", 4), "äöüß");
        assert_eq!(clean("äöüßx", 4), "äöü…");
        assert_eq!(clean("\u{1}äöüß\u{2}", 4), "äöüß", "what is left out does not count");
        assert_eq!(clean(&"x".repeat(60_000), LONGEST_PIECE).chars().count(), LONGEST_PIECE);
    }

    #[test]
    fn words_that_silence_rules_are_broken() {
        let text = "State: inactive; State: falsepos; State: inactive;";
        let broken = without_state(Cow::Borrowed(text));
        assert_eq!(broken, "State: inactive, State: falsepos, State: inactive,");
        let harmless = "state: inactive; State: active;";
        assert_eq!(without_state(Cow::Borrowed(harmless)), harmless, "the rules heed case");
    }
}
