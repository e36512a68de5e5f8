//! Escapes text that others wrote (MISP, Sentinel, proxies, unknown senders), so that it can neither begin a
//! new line nor control a terminal. Pure.

use std::borrow::Cow;

/// Returns the text in one line. Whatever could move the cursor, begin another line or turn the direction of
/// writing around is replaced by its escape, e.g. `\n` or `\u{1b}`.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_unfit, |character| character.escape_default().to_string())
}

/// Does the same as [`line()`] for a text whose line breaks are our own.
pub fn lines(text: &str) -> Cow<'_, str> {
    let is_unfit = |character| character != '\n' && is_unfit(character);
    escaped(text, is_unfit, |character| character.escape_default().to_string())
}

/// Returns JSON in which a terminal finds nothing to obey: that is replaced by JSON's escape, e.g. `\u009b`,
/// so that a parser reads the same. What JSON itself escapes, it has escaped.
pub fn json(finished: &str) -> Cow<'_, str> {
    // Most JSON: seen many bytes at a time.
    if finished.bytes().fold(true, |all, byte| all & (byte < 0x7f)) {
        return Cow::Borrowed(finished);
    }
    let is_unfit = |character| character >= ' ' && is_unfit(character);
    // All of these characters have four digits.
    escaped(finished, is_unfit, |character| format!("\\u{:04x}", u32::from(character)))
}

fn escaped(
    text: &str,
    is_unfit: impl Fn(char) -> bool,
    escape: impl Fn(char) -> String,
) -> Cow<'_, str> {
    if !text.contains(&is_unfit) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unfit(character) {
            safe.push_str(&escape(character));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Whether a character is a control character of ASCII or Latin-1, a separator of lines or paragraphs, or a sign
/// that sets the direction of writing (UAX 9).
fn is_unfit(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}'
                | '\u{2029}'
                | '\u{061c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_moves_a_terminal_is_shown_as_its_escape() {
        let text = "a\r\nFAKE\u{1b}[31m\u{7}\u{9b}2J\u{2028}\u{202e}gpj.exe";
        let safe = r"a\r\nFAKE\u{1b}[31m\u{7}\u{9b}2J\u{2028}\u{202e}gpj.exe";
        assert_eq!(line(text), safe);
        assert_eq!(lines("one\ntwo\r\u{1b}"), "one\ntwo\\r\\u{1b}");
    }

    #[test]
    fn words_of_any_language_stay() {
        let text = "Größe 𝔘 日本 \u{5e9}\u{5dc}\u{5d5}\u{5dd} 🦀 a\\b \"c\"";
        assert!(matches!(line(text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn json_is_read_as_before_and_moves_no_terminal() {
        let words = "a\n\t\u{1b}[31m\u{7f}\u{9b}2J\u{2028}\u{202e}gpj é 🦀";
        let finished = serde_json::to_string_pretty(&[words]).unwrap();
        let safe = json(&finished);
        assert!(safe.contains(r"\u007f\u009b2J\u2028\u202egpj é 🦀"), "{safe}");
        assert!(!lines(&safe).contains(r"\u{"), "{safe:?}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&safe).unwrap(), [words]);
        assert!(matches!(json("{\n}\n"), Cow::Borrowed("{\n}\n")));
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_line(text in any::<String>()) {
            prop_assert!(!line(&text).contains(is_unfit));
            prop_assert_eq!(lines(&text).matches('\n').count(), text.matches('\n').count());
        }
    }
}
