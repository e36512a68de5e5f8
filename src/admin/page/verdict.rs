//! The head of the overview: what is degraded, each with its remedy, and what is worth doing next. The other pages
//! show its heading in one line.

use maud::{Markup, html};

use super::Sight;
use super::mark::Mark;
use super::words::sentence;
use crate::admin::DegradedPart;
use crate::pure::age::age;
use crate::pure::count::Count;
use crate::pure::policy::Tlp;

/// Writes the verdict with all that it is based on.
pub(super) fn write(sight: Sight<'_>) -> Markup {
    let Verdict { mark, words } = Verdict::of(sight);
    let next = sight.status.next.as_deref().unwrap_or("Nothing needs to be done.");
    let causes = causes(sight);
    html! {
        section class=(mark.box_class()) aria-labelledby="verdict" {
            h2 #verdict { (mark.write(&words)) }
            @if !causes.is_empty() {
                ul.trouble {
                    @for (part, line) in &causes {
                        li {
                            (sentence(line))
                            @if let Some(heals) = heals(part) { ". " (heals) }
                        }
                    }
                }
            }
            @if let Some(missed) = follows(sight) { p { (missed) } }
            p { strong { "Next: " } (sentence(next)) }
        }
    }
}

/// Writes the verdict in one line, with the way to the rest.
pub(super) fn line(sight: Sight<'_>) -> Markup {
    let Verdict { mark, words } = Verdict::of(sight);
    html! { p { "The relay: " (mark.write(&words)) ". " a href="./" { "See the overview" } } }
}

/// Returns the title of the window, which tells the verdict in a row of tabs.
pub(super) fn title(sight: Sight<'_>) -> String {
    match causes(sight).len() {
        0 => Verdict::of(sight).words.to_lowercase(),
        causes => format!("{causes} degraded"),
    }
}

/// The state of the relay in a few words.
struct Verdict {
    mark: Mark,
    words: String,
}

impl Verdict {
    fn of(sight: Sight<'_>) -> Self {
        let causes = causes(sight);
        let is_silent = sight.history.last.is_empty();
        if !causes.is_empty() {
            let words = format!("{} degraded: {}", Count(causes.len(), "thing"), halves(&causes));
            return Self { mark: Mark::Bad, words };
        }
        // A ledger that holds events needs no news to be right.
        if is_silent && sight.status.ledger.events == 0 {
            let words = "Connected, nothing received yet".to_owned();
            return Self { mark: Mark::Neutral, words };
        }
        Self { mark: Mark::Good, words: format!("All is well{}", waiting(sight)) }
    }
}

/// The shortest time for which something must still wait to be told here: what is on its way waits for a moment too.
const WORTH_TELLING: u64 = 10;

/// Says how much waits for the quota, and for how long still.
fn waiting(sight: Sight<'_>) -> String {
    let sending = sight.status.relay.iter().flat_map(|relay| &relay.targets);
    let longest = sending.filter_map(|one| one.eta_seconds).max().unwrap_or_default();
    if longest < WORTH_TELLING {
        return String::new();
    }
    let lanes = sight.status.ledger.targets.iter().flat_map(|target| &target.waiting);
    let objects: i64 = lanes.map(|lane| lane.objects).sum();
    let waits = if objects == 1 { "waits" } else { "wait" };
    format!(", and {} {waits} for the quota, about {}", Count(objects, "object"), age(longest))
}

/// Returns what is degraded, without what only follows from it.
fn causes(sight: Sight<'_>) -> Vec<(&DegradedPart, &str)> {
    let status = sight.status;
    // Sentinel's words may hold a value, so they are shown only where everything is.
    let told = match sight.show_tlp {
        Tlp::Red => &status.degraded,
        Tlp::Clear | Tlp::Green | Tlp::Amber | Tlp::AmberStrict => &status.degraded_unquoted,
    };
    let all = status.degraded_parts.iter().zip(told.iter().map(String::as_str));
    all.filter(|(part, _)| part.reason != GAPS || follows(sight).is_none()).collect()
}

const GAPS: &str = "gaps";

