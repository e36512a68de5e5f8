//! Reads the section `[delivery]`, whose limits `[target.NAME.delivery]` can override.

use std::time::Duration;

use super::overlay::{Overlay, overlaid};
use super::reader::Reader;
use super::section::section;
use super::values::{GIB, KIB};

section! {
    /// How objects are sent to targets.
    #[derive(Debug, Clone)]
    pub struct Delivery at "delivery" {
        /// How long a batch that is not full waits for more.
        linger: Duration = Reader::time_or_zero,
        /// The limits of targets that set none of their own.
        limits at "delivery": Limits = |reader, section| Limits::of(reader, section.to_owned(), None),
        quota_window: Duration = Reader::time,
        /// The time-out of a request, from connect to the last byte of the answer.
        request_timeout: Duration = Reader::time,
        /// The first and the longest pause after a 5xx, a time-out or a reset.
        backoff_min: Duration = Reader::time,
        backoff_max: Duration = Reader::time,
        /// The wait after a 429 that names none.
        throttled_default: Duration = Reader::time,
        /// The pause between two attempts at a misconfigured or forbidden target.
        degraded_retry: Duration = Reader::time,
        /// The time after an ambiguous failure until an object that has changed since is sent once more, in
        /// its final version.
        resend_after: Duration = Reader::time,
        /// Which bodies of a success count as accepted.
        accept_body: AcceptBody = |reader, key| reader.word(key, AcceptBody::Documented),
        /// The time that a stop by SIGTERM waits for requests in flight.
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
    /// Also the same bodies with another 2xx, and other JSON without an error.
    AnyJson,
}

/// The limits of the requests to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most objects in a request, up to 100.
    pub max_objects: usize,
    /// The most bytes in a request.
    pub max_bytes: usize,
    /// The most requests in any `quota_window`, up to 99. 0 is no limit (tests only). Targets that share a
    /// credential share the smallest of their limits.
    pub quota_requests: u32,
    /// The most requests in flight. Targets that share a credential share the largest of their limits.
    pub max_in_flight: usize,
}

impl Limits {
    /// Reads the limits of `section`. `base` holds the limits for all targets if `section` is a target's.
    pub(super) fn of(reader: &mut Reader, section: String, base: Option<&Self>) -> Self {
        let mut keys = Overlay { reader, section, base };
        overlaid!(Limits, keys, own {
            max_objects: |reader, key| reader.number(key, 1..=100),
            max_bytes: |reader, key| reader.bytes(key, 16 * KIB..=GIB),
            quota_requests: |reader, key| reader.number(key, 0..=99),
            max_in_flight: |reader, key| reader.number(key, 1..=16),
        } common {})
    }

    /// Returns the quota of targets that share a credential: the smallest of theirs. 0 is no limit.
    pub fn shared_quota<'l>(limits: impl IntoIterator<Item = &'l Self>) -> u32 {
        let quotas = limits.into_iter().map(|one| one.quota_requests);
        quotas.filter(|most| *most > 0).min().unwrap_or(0)
    }
}
