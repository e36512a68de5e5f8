//! Tests the client for MISP's REST API with recorded answers: what it asks, what it reads from an answer,
//! and what it makes of a refusal.

use std::collections::HashSet;
use std::time::Duration;

use misp_sentinel_relay::document::Document;
use misp_sentinel_relay::misp_api::{EventHead, EventsAnswer, RestError};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::recordings::{http, recording};
use crate::support::port::free_address;
use crate::support::rest::{FakeRest, KEY, Part, events, ok, recorded, response};

const KITCHEN: &str = "62724408-1cb5-4198-8ceb-3e542ad28bcd";
const HOLES: &str = "48de085d-b7e6-4ae2-a8b5-a2a08c222101";
const DELETED: &str = "24481e33-5fc9-4178-bff2-428abbc4f664";

fn uuid(text: &str) -> Uuid {
    text.parse().unwrap()
}

fn uuid_of(event: &Value) -> Uuid {
    uuid(event["Event"]["uuid"].as_str().unwrap())
}

/// Everything that an answer holds.
async fn all(mut answer: EventsAnswer) -> Result<Vec<Value>, RestError> {
    let mut events = Vec::new();
    while let Some(event) = answer.next().await? {
        events.push(serde_json::from_slice(&event.into_bytes().unwrap()).unwrap());
    }
    Ok(events)
}

