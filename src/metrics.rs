//! Declares every metric once, and records each through one function. The values of labels are names from the
//! configuration and fixed words, never MISP's values, so that there are few of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Unit, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::notice::GapReason;

/// What a metric is, for Prometheus and for docs/reference/metrics.md.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    pub labels: &'static [&'static str],
    pub unit: Unit,
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

macro_rules! declare {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $unit:ident: $help:literal;)*) => {
        $(const $constant: &str = $name;)*

        /// All of them, in the order of the flow.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: MetricKind::$kind,
            labels: &[$($label),*],
            unit: Unit::$unit,
            help: $help,
        }),*];
    };
}

declare! {
    BUILD = Gauge "relay_build_info" ["version"] Count: "1, with the version of the program";
    FRAMES = Counter "relay_zeromq_frames_total" ["endpoint", "topic"] Count: "ZeroMQ frames received";
    BYTES = Counter "relay_zeromq_bytes_total" ["endpoint", "socket"] Bytes: "Bytes of ZeroMQ frames received";
    CONNECTED = Gauge "relay_zeromq_connected" ["endpoint", "socket"] Count: "1 while the socket is connected, else 0";
    LAST_FRAME = Gauge "relay_zeromq_last_frame_timestamp_seconds" ["endpoint"] Seconds: "Unix time of the newest frame";
    WEBHOOK = Counter "relay_webhook_requests_total" ["status"] Count: "Webhook requests, by the HTTP status of the relay's answer";
    REST = Counter "relay_rest_requests_total" ["outcome"] Count: "Requests to MISP's REST API, by outcome: answered, or what went wrong, also later in the answer";
    GAPS = Counter "relay_gaps_total" ["intake", "reason"] Count: "Times at which something may have been missed";
    EVENTS = Counter "relay_events_total" ["outcome"] Count: "Snapshots of events: applied, unchanged, stale, deleted, refused, read (over REST) or overtaken";
    CLAIMS = Counter "relay_claims_total" ["change"] Count: "Claims of the ledger: new, changed or gone";
    SKIPPED = Counter "relay_skipped_total" ["reason"] Count: "Attributes that make no claim, and claims that no policy admits";
    READS = Gauge "relay_reads_waiting" [] Count: "Events that wait to be read over REST";
    HELD = Gauge "relay_held_claims" [] Count: "Claims that the guard holds until an operator releases them";
    LISTS = Gauge "relay_warninglist_entries" [] Count: "Entries of MISP's warninglists that are in force";
    COMMIT = Histogram "relay_ledger_commit_seconds" [] Seconds: "Time of a ledger transaction with its commit";
    LEDGER_SIZE = Gauge "relay_ledger_bytes" ["part"] Bytes: "Size of the ledger: its file, its WAL, and the free part of the file";
    QUEUE = Gauge "relay_queue_changes" ["target", "lane"] Count: "Open changes of the target: one per event and lane";
    SENT = Counter "relay_objects_sent_total" ["target", "lane"] Count: "Objects sent, repeats included";
    ACCEPTED = Counter "relay_objects_accepted_total" ["target", "lane"] Count: "Objects that Sentinel accepted, or that a dry run wrote to its file";
    REJECTED = Counter "relay_objects_rejected_total" ["target"] Count: "Objects that Sentinel rejected";
    WITHDRAWN = Counter "relay_objects_withdrawn_total" ["target"] Count: "Accepted objects that were withdrawals";
    REQUESTS = Counter "relay_requests_total" ["target", "outcome"] Count: "Upload requests, by outcome";
    REQUEST_TIME = Histogram "relay_request_seconds" ["target"] Seconds: "Time of an upload request";
    SIGN_INS = Counter "relay_sign_ins_total" ["outcome"] Count: "Sign-ins, by outcome";
    DELETED = Counter "relay_deleted_total" ["target"] Count: "Withdrawn indicators deleted over the management plane";
    ACCEPT_TIME = Histogram "relay_time_to_accepted_seconds" ["target", "lane"] Seconds: "From MISP's frame to Sentinel's acceptance";
    DEGRADED = Gauge "relay_degraded" ["part", "name", "reason"] Count: "1 while a part of the relay works less than promised, else 0; name is the target or the endpoint, and empty for all else";
}

/// Upper bounds, seconds: an fsync on good and bad disks.
const COMMIT_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Upper bounds, seconds: up to the request time-out.
const REQUEST_BUCKETS: [f64; 9] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Upper bounds, seconds: live objects take milliseconds, a backlog hours.
const ACCEPT_BUCKETS: [f64; 13] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 1800.0, 14_400.0];

