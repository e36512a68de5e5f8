//! Tests that MISP's warninglists decide what is live, whatever happens to the lists.

use std::time::{Duration, Instant};

use misp_stand_in::{Misp, NewAttribute, NewEvent, RestFault, Warninglist};
use uuid::Uuid;

use super::super::support::relay::held;
use super::super::support::scene::is_live;
use super::{Stage, address, misp};

const FIRST: &str = "198.51.100.1";
const SECOND: &str = "198.51.100.2";
const THIRD: &str = "198.51.100.3";
const FOURTH: &str = "198.51.100.4";

const ADDRESSES: [&str; 4] = ["ip-src", "ip-dst", "domain|ip", "ip-dst|port"];

fn list(entries: &[&str]) -> Warninglist {
    Warninglist::new(58, "cidr", &ADDRESSES, entries)
}

/// Nobody is told of these.
fn set(misp: &Misp, list: Warninglist) {
    drop(misp.set_warninglist(list));
}

/// What no frame tells is found within a moment.
const OFTEN: (&str, &str) = ("MSR_MISP__WARNINGLISTS__REFRESH_EVERY", "100ms");

async fn until(stage: &Stage, what: &str, holds: impl Fn(&serde_json::Value) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let status = stage.status();
        if holds(&status) {
            return;
        }
        assert!(Instant::now() < deadline, "never {what}: {status:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn degraded(status: &serde_json::Value, words: &str) -> bool {
    status["degraded"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains(words))
}

#[tokio::test]
async fn what_is_on_a_list_stays_and_a_composite_as_a_whole() {
    let (misp, _, _) = misp(&[FIRST, SECOND, THIRD]);
    let uuid = Uuid::new_v4();
    let attributes = vec![
        NewAttribute::new("domain|ip", &format!("listed.example|{SECOND}")),
        NewAttribute::new("ip-dst|port", &format!("{FOURTH}|443")),
    ];
    misp.add_event(NewEvent { uuid, attributes, ..NewEvent::default() });
    misp.publish(uuid);
    set(&misp, list(&["198.51.100.2"]));
    let off =
        Warninglist { enabled: false, ..Warninglist::new(3, "cidr", &["ALL"], &["0.0.0.0/0"]) };
    set(&misp, off);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&[FIRST, THIRD, FOURTH]).await;
    stage.stays(&[FIRST, THIRD, FOURTH], Duration::from_millis(100)).await;
    let status = stage.status();
    assert_eq!(status["relay"]["warninglists"]["lists"], 1, "{status:#}");
    assert_eq!(status["relay"]["warninglists"]["entries"], 1, "{status:#}");
    let skipped = &status["ledger"]["skipped"]["warninglist"];
    // One attribute with one claim, one with two; none where the lists came only after the event.
    assert!(skipped.is_null() || *skipped == 3, "{status:#}");
    let told = stage.relay.command(&["explain", SECOND]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("List 58"), "{told}");
    let check = stage.relay.command(&["ledger", "check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[tokio::test]
async fn as_labels_lists_keep_nothing_back() {
    let (misp, _, _) = misp(&[FIRST, SECOND]);
    set(&misp, list(&["198.51.100.0/31"]));
    set(&misp, Warninglist::new(9, "substring", &["ip-dst"], &[".100."]));
    let stage = Stage::set(misp, &[("MSR_POLICY__WARNINGLISTS", "label"), OFTEN]).await;
    stage.becomes(&[FIRST, SECOND]).await;
    let labels = |value: &str| -> Vec<String> {
        let held = held(&stage.sandbox);
        let object =
            held.iter().find(|one| one.json["pattern"].as_str().unwrap().contains(value)).unwrap();
        let labels = object.json["labels"].as_array().unwrap().iter();
        let labels = labels.map(|label| label.as_str().unwrap().to_owned());
        labels.filter(|label| label.starts_with("misp:warninglist")).collect()
    };
    let (first, second) = ("misp:warninglist=\"List 58\"", "misp:warninglist=\"List 9\"");
    assert_eq!(labels(FIRST), [first, second]);
    assert_eq!(labels(SECOND), [second]);
    // A list that goes takes its label with it.
    stage.misp.remove_warninglist(9);
    let deadline = Instant::now() + Duration::from_secs(10);
    while labels(FIRST) != [first] || !labels(SECOND).is_empty() {
        assert!(Instant::now() < deadline, "{:?} {:?}", labels(FIRST), labels(SECOND));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.becomes(&[FIRST, SECOND]).await;
}

#[tokio::test]
async fn off_means_that_nobody_asks_for_them() {
    let (misp, _, _) = misp(&[FIRST]);
    set(&misp, list(&["198.51.100.0/24"]));
    let stage = Stage::set(misp, &[("MSR_POLICY__WARNINGLISTS", "off"), OFTEN]).await;
    stage.becomes(&[FIRST]).await;
    let asked = stage.rest.requests();
    assert!(!asked.iter().any(|request| request.path.contains("warninglists")));
    assert!(stage.status()["relay"]["warninglists"].is_null());
}

#[tokio::test]
async fn a_list_that_changes_withdraws_and_readmits_as_soon_as_the_feed_tells() {
    let (misp, _, _) = misp(&[FIRST, SECOND, THIRD]);
    set(&misp, list(&[SECOND]));
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&[FIRST, THIRD]).await;
    // The default is an hour: only the frame tells.
    stage.send(stage.misp.set_warninglist(list(&[FIRST]))).await;
    stage.becomes(&[SECOND, THIRD]).await;
    // The same version and number of entries, as a list has that was imported once more.
    stage.send(stage.misp.set_warninglist(list(&[THIRD]))).await;
    stage.becomes(&[FIRST, SECOND]).await;
    let off = Warninglist { enabled: false, ..list(&[THIRD]) };
    stage.send(stage.misp.set_warninglist(off)).await;
    stage.becomes(&[FIRST, SECOND, THIRD]).await;
}

#[tokio::test]
async fn lists_are_asked_for_now_and_then_and_only_what_changed_is_read() {
    let (misp, _, _) = misp(&[FIRST, SECOND]);
    set(&misp, list(&[SECOND]));
    set(&misp, Warninglist::new(7, "string", &["domain"], &["a.example"]));
    let stage = Stage::set(misp, &[OFTEN]).await;
    stage.becomes(&[FIRST]).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let views =
        |path: &str| stage.rest.requests().iter().filter(|request| request.path == path).count();
    assert!(views("/warninglists/index/enabled:1.json") > 2);
    assert_eq!(views("/warninglists/view/58.json"), 1);
    set(&stage.misp, Warninglist { version: 2, ..list(&[FIRST]) });
    stage.becomes(&[SECOND]).await;
    assert_eq!(views("/warninglists/view/58.json"), 2);
    assert_eq!(views("/warninglists/view/7.json"), 1);
}

/// However lists fail, claims wait; they are told as waiting, not as skipped.
#[tokio::test]
async fn before_lists_were_ever_read_claims_wait() {
    let (misp, _, _) = misp(&[FIRST, SECOND]);
    set(&misp, list(&[SECOND]));
    let settings = [("MSR_MISP__REST__RETRIES", "0")];
    let stage = Stage::set_with(misp, &settings, |rest| {
        rest.script_for("/warninglists/index", vec![RestFault::Status(403); 3]);
        rest.script_for(
            "/warninglists/view",
            [
                RestFault::Truncated { after: 100 },
                RestFault::CutShort { after: 100 },
                RestFault::HtmlPage,
            ],
        );
        rest.script_for("/warninglists/index", vec![RestFault::Status(500); 10_000]);
    })
    .await;
    stage.logged("event_committed").await;
    stage.stays(&[], Duration::from_millis(300)).await;
    until(&stage, "pending", |status| degraded(status, "2 claims wait")).await;
    let status = stage.status();
    assert_eq!(status["relay"]["warninglists"]["pending"], true);
    assert!(status["relay"]["warninglists"]["error"].is_string(), "{status:#}");
    assert!(status["ledger"]["skipped"].as_object().unwrap().is_empty(), "{status:#}");
    assert!(stage.relay.log().contains("\"pending\":2"), "the line about the event tells it");
    let check = stage.relay.command(&["ledger", "check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    stage.rest.heal();
    stage.becomes(&[FIRST]).await;
    until(&stage, "in force", |status| !degraded(status, "warninglists")).await;
}

/// The lists are kept beside the ledger.
#[tokio::test]
async fn a_restart_without_misp_judges_by_the_last_lists() {
    let (misp, _, _) = misp(&[FIRST, SECOND]);
    set(&misp, list(&[SECOND, THIRD]));
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&[FIRST]).await;
    stage.logged("warninglists are in force").await;
    stage.relay.kill();
    stage.rest.stop().await;
    stage.relay.restart(&stage.publisher).await;
    let uuid = Uuid::new_v4();
    let attributes = vec![address(THIRD), address(FOURTH)];
    stage.misp.add_event(NewEvent { uuid, attributes, ..NewEvent::default() });
    stage.send(stage.misp.publish(uuid)).await;
    stage.becomes(&[FIRST, FOURTH]).await;
    stage.stays(&[FIRST, FOURTH], Duration::from_millis(200)).await;
    // While it was away another list was switched on.
    stage.relay.kill();
    set(&stage.misp, Warninglist::new(9, "string", &["ip-dst"], &[FIRST]));
    stage.rest.restart().await.unwrap();
    stage.relay.restart(&stage.publisher).await;
    stage.becomes(&[FOURTH]).await;
}

#[tokio::test]
async fn kept_lists_that_are_damaged_are_read_again() {
    let (misp, _, _) = misp(&[FIRST, SECOND]);
    set(&misp, list(&[SECOND]));
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&[FIRST]).await;
    stage.logged("warninglists are in force").await;
    stage.relay.kill();
    let file = stage.relay.folder().join("warninglists-misp");
    let kept = std::fs::read(&file).unwrap();
    std::fs::write(&file, &kept[..kept.len() / 2]).unwrap();
    stage.relay.restart(&stage.publisher).await;
    stage.logged("warninglists_file_unreadable").await;
    stage.logged_times("warninglists are in force", 2).await;
    assert_eq!(std::fs::read(&file).unwrap(), kept);
    stage.stays(&[FIRST], Duration::from_millis(100)).await;
}

/// Lists that never came must not empty a SIEM that was filled before they were asked for.
#[tokio::test]
async fn what_is_live_stays_while_lists_are_pending() {
    let (misp, event, attributes) = misp(&[FIRST, SECOND, THIRD]);
    set(&misp, list(&[SECOND]));
    let mut stage = Stage::set(misp, &[("MSR_POLICY__WARNINGLISTS", "off")]).await;
    stage.becomes(&[FIRST, SECOND, THIRD]).await;
    stage.relay.stop();
    stage.relay.set("MSR_POLICY__WARNINGLISTS", "enforce");
    stage.rest.script_for("/warninglists", vec![RestFault::Status(403); 10_000]);
    stage.relay.restart(&stage.publisher).await;
    until(&stage, "pending", |status| degraded(status, "they were never read")).await;
    stage.stays(&[FIRST, SECOND, THIRD], Duration::from_millis(200)).await;
    // What MISP takes back goes nevertheless, and nothing new comes.
    stage.send(stage.misp.delete_attribute(event, attributes[2])).await;
    stage.becomes(&[FIRST, SECOND]).await;
    stage.misp.advance(1);
    let other = Uuid::new_v4();
    let attributes = vec![address(FOURTH)];
    stage.misp.add_event(NewEvent { uuid: other, attributes, ..NewEvent::default() });
    stage.send(stage.misp.publish(other)).await;
    stage.stays(&[FIRST, SECOND], Duration::from_millis(200)).await;
    stage.rest.heal();
    stage.becomes(&[FIRST, FOURTH]).await;
}

const STRICT: [(&str, &str); 3] = [("MSR_GUARD__MAX", "1"), ("MSR_GUARD__PERCENT", "0"), OFTEN];

#[tokio::test]
async fn lists_that_would_withdraw_too_much_wait_for_an_operator() {
    let (misp, _, _) = misp(&[FIRST, SECOND, THIRD, FOURTH]);
    // The first lists ever are never held.
    set(&misp, list(&[FOURTH]));
    let mut stage = Stage::set(misp, &STRICT).await;
    stage.becomes(&[FIRST, SECOND, THIRD]).await;
    stage.logged("warninglists are in force").await;
    set(&stage.misp, Warninglist { version: 2, ..list(&["198.51.100.2/31"]) });
    until(&stage, "waiting", |status| degraded(status, "would withdraw 2 live")).await;
    stage.stays(&[FIRST, SECOND, THIRD], Duration::from_millis(300)).await;
    let told = stage.relay.log().matches("would withdraw more indicators").count();
    assert_eq!(told, 1, "told once, not at every look");
    // Also after a restart.
    stage.relay.stop();
    stage.relay.restart(&stage.publisher).await;
    stage.stays(&[FIRST, SECOND, THIRD], Duration::from_millis(300)).await;
    let held = stage.relay.command(&["held"]);
    let held = String::from_utf8(held.stdout).unwrap();
    assert!(held.contains("release --warninglists"), "{held}");
    let released = stage.relay.command(&["release", "--warninglists"]);
    assert!(released.status.success());
    let words = String::from_utf8(released.stdout).unwrap();
    assert!(words.contains("2 indicators are withdrawn"), "{words}");
    stage.becomes(&[FIRST, FOURTH]).await;
    until(&stage, "released", |status| !degraded(status, "would withdraw")).await;
    stage.stays(&[FIRST, FOURTH], Duration::from_millis(300)).await;
    let again = stage.relay.command(&["release", "--warninglists"]);
    assert_eq!(String::from_utf8(again.stdout).unwrap(), "No warninglists wait.\n");
}

#[tokio::test]
async fn lists_that_misp_mends_wait_no_longer() {
    let (misp, _, _) = misp(&[FIRST, SECOND, THIRD]);
    set(&misp, list(&["203.0.113.1"]));
    let stage = Stage::set(misp, &STRICT).await;
    stage.becomes(&[FIRST, SECOND, THIRD]).await;
    stage.logged("warninglists are in force").await;
    set(&stage.misp, Warninglist { version: 2, ..list(&["198.51.100.0/24"]) });
    until(&stage, "waiting", |status| degraded(status, "would withdraw 3 live")).await;
    // One withdrawal is within the measure.
    set(&stage.misp, Warninglist { version: 3, ..list(&[SECOND]) });
    stage.becomes(&[FIRST, THIRD]).await;
    until(&stage, "mended", |status| !degraded(status, "would withdraw")).await;
    assert!(!stage.relay.folder().join("warninglists-misp.waiting").exists());
}

#[tokio::test]
async fn released_without_a_relay_the_next_start_withdraws() {
    let (misp, _, _) = misp(&[FIRST, SECOND, THIRD]);
    set(&misp, list(&["203.0.113.1"]));
    let mut stage = Stage::set(misp, &STRICT).await;
    stage.becomes(&[FIRST, SECOND, THIRD]).await;
    stage.logged("warninglists are in force").await;
    set(&stage.misp, Warninglist { version: 2, ..list(&["198.51.100.2/31"]) });
    until(&stage, "waiting", |status| degraded(status, "would withdraw 2 live")).await;
    stage.relay.stop();
    stage.rest.stop().await;
    let released = stage.relay.command(&["release", "--warninglists"]);
    let words = String::from_utf8(released.stdout).unwrap();
    assert!(words.contains("2 indicators are withdrawn"), "{words}");
    stage.relay.restart(&stage.publisher).await;
    stage.becomes(&[FIRST]).await;
}

#[tokio::test]
async fn without_a_key_nobody_waits_for_lists() {
    let (misp, event, _) = misp(&[FIRST, SECOND]);
    set(&misp, list(&[SECOND]));
    let stage = Stage::set(misp, &[("MSR_MISP__KEY", "")]).await;
    stage.send(stage.misp.push(event)).await;
    stage.becomes(&[FIRST, SECOND]).await;
    assert!(stage.relay.log().contains("policy.warninglists needs misp.key"));
    let live = held(&stage.sandbox).iter().filter(|held| is_live(&held.json)).count();
    assert_eq!(live, 2);
}
