//! Formats the output of `status` for people: first what is wrong, then the figures.

use chrono::{DateTime, Utc};
use comfy_table::{CellAlignment, Table, presets};

use crate::admin::{SendingStatus, SourceStatus, Status, is_named};
use crate::intake::rest::RestState;
use crate::intake::zmq::EndpointStatus;
use crate::ledger::{
    GapStatus, HitsOfTarget, JudgingState, LedgerStatus, ListsState, OwnSightingCounts, Refusal,
    ResyncPhase, ResyncStatus, Room, SetBack, SourceNews, TargetMode, TargetStatus,
};
use crate::pure::age::{age, ago, ahead};
use crate::pure::count::Count;
use crate::pure::safe;

/// Returns the text of `status`. Ages are counted back from `now`. Tables are at most `width` columns wide, if
/// that can be done.
pub(super) fn text(status: &Status, now: DateTime<Utc>, width: usize) -> String {
    let mut page = StatusPage { text: String::new(), now, width };
    page.head(status);
    status.ledger.judging.iter().for_each(|judging| page.judging(*judging));
    page.list("Degraded", &status.degraded);
    if let Some(relay) = &status.relay {
        page.sources(&relay.sources);
    }
    page.targets(status);
    page.refusals(&status.ledger);
    page.ledger(&status.ledger);
    page.list("Without MISP's REST API", &status.without_rest);
    page.source_news(&status.source_news);
    page.next(status);
    page.text
}

struct StatusPage {
    text: String,
    now: DateTime<Utc>,
    width: usize,
}

/// What a table shows.
struct TableContent<'t> {
    titles: &'t [&'t str],
    rows: &'t [Vec<String>],
    /// The columns that are aligned to the right.
    numbers: &'t [usize],
}

