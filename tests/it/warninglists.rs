//! Tests how warninglists are read from MISP's REST API: complete, damaged or too large.

use std::path::Path;
use std::time::Duration;

use misp_sentinel_relay::misp_api::RestError;
use misp_sentinel_relay::pure::warninglist::{ListHead, ListKind, Lists};
use misp_stand_in::{Misp, MispServer, MispSettings, RestFault, Warninglist};
use serde_json::Value;

use crate::recordings;
use crate::support::rest::{FakeRest, KEY, Part, Reaction, Request, ok, response, settings};

const BOUND: usize = 64 << 20;

/// An answer of MISP about warninglists, head and body as recorded.
fn recorded(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/lists-and-settings");
    let plain = folder.join(format!("{name}.response.http"));
    match plain.exists() {
        true => recordings::read(&plain),
        false => recordings::read(&folder.join(format!("{name}.response.http.gz"))),
    }
}

/// Answers as the recorded MISP with six enabled lists did.
fn as_recorded(_: usize, request: &Request) -> Reaction {
    let path = request.line.split(' ').nth(1).unwrap();
    let name = match path {
        "/warninglists/index/enabled:1.json" => "index_enabled_path",
        "/warninglists/view/2.json" => "view_002_hostname",
        "/warninglists/view/10.json" => "view_010_string",
        "/warninglists/view/36.json" => "view_036_string",
        "/warninglists/view/58.json" => "view_058_cidr",
        "/warninglists/view/61.json" => "view_061_as_readonly",
        "/warninglists/view/87.json" => "view_087_hostname",
        other => panic!("{other}"),
    };
    vec![Part::Bytes(recorded(&format!("warninglists_{name}")))]
}

#[tokio::test]
async fn the_recorded_answers_give_the_lists_of_misp() {
    let misp = FakeRest::start(as_recorded).await;
    let client = misp.client();
    let mut lists = Vec::new();
    for head in client.warninglists().await.unwrap() {
        lists.push(client.warninglist(head, BOUND).await.unwrap().into());
    }
    let lists = Lists::new(lists);
    assert_eq!(lists.len(), 6);
    let hits = |kind: &str, value: &str| -> Vec<u64> {
        lists.hits(kind, value).map(|hit| hit.list.head.id).collect()
    };
    assert_eq!(hits("domain", "google.com"), [2, 10, 36]);
    assert_eq!(hits("ip-dst|port", "8.8.8.8|53"), [58]);
    assert_eq!(hits("ip-dst", "10.1.2.3"), [61]);
    assert_eq!(hits("url", "https://benign-cdn.example/x"), [87]);
    let asked = misp.requests();
    assert!(asked.iter().all(|request| request.headers["authorization"] == KEY));
    assert!(asked.iter().all(|request| request.line.starts_with("GET ")));
}

fn head() -> ListHead {
    ListHead {
        id: 61,
        name: "List of RFC 1918 CIDR blocks".to_owned(),
        kind: ListKind::Cidr,
        category: "false_positive".to_owned(),
        version: "5".to_owned(),
        entries: Some(3),
        types: ["ip-src", "ip-dst", "domain|ip", "ip-dst|port", "ip-src|port"]
            .map(str::to_owned)
            .to_vec(),
    }
}

#[tokio::test]
async fn what_is_no_list_or_no_index_is_an_error_that_tells_what_it_was() {
    let page = ok("Content-Type: text/html\r\n", b"<html><title>Sign in</title></html>");
    let misp = FakeRest::saying(page).await;
    for error in [
        misp.client().warninglists().await.unwrap_err(),
        misp.client().warninglist(head(), BOUND).await.unwrap_err(),
    ] {
        assert!(matches!(error, RestError::Html { .. }), "{error:?}");
    }
    for body in [&b"[]"[..], b"", b"{\"Warninglists\":1}", b"{\"name\":\"No\",\"message\":\"No\"}"]
    {
        let misp = FakeRest::saying(ok("", body)).await;
        for error in [
            misp.client().warninglists().await.unwrap_err(),
            misp.client().warninglist(head(), BOUND).await.unwrap_err(),
        ] {
            assert!(matches!(error, RestError::Malformed { .. }), "{error:?}");
        }
    }
    let misp = FakeRest::saying(response("403 Forbidden", "", b"{\"message\":\"No\"}")).await;
    let error = misp.client().warninglists().await.unwrap_err();
    assert!(matches!(error, RestError::Refused { .. }), "{error:?}");
    assert_eq!(misp.requests().len(), 1, "a refusal is not repeated");
}

