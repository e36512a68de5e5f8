//! Says what is worth doing next: the one thing that helps most in the state that the relay is in.

use super::RelayStatus;
use crate::ledger::LedgerStatus;

/// Returns what is worth doing next, in one sentence with the command in backticks. `None`: nothing needs to be
/// done.
pub(super) fn next(relay: Option<&RelayStatus>, ledger: &LedgerStatus) -> Option<String> {
    let Some(relay) = relay else {
        return Some("Start the relay with `misp-sentinel-relay run`.".to_owned());
    };
    if !relay.ledger_writable {
        return Some("Make room on the disk of ledger.data_dir, or mend the ledger: `misp-sentinel-relay ledger check`.".to_owned());
    }
    let is_cut_off = relay.endpoints().any(|endpoint| !endpoint.connected())
        || relay.rests().any(|rest| rest.error.is_some())
        || relay.targets.iter().any(is_in_trouble);
    if is_cut_off {
        return Some(
            "Find what is wrong on the way, and its remedy: `misp-sentinel-relay check`."
                .to_owned(),
        );
    }
    if relay.rests().any(|rest| rest.other_view || rest.empty) {
        return Some("Look at what the key of MISP sees: `misp-sentinel-relay check`.".to_owned());
    }
    if ledger.held > 0 {
        return Some(
            "Look at what is gone from MISP without a deletion: `misp-sentinel-relay held`."
                .to_owned(),
        );
    }
    if ledger.warninglists_waiting.is_some() {
        return Some(
            "Look at the warninglists in MISP, then `misp-sentinel-relay release --warninglists`."
                .to_owned(),
        );
    }
    if let Some(rejecting) = ledger.targets.iter().find(|target| target.rejected > 0) {
        let target = &rejecting.target;
        return Some(format!(
            "Mend what Sentinel rejects, then `misp-sentinel-relay retry-rejected --target {target}`."
        ));
    }
    if let Some(unread) = ledger.unread_first.first() {
        return Some(format!(
            "Find out why MISP does not show an event: `misp-sentinel-relay explain {}`.",
            unread.event
        ));
    }
    let is_without_rest = !relay.has_all_keys();
    if is_without_rest && !ledger.gaps.is_empty() {
        return Some(
            "Publish again in MISP what was published or withdrawn during the gaps, then `misp-sentinel-relay release --gaps`."
                .to_owned(),
        );
    }
    if is_without_rest {
        return Some("Set misp.key, or with several sources the key of each, so that nothing that is missed stays missed; then `misp-sentinel-relay check`.".to_owned());
    }
    let lists = relay.warninglists.iter();
    let is_degraded = relay.rests().any(|rest| rest.late)
        || lists.clone().any(|lists| lists.pending || lists.error.is_some());
    is_degraded.then(|| {
        "See why MISP answers slowly or not at all: `misp-sentinel-relay check`.".to_owned()
    })
}

fn is_in_trouble(target: &super::SendingStatus) -> bool {
    let health = &target.health;
    health.degraded.is_some() || health.sign_in.is_some() || health.deletion.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{SendingStatus, SourceStatus};
    use crate::intake::rest::RestState;
    use crate::intake::zmq::EndpointStatus;
    use crate::ledger::{GapStatus, TargetStatus};

    fn healthy() -> RelayStatus {
        let endpoint = EndpointStatus {
            publications_connected: true,
            others_connected: true,
            ..EndpointStatus::default()
        };
        RelayStatus {
            process_id: 1,
            started_at: chrono::DateTime::default(),
            uptime_seconds: 1,
            ledger_writable: true,
            sources: vec![SourceStatus {
                source: "misp".to_owned(),
                endpoints: vec![endpoint],
                webhook: None,
                rest: Some(RestState::default()),
                warninglists: None,
            }],
            warninglists: None,
            targets: vec![SendingStatus::default()],
        }
    }

    #[test]
    fn a_healthy_relay_needs_nothing() {
        assert_eq!(next(Some(&healthy()), &LedgerStatus::default()), None);
    }

    #[test]
    fn what_is_worst_comes_first_with_the_command_that_helps() {
        let (mut relay, mut ledger) = (healthy(), LedgerStatus::default());
        let expect = |relay: &RelayStatus, ledger: &LedgerStatus, command: &str| {
            let told = next(Some(relay), ledger).unwrap();
            assert!(told.contains(command), "{command}: {told}");
        };
        // Each state is worse than all before it.
        let rest = relay.sources[0].rest.take();
        expect(&relay, &ledger, "Set misp.key");
        let gap = GapStatus {
            source: "misp".to_owned(),
            intake: "feed".to_owned(),
            reason: "silent".to_owned(),
            since: 0,
            until: 0,
            times: 1,
        };
        ledger.gaps.push(gap);
        expect(&relay, &ledger, "Publish again in MISP");
        relay.sources[0].rest = rest;
        assert_eq!(next(Some(&relay), &ledger), None, "catch-up heals gaps");
        ledger.targets.push(TargetStatus {
            target: "soc".to_owned(),
            rejected: 2,
            ..TargetStatus::default()
        });
        expect(&relay, &ledger, "`misp-sentinel-relay retry-rejected --target soc`");
        ledger.warninglists_waiting = Some(100);
        expect(&relay, &ledger, "`misp-sentinel-relay release --warninglists`");
        ledger.held = 30;
        expect(&relay, &ledger, "`misp-sentinel-relay held`");
        relay.targets[0].health.degraded = Some("403".to_owned());
        expect(&relay, &ledger, "`misp-sentinel-relay check`");
        relay.ledger_writable = false;
        expect(&relay, &ledger, "`misp-sentinel-relay ledger check`");
        assert!(next(None, &ledger).unwrap().contains("`misp-sentinel-relay run`"));
    }
}
