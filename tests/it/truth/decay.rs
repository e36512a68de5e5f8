//! Tests the scores of MISP's decaying models, which the relay learns only from reads.

use std::time::Duration;

use super::super::support::relay::held;
use super::{Stage, misp};

const FIRST: &str = "198.51.100.1";
const SECOND: &str = "198.51.100.2";
const THIRD: &str = "198.51.100.3";

fn confidence(stage: &Stage, value: &str) -> u64 {
    let held = held(&stage.sandbox);
    let is_it = |pattern: &str| pattern.contains(value);
    let object = held.iter().find(|one| is_it(one.json["pattern"].as_str().unwrap())).unwrap();
    object.json["confidence"].as_u64().unwrap()
}

fn resync(stage: &Stage) {
    let output = stage.relay.command(&["resync"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn decayed_attributes_go_and_scores_are_confidence() {
    let (misp, event, attributes) = misp(&[FIRST, SECOND, THIRD]);
    misp.set_decay(event, attributes[0], 84, false);
    misp.set_decay(event, attributes[1], 3, true);
    let mut stage = Stage::set(misp, &[("MSR_MISP__DECAY", "true")]).await;
    stage.becomes(&[FIRST, THIRD]).await;
    assert_eq!(confidence(&stage, FIRST), 80);
    // No model applies to it: as configured.
    assert_eq!(confidence(&stage, THIRD), 51);
    let told = stage.relay.command(&["explain", SECOND]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("decaying models"), "{told}");
    // A publication says nothing of it.
    stage.send(stage.misp.push(event)).await;
    stage.stays(&[FIRST, THIRD], Duration::from_millis(300)).await;
    // Time passes, and somebody sees the second one again.
    stage.misp.set_decay(event, attributes[0], 84 - 2, false);
    stage.misp.set_decay(event, attributes[1], 100, false);
    stage.misp.set_decay(event, attributes[2], 0, true);
    let sent = stage.uploaded();
    resync(&stage);
    stage.becomes(&[FIRST, SECOND]).await;
    assert_eq!(confidence(&stage, SECOND), 100);
    assert_eq!(stage.uploaded(), sent + 2, "the first one's score is the same in tens");
    let check = stage.relay.command(&["ledger", "check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    // Switched off, nothing of it counts.
    stage.relay.stop();
    stage.relay.set("MSR_MISP__DECAY", "false");
    stage.relay.restart(&stage.publisher).await;
    stage.becomes(&[FIRST, SECOND, THIRD]).await;
}

#[tokio::test]
async fn by_default_nobody_asks_for_scores() {
    let (misp, event, attributes) = misp(&[FIRST]);
    misp.set_decay(event, attributes[0], 0, true);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&[FIRST]).await;
    assert!(!stage.rest.requests().iter().any(|asked| asked.body.contains("includeDecayScore")));
}