#[tokio::test]
async fn recorded_answers_give_their_events_unchanged() {
    for name in ["ev_rs_by_uuid", "ev_rs_deleted01", "ev_rs_empty_body", "ev_rs_sharinggroup"] {
        let misp = FakeRest::saying(recorded(name)).await;
        let expected = events(name);
        let asked: Vec<Uuid> = expected.iter().map(uuid_of).collect();
        let answer = misp.client().read(&asked).await.unwrap();
        // Date: Tue, 24 Nov 2026 …
        assert_eq!(answer.date.unwrap() / 86_400, 1_795_478_400 / 86_400);
        assert_eq!(all(answer).await.unwrap(), expected, "{name}");
        assert_eq!(misp.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_read_asks_for_everything_of_these_events_and_nothing_else() {
    let misp = FakeRest::saying(recorded("ev_rs_by_uuid")).await;
    all(misp.client().read(&[uuid(HOLES)]).await.unwrap()).await.unwrap();
    let [request] = &misp.requests()[..] else { panic!() };
    assert_eq!(request.line, "POST /events/restSearch HTTP/1.1");
    assert_eq!(request.headers["authorization"], KEY);
    assert_eq!(request.headers["accept"], "application/json");
    assert_eq!(request.headers["content-type"], "application/json");
    assert!(request.headers["accept-encoding"].contains("gzip"));
    let expected = json!({
        "returnFormat": "json", "uuid": [HOLES], "deleted": [0, 1], "published": [0, 1],
        "page": 1, "limit": 1, "order": "Event.id asc",
        "excludeLocalTags": 0, "noEventReports": 1, "noShadowAttributes": 1,
    });
    assert_eq!(request.json(), expected);
}

/// A recorded answer with an event of 50,000 attributes.
fn large() -> (Vec<u8>, Uuid) {
    let path = recording("rest/big50k_ev_rs.response.http.gz");
    let (_, body) = http(&path);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    (body, uuid_of(&answer["response"][0]))
}

#[tokio::test]
async fn a_large_event_is_spooled_and_a_small_one_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let (body, event) = large();
    let misp = FakeRest::saying(ok("", &body)).await;
    let mut answer = misp.client().read_spooling(&[event], folder.path()).await.unwrap();
    let document = answer.next().await.unwrap().unwrap();
    assert!(matches!(document, Document::Spooled(_)), "{} bytes", body.len());
    assert_eq!(document.event(), Some(event));
    // The file has no name, so nobody else can open it, and a crash leaves nothing.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let spooled = document.into_bytes().unwrap();
    assert!(body.windows(spooled.len()).any(|window| window == &spooled[..]));
    assert_eq!(answer.next().await.unwrap(), None);

    let misp = FakeRest::saying(recorded("ev_rs_by_uuid")).await;
    let small = uuid_of(&events("ev_rs_by_uuid")[0]);
    let mut answer = misp.client().read_spooling(&[small], folder.path()).await.unwrap();
    assert!(matches!(answer.next().await.unwrap(), Some(Document::Held(_))));
}

#[tokio::test]
async fn a_spool_that_cannot_be_written_says_what_to_do() {
    let (body, event) = large();
    let misp = FakeRest::saying(ok("", &body)).await;
    let folder = std::path::Path::new("/proc/self/fdinfo");
    let mut answer = misp.client().read_spooling(&[event], folder).await.unwrap();
    let error = answer.next().await.unwrap_err();
    assert!(matches!(error, RestError::Unspooled { .. }), "{error:?}");
    assert!(error.to_string().contains("free space there"), "{error}");
    assert!(error.may_be_of_one_event(), "smaller events are read meanwhile");
}

#[tokio::test]
async fn a_spooled_event_that_is_too_large_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (body, event) = large();
    let misp = FakeRest::saying(ok("", &body)).await;
    let client = misp.client_with(|settings| settings.max_event = 12 << 20);
    let mut answer = client.read_spooling(&[event], folder.path()).await.unwrap();
    let most = 12 << 20;
    let too_large = RestError::TooLarge { event: Some(event), most };
    assert_eq!(answer.next().await, Err(too_large));
    assert_eq!(answer.next().await.unwrap(), None);
}

/// MISP joins the attributes when it is asked for `deleted`: an event without any is not found.
#[tokio::test]
async fn events_that_hold_no_attribute_are_found_without_the_deleted_ones() {
    let misp = FakeRest::start(|number, _| {
        let name = if number == 0 { "ev_rs_by_uuid" } else { "ev_rs_all_deleted_default" };
        vec![Part::Bytes(recorded(name))]
    })
    .await;
    let emptied = events("ev_rs_all_deleted_default");
    let asked = [uuid(HOLES), uuid_of(&emptied[0]), uuid(DELETED)];
    let answer = misp.client().read(&asked).await.unwrap();
    let expected = [events("ev_rs_by_uuid"), emptied].concat();
    assert_eq!(all(answer).await.unwrap(), expected);
    let [_, second] = &misp.requests()[..] else { panic!() };
    assert_eq!(second.json().get("deleted"), None);
    let left: HashSet<Uuid> = serde_json::from_value(second.json()["uuid"].clone()).unwrap();
    assert_eq!(left, HashSet::from([asked[1], asked[2]]));
}

#[tokio::test]
async fn an_event_that_is_not_there_is_looked_for_twice_and_is_no_error() {
    let misp = FakeRest::saying(recorded("ev_rs_deleted_uuid")).await;
    let answer = misp.client().read(&[uuid(DELETED)]).await.unwrap();
    assert_eq!(all(answer).await.unwrap(), Vec::<Value>::new());
    assert_eq!(misp.requests().len(), 2);
}

#[tokio::test]
async fn nothing_asked_for_is_nothing_asked() {
    let misp = FakeRest::saying(recorded("ev_rs_empty_body")).await;
    let answer = misp.client().read(&[]).await.unwrap();
    assert_eq!(all(answer).await.unwrap(), Vec::<Value>::new());
    let selected = misp.client().selected(&serde_json::Map::new(), &[]).await.unwrap();
    assert_eq!(selected, HashSet::new());
    assert!(misp.requests().is_empty());
}

/// As when a proxy drops the body: MISP then gives everything.
#[tokio::test]
async fn an_answer_to_another_question_is_refused() {
    let misp = FakeRest::saying(recorded("ev_rs_empty_body")).await;
    let answer = misp.client().read(&[uuid(HOLES)]).await.unwrap();
    let error = all(answer).await.unwrap_err();
    assert!(matches!(error, RestError::Malformed { .. }), "{error}");
    assert!(error.to_string().contains("not asked for"), "{error}");
}

#[tokio::test]
async fn heads_are_those_of_the_recorded_listing() {
    let misp = FakeRest::saying(recorded("ev_rs_all_as_readonly")).await;
    let query = json!({"timestamp": 1_795_499_541, "published": [0, 1], "deleted": [0, 1]});
    let mut heads = misp.client().heads(query.as_object().unwrap().clone());
    let page = heads.next().await.unwrap().unwrap();
    let expected: Vec<EventHead> = events("ev_rs_all_as_readonly").iter().map(head).collect();
    assert_eq!(page.heads, expected);
    assert_eq!(page.heads.len(), 6);
    assert_eq!(heads.next().await.unwrap(), None);
    let [request] = &misp.requests()[..] else { panic!() };
    let expected = json!({
        "returnFormat": "json", "timestamp": 1_795_499_541, "published": [0, 1], "metadata": 1,
        "page": 1, "limit": 100, "order": "Event.id asc", "excludeGalaxy": 1, "sgReferenceOnly": 1,
    });
    assert_eq!(request.json(), expected);
}

fn head(event: &Value) -> EventHead {
    let event = &event["Event"];
    let number = |key: &str| event[key].as_str().unwrap().parse::<i64>().unwrap();
    EventHead {
        uuid: uuid(event["uuid"].as_str().unwrap()),
        id: number("id"),
        timestamp: number("timestamp"),
        publish_timestamp: number("publish_timestamp"),
        published: event["published"].as_bool().unwrap(),
        attributes: usize::try_from(number("attribute_count")).unwrap(),
    }
}

#[tokio::test]
async fn the_search_selects_among_the_events_asked_for() {
    let misp = FakeRest::saying(recorded("ev_rs_tags_list")).await;
    let search = json!({"tags": ["tlp:clear", "tlp:amber"]});
    let asked = [uuid(KITCHEN), uuid(HOLES), uuid(DELETED)];
    let client = misp.client();
    let selected = client.selected(search.as_object().unwrap(), &asked).await.unwrap();
    assert_eq!(selected, HashSet::from([uuid(KITCHEN), uuid(HOLES)]));
    let request = misp.requests()[0].json();
    assert_eq!(request["tags"], search["tags"]);
    assert_eq!((&request["metadata"], &request["limit"]), (&json!(1), &json!(3)));
}

#[tokio::test]
async fn the_key_is_told_with_its_role() {
    const RELAY: &str = "f188eb93-968b-4111-8fb2-22f7c662bcd5";
    const TESTORG: &str = "4028eff6-8b64-45f8-ac36-ff18b327dc76";
    for (name, ids, (site_admin, sync), words) in [
        (
            "users_view_me_readonly",
            (2, RELAY, 6),
            (false, false),
            "readonly@relay.test of RELAY & Söhne \"Org\" (2), role Read Only",
        ),
        (
            "users_view_me_siteadmin",
            (1, TESTORG, 1),
            (true, true),
            "admin@admin.test of TESTORG (1), role admin",
        ),
        (
            "users_view_me_sync",
            (3, RELAY, 5),
            (false, true),
            "sync@relay.test of RELAY & Söhne \"Org\" (2), role Sync user",
        ),
    ] {
        let misp = FakeRest::saying(recorded(name)).await;
        let key = misp.client().key().await.unwrap();
        let view = key.view;
        assert_eq!((key.user, view.organisation.as_str(), key.role), ids);
        assert_eq!((view.site_admin, view.sync, key.words.as_str()), (site_admin, sync, words));
        assert_eq!(misp.requests()[0].line, "GET /users/view/me HTTP/1.1");
    }
    let misp = FakeRest::saying(recorded("servers_getVersion")).await;
    assert_eq!(misp.client().version().await.unwrap(), "2.5.1");
}

#[tokio::test]
async fn only_misps_own_words_say_that_an_event_is_gone() {
    let misp = FakeRest::saying(recorded("events_view_deleted_uuid")).await;
    assert!(misp.client().is_gone(uuid(DELETED)).await.unwrap());
    assert_eq!(misp.requests()[0].line, format!("GET /events/view/{DELETED} HTTP/1.1"));
    // The same words about another event.
    assert!(misp.client().is_gone(uuid(HOLES)).await.is_err());
    let japanese = format!(
        r#"{{"name":"無効なイベント","message":"無効なイベント","url":"\/misp\/events\/view\/{DELETED}"}}"#
    );
    let misp = FakeRest::saying(response("404 Not Found", "", japanese.as_bytes())).await;
    assert!(misp.client().is_gone(uuid(DELETED)).await.unwrap());

    let misp = FakeRest::saying(ok("", br#"{"Event":{"id":"1"}}"#)).await;
    assert!(!misp.client().is_gone(uuid(HOLES)).await.unwrap());

    let strange = format!(
        r#"{{"name":"Not Found","message":"Not Found","url":"\/events\/view\/{DELETED}"}}"#
    );
    for (status, body) in [
        ("404 Not Found", "<html><title>404 Not Found</title>nginx</html>"),
        ("404 Not Found", "{}"),
        ("404 Not Found", ""),
        ("404 Not Found", strange.as_str()),
        ("410 Gone", r#"{"name":"Invalid event","message":"Invalid event"}"#),
        ("200 OK", "<html><title>Sign in</title></html>"),
        ("200 OK", ""),
    ] {
        let misp = FakeRest::saying(response(status, "", body.as_bytes())).await;
        let gone = misp.client().is_gone(uuid(DELETED)).await;
        assert!(gone.is_err(), "{status} {body}: {gone:?}");
    }
    for name in ["nosuch_endpoint", "events_view_missing", "users_view_me_wrongkey"] {
        let misp = FakeRest::saying(recorded(name)).await;
        assert!(misp.client().is_gone(uuid(DELETED)).await.is_err(), "{name}");
    }
}

/// Each refusal as it was recorded, and the words of it that tell an operator what to do.
#[tokio::test]
async fn refusals_say_what_misp_said_and_what_to_do() {
    for (name, expected) in [
        ("users_view_me_wrongkey", "set misp.key to a valid authentication key"),
        ("users_view_me_nokey", "set misp.key to a valid authentication key"),
        ("users_view_me_bearer_prefix", "Please make sure you pass the API key"),
        ("users_view_me_expired_key", "it may be expired"),
        ("users_view_me_disabled_user", "enable the user"),
        ("users_view_me_ip_restricted_key", "allowed IPs"),
        ("publish_as_readonly", "give it a role with \"Auth key access\""),
    ] {
        let misp = FakeRest::saying(recorded(name)).await;
        let error = misp.client().key().await.unwrap_err();
        let RestError::Refused { status: 403, .. } = error else { panic!("{name}: {error:?}") };
        assert!(error.to_string().contains(expected), "{name}: {error}");
        assert!(error.to_string().contains("/users/view/me"), "{error}");
        assert_eq!(misp.requests().len(), 1, "a refusal is not asked again");
    }
    // RateLimitComponent of MISP 2.5.1, for a role with rate_limit_count 0.
    let words = br#"{"name":"API searches are not allowed for this user role.","message":"API searches are not allowed for this user role.","url":"\/events\/restSearch"}"#;
    let misp = FakeRest::saying(response("405 Method Not Allowed", "", words)).await;
    let error = misp.client().read(&[uuid(HOLES)]).await.unwrap_err();
    assert!(error.to_string().contains("Read Only"), "{error}");
}

#[tokio::test]
async fn misp_that_is_not_live_is_told_from_other_redirects() {
    let misp = FakeRest::saying(recorded("notlive_readonly")).await;
    let error = misp.client().read(&[uuid(HOLES)]).await.unwrap_err();
    assert!(matches!(error, RestError::NotLive { .. }), "{error:?}");
    assert_eq!(misp.requests().len(), 1, "a redirect is not followed");
    let moved = "Location: https://misp.example.org/events/restSearch?token=secret\r\n";
    let misp = FakeRest::saying(response("301 Moved Permanently", moved, b"")).await;
    let error = misp.client().key().await.unwrap_err();
    let words = error.to_string();
    assert!(matches!(error, RestError::Redirected { .. }), "{words}");
    assert!(words.contains("https://misp.example.org/events/restSearch;"), "{words}");
}

#[tokio::test]
async fn a_web_page_instead_of_json_is_named_by_its_title() {
    let page = b"<!DOCTYPE html>\n<html><head>\n<TITLE lang=en>Sign in\n to  your account</TITLE>";
    let php = b"<br />\n<b>Warning</b>:  Undefined array key in <b>/var/www</b>";
    for (status, body, title) in [
        ("200 OK", page.as_slice(), "Sign in to your account"),
        ("403 Forbidden", page, "Sign in to your account"),
        ("200 OK", php, "Warning : Undefined array key in /var/www"),
    ] {
        let misp = FakeRest::saying(response(status, "Content-Type: text/html\r\n", body)).await;
        let read = misp.client().read(&[uuid(HOLES)]).await;
        let from_read = match read {
            Ok(mut answer) => answer.next().await.unwrap_err(),
            Err(error) => error,
        };
        let from_key = misp.client().key().await.unwrap_err();
        for error in [from_read, from_key] {
            let RestError::Html { title: found, .. } = &error else { panic!("{error:?}") };
            assert_eq!(found, title);
        }
    }
}

#[tokio::test]
async fn the_rate_limit_is_waited_for_or_told() {
    // The last search of the window is answered; the next would be 429 for 900 s.
    let misp = FakeRest::saying(recorded("ratelimit_2")).await;
    let client = misp.client();
    let mut heads = client.heads(serde_json::Map::new());
    assert_eq!(heads.next().await.unwrap().unwrap().heads.len(), 1);
    let error = client.read(&[uuid(HOLES)]).await.unwrap_err();
    let RestError::RateLimited { after } = error else { panic!("{error:?}") };
    assert!(after > Duration::from_secs(890) && after <= Duration::from_secs(900), "{after:?}");
    assert_eq!(misp.requests().len(), 1, "MISP is left alone");

    let misp = FakeRest::saying(recorded("ratelimit_3")).await;
    let error = misp.client().read(&[uuid(HOLES)]).await.unwrap_err();
    assert_eq!(error, RestError::RateLimited { after: Duration::from_secs(900) });
    assert!(error.to_string().contains("15m"), "{error}");
    assert_eq!(misp.requests().len(), 1, "429 is not asked again");
}

#[tokio::test]
async fn a_short_limit_is_waited_for_and_stops_no_other_request() {
    let misp = FakeRest::start(|number, request| {
        let limit = "X-Rate-Limit-Remaining: 0\r\nX-Rate-Limit-Reset: 1\r\n";
        vec![Part::Bytes(match (number, request.line.starts_with("GET")) {
            (_, true) => recorded("servers_getVersion"),
            (0, _) => ok(limit, br#"{"response":[]}"#),
            _ => recorded("ev_rs_by_uuid"),
        })]
    })
    .await;
    let client = misp.client_with(|rest| rest.backoff_max = Duration::from_secs(5));
    let empty = client.selected(&serde_json::Map::new(), &[uuid(HOLES)]).await.unwrap();
    assert!(empty.is_empty());
    let began = std::time::Instant::now();
    client.version().await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(900));
    let answer = client.read(&[uuid(HOLES)]).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(all(answer).await.unwrap().len(), 1);
}

/// A page that shows the request is the worst case: the key would be in the log.
#[tokio::test]
async fn the_key_is_in_no_error_and_no_debug() {
    let page = format!("<title>Bad request: Authorization: {KEY}</title>");
    let json = format!(r#"{{"name":"x","message":"key {KEY} is unknown","url":"/"}}"#);
    for body in [page, json, format!("plain {KEY}")] {
        for status in ["200 OK", "403 Forbidden", "500 Oh", "404 Not Found", "302 Found"] {
            let headers = format!("Location: /login/{KEY}\r\n");
            let misp = FakeRest::saying(response(status, &headers, body.as_bytes())).await;
            let client = misp.client();
            let error = client.key().await.unwrap_err();
            let heads = client.heads(serde_json::Map::new()).next().await.unwrap_err();
            let shown = format!("{error} {error:?} {heads} {heads:?} {client:?} {client:#?}");
            assert!(!shown.contains(KEY), "{shown}");
        }
    }
}

#[tokio::test]
async fn an_address_that_nobody_answers_at_is_told_as_such() {
    let free = free_address();
    for (url, expected) in [
        (format!("http://{free}"), "onnection refused"),
        ("http://misp.invalid".to_owned(), "misp.url"),
    ] {
        let settings = crate::support::rest::settings(&url);
        let client = misp_sentinel_relay::misp_api::MispClient::new(&settings).unwrap();
        let error = client.version().await.unwrap_err();
        assert!(matches!(error, RestError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_is_gone_through() {
    let proxy = FakeRest::saying(recorded("servers_getVersion")).await;
    let client = proxy.client_with(|rest| {
        rest.proxy = Some(std::mem::replace(&mut rest.url, "http://misp.invalid/misp".to_owned()));
    });
    assert_eq!(client.version().await.unwrap(), "2.5.1");
    let [request] = &proxy.requests()[..] else { panic!() };
    assert_eq!(request.line, "GET http://misp.invalid/misp/servers/getVersion HTTP/1.1");
}
