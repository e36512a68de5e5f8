//! Declares every metric once, and records each through one function. The values of labels are names from the
//! configuration and fixed words, never MISP's values, so that there are few of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Label, Unit, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

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
        /// All metrics of the relay's own, in the order in which data flows.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: concat!("misp_sentinel_relay_", $name),
            kind: MetricKind::$kind,
            labels: &[$(stringify!($label)),*],
            unit: Unit::$unit,
            help: $help,
        }),*];

        $($(#[$doc])*
        $vis fn $function($($label: &str,)* $($value: $type)?) {
            declare!(@labels labels, $($label),*);
            declare!(@$kind concat!("misp_sentinel_relay_", $name), labels, $($value)?);
        })*

        /// Shows counters and histograms before anything is counted, so that the first time counts as a rise.
        pub mod begin {
            use super::{Label, counter, histogram};

            $(declare!(@begin $kind $vis $function($($label),*) $name);)*
        }
    };
    (@labels $labels:ident, $($label:ident),*) => {
        let $labels: Vec<Label> = vec![$(Label::new(stringify!($label), $label.to_owned())),*];
    };
    (@Counter $name:expr, $labels:ident,) => { counter!($name, $labels).increment(1) };
    (@Counter $name:expr, $labels:ident, $value:ident) => { counter!($name, $labels).increment($value) };
    (@Gauge $name:expr, $labels:ident, $value:ident) => { gauge!($name, $labels).set(f64::from($value)) };
    (@Histogram $name:expr, $labels:ident, $value:ident) => { histogram!($name, $labels).record($value) };
    (@begin Counter $vis:vis $function:ident($($label:ident),*) $name:literal) => {
        pub fn $function($($label: &str),*) {
            declare!(@labels labels, $($label),*);
            counter!(concat!("misp_sentinel_relay_", $name), labels).increment(0);
        }
    };
    (@begin Histogram $vis:vis $function:ident($($label:ident),*) $name:literal) => {
        pub fn $function($($label: &str),*) {
            declare!(@labels labels, $($label),*);
            drop(histogram!(concat!("misp_sentinel_relay_", $name), labels));
        }
    };
    (@begin Gauge $vis:vis $function:ident($($label:ident),*) $name:literal) => {};
}

