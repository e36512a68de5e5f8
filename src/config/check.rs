//! Checks the rules that concern several keys of the configuration. A rule is skipped if one of its keys
//! already has a mistake.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::layers::variable;
use super::mistake::Problem;
use super::reader::Reader;
use super::{Config, Credential, Mode, Target};
use crate::pure::convert;
use crate::pure::policy::Tlp;

const SHORTEST_SECRET: usize = 16;
const SENTINEL_WINDOW: Duration = Duration::from_secs(60);
/// The domains of Microsoft's clouds. Endpoints below them enforce Microsoft's limits.
const MICROSOFT: [&str; 4] = [".azure.com", ".azure.us", ".azure.cn", ".azure-api.net"];

pub(super) fn across(config: &Config, reader: &mut Reader) {
    intakes(config, reader);
    webhook(config, reader);
    memory(config, reader);
    expiry(config, reader);
    rest(config, reader);
    delivery(config, reader);
    targets(config, reader);
    tenants(config, reader);
}

fn intakes(config: &Config, reader: &mut Reader) {
    if config.misp.rest.is_some() || !reader.sound("misp.key") {
        return;
    }
    let (endpoints, listen) = ("misp.zeromq.endpoints", "misp.webhook.listen");
    let none = config.misp.zeromq.endpoints.is_empty() && config.misp.webhook.is_none();
    let unconfirmed = config.misp.zeromq.endpoints.is_empty() && config.misp.webhook.is_some();
    if unconfirmed {
        reader.missing(
            endpoints,
            "a webhook only announces: an event is sent once the ZeroMQ feed or, with misp.key, a \
             REST read confirms it",
        );
    }
    if none && reader.sound(listen) {
        reader.missing(
            endpoints,
            "the relay needs MISP's ZeroMQ feed to listen to, or misp.key to ask with",
        );
    }
}

/// Returns whether two listeners would need the same port. Port 0 stands for any free port.
fn is_one_port(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    overlap && one.port() == other.port() && one.port() != 0
}

fn webhook(config: &Config, reader: &mut Reader) {
    const SECRET: &str = "misp.webhook.secret";
    const LISTEN: &str = "misp.webhook.listen";
    let Some(webhook) = &config.misp.webhook else { return };
    if is_one_port(webhook.listen, config.admin.listen) && reader.sound(LISTEN) {
        let problem = Problem::new("admin.listen has the same port");
        reader.fault(LISTEN, problem.hint("choose another port for one of them"));
    }
    let length = webhook.secret.expose().chars().count();
    if webhook.secret.is_unread() {
        // The length is checked again when the vault has been read.
    } else if length == 0 {
        reader.missing(SECRET, "whoever reaches the webhook could publish");
    } else if length < SHORTEST_SECRET && reader.sound(SECRET) {
        let problem = Problem::new("too short")
            .allowed(format!("at least {SHORTEST_SECRET} characters"))
            .hint("for example the output of: openssl rand -hex 24");
        reader.fault(SECRET, problem);
    }
    if let Some(tls) = &webhook.tls {
        readable(reader, "misp.webhook.tls_certificate", &tls.certificate);
        readable(reader, "misp.webhook.tls_key", &tls.key);
    }
}

/// Checks that no part is larger than the whole.
fn memory(config: &Config, reader: &mut Reader) {
    let zeromq = &config.misp.zeromq;
    let frame = ("misp.zeromq.max_frame", zeromq.max_frame);
    not_above(reader, frame, ("misp.zeromq.max_waiting", zeromq.max_waiting));
    if let Some(webhook) = &config.misp.webhook {
        let body = ("misp.webhook.max_body", webhook.max_body);
        not_above(reader, body, ("misp.webhook.max_total", webhook.max_total));
    }
    if let Some(file) = &config.azure.ca_file {
        readable(reader, "azure.ca_file", file);
    }
}

fn expiry(config: &Config, reader: &mut Reader) {
    let expiry = &config.rendering.expiry;
    if expiry.renew && !expiry.renews() && reader.sound("expiry.from") {
        let hint = "set expiry.from = \"first_seen_by_relay\", or renew = false: under timestamp and last_seen MISP's own times say how long an indicator holds";
        let problem = Problem::new("only what is counted from first_seen_by_relay can be renewed");
        reader.fault("expiry.renew", problem.value("true").hint(hint));
    }
    // Observable types are a closed set, so the setting for another type would have no effect.
    let observables = observables();
    for path in expiry.days.keys() {
        let kind = path.split(':').next().unwrap_or_default();
        if !observables.contains(kind) {
            let allowed = observables.iter().copied().collect::<Vec<_>>().join(", ");
            let problem = Problem::new("no observable type of the relay").allowed(allowed);
            reader.fault(&format!("expiry.days.{path}"), problem);
        }
    }
}

/// Returns the STIX types of the relay's observables, and the languages of rules.
fn observables() -> BTreeSet<&'static str> {
    let paths = convert::types().iter().flat_map(convert::TypeRow::paths);
    paths.filter_map(|path| path.split(':').next()).filter(|kind| *kind != "stix").collect()
}

