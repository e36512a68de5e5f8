//! What MISP pushes: the ZeroMQ feed, and the workflow webhook.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::finding::Finding;
use super::listener;
use super::misp::{self, set};
use crate::config::{Webhook, ZeroMq};
use crate::intake::frame;
use crate::intake::zmq::{Feed, Socket, SocketError};
use crate::rest::Client;

const ZEROMQ: &str = "zeromq";
const WEBHOOK: &str = "webhook";

/// What each switch adds to the feed; publications come with `Plugin.ZeroMQ_enable`.
const SWITCHES: [&str; 6] = [
    "Plugin.ZeroMQ_event_notifications_enable",
    "Plugin.ZeroMQ_object_notifications_enable",
    "Plugin.ZeroMQ_attribute_notifications_enable",
    "Plugin.ZeroMQ_tag_notifications_enable",
    "Plugin.ZeroMQ_sighting_notifications_enable",
    "Plugin.ZeroMQ_warninglist_notifications_enable",
];

/// Connects to each publisher and waits for it to say anything.
pub(super) async fn zeromq(config: ZeroMq, wait: Duration) -> Vec<Finding> {
    if config.endpoints.is_empty() {
        return vec![Finding::note(
            ZEROMQ,
            "",
            "misp.zeromq.endpoints is empty: news comes by catch-up only",
        )];
    }
    let looks = config.endpoints.iter().map(|endpoint| listen(endpoint, &config, wait));
    futures::future::join_all(looks).await
}

async fn listen(endpoint: &str, config: &ZeroMq, wait: Duration) -> Finding {
    let mechanism = if config.credentials.is_some() { "PLAIN" } else { "NULL" };
    let mut socket = match Socket::connect(endpoint, Feed::Others.prefix(), config).await {
        Ok(socket) => socket,
        Err(error) => return not_connected(endpoint, &error),
    };
    let begun = Instant::now();
    match timeout_at((begun + wait).into(), socket.next()).await {
        Ok(Ok(frame)) => {
            let topic = frame::topic(&frame).unwrap_or("a frame without a topic");
            let topic: String = topic.chars().take(64).collect();
            let after = begun.elapsed().as_secs_f64();
            Finding::ok(
                ZEROMQ,
                endpoint,
                format!("connected ({mechanism}), heard {topic} after {after:.1} s"),
            )
        }
        Ok(Err(error)) => not_connected(endpoint, &error),
        Err(_) => Finding::error(
            ZEROMQ,
            endpoint,
            format!(
                "connected ({mechanism}), but nothing was heard for {}; MISP says something at least every 10 s",
                humantime::format_duration(wait)
            ),
            "see that MISP's publisher runs and reaches its Redis: app/tmp/logs/mispzmq.error.log, and Plugin.ZeroMQ_redis_host, _port and _password",
        ),
    }
}

fn not_connected(endpoint: &str, error: &SocketError) -> Finding {
    let words = error.to_string();
    if let SocketError::Unreachable(error) = error {
        if error.kind() != ErrorKind::ConnectionRefused {
            let remedy = "check misp.zeromq.endpoints, the DNS of this machine (in a container, its network), and firewalls";
            return Finding::error(ZEROMQ, endpoint, words, remedy);
        }
        let remedy = format!(
            "{}; and check the port, and that it is published or in the relay's network",
            set(&["Plugin.ZeroMQ_enable", "Plugin.ZeroMQ_host=0.0.0.0"])
        );
        return Finding::error(ZEROMQ, endpoint, words, remedy);
    }
    // The socket's own words name what to compare.
    match words.split_once(": ") {
        Some((seen, remedy)) => Finding::error(ZEROMQ, endpoint, seen, remedy),
        None => Finding::error(
            ZEROMQ,
            endpoint,
            words,
            "see that MISP's publisher runs: app/tmp/logs/mispzmq.error.log",
        ),
    }
}

/// Which topics MISP publishes, as far as the key may see its settings.
pub(super) async fn topics(client: &Client) -> Vec<Finding> {
    const SUBJECT: &str = "topics";
    match misp::settings(client, SWITCHES).await {
        None => vec![Finding::note(
            ZEROMQ,
            SUBJECT,
            format!(
                "this key may not see MISP's settings (a site administrator's may); withdrawals arrive at once only with these on: {}",
                SWITCHES.join(", ")
            ),
        )],
        Some(off) if off.is_empty() => {
            vec![Finding::ok(ZEROMQ, SUBJECT, "all that the relay listens to are on")]
        }
        Some(off) => vec![Finding::warning(
            ZEROMQ,
            SUBJECT,
            format!(
                "off in MISP: {}; what they would tell waits for the next catch-up or resync",
                off.join(", ")
            ),
            set(&off),
        )],
    }
}

/// The listener, or the place where it will be, and MISP's leave to call it.
pub(super) async fn webhook(
    webhook: &Webhook,
    is_running: bool,
    misp: Option<&Client>,
) -> Vec<Finding> {
    const LEAVE: &str = "Security.rest_client_enable_arbitrary_urls";
    let at = ("misp.webhook.listen", webhook.listen);
    let mut findings = vec![listener::look(WEBHOOK, at, is_running).await];
    let Some(client) = misp else { return findings };
    match misp::settings(client, [LEAVE]).await {
        Some(off) if !off.is_empty() => findings.push(Finding::warning(
            WEBHOOK,
            "MISP",
            format!("{LEAVE} is off: MISP calls no webhook"),
            set(&off),
        )),
        Some(_) => findings.push(Finding::ok(WEBHOOK, "MISP", format!("{LEAVE} is on"))),
        None => findings.push(Finding::note(
            WEBHOOK,
            "MISP",
            format!("this key may not see whether {LEAVE} is on, without which MISP calls none"),
        )),
    }
    findings
}
