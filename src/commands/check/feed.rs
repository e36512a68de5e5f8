//! Checks the two ways in which MISP pushes changes to the relay: the ZeroMQ feed and the workflow webhook.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::diagnosis::{Diagnosis, Subject};
use super::listener;
use super::misp::{self, set};
use crate::config::{Source, Webhook, ZeroMq};
use crate::intake::frame;
use crate::intake::zmq::{FeedSocket, Received, Socket, SocketError};
use crate::misp_api::MispClient;

const ZEROMQ: &str = "zeromq";
const WEBHOOK: &str = "webhook";

/// The switch of the feed itself. On its own it brings publications only.
const FEED: &str = "Plugin.ZeroMQ_enable";

/// The switches in MISP, of which each adds messages to the feed.
const SWITCHES: [&str; 7] = [
    FEED,
    "Plugin.ZeroMQ_event_notifications_enable",
    "Plugin.ZeroMQ_object_notifications_enable",
    "Plugin.ZeroMQ_attribute_notifications_enable",
    "Plugin.ZeroMQ_tag_notifications_enable",
    "Plugin.ZeroMQ_sighting_notifications_enable",
    "Plugin.ZeroMQ_warninglist_notifications_enable",
];

/// A refused connection: nothing listens there. The remedy depends on MISP's settings, which are read later.
pub(super) struct ConnectionRefused {
    endpoint: String,
    words: String,
}

impl ConnectionRefused {
    /// Makes a diagnosis. `off` are the switches that are off in MISP; `None` if the key may not see them.
    fn diagnosis(self, off: Option<&[&str]>) -> Diagnosis {
        const START: &str = "start MISP's publisher (Administration > Server Settings & Maintenance > Diagnostics, ZeroMQ; it ends when its Redis does: app/tmp/logs/mispzmq.error.log)";
        const PORT: &str = "check the port, and that it is published or in the relay's network";
        let set = set(&[FEED, "Plugin.ZeroMQ_host=0.0.0.0"]);
        let remedy = match off.map(|off| off.contains(&FEED)) {
            Some(true) => format!("{set}; then {PORT}"),
            Some(false) => format!("{FEED} is on, so {START}; and {PORT}"),
            None => format!("{START}; if the feed was never on, {set}; and {PORT}"),
        };
        Subject(ZEROMQ, &self.endpoint).error(self.words, remedy)
    }
}

pub(super) type Heard = Result<Diagnosis, ConnectionRefused>;

/// Connects to each publisher, and waits until it sends anything.
pub(super) async fn zeromq(config: ZeroMq, wait: Duration) -> Vec<Heard> {
    if config.endpoints.is_empty() {
        let words = "misp.zeromq.endpoints is empty: news comes by catch-up only";
        return vec![Ok(Subject(ZEROMQ, "").note(words))];
    }
    let looks = config.endpoints.iter().map(|endpoint| listen(endpoint, &config, wait));
    futures::future::join_all(looks).await
}

async fn listen(endpoint: &str, config: &ZeroMq, wait: Duration) -> Heard {
    let mechanism = if config.credentials.is_some() { "PLAIN" } else { "NULL" };
    let mut socket = match Socket::connect(endpoint, FeedSocket::Others.prefix(), config).await {
        Ok(socket) => socket,
        Err(error) => return not_connected(endpoint, &error),
    };
    let (subject, begun) = (Subject(ZEROMQ, endpoint), Instant::now());
    Ok(match timeout_at((begun + wait).into(), socket.next()).await {
        Ok(Ok(Received::Frame(frame) | Received::TooLarge { start: frame, .. })) => {
            let topic = frame::topic(&frame).unwrap_or("a frame without a topic");
            // The topic comes from outside and may be of any length.
            let topic: String = topic.chars().take(64).collect();
            let after = begun.elapsed().as_secs_f64();
            subject.ok(format!("connected ({mechanism}), heard {topic} after {after:.1} s"))
        }
        Ok(Err(error)) => return not_connected(endpoint, &error),
        Err(_) => {
            let wait = humantime::format_duration(wait);
            let seen = format!(
                "connected ({mechanism}), but nothing was heard for {wait}; MISP says something at least every 10 s"
            );
            let remedy = "see that MISP's publisher runs and reaches its Redis: app/tmp/logs/mispzmq.error.log, and Plugin.ZeroMQ_redis_host, _port and _password";
            subject.error(seen, remedy)
        }
    })
}

