//! Lists the hashes and fingerprints that MISP has attribute types for, each with its STIX object path and
//! its format.

use super::file::{self, Hash};
use super::kind::ValueKind;

const fn hash(path: &'static str, digits: usize) -> ValueKind {
    ValueKind::Hash(Hash { path, digits })
}

pub(super) const MD5: ValueKind = hash("file:hashes.MD5", 32);
pub(super) const SHA1: ValueKind = hash("file:hashes.'SHA-1'", 40);
pub(super) const SHA224: ValueKind = hash("file:hashes.'SHA-224'", 56);
pub(super) const SHA256: ValueKind = hash("file:hashes.'SHA-256'", 64);
pub(super) const SHA384: ValueKind = hash("file:hashes.'SHA-384'", 96);
pub(super) const SHA512: ValueKind = hash("file:hashes.'SHA-512'", 128);
pub(super) const SHA3_224: ValueKind = hash("file:hashes.'SHA3-224'", 56);
pub(super) const SHA3_256: ValueKind = hash("file:hashes.'SHA3-256'", 64);
pub(super) const SHA3_384: ValueKind = hash("file:hashes.'SHA3-384'", 96);
pub(super) const SHA3_512: ValueKind = hash("file:hashes.'SHA3-512'", 128);
pub(super) const AUTHENTIHASH: ValueKind = hash("file:hashes.AUTHENTIHASH", 64);
pub(super) const IMPHASH: ValueKind = hash("file:hashes.IMPHASH", 32);
pub(super) const PEHASH: ValueKind = hash("file:hashes.PEHASH", 40);
pub(super) const CERTIFICATE_MD5: ValueKind = hash("x509-certificate:hashes.MD5", 32);
pub(super) const CERTIFICATE_SHA1: ValueKind = hash("x509-certificate:hashes.'SHA-1'", 40);
pub(super) const CERTIFICATE_SHA256: ValueKind = hash("x509-certificate:hashes.'SHA-256'", 64);
pub(super) const JA3: ValueKind = hash("ja3:value", 32);
pub(super) const JARM: ValueKind = hash("jarm:value", 62);
pub(super) const HASSH: ValueKind = hash("hassh:value", 32);
pub(super) const HASSH_SERVER: ValueKind = hash("hassh-server:value", 32);
pub(super) const SSDEEP: ValueKind = ValueKind::At("file:hashes.SSDEEP", file::ssdeep);
pub(super) const TLSH: ValueKind = ValueKind::At("file:hashes.TLSH", file::tlsh);
pub(super) const TELFHASH: ValueKind = ValueKind::At("file:hashes.TELFHASH", file::tlsh);
pub(super) const VHASH: ValueKind = ValueKind::At("file:hashes.VHASH", file::vhash);
