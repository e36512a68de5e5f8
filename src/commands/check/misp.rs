//! MISP over REST: whose the key is, what it may, and how MISP is set.

use std::collections::BTreeSet;

use chrono::{NaiveDate, Utc};
use reqwest::Url;
use serde_json::Value;
use wildmatch::WildMatch;

use super::finding::Finding;
use crate::config::Config;
use crate::misp_api::{Key, MispClient, RestError};
use crate::pure::policy::OnHit;
use crate::pure::warninglist::{ListHead, ListKind};

/// What the other steps need of it.
#[derive(Debug)]
pub(super) struct Seen {
    pub findings: Vec<Finding>,
    /// `None`: it cannot be asked further.
    pub client: Option<MispClient>,
}

impl Seen {
    /// Nothing more can be asked.
    pub(super) fn nothing(finding: Finding) -> Self {
        Self { findings: vec![finding], client: None }
    }
}

/// Key, role, version and rights.
pub(super) async fn look(client: MispClient, url: &str) -> Seen {
    let key = match client.key().await {
        Ok(key) => key,
        Err(error) => return Seen::nothing(elsewhere(refused("misp", "key", &error), &error, url)),
    };
    let ends =
        "MISP does not tell when an auth key ends: note its date, and change misp.key before it";
    let mut findings = vec![whose(&key), Finding::note("misp", "auth key", ends)];
    findings.extend(expiring(&key, Utc::now().date_naive()));
    match client.version().await {
        Ok(version) => findings.push(Finding::ok("misp", "version", version)),
        Err(error) => findings.push(refused("misp", "version", &error)),
    }
    Seen { findings, client: Some(client) }
}

/// A page of MISP, copied from a browser, is no address of MISP: with a path, what answers is something
/// else.
fn elsewhere(mut finding: Finding, error: &RestError, url: &str) -> Finding {
    let is_something_else = matches!(
        error,
        RestError::Unexpected { .. }
            | RestError::Html { .. }
            | RestError::Malformed { .. }
            | RestError::NotLive { .. }
            | RestError::Redirected { .. }
    );
    let Some(url) = Url::parse(url).ok().filter(|url| url.path() != "/" && is_something_else)
    else {
        return finding;
    };
    let (path, root) = (url.path(), url.origin().ascii_serialization());
    finding.remedy = Some(format!(
        "misp.url has the path {path}: write it only if MISP itself is under it, else set misp.url to {root}"
    ));
    finding
}

/// A user that expires takes its keys along.
fn expiring(key: &Key, today: NaiveDate) -> Option<Finding> {
    const SOON: i64 = 30;
    let expires = key.expires.filter(|day| (*day - today).num_days() <= SOON)?;
    Some(Finding::warning(
        "misp",
        "user",
        format!("the key's user expires on {expires}, and its keys with it"),
        "put its end off in MISP (Administration > List Users), or take the key of another user",
    ))
}

fn whose(key: &Key) -> Finding {
    let sees = match key.view.site_admin {
        true => "a site administrator's key: it sees every event, and so does Sentinel then",
        false => "it sees what its organisation may see",
    };
    let words = format!("{}; {sees}", key.words);
    match key.view.site_admin {
        true => Finding::warning(
            "misp",
            "key",
            words,
            "use a key of a role such as Read Only, unless what is for one organisation only shall leave as well",
        ),
        false => Finding::ok("misp", "key", words),
    }
}

const WARNINGLISTS: &str = "warninglists";

/// The warninglists that are enabled, as far as policy asks for them.
pub(super) async fn warninglists(config: &Config, client: &MispClient) -> Vec<Finding> {
    let used = config.targets.iter().any(|target| target.policy.warninglists != OnHit::Off);
    let names = shared_host_lists(config);
    if !used && names.is_empty() {
        let words = "policy.warninglists = \"off\": nobody looks";
        return vec![Finding::note(WARNINGLISTS, "", words)];
    }
    match client.warninglists().await {
        Ok(lists) => {
            let named = names.iter().map(|name| named_list(name, &lists));
            std::iter::once(enabled(&lists)).chain(named).collect()
        }
        Err(error) => vec![refused(WARNINGLISTS, "", &error)],
    }
}

