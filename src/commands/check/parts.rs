//! Runs the checks of `check` for one step of `init`: for the answers that the operator has just given.

use std::time::Duration;

use futures::future::join_all;

use super::diagnosis::{Diagnosis, told};
use super::host::{Host, HostSeen};
use super::{feed, hosts, ledger, misp, target};
use crate::config::{Config, Rest};
use crate::misp_api::MispClient;

pub(in crate::commands) use super::of_error;

/// Checks MISP's REST API: the way to it, and the key.
pub(in crate::commands) async fn misp(config: &Config) -> Vec<Diagnosis> {
    let seen = reached(config, |host| host.part == "MISP").await;
    let mut findings = Vec::new();
    for source in &config.sources {
        let looked = misp::look(source, &seen).await;
        findings.extend(looked.map_or_else(|end| vec![end], |(findings, _)| findings));
    }
    seen.into_iter().map(|seen| seen.diagnosis).chain(findings).collect()
}

/// Listens to MISP's feed until it says anything.
pub(in crate::commands) async fn feed(config: &Config, wait: Duration) -> Vec<Diagnosis> {
    let mut findings = Vec::new();
    for source in &config.sources {
        let heard = feed::zeromq(source.zeromq.clone(), wait).await;
        let rest = source.rest.as_ref();
        // The step before has told what is wrong with the key.
        let once = |rest: &Rest| MispClient::new(&Rest { retries: 0, ..rest.clone() }).ok();
        let client = rest.and_then(once);
        findings.extend(feed::heard(source, heard.into_iter(), client.as_ref()).await);
    }
    findings
}

/// Checks the way to Azure, the sign-in, the workspace and the role of each target.
pub(in crate::commands) async fn targets(config: &Config) -> Vec<Diagnosis> {
    let seen = reached(config, |host| host.part != "MISP").await;
    let findings = told(target::look(config, &seen, false).await);
    seen.into_iter().map(|seen| seen.diagnosis).chain(findings).collect()
}

/// Checks the ledger, or the place where it will be.
pub(in crate::commands) async fn ledger(config: &Config) -> Vec<Diagnosis> {
    match ledger::running(&config.ledger).await {
        Ok(Some(status)) => ledger::of_relay(&status, config),
        Ok(None) => told(ledger::look(config).await),
        Err(finding) => vec![finding],
    }
}

async fn reached(config: &Config, is_asked: impl Fn(&Host<'_>) -> bool) -> Vec<HostSeen> {
    join_all(hosts(config).into_iter().filter(is_asked).map(Host::look)).await
}
