//! Looks at the page with a real browser: a healthy relay, one in trouble, and one that was just started. The pictures
//! are kept in target/screenshots.

use std::sync::Arc;
use std::time::Duration;

use misp_sentinel_relay::sandbox::Sandbox;
use misp_stand_in::{Frame, Misp, MispServer, MispSettings, NewAttribute, NewEvent};
use uuid::Uuid;

use super::support::browser::Browser;
use super::support::publisher::Publisher;
use super::support::relay::Relay;
use super::support::sandbox::start;

const KEY: &str = "SiteAdministratorsKeyOfTheMispStandIn000";

const DESKTOP: (u32, u32) = (1_280, 2_000);
const PHONE: (u32, u32) = (360, 4_000);

/// What a stranger may call an event.
const ATTACK: &str = "<script>document.title='attacked'</script><img src=x onerror=alert(1)>";

/// A MISP that publishes, a relay beside it, and a Sentinel.
struct Setup {
    misp: Misp,
    _rest: MispServer,
    publisher: Arc<Publisher>,
    heart: tokio::task::JoinHandle<()>,
    sandbox: Sandbox,
    relay: Relay,
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

impl Setup {
    async fn with(settings: &[(&str, &str)]) -> Self {
        let misp = Misp::new(chrono::Utc::now().timestamp());
        let rest = MispServer::start(misp.clone(), MispSettings::default()).await.unwrap();
        let (sandbox, publisher) = (start().await, Arc::new(Publisher::bind()));
        let url = rest.base_url();
        let quota = [
            ("MSR_MISP__URL", url.as_str()),
            ("MSR_MISP__KEY", KEY),
            ("MSR_DELIVERY__QUOTA_REQUESTS", "99"),
            ("MSR_DELIVERY__QUOTA_WINDOW", "60s"),
        ];
        let settings: Vec<(&str, &str)> =
            quota.into_iter().chain(settings.iter().copied()).collect();
        let relay = Relay::start(&sandbox, &publisher, &settings).await;
        let heart = tokio::spawn(beat(Arc::clone(&publisher)));
        Self { misp, _rest: rest, publisher, heart, sandbox, relay }
    }

    async fn send(&self, frames: Vec<Frame>) {
        for frame in frames {
            self.publisher.send(&frame.bytes).await;
        }
    }

