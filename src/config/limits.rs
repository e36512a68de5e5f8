//! How much a target is sent: `[delivery]`, and over it `[target.NAME.delivery]`.

use super::Limits;
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

pub(super) fn read(reader: &mut Reader) -> Limits {
    let key = |leaf: &str| format!("delivery.{leaf}");
    Limits {
        max_objects: objects(reader, &key("max_objects")),
        max_bytes: bytes(reader, &key("max_bytes")),
        quota_requests: requests(reader, &key("quota_requests")),
        max_in_flight: in_flight(reader, &key("max_in_flight")),
    }
}

pub(super) fn of_target(reader: &mut Reader, name: &str, base: Limits) -> Limits {
    let mut own = Own { reader, section: format!("target.{name}.delivery") };
    Limits {
        max_objects: own.or("max_objects", base.max_objects, objects),
        max_bytes: own.or("max_bytes", base.max_bytes, bytes),
        quota_requests: own.or("quota_requests", base.quota_requests, requests),
        max_in_flight: own.or("max_in_flight", base.max_in_flight, in_flight),
    }
}

struct Own<'r> {
    reader: &'r mut Reader,
    section: String,
}

impl Own<'_> {
    fn or<T>(&mut self, leaf: &str, base: T, read: impl Fn(&mut Reader, &str) -> T) -> T {
        let key = format!("{}.{leaf}", self.section);
        if self.reader.holds(&key) { read(self.reader, &key) } else { base }
    }
}

fn objects(reader: &mut Reader, key: &str) -> usize {
    reader.number(key, 1..=100_u16).into()
}

fn bytes(reader: &mut Reader, key: &str) -> usize {
    reader.bytes(key, 16 * KIB..=GIB)
}

fn requests(reader: &mut Reader, key: &str) -> u32 {
    reader.number(key, 0..=99)
}

fn in_flight(reader: &mut Reader, key: &str) -> usize {
    reader.number(key, 1..=16_u16).into()
}