fn rest(config: &Config, reader: &mut Reader) {
    const KEY: &str = "misp.key";
    let Some(rest) = &config.misp.rest else {
        let mut policies = config.targets.iter().map(|target| &target.policy);
        if policies.any(|policy| !policy.shared_host_lists.is_empty()) {
            let hint = "policy.shared_host_lists is set, and only MISP knows what is on its lists";
            reader.missing(KEY, hint);
        }
        if !config.misp.search.is_empty() {
            reader.missing(KEY, "misp.search is set, and only MISP can say what it finds");
        }
        return;
    };
    let pairs = [
        ("backoff_min", rest.backoff_min, "backoff_max", rest.backoff_max),
        ("read_back_after", rest.read_back_after, "read_back_within", rest.read_back_within),
    ];
    for (part, shorter, whole, longer) in pairs {
        let key = |leaf: &str| format!("misp.rest.{leaf}");
        not_above(reader, (&key(part), shorter), (&key(whole), longer));
    }
    if let Some(file) = &rest.ca_file {
        readable(reader, "misp.ca_file", file);
    }
}

fn delivery(config: &Config, reader: &mut Reader) {
    const WINDOW: &str = "delivery.quota_window";
    let delivery = &config.delivery;
    let least = ("delivery.backoff_min", delivery.backoff_min);
    not_above(reader, least, ("delivery.backoff_max", delivery.backoff_max));
    // A shorter window is only for tests against a stand-in. Sentinel itself would answer 429.
    let short = delivery.quota_window < SENTINEL_WINDOW && reader.sound(WINDOW);
    let real = live(config).find(|target| {
        let host = target.endpoint.split('/').nth(2).unwrap_or_default();
        MICROSOFT.iter().any(|domain| host.ends_with(domain))
    });
    if let (true, Some(target)) = (short, real) {
        let problem =
            format!("too short for {}, which target {} uses", target.endpoint, target.name);
        let value = humantime::format_duration(delivery.quota_window).to_string();
        reader.refuse(WINDOW, &value, "60s or more", problem);
    }
}

fn targets(config: &Config, reader: &mut Reader) {
    if !config.has_unread_tenants && !config.targets.iter().any(|target| target.enabled) {
        let hint = if config.targets.is_empty() {
            "write a section [target.NAME], e.g. [target.soc]"
        } else {
            "set enabled = true in one of them"
        };
        reader.fault("target", Problem::new("no target is enabled").hint(hint));
    }
    let live: Vec<&Target> = live(config).filter(|target| !target.workspace_id.is_nil()).collect();
    for (place, target) in live.iter().enumerate() {
        let Some(first) = live.iter().take(place).find(|one| is_one_place(one, target)) else {
            continue;
        };
        let problem = format!("the same workspace and sourcesystem as target {}", first.name);
        let hint = "they would overwrite each other: remove one, or give it another sourcesystem";
        let problem = Problem::new(problem).value(&target.workspace_id.to_string()).hint(hint);
        reader.fault(&format!("target.{}.workspace_id", target.name), problem);
    }
}

/// Returns the tenant in which a target signs in. Empty: the tenant of the machine, or of `az login`. `None`:
/// the credential needs a tenant and none is set. That is a mistake of its own if the target is live.
fn tenant(target: &Target) -> Option<String> {
    let tenant = target.credential.tenant_id().to_ascii_lowercase();
    let is_machines =
        matches!(target.credential, Credential::ManagedIdentity(_) | Credential::AzureCli { .. });
    Some(tenant).filter(|tenant| is_machines || !tenant.is_empty())
}

/// Demands a `tlp_max` for each target if the targets lie in several tenants. Each workspace may belong to
/// another organisation, so nobody has decided that one common `tlp_max` fits all.
fn tenants(config: &Config, reader: &mut Reader) {
    let enabled = || config.targets.iter().filter(|target| target.enabled);
    let tenants: BTreeSet<String> = enabled().filter_map(tenant).collect();
    if tenants.len() < 2 {
        return;
    }
    for target in enabled() {
        let key = format!("target.{}.policy.tlp_max", target.name);
        if reader.is_set(&key) || !reader.sound(&key) {
            continue;
        }
        let hint = format!(
            "AMBER+STRICT must not reach other organisations than yours: decide for each target, \
             e.g. \"amber\" for a client's workspace; set {key}, or {} in the environment",
            variable(&key)
        );
        let problem =
            format!("required, and not set: the targets lie in {} tenants", tenants.len());
        let allowed = Tlp::ALL.map(Tlp::name).join(", ");
        reader.fault(&key, Problem::new(problem).allowed(allowed).hint(hint));
    }
}

/// Returns whether two targets write to the same place. Different APIs with different URLs can lead there.
fn is_one_place(one: &Target, other: &Target) -> bool {
    one.workspace_id == other.workspace_id
        && one.sourcesystem == other.sourcesystem
        && (one.endpoint == other.endpoint || one.api != other.api)
}

fn live(config: &Config) -> impl Iterator<Item = &Target> {
    config.targets.iter().filter(|target| target.enabled && target.mode == Mode::Live)
}

/// Notes a mistake if the value of `part` is larger than that of `whole`. Each is a key with its value.
fn not_above<T: PartialOrd>(
    reader: &mut Reader,
    (part, smaller): (&str, T),
    (whole, larger): (&str, T),
) {
    if smaller > larger && reader.sound(part) && reader.sound(whole) {
        // The mistake is reported at the key that the operator set, and not at a default.
        let changed = if reader.is_set(part) { part } else { whole };
        reader.fault(changed, format!("{part} is larger than {whole}"));
    }
}

fn readable(reader: &mut Reader, key: &str, file: &std::path::Path) {
    if let Err(error) = std::fs::File::open(file) {
        reader.unreadable(key, file, format!("cannot read the file: {error}"));
    }
}
