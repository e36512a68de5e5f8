//! Decides which parts of the relay are degraded, and says for each what is wrong and what to do about it.

use super::next::next;
use super::status::is_named;
use super::{DegradedPart, RelayStatus, SendingStatus, SourceMeans, Status};
use crate::intake::rest::RestState;
use crate::intake::zmq::EndpointStatus;
use crate::ledger::{LedgerStatus, ListsState, ReadSource, SourceNews, TargetStatus, Unread};
use crate::metrics::Part;
use crate::pure::count::Count;

impl Status {
    /// Makes a status of its parts, and derives from them what is degraded.
    pub fn new(relay: Option<RelayStatus>, ledger: LedgerStatus, sources: &[SourceMeans]) -> Self {
        let found = degraded(relay.as_ref(), &ledger, sources);
        let degraded_unquoted = found.iter().map(|found| found.unquoted().to_owned()).collect();
        let (degraded_parts, degraded) =
            found.into_iter().map(|found| (found.part, found.words)).unzip();
        let without_rest = without_rest(sources);
        let source_news = source_news(&ledger, sources);
        let next = next(relay.as_ref(), &ledger);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            relay,
            ledger,
            degraded,
            degraded_unquoted,
            degraded_parts,
            without_rest,
            source_news,
            next,
        }
    }
}

fn source_news(ledger: &LedgerStatus, sources: &[SourceMeans]) -> Vec<SourceNews> {
    let read = sources.iter().map(|one| ReadSource { name: &one.source, has_key: one.means.rest });
    let resynced = ledger.resyncs.iter().map(|one| one.source.as_str());
    SourceNews::all(&ledger.sources, resynced, read)
}

/// Something that works less than promised.
struct Finding {
    part: DegradedPart,
    words: String,
    /// The same without words that may hold a value, where these words may.
    unquoted: Option<String>,
}

impl Finding {
    /// `reason` and `part` are those of the metric `misp_sentinel_relay_degraded`.
    fn new(part: Part<'_>, reason: &'static str, words: String) -> Self {
        Self { part: DegradedPart::new(part, reason), words, unquoted: None }
    }

    fn unquoted(&self) -> &str {
        self.unquoted.as_ref().unwrap_or(&self.words)
    }
}

/// Returns what is degraded: the part of the relay, what is wrong with it, and what to do.
fn degraded(
    relay: Option<&RelayStatus>,
    ledger: &LedgerStatus,
    sources: &[SourceMeans],
) -> Vec<Finding> {
    let mut found = Vec::new();
    // Without a key much cannot be promised, so this is degraded even if all else works.
    for source in sources.iter().filter(|source| !source.means.rest) {
        let name = &source.source;
        let section = &source.section;
        let words = format!(
            "rest{}: {section}.key is not set, so only what is of distribution 1 to 3 at every level is sent, and what is missed stays missed until MISP says it again",
            of(name, sources)
        );
        found.push(Finding::new(Part::Rest(name), "not_configured", words));
    }
    match relay {
        None => {
            let words = "relay: none is running, so nothing is received or sent";
            found.push(Finding::new(Part::Relay, "not_running", words.to_owned()));
        }
        Some(relay) => {
            if !relay.ledger_writable {
                let words = "ledger: it cannot be written; free disk space or mend ledger.db, the log has SQLite's words";
                found.push(Finding::new(Part::Ledger, "not_writable", words.to_owned()));
            }
            found.extend(relay.endpoints().filter_map(endpoint));
            let asked =
                relay.sources.iter().filter_map(|one| Some((&one.source, one.rest.as_ref()?)));
            found.extend(asked.flat_map(|(name, state)| rest(name, &of(name, sources), state)));
            let lists = relay.warninglists.iter();
            found.extend(lists.flat_map(|lists| warninglists(lists, ledger.claims)));
            found.extend(relay.targets.iter().flat_map(target));
        }
    }
    found.extend(in_ledger(ledger, sources));
    found
}

/// Returns the words that name a source, where there are several.
fn of(source: &str, sources: &[SourceMeans]) -> String {
    if is_named(source, sources.len()) { format!(" of {source}") } else { String::new() }
}

