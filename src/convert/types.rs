//! Which MISP attribute types make claims, and of what: one line a type.

use super::file::Hash;

/// What a value, or one half of it, is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// IPv4, IPv6 or a network of either.
    Ip,
    Domain,
    Url,
    Email,
    File(&'static Hash),
}

/// What of an attribute's value makes claims. Halves are told apart by the last `|`: file names and
/// IPv6 addresses may hold what looks like a separator, hashes, ports and addresses never do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Whole(Kind),
    /// The half before the last `|`.
    Before(Kind),
    /// The half behind it.
    Behind(Kind),
    /// Both: part 0 and part 1.
    Both(Kind, Kind),
}

use Kind::{Domain, Email, File, Ip, Url};
use Shape::{Before, Behind, Both, Whole};

/// MISP's types (`describeTypes`) that are converted.
static TYPES: &[(&str, Shape)] = &[
    ("ip-dst", Whole(Ip)),
    ("ip-src", Whole(Ip)),
    ("domain", Whole(Domain)),
    ("hostname", Whole(Domain)),
    ("url", Whole(Url)),
    ("sha256", Whole(File(&Hash::SHA256))),
    ("sha1", Whole(File(&Hash::SHA1))),
    ("md5", Whole(File(&Hash::MD5))),
    ("sha224", Whole(File(&Hash::SHA224))),
    ("sha384", Whole(File(&Hash::SHA384))),
    ("sha512", Whole(File(&Hash::SHA512))),
    ("filename|sha256", Behind(File(&Hash::SHA256))),
    ("filename|sha1", Behind(File(&Hash::SHA1))),
    ("filename|md5", Behind(File(&Hash::MD5))),
    ("filename|sha224", Behind(File(&Hash::SHA224))),
    ("filename|sha384", Behind(File(&Hash::SHA384))),
    ("filename|sha512", Behind(File(&Hash::SHA512))),
    ("malware-sample", Behind(File(&Hash::MD5))),
    ("ip-dst|port", Before(Ip)),
    ("ip-src|port", Before(Ip)),
    ("hostname|port", Before(Domain)),
    ("domain|ip", Both(Domain, Ip)),
    ("email", Whole(Email)),
    ("email-src", Whole(Email)),
    ("email-dst", Whole(Email)),
];

/// The name and shape of a type of ours.
pub(super) fn find(kind: &str) -> Option<(&'static str, Shape)> {
    TYPES.iter().find(|(name, _)| *name == kind).copied()
}

/// MISP's attribute categories (`describeTypes`).
pub(super) static CATEGORIES: &[&str] = &[
    "Network activity",
    "Payload delivery",
    "External analysis",
    "Artifacts dropped",
    "Payload installation",
    "Antivirus detection",
    "Persistence mechanism",
    "Attribution",
    "Financial fraud",
    "Support Tool",
    "Social network",
    "Person",
    "Payload type",
    "Targeting data",
    "Internal reference",
    "Other",
];

#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TYPES.iter().map(|(name, _)| *name)
}
