//! Checks the rules that concern several keys of the configuration. A rule is skipped if one of its keys
//! already has a mistake.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::layers::variable;
use super::listeners;
use super::mistake::Problem;
use super::reader::Reader;
use super::secret::Secret;
use super::sightings;
use super::unreadable::why_unreadable;
use super::values::uuid;
use super::{Config, Proof, Rest, Source, Target, Webhook};
use crate::pure::convert;
use crate::pure::policy::{Policy, Tlp};

const SHORTEST_SECRET: usize = 16;
const SENTINEL_WINDOW: Duration = Duration::from_secs(60);
/// The domains of Microsoft's clouds. Endpoints below them enforce Microsoft's limits.
const MICROSOFT: [&str; 4] = [".azure.com", ".azure.us", ".azure.cn", ".azure-api.net"];

pub(super) fn across(config: &Config, reader: &mut Reader) {
    for source in &config.sources {
        reader.of_source(source.own_name(), |reader| of_source(source, config, reader));
    }
    several_sources(config, reader);
    admin(config, reader);
    order(config, reader);
    azure_authorities(config, reader);
    expiry(config, reader);
    shared_hosts(config, reader);
    quota(config, reader);
    targets(config, reader);
    tenants(config, reader);
}

fn of_source(source: &Source, config: &Config, reader: &mut Reader) {
    intakes(source, reader);
    webhook(source, config, reader);
    order_of_source(source, reader);
    files(source, reader);
    search(source, reader);
    if let Some(telling) = &source.telling {
        let targets = config.targets.iter().map(|target| target.name.as_str());
        sightings::check(telling, source.rest.is_some(), targets, reader);
    }
}

fn intakes(source: &Source, reader: &mut Reader) {
    if source.rest.is_some() || !reader.sound("misp.key") || !source.enabled {
        return;
    }
    if !source.zeromq.endpoints.is_empty() {
        return;
    }
    let hint = if source.webhook.is_some() {
        "a webhook only announces: an event is sent once the ZeroMQ feed or, with misp.key, a REST read confirms it"
    } else if reader.sound("misp.webhook.listen") {
        "the relay needs MISP's ZeroMQ feed to listen to, or misp.key to ask with"
    } else {
        return;
    };
    reader.missing("misp.zeromq.endpoints", hint);
}

fn webhook(source: &Source, config: &Config, reader: &mut Reader) {
    const SECRET: &str = "misp.webhook.secret";
    let Some(webhook) = &source.webhook else { return };
    listeners::beside_admin(webhook, config, reader);
    if !webhook.secret.is_given() {
        reader.missing(SECRET, "whoever reaches the webhook could publish");
    }
    long_enough(reader, SECRET, &webhook.secret);
}

/// Checks what only matters where there are several sources.
fn several_sources(config: &Config, reader: &mut Reader) {
    if !config.sources.iter().any(|source| source.enabled) {
        let problem =
            Problem::new("no source is enabled").hint("set enabled = true in one of them");
        reader.fault("source", problem);
    }
    listeners::shared(config, reader);
    if config.sources.len() > 1 {
        groups_without_uuid(config, reader);
    }
    strange_sources(config, reader);
}

/// Each policy with the beginning of its keys: that of each target, and the common one.
fn policies(config: &Config) -> impl Iterator<Item = (String, &Policy)> {
    let of_target = |one: &Target| format!("target.{}.policy.", one.name);
    let of_targets = config.targets.iter().map(move |one| (of_target(one), &one.policy));
    of_targets.chain([("policy.".to_owned(), &config.policy)])
}

/// Refuses names of sources in policies that no source has.
fn strange_sources(config: &Config, reader: &mut Reader) {
    let known: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    for (section, policy) in policies(config) {
        let lists =
            [("sources", &policy.sources), ("warninglists_from", &policy.warninglists_from)];
        for (leaf, names) in lists {
            let key = format!("{section}{leaf}");
            // A target that takes over the common list has no mistake of its own.
            let is_own = section == "policy." || reader.is_set(&key);
            let strange = names.iter().find(|name| !known.contains(&name.as_str()));
            if let Some(strange) = strange.filter(|_| is_own) {
                let problem = Problem::new("no source has this name").allowed(known.join(", "));
                reader.fault(&key, problem.value(strange));
            }
        }
    }
}

