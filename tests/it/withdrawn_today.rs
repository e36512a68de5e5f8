//! Tests what the page tells of withdrawals: which indicators were withdrawn today, also after a restart, and the lines
//! of deleted events and of tags.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use misp_sentinel_relay::http::LOCAL;
use misp_sentinel_relay::pure::policy::Tlp;

use super::admin::{Served, serve_http_as};
use super::support::event::{
    EVENT, deletion, publication, tagged, tagged_publication, then, to_ids_off,
};
use super::support::ledger::{Relay as LedgerAlone, TARGET};
use super::support::relay::{Relay, ageless};
use super::support::scene::Scene;
use super::support::sentinel::Sentinel;

/// How long a page may take to show something.
const PATIENCE: Duration = Duration::from_secs(60);

async fn page(address: &str) -> String {
    let client = LOCAL.client_with(|builder| builder).unwrap();
    let answer = client.get(format!("{address}/")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// Waits until the page shows this. It is made of a status that may be a second old.
async fn shown(address: &str, words: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = page(address).await;
        if page.contains(words) {
            return page;
        }
        assert!(Instant::now() < deadline, "never {words:?}:\n{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until such a line of the timeline tells of an acceptance.
async fn accepted_line(address: &str, is_meant: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = page(address).await;
        let mut rows = section(&page, "events").split("<tr");
        let line = rows.find(|row| is_meant(row) && row.contains("sandbox"));
        if let Some(line) = line {
            return line.to_owned();
        }
        assert!(Instant::now() < deadline, "no such line is accepted:\n{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The part of a page between a heading and the next one.
fn section<'p>(page: &'p str, id: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!(r#"<h2 id="{id}">"#)).expect(page);
    rest.split("<h2").next().unwrap()
}

/// Both happens on one day, unless midnight comes between: then all of it is done again.
async fn on_one_day(mut test: impl AsyncFnMut()) {
    for _ in 0..3 {
        let day = chrono::Utc::now().date_naive();
        test().await;
        if chrono::Utc::now().date_naive() == day {
            return;
        }
    }
    panic!("midnight after midnight");
}

async fn restart(relay: &mut Relay, publisher: &super::support::publisher::Publisher) -> String {
    relay.stop();
    relay.restart(publisher).await;
    relay.page_address(2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_event_is_named_under_withdrawn_today_also_after_a_restart() {
    on_one_day(async || {
        let mut scene = Scene::set(&[]).await;
        let pattern = "[domain-name:value = 'evil.example']";
        scene.publisher.send(&publication(then(), &[(1, "evil.example", &[])])).await;
        scene.settle().await;
        let address = scene.relay.page_address(1).await;
        let before = page(&address).await;
        assert!(!section(&before, "withdrawn").contains("evil.example"), "{before}");

        scene.publisher.send(&deletion(then() + 60)).await;
        scene.settle().await;
        assert!(!scene.is_live(pattern));
        // From the frame to the acceptance.
        let is_deletion = |row: &str| row.contains("event deleted") && row.contains(EVENT);
        let line = accepted_line(&address, is_deletion).await;
        assert!(line.contains("− withdrawal") && line.contains("1 gone"), "{line}");
        let address = restart(&mut scene.relay, &scene.publisher).await;
        let again = shown(&address, "Withdrawn since 00:00 UTC").await;
        let today = section(&again, "withdrawn");
        assert!(today.contains(pattern) && today.contains(EVENT), "{again}");
        // Nothing of it is in memory.
        assert!(section(&again, "events").contains("None since"), "{again}");
    })
    .await;
}

/// A ledger whose page is served, and a Sentinel that accepts all.
struct Setup {
    relay: LedgerAlone,
    sentinel: Sentinel,
    address: String,
    _served: Served,
}

impl Setup {
    async fn showing(show_tlp: Tlp) -> Self {
        let relay = LedgerAlone::start_with(&ageless()).await;
        let mut settings = relay.config.admin.clone();
        settings.show_tlp = show_tlp;
        let (address, served): (SocketAddr, Served) = serve_http_as(&relay, &settings);
        let address = format!("http://{address}");
        Self { relay, sentinel: Sentinel::default(), address, _served: served }
    }

    async fn hear(&mut self, frame: &[u8]) {
        self.relay.hear(frame).await;
        self.sentinel.accept_all_of(&self.relay, TARGET).await;
    }

    /// Publishes the value under this tag of the event.
    async fn publish(&mut self, tag: &str) {
        self.hear(&tagged_publication(then(), &[tag], &[(1, "evil.example", &[])])).await;
    }

    /// Waits until the page tells of one withdrawal; returns what it tells.
    async fn told(&self) -> String {
        let page = shown(&self.address, "<strong>1 indicator</strong>").await;
        section(&page, "withdrawn").to_owned()
    }
}

/// `tag` is put on the event itself.
fn event_tagged(tag: &str) -> Vec<u8> {
    let frame = String::from_utf8(tagged(1, tag, true)).unwrap();
    let frame = frame.replace(r#","attribute_id":"1""#, "");
    frame.replace("attached to attribute", "attached to event").into_bytes()
}

#[tokio::test]
async fn what_was_withdrawn_is_named_up_to_the_level_that_is_shown() {
    for (show_tlp, tag, named) in [
        (Tlp::Green, "tlp:green", true),
        (Tlp::Green, "tlp:amber", false),
        (Tlp::Amber, "tlp:amber+strict", false),
        (Tlp::AmberStrict, "tlp:amber+strict", true),
    ] {
        on_one_day(async || {
            let mut setup = Setup::showing(show_tlp).await;
            setup.publish(tag).await;
            setup.hear(&to_ids_off(1, "evil.example", then() + 60)).await;
            let told = setup.told().await;
            assert_eq!(told.contains("evil.example"), named, "{tag}: {told}");
            assert_eq!(told.contains("value hidden (TLP:AMBER"), !named, "{tag}: {told}");
        })
        .await;
    }
}

/// An indicator keeps what it was sent with, but a stricter word since hides it: also where the claim that carried the
/// word is gone.
#[tokio::test]
async fn a_stricter_tag_since_hides_what_was_withdrawn() {
    let gone = to_ids_off(1, "evil.example", then() + 60);
    for frames in [
        vec![tagged(1, "tlp:red", true)],
        vec![tagged(1, "tlp:red", true), gone.clone()],
        vec![event_tagged("tlp:red"), deletion(then() + 60)],
        vec![gone, event_tagged("tlp:red")],
    ] {
        on_one_day(async || {
            let mut setup = Setup::showing(Tlp::Green).await;
            setup.publish("tlp:clear").await;
            for frame in &frames {
                setup.hear(frame).await;
            }
            let told = setup.told().await;
            assert!(!told.contains("evil.example"), "{told}");
            assert!(told.contains("value hidden (TLP:RED)"), "{told}");
        })
        .await;
    }
}

/// What comes back is no longer withdrawn, and its old level says nothing of it.
#[tokio::test]
async fn what_came_back_is_not_told_as_withdrawn() {
    on_one_day(async || {
        let mut setup = Setup::showing(Tlp::Green).await;
        setup.publish("tlp:clear").await;
        setup.hear(&tagged(1, "tlp:red", true)).await;
        setup.told().await;
        setup.hear(&tagged(1, "tlp:red", false)).await;
        shown(&setup.address, "<strong>0 indicators</strong>").await;
        setup.hear(&to_ids_off(1, "evil.example", then() + 60)).await;
        assert!(setup.told().await.contains("evil.example"));
    })
    .await;
}

#[tokio::test]
async fn tags_that_alter_what_is_wanted_are_lines_of_the_timeline() {
    let mut setup = Setup::showing(Tlp::Green).await;
    setup.publish("tlp:clear").await;
    setup.hear(&tagged(1, "nothing:special", true)).await;
    let now = page(&setup.address).await;
    let line = section(&now, "events").split("a tag put on").nth(1).expect("a line");
    assert!(line.contains("1 changed"), "{line}");
    assert!(!section(&now, "events").contains("− withdrawal"), "{now}");
    setup.hear(&event_tagged("tlp:red")).await;
    let now = page(&setup.address).await;
    let events = section(&now, "events");
    assert_eq!(events.matches("a tag put on").count(), 2, "{events}");
    assert_eq!(events.matches("− withdrawal").count(), 1, "{events}");
    setup.hear(&event_tagged("tlp:red")).await;
    let now = page(&setup.address).await;
    assert_eq!(section(&now, "events").matches("a tag put on").count(), 2, "said twice: no news");
}

/// The claims of a deleted event count as gone, like those of a deleted attribute.
#[tokio::test(flavor = "multi_thread")]
async fn the_claims_of_a_deleted_event_count_as_gone() {
    let scene = Scene::set(&[]).await;
    let attributes =
        [(1, "evil.example", &[][..]), (2, "cdn.example", &[]), (3, "c2.example", &[])];
    scene.publisher.send(&publication(then(), &attributes)).await;
    // The two come over two sockets.
    scene.logged("event_committed").await;
    scene.publisher.send(&deletion(then() + 60)).await;
    let address = scene.relay.page_address(1).await;
    let client = LOCAL.client_with(|builder| builder).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let gone = "misp_sentinel_relay_claims_total{change=\"gone\"} 3";
    loop {
        let answer = client.get(format!("{address}/metrics")).send().await.unwrap();
        let text = answer.text().await.unwrap();
        if text.lines().any(|line| line == gone) {
            return;
        }
        assert!(Instant::now() < deadline, "no {gone}:\n{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
