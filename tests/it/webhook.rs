//! Tests the webhook over real sockets, with MISP's recorded requests and with faulty ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use misp_sentinel_relay::azure::http;
use misp_sentinel_relay::config::{Azure, TlsFiles, Webhook};
use misp_sentinel_relay::intake::{Inbox, webhook};
use misp_sentinel_relay::notice::{GapReason, Receipt, What};
use uuid::Uuid;

use crate::support::ledger::Relay;
use crate::support::sandbox::{METADATA, PATIENCE};
use crate::support::webhook::{
    Client, HEADER, Recorded, Reply, SECRET, config, inbox, listen, recorded, send,
};

const SHORT: Duration = Duration::from_millis(100);

/// The event of most recordings, "Tag holes".
const TAG_HOLES: Uuid = uuid::uuid!("48de085d-b7e6-4ae2-a8b5-a2a08c222101");

/// A small publication, with the secret.
fn small() -> Recorded {
    recorded("webhook/0002_POST.http").with(HEADER)
}

/// Sends a recording to a listener on its own path, whose ledger commits all.
async fn replay(file: &str, header: &str) -> (Reply, Vec<Vec<u8>>) {
    let request = recorded(file).with(header);
    let (inbox, mut ledger) = inbox();
    let listening = listen(Webhook { path: request.path(), ..config() }, inbox);
    let mut taken = Vec::new();
    let answered = async {
        let reply = send(listening.address, &request).await;
        listening.stop.cancel();
        reply
    };
    let taking = async {
        loop {
            taken.push(ledger.announced(Receipt::Committed).await);
        }
    };
    let reply = tokio::select! { reply = answered => reply, () = taking => unreachable!() };
    (reply, taken)
}

#[tokio::test]
async fn recorded_publications_reach_the_ledger_byte_for_byte() {
    for (file, waits) in [
        ("webhook/0001_POST.http", false),
        ("webhook/0002_POST.http", false),
        ("webhook/0003_POST.http", false),
        ("webhook/0006_PUT.http", false),
        ("webhook/0011_POST.http", false),
        ("webhook/0012_POST.http", true),
        ("webhook_202/0001_POST.http", false),
        ("webhook_202/0002_POST.http", false),
        ("webhook_302/0001_POST.http", false),
        ("webhook_401/0001_POST.http", false),
        ("webhook_500/0001_POST.http", false),
        ("webhook_500/0002_POST.http", false),
    ] {
        let (reply, taken) = replay(file, HEADER).await;
        assert_eq!(reply.status, 200, "{file}: {}", reply.text);
        assert_eq!(reply.continued, waits, "{file}");
        assert!(taken == [recorded(file).body], "{file}");
    }
}

/// 66.7 MB, under the default bounds.
#[tokio::test]
async fn the_recorded_event_of_50_000_attributes_is_taken() {
    let (reply, taken) = replay("webhook/0013_POST.http", HEADER).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(reply.continued);
    assert_eq!(taken[0].len(), 66_675_189);
}

#[tokio::test]
async fn what_is_no_publication_is_refused_with_the_field_to_change() {
    for (file, status, words) in [
        ("webhook/0004_POST.http", 415, "choose application/json as \"Content type\""),
        ("webhook/0005_POST.http", 415, "choose application/json as \"Content type\""),
        ("webhook/0007_GET.http", 405, "choose POST as \"HTTP Request Method\""),
        ("webhook/0008_DELETE.http", 405, "choose POST as \"HTTP Request Method\""),
        ("webhook/0009_POST.http", 400, "found `id`, `info`, `uuid`"),
        ("webhook/0009_POST.http", 400, "leave \"Payload\" empty"),
        ("webhook/0010_POST.http", 400, "found a text"),
        ("webhook/0010_POST.http", 400, "leave \"Payload\" empty"),
        ("webhook/0014_POST.http", 400, "after a redirect MISP sends no body"),
    ] {
        let (reply, taken) = replay(file, HEADER).await;
        assert_eq!(reply.status, status, "{file}: {}", reply.text);
        assert!(reply.text.contains(words), "{file}: {}", reply.text);
        assert!(taken.is_empty(), "{file}");
        assert_eq!(status == 405, reply.text.contains("allow: POST, PUT\r\n"), "{}", reply.text);
    }
}

