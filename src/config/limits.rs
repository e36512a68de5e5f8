//! Reads the limits for uploads to a target: `[delivery]`, which `[target.NAME.delivery]` can override.

use super::Limits;
use super::overlay::{Overlay, overlaid};
use super::reader::Reader;
use super::values::{GIB, KIB};

impl Limits {
    /// The quota of targets that share a credential: the smallest of theirs; 0 is no limit.
    #[must_use]
    pub fn shared_quota<'l>(limits: impl IntoIterator<Item = &'l Self>) -> u32 {
        let quotas = limits.into_iter().map(|one| one.quota_requests);
        quotas.filter(|most| *most > 0).min().unwrap_or(0)
    }
}

/// `base`: those for all targets, where `section` is a target's.
pub(super) fn read(reader: &mut Reader, section: String, base: Option<&Limits>) -> Limits {
    let mut keys = Overlay { reader, section, base };
    overlaid!(Limits, keys, own {
        max_objects: |reader, key| reader.number(key, 1..=100),
        max_bytes: |reader, key| reader.bytes(key, 16 * KIB..=GIB),
        quota_requests: |reader, key| reader.number(key, 0..=99),
        max_in_flight: |reader, key| reader.number(key, 1..=16),
    } common {})
}
