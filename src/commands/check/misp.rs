//! Checks MISP's REST API: which user the key belongs to and what it may do, MISP's version, the settings
//! that the relay needs, and the enabled warninglists.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{NaiveDate, Utc};
use reqwest::Url;
use serde_json::Value;
use wildmatch::WildMatch;

use super::diagnosis::{Diagnosis, Found, Subject};
use super::host::HostSeen;
use crate::config::{Config, Rest, Source};
use crate::misp_api::{Key, MispClient, RestError};
use crate::pure::policy::OnHit;
use crate::pure::warninglist::{ListHead, ListKind};

/// How long MISP's answers may take here, even if the relay itself would wait longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Checks the key with its role and rights, and the version. Returns the client for the later steps too.
pub(super) async fn look(
    source: &Source,
    hosts: &[HostSeen],
) -> Found<(Vec<Diagnosis>, MispClient)> {
    let subject = Subject("misp", "");
    let Some(rest) = &source.rest else {
        let words = "no key is set: nothing is known of MISP beyond its feed, and what the feed loses stays lost";
        return Err(subject.note(words));
    };
    // The finding on the host has said what is wrong.
    let origin = Url::parse(&rest.url).map(|url| url.origin().ascii_serialization());
    let is_this = |seen: &&HostSeen| seen.part == "MISP" && Ok(&seen.origin) == origin.as_ref();
    if hosts.iter().filter(is_this).any(|seen| !seen.is_reached) {
        return Err(subject.note("not looked at: MISP is not reached"));
    }
    let request_timeout = rest.request_timeout.min(PATIENCE);
    // No retries: an operator waits, and the first error says enough.
    let client = MispClient::new(&Rest { retries: 0, request_timeout, ..rest.clone() })
        .map_err(|error| subject.error(error, ""))?;
    let key = client
        .key()
        .await
        .map_err(|error| elsewhere(refused(Subject("misp", "key"), &error), &error, &rest.url))?;
    let ends = "MISP does not tell when an auth key ends: note its date, and change the key here before it";
    let mut findings = vec![whose(&key), Subject("misp", "auth key").note(ends)];
    findings.extend(expiring(&key, Utc::now().date_naive()));
    let subject = Subject("misp", "version");
    findings.push(match client.version().await {
        Ok(version) => subject.ok(version),
        Err(error) => refused(subject, &error),
    });
    Ok((findings, client))
}

/// Corrects the remedy if `misp.url` has a path. A page's address, copied from a browser, is not the address
/// of MISP, and something else may answer there.
fn elsewhere(mut finding: Diagnosis, error: &RestError, url: &str) -> Diagnosis {
    use RestError::{Html, Malformed, NotLive, Redirected, Unexpected};
    // These errors mean that something answers, but probably not MISP.
    let (Unexpected { .. } | Html { .. } | Malformed { .. } | NotLive { .. } | Redirected { .. }) =
        error
    else {
        return finding;
    };
    let url = Url::parse(url).ok().filter(|url| url.path() != "/");
    let Some(url) = url else { return finding };
    let (path, root) = (url.path(), url.origin().ascii_serialization());
    finding.remedy = Some(format!(
        "misp.url has the path {path}: write it only if MISP itself is under it, else set misp.url to {root}"
    ));
    finding
}

/// Warns if the key's user expires soon, because its keys end with it.
fn expiring(key: &Key, today: NaiveDate) -> Option<Diagnosis> {
    const SOON: i64 = 30;
    let expires = key.expires.filter(|day| (*day - today).num_days() <= SOON)?;
    let seen = format!("the key's user expires on {expires}, and its keys with it");
    let remedy =
        "set a later date in MISP (Administration > List Users), or take the key of another user";
    Some(Subject("misp", "user").warning(seen, remedy))
}

fn whose(key: &Key) -> Diagnosis {
    let (subject, words) = (Subject("misp", "key"), &key.words);
    if !key.view.site_admin {
        return subject.ok(format!("{words}; it sees what its organisation may see"));
    }
    let seen = format!(
        "{words}; a site administrator's key: it sees every event, and so does Sentinel then"
    );
    subject.warning(seen, "use a key of a role such as Read Only, unless events that are for one organisation only may leave as well")
}

const WARNINGLISTS: &str = "warninglists";

