//! Decides which parts of the relay are degraded, and says for each what is wrong and what to do about it.

use super::{Means, RelayStatus, SendingStatus, Status};
use crate::intake::rest::RestState;
use crate::intake::zmq::EndpointStatus;
use crate::ledger::{LedgerStatus, ListsState, TargetStatus, Unread};
use crate::pure::count::Count;

impl Status {
    /// Makes a status of its parts, and derives from them what is degraded.
    pub fn new(relay: Option<RelayStatus>, ledger: LedgerStatus, means: Means) -> Self {
        let degraded = degraded(relay.as_ref(), &ledger, means);
        let without_rest = if means.rest { Vec::new() } else { without_rest(means.webhook) };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            relay,
            ledger,
            degraded,
            without_rest,
        }
    }
}

/// Returns a line for each thing that is degraded: the part of the relay, what is wrong with it, and what to
/// do.
fn degraded(relay: Option<&RelayStatus>, ledger: &LedgerStatus, means: Means) -> Vec<String> {
    let mut found = Vec::new();
    // Without a key much cannot be promised, so this is degraded even if all else works.
    if !means.rest {
        found.push(
            "rest: misp.key is not set, so only what is of distribution 1 to 3 at every level is sent, and what is missed stays missed until MISP says it again"
                .to_owned(),
        );
    }
    match relay {
        None => found.push("relay: none is running, so nothing is received or sent".to_owned()),
        Some(relay) => {
            if !relay.ledger_writable {
                found.push("ledger: it cannot be written; free disk space or mend ledger.db, the log has SQLite's words".to_owned());
            }
            found.extend(relay.endpoints.iter().filter_map(endpoint));
            found.extend(relay.rest.iter().flat_map(rest));
            let lists = relay.warninglists.iter();
            found.extend(lists.flat_map(|lists| warninglists(lists, ledger.claims)));
            found.extend(relay.targets.iter().flat_map(target));
        }
    }
    found.extend(in_ledger(ledger, means));
    found
}

fn endpoint(endpoint: &EndpointStatus) -> Option<String> {
    let name = &endpoint.endpoint;
    let reason = endpoint.error.as_deref().unwrap_or("no reason is known yet");
    match (endpoint.publications_connected, endpoint.others_connected) {
        // Both sockets are connected, but the reason of the last loss stays until a frame has come.
        (true, true) => endpoint.error.as_ref().map(|error| format!("{name}: {error}")),
        (false, false) => Some(format!("{name}: not connected: {reason}")),
        (false, true) => Some(format!("{name}: not connected for publications: {reason}")),
        (true, false) => Some(format!("{name}: not connected for withdrawals and tags: {reason}")),
    }
}

fn target(target: &SendingStatus) -> impl Iterator<Item = String> {
    let found = target.health.degraded.iter().chain(&target.health.sign_in);
    found.map(|words| format!("{}: {words}", target.target))
}

fn rest(rest: &RestState) -> impl Iterator<Item = String> {
    let found = [
        rest.error.as_ref().map(|error| format!("rest: {error}")),
        rest.late.then(|| "rest: no catch-up was completed for three times misp.rest.catch_up_every, so what the feed lost, and what is gone without a word, waits; see how long MISP takes to answer, and raise misp.rest.catch_up_every if it needs that long".to_owned()),
        rest.other_view.then(|| "rest: misp.key shows another view (organisation, site administrator, sync) than the one that the ledger was filled with: what it reads adds nothing and what it does not see is not withdrawn; start once with --accept-new-view if that is right".to_owned()),
        rest.empty.then(|| "rest: MISP returns none of the events that the ledger holds, so nothing is withdrawn; mend MISP or the key, or `release --empty` if it is meant so".to_owned()),
    ];
    found.into_iter().flatten()
}

fn warninglists(lists: &ListsState, claims: i64) -> impl Iterator<Item = String> {
    let (claims, unreadable) = (Count(claims, "claim"), lists.unreadable.join(", "));
    let found = [
        lists.pending.then(|| format!("warninglists: they were never read, so {claims} wait and nothing new leaves; mend the way to MISP, or set policy.warninglists = \"off\"")),
        lists.error.as_ref().map(|error| format!("warninglists: {error}")),
        (!unreadable.is_empty()).then(|| format!("warninglists: regular expressions that this program cannot read (look-around, back references) are skipped in {unreadable}")),
    ];
    found.into_iter().flatten()
}

fn in_ledger(ledger: &LedgerStatus, means: Means) -> Vec<String> {
    let rejecting = ledger.targets.iter().filter(|target| target.rejected > 0);
    let rejected = rejecting.map(|TargetStatus { target, rejected, .. }| {
        let objects = Count(*rejected, "object");
        format!("{target}: Sentinel rejected {objects}; mend the cause, then `retry-rejected --target {target}`")
    });
    // Only REST can read again what was missed.
    let again = "publish again in MISP what was published or withdrawn then";
    let remedy = if means.rest { "catch-up heals it" } else { again };
    let missed = Count(ledger.gaps.iter().map(|gap| gap.times).sum::<i64>(), "time");
    let (held, awaiting) = (Count(ledger.held, "claim"), ledger.awaiting_rest);
    let going = ledger.warninglists_waiting.map(|going| Count(going, "live indicator"));
    let others = [
        (ledger.held > 0).then(|| format!("held: {held} gone from MISP without having been deleted, more than the guard allows; look with `held`, then `release` them or mend MISP")),
        going.map(|going| format!("warninglists: the ones that MISP has now would withdraw {going}, more than the guard allows, so the ones before stay in force; look at them in MISP, then `release --warninglists`")),
        (!ledger.gaps.is_empty()).then(|| format!("gaps: {missed} something may have been missed; {remedy}")),
        (!means.rest && awaiting > 0).then(|| format!("events: {awaiting} had a notice that only a REST read could judge; publish them again in MISP")),
    ];
    rejected.chain(unread(ledger)).chain(others.into_iter().flatten()).collect()
}

/// Returns a line for each of the first few events that cannot be read, and one with the number of the
/// others.
fn unread(ledger: &LedgerStatus) -> Vec<String> {
    let told = ledger.unread_first.iter().map(|unread| {
        let Unread { event, why, times, .. } = unread;
        let tries = Count(*times, "try");
        format!("events: event {event} cannot be read ({tries} so far, and again later), so Sentinel keeps what was known of it before: {why}")
    });
    let more = ledger.unread - i64::try_from(ledger.unread_first.len()).unwrap_or(i64::MAX);
    let more = (more > 0).then(|| format!("events: {} more cannot be read", Count(more, "event")));
    told.chain(more).collect()
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

/// Lists what cannot be promised without a key. `announces` says whether a webhook is configured.
fn without_rest(announces: bool) -> Vec<String> {
    let webhook = announces.then_some(WEBHOOK_WITHOUT_REST);
    WITHOUT_REST.into_iter().chain(webhook).map(str::to_owned).collect()
}
