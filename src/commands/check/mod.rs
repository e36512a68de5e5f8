//! The command `check` looks at everything between MISP and Sentinel, in the order in which one fault causes
//! the next. It says what is wrong and how to mend it. It uploads no indicator unless `--upload-probe` is
//! given.

mod alerts;
mod certificate;
mod clock;
mod deletion;
mod diagnosis;
mod feed;
mod host;
mod ledger;
mod listener;
mod misp;
pub(super) mod parts;
mod policy;
mod sightings;
mod target;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use futures::future::join_all;
use reqwest::Url;
use tokio::task::JoinSet;

use super::output::fitted;
use crate::azure;
use crate::config::{Config, Credential, Mistakes, Problem, Proof, Source, warnings};
use crate::misp_api::MispClient;
use crate::pure::count::Count;
use diagnosis::{Subject, told};
use host::Host;

pub(super) use diagnosis::{Diagnosis, Severity};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct CheckOptions {
    /// Print a line of JSON for each finding instead of text
    #[arg(long)]
    pub json: bool,

    /// How long MISP's feed may be silent
    #[arg(long, value_name = "TIME", default_value = "15s")]
    pub wait: humantime::Duration,

    /// Upload an indicator of a domain that nobody can own to each target, and withdraw it at once. This
    /// shows that role and workspace are right (two rows in Log Analytics). Under withdraw = "delete" the
    /// indicator is then deleted, which shows whether deletions have an effect
    #[arg(long)]
    pub upload_probe: bool,
}

/// Checks everything, and prints a line for each finding as soon as it is known. Returns the exit code: 0
/// well, 1 warnings, 2 errors.
///
/// # Errors
/// Standard output is closed.
pub async fn check(config: anyhow::Result<Config>, options: CheckOptions) -> anyhow::Result<u8> {
    let mut report =
        CheckOutput { json: options.json, worst: Severity::Ok, errors: 0, warnings: 0 };
    match config {
        Ok(config) => walk(&config, options, &mut report).await?,
        Err(error) => report.all(of_error(&error))?,
    }
    report.end()?;
    Ok(diagnosis::exit_code(report.worst))
}

/// Runs all steps. The feed is listened to meanwhile, since MISP may be silent for ten seconds.
async fn walk(config: &Config, options: CheckOptions, report: &mut CheckOutput) -> io::Result<()> {
    report.all(of_config(config))?;
    let mut listening = JoinSet::new();
    for source in config.enabled_sources() {
        let (name, zeromq) = (source.name.clone(), source.zeromq.clone());
        let wait = options.wait.into();
        listening.spawn(async move { (name, feed::zeromq(zeromq, wait).await) });
    }
    // All at the same time: each host that is away costs its whole patience.
    let hosts = join_all(hosts(config).into_iter().map(Host::look)).await;
    let clocks: Vec<_> = hosts.iter().filter_map(|seen| Some((seen.part, seen.ahead?))).collect();
    report.all(clock::judge(&clocks))?;
    report.all(hosts.iter().map(|seen| seen.diagnosis.clone()))?;

    let running = ledger::running(&config.ledger).await;
    // A relay that fails to answer does run.
    let is_running = !matches!(running, Ok(None));
    let mut clients = Vec::new();
    for source in config.enabled_sources() {
        // Without a client, the later steps that ask this MISP are left out.
        let (findings, client) = match misp::look(source, &hosts).await {
            Ok((findings, client)) => (findings, Some(client)),
            Err(finding) => (vec![finding], None),
        };
        report.all(of_source(config, source, findings))?;
        if let Some(client) = &client {
            let mut findings = told(policy::look(config, source, client).await);
            findings.extend(sightings::look(source, client).await);
            report.all(of_source(config, source, findings))?;
        }
        clients.push((source, client));
    }
    let mut heard: BTreeMap<String, Vec<feed::Heard>> =
        listening.join_all().await.into_iter().collect();
    for (source, client) in &clients {
        let (heard, client) = (heard.remove(&source.name).unwrap_or_default(), client.as_ref());
        let mut findings = feed::heard(source, heard.into_iter(), client).await;
        if let Some(webhook) = &source.webhook {
            let key = source.key_of("webhook.listen");
            findings.extend(feed::webhook(webhook, &key, is_running, client).await);
        }
        if let Some(client) = client {
            findings.extend(told(misp::warninglists(config, client).await));
        }
        report.all(of_source(config, source, findings))?;
    }
    // A running relay holds the ledger's lock, so its own status takes the place of a look.
    match running {
        Ok(Some(status)) => report.all(ledger::of_relay(&status, config))?,
        Ok(None) => report.all(told(ledger::look(config).await))?,
        Err(finding) => report.all([finding])?,
    }
    let (address, text) = (config.admin.listen, config.admin.listen.to_string());
    let subject = Subject("admin", &text);
    report.all([listener::look(subject, "admin.listen", address, is_running).await])?;
    report.all(told(target::look(config, &hosts, options.upload_probe).await))
}