/// Records from now on, process-wide. The handle's `render` is the text of `/metrics`; its
/// `run_upkeep` has to be called every few seconds, or histograms grow until somebody looks.
///
/// # Errors
/// A recorder was installed before.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    begin();
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let bounds: [(&str, &[f64]); 3] = [
        (COMMIT, &COMMIT_BUCKETS),
        (REQUEST_TIME, &REQUEST_BUCKETS),
        (ACCEPT_TIME, &ACCEPT_BUCKETS),
    ];
    bounds.into_iter().try_fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds)
    })
}

/// Describes all metrics, and sets those that hold from the start.
fn begin() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => {
                metrics::describe_counter!(metric.name, metric.unit, metric.help)
            }
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            MetricKind::Histogram => {
                metrics::describe_histogram!(metric.name, metric.unit, metric.help)
            }
        }
    }
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// A ZeroMQ frame; `topic` one of MISP's, or `unknown`.
pub fn frame_received(endpoint: &str, topic: &'static str) {
    counter!(FRAMES, "endpoint" => endpoint.to_owned(), "topic" => topic).increment(1);
}

/// The size of a ZeroMQ frame that came on `socket` (`publications` or `others`).
pub fn bytes_received(endpoint: &str, socket: &'static str, bytes: u64) {
    counter!(BYTES, "endpoint" => endpoint.to_owned(), "socket" => socket).increment(bytes);
}

pub fn connected(endpoint: &str, socket: &'static str, yes: bool) {
    gauge!(CONNECTED, "endpoint" => endpoint.to_owned(), "socket" => socket).set(flag(yes));
}

/// When the newest frame came.
pub fn last_frame(endpoint: &str, at: SystemTime) {
    let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!(LAST_FRAME, "endpoint" => endpoint.to_owned()).set(since_epoch.as_secs_f64());
}

/// A webhook request, by the HTTP status of our answer.
pub fn webhook_answered(status: u16) {
    counter!(WEBHOOK, "status" => status.to_string()).increment(1);
}

/// A request to MISP was `answered`, or why not.
pub fn rest_request(outcome: &'static str) {
    counter!(REST, "outcome" => outcome).increment(1);
}

pub fn gap(intake: &str, reason: GapReason) {
    counter!(GAPS, "intake" => intake.to_owned(), "reason" => reason.word()).increment(1);
}

/// A publication was `applied`, `unchanged` or `refused`.
pub fn event_read(outcome: &'static str) {
    counter!(EVENTS, "outcome" => outcome).increment(1);
}

/// Claims that a transaction made `new`, `changed` or `gone`.
pub fn claims(change: &'static str, count: u64) {
    counter!(CLAIMS, "change" => change).increment(count);
}

/// Attributes or claims left out for a reason, as `convert` spells it.
pub fn skipped(reason: &'static str, count: u64) {
    counter!(SKIPPED, "reason" => reason).increment(count);
}

pub fn committed(took: Duration) {
    histogram!(COMMIT).record(took);
}

/// `part` is `file`, `wal` or `free`.
pub fn ledger_size(part: &'static str, bytes: f64) {
    gauge!(LEDGER_SIZE, "part" => part).set(bytes);
}

/// How many changes a target has not fully taken, in a lane (`withdrawals`, `live` or `backlog`).
pub fn queued(target: &str, lane: &'static str, changes: f64) {
    gauge!(QUEUE, "target" => target.to_owned(), "lane" => lane).set(changes);
}

pub fn sent(target: &str, lane: &'static str, objects: u64) {
    counter!(SENT, "target" => target.to_owned(), "lane" => lane).increment(objects);
}

pub fn accepted(target: &str, lane: &'static str, objects: u64) {
    counter!(ACCEPTED, "target" => target.to_owned(), "lane" => lane).increment(objects);
}

pub fn rejected(target: &str, objects: u64) {
    counter!(REJECTED, "target" => target.to_owned()).increment(objects);
}

pub fn withdrawn(target: &str, objects: u64) {
    counter!(WITHDRAWN, "target" => target.to_owned()).increment(objects);
}

/// An upload request with its outcome, one of the words of `deliver::outcome`.
pub fn request(target: &str, outcome: &'static str, took: Duration) {
    counter!(REQUESTS, "target" => target.to_owned(), "outcome" => outcome).increment(1);
    histogram!(REQUEST_TIME, "target" => target.to_owned()).record(took);
}

/// A token was asked for: `granted`, or the word of the `SignInError`.
pub fn sign_in(outcome: &'static str) {
    counter!(SIGN_INS, "outcome" => outcome).increment(1);
}

/// A withdrawn indicator was deleted over the management plane.
pub fn deleted(target: &str) {
    counter!(DELETED, "target" => target.to_owned()).increment(1);
}

pub fn waiting(reads: f64, held: f64) {
    gauge!(READS).set(reads);
    gauge!(HELD).set(held);
}

