//! Tests the client for MISP's REST API behind bad networks and at its size and time limits.

use std::io::Write as _;
use std::time::{Duration, Instant};

use misp_sentinel_relay::misp_api::{EventPage, EventsAnswer, MispClient, RestError};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support::rest::{FakeRest, Part, Reaction, Request, body, ok, recorded, response};

const FIRST: Uuid = Uuid::from_u128(0x11);
const SECOND: Uuid = Uuid::from_u128(0x22);

fn event(uuid: Uuid, info: &str) -> String {
    json!({"Event": {"id": "1", "uuid": uuid, "info": info, "Attribute": []}}).to_string()
}

fn two() -> Vec<u8> {
    let first = event(FIRST, r#"brackets } ] and \ and " and ü"#);
    format!("{{\"response\": [{first},{}]}}\n", event(SECOND, "🦀")).into_bytes()
}

/// The events that came, and how it ended.
async fn all(client: &MispClient) -> (Vec<Value>, Option<RestError>) {
    match client.read(&[FIRST, SECOND]).await {
        Ok(answer) => rest_of(answer).await,
        Err(error) => (Vec::new(), Some(error)),
    }
}

async fn rest_of(mut answer: EventsAnswer) -> (Vec<Value>, Option<RestError>) {
    let mut events = Vec::new();
    loop {
        match answer.next().await {
            Ok(Some(event)) => {
                events.push(serde_json::from_slice(&event.into_bytes().unwrap()).unwrap())
            }
            Ok(None) => return (events, None),
            Err(error) => {
                // What failed once never ends well.
                answer.next().await.expect_err("an end after a failure");
                return (events, Some(error));
            }
        }
    }
}

fn whole() -> Vec<Value> {
    let answer: Value = serde_json::from_slice(&two()).unwrap();
    answer["response"].as_array().unwrap().clone()
}

/// Chunked transfer, a chunk for each part.
fn chunked(parts: &[&[u8]], ends: bool) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        write!(answer, "{:x}\r\n", part.len()).unwrap();
        answer.extend_from_slice(part);
        answer.extend_from_slice(b"\r\n");
    }
    if ends {
        answer.extend_from_slice(b"0\r\n\r\n");
    }
    answer
}

/// A server that reacts to the number in turn.
async fn in_turn(reactions: Vec<Reaction>) -> FakeRest {
    FakeRest::start(move |number, _| reactions[number % reactions.len()].clone()).await
}

#[tokio::test]
async fn chunks_that_end_anywhere_give_the_same_events() {
    let answer = two();
    let cuts = 0..=answer.len();
    let reactions = cuts.clone().map(|cut| {
        let (front, back) = answer.split_at(cut);
        vec![Part::Bytes(chunked(&[front, back], true))]
    });
    let misp = in_turn(reactions.collect()).await;
    let client = misp.client();
    for cut in cuts {
        assert_eq!(all(&client).await, (whole(), None), "{cut}");
    }
}

/// With a length, in chunks, and up to the end of the connection, which looks like a good end.
#[tokio::test]
async fn an_answer_cut_anywhere_is_never_complete() {
    let answer = two();
    let cuts = || (0..answer.len() - 2).step_by(3);
    let mut reactions = Vec::new();
    for cut in cuts() {
        let part = &answer[..cut];
        let full = ok("", &answer);
        reactions.push(vec![Part::Bytes(full[..full.len() - answer.len() + cut].to_vec())]);
        reactions.push(vec![Part::Bytes(chunked(&[part], false))]);
        let open = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", part].concat();
        reactions.push(vec![Part::Bytes(open)]);
    }
    let count = reactions.len();
    let misp = in_turn(reactions).await;
    let client = misp.client();
    for number in 0..count {
        let (events, error) = all(&client).await;
        let error = error.unwrap_or_else(|| panic!("{number}: complete"));
        let empty = matches!(error, RestError::Malformed { .. }) && number % 3 == 2 && number < 3;
        assert!(empty || matches!(error, RestError::BrokeOff { .. }), "{number}: {error:?}");
        assert!(whole().starts_with(&events));
    }
    assert_eq!(misp.requests().len(), count, "what was begun is not asked again");
}

