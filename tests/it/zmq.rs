//! Tests the ZeroMQ intake with a real libzmq publisher and MISP's recorded frames.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use misp_sentinel_relay::config::{Plain, Secret, ZeroMq};
use misp_sentinel_relay::intake::Inbox;
use misp_sentinel_relay::intake::frame::{Content, Frame};
use misp_sentinel_relay::intake::zmq::{EndpointStatus, ZeroMqStatus, run};
use misp_sentinel_relay::notice::{
    Cause, EventRef, Gap, GapReason, Notice, ReportedSighting, TagChange, What, Withdrawal,
};
use misp_sentinel_relay::pure::misp::{Sighting, SightingKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::publisher::{Publisher, Recorded, recorded_frame, recorded_frames};

const MEGABYTE: usize = 1024 * 1024;

fn config(endpoint: String) -> ZeroMq {
    ZeroMq {
        endpoints: vec![endpoint],
        credentials: None,
        connect_timeout: Duration::from_secs(5),
        reconnect_max: Duration::from_millis(50),
        silence: Duration::from_secs(30),
        max_frame: 64 * MEGABYTE,
        max_waiting: 256 * MEGABYTE,
    }
}

fn with_credentials(endpoint: String, password: &str) -> ZeroMq {
    let credentials = Plain { username: "misp".to_owned(), password: Secret::new(password) };
    ZeroMq { credentials: Some(credentials), ..config(endpoint) }
}

/// A running intake and the ledger writer's end of its inbox.
struct Intake {
    notices: mpsc::Receiver<Notice>,
    status: ZeroMqStatus,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Intake {
    fn start(config: ZeroMq) -> Self {
        let (inbox, notices) = Inbox::new(config.max_waiting);
        Self::start_with(config, inbox, notices)
    }

    fn start_with(config: ZeroMq, inbox: Inbox, notices: mpsc::Receiver<Notice>) -> Self {
        let status = ZeroMqStatus::new(&config);
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(config, inbox, status.clone(), stop.clone()));
        Self { notices, status, stop, task }
    }

    /// The next notice.
    async fn next(&mut self) -> What {
        timeout(Duration::from_secs(10), self.notices.recv())
            .await
            .expect("no notice within 10 s")
            .expect("the intake ended")
            .what
    }

    /// The next notice that is no gap.
    async fn next_but_gaps(&mut self) -> What {
        loop {
            let what = self.next().await;
            if !matches!(what, What::Gap(_)) {
                return what;
            }
        }
    }

    /// The next gap with this reason; whatever comes before it is passed over.
    async fn gap(&mut self, reason: GapReason) -> Gap {
        loop {
            if let What::Gap(gap) = self.next().await
                && gap.reason == reason
            {
                return gap;
            }
        }
    }

    async fn publication(&mut self) -> Bytes {
        let What::Published(document) = self.next_but_gaps().await else {
            panic!("no publication");
        };
        document
    }

    async fn wait_until(&self, is_so: impl FnMut(&Vec<EndpointStatus>) -> bool) -> EndpointStatus {
        let mut status = self.status.subscribe();
        let seen = timeout(Duration::from_secs(10), status.wait_for(is_so)).await;
        seen.unwrap_or_else(|_| panic!("stays {:?}", self.status.now())).unwrap()[0].clone()
    }

    async fn wait_for_error(&self, text: &str) {
        let named = |error: &str| error.contains(text);
        self.wait_until(|all| all[0].error.as_deref().is_some_and(named)).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(Duration::from_secs(1), self.task).await.expect("stops at once").unwrap();
    }
}

fn publication(uuid: &str) -> String {
    format!(r#"misp_json {{"Event":{{"id":"1","uuid":"{uuid}","Attribute":[]}}}}"#)
}

const EVENT: &str = "62724408-1cb5-4198-8ceb-3e542ad28bcd";

fn all_recordings() -> Vec<Recorded> {
    ["zmq", "zmq-more", "zmq-variants"].into_iter().flat_map(recorded_frames).collect()
}

#[test]
fn every_recorded_frame_is_read() {
    let mut said = BTreeMap::<&str, usize>::new();
    for recorded in all_recordings() {
        let frame = Bytes::from(recorded.frame);
        let content = Frame::split(&frame).and_then(Frame::read);
        let content = content.unwrap_or_else(|error| panic!("{}: {error}", recorded.name));
        let what = match content {
            Content::Notice(What::Published(_)) => "published",
            Content::Notice(What::Withdrawn(Withdrawal::Attribute {
                cause: Cause::Deleted,
                ..
            })) => "deleted",
            Content::Notice(What::Withdrawn(Withdrawal::Attribute {
                cause: Cause::DeletedForGood,
                ..
            })) => "deleted for good",
            Content::Notice(What::Withdrawn(Withdrawal::Attribute {
                cause: Cause::ToIdsOff,
                ..
            })) => "to_ids off",
            Content::Notice(What::Withdrawn(Withdrawal::Edited { .. })) => "edited",
            Content::Notice(What::Withdrawn(Withdrawal::Object { .. })) => "object deleted",
            Content::Notice(What::Withdrawn(Withdrawal::Event { .. })) => "event deleted",
            Content::Notice(What::Withdrawn(Withdrawal::Shown(_))) => "edited event",
            Content::Notice(What::Tagged(_)) => "tagged",
            Content::Notice(What::TagAltered(_)) => "tag altered",
            Content::Notice(What::Sighted(_)) => "sighted",
            Content::Notice(What::Touched(_)) => "touched",
            Content::Notice(What::Warninglist(_)) => "warninglist",
            Content::Heartbeat(_) => "heartbeat",
            Content::Notice(What::Announced(_) | What::Gap(_) | What::Read(_)) => {
                panic!("{} is no frame of MISP's feed", recorded.name)
            }
            Content::Nothing => "alive",
        };
        *said.entry(what).or_default() += 1;
    }
    // Counted by the files' names, in which topic and action stand. Of the five edits three have
    // "to_ids":false (000339, 000375, zmq-more/000094); of the four sightings 000382 has type 1 and
    // 000383 type 2.
    let expected = [
        ("published", 69),
        ("deleted", 12),
        ("deleted for good", 1),
        ("to_ids off", 3),
        ("edited", 2),
        ("object deleted", 1),
        ("event deleted", 3),
        ("tagged", 15 + 18 + 1),
        ("sighted", 2),
        ("warninglist", 6),
        ("heartbeat", 12),
        ("edited event", 4),
        ("alive", 60 + 3 + 17 + 4 + 10 + 1 + 1 + 2 + 17 + 8),
    ];
    assert_eq!(said, BTreeMap::from(expected));
}

fn read(name: &str) -> What {
    let frame = Bytes::from(recorded_frame("zmq", name).frame);
    let Content::Notice(what) = Frame::split(&frame).unwrap().read().unwrap() else {
        panic!("{name} holds no notice")
    };
    what
}

fn event_1() -> EventRef {
    EventRef { uuid: Some(EVENT.parse().unwrap()), id: Some(1) }
}

#[test]
fn recorded_frames_say_what_was_done_in_misp() {
    assert_eq!(
        read("000339_misp_json_attribute_edit.bin"),
        What::Withdrawn(Withdrawal::Attribute {
            event: event_1(),
            attribute: "589ee01b-423f-4ed8-9790-616079919c17".parse().unwrap(),
            timestamp: 1_795_499_546,
            cause: Cause::ToIdsOff,
        })
    );
    assert_eq!(
        read("000501_misp_json_attribute_delete.bin"),
        What::Withdrawn(Withdrawal::Attribute {
            event: EventRef { uuid: None, id: Some(8) },
            attribute: "a160e450-8e78-43c3-8e29-3aa32bcc86c0".parse().unwrap(),
            timestamp: 1_795_499_670,
            cause: Cause::DeletedForGood,
        })
    );
    assert_eq!(
        read("000359_misp_json_object_soft-delete.bin"),
        What::Withdrawn(Withdrawal::Object {
            event: EventRef { uuid: None, id: Some(1) },
            object: "74368ca2-be66-466e-9df8-45232a671ac3".parse().unwrap(),
            timestamp: 1_795_499_554,
            for_good: false,
        })
    );
    assert_eq!(
        read("000507_misp_json_event_delete.bin"),
        What::Withdrawn(Withdrawal::Event {
            uuid: "24481e33-5fc9-4178-bff2-428abbc4f664".parse().unwrap(),
            timestamp: 1_795_499_672,
        })
    );
}

#[test]
fn recorded_tags_and_sightings_say_what_they_are_about() {
    assert_eq!(
        read("000374_misp_json_tag_attached-to-attribute.bin"),
        What::Tagged(TagChange {
            event_id: 1,
            attribute_id: Some(72),
            tag: "tlp:green".to_owned(),
            local: false,
            attached: true,
        })
    );
    assert_eq!(
        read("000378_misp_json_tag_detached-from-event.bin"),
        What::Tagged(TagChange {
            event_id: 1,
            attribute_id: None,
            tag: "workflow:state=\"complete\"".to_owned(),
            local: false,
            attached: false,
        })
    );
    assert_eq!(
        read("000383_misp_json_sighting_add.bin"),
        What::Sighted(Box::new(ReportedSighting {
            event: event_1(),
            attribute: "002a1a24-d008-4c35-ae4b-cad8cf94787a".parse().unwrap(),
            said: Some(("ip-dst".to_owned(), "203.0.113.99".to_owned())),
            sighting: Sighting {
                uuid: "33289d6e-a535-4cc0-91a0-7c1685b7cd1f".parse().unwrap(),
                number: 3,
                kind: SightingKind::Expiration,
                at: 1_795_585_967,
            },
            taken_back: false,
        }))
    );
}

#[tokio::test]
async fn every_recorded_frame_arrives_as_its_notice() {
    let publisher = Publisher::bind();
    let mut intake = Intake::start(config(publisher.endpoint()));
    publisher.wait_for_subscriptions(2).await;

    let recordings = all_recordings();
    let mut publications: Vec<&[u8]> = Vec::new();
    let mut others = 0;
    for recorded in &recordings {
        publisher.send(&recorded.frame).await;
        let frame = Bytes::copy_from_slice(&recorded.frame);
        match Frame::split(&frame).unwrap().read().unwrap() {
            Content::Notice(What::Published(_)) => publications.push(recorded.json()),
            Content::Notice(_) => others += 1,
            Content::Heartbeat(_) | Content::Nothing => {}
        }
    }
    let mut publications = publications.into_iter();
    let mut restarts = 0;
    let mut arrived = 0;
    while publications.len() > 0 || arrived < others {
        match intake.next().await {
            What::Published(document) => {
                assert!(document == publications.next().expect("one more"), "out of order");
            }
            What::Withdrawn(_)
            | What::Tagged(_)
            | What::TagAltered(_)
            | What::Sighted(_)
            | What::Touched(_)
            | What::Warninglist(_) => arrived += 1,
            What::Gap(gap) if gap.reason == GapReason::PublisherRestarted => restarts += 1,
            What::Gap(gap) => assert_eq!(gap.reason, GapReason::Disconnected, "the start's"),
            What::Announced(_) | What::Read(_) => panic!("not of this intake"),
        }
    }
    assert_eq!(restarts, 0, "uptimes rise within a recording");
    intake.stop().await;
}

#[tokio::test]
async fn the_largest_recorded_frame_arrives_whole() {
    let recorded = recorded_frame("zmq", "010630_misp_json.bin");
    assert!(recorded.frame.len() > 20_000_000);
    let publisher = Publisher::bind();
    let mut intake = Intake::start(config(publisher.endpoint()));
    publisher.wait_for_subscriptions(2).await;
    publisher.send(&recorded.frame).await;
    assert!(intake.publication().await == recorded.json());
    intake.stop().await;
}

#[tokio::test]
async fn the_run_begins_with_a_gap_and_a_connected_status() {
    let publisher = Publisher::bind();
    let began = std::time::SystemTime::now();
    let mut intake = Intake::start(config(publisher.endpoint()));
    let gap = intake.gap(GapReason::Disconnected).await;
    assert_eq!(gap.intake, publisher.endpoint());
    assert!(gap.since >= began);
    let status = intake.wait_until(|all| all[0].connected()).await;
    assert_eq!(status.error, None);
    publisher.wait_for_subscriptions(2).await;
    publisher.send_heartbeat(7).await;
    publisher.send(publication(EVENT).as_bytes()).await;
    intake.publication().await;
    let status = &intake.status.now()[0];
    assert!(status.last_publication.is_some() && status.last_frame.is_some());
    intake.stop().await;
}

#[tokio::test]
async fn a_publisher_killed_and_restarted_is_received_again() {
    let mut publisher = Publisher::bind();
    let mut intake = Intake::start(config(publisher.endpoint()));
    publisher.wait_for_subscriptions(2).await;
    intake.gap(GapReason::Disconnected).await;

    for _ in 0..3 {
        publisher.stop();
        intake.gap(GapReason::Disconnected).await;
        intake.wait_for_error("cannot reach MISP's ZeroMQ").await;
        publisher.start();
        let back = Instant::now();
        publisher.wait_for_subscriptions(2).await;
        publisher.send(publication(EVENT).as_bytes()).await;
        intake.publication().await;
        assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    }
    intake.stop().await;
}

#[tokio::test]
async fn a_publisher_absent_at_start_is_waited_for() {
    let mut publisher = Publisher::absent();
    let mut intake = Intake::start(config(publisher.endpoint()));
    intake.wait_for_error("cannot reach MISP's ZeroMQ").await;
    intake.gap(GapReason::Disconnected).await;
    publisher.start();
    publisher.wait_for_subscriptions(2).await;
    publisher.send(publication(EVENT).as_bytes()).await;
    intake.publication().await;
    intake.wait_until(|all| all[0].error.is_none()).await;
    intake.stop().await;
}

#[tokio::test]
async fn a_host_name_with_several_addresses_finds_the_one_that_answers() {
    let publisher = Publisher::bind();
    let intake = Intake::start(config(publisher.endpoint().replace("127.0.0.1", "localhost")));
    intake.wait_until(|all| all[0].connected()).await;
    intake.stop().await;
}

#[tokio::test]
async fn the_right_password_is_let_in() {
    let mut publisher = Publisher::bind_plain("misp", "secret");
    let mut intake = Intake::start(with_credentials(publisher.endpoint(), "secret"));
    publisher.wait_for_subscriptions(2).await;
    let largest = recorded_frame("zmq", "010630_misp_json.bin");
    publisher.send(&largest.frame).await;
    assert!(intake.publication().await == largest.json());

    publisher.stop();
    intake.wait_until(|all| !all[0].connected()).await;
    publisher.start();
    publisher.wait_for_subscriptions(2).await;
    publisher.send(publication(EVENT).as_bytes()).await;
    intake.publication().await;
    intake.stop().await;
}

#[tokio::test]
async fn a_password_that_changes_in_its_file_is_read_again_when_refused() {
    let mut publisher = Publisher::bind_plain("misp", "secret");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let password = Secret::from_file(&file).unwrap();
    let credentials = Some(Plain { username: "misp".to_owned(), password });
    let config = ZeroMq { credentials, ..config(publisher.endpoint()) };
    let mut intake = Intake::start(config);
    publisher.wait_for_subscriptions(2).await;

    publisher.stop();
    intake.wait_until(|all| !all[0].connected()).await;
    publisher.set_password("the-next-one");
    std::fs::write(&file, "the-next-one\n").unwrap();
    publisher.start();
    publisher.wait_for_subscriptions(2).await;
    publisher.send(publication(EVENT).as_bytes()).await;
    intake.publication().await;
    intake.stop().await;
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_do_not_end_it() {
    let publisher = Publisher::bind_plain("misp", "secret");
    let chatter = async {
        loop {
            publisher.send(publication(EVENT).as_bytes()).await;
            tokio::task::yield_now().await;
        }
    };
    let connections = async {
        for _ in 0..20 {
            let mut intake = Intake::start(with_credentials(publisher.endpoint(), "secret"));
            intake.publication().await;
            let status = intake.wait_until(|all| all[0].connected()).await;
            assert_eq!(status.error, None);
            intake.stop().await;
        }
    };
    tokio::select! {
        () = connections => {}
        () = chatter => {}
    }
}

#[tokio::test]
async fn a_wrong_password_is_named() {
    let publisher = Publisher::bind_plain("misp", "secret");
    let mut intake = Intake::start(with_credentials(publisher.endpoint(), "guess"));
    intake.wait_for_error("MISP refused the ZeroMQ username or password").await;
    intake.gap(GapReason::Disconnected).await;
    assert!(!format!("{:?}", intake.status.now()).contains("guess"));
    intake.stop().await;
}

#[tokio::test]
async fn a_publisher_that_wants_a_password_is_named() {
    let publisher = Publisher::bind_plain("misp", "secret");
    let intake = Intake::start(config(publisher.endpoint()));
    intake.wait_for_error("MISP's ZeroMQ asks for a username and password").await;
    intake.stop().await;
}

#[tokio::test]
async fn a_publisher_that_wants_no_password_is_named() {
    let publisher = Publisher::bind();
    let intake = Intake::start(with_credentials(publisher.endpoint(), "secret"));
    intake.wait_for_error("MISP's ZeroMQ takes no username and password").await;
    intake.stop().await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(Duration::from_secs(10), listener.accept()).await.expect("a connection").unwrap().0
}

/// Reads until the relay hangs up, and says how long that took.
async fn until_hung_up(mut stream: TcpStream) -> Duration {
    let start = Instant::now();
    let mut ignored = [0; 256];
    let hung_up = async { while !matches!(stream.read(&mut ignored).await, Ok(0) | Err(_)) {} };
    timeout(Duration::from_secs(10), hung_up).await.expect("never left");
    start.elapsed()
}

#[tokio::test]
async fn a_peer_that_accepts_and_stays_mute_is_left() {
    let connect_timeout = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let intake = Intake::start(ZeroMq { connect_timeout, ..config(endpoint) });
    for _ in 0..4 {
        let held = until_hung_up(accept(&listener).await).await;
        assert!(held < Duration::from_secs(2), "held for {held:?}");
    }
    intake.wait_for_error("did not answer within 200ms").await;
    intake.stop().await;
}

#[tokio::test]
async fn a_peer_that_falls_mute_after_its_greeting_is_left() {
    const GREETING: &[u8] =
        b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    assert_eq!(GREETING.len(), 64);
    let connect_timeout = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let intake = Intake::start(ZeroMq { connect_timeout, ..config(endpoint) });
    for _ in 0..8 {
        let mut stream = accept(&listener).await;
        stream.write_all(GREETING).await.unwrap();
        tokio::spawn(until_hung_up(stream));
    }
    intake.wait_for_error("did not answer within 200ms").await;
    intake.stop().await;
}

/// What a publisher without credentials says before any frame (as recorded, `zmtp_greeting_null.log`).
fn introduction() -> Vec<u8> {
    let mut said = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL".to_vec();
    said.resize(64, 0);
    said.extend_from_slice(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB");
    said
}

/// Whoever connects hears the introduction and these bytes, and nothing more.
async fn liar(frames: &'static [u8]) -> (String, tokio::task::AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let lying = tokio::spawn(async move {
        loop {
            let mut stream = listener.accept().await.unwrap().0;
            stream.write_all(&[&introduction()[..], frames].concat()).await.ok();
            tokio::spawn(until_hung_up(stream));
        }
    });
    (endpoint, lying.abort_handle())
}

/// Nine bytes that announce a frame of 2^40 bytes.
#[tokio::test]
async fn a_terabyte_that_is_only_announced_costs_a_connection() {
    let (endpoint, lying) = liar(b"\x02\0\0\x01\0\0\0\0\0").await;
    let mut intake = Intake::start(config(endpoint));
    intake.wait_for_error("announces a frame of 1099511627776 bytes").await;
    intake.gap(GapReason::Disconnected).await;
    lying.abort();
    intake.stop().await;
}

/// A message whose parts never end: the first is read, and no other is held.
#[tokio::test]
async fn parts_of_a_message_are_not_gathered() {
    const PARTS: &[u8] = b"\x01\x17misp_json_event {\"a\":1}\x01\x04more\x01\x04more\x00\x04last\
        \x00\x1emisp_json_self {\"uptime\":4711}";
    let (endpoint, lying) = liar(PARTS).await;
    let intake = Intake::start(config(endpoint));
    let status = intake.wait_until(|all| all[0].connected()).await;
    assert_eq!(status.error, None);
    while intake.status.now()[0].uptime != Some(4711) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    lying.abort();
    intake.stop().await;
}

#[tokio::test]
async fn what_is_no_zeromq_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let intake = Intake::start(config(endpoint));
    let mut stream = accept(&listener).await;
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    intake.wait_for_error("is no ZeroMQ publisher").await;
    intake.stop().await;
}

/// Only the first byte is that of ZeroMQ: nothing more is waited for.
#[tokio::test]
async fn a_greeting_that_is_none_is_named_before_it_is_whole() {
    let told: [(&[u8], &str); 3] = [
        (b"\xff\xfb\x01\xff\xfb\x03\xff\xfd\x18login: ", "is no ZeroMQ publisher"),
        // libzmq 2 and 3: the signature, and then the revision of their protocol.
        (b"\xff\0\0\0\0\0\0\0\x01\x7f\x00\x01", "speaks version 0 of ZeroMQ's protocol"),
        (b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x01\0\0", "speaks version 1 of ZeroMQ's protocol"),
    ];
    for (greeting, words) in told {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
        let intake = Intake::start(config(endpoint));
        let mut stream = accept(&listener).await;
        stream.write_all(greeting).await.unwrap();
        intake.wait_for_error(words).await;
        intake.stop().await;
    }
}

#[tokio::test]
async fn silence_is_noticed_and_the_sockets_are_connected_anew() {
    let publisher = Publisher::bind();
    let silence = Duration::from_millis(200);
    let mut intake = Intake::start(ZeroMq { silence, ..config(publisher.endpoint()) });
    publisher.wait_for_subscriptions(2).await;
    publisher.send_heartbeat(1).await;
    let gap = intake.gap(GapReason::Silent).await;
    let quiet = gap.since.elapsed().unwrap();
    assert!(quiet >= silence && quiet < 10 * silence, "noticed after {quiet:?}");
    intake.wait_for_error("said nothing for 200ms").await;
    publisher.wait_for_subscriptions(2).await;
    publisher.send(publication(EVENT).as_bytes()).await;
    intake.publication().await;
    intake.stop().await;
}

#[tokio::test]
async fn a_talking_publisher_is_not_silent() {
    let publisher = Publisher::bind();
    let silence = Duration::from_millis(500);
    let mut intake = Intake::start(ZeroMq { silence, ..config(publisher.endpoint()) });
    publisher.wait_for_subscriptions(2).await;
    intake.gap(GapReason::Disconnected).await;
    for uptime in 0..15 {
        publisher.send_heartbeat(uptime).await;
        tokio::time::sleep(silence / 10).await;
    }
    assert!(intake.notices.try_recv().is_err(), "nothing was missed");
    intake.stop().await;
}

#[tokio::test]
async fn a_falling_uptime_is_a_gap() {
    let publisher = Publisher::bind();
    let mut intake = Intake::start(config(publisher.endpoint()));
    publisher.wait_for_subscriptions(2).await;
    for uptime in [11, 21, 2] {
        publisher.send_heartbeat(uptime).await;
    }
    intake.gap(GapReason::PublisherRestarted).await;
    assert_eq!(intake.status.now()[0].uptime, Some(2));
    intake.stop().await;
}

#[tokio::test]
async fn a_flood_of_edits_costs_no_publication() {
    let publisher = Publisher::bind();
    let mut intake = Intake::start(config(publisher.endpoint()));
    publisher.wait_for_subscriptions(2).await;
    let edit = recorded_frame("zmq", "000344_misp_json_attribute_edit.bin").frame;
    let event = |n: usize| format!("00000000-0000-4000-8000-{n:012}");
    for n in 0..5_000 {
        publisher.send(&edit).await;
        if n % 100 == 0 {
            publisher.send(publication(&event(n)).as_bytes()).await;
        }
    }
    let mut published = 0;
    let mut edits = 0;
    while published < 50 || edits < 5_000 {
        let what = intake.next_but_gaps().await;
        if let What::Published(document) = what {
            let text = String::from_utf8(document.to_vec()).unwrap();
            assert!(text.contains(&event(published * 100)), "{text}");
            published += 1;
        } else {
            assert!(matches!(what, What::Withdrawn(Withdrawal::Edited { .. })), "{what:?}");
            edits += 1;
        }
    }
    intake.stop().await;
}

#[tokio::test]
async fn a_full_inbox_keeps_the_event_and_reads_on() {
    let publisher = Publisher::bind();
    let max_waiting = 400;
    let mut intake = Intake::start(ZeroMq { max_waiting, ..config(publisher.endpoint()) });
    publisher.wait_for_subscriptions(2).await;
    intake.gap(GapReason::Disconnected).await;
    let small = publication(EVENT);
    let dropped = "a160e450-8e78-43c3-8e29-3aa32bcc86c0";
    let large = format!(
        r#"misp_json {{"Event":{{"id":"1","uuid":"{dropped}","info":"{}"}}}}"#,
        "x".repeat(max_waiting)
    );
    publisher.send(large.as_bytes()).await;
    publisher.send(small.as_bytes()).await;
    let gap = intake.gap(GapReason::MemoryFull).await;
    assert_eq!(gap.event, Some(dropped.parse().unwrap()));
    assert_eq!(intake.publication().await, small.as_bytes()[10..]);
    intake.stop().await;
}

#[tokio::test]
async fn gaps_that_do_not_fit_are_offered_again() {
    let publisher = Publisher::bind();
    let config = config(publisher.endpoint());
    let (inbox, notices) = Inbox::new(config.max_waiting);
    let mut filled = 0;
    while inbox.offer(What::Published(Bytes::new()), Instant::now()).is_ok() {
        filled += 1;
    }
    let mut intake = Intake::start_with(config, inbox, notices);
    publisher.wait_for_subscriptions(2).await;
    intake.wait_until(|all| all[0].connected()).await;
    for uuid in [EVENT, "a160e450-8e78-43c3-8e29-3aa32bcc86c0", EVENT] {
        publisher.send(publication(uuid).as_bytes()).await;
    }
    publisher.send_heartbeat(99).await;
    while intake.status.now()[0].uptime.is_none()
        || intake.status.now()[0].last_publication.is_none()
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..filled {
        assert!(matches!(intake.next().await, What::Published(_)));
    }
    intake.gap(GapReason::Disconnected).await;
    let first = intake.gap(GapReason::MemoryFull).await.event;
    let second = intake.gap(GapReason::MemoryFull).await.event;
    let events: HashSet<_> =
        [first, second].into_iter().flatten().map(|uuid| uuid.to_string()).collect();
    assert!(events.contains(EVENT) && events.len() == 2, "{events:?}");
    intake.stop().await;
}

#[tokio::test]
async fn frames_that_cannot_be_taken_are_gaps_and_the_next_is_read() {
    let publisher = Publisher::bind();
    let max_frame = 200;
    let mut intake = Intake::start(ZeroMq { max_frame, ..config(publisher.endpoint()) });
    publisher.wait_for_subscriptions(2).await;
    intake.gap(GapReason::Disconnected).await;
    publisher.send(b"misp_json_attribute {\"Attribute\":").await;
    assert_eq!(intake.gap(GapReason::MalformedFrame).await.intake, publisher.endpoint());
    publisher.send(b"misp_json_attribute").await;
    publisher.send(b"misp_json [1]").await;
    publisher.send(format!("misp_json {{{}}}", " ".repeat(max_frame)).as_bytes()).await;
    publisher.send(publication(EVENT).as_bytes()).await;
    // Malformed frames give one gap a minute, so the next is the large frame's.
    let What::Gap(gap) = intake.next().await else { panic!("no gap") };
    assert_eq!(gap.reason, GapReason::FrameTooLarge);
    assert!(matches!(intake.next().await, What::Published(_)));
    intake.stop().await;
}

#[tokio::test]
async fn a_frame_too_large_is_survived_with_a_password_too() {
    let publisher = Publisher::bind_plain("misp", "secret");
    let max_frame = 200;
    let config = ZeroMq { max_frame, ..with_credentials(publisher.endpoint(), "secret") };
    let mut intake = Intake::start(config);
    publisher.wait_for_subscriptions(2).await;
    intake.gap(GapReason::Disconnected).await;
    let large = |size: usize| format!("misp_json {{{}}}", " ".repeat(size));
    publisher.send(large(max_frame).as_bytes()).await;
    intake.gap(GapReason::FrameTooLarge).await;
    // Beyond twice the limit it is quicker to connect anew than to pass over it.
    publisher.send(large(2 * max_frame).as_bytes()).await;
    intake.gap(GapReason::Disconnected).await;
    publisher.wait_for_subscriptions(2).await;
    publisher.send(publication(EVENT).as_bytes()).await;
    intake.publication().await;
    intake.stop().await;
}

#[tokio::test]
async fn several_endpoints_are_read_at_once() {
    let publishers = [Publisher::bind(), Publisher::bind()];
    let endpoints = publishers.iter().map(Publisher::endpoint).collect();
    let mut intake = Intake::start(ZeroMq { endpoints, ..config(String::new()) });
    for publisher in &publishers {
        publisher.wait_for_subscriptions(2).await;
        publisher.send(publication(EVENT).as_bytes()).await;
        intake.publication().await;
    }
    assert!(intake.status.now().iter().all(EndpointStatus::connected));
    intake.stop().await;
}

#[tokio::test]
async fn a_publisher_by_another_library_is_read() {
    use zeromq::{PubSocket, Socket, SocketSend};

    let mut publisher = PubSocket::new();
    let endpoint = publisher.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
    let mut intake = Intake::start(config(endpoint));
    intake.wait_until(|all| all[0].connected()).await;
    // This library does not tell when subscriptions arrive.
    let sending = async {
        loop {
            publisher.send(publication(EVENT).into()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        document = intake.publication() => assert_eq!(document, publication(EVENT).as_bytes()[10..]),
        () = sending => {}
    }
    intake.stop().await;
}
