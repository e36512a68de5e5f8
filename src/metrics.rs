//! Declares every metric once, and records each through one function. The values of labels are names from the
//! configuration and fixed words, never MISP's values, so that there are few of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Label, Unit, counter, gauge, histogram};
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
    ($($(#[$doc:meta])* $vis:vis $function:ident($($label:ident),* $(; $value:ident: $type:ty)?)
        = $kind:ident $name:literal $unit:ident: $help:literal;)*) => {
        /// All metrics, in the order in which data flows.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: MetricKind::$kind,
            labels: &[$(stringify!($label)),*],
            unit: Unit::$unit,
            help: $help,
        }),*];

        $($(#[$doc])*
        $vis fn $function($($label: &str,)* $($value: $type)?) {
            let labels: Vec<Label> = vec![$(Label::new(stringify!($label), $label.to_owned())),*];
            declare!(@$kind $name, labels, $($value)?);
        })*
    };
    (@Counter $name:literal, $labels:ident,) => { counter!($name, $labels).increment(1) };
    (@Counter $name:literal, $labels:ident, $value:ident) => { counter!($name, $labels).increment($value) };
    (@Gauge $name:literal, $labels:ident, $value:ident) => { gauge!($name, $labels).set(f64::from($value)) };
    (@Histogram $name:literal, $labels:ident, $value:ident) => { histogram!($name, $labels).record($value) };
}

// Each line is the function that records a metric: its labels, and after `;` its value. A counter without a
// value counts by one.
declare! {
    build(version; one: f64) = Gauge "relay_build_info" Count: "1, with the version of the program";
    /// A ZeroMQ frame came; `topic` is one of MISP's, or `unknown`.
    pub frame_received(endpoint, topic) = Counter "relay_zeromq_frames_total" Count: "ZeroMQ frames received";
    /// The size of a ZeroMQ frame that came on `socket` (`publications` or `others`).
    pub bytes_received(endpoint, socket; bytes: u64) = Counter "relay_zeromq_bytes_total" Bytes: "Bytes of ZeroMQ frames received";
    pub connected(endpoint, socket; yes: bool) = Gauge "relay_zeromq_connected" Count: "1 while the socket is connected, else 0";
    newest_frame(endpoint; seconds: f64) = Gauge "relay_zeromq_last_frame_timestamp_seconds" Seconds: "Unix time of the newest frame";
    pub webhook_answered(status) = Counter "relay_webhook_requests_total" Count: "Webhook requests, by the HTTP status of the relay's answer";
    /// A request to MISP ended; `outcome` is `answered`, or says why there is no answer.
    pub rest_request(outcome) = Counter "relay_rest_requests_total" Count: "Requests to MISP's REST API, by outcome: answered, or what went wrong, also later in the answer";
    gap_of(intake, reason) = Counter "relay_gaps_total" Count: "Times at which something may have been missed";
    /// A snapshot of an event was `applied`, `unchanged`, `refused` and so on.
    pub event_read(outcome) = Counter "relay_events_total" Count: "Snapshots of events: applied, unchanged, stale, deleted, refused, read (over REST) or overtaken";
    /// A transaction made claims `new`, `changed` or `gone`.
    pub claims(change; count: u64) = Counter "relay_claims_total" Count: "Claims of the ledger: new, changed or gone";
    /// Attributes or claims were left out; `reason` is the word of `pure::convert::Reason`.
    pub skipped(reason; count: u64) = Counter "relay_skipped_total" Count: "Attributes that make no claim, and claims that no policy admits";
    pub reads_waiting(; reads: f64) = Gauge "relay_reads_waiting" Count: "Events that wait to be read over REST";
    pub claims_held(; held: f64) = Gauge "relay_held_claims" Count: "Claims that the guard holds until an operator releases them";
    pub warninglist_entries(; entries: f64) = Gauge "relay_warninglist_entries" Count: "Entries of MISP's warninglists that are in force";
    pub committed(; took: Duration) = Histogram "relay_ledger_commit_seconds" Seconds: "Time of a ledger transaction with its commit";
    /// `part` is `file`, `wal` or `free`.
    pub ledger_size(part; bytes: f64) = Gauge "relay_ledger_bytes" Bytes: "Size of the ledger: its file, its WAL, and the free part of the file";
    /// How many changes a target has not accepted completely, in a lane (`withdrawals`, `live` or `backlog`).
    pub queued(target, lane; changes: f64) = Gauge "relay_queue_changes" Count: "Open changes of the target: one per event and lane";
    pub sent(target, lane; objects: u64) = Counter "relay_objects_sent_total" Count: "Objects sent, repeats included";
    pub accepted(target, lane; objects: u64) = Counter "relay_objects_accepted_total" Count: "Objects that Sentinel accepted, or that a dry run wrote to its file";
    pub rejected(target; objects: u64) = Counter "relay_objects_rejected_total" Count: "Objects that Sentinel rejected";
    pub withdrawn(target; objects: u64) = Counter "relay_objects_withdrawn_total" Count: "Accepted objects that were withdrawals";
    /// An upload request ended; `outcome` is one of the words of `deliver::outcome`.
    pub request_outcome(target, outcome) = Counter "relay_requests_total" Count: "Upload requests, by outcome";
    pub request_time(target; took: Duration) = Histogram "relay_request_seconds" Seconds: "Time of an upload request";
    /// A token was asked for: `granted`, or the word of the `SignInError`.
    pub sign_in(outcome) = Counter "relay_sign_ins_total" Count: "Sign-ins, by outcome";
    /// A withdrawn indicator was deleted over the management plane.
    pub deleted(target) = Counter "relay_deleted_total" Count: "Withdrawn indicators deleted over the management plane";
    /// The time from the arrival of MISP's frame to Sentinel's 200.
    pub time_to_accepted(target, lane; took: Duration) = Histogram "relay_time_to_accepted_seconds" Seconds: "From MISP's frame to Sentinel's acceptance";
    degraded_part(part, name, reason; yes: bool) = Gauge "relay_degraded" Count: "1 while a part of the relay works less than promised, else 0; name is the target or the endpoint, and empty for all else";
}

