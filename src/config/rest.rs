//! Reads the settings of MISP's REST API: the key, how often and how much is asked, and the operator's own
//! search.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Secret;
use super::address::{WEB_ADDRESS, proxy, trimmed, web_address};
use super::mistake::Problem;
use super::reader::Reader;
use super::section::section;
use super::unseen::unseen;
use super::values::{GIB, KIB, MILLISECOND};

/// The parameters of restSearch that the relay sets itself. In `misp.search` they would have no effect.
const OWN: [&str; 8] =
    ["published", "returnFormat", "page", "limit", "order", "metadata", "uuid", "deleted"];

section! {
    /// The URL and the key of MISP's REST API, and how it is asked.
    #[derive(Debug, Clone)]
    pub struct Rest at "misp.rest" {
        /// The name of the source.
        source at "misp.name": String = |reader, key| {
            let name = reader.source_name().map(str::to_owned);
            name.unwrap_or_else(|| reader.text(key))
        },
        /// The base URL without a slash at the end, e.g. `https://misp.example.org`.
        url at "misp.url": String = |reader, key| {
            let url = reader.optional(key, WEB_ADDRESS, web_address);
            url.as_ref().map(trimmed).unwrap_or_default()
        },
        /// The auth key. It is sent in the header `Authorization`, and appears nowhere else.
        key at "misp.key": Secret = key,
        /// Whether certificates are checked.
        verify_tls at "misp.verify_tls": bool = Reader::flag,
        /// Extra certificate authorities, PEM; the system's are always used.
        ca_file at "misp.ca_file": Option<PathBuf> = Reader::path,
        /// The same as [`super::Azure::proxy`].
        proxy at "misp.proxy": Option<String> = proxy,
        connect_timeout: Duration = Reader::time,
        /// The longest silence, before an answer begins and between two parts of it.
        request_timeout: Duration = Reader::time,
        /// The longest time from the beginning of an answer to its end.
        answer_timeout: Duration = Reader::time,
        /// The most requests in a second.
        requests_per_second: u32 = |reader, key| reader.number(key, 1..=10_000),
        /// The largest event, in bytes. Larger ones are skipped.
        max_event: usize = |reader, key| reader.bytes(key, KIB..=GIB),
        /// The most events in one request.
        page_events: usize = |reader, key| reader.number(key, 1..=10_000),
        /// The most attributes in one request, as far as their number is known. One event is always asked
        /// for.
        page_attributes: usize = |reader, key| reader.number(key, 1..=10_000_000),
        /// The time after which a publication is read back, and the longest time that further publications
        /// may delay it.
        read_back_after: Duration = Reader::time,
        read_back_within: Duration = Reader::time,
        /// The times after the arrival of a webhook's publication at which it is looked for.
        confirm_after: Vec<Duration> = |reader, key| reader.durations(key, MILLISECOND),
        catch_up_every: Duration = Reader::time,
        /// The time between two checks whether the ledger's events still exist in MISP.
        existence_every: Duration = Reader::time,
        /// The time after a gap's end when catch-up begins, and the time after it from which on a begun
        /// catch-up heals the gap.
        gap_settle: Duration = Reader::time,
        gap_grace: Duration = Reader::time,
        /// The time before its cursor at which a listing begins.
        overlap: Duration = Reader::time,
        /// The first and the longest pause before a retry.
        backoff_min: Duration = Reader::time,
        backoff_max: Duration = Reader::time,
        /// The number of retries of a request whose answer did not begin.
        retries: u32 = |reader, key| reader.number(key, 0..=20),
        /// `misp.decay`: whether events are read with the scores of decaying models.
        decay at "misp.decay": bool = Reader::flag,
    }
}

/// Reads the settings of the REST API. `None`: no key is set.
pub(super) fn read(reader: &mut Reader) -> Option<Rest> {
    let rest = Rest::read(reader);
    if !rest.key.is_given() {
        return None;
    }
    check(reader, &rest);
    Some(rest)
}

fn key(reader: &mut Reader, key: &str) -> Secret {
    let secret = reader.secret(key);
    let plain = secret.expose().chars().all(|character| character.is_ascii_graphic());
    if !plain && reader.sound(key) {
        let problem = unseen(secret.expose());
        let problem = problem.unwrap_or_else(|| "holds characters that no key has".to_owned());
        let problem = Problem::new(problem)
            .allowed("an authentication key of MISP: 40 letters and digits")
            .hint("the key alone, without \"Bearer\" or line breaks");
        reader.fault(key, problem);
    }
    secret
}

fn check(reader: &mut Reader, rest: &Rest) {
    const CONFIRM: &str = "misp.rest.confirm_after";
    if rest.url.is_empty() {
        reader.missing("misp.url", "misp.key is set, and it must be known where MISP is");
    }
    if rest.confirm_after.is_empty() {
        reader.missing(CONFIRM, "a webhook's publication would never be looked for");
    }
    if !rest.confirm_after.is_sorted() && reader.sound(CONFIRM) {
        reader.fault(CONFIRM, "each time must be later than the one before");
    }
}

/// Reads `misp.search`, a table. In the environment it is a JSON object.
pub(super) fn search(reader: &mut Reader, key: &str) -> Map<String, Value> {
    const ALLOWED: &str = "a table of restSearch parameters; in the environment a JSON object";
    let table = reader.table(key, ALLOWED);
    for own in OWN.iter().filter(|own| table.contains_key(**own)) {
        let problem = Problem::new(format!("{own} is set by the relay itself"));
        reader.fault(key, problem.hint(format!("remove {own}")));
    }
    table
}
