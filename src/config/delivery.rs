//! Reads how objects leave: `[delivery]`, whose limits `[target.NAME.delivery]` can override.

use std::time::Duration;

use super::overlay::{Overlay, overlaid};
use super::reader::Reader;
use super::section::section;
use super::values::{GIB, KIB};

section! {
    /// How objects leave.
    #[derive(Debug, Clone)]
    pub struct Delivery at "delivery" {
        /// How long a batch that is not full waits for more.
        linger: Duration = Reader::time_or_zero,
        /// Those of targets without their own.
        limits at "delivery": Limits = |reader, section| Limits::of(reader, section.to_owned(), None),
        quota_window: Duration = Reader::time,
        /// One request, from connect to the last byte of the answer.
        request_timeout: Duration = Reader::time,
        /// Back-off after 5xx, time-outs, resets: first and longest pause.
        backoff_min: Duration = Reader::time,
        backoff_max: Duration = Reader::time,
        /// The wait after a 429 that names none.
        throttled_default: Duration = Reader::time,
        /// How slowly a misconfigured or forbidden target is tried.
        degraded_retry: Duration = Reader::time,
        /// After an ambiguous failure of an object that changed since: when its final version is sent
        /// once more.
        resend_after: Duration = Reader::time,
        /// Which bodies of a success count as accepted.
        accept_body: AcceptBody = |reader, key| reader.word(key, AcceptBody::Documented),
        /// How long SIGTERM waits for what is in hand.
        grace: Duration = Reader::time_or_zero,
    }
}

/// `delivery.accept_body`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum AcceptBody {
    /// The bodies that Microsoft documents: status 200 with no body, `null`, or an object with `errors`.
    #[default]
    Documented,
    /// Also those of another 2xx, and other JSON that tells of no error.
    AnyJson,
}

/// How much a target is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Objects a request, at most 100.
    pub max_objects: usize,
    /// Bytes a request.
    pub max_bytes: usize,
    /// Requests in any `quota_window`, at most 99; 0 is no limit (tests only). Targets that share a
    /// credential share the smallest of theirs.
    pub quota_requests: u32,
    /// Requests in flight; targets that share a credential share the largest of theirs.
    pub max_in_flight: usize,
}

impl Limits {
    /// `base`: those for all targets, where `section` is a target's.
    pub(super) fn of(reader: &mut Reader, section: String, base: Option<&Self>) -> Self {
        let mut keys = Overlay { reader, section, base };
        overlaid!(Limits, keys, own {
            max_objects: |reader, key| reader.number(key, 1..=100),
            max_bytes: |reader, key| reader.bytes(key, 16 * KIB..=GIB),
            quota_requests: |reader, key| reader.number(key, 0..=99),
            max_in_flight: |reader, key| reader.number(key, 1..=16),
        } common {})
    }

    /// The quota of targets that share a credential: the smallest of theirs; 0 is no limit.
    pub fn shared_quota<'l>(limits: impl IntoIterator<Item = &'l Self>) -> u32 {
        let quotas = limits.into_iter().map(|one| one.quota_requests);
        quotas.filter(|most| *most > 0).min().unwrap_or(0)
    }
}