impl TableContent<'_> {
    fn table(&self, columns: &[usize]) -> Table {
        let mut table = Table::new();
        let titles = columns.iter().filter_map(|column| self.titles.get(*column));
        table.load_preset(presets::NOTHING).set_header(titles);
        for row in self.rows {
            // Cells are escaped before the layout: an escape is longer than what it stands for.
            let cells = columns.iter().filter_map(|column| row.get(*column));
            table.add_row(cells.map(|cell| safe::line(cell)));
        }
        for (place, column) in columns.iter().enumerate() {
            if let (true, Some(column)) = (self.numbers.contains(column), table.column_mut(place)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

impl StatusPage {
    /// Adds a line. It may hold text of MISP, Sentinel and others, so it is escaped.
    fn line(&mut self, line: &str) {
        self.text.push_str(&safe::line(line.trim_end()));
        self.text.push('\n');
    }

    fn head(&mut self, status: &Status) {
        let version = &status.version;
        let line = match &status.relay {
            Some(relay) => {
                let (process, up) = (relay.process_id, age(relay.uptime_seconds));
                format!("misp-sentinel-relay {version}, process {process}, running for {up}")
            }
            None => format!("misp-sentinel-relay {version}: no relay is running"),
        };
        self.line(&line);
    }

    fn judging(&mut self, judging: JudgingState) {
        let JudgingState { judged, observables } = judging;
        self.line(&format!("  The policy is applied anew: {judged} of {observables} observables; until then nothing leaves that it has not judged, but new withdrawals"));
    }

    fn next(&mut self, status: &Status) {
        let next = status.next.as_deref().unwrap_or("Nothing needs to be done.");
        self.line("");
        self.line(&format!("Next: {next}"));
    }

    fn source_news(&mut self, news: &[SourceNews]) {
        let line = |one: &SourceNews| {
            let remedy = one.remedy().map_or_else(String::new, |remedy| format!("; {remedy}"));
            format!("{} {}{remedy}", one.source(), one.words())
        };
        let lines: Vec<String> = news.iter().map(line).collect();
        self.list("Sources that are new to the ledger or no longer read", &lines);
    }

    fn list(&mut self, title: &str, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        self.line("");
        self.line(title);
        for line in lines {
            self.line(&format!("  - {line}"));
        }
    }

    /// Adds a table. `titles` are those of the columns, separated by bars; `numbers` are the columns to align
    /// to the right.
    fn table(&mut self, titles: &str, rows: &[Vec<String>], numbers: &[usize]) {
        if rows.is_empty() {
            return;
        }
        let titles: Vec<&str> = titles.split('|').collect();
        let columns: Vec<usize> = (0..titles.len()).collect();
        self.columns(&TableContent { titles: &titles, rows, numbers }, &columns);
    }

    /// Adds some columns of a table. If they are too wide, half of them come as a table of their own, each
    /// with the first column, which names the rows.
    fn columns(&mut self, content: &TableContent<'_>, columns: &[usize]) {
        let lines: Vec<String> = content.table(columns).lines().collect();
        let is_wide = lines.iter().any(|line| 1 + line.trim_end().chars().count() > self.width);
        if let (true, Some((first, rest @ [_, _, ..]))) = (is_wide, columns.split_first()) {
            let (left, right) = rest.split_at(rest.len() / 2);
            for half in [left, right] {
                self.columns(content, &[&[*first], half].concat());
            }
            return;
        }
        self.line("");
        for line in lines {
            self.line(&format!(" {line}"));
        }
    }

    fn sources(&mut self, sources: &[SourceStatus]) {
        for source in sources {
            if is_named(&source.source, sources.len()) {
                self.line("");
                self.line(&format!("Source {}", source.source));
            }
            self.feeds(source);
            source.rest.iter().for_each(|rest| self.rest(rest));
            source.warninglists.iter().for_each(|lists| self.warninglists(lists));
        }
    }

    fn feeds(&mut self, source: &SourceStatus) {
        let titles = "Feed|Publications|Others|Last frame|Last publication|Publisher's age";
        let rows: Vec<_> = source.endpoints.iter().map(|endpoint| self.feed(endpoint)).collect();
        self.table(titles, &rows, &[]);
        if let Some(webhook) = &source.webhook {
            self.line("");
            self.line(&format!("  Webhook on {webhook}"));
        }
    }

    fn feed(&self, endpoint: &EndpointStatus) -> Vec<String> {
        let word = |connected| if connected { "connected" } else { "lost" }.to_owned();
        let uptime = endpoint.uptime.and_then(|seconds| u64::try_from(seconds).ok());
        vec![
            endpoint.endpoint.clone(),
            word(endpoint.publications_connected),
            word(endpoint.others_connected),
            self.ago(endpoint.last_frame),
            self.ago(endpoint.last_publication),
            uptime.map_or_else(|| "-".to_owned(), age),
        ]
    }

    fn targets(&mut self, status: &Status) {
        let titles =
            "Target|Mode|Wanted|Delivered|Withdrawn|Rejected|Signed in|Last accepted|Next try";
        let sending = status.relay.as_ref().map_or(&[][..], |relay| &relay.targets);
        let sending_to = |name: &str| sending.iter().find(|one| one.target == name);
        let of_ledger = status.ledger.targets.iter();
        let rows: Vec<_> =
            of_ledger.map(|target| self.target(target, sending_to(&target.target))).collect();
        self.table(titles, &rows, &[2, 3, 4, 5]);
        let titles = "Objects that wait|Withdrawals|Live|Backlog|Oldest|Done in|In flight|Quota";
        let of_ledger = status.ledger.targets.iter();
        let rows: Vec<_> =
            of_ledger.map(|target| self.waiting(target, sending_to(&target.target))).collect();
        self.table(titles, &rows, &[1, 2, 3, 4, 5, 6, 7]);
        let ends = sending.iter().filter_map(|one| {
            let ends = one.health.certificate_ends?;
            Some(format!("{} {}", one.target, self.ahead(Some(ends))))
        });
        self.list("Client certificates end", &ends.collect::<Vec<_>>());
        let files = sending
            .iter()
            .filter_map(|one| Some(format!("{}: {}", one.target, one.file.as_ref()?)));
        self.list("Dry runs, which send nothing and write to a file", &files.collect::<Vec<_>>());
        let is_absent = |target: &&TargetStatus| target.mode == TargetMode::Absent;
        let absent = status.ledger.targets.iter().filter(is_absent);
        let lines: Vec<String> = absent.map(|target| target.target.clone()).collect();
        self.list("No longer configured, kept for their return (`forget NAME` ends that)", &lines);
    }

    fn target(&self, target: &TargetStatus, sending: Option<&SendingStatus>) -> Vec<String> {
        let figures = [target.wanted, target.delivered, target.withdrawn, target.rejected];
        // Without a relay, the ledger has the mode of the last start.
        let mode =
            sending.map_or_else(|| target.mode.word().to_owned(), |sending| sending.mode.clone());
        let health = sending.map(|sending| &sending.health);
        let mut row = vec![target.target.clone(), mode];
        row.extend(figures.iter().map(i64::to_string));
        row.push(self.ago(health.and_then(|health| health.signed_in_at)));
        row.push(self.ago(health.and_then(|health| health.last_accepted)));
        row.push(self.ahead(health.and_then(|health| health.next_try)));
        row
    }

    fn waiting(&self, target: &TargetStatus, sending: Option<&SendingStatus>) -> Vec<String> {
        let unknown = || "-".to_owned();
        let mut row = vec![target.target.clone()];
        row.extend(target.waiting.iter().map(|lane| lane.objects.to_string()));
        let oldest = target.waiting.iter().filter_map(|lane| lane.oldest).min();
        row.push(oldest.map_or_else(unknown, |at| self.ago_millis(at)));
        let eta = sending.and_then(|sending| sending.eta_seconds);
        row.push(eta.map_or_else(unknown, age));
        let health = sending.map(|sending| &sending.health);
        row.push(health.map_or_else(unknown, |health| health.in_flight.to_string()));
        let quota = health.and_then(|health| health.quota.as_ref());
        row.push(quota.map_or_else(unknown, |quota| match quota.requests_limit {
            0 => unknown(),
            limit => {
                format!("{} of {limit} requests in {} s", quota.requests, quota.window_seconds)
            }
        }));
        row
    }

    fn refusals(&mut self, ledger: &LedgerStatus) {
        let mut lines = Vec::new();
        for TargetStatus { target, refusals, .. } in &ledger.targets {
            lines.extend(refusals.iter().map(|Refusal { stix_id, words }| {
                format!("{target}: indicator--{stix_id}: {words}")
            }));
        }
        self.list("Rejected, in Sentinel's words", &lines);
    }

    fn rest(&mut self, rest: &RestState) {
        let key = rest.key.as_deref().unwrap_or("MISP has not told yet whose key it is");
        let caught_up = match rest.caught_up_at {
            Some(at) => format!("caught up {}", self.ago(Some(at))),
            None => "not caught up yet".to_owned(),
        };
        let answered = rest.answered_at.map(|at| format!("; last answer {}", self.ago(Some(at))));
        let answered = answered.unwrap_or_default();
        self.line("");
        self.line(&format!("  REST: {key}; {caught_up}{answered}"));
    }

    fn warninglists(&mut self, lists: &ListsState) {
        if lists.pending {
            self.line("  Warninglists: never read, so what this MISP claims waits");
            return;
        }
        let read = match lists.read_at {
            Some(at) => format!("asked for {}", self.ago_millis(at)),
            None => "as kept on disk, MISP was not asked yet".to_owned(),
        };
        let failing = lists.error.as_ref().map_or_else(String::new, |error| format!("; {error}"));
        let (lists, entries) = (lists.lists, Count(lists.entries, "entry"));
        self.line(&format!("  Warninglists: {lists} with {entries}; {read}{failing}"));
    }

    fn resync(&mut self, status: &ResyncStatus, several: bool) {
        let ResyncStatus { source, resync, left } = status;
        let of = if several { format!(" of {source}") } else { String::new() };
        let events = Count(resync.events, "event");
        self.line(&match (resync.phase, resync.finished_at) {
            (ResyncPhase::Listing, _) => {
                format!("  Resync{of}: asking MISP which events there are")
            }
            (ResyncPhase::Done, Some(at)) => {
                format!("  Resync{of}: {events} compared, {}", self.ago_millis(at))
            }
            (ResyncPhase::Reading | ResyncPhase::Done, _) => {
                format!("  Resync{of}: {} of {events} still to be read", left.events)
            }
        });
    }

    fn ledger(&mut self, ledger: &LedgerStatus) {
        let size = |bytes| bytesize::ByteSize::b(u64::try_from(bytes).unwrap_or_default());
        let Room { file, wal, free } = ledger.room;
        let (size, wal, free) = (size(file), size(wal), size(free));
        let mut line = format!(
            "  Ledger: {}, {}, {}, {} wanted, {size} ({free} of it free) and {wal} of WAL",
            Count(ledger.events, "event"),
            Count(ledger.deleted_events, "deleted event"),
            Count(ledger.claims, "claim"),
            Count(ledger.wanted, "indicator"),
        );
        let more = [
            (ledger.context, "object", " beside them"),
            (ledger.announced, "webhook publication", " not confirmed yet"),
            (ledger.suppressed, "suppressed value", ""),
        ];
        for (count, noun, words) in more.into_iter().filter(|(count, ..)| *count > 0) {
            line.push_str(&format!(", {}{words}", Count(count, noun)));
        }
        self.line("");
        self.line(&line);
        let held = ledger.sources.iter().filter(|_| ledger.sources.len() > 1);
        let held = held.map(|one| {
            let (events, claims) = (Count(one.events, "event"), Count(one.claims, "claim"));
            format!("{events} with {claims} of {}", one.source)
        });
        let held: Vec<String> = held.collect();
        if !held.is_empty() {
            self.line(&format!("  Sources: {}", held.join(", ")));
        }
        let several = ledger.resyncs.len() > 1;
        ledger.resyncs.iter().for_each(|resync| self.resync(resync, several));
        if let Some(SetBack { at, by }) = ledger.clock_set_back {
            let (at, by) = (self.ago_millis(at), age(by.unsigned_abs() / 1_000));
            self.line(&format!("  Clock: this machine's went back by {by} (noticed {at}); everything was compared anew since"));
        }
        if !ledger.skipped.is_empty() {
            let skipped = ledger.skipped.iter().map(|(reason, count)| format!("{count} {reason}"));
            self.line(&format!("  Skipped: {}", skipped.collect::<Vec<_>>().join(", ")));
        }
        let rows = ledger.gaps.iter().map(|gap| {
            let [since, until] = [gap.since, gap.until].map(|at| self.ago_millis(at));
            let GapStatus { source, intake, reason, .. } = gap.clone();
            vec![source, intake, reason, gap.times.to_string(), since, until]
        });
        let rows: Vec<_> = rows.collect();
        self.hits(ledger);
        self.table("Gaps of|Intake|Reason|Times|First|Last", &rows, &[3]);
    }

    fn hits(&mut self, ledger: &LedgerStatus) {
        for HitsOfTarget { target, hits, observables, last_seen } in &ledger.hits {
            let last = self.ago_millis(*last_seen);
            let (hits, values) = (Count(*hits, "hit"), Count(*observables, "value"));
            self.line(&format!("  Hits at {target}: {hits} of {values}, the last {last}"));
        }
        for OwnSightingCounts { source, due, taken, refused } in &ledger.own_sightings {
            self.line(&format!(
                "  Sightings of hits for {source}: {due} due, {taken} taken, {refused} refused for good"
            ));
        }
    }

    fn ago(&self, time: Option<DateTime<Utc>>) -> String {
        time.map_or_else(|| "-".to_owned(), |time| ago(time, self.now))
    }

    /// Returns how long ago a time of the ledger (Unix milliseconds) is.
    fn ago_millis(&self, at: i64) -> String {
        self.ago(DateTime::from_timestamp_millis(at))
    }

    fn ahead(&self, time: Option<DateTime<Utc>>) -> String {
        // A time that has passed means that the try is due.
        time.map_or_else(|| "-".to_owned(), |time| ahead(time, self.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{Means, RelayStatus, SourceMeans};
    use crate::deliver::{DeliveryHealth, QuotaStatus};
    use crate::ledger::WaitingObjects;

    fn means(webhook: bool) -> [SourceMeans; 1] {
        let means = Means { webhook, rest: false };
        [SourceMeans { source: "misp".to_owned(), section: "misp".to_owned(), means }]
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_500_000 + second, 0).unwrap()
    }

    fn relay() -> RelayStatus {
        RelayStatus {
            process_id: 4711,
            warninglists: None,
            started_at: at(-7_200),
            uptime_seconds: 7_200,
            ledger_writable: true,
            sources: vec![SourceStatus {
                source: "misp".to_owned(),
                endpoints: vec![EndpointStatus {
                    endpoint: "tcp://misp:50000".to_owned(),
                    publications_connected: true,
                    others_connected: false,
                    last_frame: Some(at(-3)),
                    last_publication: Some(at(-600)),
                    uptime: Some(90),
                    error: Some("refused: is Plugin.ZeroMQ_enable on?".to_owned()),
                }],
                webhook: Some("127.0.0.1:8443/misp".to_owned()),
                rest: None,
                warninglists: Some(ListsState {
                    lists: 2,
                    entries: 30,
                    read_at: Some(at(-120).timestamp_millis()),
                    error: Some("MISP answers 500".to_owned()),
                    ..ListsState::default()
                }),
            }],
            targets: vec![SendingStatus {
                target: "soc".to_owned(),
                mode: "live".to_owned(),
                file: Some("/data/soc.ndjson".to_owned()),
                health: DeliveryHealth {
                    degraded: Some("403: give the application the role".to_owned()),
                    sign_in: Some("tokens are short".to_owned()),
                    in_flight: 1,
                    last_accepted: Some(at(-86_400 * 3)),
                    next_try: Some(at(30)),
                    signed_in_at: Some(at(-300)),
                    certificate_ends: Some(at(86_400 * 40)),
                    quota: Some(QuotaStatus {
                        window_seconds: 60,
                        requests: 37,
                        requests_limit: 99,
                        ..QuotaStatus::default()
                    }),
                    ..DeliveryHealth::default()
                },
                eta_seconds: Some(180),
            }],
        }
    }

    fn ledger() -> LedgerStatus {
        let words = "Invalid pattern".to_owned();
        let refusal = Refusal { stix_id: uuid::Uuid::from_u128(7), words };
        LedgerStatus {
            events: 12,
            announced: 2,
            gaps: vec![GapStatus {
                source: "misp".to_owned(),
                intake: "webhook".to_owned(),
                reason: "memory_full".to_owned(),
                since: at(-120).timestamp_millis(),
                until: at(-60).timestamp_millis(),
                times: 4,
            }],
            targets: vec![TargetStatus {
                target: "soc".to_owned(),
                delivered: 345,
                rejected: 1,
                wanted: 360,
                waiting: [0, 6, 700].map(|objects| WaitingObjects {
                    objects,
                    oldest: (objects > 0).then(|| at(-objects).timestamp_millis()),
                }),
                refusals: vec![refusal],
                ..TargetStatus::default()
            }],
            ..LedgerStatus::default()
        }
    }

    fn squeezed(line: &str) -> String {
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_text_tells_everything_once() {
        let status = Status::new(Some(relay()), ledger(), &means(true));
        let text = text(&status, at(0), usize::MAX);
        for part in [
            "process 4711, running for 2 h",
            "- tcp://misp:50000: not connected for withdrawals and tags: refused: is Plugin.ZeroMQ_enable on?",
            "- soc: 403: give the application the role",
            "- soc: tokens are short",
            "- soc: /data/soc.ndjson",
            "- soc: Sentinel rejected 1 object; mend the cause, then `retry-rejected --target soc`",
            "Webhook on 127.0.0.1:8443/misp",
            "Warninglists: 2 with 30 entries; asked for 2 min ago; MISP answers 500",
            "soc: indicator--00000000-0000-0000-0000-000000000007: Invalid pattern",
            "12 events",
            "2 webhook publications not confirmed yet",
            "Warninglists are not enforced",
        ] {
            assert_eq!(text.matches(part).count(), 1, "{part}\n{text}");
        }
        let row = |first: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(first)).unwrap();
            squeezed(line)
        };
        assert_eq!(row("tcp://"), "tcp://misp:50000 connected lost 3 s ago 10 min ago 90 s");
        assert_eq!(row("soc  "), "soc live 360 345 0 1 5 min ago 3 days ago in 30 s");
        let waits = "soc 0 6 700 11 min ago 3 min 1 37 of 99 requests in 60 s";
        assert!(text.lines().any(|line| squeezed(line) == waits), "{text}");
        assert_eq!(row("- soc in"), "- soc in 40 days");
        assert_eq!(row("misp   "), "misp webhook memory_full 4 2 min ago 60 s ago");
        assert!(text.lines().all(|line| line == line.trim_end()));
    }

    /// The words are what Sentinel, MISP or a proxy may send.
    #[test]
    fn nobody_elses_words_command_the_terminal_or_begin_a_line() {
        let nasty =
            "no\r\nDegraded\n  - all is well\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}".to_owned();
        let mut ledger = ledger();
        ledger.targets[0].refusals[0].words.clone_from(&nasty);
        let mut relay = relay();
        relay.sources[0].rest =
            Some(RestState { key: Some(nasty.clone()), ..RestState::default() });
        relay.targets[0].health.degraded = Some(nasty.clone());
        relay.sources[0].endpoints[0].endpoint = nasty;
        let status = Status::new(Some(relay), ledger, &means(true));
        let text = text(&status, at(0), usize::MAX);
        assert!(
            !text.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')),
            "{text}"
        );
        assert!(!text.lines().any(|line| line.trim_start().starts_with("- all is well")), "{text}");
        assert!(text.contains(r"no\r\nDegraded"), "{text}");
    }

    #[test]
    fn without_a_relay_it_says_so() {
        let status = Status::new(None, ledger(), &means(false));
        let text = text(&status, at(0), usize::MAX);
        assert!(text.starts_with("misp-sentinel-relay "), "{text}");
        assert!(text.lines().next().unwrap().ends_with(": no relay is running"), "{text}");
        assert!(!text.contains("Webhook publications are confirmed"), "{text}");
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let status = Status::new(Some(relay()), ledger(), &means(true));
        let json = serde_json::to_string(&status).unwrap();
        let read: Status = serde_json::from_str(&json).unwrap();
        // What is only for the page does not travel.
        let degraded_unquoted = status.degraded_unquoted.clone();
        assert_eq!(Status { degraded_unquoted, ..read }, status);
        assert!(json.contains("\"started_at\":\"2026-11-24T"), "{json}");
    }
}
