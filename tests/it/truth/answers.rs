//! Tests that nothing is withdrawn when MISP gives wrong answers, or answers as another user.

use std::time::{Duration, Instant};

use misp_stand_in::{Edit, Key, NewAttribute, NewEvent, Organisation, RestFault};
use serde_json::json;

use super::*;
use crate::support::database;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_withdrawn_because_misp_answers_wrongly() {
    let (misp, event, _) = misp(&["1.1.1.1", "2.2.2.2"]);
    misp.advance(100);
    let stage = Stage::set(
        misp,
        &[("MSR_MISP__REST__EXISTENCE_EVERY", "50ms"), ("MSR_MISP__REST__CATCH_UP_EVERY", "50ms")],
    )
    .await;
    let all = ["1.1.1.1", "2.2.2.2"];
    stage.becomes(&all).await;
    let faults = [
        RestFault::Empty,
        RestFault::HtmlPage,
        RestFault::LoginRedirect,
        RestFault::Truncated { after: 300 },
        RestFault::CutShort { after: 300 },
        RestFault::EndsEarly { missing: 1 },
        RestFault::Status(500),
        RestFault::Reset,
        RestFault::AnswerAs(Key::read_only(OTHER_KEY)),
    ];
    let attribute = NewAttribute { distribution: 0, ..address("7.7.7.7") };
    stage.send(stage.misp.add_attribute(event, attribute)).await;
    stage.send(stage.misp.publish(event)).await;
    let all = [all[0], all[1], "7.7.7.7"];
    stage.becomes(&all).await;
    for fault in faults {
        stage.rest.always(Some(fault.clone()));
        let before = stage.requests();
        stage.relay.command(&["resync", "--detach"]);
        stage.stays(&all, Duration::from_millis(400)).await;
        assert!(stage.requests() > before, "{fault:?}: MISP was not even asked");
        stage.rest.heal();
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while stage.status()["degraded"] != json!([]) {
        assert!(Instant::now() < deadline, "all is well again: {}", stage.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_withdraws_nothing_until_it_is_accepted() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    let attribute = NewAttribute { distribution: 0, ..address("7.7.7.7") };
    misp.add_attribute(event, attribute);
    misp.publish(event);
    misp.advance(100);
    let mut stage = Stage::set(misp, &[]).await;
    let all = ["1.1.1.1", "7.7.7.7"];
    stage.becomes(&all).await;
    stage.relay.stop();
    stage.relay.set("MSR_MISP__KEY", OTHER_KEY);
    stage.relay.restart(&stage.publisher).await;
    stage.relay.command(&["resync"]);
    stage.stays(&all, Duration::from_millis(300)).await;
    assert_eq!(stage.status()["relay"]["sources"][0]["rest"]["other_view"], true);
    stage.relay.stop();
    stage.relay.options(&["--accept-new-view"]);
    stage.relay.restart(&stage.publisher).await;
    stage.becomes(&["1.1.1.1"]).await;
}

/// The same key, whose user an administrator has moved to another organisation.
fn moved(key: Key) -> Key {
    Key { org_id: 2, site_admin: false, ..key }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_view_adds_nothing_by_reading_and_goes_on_with_what_is_pushed_to_all() {
    let (misp, event, uuids) = misp(&["1.1.1.1", "2.2.2.2"]);
    misp.add_attribute(event, NewAttribute { distribution: 0, ..address("7.7.7.7") });
    misp.publish(event);
    misp.advance(100);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2", "7.7.7.7"]).await;
    stage.logged("resync_done").await;
    stage.rest.set_keys(vec![moved(Key::site_admin(KEY))]);
    // Nobody hears of an event that only the other organisation sees, nor of a public one.
    let other = Organisation { id: 2, name: "RELAY".into(), uuid: Uuid::from_u128(2) };
    for distribution in [0, 3] {
        let new = NewEvent {
            distribution,
            organisation: other.clone(),
            attributes: vec![address("8.8.8.8")],
            ..NewEvent::default()
        };
        let uuid = new.uuid;
        stage.lose(stage.misp.add_event(new));
        stage.lose(stage.misp.publish(uuid));
    }
    stage.lose(stage.misp.edit_attribute(event, uuids[1], Edit::ToIds(false)));
    stage.relay.command(&["resync"]);
    stage.becomes(&["1.1.1.1", "7.7.7.7"]).await;
    stage.stays(&["1.1.1.1", "7.7.7.7"], Duration::from_millis(300)).await;
    let rest = &stage.status()["relay"]["sources"][0]["rest"];
    assert_eq!(rest["other_view"], true);
    assert!(rest["key"].as_str().unwrap().contains("RELAY"), "{rest}");
    // A publication for all leaves as ever, one for an organisation waits.
    for (value, distribution) in [("3.3.3.3", 1), ("4.4.4.4", 0)] {
        let attributes = vec![address(value)];
        let new = NewEvent { distribution, attributes, ..NewEvent::default() };
        let uuid = new.uuid;
        stage.send(stage.misp.add_event(new)).await;
        stage.send(stage.misp.publish(uuid)).await;
    }
    let left = ["1.1.1.1", "3.3.3.3", "7.7.7.7"];
    stage.becomes(&left).await;
    stage.stays(&left, Duration::from_millis(300)).await;
    // The user is moved back: what was read meanwhile is read again.
    stage.rest.set_keys(vec![Key::site_admin(KEY)]);
    stage.becomes(&["1.1.1.1", "3.3.3.3", "4.4.4.4", "7.7.7.7", "8.8.8.8"]).await;
}

fn remembers_of_the_key(stage: &Stage, told: &str) {
    let remember = "UPDATE settings SET value = $1 WHERE name LIKE 'key %'";
    let changed = database::open(stage.relay.folder()).execute(remember, [told]).unwrap();
    assert_eq!(changed, 1);
}

/// The shape that was stored before views were, and one that nobody ever stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_key_that_cannot_be_read_is_not_taken_for_none() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.add_attribute(event, NewAttribute { distribution: 0, ..address("7.7.7.7") });
    misp.publish(event);
    misp.advance(100);
    let mut stage = Stage::set(misp, &[]).await;
    let all = ["1.1.1.1", "7.7.7.7"];
    stage.becomes(&all).await;
    let older = r#"{"user":1,"org":1,"role":1,"site_admin":true}"#;
    // The same view as it was told before: it is accepted and from then on known whole.
    stage.relay.stop();
    remembers_of_the_key(&stage, older);
    stage.relay.restart(&stage.publisher).await;
    stage.relay.command(&["resync"]);
    assert_eq!(stage.status()["relay"]["sources"][0]["rest"]["other_view"], false);
    stage.relay.stop();
    stage.relay.set("MSR_MISP__KEY", OTHER_KEY);
    for told in [older, r#"{"of":"another release"}"#] {
        remembers_of_the_key(&stage, told);
        for _ in 0..2 {
            stage.relay.restart(&stage.publisher).await;
            stage.relay.command(&["resync"]);
            stage.stays(&all, Duration::from_millis(300)).await;
            assert_eq!(stage.status()["relay"]["sources"][0]["rest"]["other_view"], true, "{told}");
            stage.relay.stop();
        }
    }
    stage.relay.options(&["--accept-new-view"]);
    stage.relay.restart(&stage.publisher).await;
    stage.becomes(&["1.1.1.1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_of_the_same_view_is_told_and_holds_nothing() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1"]).await;
    assert_eq!(stage.status()["ledger"]["gaps"], json!([]), "a first start is no gap");
    stage.rest.set_keys(vec![Key { user_id: 9, role_id: 8, ..Key::site_admin(KEY) }]);
    stage.lose(stage.misp.add_attribute(event, address("2.2.2.2")));
    stage.lose(stage.misp.publish(event));
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    stage.logged("another user or role than before").await;
    assert_eq!(stage.status()["relay"]["sources"][0]["rest"]["other_view"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_misp_empties_sentinel_only_when_told() {
    let (misp, event, _) = misp(&["1.1.1.1", "2.2.2.2"]);
    misp.advance(100);
    let stage = Stage::set(misp, &[("MSR_MISP__REST__EXISTENCE_EVERY", "100ms")]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    stage.lose(stage.misp.delete_event(event));
    stage.stays(&["1.1.1.1", "2.2.2.2"], Duration::from_millis(1_500)).await;
    let degraded = stage.status()["degraded"].to_string();
    assert!(degraded.contains("release --empty"), "{degraded}");
    let output = stage.relay.command(&["release", "--empty"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stage.becomes(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_misp_cannot_serve_stops_no_other() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    for value in ["2.2.2.2", "3.3.3.3", "4.4.4.4"] {
        let new = NewEvent { attributes: vec![address(value)], ..NewEvent::default() };
        let uuid = new.uuid;
        misp.add_event(new);
        misp.publish(uuid);
    }
    misp.advance(100);
    let settings = [("MSR_MISP__REST__BACKOFF_MAX", "30ms"), ("MSR_MISP__REST__RETRIES", "0")];
    let mut stage = Stage::set(misp, &settings).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"]).await;
    stage.logged("resync_done").await;
    stage.relay.kill();
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        std::fs::remove_file(stage.relay.folder().join(file)).ok();
    }
    for fault in [RestFault::Status(500), RestFault::Truncated { after: 100 }] {
        stage.rest.poison(event, fault);
    }
    stage.relay.restart(&stage.publisher).await;
    stage.logged_times("resync_done", 2).await;
    stage.logged("resync_leaves_out").await;
    assert_eq!(stage.status()["ledger"]["wanted"], 3);
    stage.rest.heal();
    let deadline = Instant::now() + Duration::from_secs(10);
    while stage.status()["ledger"]["wanted"] != 4 {
        assert!(Instant::now() < deadline, "it is read once MISP can serve it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_withdraws_nothing_while_misp_shows_no_event() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    let new = NewEvent { attributes: vec![address("2.2.2.2")], ..NewEvent::default() };
    let other = new.uuid;
    misp.add_event(new);
    misp.publish(other);
    misp.advance(100);
    let stage = Stage::set(misp, &[("MSR_MISP__REST__CATCH_UP_EVERY", "1h")]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    stage.logged("resync_done").await;
    stage.lose(stage.misp.delete_event(event));
    stage.lose(stage.misp.delete_event(other));
    stage.relay.command(&["resync", "--detach", "--event", &event.to_string()]);
    stage.stays(&["1.1.1.1", "2.2.2.2"], Duration::from_millis(500)).await;
    let degraded = stage.status()["degraded"].to_string();
    assert!(degraded.contains("release --empty"), "{degraded}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_in_the_middle_of_a_listing_is_waited_for() {
    let (misp, ..) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1"]).await;
    stage.relay.stop();
    let new = NewEvent { attributes: vec![address("2.2.2.2")], ..NewEvent::default() };
    let uuid = new.uuid;
    stage.lose(stage.misp.add_event(new));
    stage.lose(stage.misp.publish(uuid));
    let limited = [RestFault::None, RestFault::RateLimited { reset: 1 }];
    stage.rest.script_for("/events/restSearch", limited);
    let began = Instant::now();
    stage.relay.restart(&stage.publisher).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    stage.logged("resync_done").await;
}
