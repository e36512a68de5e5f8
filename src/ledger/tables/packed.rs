//! Packs texts that resemble one another: the bodies of wanted objects and the facts of claims. They are most of the
//! ledger's bytes, and each byte goes through the write-ahead log, the file and the disk. UUIDs are shortened, and LZ4
//! packs the rest with a dictionary of what most texts say. A dictionary is part of the schema: what was packed with
//! it can be read with no other.

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_with_dict, uncompressed_size};

use super::shortened::{lengthen, shorten};
use crate::ledger::sql::{FromColumn, Result, SqlError, ValueRef, decode};
use crate::pure::convert::ClaimFacts;

static BODIES: &[u8] = include_bytes!("../bodies.dictionary");
static FACTS: &[u8] = include_bytes!("../facts.dictionary");

/// LZ4 makes of a byte no more than so many. A damaged text may say so, and that much memory must not be asked for.
const MOST_OF_A_BYTE: usize = 256;

/// Packs the body of a wanted object.
pub(super) fn pack_body(body: &str) -> Vec<u8> {
    pack(body, BODIES)
}

/// Packs the facts of a claim, which are JSON.
pub(super) fn pack_facts(facts: &str) -> Vec<u8> {
    pack(facts, FACTS)
}

fn pack(text: &str, dictionary: &[u8]) -> Vec<u8> {
    compress_prepend_size_with_dict(&shorten(text), dictionary)
}

/// `None`: nothing that was packed with this dictionary.
fn unpack(packed: &[u8], dictionary: &[u8]) -> Option<String> {
    let (size, packed) = uncompressed_size(packed).ok()?;
    let is_possible = size <= MOST_OF_A_BYTE.saturating_mul(packed.len() + 1);
    let short = is_possible.then(|| decompress_with_dict(packed, size, dictionary))?.ok()?;
    // What was cut off may be read all the same.
    lengthen(&short).filter(|_| short.len() == size)
}

/// Reads a column of this name, if it is one that is kept packed.
pub(super) fn unpack_column(column: &str, packed: &[u8]) -> Option<String> {
    match column {
        "body" => unpack(packed, BODIES),
        "facts" => unpack(packed, FACTS),
        _ => None,
    }
}

/// The body of a wanted object, read from its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ledger) struct UnpackedBody(pub String);

impl FromColumn for UnpackedBody {
    fn from_column(value: ValueRef<'_>) -> Option<Self> {
        unpack(value.as_blob().ok()?, BODIES).map(Self)
    }
}

impl From<UnpackedBody> for String {
    fn from(UnpackedBody(body): UnpackedBody) -> Self {
        body
    }
}

/// The facts of a claim as their column holds them.
#[derive(Debug)]
pub(in crate::ledger) struct PackedFacts(Vec<u8>);

impl PackedFacts {
    /// # Errors
    /// They are unreadable.
    pub(in crate::ledger) fn read(&self) -> Result<ClaimFacts> {
        decode(&unpack(&self.0, FACTS).ok_or(SqlError::Packed)?)
    }
}

impl FromColumn for PackedFacts {
    fn from_column(value: ValueRef<'_>) -> Option<Self> {
        value.as_bytes().ok().map(|bytes| Self(bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another dictionary is another schema, with a version of its own.
    #[test]
    fn a_dictionary_stays_as_it_is() {
        let named = |dictionary| blake3::hash(dictionary).to_string();
        assert_eq!(
            named(BODIES),
            "1f6af9bf85d209d2673660ed992dcef20ca35425db90629641b0d909d276a002"
        );
        assert_eq!(
            named(FACTS),
            "a475d91af05d0fc7e362eaa68d6666c87114c2894bc23fe9272f1424045d0c50"
        );
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        // Beyond 64 KiB LZ4 finds repetitions in another way.
        let (long, longest) =
            ("[ipv4-addr:value = '198.51.100.7']".repeat(100), "a".repeat(300_000));
        for text in ["", "{}", "ü", &long, &longest] {
            assert_eq!(unpack(&pack_body(text), BODIES).as_deref(), Some(text));
            assert_eq!(unpack(&pack_facts(text), FACTS).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_damaged_is_unreadable() {
        let packed = pack_facts(r#"{"attribute_id":7,"type":"ip-dst","comment":"seen"}"#);
        for end in 0..packed.len() {
            assert_eq!(unpack(&packed[..end], FACTS), None, "{end}");
        }
        assert_eq!(unpack(b"\xff\xff\xff\xff{", FACTS), None);
    }
}
