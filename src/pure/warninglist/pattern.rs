//! Translates regular expressions for PHP's `preg_match` into the syntax of the `regex` crate. An expression
//! that this crate cannot match becomes `Unknown`; one that PHP refuses becomes `Dead`, since it never
//! matches in MISP.

use regex::bytes::Regex;

/// What an entry of a regex list becomes.
#[derive(Debug)]
pub(super) enum Pattern {
    Matches(Regex),
    /// PHP refuses it, so it never matches in MISP. It has another delimiter, or a modifier that PCRE does not
    /// have (`/g`).
    Dead,
    /// PCRE may know it, but this program's engine does not: look-around, back references and the like.
    Unknown,
}

impl Pattern {
    /// Reads a pattern with its delimiters and modifiers. A `$` only ever ends the value here. In PCRE it also
    /// matches before a line feed at the end, which no value of MISP has.
    pub(super) fn read(entry: &str) -> Self {
        let Some((pattern, modifiers)) = undelimited(entry) else { return Self::Dead };
        let Some(flags) = flags(modifiers) else { return Self::Dead };
        let Some(mut translated) = translated(pattern, flags.contains('x')) else {
            return Self::Unknown;
        };
        if modifiers.contains('A') {
            translated = format!(r"\A(?:{translated})");
        }
        Regex::new(&format!("(?{flags}){translated}")).map_or(Self::Unknown, Self::Matches)
    }
}

/// Translates the modifiers of PHP 8.2 into flags of this engine. `None`: PHP knows no such modifier.
fn flags(modifiers: &str) -> Option<String> {
    // `A` is read by the caller. The others change how fast an expression matches, or what is captured.
    let is_known = |modifier: char| "imsxuADSUXJn \n\r".contains(modifier);
    let mut flags: String = "imsx".chars().filter(|flag| modifiers.contains(*flag)).collect();
    flags.push_str(if modifiers.contains('u') { "u" } else { "-u" });
    modifiers.chars().all(is_known).then_some(flags)
}

/// Returns what stands between the delimiters, and what stands behind them.
fn undelimited(entry: &str) -> Option<(&str, &str)> {
    let entry = entry.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let begin = entry.chars().next()?;
    if !begin.is_ascii() || begin.is_ascii_alphanumeric() || matches!(begin, '\\' | '\0') {
        return None;
    }
    let body = entry.get(1..)?;
    let end = match begin {
        '(' => ')',
        '[' => ']',
        '{' => '}',
        '<' => '>',
        other => other,
    };
    let (mut depth, mut escaped) = (1_usize, false);
    for (at, character) in body.char_indices() {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == end {
            depth -= 1;
            if depth == 0 {
                return Some((body.get(..at)?, body.get(at + end.len_utf8()..)?));
            }
        } else if character == begin {
            depth += 1;
        }
    }
    None
}

/// Spells a pattern for this engine where the two dialects read the same letters differently. `None`: this
/// engine would silently read it with another meaning.
fn translated(pattern: &str, extended: bool) -> Option<String> {
    if pattern.contains("(?R") {
        return None;
    }
    let mut out = String::with_capacity(pattern.len());
    let mut characters = pattern.chars().peekable();
    let (mut in_class, mut class_begins) = (false, false);
    let (mut quantified, mut dash) = (false, false);
    while let Some(character) = characters.next() {
        let was_quantified = std::mem::take(&mut quantified);
        let begins = std::mem::take(&mut class_begins);
        let was_dash = std::mem::take(&mut dash);
        match character {
            '\\' => escape(&mut out, characters.next()?),
            '[' if !in_class => {
                (in_class, class_begins) = (true, true);
                out.push('[');
                out.extend(characters.next_if_eq(&'^'));
            }
            ']' if in_class && !begins => {
                in_class = false;
                out.push(']');
            }
            '[' if characters.peek() == Some(&':') => {
                out.push('[');
                out.extend(characters.by_ref().take_while(|inner| *inner != ']'));
                out.push(']');
            }
            '[' | ']' | '&' | '~' | '#' | ' ' | '\t' | '\n' if in_class => {
                if extended || !character.is_whitespace() {
                    out.push('\\');
                }
                out.push(character);
            }
            '-' if in_class && (begins || was_dash) => out.push_str(r"\-"),
            '-' if in_class => {
                dash = true;
                out.push('-');
            }
            '+' if was_quantified => return None,
            '*' | '+' | '?' | '}' if !in_class => {
                quantified = true;
                out.push(character);
            }
            other => out.push(other),
        }
    }
    Some(out)
}

