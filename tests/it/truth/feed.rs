//! Tests how the relay uses what the feed and the webhook tell, and that it finds by reading what they lose.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use misp_sentinel_relay::sandbox::Fault;
use misp_stand_in::{Edit, NewAttribute, NewEvent, Organisation};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use crate::support::port::free_address;
use crate::support::relay::held;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gap_swallows_is_found() {
    let (misp, event, attributes) = misp(&["1.1.1.1", "2.2.2.2", "3.3.3.3"]);
    let (gone, new) = (Uuid::new_v4(), Uuid::new_v4());
    let other =
        NewEvent { uuid: gone, attributes: vec![address("8.8.8.8")], ..NewEvent::default() };
    misp.add_event(other);
    misp.publish(gone);
    misp.advance(10);
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2", "3.3.3.3", "8.8.8.8"]).await;
    stage
        .gap(async |stage| {
            stage.lose(stage.misp.edit_attribute(event, attributes[0], Edit::ToIds(false)));
            stage.lose(stage.misp.remove_attribute(event, attributes[1]));
            stage.lose(stage.misp.delete_event(gone));
            let attributes = vec![address("9.9.9.9")];
            stage.lose(stage.misp.add_event(NewEvent {
                uuid: new,
                attributes,
                ..NewEvent::default()
            }));
            stage.lose(stage.misp.publish(new));
        })
        .await;
    stage.becomes(&["3.3.3.3", "9.9.9.9"]).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while stage.status()["ledger"]["gaps"] != json!([]) {
        assert!(Instant::now() < deadline, "the gap is never healed: {}", stage.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = stage.uploaded();
    stage.stays(&["3.3.3.3", "9.9.9.9"], Duration::from_millis(1_500)).await;
    assert_eq!(stage.uploaded(), before, "nothing is sent without a change");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_key_may_not_see_waits_for_a_read() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let stage = Stage::set(misp, &[("MSR_MISP__KEY", OTHER_KEY)]).await;
    stage.becomes(&["1.1.1.1"]).await;
    let hidden = NewAttribute { distribution: 0, ..address("7.7.7.7") };
    stage.send(stage.misp.add_attribute(event, hidden)).await;
    stage.send(stage.misp.add_attribute(event, address("2.2.2.2"))).await;
    let publication = stage.misp.publish(event);
    stage.send(publication).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    let ever = held(&stage.sandbox).iter().any(|held| held.json["pattern"] == pattern("7.7.7.7"));
    assert!(!ever, "it never left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_search_decides_what_a_publication_adds() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let search = format!(r#"{{"org": "{}"}}"#, Organisation::own().id);
    let stage = Stage::set(misp, &[("MSR_MISP__SEARCH", &search)]).await;
    stage.becomes(&["1.1.1.1"]).await;
    stage.send(stage.misp.add_attribute(event, address("2.2.2.2"))).await;
    stage.send(stage.misp.publish(event)).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_alone_is_confirmed_by_reads() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let free = free_address();
    let listen = free.to_string();
    let settings = [
        ("MSR_MISP__REST__CATCH_UP_EVERY", "1h"),
        ("MSR_MISP__WEBHOOK__LISTEN", listen.as_str()),
        ("MSR_MISP__WEBHOOK__SECRET", "a secret of enough characters"),
    ];
    let stage = Stage::set(misp, &settings).await;
    stage.becomes(&["1.1.1.1"]).await;
    let announce = async || {
        let body = format!(r#"{{"Event":{{"uuid":"{event}","id":"1","Attribute":[]}}}}"#);
        let request = format!(
            "POST /misp HTTP/1.1\r\nHost: relay\r\nX-Relay-Secret: a secret of enough characters\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut answer = String::new();
        let mut stream = tokio::net::TcpStream::connect(&listen).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    };
    // MISP's module fires before the publication is saved.
    stage.lose(stage.misp.add_attribute(event, address("2.2.2.2")));
    announce().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stage.lose(stage.misp.publish(event));
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    // And one that is blocked after all.
    stage.lose(stage.misp.add_attribute(event, address("3.3.3.3")));
    announce().await;
    stage.stays(&["1.1.1.1", "2.2.2.2"], Duration::from_millis(900)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpublished_event_goes_where_the_operator_wants_that() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let settings =
        [("MSR_MISP__ON_UNPUBLISH", "withdraw"), ("MSR_MISP__REST__CATCH_UP_EVERY", "1h")];
    let stage = Stage::set(misp, &settings).await;
    stage.becomes(&["1.1.1.1"]).await;
    let frames = stage.misp.unpublish(event);
    stage.send(frames).await;
    stage.becomes(&[]).await;
    stage.misp.advance(1);
    let frames = stage.misp.publish(event);
    stage.send(frames).await;
    stage.becomes(&["1.1.1.1"]).await;
}

/// An upload arrives and its answer is lost; the repeat is refused. Sentinel holds it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_before_a_refusal_is_withdrawn_all_the_same() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1"]).await;
    let doubtful = address("2.2.2.2");
    let attribute = doubtful.uuid;
    stage.sandbox.script([Fault::ResetAfter]);
    let seen = AtomicUsize::new(0);
    stage.sandbox.reject_where(move |object| {
        let is_it = object["pattern"] == pattern("2.2.2.2");
        let again = is_it && seen.fetch_add(1, Ordering::Relaxed) == 1;
        again.then(|| "not this time".to_owned())
    });
    let frames = stage.misp.add_attribute(event, doubtful);
    stage.send(frames).await;
    let frames = stage.misp.publish(event);
    stage.send(frames).await;
    stage.logged("not this time").await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    stage.misp.advance(1);
    let frames = stage.misp.delete_attribute(event, attribute);
    stage.send(frames).await;
    stage.becomes(&["1.1.1.1"]).await;
}