#[tokio::test]
async fn broken_json_is_refused() {
    let (inbox, ledger) = inbox();
    let listening = listen(config(), inbox);
    for body in ["{\"Event\":{\"uuid\":", "[]", "null", "\u{0}", "{\"Event\":[]}"] {
        let head =
            format!("POST /misp-hook HTTP/1.1\r\n{HEADER}Content-Length: {}\r\n\r\n", body.len());
        let request = Recorded { head, body: body.as_bytes().to_vec() };
        let reply = send(listening.address, &request).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.text);
    }
    assert!(ledger.is_empty());
}

/// The recordings carry no secret: the operator's header was not set when they were made.
#[tokio::test]
async fn without_the_secret_nothing_is_read() {
    for file in ["webhook/0001_POST.http", "webhook/0012_POST.http", "webhook/0007_GET.http"] {
        let (reply, taken) = replay(file, "").await;
        assert_eq!(reply.status, 401, "{file}: {}", reply.text);
        assert!(!reply.continued, "{file}: the body was asked for");
        assert!(reply.text.contains("secret is missing"), "{}", reply.text);
        assert!(taken.is_empty(), "{file}");
    }
}

#[tokio::test]
async fn the_secret_has_to_be_the_whole_one() {
    for (header, status) in [
        (format!("X-Relay-Secret: {SECRET}"), 200),
        (format!("x-relay-secret: Bearer {SECRET}"), 200),
        (format!("X-Relay-Secret: bearer {SECRET}"), 200),
        (format!("X-Relay-Secret: Basic {SECRET}"), 401),
        (format!("X-Relay-Secret: {SECRET}x"), 401),
        (format!("X-Relay-Secret: {}", SECRET.trim_start_matches('c')), 401),
        (format!("X-Relay-Secret: {}", SECRET.to_uppercase()), 401),
        ("X-Relay-Secret: ".to_owned(), 401),
        ("X-Relay-Secret: Bearer ".to_owned(), 401),
        (format!("Authorization: {SECRET}"), 401),
    ] {
        let (reply, taken) = replay("webhook/0002_POST.http", &format!("{header}\r\n")).await;
        assert_eq!(reply.status, status, "{header}: {}", reply.text);
        assert_eq!(taken.len(), usize::from(status == 200), "{header}");
        assert!(!reply.text.contains(SECRET), "{}", reply.text);
    }
}

#[tokio::test]
async fn another_path_is_not_found() {
    let (inbox, ledger) = inbox();
    let listening = listen(Webhook { path: "/misp".to_owned(), ..config() }, inbox);
    assert_eq!(send(listening.address, &small()).await.status, 404);
    assert!(ledger.is_empty());
}

#[tokio::test]
async fn an_announced_length_over_the_cap_is_refused_at_once() {
    let (inbox, mut ledger) = inbox();
    let listening = listen(Webhook { max_body: 9_043, ..config() }, inbox);
    let reply = send(listening.address, &small()).await;
    assert_eq!(reply.status, 413, "{}", reply.text);
    assert!(reply.text.contains("misp.webhook.max_body"), "{}", reply.text);
    let large = recorded("webhook/0012_POST.http").with(HEADER);
    let reply = send(listening.address, &large).await;
    assert_eq!((reply.status, reply.continued), (413, false), "{}", reply.text);
    assert_eq!(ledger.gap().await.reason, GapReason::FrameTooLarge);
}

/// The head of a request without a length.
const CHUNKED: &str = "POST /misp-hook HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n\
                       Transfer-Encoding: chunked\r\nX-Relay-Secret: canary-0123456789\r\n\r\n";

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

