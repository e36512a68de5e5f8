//! Reads the settings of MISP's REST API: the key, how often and how much is asked, and the operator's own
//! search.

use reqwest::Url;
use serde_json::{Map, Value};

use super::address::proxy;
use super::mistake::Problem;
use super::reader::Reader;
use super::unseen::unseen;
use super::values::{GIB, KIB, MILLISECOND};
use super::{Rest, Secret};

const KEY: &str = "misp.key";
const SEARCH: &str = "misp.search";

/// Parameters of restSearch that the relay sets itself: in `misp.search` they would be lost.
const OWN: [&str; 8] =
    ["published", "returnFormat", "page", "limit", "order", "metadata", "uuid", "deleted"];

/// `None` without a key.
pub(super) fn read(reader: &mut Reader, url: Option<&Url>, decay: bool) -> Option<Rest> {
    let rest = Rest {
        url: url.map(|url| url.as_str().trim_end_matches('/').to_owned()).unwrap_or_default(),
        key: key(reader),
        verify_tls: reader.flag("misp.verify_tls"),
        ca_file: reader.path("misp.ca_file"),
        proxy: proxy(reader, "misp.proxy"),
        connect_timeout: reader.duration("misp.rest.connect_timeout", MILLISECOND),
        request_timeout: reader.duration("misp.rest.request_timeout", MILLISECOND),
        answer_timeout: reader.duration("misp.rest.answer_timeout", MILLISECOND),
        requests_per_second: reader.number("misp.rest.requests_per_second", 1..=10_000),
        max_event: reader.bytes("misp.rest.max_event", KIB..=GIB),
        page_events: reader.number("misp.rest.page_events", 1..=10_000),
        page_attributes: reader.number("misp.rest.page_attributes", 1..=10_000_000),
        read_back_after: reader.duration("misp.rest.read_back_after", MILLISECOND),
        read_back_within: reader.duration("misp.rest.read_back_within", MILLISECOND),
        confirm_after: reader.durations("misp.rest.confirm_after", MILLISECOND),
        catch_up_every: reader.duration("misp.rest.catch_up_every", MILLISECOND),
        existence_every: reader.duration("misp.rest.existence_every", MILLISECOND),
        gap_settle: reader.duration("misp.rest.gap_settle", MILLISECOND),
        gap_grace: reader.duration("misp.rest.gap_grace", MILLISECOND),
        overlap: reader.duration("misp.rest.overlap", MILLISECOND),
        backoff_min: reader.duration("misp.rest.backoff_min", MILLISECOND),
        backoff_max: reader.duration("misp.rest.backoff_max", MILLISECOND),
        retries: reader.number("misp.rest.retries", 0..=20),
        decay,
    };
    if !rest.key.is_given() {
        return None;
    }
    check(reader, &rest);
    Some(rest)
}

fn key(reader: &mut Reader) -> Secret {
    let key = reader.secret(KEY);
    let plain = key.expose().chars().all(|character| character.is_ascii_graphic());
    if !plain && reader.sound(KEY) {
        let problem = unseen(key.expose());
        let problem = problem.unwrap_or_else(|| "holds characters that no key has".to_owned());
        let problem = Problem::new(problem)
            .allowed("an authentication key of MISP: 40 letters and digits")
            .hint("the key alone, without \"Bearer\" or line breaks");
        reader.fault(KEY, problem);
    }
    key
}

fn check(reader: &mut Reader, rest: &Rest) {
    const CONFIRM: &str = "misp.rest.confirm_after";
    if rest.url.is_empty() && reader.sound("misp.url") {
        reader.missing("misp.url", "misp.key is set, and it must be known where MISP is");
    }
    if rest.confirm_after.is_empty() && reader.sound(CONFIRM) {
        reader.missing(CONFIRM, "a webhook's publication would never be looked for");
    }
    if !rest.confirm_after.is_sorted() && reader.sound(CONFIRM) {
        reader.fault(CONFIRM, "each time must be later than the one before");
    }
}

/// The table as JSON; in the environment one JSON object.
pub(super) fn search(reader: &mut Reader) -> Map<String, Value> {
    const ALLOWED: &str = "a table of restSearch parameters; in the environment a JSON object";
    let table = reader.table(SEARCH, ALLOWED);
    for key in OWN.iter().filter(|key| table.contains_key(**key)) {
        let problem = Problem::new(format!("{key} is set by the relay itself"));
        reader.fault(SEARCH, problem.hint(format!("remove {key}")));
    }
    table
}