pub fn warninglist_entries(entries: f64) {
    gauge!(LISTS).set(entries);
}

/// From the arrival of MISP's frame to Sentinel's 200.
pub fn time_to_accepted(target: &str, lane: &'static str, took: Duration) {
    histogram!(ACCEPT_TIME, "target" => target.to_owned(), "lane" => lane).record(took);
}

/// What may work less than promised. Names of the configuration have a label of their own, so that
/// a target may be called as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// By its endpoint.
    Feed(&'a str),
    Rest,
    Warninglists,
    Ledger,
    /// By its name.
    Target(&'a str),
}

impl<'a> Part<'a> {
    fn labels(self) -> (&'static str, &'a str) {
        match self {
            Self::Feed(endpoint) => ("feed", endpoint),
            Self::Rest => ("rest", ""),
            Self::Warninglists => ("warninglists", ""),
            Self::Ledger => ("ledger", ""),
            Self::Target(name) => ("target", name),
        }
    }
}

pub fn degraded(part: Part<'_>, reason: &'static str, yes: bool) {
    let (part, name) = part.labels();
    gauge!(DEGRADED, "part" => part, "name" => name.to_owned(), "reason" => reason).set(flag(yes));
}

fn flag(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn everything_once() {
        let (second, target, lane) = (Duration::from_secs(1), "soc", "live");
        frame_received("tcp://a:1", "misp_json");
        bytes_received("tcp://a:1", "publications", 7);
        connected("tcp://a:1", "publications", true);
        last_frame("tcp://a:1", UNIX_EPOCH + second);
        webhook_answered(200);
        gap("webhook", GapReason::Silent);
        event_read("applied");
        claims("new", 3);
        skipped("deleted", 2);
        committed(second);
        ledger_size("file", 4096.0);
        queued(target, lane, 1.0);
        sent(target, lane, 1);
        accepted(target, lane, 1);
        rejected(target, 1);
        withdrawn(target, 1);
        request(target, "accepted", second);
        sign_in("granted");
        deleted("soc");
        time_to_accepted(target, lane, Duration::from_millis(40));
        degraded(Part::Rest, "not_configured", true);
        degraded(Part::Target("rest"), "failing", false);
        rest_request("ok");
        waiting(1.0, 0.0);
        warninglist_entries(2.0);
    }

    fn rendered() -> String {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            begin();
            everything_once();
        });
        recorder.handle().render()
    }

    /// Metric and labels of a line such as `relay_gaps_total{intake="webhook",reason="silent"} 1`.
    fn sample(line: &str) -> (String, BTreeSet<String>) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let names = labels.trim_end_matches('}').split("\",").filter_map(|l| l.split_once('='));
        let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let labels = names.map(|(label, _)| label.to_owned()).filter(|label| label != "le");
        (plain.unwrap_or(name).to_owned(), labels.collect())
    }

    #[test]
    fn every_metric_is_recorded_under_the_labels_it_declares() {
        let text = rendered();
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let seen: BTreeMap<String, BTreeSet<String>> = samples.map(sample).collect();
        let declared: BTreeMap<String, BTreeSet<String>> = METRICS
            .iter()
            .map(|m| (m.name.to_owned(), m.labels.iter().map(|l| (*l).to_owned()).collect()))
            .collect();
        assert_eq!(seen, declared);
    }

    #[test]
    fn prometheus_gets_a_help_line_and_buckets() {
        let text = rendered();
        for metric in METRICS {
            assert!(text.contains(&format!("# HELP {} {}", metric.name, metric.help)), "{text}");
        }
        let bucket =
            "relay_time_to_accepted_seconds_bucket{target=\"soc\",lane=\"live\",le=\"0.05\"} 1";
        assert!(text.contains(bucket), "{text}");
        assert!(text.contains("relay_claims_total{change=\"new\"} 3"), "{text}");
    }

    /// A target that is called as a part of the relay.
    #[test]
    fn no_target_hides_a_part() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            degraded(Part::Rest, "failing", true);
            degraded(Part::Target("rest"), "failing", false);
        });
        let text = recorder.handle().render();
        let rest = r#"relay_degraded{part="rest",name="",reason="failing"} 1"#;
        let target = r#"relay_degraded{part="target",name="rest",reason="failing"} 0"#;
        assert!(text.contains(rest) && text.contains(target), "{text}");
    }

    #[test]
    fn names_say_their_kind_and_unit() {
        let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            let total = metric.name.ends_with("_total");
            assert_eq!(total, metric.kind == MetricKind::Counter, "{}", metric.name);
            let seconds = metric.name.ends_with("_seconds");
            assert_eq!(seconds, metric.unit == Unit::Seconds, "{}", metric.name);
            assert!(metric.name.starts_with("relay_"));
        }
    }
}