#[tokio::test]
async fn a_reset_within_an_answer_is_told_and_before_it_asked_again() {
    let full = ok("", &two());
    let (front, _) = full.split_at(full.len() - 10);
    let pause = Part::Pause(Duration::from_millis(50));
    let misp = in_turn(vec![vec![Part::Bytes(front.to_vec()), pause, Part::Reset]]).await;
    let (events, error) = all(&misp.client()).await;
    assert!(matches!(error, Some(RestError::BrokeOff { .. })), "{error:?}");
    assert_eq!(events, whole()[..1]);

    let good = vec![Part::Bytes(full)];
    let misp = in_turn(vec![vec![Part::Reset], vec![], vec![Part::Reset], good]).await;
    assert_eq!(all(&misp.client()).await, (whole(), None));
    assert_eq!(misp.requests().len(), 4);
}

#[tokio::test]
async fn an_answer_that_stalls_is_given_up_and_less_is_asked_for() {
    let full = ok("", &two());
    let misp = in_turn(vec![vec![Part::Bytes(full[..full.len() - 10].to_vec()), Part::Hang]]).await;
    let client = misp.client_with(|rest| rest.request_timeout = Duration::from_millis(200));
    let began = Instant::now();
    let (events, error) = all(&client).await;
    let expected = Duration::from_millis(200);
    assert!(matches!(error, Some(RestError::Silent { waited, .. }) if waited == expected));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(events, whole()[..1]);
    assert_eq!(client.page(), EventPage { events: 50, attributes: 25_000 });
}

/// Bytes that trickle in are no silence.
#[tokio::test]
async fn an_answer_that_is_slow_is_waited_for() {
    let full = ok("", &two());
    let pieces = full
        .chunks(full.len() / 8 + 1)
        .flat_map(|piece| [Part::Bytes(piece.to_vec()), Part::Pause(Duration::from_millis(100))]);
    let misp = in_turn(vec![pieces.collect()]).await;
    let client = misp.client_with(|rest| rest.request_timeout = Duration::from_secs(1));
    assert_eq!(all(&client).await, (whole(), None));
}

/// Asked for one event, MISP may be asked again; several are asked for in smaller pages.
#[tokio::test]
async fn silence_before_an_answer_is_repeated_only_where_less_cannot_be_asked_for() {
    let misp = in_turn(vec![vec![Part::Hang]]).await;
    let client = misp.client_with(|rest| {
        rest.request_timeout = Duration::from_millis(100);
        rest.retries = 2;
    });
    assert!(matches!(client.read(&[FIRST]).await, Err(RestError::Silent { .. })));
    assert_eq!(misp.requests().len(), 3);
    assert!(matches!(client.read(&[FIRST, SECOND]).await, Err(RestError::Silent { .. })));
    assert_eq!(misp.requests().len(), 4);
    assert!(matches!(client.key().await, Err(RestError::Silent { .. })));
    assert_eq!(misp.requests().len(), 7);
}