// Each line is the function that records a metric: its labels, and after `;` its value. A counter without a
// value counts by one. The names are those after the prefix `misp_sentinel_relay_`. A label is called `feed` and not
// `endpoint`, which the Prometheus Operator gives to every series.
declare! {
    build(version; one: f64) = Gauge "build_info" Count: "1, with the version of the program";
    degraded_part(part, source, target, feed, reason; yes: bool) = Gauge "degraded" Count: "1 while a part of the relay works less than promised, else 0; source, target and feed are empty for all other parts";
    /// A ZeroMQ frame came; `topic` is one of MISP's, or `unknown`.
    pub frame_received(feed, topic) = Counter "zeromq_frames_total" Count: "ZeroMQ frames received";
    /// The size of a ZeroMQ frame that came on `socket` (`publications` or `others`).
    pub bytes_received(feed, socket; bytes: u64) = Counter "zeromq_bytes_total" Bytes: "Bytes of ZeroMQ frames received";
    pub connected(feed, socket; yes: bool) = Gauge "zeromq_connected" Count: "1 while the socket is connected, else 0";
    last_frame_at(feed; seconds: f64) = Gauge "zeromq_last_frame_timestamp_seconds" Seconds: "Unix time of the newest frame";
    last_publication_at(feed; seconds: f64) = Gauge "zeromq_last_publication_timestamp_seconds" Seconds: "Unix time of the newest frame with a published event";
    pub webhook_answered(status) = Counter "webhook_requests_total" Count: "Webhook requests, by the HTTP status of the answer to them";
    /// A request to MISP ended; `outcome` is `answered`, or says why there is no answer.
    pub rest_request(source, outcome) = Counter "rest_requests_total" Count: "Requests to the REST API of MISP, by outcome: answered, or what went wrong, also later in the answer";
    rest_answered_at(source; seconds: f64) = Gauge "rest_last_answer_timestamp_seconds" Seconds: "Unix time of the last answer of the REST API that was as it should be";
    caught_up_at(source; seconds: f64) = Gauge "rest_last_catch_up_timestamp_seconds" Seconds: "Unix time of the end of the last catch-up";
    resynced_at(source; seconds: f64) = Gauge "rest_last_resync_timestamp_seconds" Seconds: "Unix time of the end of the last resync of everything";
    gap_of(intake, reason) = Counter "gaps_total" Count: "Times at which something may have been missed";
    /// Something that an alert of a target named was a `new` or `known` hit, or `dropped`.
    pub hits(target, outcome; count: u64) = Counter "hits_total" Count: "What alerts named: new hits of indicators, known ones, and dropped because it is no indicator that the target holds or held";
    /// A sighting was `taken` by MISP, `refused` for good, or `put_off`.
    pub sighting_told(source, outcome) = Counter "sightings_total" Count: "Attempts to tell MISP of hits: taken, refused for good, or put_off";
    pub sightings_due(source; due: f64) = Gauge "due_sightings" Count: "Sightings of hits that MISP has not been told yet";
    pub gaps_open(; gaps: f64) = Gauge "open_gaps" Count: "Times at which something may have been missed, which nothing has healed yet";
    /// A snapshot of an event was `applied`, `unchanged`, `refused` and so on.
    pub event_read(outcome) = Counter "events_total" Count: "Snapshots of events: applied, unchanged, stale, deleted, refused, read (over REST) or overtaken";
    /// A transaction made claims `new`, `changed` or `gone`.
    pub claims(change; count: u64) = Counter "claims_total" Count: "Claims of the ledger: new, changed or gone";
    /// Attributes or claims were left out; `reason` is the word of `pure::convert::Reason`.
    pub skipped(reason; count: u64) = Counter "skipped_total" Count: "Attributes that make no claim, and claims that no policy admits";
    pub reads_waiting(; reads: f64) = Gauge "reads_waiting" Count: "Events that wait to be read over REST";
    pub claims_held(; held: f64) = Gauge "held_claims" Count: "Claims that the guard holds until an operator releases them";
    pub values_suppressed(; values: f64) = Gauge "suppressed_values" Count: "Values that an operator withholds";
    pub warninglist_entries(; entries: f64) = Gauge "warninglist_entries" Count: "Entries of the warninglists that are in force";
    warninglists_read_at(; seconds: f64) = Gauge "warninglists_last_read_timestamp_seconds" Seconds: "Unix time at which MISP was last asked for its warninglists with success";
    pub unjudged(; observables: f64) = Gauge "unjudged_observables" Count: "Observables that a policy which changed has not judged yet";
    pub committed(; took: Duration) = Histogram "ledger_commit_seconds" Seconds: "Time of a ledger transaction with its commit";
    /// `place` is `file`, `wal` or `free`.
    pub ledger_size(place; bytes: f64) = Gauge "ledger_bytes" Bytes: "Size of the ledger: its file, its WAL, and the free part of the file";
    pub indicators_wanted(target; indicators: f64) = Gauge "wanted_indicators" Count: "Live indicators that the target should hold";
    pub indicators_live(target; indicators: f64) = Gauge "live_indicators" Count: "Indicators that the target accepted and that were not withdrawn since";
    pub objects_rejected(target; objects: f64) = Gauge "rejected_objects" Count: "Objects that the target rejected and that are still wanted so";
    /// What waits for a target in a lane (`withdrawals`, `live` or `backlog`).
    pub waiting(target, lane; objects: f64) = Gauge "waiting_objects" Count: "Objects whose wanted version the target has not accepted yet";
    pub oldest_waiting(target, lane; age: f64) = Gauge "oldest_waiting_seconds" Seconds: "Age of the oldest change that waits; 0 if none does";
    pub queued(target, lane; changes: f64) = Gauge "queue_changes" Count: "Open changes of the target: one per event and lane";
    pub eta(target; seconds: f64) = Gauge "eta_seconds" Seconds: "Time in which the quota lets all leave that waits for the targets of this quota";
    pub quota_requests(target; requests: f64) = Gauge "quota_requests" Count: "Upload requests that left in the last minute, of all targets of this quota";
    pub quota_requests_limit(target; requests: f64) = Gauge "quota_limit_requests" Count: "The most upload requests in a minute, of all targets of this quota; 0 if there is no limit";
    pub quota_objects(target; objects: f64) = Gauge "quota_objects" Count: "Objects that left in the last minute, of all targets of this quota";
    pub quota_objects_limit(target; objects: f64) = Gauge "quota_limit_objects" Count: "The most objects that so many requests can hold; 0 if there is no limit";
    pub sent(target, lane; objects: u64) = Counter "objects_sent_total" Count: "Objects sent, repeats included";
    pub accepted(target, lane; objects: u64) = Counter "objects_accepted_total" Count: "Objects that Sentinel accepted, or that a dry run wrote to its file";
    pub rejected(target; objects: u64) = Counter "objects_rejected_total" Count: "Objects that Sentinel rejected";
    pub withdrawn(target; objects: u64) = Counter "objects_withdrawn_total" Count: "Accepted objects that were withdrawals";
    /// An upload request ended; `outcome` is one of the words of `deliver::outcome`.
    pub request_outcome(target, outcome) = Counter "upload_requests_total" Count: "Upload requests, by outcome";
    pub request_time(target; took: Duration) = Histogram "upload_request_seconds" Seconds: "Time of an upload request";
    accepted_at(target; seconds: f64) = Gauge "last_accepted_timestamp_seconds" Seconds: "Unix time of the last upload that Sentinel accepted";
    /// A token was asked for: `granted`, or the word of the `SignInError`.
    pub sign_in(outcome) = Counter "sign_ins_total" Count: "Sign-ins, by outcome";
    signed_in_at(target; seconds: f64) = Gauge "last_sign_in_timestamp_seconds" Seconds: "Unix time of the last sign-in that succeeded";
    certificate_ends_at(target; seconds: f64) = Gauge "certificate_expiry_timestamp_seconds" Seconds: "Unix time at which the client certificate ends, as the last sign-in read it";
    /// `secret` is the URL of the secret in its vault, without the scheme.
    vault_secret_ends_at(secret; seconds: f64) = Gauge "vault_secret_expiry_timestamp_seconds" Seconds: "Unix time at which a secret of a Key Vault ends, if the vault says so, as it was last read";
    webhook_certificate_ends_at(; seconds: f64) = Gauge "webhook_certificate_expiry_timestamp_seconds" Seconds: "Unix time at which the webhook's certificate ends";
    /// A withdrawn indicator was deleted over the management plane.
    pub deleted(target) = Counter "indicators_deleted_total" Count: "Withdrawn indicators deleted over the management plane";
    /// The time from the arrival of MISP's frame to Sentinel's 200.
    pub time_to_accepted(target, lane; took: Duration) = Histogram "time_to_accepted_seconds" Seconds: "From the frame of MISP to the acceptance by Sentinel";
}