/// Says that what is missed while a feed is down comes by itself, where the gaps are of nothing else.
fn follows(sight: Sight<'_>) -> Option<&'static str> {
    let relay = sight.status.relay.as_ref()?;
    let gaps = &sight.status.ledger.gaps;
    let is_lost =
        |intake: &str| relay.endpoints().any(|one| one.endpoint == intake && !one.connected());
    let all_follow = !gaps.is_empty() && gaps.iter().all(|gap| is_lost(&gap.intake));
    // Without REST somebody must publish again: that is a thing of its own.
    (all_follow && relay.has_all_keys())
        .then_some("What the feed misses meanwhile comes by catch-up over REST, by itself.")
}

/// Returns on which way something is wrong.
fn halves(causes: &[(&DegradedPart, &str)]) -> String {
    let is_any = |parts: &[&str]| causes.iter().any(|(part, _)| parts.contains(&&*part.part));
    let halves = [
        (is_any(&["feed", "rest", "warninglists"]), "the way from MISP"),
        (is_any(&["ledger", "relay"]), "the relay itself"),
        (is_any(&["target"]), "the way to Sentinel"),
    ];
    let named: Vec<&str> = halves.iter().filter(|(is, _)| *is).map(|(_, half)| *half).collect();
    named.join(", ")
}

/// Says of what the relay tries again that nobody needs to.
fn heals(part: &DegradedPart) -> Option<&'static str> {
    match (part.part.as_str(), part.reason.as_str()) {
        ("feed", "not_connected") => Some("The relay connects again by itself."),
        ("rest" | "warninglists", "failing") | ("target", "failing" | "sign_in") => {
            Some("The relay tries again by itself.")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::shared::WithdrawnToday;
    use crate::admin::{Means, RelayStatus, SendingStatus, SourceMeans, SourceStatus, Status};
    use crate::intake::rest::RestState;
    use crate::intake::zmq::EndpointStatus;
    use crate::ledger::{GapStatus, LedgerStatus, TargetStatus, WaitingObjects};
    use crate::recent::{Arrival, Recent};

    const FEED: &str = "tcp://misp:50000";

    fn status(is_connected: bool, gaps_of: &[&str], has_rest: bool) -> Status {
        let endpoint = EndpointStatus {
            endpoint: FEED.to_owned(),
            publications_connected: is_connected,
            others_connected: is_connected,
            ..EndpointStatus::default()
        };
        let relay = RelayStatus {
            process_id: 1,
            started_at: chrono::DateTime::default(),
            uptime_seconds: 1,
            ledger_writable: true,
            sources: vec![SourceStatus {
                source: "misp".to_owned(),
                endpoints: vec![endpoint],
                webhook: None,
                rest: has_rest.then(RestState::default),
                warninglists: None,
            }],
            warninglists: None,
            targets: Vec::new(),
        };
        let gap = |intake: &&str| GapStatus {
            source: "misp".to_owned(),
            intake: (*intake).to_owned(),
            reason: "disconnected".to_owned(),
            since: 0,
            until: 0,
            times: 1,
        };
        let gaps = gaps_of.iter().map(gap).collect();
        let ledger = LedgerStatus { gaps, ..LedgerStatus::default() };
        let means = Means { webhook: false, rest: has_rest };
        let source = SourceMeans { source: "misp".to_owned(), section: "misp".to_owned(), means };
        Status::new(Some(relay), ledger, &[source])
    }

    fn seen(status: &Status, recent: &Recent) -> (Mark, String, String) {
        let (history, now) = (recent.now(), chrono::Utc::now());
        let withdrawn = &WithdrawnToday::default();
        let show_tlp = Tlp::Clear;
        let sight = Sight { status, as_of: now, withdrawn, history: &history, now, show_tlp };
        let Verdict { mark, words } = Verdict::of(sight);
        (mark, words, write(sight).into_string())
    }

    #[test]
    fn nothing_is_called_well_before_something_came() {
        let (status, recent) = (status(true, &[], true), Recent::default());
        let (mark, words, _) = seen(&status, &recent);
        assert_eq!((mark, words.as_str()), (Mark::Neutral, "Connected, nothing received yet"));
        recent.arrived("misp", Arrival::Feed, std::time::Instant::now());
        assert_eq!(seen(&status, &recent).0, Mark::Good);
    }

    #[test]
    fn a_backlog_is_no_trouble_and_is_told() {
        let mut status = status(true, &[], true);
        let waiting = [WaitingObjects { objects: 900, oldest: None }; 3];
        status.ledger.targets = vec![TargetStatus { waiting, ..TargetStatus::default() }];
        let targets = &mut status.relay.as_mut().unwrap().targets;
        targets.push(SendingStatus { eta_seconds: Some(9), ..SendingStatus::default() });
        let recent = Recent::default();
        recent.arrived("misp", Arrival::Feed, std::time::Instant::now());
        assert_eq!(seen(&status, &recent).1, "All is well");
        status.relay.as_mut().unwrap().targets[0].eta_seconds = Some(240);
        let words = "All is well, and 2700 objects wait for the quota, about 4 min";
        assert_eq!(seen(&status, &recent).1, words);
    }

    #[test]
    fn a_gap_of_a_feed_that_is_lost_is_no_second_thing() {
        let recent = Recent::default();
        let (mark, words, page) = seen(&status(false, &[FEED], true), &recent);
        assert_eq!(mark, Mark::Bad);
        assert_eq!(words, "1 thing degraded: the way from MISP");
        assert!(
            page.contains("catch-up over REST, by itself") && !page.contains("gaps:"),
            "{page}"
        );
        // One of another intake is, and one that only a person can heal.
        let (_, words, page) = seen(&status(false, &[FEED, "webhook"], true), &recent);
        assert!(words.starts_with("2 things degraded"), "{words}");
        assert!(page.contains("gaps:"), "{page}");
        let (_, _, page) = seen(&status(false, &[FEED], false), &recent);
        assert!(page.contains("publish again in MISP"), "{page}");
    }
}