#[tokio::test]
async fn failures_of_the_server_pass_or_are_told_with_its_words() {
    let page = b"<html><head><title>502 Bad Gateway</title></head></html>".as_slice();
    let misp_says = br#"{"name":"An Internal Error Has Occurred.","message":"An Internal Error Has Occurred.","url":"\/events\/restSearch"}"#.as_slice();
    let failures = [
        ("500 Internal Server Error", misp_says, "An Internal Error Has Occurred."),
        ("502 Bad Gateway", page, "502 Bad Gateway"),
        ("503 Service Unavailable", b"", "no words"),
        ("504 Gateway Time-out", page, "504"),
    ];
    for (status, words, expected) in failures {
        let failed = vec![Part::Bytes(response(status, "", words))];
        let good = vec![Part::Bytes(ok("", &two()))];
        let misp = in_turn(vec![failed.clone(), failed.clone(), failed.clone(), good]).await;
        let client = misp.client();
        let mut answer = client.read(&[FIRST]).await.unwrap();
        assert_eq!(client.page().events, 12, "halved three times");
        answer.next().await.unwrap().unwrap();

        let misp = in_turn(vec![failed]).await;
        let error = misp.client().read(&[FIRST]).await.unwrap_err();
        assert!(matches!(error, RestError::Failed { .. }) && error.may_pass(), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(misp.requests().len(), 4, "asked, and three times again");
    }
    let late = vec![Part::Bytes(response("504 Gateway Time-out", "", b""))];
    let misp = in_turn(vec![late, vec![Part::Bytes(ok("", &two()))]]).await;
    let client = misp.client();
    assert!(all(&client).await.1.unwrap().may_pass(), "several events: the caller asks for less");
    assert_eq!(all(&client).await, (whole(), None));
    let down = vec![Part::Bytes(response("503 Service Unavailable", "", b""))];
    let misp = in_turn(vec![down, vec![Part::Bytes(ok("", &two()))]]).await;
    assert_eq!(all(&misp.client()).await, (whole(), None));
    let misp = in_turn(vec![vec![Part::Bytes(response("501 Not Implemented", "", b""))]]).await;
    assert!(!misp.client().read(&[FIRST]).await.unwrap_err().may_pass());
    assert_eq!(misp.requests().len(), 1);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compressed_answers_are_read_and_broken_ones_told() {
    const GZIP: &str = "Content-Encoding: gzip\r\n";
    let packed = gzip(&two());
    let good = ok(GZIP, &packed);
    let recorded = gzip(&body(&recorded("ev_rs_by_uuid")));
    let mut damaged = packed.clone();
    let middle = damaged.len() / 2;
    damaged[middle..].fill(0xff);
    let misp = in_turn(vec![
        vec![Part::Bytes(good)],
        vec![Part::Bytes(ok(GZIP, &packed[..packed.len() - 20]))],
        vec![Part::Bytes(ok(GZIP, &damaged))],
        vec![Part::Bytes(ok(GZIP, &two()))],
        vec![Part::Bytes(ok(GZIP, &recorded))],
    ])
    .await;
    let client = misp.client();
    assert_eq!(all(&client).await, (whole(), None));
    for _ in 0..3 {
        let (events, error) = all(&client).await;
        assert!(matches!(error, Some(RestError::BrokeOff { .. })), "{error:?}");
        assert!(whole().starts_with(&events));
    }
    let holes = "48de085d-b7e6-4ae2-a8b5-a2a08c222101".parse().unwrap();
    let (events, error) = rest_of(client.read(&[holes]).await.unwrap()).await;
    assert_eq!((events.len(), error), (1, None));
}

#[tokio::test]
async fn an_event_that_is_too_large_is_named_and_the_next_one_comes() {
    // In MISP's order: the lists come last.
    let values = r#"{"value":"} ] \" {"},"#.repeat(200_000);
    let large = format!(r#"{{"Event":{{"id":"1","uuid":"{FIRST}","Attribute":[{values}{{}}]}}}}"#);
    let answer = format!("{{\"response\": [{large},{}]}}", event(SECOND, "small"));
    let misp = FakeRest::saying(ok("", answer.as_bytes())).await;
    let client = misp.client_with(|rest| rest.max_event = 64 << 10);
    let mut answer = client.read(&[FIRST, SECOND]).await.unwrap();
    let error = answer.next().await.unwrap_err();
    assert_eq!(error, RestError::TooLarge { event: Some(FIRST), most: 64 << 10 });
    assert!(error.to_string().contains(&FIRST.to_string()), "{error}");
    let small = answer.next().await.unwrap().unwrap().into_bytes().unwrap();
    let small: Value = serde_json::from_slice(&small).unwrap();
    assert_eq!(small["Event"]["info"], "small");
    assert_eq!(answer.next().await.unwrap(), None);
    assert_eq!(misp.requests().len(), 1, "it is not looked for again");
}

#[tokio::test]
async fn answers_of_another_shape_are_told_as_such() {
    for other in [
        "",
        " ",
        "null",
        "[]",
        r#"{"response": {"Attribute": []}}"#,
        r#"{"response": []"#,
        r#"{"response": []} trailing"#,
        r#"{"saved": false, "errors": "no"}"#,
        r#"{"response": [{"Event": {}}"#,
    ] {
        let misp = FakeRest::saying(ok("", other.as_bytes())).await;
        let client = misp.client();
        let (_, error) = all(&client).await;
        let error = error.unwrap_or_else(|| panic!("{other}: taken as complete"));
        assert!(matches!(error.word(), "malformed" | "broke_off"), "{other}: {error:?}");
        let heads = client.heads(Map::new()).next().await;
        assert!(heads.is_err(), "{other}: {heads:?}");
        let search = client.selected(&Map::new(), &[FIRST]).await;
        assert!(search.is_err(), "{other}: {search:?}");
        assert!(client.key().await.is_err());
    }
}

/// A listing as MISP makes it: LIMIT and OFFSET over what is there at the time.
fn listing(request: &Request, ids: &[u64]) -> Vec<u8> {
    let query = request.json();
    assert_eq!(query["order"], "Event.id asc");
    let number = |key: &str| usize::try_from(query[key].as_u64().unwrap()).unwrap();
    let rows = ids.iter().skip((number("page") - 1) * number("limit")).take(number("limit"));
    let rows = rows.map(|id| {
        json!({"Event": {
            "id": id.to_string(), "uuid": Uuid::from_u128(u128::from(*id)), "timestamp": "5",
            "publish_timestamp": 4, "published": "1", "attribute_count": "3",
        }})
    });
    let answer = json!({"response": rows.collect::<Vec<_>>()}).to_string();
    ok(&format!("X-Result-Count: {}\r\n", ids.len()), answer.as_bytes())
}

async fn listed(client: &MispClient) -> Vec<u64> {
    let mut heads = client.heads(Map::new());
    let mut ids = Vec::new();
    while let Some(page) = heads.next().await.unwrap() {
        assert!(page.date.is_some());
        ids.extend(page.heads.iter().map(|head| u64::try_from(head.id).unwrap()));
    }
    ids
}

#[tokio::test]
async fn a_listing_asks_for_less_until_misp_manages_and_for_more_again() {
    let ids: Vec<u64> = (1..=1000).collect();
    let limit = |request: &Request| request.json()["limit"].as_u64().unwrap();
    let misp = FakeRest::start(move |number, request| {
        // MISP is short of memory for a while.
        vec![Part::Bytes(match number < 20 && limit(request) > 30 {
            true => response("504 Gateway Time-out", "", b""),
            false => listing(request, &ids),
        })]
    })
    .await;
    let client = misp.client();
    assert_eq!(listed(&client).await, (1..=1000).collect::<Vec<_>>());
    let limits: Vec<u64> = misp.requests().iter().map(limit).collect();
    assert_eq!(limits[..3], [100, 50, 25], "{limits:?}");
    assert!(limits.iter().skip(20).any(|limit| *limit > 90), "{limits:?}");
    assert_eq!(client.page().events, 100);
}

#[tokio::test]
async fn rows_that_go_while_they_are_listed_hide_no_other() {
    let misp = FakeRest::start(|number, request| {
        let ids: Vec<u64> = match number {
            0 => (1..=250).collect(),
            // Ten of the first page go, and as many come at the end.
            _ => (11..=260).collect(),
        };
        vec![Part::Bytes(listing(request, &ids))]
    })
    .await;
    assert_eq!(listed(&misp.client()).await, (1..=260).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_listing_whose_page_broke_off_goes_on_where_it_was() {
    let ids: Vec<u64> = (1..=250).collect();
    let misp = FakeRest::start(move |number, request| {
        let answer = listing(request, &ids);
        match number {
            1 | 2 => vec![Part::Bytes(answer[..answer.len() - 300].to_vec())],
            _ => vec![Part::Bytes(answer)],
        }
    })
    .await;
    assert_eq!(listed(&misp.client()).await, (1..=250).collect::<Vec<_>>());
}