    /// Adds an event with domains, and publishes it.
    async fn publish(&self, title: &str, tags: &[&str], domains: &[&str]) -> Uuid {
        let event = NewEvent {
            info: title.to_owned(),
            tags: tags.iter().map(|tag| ((*tag).to_owned(), false)).collect(),
            attributes: domains.iter().map(|domain| NewAttribute::new("domain", domain)).collect(),
            ..NewEvent::default()
        };
        let uuid = event.uuid;
        self.send(self.misp.add_event(event)).await;
        self.send(self.misp.publish(uuid)).await;
        uuid
    }
}

async fn beat(publisher: Arc<Publisher>) {
    for uptime in 1.. {
        publisher.send_heartbeat(uptime).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What the browser complains of: a script that was refused, a file that was not found.
async fn nothing_is_complained_of(browser: &Browser) {
    assert_eq!(browser.console().await, [""; 0]);
    assert_eq!(browser.value("document.scripts.length").await, 0);
}

async fn nothing_is_wider_than_the_window(browser: &Browser) {
    let [content, window] = [
        browser.value("document.documentElement.scrollWidth").await,
        browser.value("window.innerWidth").await,
    ];
    assert!(content.as_u64() <= window.as_u64() && window == 360, "{content} of {window}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_arrives_without_a_click() {
    let Some(browser) = Browser::start().await else { return };
    let setup = Setup::with(&[]).await;
    let address = setup.relay.page_address(1).await;
    browser.look(DESKTOP, false).await;
    browser.open(&address).await;
    browser.wait_for("None since").await;
    browser.wait_for("Connected, nothing received yet").await;
    browser.wait_for("caught up").await;
    browser.picture("first-start", DESKTOP, false).await;
    nothing_is_complained_of(&browser).await;

    setup
        .publish(
            "OSINT: infrastructure of a phishing kit",
            &["tlp:clear"],
            &["login.evil.example", "cdn.evil.example"],
        )
        .await;
    setup.publish("Incident 2026-117, under embargo", &["tlp:amber"], &["c2.evil.example"]).await;
    browser.wait_for("3 / 3").await;
    browser.wait_for("sandbox after").await;
    browser.picture("healthy-desktop", DESKTOP, false).await;
    browser.picture("healthy-dark", DESKTOP, true).await;
    setup.publish(ATTACK, &["tlp:green"], &["attack.evil.example"]).await;
    // Nobody touches the page: it loads itself again.
    let text = browser.wait_for(ATTACK).await;
    assert!(text.contains("title hidden (TLP:AMBER)") && !text.contains("under embargo"), "{text}");
    let text = browser.wait_for("4 / 4").await;
    assert!(text.contains("All is well"), "{text}");
    assert_ne!(browser.value("document.title").await, "attacked");
    nothing_is_complained_of(&browser).await;
    browser.look(DESKTOP, true).await;
    let paper = browser.value("getComputedStyle(document.body).backgroundColor").await;
    assert_eq!(paper, "rgb(15, 20, 25)");
    browser.picture("healthy-phone", PHONE, false).await;
    nothing_is_wider_than_the_window(&browser).await;

    browser.look(PHONE, false).await;
    browser.open(&format!("{address}/search?q=login.evil.example")).await;
    browser.wait_for("In Sentinel: accepted").await;
    browser.wait_for("delivered: Sentinel accepted it").await;
    nothing_is_wider_than_the_window(&browser).await;
    browser.picture("search-phone", PHONE, false).await;
    browser.picture("search-desktop", DESKTOP, false).await;
    nothing_is_complained_of(&browser).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_relay_in_trouble_says_what_helps() {
    let Some(browser) = Browser::start().await else { return };
    let mut setup = Setup::with(&[]).await;
    setup.publish("OSINT: a campaign", &["tlp:clear"], &["evil.example"]).await;
    browser.look(DESKTOP, false).await;
    browser.open(&setup.relay.page_address(1).await).await;
    browser.wait_for("1 / 1").await;
    // The relay is started again while MISP's feed is down.
    setup.heart.abort();
    assert!((&mut setup.heart).await.is_err(), "the heart beats on");
    Arc::get_mut(&mut setup.publisher).unwrap().stop();
    setup.relay.stop();
    setup.relay.restart_alone().await;
    let address = setup.relay.page_address(2).await;
    browser.open(&address).await;
    browser.wait_for("not connected").await;
    let text = browser.wait_for("None since").await;
    assert!(text.contains("1 thing degraded: the way from MISP"), "{text}");
    assert!(text.contains("by catch-up over REST, by itself"), "{text}");
    assert!(text.contains("misp-sentinel-relay check"), "{text}");
    browser.picture("degraded-desktop", DESKTOP, false).await;
    browser.picture("degraded-dark", DESKTOP, true).await;
    browser.picture("degraded-phone", PHONE, false).await;
    nothing_is_wider_than_the_window(&browser).await;
    nothing_is_complained_of(&browser).await;
}

/// What the quota lets leave only later is told with its size and its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_told_with_its_end() {
    let Some(browser) = Browser::start().await else { return };
    let setup = Setup::with(&[("MSR_DELIVERY__QUOTA_REQUESTS", "2")]).await;
    let domains: Vec<String> = (0..900).map(|number| format!("host-{number}.example")).collect();
    let domains: Vec<&str> = domains.iter().map(String::as_str).collect();
    setup.publish("OSINT: a large campaign", &["tlp:clear"], &domains).await;
    browser.look(DESKTOP, false).await;
    browser.open(&setup.relay.page_address(1).await).await;
    let text = browser.wait_for("by the quota").await;
    assert!(text.contains("objects wait, about"), "{text}");
    assert!(text.contains("of 2 requests used in the last 60 s"), "{text}");
    for (name, size, is_dark) in [
        ("backlog-desktop", DESKTOP, false),
        ("backlog-dark", DESKTOP, true),
        ("backlog-phone", PHONE, false),
    ] {
        browser.picture(name, size, is_dark).await;
    }
    nothing_is_wider_than_the_window(&browser).await;
    nothing_is_complained_of(&browser).await;
}

/// What MISP took back is named, and stands out among the last events.
#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_told_by_name() {
    let Some(browser) = Browser::start().await else { return };
    let setup = Setup::with(&[]).await;
    setup.publish("OSINT: a campaign", &["tlp:clear"], &["evil.example", "cdn.example"]).await;
    let mistaken = setup.publish("A mistake", &["tlp:green"], &["intranet.example"]).await;
    let secret = setup.publish("Incident 2026-117", &["tlp:amber"], &["c2.example"]).await;
    browser.look(DESKTOP, false).await;
    browser.open(&setup.relay.page_address(1).await).await;
    browser.wait_for("4 / 4").await;
    for event in [mistaken, secret] {
        setup.send(setup.misp.delete_event(event)).await;
    }
    let text = browser.wait_for("not back since: 2 indicators.").await;
    assert!(text.contains("[domain-name:value = 'intranet.example']"), "{text}");
    assert!(text.contains("value hidden (TLP:AMBER") && !text.contains("c2.example"), "{text}");
    browser.wait_for("event deleted").await;
    browser.picture("withdrawal-desktop", DESKTOP, false).await;
    browser.picture("withdrawal-phone", PHONE, false).await;
    nothing_is_wider_than_the_window(&browser).await;
    nothing_is_complained_of(&browser).await;
}

/// A value that Sentinel refuses is counted on the overview, and a search tells why it is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_value_is_told_with_what_helps() {
    let Some(browser) = Browser::start().await else { return };
    let setup = Setup::with(&[("MSR_ADMIN__SHOW_TLP", "red")]).await;
    setup.sandbox.reject_where(|object| {
        let is_refused = object["pattern"].as_str().is_some_and(|one| one.contains("bad.example"));
        is_refused.then(|| "Error for Property=pattern: the pattern is not valid.".to_owned())
    });
    setup.publish("OSINT: a campaign", &["tlp:clear"], &["evil.example", "bad.example"]).await;
    let address = setup.relay.page_address(1).await;
    browser.look(DESKTOP, false).await;
    browser.open(&address).await;
    let text = browser.wait_for("Sentinel rejected 1 object").await;
    assert!(text.contains("retry-rejected --target sandbox"), "{text}");
    assert!(text.contains("the pattern is not valid"), "{text}");
    browser.picture("refused-desktop", DESKTOP, false).await;
    browser.picture("refused-phone", PHONE, false).await;
    nothing_is_wider_than_the_window(&browser).await;
    browser.look(DESKTOP, false).await;
    // The id that is named as rejected leads to its value.
    let way =
        browser.value("document.querySelector('.trouble a[href*=\"indicator--\"]').href").await;
    browser.open(way.as_str().unwrap()).await;
    let text = browser.wait_for("the pattern is not valid").await;
    assert!(text.contains("bad.example"), "{text}");
    browser.picture("refused-search", DESKTOP, false).await;
    nothing_is_complained_of(&browser).await;
}
