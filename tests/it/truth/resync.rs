//! Tests the resync, which reads and compares everything: at the first start, by schedule, and on command.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use misp_stand_in::{Edit, Misp, NewAttribute, NewEvent, NewObject};
use uuid::Uuid;

use crate::support::relay::held;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_before_the_first_start_arrives() {
    let (misp, ..) = misp(&["1.1.1.1", "2.2.2.2"]);
    misp.add_event(NewEvent { attributes: vec![address("3.3.3.3")], ..NewEvent::default() });
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_and_changes_nothing() {
    let (misp, event, attributes) = misp(&["1.1.1.1", "2.2.2.2"]);
    misp.advance(100);
    let stage = Stage::set(misp, &[("MSR_MISP__REST__CATCH_UP_EVERY", "1h")]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stage.lose(stage.misp.remove_attribute(event, attributes[0]));
    stage.lose(stage.misp.add_attribute(event, address("3.3.3.3")));
    stage.lose(stage.misp.publish(event));
    let dry_run = &["resync", "--dry-run"];
    for output in [stage.relay.command(dry_run), stage.relay.command_in_folder(dry_run)] {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(&format!("new       {}", pattern("3.3.3.3"))), "{text}");
        assert!(text.contains(&format!("withdrawn {}", pattern("1.1.1.1"))), "{text}");
        assert!(text.contains("1 new, 0 changed and 1 withdrawn"), "{text}");
    }
    stage.stays(&["1.1.1.1", "2.2.2.2"], Duration::from_millis(200)).await;
    let output = stage.relay.command(&["resync"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stage.becomes(&["2.2.2.2", "3.3.3.3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_the_second_forms_of_urls() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let stage = Stage::set(misp, &[("MSR_MISP__REST__CATCH_UP_EVERY", "1h")]).await;
    stage.becomes(&["1.1.1.1"]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    for url in ["http://a.evil.example", "http://b.evil.example/", "http://c.evil.example/x"] {
        stage.lose(stage.misp.add_attribute(event, NewAttribute::new("url", url)));
    }
    stage.lose(stage.misp.publish(event));
    let output = stage.relay.command(&["resync", "--dry-run"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("new       [url:value = 'http://a.evil.example/']"), "{text}");
    assert!(text.contains("4 new, 0 changed and 0 withdrawn"), "{text}");
    assert!(text.contains("1 of the new ones are URLs in the form that requests have"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resync_that_is_killed_goes_on_where_it_was() {
    let misp = Misp::new(now() - 10_000);
    let mut expected = 0;
    for event in 0..60 {
        let of = |n: usize| address(&format!("10.{event}.{}.{}", n / 250, n % 250 + 1));
        let new = NewEvent { attributes: (0..100).map(of).collect(), ..NewEvent::default() };
        let uuid = new.uuid;
        misp.add_event(new);
        misp.publish(uuid);
        misp.advance(1);
        expected += 100;
    }
    misp.advance(1_000);
    let mut stage = Stage::set(misp, &[("MSR_MISP__REST__PAGE_EVENTS", "5")]).await;
    stage.logged("resync_listed").await;
    for kill in 0..3 {
        let read = stage.read_events();
        let deadline = Instant::now() + Duration::from_secs(20);
        while stage.read_events() < read + 10 && stage.read_events() < 60 {
            assert!(Instant::now() < deadline, "kill {kill}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stage.relay.kill();
        stage.relay.restart(&stage.publisher).await;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while stage.live().len() < expected {
        assert!(Instant::now() < deadline, "{} of {expected}", stage.live().len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let read = stage.read_events();
    // Five at each kill, and as many that a listing named while they were settled.
    let in_hand = 2 * 3 * 5;
    assert!(read <= 60 + in_hand, "{read} reads of 60 events: only those in hand are read again");
    let sent = stage.uploaded();
    let in_flight = 3 * 4 * 100;
    assert!(sent <= expected + in_flight, "{sent} sent, {expected} wanted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_passing_fault_rejected_is_tried_once_with_each_resync() {
    let (misp, ..) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1"]).await;
    stage.logged("resync_done").await;
    let overloaded = |object: &serde_json::Value| {
        (object["pattern"] == pattern("3.3.3.3")).then(|| "overloaded".to_owned())
    };
    stage.sandbox.reject_where(overloaded);
    let new = NewEvent { attributes: vec![address("3.3.3.3")], ..NewEvent::default() };
    let event = new.uuid;
    stage.send(stage.misp.add_event(new)).await;
    stage.send(stage.misp.publish(event)).await;
    let tried = |times: usize| {
        let requests = stage.sandbox.requests();
        let rejected = requests.iter().filter(|request| !request.rejected.is_empty()).count();
        assert!(rejected <= times, "{rejected} tries");
        rejected == times
    };
    let is_tried = async |times: usize| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !tried(times) {
            assert!(Instant::now() < deadline, "never tried {times} times");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(tried(times));
    };
    is_tried(1).await;
    assert!(stage.relay.command(&["resync"]).status.success());
    is_tried(2).await;
    stage.sandbox.heal();
    assert!(stage.relay.command(&["resync"]).status.success());
    stage.becomes(&["1.1.1.1", "3.3.3.3"]).await;
    assert_eq!(stage.status()["ledger"]["targets"][0]["rejected"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_is_filled_again_without_duplicates() {
    let (misp, event, attributes) = misp(&["1.1.1.1", "2.2.2.2", "3.3.3.3"]);
    misp.advance(100);
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2", "3.3.3.3"]).await;
    stage.logged("resync_done").await;
    let before: BTreeSet<String> = held(&stage.sandbox).into_iter().map(|held| held.id).collect();
    // An edit unpublishes the event; what it did not touch is still what was published.
    let comment = Edit::Comment("touched".to_owned());
    stage.lose(stage.misp.edit_attribute(event, attributes[0], comment));
    stage.relay.kill();
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        std::fs::remove_file(stage.relay.folder().join(file)).ok();
    }
    stage.relay.restart(&stage.publisher).await;
    stage.logged_times("resync_done", 2).await;
    let status = stage.status();
    assert_eq!(status["ledger"]["wanted"], 2, "{status}");
    let after: BTreeSet<String> = held(&stage.sandbox).into_iter().map(|held| held.id).collect();
    assert_eq!(after, before, "the same ids");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_and_the_operator_find_what_leaves_no_trace() {
    let misp = Misp::new(now() - 1_000);
    let (event, object) = (Uuid::new_v4(), Uuid::new_v4());
    let of = |value: &str| NewObject {
        uuid: object,
        attributes: vec![address(value)],
        ..NewObject::default()
    };
    let attributes = vec![address("1.1.1.1")];
    misp.add_event(NewEvent { uuid: event, attributes, ..NewEvent::default() });
    misp.add_object(event, of("2.2.2.2"));
    misp.publish(event);
    misp.advance(100);
    let every_second = [("MSR_MISP__RESYNC__SCHEDULE", "* * * * * *")];
    let stage = Stage::set(misp.clone(), &every_second).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    stage.lose(stage.misp.remove_object(event, object));
    stage.becomes(&["1.1.1.1"]).await;
    drop(stage);
    misp.add_object(event, of("3.3.3.3"));
    misp.publish(event);
    misp.advance(100);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1", "3.3.3.3"]).await;
    stage.lose(stage.misp.remove_object(event, object));
    let output = stage.relay.command(&["resync", "--event", &event.to_string()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 of 1 events"), "{text}");
    stage.becomes(&["1.1.1.1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_bounds_what_is_fetched_and_not_what_is_taken_back() {
    let (misp, event, attributes) = misp(&["1.1.1.1", "2.2.2.2"]);
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    stage.relay.stop();
    let new = NewEvent { attributes: vec![address("3.3.3.3")], ..NewEvent::default() };
    let old = new.uuid;
    stage.lose(stage.misp.add_event(new));
    stage.lose(stage.misp.publish(old));
    stage.misp.set_clock(now());
    stage.lose(stage.misp.edit_attribute(event, attributes[0], Edit::ToIds(false)));
    stage.relay.set("MSR_MISP__WINDOW", "500s");
    stage.relay.restart(&stage.publisher).await;
    stage.becomes(&["2.2.2.2"]).await;
    let output = stage.relay.command(&["resync"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stage.stays(&["2.2.2.2"], Duration::from_millis(200)).await;
}