fn endpoint(endpoint: &EndpointStatus) -> Option<Finding> {
    let name = &endpoint.endpoint;
    let reason = endpoint.error.as_deref().unwrap_or("no reason is known yet");
    let words = match (endpoint.publications_connected, endpoint.others_connected) {
        // Both sockets are connected, but the reason of the last loss stays until a frame has come.
        (true, true) => format!("{name}: {}", endpoint.error.as_ref()?),
        (false, false) => format!("{name}: not connected: {reason}"),
        (false, true) => format!("{name}: not connected for publications: {reason}"),
        (true, false) => format!("{name}: not connected for withdrawals and tags: {reason}"),
    };
    Some(Finding::new(Part::Feed(name), "not_connected", words))
}

fn target(target: &SendingStatus) -> impl Iterator<Item = Finding> {
    let SendingStatus { target: name, health, .. } = target;
    let finding = move |reason, words: &Option<String>| {
        let words = format!("{name}: {}", words.as_ref()?);
        Some(Finding::new(Part::Target(name), reason, words))
    };
    let unquoted = health.unquoted().map(|words| format!("{name}: {words}"));
    let failing = finding("failing", &health.degraded).map(|found| Finding { unquoted, ..found });
    let others =
        [("sign_in", &health.sign_in), ("deletion", &health.deletion), ("hits", &health.hits)];
    let others = others.into_iter().filter_map(move |(reason, words)| finding(reason, words));
    failing.into_iter().chain(others)
}

fn rest<'s>(name: &'s str, of: &str, rest: &RestState) -> impl Iterator<Item = Finding> + use<'s> {
    let found = [
        ("failing", rest.error.clone()),
        ("late", rest.late.then(|| "no catch-up was completed for three times misp.rest.catch_up_every, so what the feed lost, and what is gone without a word, waits; see how long MISP takes to answer, and raise misp.rest.catch_up_every if it needs that long".to_owned())),
        ("other_view", rest.other_view.then(|| "the key shows another view (organisation, site administrator, sync) than the one that the ledger was filled with: what it reads adds nothing and what it does not see is not withdrawn; start once with --accept-new-view if that is right".to_owned())),
        ("empty", rest.empty.then(|| "MISP returns none of the events that the ledger holds, so nothing is withdrawn; mend MISP or the key, or `release --empty` if it is meant so".to_owned())),
    ];
    let found =
        found.map(|(reason, words)| (reason, words.map(|words| format!("rest{of}: {words}"))));
    of_part(Part::Rest(name), found)
}

fn warninglists(lists: &ListsState, claims: i64) -> impl Iterator<Item = Finding> {
    let (claims, unreadable) = (Count(claims, "claim"), lists.unreadable.join(", "));
    let found = [
        ("pending", lists.pending.then(|| format!("warninglists: they were never read, so {claims} wait and nothing new leaves; mend the way to MISP, or set policy.warninglists = \"off\""))),
        ("failing", lists.error.as_ref().map(|error| format!("warninglists: {error}"))),
        ("unreadable", (!unreadable.is_empty()).then(|| format!("warninglists: regular expressions that this program cannot read (look-around, back references) are skipped in {unreadable}"))),
    ];
    of_part(Part::Warninglists, found)
}

