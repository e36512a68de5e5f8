//! Warns about settings that are allowed but probably not meant. The warnings are printed at start and by
//! `check-config`.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;

use super::{Config, Rest, Source, looks};
use crate::pure::policy::{OnHit, Policy, loosened};

/// Returns a sentence for each doubtful setting.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.delivery.limits.quota_requests == 0 {
        warnings.push("delivery.quota_requests = 0: no limit, Sentinel will answer 429".to_owned());
    } else if config.delivery.quota_window < Duration::from_secs(60) {
        warnings.push("delivery.quota_window is shorter than Sentinel's 60s".to_owned());
    }
    if config.policy.tlp_untagged.judged() > config.policy.tlp_max {
        let words = "policy.tlp_untagged is stricter than policy.tlp_max: what has no tlp: tag never leaves";
        warnings.push(words.to_owned());
    }
    let policies = config.targets.iter().map(|target| &target.policy).chain([&config.policy]);
    if !config.has_key() && policies.clone().any(|p| p.warninglists != OnHit::Off) {
        let words = "policy.warninglists needs misp.key (of several sources one is enough), without which no warninglists can be read: hits are sent";
        warnings.push(words.to_owned());
    }
    warnings.extend(of_marks("policy", &config.policy));
    for source in &config.sources {
        warnings.extend(of_source(source));
    }
    for target in &config.targets {
        let (name, policy) = (&target.name, &target.policy);
        if *policy != config.policy && policy.tlp_untagged.judged() > policy.tlp_max {
            warnings.push(format!("target.{name}.policy: tlp_untagged is stricter than tlp_max: what has no tlp: tag never leaves"));
        }
        if policy.tlp_tags != config.policy.tlp_tags {
            warnings.extend(of_marks(&format!("target.{name}.policy"), policy));
        }
        if !target.enabled {
            warnings.push(format!("target.{name} is not enabled"));
        }
    }
    warnings.extend(looks::doubts(config));
    if !config.admin.listen.ip().is_loopback() && !config.admin.token.is_given() {
        let words = "admin.listen is not on loopback, and admin.token is not set: every machine that reaches it can read the page and search";
        warnings.push(words.to_owned());
    }
    warnings
}

/// Warns about lines of `tlp_tags` that loosen a restriction. They are allowed, but must not go unnoticed.
fn of_marks(section: &str, policy: &Policy) -> Vec<String> {
    let told = loosened(&policy.tlp_tags).into_iter().map(|decided| {
        let (tag, level, line) = (&decided.tag, decided.counts_as(), &decided.line);
        format!("{section}.tlp_tags: {tag} counts as {level}, by the line {line:?}, which is less strict than the tag says: what is marked so may leave; remove the line unless you mean that")
    });
    told.collect()
}

fn is_this_host(url: &str) -> bool {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

fn of_source(source: &Source) -> Vec<String> {
    if !source.enabled {
        let (section, name) = (&source.section, &source.name);
        return vec![format!(
            "{section}.enabled = false: nothing is read from this MISP, and what it claims stays; `forget-source {name}` ends it"
        )];
    }
    let rest = source.rest.iter();
    rest.flat_map(|rest| of_rest(source, rest)).collect()
}

fn of_rest(source: &Source, rest: &Rest) -> Vec<String> {
    const KEY_LENGTH: usize = 40;
    let key = rest.key.expose();
    let is_usual = rest.key.is_unread()
        || key.len() == KEY_LENGTH && key.chars().all(|c| c.is_ascii_alphanumeric());
    let every = humantime::format_duration(rest.catch_up_every);
    let doubts = [
        (!rest.verify_tls).then(|| {
            format!("{}.verify_tls = false: ANYONE on the way to MISP can read its key and put indicators into Sentinel, or withdraw them; set {0}.ca_file instead", source.section)
        }),
        (rest.url.starts_with("http://") && !is_this_host(&rest.url)).then(|| {
            format!("{}.url is http: the key and all events travel in the clear; use https unless MISP is on this host or in the same private network", source.section)
        }),
        (!is_usual).then(|| format!("{}.key is not 40 letters and digits, as MISP's keys are", source.section)),
        source.zeromq.endpoints.is_empty().then(|| format!("{}.zeromq.endpoints is empty: without the feed news arrives by the webhook, if there is one, and by catch-up every {every}", source.section)),
    ];
    doubts.into_iter().flatten().collect()
}
