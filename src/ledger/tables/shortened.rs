//! Shortens texts before they are compressed: it writes a UUID in 17 bytes in place of 36. A compressor does not find
//! this by itself.

use memchr::{memchr_iter, memchr2};
use uuid::Uuid;

/// Stands before the sixteen bytes of a UUID.
const UUID: u8 = 1;

/// Stands before a byte of the text that is one of these two. JSON has neither.
const LITERAL: u8 = 2;

/// How far the first hyphen of a UUID is from its beginning, and from its end.
const BEFORE_HYPHEN: usize = 8;
const FROM_HYPHEN: usize = 28;

/// Writes each UUID of a text, as the relay writes them (lower case, with hyphens), in 17 bytes.
pub(super) fn shorten(text: &str) -> Vec<u8> {
    let text = text.as_bytes();
    let mut short = Vec::with_capacity(text.len());
    let mut rest = 0;
    for hyphen in memchr_iter(b'-', text) {
        let Some(begin) = hyphen.checked_sub(BEFORE_HYPHEN).filter(|begin| *begin >= rest) else {
            continue;
        };
        let end = hyphen + FROM_HYPHEN;
        let Some(uuid) = text.get(begin..end).and_then(written_by_us) else { continue };
        push_literal(&mut short, text.get(rest..begin).unwrap_or_default());
        short.push(UUID);
        short.extend_from_slice(uuid.as_bytes());
        rest = end;
    }
    push_literal(&mut short, text.get(rest..).unwrap_or_default());
    short
}

/// Returns the UUID of this text, if the relay would write the UUID exactly so.
fn written_by_us(text: &[u8]) -> Option<Uuid> {
    let uuid = Uuid::try_parse_ascii(text).ok()?;
    (uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes() == text).then_some(uuid)
}

fn push_literal(short: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(at) = memchr2(UUID, LITERAL, text) {
        let (plain, rest) = text.split_at(at);
        short.extend_from_slice(plain);
        short.push(LITERAL);
        if let Some((marker, rest)) = rest.split_first() {
            short.push(*marker);
            text = rest;
        }
    }
    short.extend_from_slice(text);
}

/// Returns the text that was shortened. `None`: these bytes were not made by [`shorten`].
pub(super) fn lengthen(mut short: &[u8]) -> Option<String> {
    let mut text = Vec::with_capacity(short.len() * 2);
    while let Some(at) = memchr2(UUID, LITERAL, short) {
        let (plain, rest) = short.split_at(at);
        text.extend_from_slice(plain);
        let (marker, rest) = rest.split_first()?;
        if *marker == UUID {
            let (uuid, rest) = rest.split_first_chunk::<16>()?;
            let mut buffer = Uuid::encode_buffer();
            let uuid = Uuid::from_bytes(*uuid).hyphenated().encode_lower(&mut buffer);
            text.extend_from_slice(uuid.as_bytes());
            short = rest;
        } else {
            let (literal, rest) = rest.split_first()?;
            text.push(*literal);
            short = rest;
        }
    }
    text.extend_from_slice(short);
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOWER: &str = "64b9a1de-32c2-4a8c-9c55-0d5c95e3b3f4";

    #[test]
    fn a_uuid_takes_seventeen_bytes() {
        let text = format!("indicator--{LOWER}");
        assert_eq!(shorten(&text).len(), "indicator--".len() + 17);
        let doubled = format!("{LOWER}{LOWER}");
        assert_eq!(shorten(&doubled).len(), 2 * 17);
    }

    #[test]
    fn what_another_would_write_otherwise_stays() {
        for text in [LOWER.to_uppercase(), LOWER.replace('-', "")] {
            assert_eq!(shorten(&text), text.as_bytes());
        }
    }

    #[test]
    fn what_is_cut_off_is_unreadable() {
        let short = shorten(LOWER);
        assert!((1..short.len()).all(|end| lengthen(&short[..end]).is_none()));
        assert_eq!(lengthen(&[LITERAL]), None);
    }

    proptest! {
        #[test]
        fn a_text_comes_back(parts in prop::collection::vec(
            prop_oneof![
                Just(LOWER.to_owned()),
                Just(LOWER.replace("b3f4", "")),
                "[\u{1}\u{2}a-f0-9ü-]{0,12}",
            ],
            0..6,
        )) {
            let text = parts.concat();
            prop_assert_eq!(lengthen(&shorten(&text)), Some(text));
        }
    }
}