fn of_part<const N: usize>(
    part: Part<'_>,
    found: [(&'static str, Option<String>); N],
) -> impl Iterator<Item = Finding> {
    let findings = found.into_iter();
    findings.filter_map(move |(reason, words)| Some(Finding::new(part, reason, words?)))
}

fn in_ledger(ledger: &LedgerStatus, sources: &[SourceMeans]) -> Vec<Finding> {
    let rejecting = ledger.targets.iter().filter(|target| target.rejected > 0);
    let rejected = rejecting.map(|TargetStatus { target, rejected, .. }| {
        let objects = Count(*rejected, "object");
        let words = format!("{target}: Sentinel rejected {objects}; mend the cause, then `retry-rejected --target {target}`");
        Finding::new(Part::Target(target), "rejected", words)
    });
    // Only REST can read again what was missed.
    let again = "publish again in MISP what was published or withdrawn then, then `release --gaps`";
    let has_all_keys = sources.iter().all(|source| source.means.rest);
    let remedy = if has_all_keys { "catch-up heals it by itself" } else { again };
    let missed = Count(ledger.gaps.iter().map(|gap| gap.times).sum::<i64>(), "time");
    let held = Count(ledger.held, "claim");
    let going = ledger.warninglists_waiting.map(|going| Count(going, "live indicator"));
    let held = (ledger.held > 0).then(|| format!("held: {held} gone from MISP without having been deleted, more than the guard allows; look with `held`, then `release` them or mend MISP"));
    let going = going.map(|going| format!("warninglists: the ones that MISP has now would withdraw {going}, more than the guard allows, so the ones before stay in force; look at them in MISP, then `release --warninglists`"));
    let gaps = (!ledger.gaps.is_empty())
        .then(|| format!("gaps: {missed} something may have been missed; {remedy}"));
    let others = [
        (Part::Ledger, "held", held),
        (Part::Warninglists, "waiting", going),
        (Part::Ledger, "gaps", gaps),
    ];
    let others = others.into_iter();
    let others =
        others.filter_map(|(part, reason, words)| Some(Finding::new(part, reason, words?)));
    rejected.chain(unread(ledger, sources)).chain(others).chain(unjudged(ledger, sources)).collect()
}

/// Returns a finding for each source without a key that had notices which only a read could judge.
fn unjudged(ledger: &LedgerStatus, sources: &[SourceMeans]) -> Vec<Finding> {
    let without_key = sources.iter().filter(|source| !source.means.rest);
    let found = without_key.filter_map(|SourceMeans { source, .. }| {
        let held = ledger.sources.iter().find(|held| held.source == *source)?;
        let (awaiting, of) = (held.awaiting_rest, of(source, sources));
        let words = format!("events{of}: {awaiting} had a notice that only a REST read could judge; publish them again in MISP");
        (awaiting > 0).then(|| Finding::new(Part::Rest(source), "notices_unjudged", words))
    });
    found.collect()
}

/// Returns a finding for each of the first few events that cannot be read, and one with the number of the
/// others.
fn unread(ledger: &LedgerStatus, sources: &[SourceMeans]) -> Vec<Finding> {
    let told = ledger.unread_first.iter().map(|unread| {
        let Unread { source, event, why, times, .. } = unread;
        let (tries, of) = (Count(*times, "try"), of(source, sources));
        let words = format!("events{of}: event {event} cannot be read ({tries} so far, and again later), so Sentinel keeps what was known of it before: {why}");
        (source.as_str(), words)
    });
    let more = ledger.unread - i64::try_from(ledger.unread_first.len()).unwrap_or(i64::MAX);
    let first = ledger.unread_first.first().map_or("", |unread| unread.source.as_str());
    let more = (more > 0)
        .then(|| (first, format!("events: {} more cannot be read", Count(more, "event"))));
    let told = told.chain(more);
    told.map(|(source, words)| Finding::new(Part::Rest(source), "unreadable_events", words))
        .collect()
}

const WITHOUT_REST: [&str; 10] = [
    "Only what is of distribution 1, 2 or 3 at event, object and attribute is sent (reason view_unknown for the rest): the feed shows a site administrator's view, and no key says what of it is for others. policy.org_without_key names the organisations whose distribution 0 is sent all the same.",
    "Lost frames are not healed: what MISP published while the relay was down, disconnected or full arrives when MISP publishes it again.",
    "Lost withdrawals are not healed either: such an indicator stays in Sentinel until the event is published again, or its valid_until.",
    "A publication is taken from MISP's payload and not read back: what MISP saved in the end is not compared.",
    "Warninglists are not enforced, whatever policy.warninglists says: hits are sent. (Those that were in force when there was a key still are, and are not refreshed.)",
    "A deleted event that comes back stays deleted.",
    "A restored attribute that is not newer than its withdrawal stays withdrawn while its tombstone is kept.",
    "A withdrawal that looks older than its claim is not judged: its event waits in the ledger.",
    "What was published before the relay's first start is not fetched, and a lost ledger is not filled again, until MISP publishes it again.",
    "Nothing compares the ledger's events with those that exist in MISP.",
];

const WEBHOOK_WITHOUT_REST: &str = "Webhook publications are confirmed by ZeroMQ only: without its frame within misp.webhook.confirm_within they are dropped.";

/// Lists what cannot be promised of the sources without a key.
fn without_rest(sources: &[SourceMeans]) -> Vec<String> {
    let without: Vec<&SourceMeans> = sources.iter().filter(|source| !source.means.rest).collect();
    if without.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = without.iter().map(|source| source.source.as_str()).collect();
    let which = (sources.len() > 1).then(|| format!("This holds for {}.", names.join(", ")));
    let announces = without.iter().any(|source| source.means.webhook);
    let webhook = announces.then_some(WEBHOOK_WITHOUT_REST);
    let lines = WITHOUT_REST.into_iter().chain(webhook).map(str::to_owned);
    which.into_iter().chain(lines).collect()
}