/// Metrics of the process, as the crate `metrics-process` reads them from the kernel. Their names are Prometheus' own.
pub const PROCESS_METRICS: &[Metric] = &[
    of_process(
        "process_cpu_seconds_total",
        MetricKind::Counter,
        Unit::Seconds,
        "Processor time, user and system",
    ),
    of_process("process_resident_memory_bytes", MetricKind::Gauge, Unit::Bytes, "Memory in use"),
    of_process(
        "process_virtual_memory_bytes",
        MetricKind::Gauge,
        Unit::Bytes,
        "Address space in use",
    ),
    of_process(
        "process_virtual_memory_max_bytes",
        MetricKind::Gauge,
        Unit::Bytes,
        "The most address space",
    ),
    of_process("process_open_fds", MetricKind::Gauge, Unit::Count, "Open files and sockets"),
    of_process(
        "process_max_fds",
        MetricKind::Gauge,
        Unit::Count,
        "The most open files and sockets",
    ),
    of_process("process_threads", MetricKind::Gauge, Unit::Count, "Threads"),
    of_process(
        "process_start_time_seconds",
        MetricKind::Gauge,
        Unit::Seconds,
        "Unix time of the start",
    ),
];

const fn of_process(
    name: &'static str,
    kind: MetricKind,
    unit: Unit,
    help: &'static str,
) -> Metric {
    Metric { name, kind, labels: &[], unit, help }
}

/// Upper bounds in seconds: an fsync on good and bad disks.
const COMMIT_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Upper bounds in seconds: up to the request time-out.
const REQUEST_BUCKETS: [f64; 14] =
    [0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0];
/// Upper bounds in seconds: live objects take parts of a second, a backlog takes hours.
const ACCEPT_BUCKETS: [f64; 21] = [
    0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0, 120.0,
    300.0, 1800.0, 3600.0, 14_400.0,
];

