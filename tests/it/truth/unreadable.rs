//! Tests events that MISP shows but that cannot be read: operators are told, and all other events go on.

use std::time::{Duration, Instant};

use misp_stand_in::{NewEvent, RestFault, Spoilt};

use super::*;

/// A second event in the same MISP.
fn another(misp: &Misp, value: &str) -> Uuid {
    let uuid = Uuid::new_v4();
    misp.add_event(NewEvent { uuid, attributes: vec![address(value)], ..NewEvent::default() });
    misp.publish(uuid);
    misp.advance(100);
    uuid
}

fn degraded(stage: &Stage) -> String {
    stage.status()["degraded"].to_string()
}

async fn is_degraded(stage: &Stage, words: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let told = degraded(stage);
        if told.contains(words) {
            return told;
        }
        assert!(Instant::now() < deadline, "never degraded by {words:?}: {told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whole reads that asked for this event.
fn reads(stage: &Stage, event: Uuid) -> usize {
    let named = |body: &str| body.contains(&event.to_string()) && !body.contains("metadata");
    stage.rest.requests().iter().filter(|request| named(&request.body)).count()
}

/// A raw byte that is no UTF-8 in the event's info, as public case 16 has it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_read_is_told_and_tried_ever_later() {
    let (misp, bad, _) = misp(&["1.1.1.1"]);
    another(&misp, "2.2.2.2");
    let settings =
        [("MSR_MISP__REST__CATCH_UP_EVERY", "100ms"), ("MSR_MISP__REST__BACKOFF_MAX", "500ms")];
    let stage = Stage::set_with(misp, &settings, |rest| {
        rest.poison(bad, RestFault::Spoilt(Spoilt::NotUtf8(bad)));
    })
    .await;
    stage.becomes(&["2.2.2.2"]).await;
    let told = is_degraded(&stage, &bad.to_string()).await;
    for part in ["cannot be read", "not UTF-8", "from index", "in MISP"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // It waits longer each time, however often catch-up lists it: at 0, 0.5, 1.5, 3 and 5 s.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let asked = reads(&stage, bad);
    assert!((2..=5).contains(&asked), "read {asked} times in 3 s");
    let explained = stage.relay.command(&["explain", &bad.to_string()]);
    let said = String::from_utf8(explained.stderr).unwrap();
    assert!(said.contains("cannot be read") && said.contains("not UTF-8"), "{said}");
    // A full resync does not wait for it.
    let resync = stage.relay.command(&["resync"]);
    let said = String::from_utf8_lossy(&resync.stdout).into_owned();
    assert!(resync.status.success() && said.contains(&bad.to_string()), "{said}");
    // What is mended in MISP is read and told no more.
    stage.rest.heal();
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while degraded(&stage) != "[]" {
        assert!(Instant::now() < deadline, "still {}", degraded(&stage));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_still_known_after_a_restart() {
    let (misp, bad, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let mut stage = Stage::set_with(misp, &[("MSR_MISP__REST__BACKOFF_MAX", "1h")], |rest| {
        rest.poison(bad, RestFault::Spoilt(Spoilt::NotUtf8(bad)));
    })
    .await;
    is_degraded(&stage, &bad.to_string()).await;
    stage.relay.stop();
    stage.relay.restart(&stage.publisher).await;
    is_degraded(&stage, &bad.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_beyond_max_event_is_told() {
    let misp = Misp::new(now() - 1_000);
    let large = Uuid::new_v4();
    let attributes = (1..100).map(|last| address(&format!("1.1.1.{last}"))).collect();
    misp.add_event(NewEvent { uuid: large, attributes, ..NewEvent::default() });
    misp.publish(large);
    another(&misp, "2.2.2.2");
    let stage = Stage::set(misp, &[("MSR_MISP__REST__MAX_EVENT", "10KiB")]).await;
    stage.becomes(&["2.2.2.2"]).await;
    let told = is_degraded(&stage, &large.to_string()).await;
    assert!(told.contains("misp.rest.max_event"), "{told}");
}

/// Public case 25.
#[tokio::test(flavor = "multi_thread")]
async fn warnings_of_php_have_a_remedy_of_their_own() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let stage = Stage::set_with(misp, &[], |rest| {
        rest.poison(event, RestFault::Spoilt(Spoilt::PhpWarning));
    })
    .await;
    let told = is_degraded(&stage, "set debug to 0").await;
    assert!(told.contains("Undefined array key"), "{told}");
    assert!(!told.contains("reverse proxy"), "{told}");
}

/// Blanks that come for ever are no silence.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_drips_is_given_up_and_a_late_catch_up_is_told() {
    let (misp, _, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let settings = [
        ("MSR_MISP__REST__ANSWER_TIMEOUT", "300ms"),
        ("MSR_MISP__REST__CATCH_UP_EVERY", "200ms"),
        ("MSR_MISP__REST__RETRIES", "0"),
    ];
    let stage = Stage::set(misp, &settings).await;
    stage.becomes(&["1.1.1.1"]).await;
    stage.rest.always(Some(RestFault::Spoilt(Spoilt::Drips(Duration::from_millis(20)))));
    is_degraded(&stage, "did not end within 300ms").await;
    is_degraded(&stage, "no catch-up was completed").await;
    stage.rest.heal();
    let deadline = Instant::now() + Duration::from_secs(10);
    while degraded(&stage) != "[]" {
        assert!(Instant::now() < deadline, "still {}", degraded(&stage));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whatever the umask leaves to others: the ledger and all beside it hold what policy keeps home.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_data_folder_is_for_the_relay_alone() {
    use misp_stand_in::Warninglist;
    use std::os::unix::fs::PermissionsExt;

    let (misp, _, _) = misp(&["1.1.1.1"]);
    drop(misp.set_warninglist(Warninglist::new(1, "string", &["ip-dst"], &["9.9.9.9"])));
    misp.advance(100);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1"]).await;
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(stage.relay.folder()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        // The log is this test's own.
        if name != "relay.log" {
            assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
            seen.insert(name);
        }
    }
    for name in ["ledger.db", "relay.lock", "warninglists-misp"] {
        assert!(seen.contains(name), "no {name} in {seen:?}");
    }
}