/// Refuses MISP's numbers and names of sharing groups: another MISP has other groups of the same number or name.
fn groups_without_uuid(config: &Config, reader: &mut Reader) {
    for (section, policy) in policies(config) {
        let key = format!("{section}sharing_groups");
        let groups = policy.sharing_groups.iter();
        let others: Vec<&str> =
            groups.filter(|one| uuid(one).is_err()).map(String::as_str).collect();
        // A target that takes over the common list has no mistake of its own.
        if others.is_empty() || section != "policy." && !reader.is_set(&key) {
            continue;
        }
        let problem =
            Problem::new("each of several MISPs has its own numbers and names of sharing groups");
        let problem = problem
            .value(&others.join(", "))
            .hint("write their uuids; MISP shows them under Global Actions, List Sharing Groups");
        reader.fault(&key, problem);
    }
}

fn admin(config: &Config, reader: &mut Reader) {
    long_enough(reader, "admin.token", &config.admin.token);
}

/// Refuses a secret that could be guessed.
fn long_enough(reader: &mut Reader, key: &str, secret: &Secret) {
    let length = secret.expose().chars().count();
    // Of one that lies in a vault, the length is checked when it has been read.
    if secret.is_given() && !secret.is_unread() && length < SHORTEST_SECRET && reader.sound(key) {
        let problem = Problem::new("too short")
            .allowed(format!("at least {SHORTEST_SECRET} characters"))
            .hint("for example the output of: openssl rand -hex 24");
        reader.fault(key, problem);
    }
}

/// Checks that no part is larger than the whole, and no shortest time longer than the longest.
fn order(config: &Config, reader: &mut Reader) {
    let Config { delivery, .. } = config;
    let (min, max) = (delivery.backoff_min, delivery.backoff_max);
    not_above(reader, "delivery", ("backoff_min", min), ("backoff_max", max));
}

fn order_of_source(source: &Source, reader: &mut Reader) {
    let Source { zeromq, webhook, rest, .. } = source;
    let (frame, waiting) = (zeromq.max_frame, zeromq.max_waiting);
    not_above(reader, "misp.zeromq", ("max_frame", frame), ("max_waiting", waiting));
    if let Some(Webhook { max_body, max_total, .. }) = webhook {
        not_above(reader, "misp.webhook", ("max_body", max_body), ("max_total", max_total));
    }
    if let Some(Rest { backoff_min, backoff_max, read_back_after, read_back_within, .. }) = rest {
        let (min, max) = (("backoff_min", backoff_min), ("backoff_max", backoff_max));
        not_above(reader, "misp.rest", min, max);
        let within = ("read_back_within", read_back_within);
        not_above(reader, "misp.rest", ("read_back_after", read_back_after), within);
    }
}

fn azure_authorities(config: &Config, reader: &mut Reader) {
    if let Some(file) = &config.azure.ca_file {
        opens(reader, "azure.ca_file", file);
    }
}

/// Checks that all files of a source can be opened.
fn files(source: &Source, reader: &mut Reader) {
    let tls = source.webhook.as_ref().and_then(|webhook| webhook.tls.as_ref());
    let files = [
        ("misp.webhook.tls_certificate", tls.map(|tls| &tls.certificate)),
        ("misp.webhook.tls_key", tls.map(|tls| &tls.key)),
        ("misp.ca_file", source.rest.as_ref().and_then(|rest| rest.ca_file.as_ref())),
    ];
    for (key, file) in files.into_iter().filter_map(|(key, file)| Some((key, file?))) {
        opens(reader, key, file);
    }
}