/// Records the metrics of this process from now on. The handle's `render` gives the text of `/metrics`. Its
/// `run_upkeep` must be called every few seconds, since histograms grow until then.
///
/// # Errors
/// A recorder was installed before.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    begin_all();
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let bounds: [(&str, &[f64]); 3] = [
        ("misp_sentinel_relay_ledger_commit_seconds", &COMMIT_BUCKETS),
        ("misp_sentinel_relay_upload_request_seconds", &REQUEST_BUCKETS),
        ("misp_sentinel_relay_time_to_accepted_seconds", &ACCEPT_BUCKETS),
    ];
    bounds.into_iter().try_fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds)
    })
}

/// Describes all metrics, and sets those that hold from the start.
fn begin_all() {
    for &Metric { name, kind, unit, help, .. } in METRICS {
        match kind {
            MetricKind::Counter => metrics::describe_counter!(name, unit, help),
            MetricKind::Gauge => metrics::describe_gauge!(name, unit, help),
            MetricKind::Histogram => metrics::describe_histogram!(name, unit, help),
        }
    }
    Collector::default().describe();
    begin::committed();
    build(env!("CARGO_PKG_VERSION"), 1.0);
    process();
}

/// Reads the metrics of the process from the kernel.
pub fn process() {
    Collector::default().collect();
}

/// Records a moment as Unix time, if it is known. Otherwise there is no series.
fn moment(at: Option<SystemTime>, record: impl FnOnce(f64)) {
    if let Some(at) = at {
        record(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    }
}

/// Records when the newest frame of a feed came.
pub fn last_frame(feed: &str, at: SystemTime) {
    moment(Some(at), |at| last_frame_at(feed, at));
}

/// Records when the newest publication of a feed came.
pub fn last_publication(feed: &str, at: SystemTime) {
    moment(Some(at), |at| last_publication_at(feed, at));
}

/// Records when the secret at this URL of a vault ends. `None`: it has no end.
pub fn vault_secret_ends(url: &str, at: Option<SystemTime>) {
    let secret = url.strip_prefix("https://").unwrap_or(url);
    match at {
        Some(_) => moment(at, |at| vault_secret_ends_at(secret, at)),
        // The version before may have had an end, which is over with it.
        None => vault_secret_ends_at(secret, f64::INFINITY),
    }
}

/// Records when the webhook's certificate ends.
pub fn webhook_certificate_ends(at: SystemTime) {
    moment(Some(at), webhook_certificate_ends_at);
}

/// The last successes of the REST intake of a source.
#[derive(Debug, Clone, Copy, Default)]
pub struct RestMoments {
    pub answered: Option<SystemTime>,
    pub caught_up: Option<SystemTime>,
    pub resynced: Option<SystemTime>,
}

pub fn rest_moments(source: &str, moments: RestMoments) {
    moment(moments.answered, |at| rest_answered_at(source, at));
    moment(moments.caught_up, |at| caught_up_at(source, at));
    moment(moments.resynced, |at| resynced_at(source, at));
}

pub fn warninglists_read(at: Option<SystemTime>) {
    moment(at, warninglists_read_at);
}

/// The moments that count for a target.
#[derive(Debug, Clone, Copy, Default)]
pub struct TargetMoments {
    pub accepted: Option<SystemTime>,
    pub signed_in: Option<SystemTime>,
    pub certificate_ends: Option<SystemTime>,
}

pub fn target_moments(target: &str, moments: TargetMoments) {
    moment(moments.accepted, |at| accepted_at(target, at));
    moment(moments.signed_in, |at| signed_in_at(target, at));
    moment(moments.certificate_ends, |at| certificate_ends_at(target, at));
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
    /// The REST API of a source, with its name.
    Rest(&'a str),
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

    /// The name of the source; empty for all else.
    pub fn source(self) -> &'a str {
        match self {
            Self::Rest(name) => name,
            Self::Feed(_) | Self::Target(_) | Self::Warninglists | Self::Ledger | Self::Relay => "",
        }
    }

    /// The name of the target; empty for all else.
    pub fn target(self) -> &'a str {
        match self {
            Self::Target(name) => name,
            Self::Feed(_) | Self::Rest(_) | Self::Warninglists | Self::Ledger | Self::Relay => "",
        }
    }

    /// The endpoint of the feed; empty for all else.
    pub fn feed(self) -> &'a str {
        match self {
            Self::Feed(name) => name,
            Self::Target(_) | Self::Rest(_) | Self::Warninglists | Self::Ledger | Self::Relay => "",
        }
    }
}