#[tokio::test]
async fn a_list_cut_anywhere_is_never_complete() {
    let whole = recorded("warninglists_view_061_cidr");
    let body = whole.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let cuts: Vec<usize> = (body..whole.len()).step_by(97).collect();
    let answers: Vec<Vec<u8>> = cuts
        .iter()
        .flat_map(|cut| {
            let open = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
            // With MISP's length, and up to the end of the connection, which looks like a good end.
            [whole[..*cut].to_vec(), [&open[..], &whole[body..*cut]].concat()]
        })
        .collect();
    let count = answers.len();
    let misp = FakeRest::start(move |number, _| vec![Part::Bytes(answers[number].clone())]).await;
    let client = misp.client();
    for number in 0..count {
        let error = client.warninglist(head(), BOUND).await.unwrap_err();
        let told = matches!(error, RestError::BrokeOff { .. } | RestError::Malformed { .. });
        assert!(told, "{number}: {error:?}");
    }
}

#[tokio::test]
async fn a_list_beyond_the_bound_is_not_read() {
    let misp = FakeRest::start(as_recorded).await;
    let client = misp.client();
    let heads = client.warninglists().await.unwrap();
    let resolvers = heads.into_iter().find(|head| head.id == 58).unwrap();
    let error = client.warninglist(resolvers, 100_000).await.unwrap_err();
    assert!(error.to_string().contains("larger than 100000 bytes"), "{error}");
}

/// The names of all fields below `value`, with the kinds of their values.
fn shape(value: &Value, path: &str, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, inner)| shape(inner, &format!("{path}.{name}"), found));
        }
        Value::Array(list) => list.iter().for_each(|inner| shape(inner, path, found)),
        Value::String(_) => drop(found.insert(format!("{path} text"))),
        Value::Bool(_) => drop(found.insert(format!("{path} flag"))),
        Value::Number(_) => drop(found.insert(format!("{path} number"))),
        Value::Null => drop(found.insert(format!("{path} null"))),
    }
}

fn shapes(body: &[u8]) -> std::collections::BTreeSet<String> {
    let mut found = std::collections::BTreeSet::new();
    shape(&serde_json::from_slice(body).unwrap(), "", &mut found);
    found
}

async fn get(misp: &MispServer, path: &str) -> Vec<u8> {
    let url = format!("{}{path}", misp.base_url());
    let provider = rustls::crypto::ring::default_provider();
    let tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    let request = client.build().unwrap().get(url);
    let key = "SiteAdministratorsKeyOfTheMispStandIn000";
    let answer = request.header("Authorization", key).send().await.unwrap();
    answer.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn the_stand_in_for_misp_shows_lists_as_recorded_and_breaks_them_off_on_order() {
    let misp = Misp::new(1_795_499_521);
    let one = Warninglist::new(7, "string", &["domain", "url"], &["a.example", "b.example"]);
    let frames = misp.set_warninglist(one.clone());
    let text = std::str::from_utf8(&frames[0].bytes).unwrap();
    let (topic, said) = text.split_once(' ').unwrap();
    assert_eq!(topic, "misp_json_warninglist");
    let expected = recordings::recording("zmq/000046_misp_json_warninglist_add.bin");
    let expected = recordings::read(&expected);
    let expected = expected.strip_prefix(b"misp_json_warninglist ").unwrap();
    assert_eq!(shapes(said.as_bytes()), shapes(expected));
    misp.set_warninglist(Warninglist { enabled: false, id: 8, ..one });

    let rest = MispServer::start(misp, MispSettings::default()).await.unwrap();
    let recorded_body = |name: &str| crate::support::rest::body(&recorded(name));
    let view = shapes(&get(&rest, "/warninglists/view/7.json").await);
    assert_eq!(view, shapes(&recorded_body("warninglists_view_061_cidr")));
    let index = get(&rest, "/warninglists/index/enabled:1.json").await;
    assert_eq!(shapes(&index), shapes(&recorded_body("warninglists_index_enabled_path")));
    let count = |index: &[u8]| {
        let index: Value = serde_json::from_slice(index).unwrap();
        index["Warninglists"].as_array().unwrap().len()
    };
    assert_eq!(count(&index), 1);
    assert_eq!(count(&get(&rest, "/warninglists/index.json").await), 2);

    let mut settings = settings(&rest.base_url());
    settings.key =
        misp_sentinel_relay::config::Secret::new("SiteAdministratorsKeyOfTheMispStandIn000");
    let patient = misp_sentinel_relay::misp_api::MispClient::new(&settings).unwrap();
    settings.retries = 0;
    let client = misp_sentinel_relay::misp_api::MispClient::new(&settings).unwrap();
    let head = client.warninglists().await.unwrap().remove(0);
    for fault in [
        RestFault::Truncated { after: 300 },
        RestFault::CutShort { after: 300 },
        RestFault::HtmlPage,
        RestFault::RateLimited { reset: 1 },
    ] {
        rest.script_for("/warninglists/view", [fault.clone()]);
        assert!(client.warninglist(head.clone(), BOUND).await.is_err(), "{fault:?}");
    }
    rest.script([
        RestFault::Status(503),
        RestFault::Stall { after: 10, pause: Duration::from_millis(50) },
    ]);
    assert_eq!(patient.warninglist(head, BOUND).await.unwrap().len(), 2);
}