#[tokio::test]
async fn a_body_without_a_length_is_taken_and_cut_at_the_cap() {
    let (inbox, mut ledger) = inbox();
    let listening = listen(Webhook { max_body: 9_044, ..config() }, inbox);
    let body = small().body;
    assert_eq!(body.len(), 9_044);

    let mut client = Client::connect(listening.address).await;
    client.write(CHUNKED.as_bytes()).await;
    for piece in body.chunks(1_000) {
        client.write(&chunk(piece)).await;
    }
    client.write(b"0\r\n\r\n").await;
    let (reply, taken) = tokio::join!(client.reply(), ledger.announced(Receipt::Committed));
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(taken == body);

    let mut client = Client::connect(listening.address).await;
    client.write(CHUNKED.as_bytes()).await;
    client.write(&chunk(&body)).await;
    client.write(&chunk(b" ")).await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 413, "{}", reply.text);
    let gap = ledger.gap().await;
    assert_eq!((gap.reason, gap.event), (GapReason::FrameTooLarge, Some(TAG_HOLES)));
}

/// As much as may be in progress is announced twice, and hardly any of it comes.
#[tokio::test]
async fn slow_bodies_keep_no_other_out() {
    let (inbox, mut ledger) = inbox();
    let listening = listen(Webhook { max_total: 10_000, max_body: 10_000, ..config() }, inbox);
    let request = small();
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(listening.address).await;
        client.write(request.head.as_bytes()).await;
        client.write(&request.body[..100]).await;
        slow.push(client);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (reply, _) =
        tokio::join!(send(listening.address, &request), ledger.announced(Receipt::Committed));
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(ledger.is_empty(), "no gap");
}