pub fn degraded(part: Part<'_>, reason: &str, yes: bool) {
    degraded_part(part.word(), part.source(), part.target(), part.feed(), reason, yes);
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn everything_once() {
        let (second, feed, target, lane) = (Duration::from_secs(1), "tcp://a:1", "soc", "live");
        let at = Some(UNIX_EPOCH + second);
        frame_received(feed, "misp_json");
        bytes_received(feed, "publications", 7);
        connected(feed, "publications", true);
        last_frame(feed, UNIX_EPOCH + second);
        last_publication(feed, UNIX_EPOCH + second);
        webhook_answered("200");
        rest_request("misp", "ok");
        rest_moments("misp", RestMoments { answered: at, caught_up: at, resynced: at });
        warninglists_read(at);
        gap("webhook", GapReason::Silent);
        gaps_open(1.0);
        hits("soc", "new", 1);
        sighting_told("misp", "taken");
        sightings_due("misp", 0.0);
        event_read("applied");
        claims("new", 3);
        skipped("deleted", 2);
        for gauge in [reads_waiting, claims_held, values_suppressed, warninglist_entries, unjudged]
        {
            gauge(1.0);
        }
        committed(second);
        ledger_size("file", 4096.0);
        for gauge in [
            indicators_wanted,
            indicators_live,
            objects_rejected,
            eta,
            quota_requests,
            quota_requests_limit,
            quota_objects,
            quota_objects_limit,
        ] {
            gauge(target, 1.0);
        }
        for gauge in [waiting, oldest_waiting, queued] {
            gauge(target, lane, 1.0);
        }
        sent(target, lane, 1);
        accepted(target, lane, 1);
        rejected(target, 1);
        withdrawn(target, 1);
        request_outcome(target, "accepted");
        request_time(target, second);
        target_moments(target, TargetMoments { accepted: at, signed_in: at, certificate_ends: at });
        vault_secret_ends("https://kv.vault.azure.net/secrets/a", at);
        webhook_certificate_ends(UNIX_EPOCH + second);
        sign_in("granted");
        deleted("soc");
        time_to_accepted(target, lane, Duration::from_millis(40));
        degraded(Part::Rest("misp"), "not_configured", true);
        degraded(Part::Target("rest"), "failing", false);
    }

    fn rendered() -> String {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            begin_all();
            everything_once();
        });
        recorder.handle().render()
    }

    /// Metric and labels of a line such as `misp_sentinel_relay_gaps_total{intake="webhook",reason="silent"} 1`.
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
            .chain(PROCESS_METRICS)
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
        let bucket = "misp_sentinel_relay_time_to_accepted_seconds_bucket{target=\"soc\",lane=\"live\",le=\"0.05\"} 1";
        assert!(text.contains(bucket), "{text}");
        assert!(text.contains("misp_sentinel_relay_claims_total{change=\"new\"} 3"), "{text}");
    }

    /// A target that is called as a part of the relay.
    #[test]
    fn no_target_hides_a_part() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            degraded(Part::Rest("misp"), "failing", true);
            degraded(Part::Target("rest"), "failing", false);
        });
        let text = recorder.handle().render();
        let rest = r#"{part="rest",source="misp",target="",feed="",reason="failing"} 1"#;
        let target = r#"{part="target",source="",target="rest",feed="",reason="failing"} 0"#;
        assert!(text.contains(rest) && text.contains(target), "{text}");
    }

    #[test]
    fn what_is_begun_is_there_and_zero() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            begin::sign_in("refused");
            begin::claims("gone");
            begin::request_time("soc");
        });
        let text = recorder.handle().render();
        for line in [
            "misp_sentinel_relay_sign_ins_total{outcome=\"refused\"} 0",
            "misp_sentinel_relay_claims_total{change=\"gone\"} 0",
            "misp_sentinel_relay_upload_request_seconds_count{target=\"soc\"} 0",
        ] {
            assert!(text.contains(line), "{text}");
        }
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
            assert!(metric.name.starts_with("misp_sentinel_relay_"));
        }
    }
}