fn not_connected(endpoint: &str, error: &SocketError) -> Heard {
    let (subject, words) = (Subject(ZEROMQ, endpoint), error.to_string());
    if let SocketError::Unreachable(error) = error {
        if error.kind() == ErrorKind::ConnectionRefused {
            return Err(ConnectionRefused { endpoint: endpoint.to_owned(), words });
        }
        let remedy = "check misp.zeromq.endpoints, the DNS of this machine (in a container, its network), and firewalls";
        return Ok(subject.error(words, remedy));
    }
    // The socket's error names after a colon what to compare.
    let publisher = "see that MISP's publisher runs: app/tmp/logs/mispzmq.error.log";
    let (seen, remedy) = words.split_once(": ").unwrap_or((&words, publisher));
    Ok(subject.error(seen, remedy))
}

/// Returns the findings on what was heard. For what was not, MISP's settings decide the remedy.
pub(super) async fn heard(
    source: &Source,
    heard: impl Iterator<Item = Heard>,
    misp: Option<&MispClient>,
) -> Vec<Diagnosis> {
    // Without endpoints, it does not matter what MISP publishes.
    let asked = misp.filter(|_| !source.zeromq.endpoints.is_empty());
    let off = match asked {
        // `None` if the key may not see MISP's settings.
        Some(client) => misp::settings(client, SWITCHES).await,
        None => None,
    };
    let heard = heard.map(|heard| heard.unwrap_or_else(|one| one.diagnosis(off.as_deref())));
    heard.chain(asked.map(|_| topics(off.as_deref()))).collect()
}

/// Returns which topics MISP publishes, as far as the key may see its settings.
fn topics(off: Option<&[&str]>) -> Diagnosis {
    let subject = Subject(ZEROMQ, "topics");
    let Some(off) = off else {
        let switches = SWITCHES.join(", ");
        return subject.note(format!("this key may not see MISP's settings (a site administrator's may); withdrawals arrive at once only with these on: {switches}"));
    };
    if off.contains(&FEED) {
        let seen = format!(
            "{FEED} is off in MISP: its publisher may still say that it lives, and publishes nothing"
        );
        return subject.error(seen, set(off));
    }
    if off.is_empty() {
        return subject.ok("all that the relay listens to are on");
    }
    let names = off.join(", ");
    let seen =
        format!("off in MISP: {names}; what they would tell waits for the next catch-up or resync");
    subject.warning(seen, set(off))
}

/// Checks the listener, or the place where it will be, and whether MISP may call it.
pub(super) async fn webhook(
    webhook: &Webhook,
    key: &str,
    is_running: bool,
    misp: Option<&MispClient>,
) -> Vec<Diagnosis> {
    /// The settings that MISP needs: leave to call any address; background jobs, in which workflows run; and
    /// misp-modules, which render the module's URL (without them MISP says "URL not provided").
    const NEEDED: [&str; 3] = [
        "Security.rest_client_enable_arbitrary_urls",
        "MISP.background_jobs",
        "Plugin.Enrichment_services_enable",
    ];
    let needed = NEEDED.join(", ");
    let place = webhook.place();
    let subject = Subject(WEBHOOK, &place);
    let mut findings = vec![listener::look(subject, key, webhook.listen, is_running).await];
    let Some(client) = misp else { return findings };
    let subject = Subject(WEBHOOK, "MISP");
    findings.push(match misp::settings(client, NEEDED).await {
        None => subject.note(format!("this key may not see whether these are on, without which MISP calls none: {needed}; misp-modules must also run")),
        Some(off) if off.is_empty() => subject.ok(format!("on in MISP: {needed}; misp-modules must also run, or MISP logs \"URL not provided\"")),
        Some(off) => {
            let names = off.join(", ");
            let seen = format!("off in MISP: {names}; without it MISP's workflows call no webhook (misp-modules render its URL: \"URL not provided\")");
            subject.warning(seen, set(&off))
        }
    });
    findings
}