/// A byte now and then is no progress.
#[tokio::test]
async fn a_body_that_drips_is_left() {
    let (inbox, mut ledger) = inbox();
    let listening = listen(Webhook { answer_within: SHORT, ..config() }, inbox);
    let request = small();
    let mut slow = Client::connect(listening.address).await;
    slow.write(request.head.as_bytes()).await;
    let began = Instant::now();
    let dripping = async {
        for byte in request.body.chunks(1) {
            slow.write(byte).await;
            tokio::time::sleep(SHORT / 8).await;
        }
    };
    let gap = tokio::select! {
        () = dripping => panic!("all of it was taken"),
        gap = ledger.gap() => gap,
    };
    assert_eq!(gap.reason, GapReason::MalformedFrame);
    assert!(began.elapsed() < 6 * SHORT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn bodies_in_progress_are_bounded_together() {
    let (inbox, mut ledger) = inbox();
    let request = small();
    let most = request.body.len() + 100;
    let listening = listen(Webhook { max_total: most, max_body: most, ..config() }, inbox);
    let mut slow = Client::connect(listening.address).await;
    let waiting = small().with("Expect: 100-continue\r\n");
    slow.write(waiting.head.as_bytes()).await;
    slow.is_continued().await;
    let (front, back) = request.body.split_at(request.body.len() - 10);
    slow.write(front).await;
    tokio::time::sleep(Duration::from_millis(100)).await;

    let refused = send(listening.address, &request).await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    let gap = ledger.gap().await;
    assert_eq!((gap.reason, gap.intake.as_str()), (GapReason::MemoryFull, "webhook"));

    slow.write(back).await;
    let (reply, taken) = tokio::join!(slow.reply(), ledger.announced(Receipt::Committed));
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(taken == request.body);
    let (reply, _) =
        tokio::join!(send(listening.address, &request), ledger.announced(Receipt::Committed));
    assert_eq!(reply.status, 200, "its room was given back: {}", reply.text);
}

#[tokio::test]
async fn an_inbox_without_memory_is_a_gap_that_names_the_event() {
    let (inbox, reader) = Inbox::new(1_000);
    let mut ledger = crate::support::webhook::FakeLedger(reader);
    let listening = listen(config(), inbox);
    let reply = send(listening.address, &small()).await;
    assert_eq!(reply.status, 503, "{}", reply.text);
    let gap = ledger.gap().await;
    assert_eq!((gap.reason, gap.event), (GapReason::MemoryFull, Some(TAG_HOLES)));
}

#[tokio::test]
async fn a_gap_waits_until_the_inbox_has_room() {
    let (inbox, mut ledger) = inbox();
    let mut filled = 0;
    while inbox.offer(heartbeat(), Instant::now()).is_ok() {
        filled += 1;
    }
    let listening = listen(config(), inbox);
    for _ in 0..2 {
        assert_eq!(send(listening.address, &small()).await.status, 503);
    }
    for _ in 0..filled {
        assert!(matches!(ledger.next().await.what, What::Withdrawn(_)));
    }
    let gap = ledger.gap().await;
    assert_eq!((gap.reason, gap.event), (GapReason::MemoryFull, Some(TAG_HOLES)));
    assert!(ledger.is_empty(), "the same gap twice");
}

/// Something small.
fn heartbeat() -> What {
    use misp_sentinel_relay::notice::Withdrawal;
    What::Withdrawn(Withdrawal::Event { uuid: Uuid::nil(), timestamp: 0 })
}

#[tokio::test]
async fn a_slow_ledger_is_answered_for_in_time() {
    let (inbox, mut ledger) = inbox();
    let listening = listen(Webhook { answer_within: SHORT, ..config() }, inbox);
    let started = Instant::now();
    let reply = send(listening.address, &small()).await;
    let took = started.elapsed();
    assert_eq!(reply.status, 503, "{}", reply.text);
    assert!(took >= SHORT && took < 10 * SHORT, "{took:?}");
    assert!(matches!(ledger.next().await.what, What::Announced(_)));
    let gap = ledger.gap().await;
    assert_eq!((gap.reason, gap.event), (GapReason::LedgerFailed, Some(TAG_HOLES)));
}

#[tokio::test]
async fn what_the_ledger_says_is_what_misp_hears() {
    let (inbox, mut ledger) = inbox();
    let listening = listen(config(), inbox);
    let request = small();
    let (reply, _) =
        tokio::join!(send(listening.address, &request), ledger.announced(Receipt::Failed));
    assert_eq!(reply.status, 503, "{}", reply.text);
    assert_eq!(ledger.gap().await.reason, GapReason::LedgerFailed);
    let (reply, _) =
        tokio::join!(send(listening.address, &request), ledger.announced(Receipt::Refused));
    assert_eq!(reply.status, 400, "{}", reply.text);
    assert!(ledger.is_empty());
}

#[tokio::test]
async fn a_sender_that_pauses_is_left() {
    let (inbox, mut ledger) = inbox();
    let listening = listen(Webhook { answer_within: SHORT, ..config() }, inbox);
    let request = small();
    let mut mute = Client::connect(listening.address).await;
    let mut half_a_head = Client::connect(listening.address).await;
    half_a_head.write(&request.head.as_bytes()[..50]).await;
    let mut half_a_body = Client::connect(listening.address).await;
    half_a_body.write(request.head.as_bytes()).await;
    half_a_body.write(&request.body[..500]).await;

    let reply = half_a_body.reply().await;
    assert_eq!(reply.status, 408, "{}", reply.text);
    assert_eq!(ledger.gap().await.event, Some(TAG_HOLES));
    mute.closed().await;
    half_a_head.closed().await;
}

#[tokio::test]
async fn a_stop_answers_what_is_in_hand_and_takes_no_more() {
    let (inbox, mut ledger) = inbox();
    let listening = listen(config(), inbox);
    let (address, stop) = (listening.address, listening.stop.clone());
    let request = small();
    let mut client = Client::connect(address).await;
    client.write(request.head.as_bytes()).await;
    client.write(&request.body).await;
    let notice = ledger.next().await;
    stop.cancel();
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    notice.done.unwrap().send(Receipt::Committed).unwrap();
    assert_eq!(client.reply().await.status, 200);
    let mut listening = listening;
    tokio::time::timeout(PATIENCE, &mut listening.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn it_speaks_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = tls_files(folder.path(), &made.cert.pem(), &made.signing_key.serialize_pem());
    let (inbox, mut ledger) = inbox();
    let tls = Some(files.clone());
    let listening = listen(Webhook { tls, ..config() }, inbox);
    let trusting = Azure {
        ca_file: Some(files.certificate),
        proxy: None,
        connect_timeout: PATIENCE,
        token_timeout: PATIENCE,
        sign_in_pause: Duration::from_millis(20),
        metadata_endpoint: METADATA.to_owned(),
    };
    let sent = http::client(&trusting)
        .unwrap()
        .post(format!("https://localhost:{}/misp-hook", listening.address.port()))
        .header("X-Relay-Secret", SECRET)
        .body(small().body)
        .send();
    let (reply, taken) = tokio::join!(sent, ledger.announced(Receipt::Committed));
    assert_eq!(reply.unwrap().status(), 200);
    assert!(taken == small().body);

    let mut plain = Client::connect(listening.address).await;
    plain.write(small().head.as_bytes()).await;
    assert!(ledger.is_empty());
}

fn tls_files(folder: &std::path::Path, certificate: &str, key: &str) -> TlsFiles {
    let files = TlsFiles { certificate: folder.join("chain.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.certificate, certificate).unwrap();
    std::fs::write(&files.key, key).unwrap();
    files
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let one = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (pem, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    let refused = |certificate: &str, key: &str| {
        webhook::load(&tls_files(folder.path(), certificate, key)).unwrap_err().to_string()
    };
    for (error, file, hint) in [
        (refused("", &key), "chain.pem", "hint: tls_certificate"),
        (refused(&key, &key), "chain.pem", "hint: tls_certificate"),
        (refused(&pem, &pem), "key.pem", "hint: tls_key"),
        (refused(&pem, ""), "key.pem", "hint: tls_key"),
        (refused(&pem, &other.signing_key.serialize_pem()), "key.pem", "issued for"),
    ] {
        assert!(error.contains(file) && error.contains(hint), "{error}");
    }
    let absent = TlsFiles { certificate: "/absent.pem".into(), key: "/absent.key".into() };
    let error = webhook::load(&absent).unwrap_err().to_string();
    assert!(error.contains("/absent.pem") && error.contains("No such file"), "{error}");
    webhook::load(&tls_files(folder.path(), &pem, &key)).unwrap();
}

#[tokio::test]
async fn a_stored_publication_waits_for_its_confirmation() {
    let relay = Relay::start().await;
    let listening = listen(config(), relay.inbox.clone());
    let reply = send(listening.address, &small()).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let status = relay.ledger.status().await.unwrap();
    assert_eq!((status.announced, status.events, status.claims), (1, 0, 0), "{status:?}");

    // ZeroMQ's frame holds the same event.
    relay.publish(small().body).await;
    let status = relay.ledger.status().await.unwrap();
    assert_eq!((status.announced, status.events), (0, 1), "{status:?}");
    assert!(status.claims > 0);
}

#[tokio::test]
async fn a_stored_publication_stands_in_for_a_dropped_frame() {
    let relay = Relay::start().await;
    let listening = listen(config(), relay.inbox.clone());
    assert_eq!(send(listening.address, &small()).await.status, 200);
    relay.dropped_frame(TAG_HOLES).await;
    let status = relay.ledger.status().await.unwrap();
    assert_eq!((status.announced, status.events), (0, 1), "{status:?}");
    assert!(status.claims > 0);
    assert!(status.gaps.is_empty(), "{status:?}");
}

/// What the webhook itself could not hand over is no word of ZeroMQ's.
#[tokio::test]
async fn a_gap_of_the_webhook_confirms_nothing() {
    let relay = Relay::start().await;
    let listening = listen(config(), relay.inbox.clone());
    assert_eq!(send(listening.address, &small()).await.status, 200);
    relay.gap_of(webhook::INTAKE, TAG_HOLES).await;
    let status = relay.ledger.status().await.unwrap();
    assert_eq!((status.announced, status.events), (1, 0), "{status:?}");
    assert_eq!(send(listening.address, &small()).await.status, 200);
    let status = relay.ledger.status().await.unwrap();
    assert_eq!((status.announced, status.events), (1, 0), "{status:?}");
}

#[tokio::test]
async fn an_unwritable_ledger_is_told_and_nothing_is_called_stored() {
    let relay = Relay::start().await;
    let listening = listen(config(), relay.inbox.clone());
    relay.ledger.close().await;
    let reply = send(listening.address, &small()).await;
    assert_eq!(reply.status, 503, "{}", reply.text);
    assert!(!relay.ledger.is_writable());
}

#[tokio::test]
async fn the_log_has_a_line_a_request_and_no_secret() {
    let page = Page::default();
    let writer = page.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // While only one is alive, tracing takes what another test's thread wants for what all want.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    replay("webhook/0002_POST.http", HEADER).await;
    replay("webhook/0002_POST.http", &format!("X-Relay-Secret: {SECRET}x\r\n")).await;
    replay("webhook/0009_POST.http", HEADER).await;
    let text = page.text();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains("A webhook request was")).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[0].contains("status=200 bytes=9044 misp_event=48de085d-b7e6-4ae2-a8b5"),
        "{text}"
    );
    assert!(lines[1].contains("WARN") && lines[1].contains("status=401"), "{text}");
    assert!(lines[2].contains("status=400 bytes=75"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

/// Whoever knocks without the secret fills no log.
#[tokio::test]
async fn strangers_have_a_line_a_minute() {
    let page = Page::default();
    let writer = page.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let (inbox, _ledger) = inbox();
    let listening = listen(config(), inbox);
    for number in 0..30 {
        let secret = format!("X-Relay-Secret: guess-{number}\r\n");
        let mut request = recorded("webhook/0002_POST.http").with(&secret);
        if number % 3 == 0 {
            request.head = request.head.replace("/misp-hook", "/other");
        }
        send(listening.address, &request).await;
    }
    let text = page.text();
    assert_eq!(text.matches("webhook_refused").count(), 1, "{text}");
}

#[derive(Clone, Default)]
struct Page(Arc<std::sync::Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_secret_that_changes_in_its_file_is_read_again_but_not_for_every_guess() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let secret = misp_sentinel_relay::config::Secret::from_file(&file).unwrap();
    let (inbox, mut ledger) = inbox();
    let path = small().path();
    let listening = listen(Webhook { path, secret, ..config() }, inbox);
    let with = |secret: &str| {
        let header = format!("X-Relay-Secret: {secret}\r\n");
        recorded("webhook/0002_POST.http").with(&header)
    };
    let said = async |secret: &str| send(listening.address, &with(secret)).await.status;
    let taking = async {
        loop {
            ledger.announced(Receipt::Committed).await;
        }
    };
    let asking = async {
        assert_eq!(said(SECRET).await, 200);
        std::fs::write(&file, "the-next-one-0123456789").unwrap();
        assert_eq!(said("the-next-one-0123456789").await, 200);
        assert_eq!(said(SECRET).await, 401, "the old one is over");
        // That was read less than ten seconds ago, whatever is guessed.
        std::fs::write(&file, "the-last-one-0123456789").unwrap();
        assert_eq!(said("the-last-one-0123456789").await, 401);
        assert_eq!(said("the-next-one-0123456789").await, 200);
    };
    tokio::select! { () = asking => {}, () = taking => unreachable!() }
}