/// Checks the enabled warninglists, as far as policy uses them.
pub(super) async fn warninglists(config: &Config, client: &MispClient) -> Found {
    let subject = Subject(WARNINGLISTS, "");
    let used = config.targets.iter().any(|target| target.policy.warninglists != OnHit::Off);
    let policies = config.targets.iter().filter(|one| one.enabled).map(|one| &one.policy);
    // A set, so that each name is reported once.
    let names: BTreeSet<&String> = policies.flat_map(|one| &one.shared_host_lists).collect();
    if !used && names.is_empty() {
        return Err(subject.note("policy.warninglists = \"off\": MISP's warninglists are not used"));
    }
    let lists = client.warninglists().await.map_err(|error| refused(subject, &error))?;
    let named = names.iter().map(|name| named_list(name, &lists));
    Ok(std::iter::once(enabled(subject, &lists)).chain(named).collect())
}

/// Returns the finding on the warninglists that MISP has enabled.
fn enabled(subject: Subject<'_>, lists: &[ListHead]) -> Diagnosis {
    if lists.is_empty() {
        let seen = "none is enabled in MISP, so public resolvers and the like reach Sentinel as indicators";
        return subject.warning(seen, "enable some in MISP (Input Filters > Warninglists), or set policy.warninglists = \"off\"");
    }
    let entries: u64 = lists.iter().filter_map(|list| list.entries).sum();
    subject.ok(format!("{} enabled in MISP, {entries} entries", lists.len()))
}

/// Returns the finding on one name in `policy.shared_host_lists`.
fn named_list(name: &str, lists: &[ListHead]) -> Diagnosis {
    let pattern = WildMatch::new_case_insensitive(name);
    let (of_hosts, others): (Vec<&ListHead>, Vec<&ListHead>) = lists
        .iter()
        .filter(|list| pattern.matches(&list.name))
        // Only lists of these two kinds hold hosts.
        .partition(|list| matches!(list.kind, ListKind::Hostname | ListKind::String));
    let key = format!("policy.shared_host_lists {name:?}");
    let subject = Subject(WARNINGLISTS, &key);
    if !of_hosts.is_empty() {
        return subject.ok(format!("enabled in MISP: {} list(s)", of_hosts.len()));
    }
    let seen = if others.is_empty() {
        "no warninglist of this name is enabled in MISP, so URLs on its hosts are sent"
    } else {
        "the warninglist of this name has no entries that are hosts, so it withholds nothing"
    };
    let remedy = "enable it in MISP (Input Filters > Warninglists), or name another list";
    subject.warning(seen, remedy)
}

/// Returns which of these settings are off in MISP; `None` if the key may not see them.
pub(super) async fn settings<const N: usize>(
    client: &MispClient,
    names: [&'static str; N],
) -> Option<Vec<&'static str>> {
    let mut off = Vec::new();
    for name in names {
        // Every error means the same here: the settings cannot be seen with this key.
        let value = client.setting(name).await.ok()?;
        if value != Value::Bool(true) {
            off.push(name);
        }
    }
    Some(off)
}

/// Returns the remedy that sets these settings in MISP.
pub(super) fn set(names: &[&str]) -> String {
    let command = |name: &&str| {
        let (name, value) = name.split_once('=').unwrap_or((name, "true"));
        format!(
            "docker compose exec -u www-data misp-core /var/www/MISP/app/Console/cake Admin setSetting {name} {value}"
        )
    };
    let commands = names.iter().map(command).collect::<Vec<_>>().join("; ");
    format!("set in MISP (Administration > Server Settings, or with misp-docker): {commands}")
}

/// Makes an error that separates what MISP said from what to do.
pub(super) fn refused(subject: Subject<'_>, error: &RestError) -> Diagnosis {
    let (RestError::Refused { advice, .. } | RestError::Untrusted { advice, .. }) = error else {
        return subject.error(error, "");
    };
    let words = error.to_string();
    let seen = words.strip_suffix(advice).unwrap_or(&words).trim_end_matches("; ");
    subject.error(seen, advice)
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
            may_sight: false,
            words: String::new(),
        };
        let told = expiring(&key(Some(day(29))), day(1)).unwrap();
        assert!(told.evidence.contains("expires on 2026-11-29"), "{}", told.evidence);
        let later = NaiveDate::from_ymd_opt(2027, 1, 1);
        assert!(expiring(&key(later), day(1)).is_none() && expiring(&key(None), day(1)).is_none());
    }
}