fn escape(out: &mut String, escaped: char) {
    match escaped {
        // For this engine these are half word boundaries. For PCRE they are the signs themselves.
        '<' | '>' => out.push(escaped),
        'Z' => out.push_str(r"\z"),
        other => out.extend(['\\', other]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(entry: &str, value: &str) -> bool {
        match Pattern::read(entry) {
            Pattern::Matches(regex) => regex.is_match(value.as_bytes()),
            other @ (Pattern::Dead | Pattern::Unknown) => panic!("{entry}: {other:?}"),
        }
    }

    #[test]
    fn delimiters_and_modifiers_are_those_of_php() {
        for (entry, value, expected) in [
            ("/abuse/", "x-abuse-x", true),
            ("/abuse/", "ABUSE", false),
            ("/abuse/i", "ABUSE", true),
            (" #^a/b$#", "a/b", true),
            ("{a{2}}", "xaax", true),
            ("(^(a|b)$)", "b", true),
            ("~^a\\~b~", "a~b", true),
            ("/b/A", "ab", false),
            ("/b/A", "ba", true),
            ("/a|b/A", "xb", false),
            ("/a.c/s", "a\nc", true),
            ("/a.c/", "a\nc", false),
            ("/^b$/m", "a\nb\nc", true),
            ("/a b # c/x", "ab", true),
            ("/^.$/u", "ü", true),
            // Without u a dot is a byte.
            ("/^.$/", "ü", false),
            ("/^..$/", "ü", true),
            ("/^\\w$/i", "é", false),
            // Modifiers that change nothing here.
            ("/abuse/DSUXJn \n\r", "abuse", true),
        ] {
            assert_eq!(matches(entry, value), expected, "{entry} {value:?}");
        }
    }

    #[test]
    fn what_php_refuses_never_matches() {
        for entry in
            ["", "abuse", "abuse/", "/abuse", "/a/g", "/a/e", "\\a\\", "1a1", "/a/iQ", "{a"]
        {
            assert!(matches!(Pattern::read(entry), Pattern::Dead), "{entry}");
        }
    }

    #[test]
    fn what_this_engine_lacks_is_told_and_not_guessed() {
        for entry in
            ["/(?=a)b/", "/(?<!a)b/", "/(a)\\1/", "/a++b/", "/(?>a)/", "/(?R)/", "/a(/", "/\\h/"]
        {
            assert!(matches!(Pattern::read(entry), Pattern::Unknown), "{entry}");
        }
    }

    #[test]
    fn classes_mean_the_same() {
        for (entry, value, expected) in [
            ("/^[[a]$/", "[", true),
            ("/^[a&&b]$/", "&", true),
            ("/^[a&&b]$/", "b", true),
            ("/^[+--]$/", ",", true),
            ("/^[--0]$/", ".", true),
            ("/^[a-]$/", "-", true),
            ("/^[]a]$/", "]", true),
            ("/^[]&&a]$/", "&", true),
            ("/^[^]a]$/", "]", false),
            ("/^[[:digit:]x]+$/", "1x2", true),
            ("/^[[:digit:]?+]+$/", "1?+", true),
            ("/^[a b]$/x", " ", true),
            ("/^[#]$/x", "#", true),
            ("/\\<b\\>/", "<b>", true),
            ("/^[~~]$/", "~", true),
            ("/a\\Z/", "ba", true),
        ] {
            assert_eq!(matches(entry, value), expected, "{entry} {value:?}");
        }
    }

    #[test]
    fn possessive_quantifiers_in_classes_are_letters() {
        assert!(matches("/^[*+]+$/", "*+*"));
        assert!(matches("/^\\++$/", "++"));
    }
}
