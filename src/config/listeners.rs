//! Checks the addresses on which the relay listens. The admin listener has one of its own. The webhooks of several
//! sources may share one: then each has a path of its own, and what belongs to the listener is the same in all.

use std::net::SocketAddr;

use super::mistake::Problem;
use super::reader::Reader;
use super::{Config, Source, Webhook};

const LISTEN: &str = "misp.webhook.listen";
const PATH: &str = "misp.webhook.path";

/// Returns whether two listeners would need the same port. Port 0 stands for any free port.
fn is_one_port(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    overlap && one.port() == other.port() && one.port() != 0
}

/// Checks the webhook of a source beside the admin listener.
pub(super) fn beside_admin(webhook: &Webhook, config: &Config, reader: &mut Reader) {
    if is_one_port(webhook.listen, config.admin.listen) && reader.sound(LISTEN) {
        let problem = Problem::new("admin.listen has the same port");
        reader.fault(LISTEN, problem.hint("choose another port for one of them"));
    }
}

/// Checks the webhooks of several sources beside each other.
pub(super) fn shared(config: &Config, reader: &mut Reader) {
    let webhooks: Vec<(&Source, &Webhook)> = config
        .enabled_sources()
        .filter_map(|source| Some((source, source.webhook.as_ref()?)))
        .collect();
    for (place, (source, webhook)) in webhooks.iter().enumerate() {
        let earlier = webhooks.iter().take(place);
        for (first, other) in earlier.filter(|(_, one)| is_one_port(one.listen, webhook.listen)) {
            reader.of_source(source.own_name(), |reader| pair(webhook, first, other, reader));
        }
    }
}

/// Checks the webhook of the source that is read now beside that of another source, which has the same port.
fn pair(webhook: &Webhook, first: &Source, other: &Webhook, reader: &mut Reader) {
    let theirs = |leaf: &str| first.key_of(&format!("webhook.{leaf}"));
    if webhook.listen != other.listen {
        let problem = format!("{} has the same port at another address", theirs("listen"));
        let hint = "write the same address in both, and a path of its own for each, or choose another port for one of them";
        once(LISTEN, Problem::new(problem).hint(hint), reader);
        return;
    }
    if webhook.path == other.path {
        let problem = format!("{} is the same, at the same address", theirs("path"));
        let hint = "sources that share an address need a path of their own each, e.g. \"/own\" and \"/sector\"";
        once(PATH, Problem::new(problem).value(&webhook.path).hint(hint), reader);
    }
    let (tls, their_tls) = (webhook.tls.as_ref(), other.tls.as_ref());
    let differs = [
        ("answer_within", webhook.answer_within != other.answer_within),
        (
            "tls_certificate",
            tls.map(|tls| &tls.certificate) != their_tls.map(|tls| &tls.certificate),
        ),
        ("tls_key", tls.map(|tls| &tls.key) != their_tls.map(|tls| &tls.key)),
    ];
    for (leaf, _) in differs.into_iter().filter(|(_, differs)| *differs) {
        let own = format!("misp.webhook.{leaf}");
        // The mistake is reported at the key that the operator set, and not at a default.
        let (key, than) = if reader.is_set(&own) || !reader.is_set(&theirs(leaf)) {
            (own, theirs(leaf))
        } else {
            (theirs(leaf), format!("{}.webhook.{leaf}", reader.source_section()))
        };
        let problem = format!("differs from {than}, and both share one listener");
        let hint = "write the same in both, or choose another port for one of them";
        once(&key, Problem::new(problem).hint(hint), reader);
    }
}

/// Notes a mistake, unless the key has one already.
fn once(key: &str, problem: Problem, reader: &mut Reader) {
    if reader.sound(key) {
        reader.fault(key, problem);
    }
}