/// Those that MISP has enabled.
fn enabled(lists: &[ListHead]) -> Finding {
    if lists.is_empty() {
        return Finding::warning(
            WARNINGLISTS,
            "",
            "none is enabled in MISP, so public resolvers and the like reach Sentinel as indicators",
            "enable some in MISP (Input Filters > Warninglists), or set policy.warninglists = \"off\"",
        );
    }
    let entries: u64 = lists.iter().filter_map(|list| list.entries).sum();
    Finding::ok(WARNINGLISTS, "", format!("{} enabled in MISP, {entries} entries", lists.len()))
}

fn shared_host_lists(config: &Config) -> BTreeSet<&str> {
    let policies = config.targets.iter().filter(|one| one.enabled).map(|one| &one.policy);
    policies.flat_map(|policy| &policy.shared_host_lists).map(String::as_str).collect()
}

/// What a name in `policy.shared_host_lists` comes to.
fn named_list(name: &str, lists: &[ListHead]) -> Finding {
    let pattern = WildMatch::new_case_insensitive(name);
    let (of_hosts, others): (Vec<&ListHead>, Vec<&ListHead>) = lists
        .iter()
        .filter(|list| pattern.matches(&list.name))
        .partition(|list| matches!(list.kind, ListKind::Hostname | ListKind::String));
    let subject = format!("policy.shared_host_lists {name:?}");
    if !of_hosts.is_empty() {
        let words = format!("enabled in MISP: {} list(s)", of_hosts.len());
        return Finding::ok(WARNINGLISTS, &subject, words);
    }
    let seen = match others.is_empty() {
        true => "no warninglist of this name is enabled in MISP, so URLs on its hosts are sent",
        false => {
            "the warninglist of this name has no entries that are hosts, so it withholds nothing"
        }
    };
    let remedy = "enable it in MISP (Input Filters > Warninglists), or name another list";
    Finding::warning(WARNINGLISTS, &subject, seen, remedy)
}

/// Whether settings of MISP are on: `None` where the key may not see them.
pub(super) async fn settings<const N: usize>(
    client: &MispClient,
    names: [&'static str; N],
) -> Option<Vec<&'static str>> {
    let mut off = Vec::new();
    for name in names {
        let value = client.setting(name).await.ok()?;
        if value != Value::Bool(true) {
            off.push(name);
        }
    }
    Some(off)
}

/// How a setting of MISP is made.
pub(super) fn set(names: &[&str]) -> String {
    let commands: Vec<String> = names
        .iter()
        .map(|name| {
            let (name, value) = name.split_once('=').unwrap_or((name, "true"));
            format!("docker compose exec -u www-data misp-core /var/www/MISP/app/Console/cake Admin setSetting {name} {value}")
        })
        .collect();
    format!(
        "set in MISP (Administration > Server Settings, or with misp-docker): {}",
        commands.join("; ")
    )
}

/// An error, with what MISP said and what to do apart.
pub(super) fn refused(step: &'static str, subject: &str, error: &RestError) -> Finding {
    let (RestError::Refused { advice, .. } | RestError::Untrusted { advice, .. }) = error else {
        return Finding::error(step, subject, error.to_string(), "");
    };
    let words = error.to_string();
    let seen = words.strip_suffix(advice).unwrap_or(&words).trim_end_matches("; ");
    Finding::error(step, subject, seen, *advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::misp_api::KeysView;

    #[test]
    fn a_user_that_expires_soon_is_told() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
        let key = |expires| Key {
            user: 1,
            role: 1,
            organisation: 1,
            view: KeysView { organisation: "1".into(), site_admin: false, sync: false },
            expires,
            words: String::new(),
        };
        let told = expiring(&key(Some(day(29))), day(1)).unwrap();
        assert!(told.evidence.contains("expires on 2026-11-29"), "{}", told.evidence);
        let later = NaiveDate::from_ymd_opt(2027, 1, 1);
        assert!(expiring(&key(later), day(1)).is_none() && expiring(&key(None), day(1)).is_none());
    }
}