/// Names the source of these findings, where there are several.
fn of_source(config: &Config, source: &Source, findings: Vec<Diagnosis>) -> Vec<Diagnosis> {
    if config.sources.len() < 2 {
        return findings;
    }
    findings.into_iter().map(|finding| finding.of_source(&source.name)).collect()
}

/// The note on a relay without a key. It comes first.
const FEED_ONLY: &str = "not set: the relay works from the feed alone, and sends only what is of distribution 1 to 3 at event, object and attribute (policy.org_without_key adds distribution 0 of the organisations that it names)";

/// Returns the findings on a configuration that cannot be loaded.
pub(super) fn of_error(error: &anyhow::Error) -> Vec<Diagnosis> {
    match error.downcast_ref::<Mistakes>() {
        Some(mistakes) => of_mistakes(mistakes),
        // All other errors mean that a vault did not give a secret.
        None => vec![Subject("vault", "").error(format!("{error:#}"), "")],
    }
}

fn of_mistakes(mistakes: &Mistakes) -> Vec<Diagnosis> {
    let told = mistakes.list().iter().map(|mistake| {
        let Problem { allowed, hint, .. } = &mistake.problem;
        let allowed = allowed.as_ref().map(|allowed| format!("allowed: {allowed}"));
        let remedy: Vec<String> = allowed.into_iter().chain(hint.clone()).collect();
        Subject("config", &mistake.key).error(mistake.summary(), remedy.join("; "))
    });
    let rest = "nothing else is looked at before the configuration is valid";
    told.chain([Subject("config", "").note(rest)]).collect()
}

fn of_config(config: &Config) -> Vec<Diagnosis> {
    let subject = Subject("config", "");
    let count = config.targets.iter().filter(|target| target.enabled).count();
    let valid = subject.ok(format!("valid, {} enabled", Count(count, "target")));
    let doubts = warnings(config).into_iter().map(|words| subject.warning(words, ""));
    let without_key = config.enabled_sources().filter(|source| source.rest.is_none());
    let notes = without_key.map(|source| Subject("config", &source.key_of("key")).note(FEED_ONLY));
    notes.chain([valid]).chain(doubts).collect()
}

/// Returns each server once, however many targets use it.
fn hosts(config: &Config) -> Vec<Host<'_>> {
    let mut hosts: Vec<Host<'_>> = Vec::new();
    let mut add = |part, address: &str, key: String, way| {
        let Ok(url) = Url::parse(address) else { return };
        let known = |host: &Host<'_>| host.part == part && host.url.origin() == url.origin();
        if !hosts.iter().any(known) {
            hosts.push(Host { part, url, key, way });
        }
    };
    for source in config.enabled_sources() {
        if let Some(rest) = &source.rest {
            add("MISP", &rest.url, source.key_of("url"), MispClient::way(rest));
        }
    }
    for target in config.targets.iter().filter(|target| target.is_live()) {
        let key = |leaf: &str| format!("target.{}.{leaf}", target.name);
        let way = || azure::http::way(&config.azure);
        if signs_in_at_entra(&target.credential) {
            add("Entra", &target.authority, key("authority"), way());
        }
        add("Sentinel", &target.endpoint, key("endpoint"), way());
        if let Some(hits) = &target.hits {
            add("Log Analytics", &hits.logs, key("logs"), way());
        }
        if let Some(managed) = &target.managed {
            add("management", &managed.management, key("management"), way());
        }
    }
    hosts
}

/// Returns whether the relay itself asks Entra for tokens. The others get them on this machine.
fn signs_in_at_entra(credential: &Credential) -> bool {
    !matches!(credential.proof, Proof::ManagedIdentity(_) | Proof::AzureCli)
}

/// The output, with the counts for the end and for the exit code.
struct CheckOutput {
    json: bool,
    worst: Severity,
    errors: usize,
    warnings: usize,
}

impl CheckOutput {
    fn all(&mut self, findings: impl IntoIterator<Item = Diagnosis>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for finding in findings {
            self.worst = self.worst.max(finding.severity);
            match finding.severity {
                Severity::Error => self.errors += 1,
                Severity::Warning => self.warnings += 1,
                Severity::Ok | Severity::Note => {}
            }
            let text = if self.json { finding.json()? } else { finding.text() };
            let text = if self.json { Cow::Borrowed(text.as_str()) } else { fitted(&text) };
            out.write_all(text.as_bytes())?;
        }
        // Each finding is shown at once, since the next step may take long.
        out.flush()
    }

    fn end(&self) -> io::Result<()> {
        let (errors, warnings) = (Count(self.errors, "error"), Count(self.warnings, "warning"));
        let mut out = io::stdout().lock();
        match self.worst {
            _ if self.json => Ok(()),
            Severity::Ok | Severity::Note => out.write_all(b"\nAll is well.\n"),
            Severity::Warning | Severity::Error => writeln!(out, "\n{errors}, {warnings}."),
        }
    }
}
