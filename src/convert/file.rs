//! Files, by their hashes.

use crate::stix::Observable;

/// A hash algorithm: its STIX object path and its length in hexadecimal digits.
///
/// Names are those of STIX 2.1, "Hashing Algorithm Vocabulary"; SHA-224 and SHA-384, which it
/// lacks (it is open), are spelled as in STIX 2.0's. A key with a hyphen must be quoted in an object
/// path, MD5 need not be (STIX 2.1, "Object Path Syntax").
#[derive(Debug)]
pub(super) struct Hash {
    path: &'static str,
    digits: usize,
}

impl Hash {
    pub(super) const MD5: Self = Self { path: "file:hashes.MD5", digits: 32 };
    pub(super) const SHA1: Self = Self { path: "file:hashes.'SHA-1'", digits: 40 };
    pub(super) const SHA224: Self = Self { path: "file:hashes.'SHA-224'", digits: 56 };
    pub(super) const SHA256: Self = Self { path: "file:hashes.'SHA-256'", digits: 64 };
    pub(super) const SHA384: Self = Self { path: "file:hashes.'SHA-384'", digits: 96 };
    pub(super) const SHA512: Self = Self { path: "file:hashes.'SHA-512'", digits: 128 };

    /// A hash in lower case.
    pub(super) fn observable(&self, value: &str) -> Option<Observable> {
        let well_formed =
            value.len() == self.digits && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        well_formed.then(|| Observable::new(self.path, value.to_ascii_lowercase()))
    }
}