fn opens(reader: &mut Reader, key: &str, file: &Path) {
    if let Err(error) = File::open(file) {
        reader.unreadable(key, file, why_unreadable(&error));
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

/// The key without which only the feed tells of MISP.
const KEY: &str = "misp.key";

/// Checks that there is a key for what only MISP's REST API can answer.
fn search(source: &Source, reader: &mut Reader) {
    if source.rest.is_none() && !source.search.is_empty() {
        reader.missing(KEY, "misp.search is set, and only MISP can say what it finds");
    }
}

/// Checks that some MISP can tell its warninglists, if the policy needs them.
fn shared_hosts(config: &Config, reader: &mut Reader) {
    if config.has_key() {
        return;
    }
    let mut policies = config.targets.iter().map(|target| &target.policy);
    if policies.any(|policy| !policy.shared_host_lists.is_empty()) {
        let hint = "policy.shared_host_lists is set, and only MISP knows what is on its lists";
        let first = config.sources.first().and_then(Source::own_name);
        reader.of_source(first, |reader| reader.missing(KEY, hint));
    }
}

fn quota(config: &Config, reader: &mut Reader) {
    const WINDOW: &str = "delivery.quota_window";
    let delivery = &config.delivery;
    // A shorter window is only for tests against a stand-in. Sentinel itself would answer 429.
    let short = delivery.quota_window < SENTINEL_WINDOW && reader.sound(WINDOW);
    let real = live(config).find(|target| {
        let host = target.endpoint.split('/').nth(2).unwrap_or_default();
        MICROSOFT.iter().any(|domain| host.ends_with(domain))
    });
    if let (true, Some(target)) = (short, real) {
        let Target { name, endpoint, .. } = target;
        let problem = format!("too short for {endpoint}, which target {name} uses");
        let value = humantime::format_duration(delivery.quota_window).to_string();
        reader.refuse(WINDOW, &value, "60s or more", problem);
    }
}

fn targets(config: &Config, reader: &mut Reader) {
    if !config.has_unread_tenants && !config.targets.iter().any(|target| target.enabled) {
        let (none, some) = (
            "write a section [target.NAME], e.g. [target.sentinel]",
            "set enabled = true in one of them",
        );
        let hint = if config.targets.is_empty() { none } else { some };
        reader.fault("target", Problem::new("no target is enabled").hint(hint));
    }
    let live: Vec<&Target> = live(config).filter(|target| !target.workspace_id.is_nil()).collect();
    for (place, target) in live.iter().enumerate() {
        let first = live.iter().take(place).find(|one| is_one_place(one, target));
        let Some(first) = first else { continue };
        let problem = format!("the same workspace and sourcesystem as target {}", first.name);
        let hint = "they would overwrite each other: remove one, or give it another sourcesystem";
        let problem = Problem::new(problem).value(&target.workspace_id.to_string()).hint(hint);
        reader.fault(&format!("target.{}.workspace_id", target.name), problem);
    }
}

/// Returns the tenant in which a target signs in. Empty: the tenant of the machine, or of `az login`. `None`:
/// the credential needs a tenant and none is set. That is a mistake of its own if the target is live.
fn tenant(target: &Target) -> Option<String> {
    let tenant = target.credential.tenant_id.to_ascii_lowercase();
    let is_machines =
        matches!(target.credential.proof, Proof::ManagedIdentity(_) | Proof::AzureCli);
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
        let (variable, count) = (variable(&key), tenants.len());
        let hint = format!(
            "AMBER+STRICT must not reach other organisations than yours: decide for each target, e.g. \"amber\" for a client's workspace; set {key}, or {variable} in the environment"
        );
        let problem = format!("required, and not set: the targets lie in {count} tenants");
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
    config.targets.iter().filter(|target| target.is_live())
}

/// Notes a mistake if the value of `part` is larger than that of `whole`. Each is a key of the section with
/// its value.
fn not_above<T: PartialOrd>(
    reader: &mut Reader,
    section: &str,
    (part, smaller): (&str, T),
    (whole, larger): (&str, T),
) {
    let (part, whole) = (format!("{section}.{part}"), format!("{section}.{whole}"));
    if smaller > larger && reader.sound(&part) && reader.sound(&whole) {
        // The mistake is reported at the key that the operator set, and not at a default.
        let changed = if reader.is_set(&part) { &part } else { &whole };
        reader.fault(changed, format!("{part} is larger than {whole}"));
    }
}
