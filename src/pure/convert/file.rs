//! Checks hashes and fingerprints and brings them into their canonical form. `hashes` lists the algorithms.

use crate::pure::stix::Observable;

/// A hash algorithm: its STIX object path and its length in hexadecimal digits.
///
/// Names are those of STIX 2.1, "Hashing Algorithm Vocabulary" (an open one); others are spelled in
/// its way, or in capitals as misp-stix does. A key with a hyphen must be quoted in an object path,
/// others need not be (STIX 2.1, "Object Path Syntax").
#[derive(Debug, Clone, Copy)]
pub(super) struct Hash {
    pub(super) path: &'static str,
    pub(super) digits: usize,
}

impl Hash {
    /// A hash in lower case. Fingerprints may have colons between their bytes.
    pub(super) fn observable(&self, value: &str) -> Option<Observable> {
        let value = without_colons(value, self.digits);
        // Without an early end: many bytes at a time.
        let hexadecimal = || value.bytes().fold(true, |all, byte| all & byte.is_ascii_hexdigit());
        let well_formed = value.len() == self.digits && hexadecimal();
        well_formed.then(|| Observable::new(self.path, value.to_ascii_lowercase()))
    }
}

/// `AB:CD:…` as tools print fingerprints of certificates.
fn without_colons(value: &str, digits: usize) -> std::borrow::Cow<'_, str> {
    let pairs = value.len() == digits / 2 * 3 - 1
        && value.as_bytes().chunks(3).all(|pair| pair.get(2).is_none_or(|byte| *byte == b':'));
    if pairs { value.replace(':', "").into() } else { value.into() }
}

/// ssdeep: block size and two parts in Base64's letters, where case counts.
pub(super) fn ssdeep(value: &str) -> Option<String> {
    let mut parts = value.split(':');
    let size = parts
        .next()
        .is_some_and(|size| !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit()));
    let is_part = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
    };
    let (first, second) = (parts.next()?, parts.next()?);
    let whole = size && !first.is_empty() && is_part(first) && is_part(second);
    (whole && parts.next().is_none()).then(|| value.to_owned())
}

/// TLSH and telfhash: 70 digits behind the version `T1`, which older tools leave out.
pub(super) fn tlsh(value: &str) -> Option<String> {
    let lower = value.to_ascii_lowercase();
    let digits = lower.strip_prefix("t1").unwrap_or(&lower);
    let well_formed = digits.len() == 70 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    well_formed.then(|| format!("t1{digits}"))
}

/// VirusTotal's vhash: letters and digits.
pub(super) fn vhash(value: &str) -> Option<String> {
    let well_formed = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    well_formed.then(|| value.to_ascii_lowercase())
}