/// Upper bounds in seconds: an fsync on good and bad disks.
const COMMIT_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Upper bounds in seconds: up to the request time-out.
const REQUEST_BUCKETS: [f64; 9] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Upper bounds in seconds: live objects take milliseconds, a backlog takes hours.
const ACCEPT_BUCKETS: [f64; 13] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 1800.0, 14_400.0];

/// Records the metrics of this process from now on. The handle's `render` gives the text of `/metrics`. Its
/// `run_upkeep` must be called every few seconds, since histograms grow until then.
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
        ("relay_ledger_commit_seconds", &COMMIT_BUCKETS),
        ("relay_request_seconds", &REQUEST_BUCKETS),
        ("relay_time_to_accepted_seconds", &ACCEPT_BUCKETS),
    ];
    bounds.into_iter().try_fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds)
    })
}

/// Describes all metrics, and sets those that hold from the start.
fn begin() {
    for &Metric { name, kind, unit, help, .. } in METRICS {
        match kind {
            MetricKind::Counter => metrics::describe_counter!(name, unit, help),
            MetricKind::Gauge => metrics::describe_gauge!(name, unit, help),
            MetricKind::Histogram => metrics::describe_histogram!(name, unit, help),
        }
    }
    build(env!("CARGO_PKG_VERSION"), 1.0);
}

/// Records when the newest frame came.
pub fn last_frame(endpoint: &str, at: SystemTime) {
    newest_frame(endpoint, at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
}

pub fn gap(intake: &str, reason: GapReason) {
    gap_of(intake, reason.word());
}

/// A part of the relay that may work less than promised. A name of the configuration has a label of its own, so
/// a target may have any name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Part<'a> {
    /// A feed, with its endpoint.
    Feed(&'a str),
    Rest,
    Warninglists,
    Ledger,
    /// A target, with its name.
    Target(&'a str),
    /// The relay as a whole.
    Relay,
}

impl<'a> Part<'a> {
    /// The word in metrics and status.
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// The name of the target; empty for all else.
    pub fn target(self) -> &'a str {
        match self {
            Self::Target(name) => name,
            Self::Feed(_) | Self::Rest | Self::Warninglists | Self::Ledger | Self::Relay => "",
        }
    }

    /// The endpoint of the feed; empty for all else.
    pub fn feed(self) -> &'a str {
        match self {
            Self::Feed(name) => name,
            Self::Target(_) | Self::Rest | Self::Warninglists | Self::Ledger | Self::Relay => "",
        }
    }
}

pub fn degraded(part: Part<'_>, reason: &str, yes: bool) {
    let name = if part.feed().is_empty() { part.target() } else { part.feed() };
    degraded_part(part.into(), name, reason, yes);
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
        webhook_answered("200");
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
        request_outcome(target, "accepted");
        request_time(target, second);
        sign_in("granted");
        deleted("soc");
        time_to_accepted(target, lane, Duration::from_millis(40));
        degraded(Part::Rest, "not_configured", true);
        degraded(Part::Target("rest"), "failing", false);
        rest_request("ok");
        reads_waiting(1.0);
        claims_held(0.0);
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
