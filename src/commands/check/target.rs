//! Checks each target: the sign-in, the workspace, the role of the credential and the quota.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use super::deletion::{self, REMEDY};
use super::diagnosis::{Diagnosis, Severity, Subject};
use super::host::HostSeen;
use crate::azure::manage::{Condition, ManageClient, ManageError};
use crate::azure::token::{SignIn, SignInError, TokenSource, object_id};
use crate::config::{Config, Credential, Limits, Management, Mode, Secret, Target};
use crate::deliver::outcome::{RequestFacts, UploadOutcome};
use crate::deliver::upload;
use crate::pure::stix::{Observable, Withdraw};

const TOKEN: &str = "token";
const WORKSPACE: &str = "workspace";
const READ_BACK: &str = "read-back";
const QUOTA: &str = "quota";

/// For one answer of Sentinel's.
const PATIENCE: Duration = Duration::from_secs(20);

/// Nobody's name: `.invalid` is never given away (RFC 6761).
const PROBE: &str = "misp-sentinel-relay-upload-probe.invalid";

/// A credential's token, and where the next one comes from; `None`: there is none.
type SignedIn = Option<(Secret, Arc<TokenSource>)>;

/// Looks at all targets; those of one credential sign in once.
pub(super) async fn look(
    config: &Config,
    http: &reqwest::Client,
    hosts: &[HostSeen],
    probe: bool,
) -> Vec<Diagnosis> {
    let mut findings = Vec::new();
    let mut known: Vec<(SignIn, SignedIn)> = Vec::new();
    for target in &config.targets {
        if let Some(note) = sends_nothing(target) {
            findings.push(note);
            continue;
        }
        if let Some(host) = away(&[&target.authority, &target.endpoint], hosts) {
            let words = format!("not looked at: {host} is not reached");
            findings.push(Subject("target", &target.name).note(words));
            continue;
        }
        let sign_in = SignIn::of(target);
        let signed_in = match known.iter().find(|(one, _)| *one == sign_in) {
            Some((_, signed_in)) => signed_in.clone(),
            None => {
                let signed_in = signed_in(config, target, http, &mut findings).await;
                known.push((sign_in, signed_in.clone()));
                signed_in
            }
        };
        let Some((token, tokens)) = signed_in else {
            let words = "not looked at: there is no token";
            findings.push(Subject(WORKSPACE, &target.name).note(words));
            continue;
        };
        let asked = WorkspaceCheck { config, target, http };
        let workspace = asked.look(&token, probe).await;
        let is_probed = probe && workspace.severity == Severity::Ok;
        findings.push(workspace);
        let management = target.managed.iter().map(|managed| managed.management.as_str());
        if away(&management.collect::<Vec<_>>(), hosts).is_none() {
            findings.extend(asked.read_back(Arc::clone(&tokens)).await);
            findings.extend(asked.deletion(tokens, is_probed).await);
        }
    }
    findings.extend(quotas(config));
    findings
}

fn sends_nothing(target: &Target) -> Option<Diagnosis> {
    let words = match (target.enabled, target.mode) {
        (false, _) => "enabled = false: nothing is sent",
        (true, Mode::DryRun) => "mode = \"dry-run\": what would be sent is written to a file",
        (true, Mode::Live) => return None,
    };
    Some(Subject("target", &target.name).note(words))
}

/// The first of the servers at `addresses` that is not reached.
fn away<'h>(addresses: &[&str], hosts: &'h [HostSeen]) -> Option<&'h str> {
    let is_of = |seen: &HostSeen| addresses.iter().any(|one| one.starts_with(&seen.origin));
    let away = hosts.iter().find(|seen| !seen.is_reached && is_of(seen));
    away.map(|seen| seen.origin.as_str())
}

async fn signed_in(
    config: &Config,
    target: &Target,
    http: &reqwest::Client,
    findings: &mut Vec<Diagnosis>,
) -> SignedIn {
    let begun = Instant::now();
    let asked = match TokenSource::new(SignIn::of(target), http.clone(), &config.azure) {
        Ok(tokens) => tokens.token().await.map(|token| (token, Arc::new(tokens))),
        Err(error) => Err(error),
    };
    match asked {
        Ok((token, tokens)) => {
            let (how, took) = (target.credential.word(), begun.elapsed().as_millis());
            let whom =
                object_id(&token).map_or_else(String::new, |id| format!(", to object id {id}"));
            let words = format!("given for the {how} after {took} ms{whom}");
            findings.push(Subject(TOKEN, &target.name).ok(words));
            findings.extend(end_untold(target));
            Some((token, tokens))
        }
        Err(error) => {
            findings.push(refused(target, &error));
            None
        }
    }
}

/// Of certificates the end is known, and others have none.
fn end_untold(target: &Target) -> Option<Diagnosis> {
    let has_secret = matches!(target.credential, Credential::ClientSecret { .. });
    let words = "Entra does not tell when a client secret ends: note its date, and change the secret before it";
    has_secret.then(|| Subject(TOKEN, &format!("{} client secret", target.name)).note(words))
}

fn refused(target: &Target, error: &SignInError) -> Diagnosis {
    let unreachable = match target.credential {
        Credential::ManagedIdentity(_) | Credential::FederatedManagedIdentity { .. } => {
            "only machines in Azure have managed identities: elsewhere set credential to \
             \"certificate\" or \"client-secret\""
        }
        Credential::ClientSecret { .. }
        | Credential::Certificate { .. }
        | Credential::WorkloadIdentity { .. }
        | Credential::AzureCli { .. } => "see what is said of the host above",
    };
    let subject = Subject(TOKEN, &target.name);
    match error {
        SignInError::Refused(refusal) => {
            let words = error.to_string();
            let seen = words.strip_suffix(&refusal.remedy).unwrap_or(&words);
            subject.error(seen.trim_end_matches(REMEDY), &refusal.remedy)
        }
        SignInError::Unreachable(_) => subject.error(error, unreachable),
        SignInError::Unusable(_) | SignInError::Settings(_) => subject.error(error, ""),
    }
}

/// A question to a workspace.
struct WorkspaceCheck<'c> {
    config: &'c Config,
    target: &'c Target,
    http: &'c reqwest::Client,
}

impl<'c> WorkspaceCheck<'c> {
    fn subject(&self, step: &'static str) -> Subject<'c> {
        Subject(step, &self.target.name)
    }

    async fn look(&self, token: &Secret, probe: bool) -> Diagnosis {
        let client = match upload::Client::new(self.http.clone(), self.target, PATIENCE) {
            Ok(client) => client,
            Err(error) => return self.subject(WORKSPACE).error(error, ""),
        };
        if !probe {
            let outcome = self.upload(&client, token, &[]).await;
            let well = "an empty request is let in; --upload-probe shows whether an indicator is";
            return self.told(&outcome, token, well);
        }
        let now: DateTime<Utc> = SystemTime::now().into();
        for until in [now + TimeDelta::minutes(5), now + TimeDelta::seconds(1)] {
            let outcome = self.upload(&client, token, &[self.indicator(now, until)]).await;
            let is_taken =
                matches!(&outcome, UploadOutcome::Accepted { rejected, .. } if rejected.is_empty());
            if !is_taken {
                return self.told(&outcome, token, "");
            }
        }
        self.subject(WORKSPACE).ok(format!("took an indicator of {PROBE} and its withdrawal"))
    }

    /// One try, and not for long: the doctor is waited for.
    fn management(&self) -> Management {
        let rules = &self.config.management;
        let request_timeout = rules.request_timeout.min(PATIENCE);
        Management { retries: 0, request_timeout, ..rules.clone() }
    }

    /// The management plane's word, where the workspace's names are given.
    async fn read_back(&self, tokens: Arc<TokenSource>) -> Option<Diagnosis> {
        let Target { name, workspace_id, sourcesystem, managed, .. } = self.target;
        let (managed, subject) = (managed.as_ref()?, self.subject(READ_BACK));
        let client = ManageClient::new(self.http.clone(), managed, tokens, &self.management());
        let client = match client {
            Ok(client) => client,
            Err(error) => return Some(subject.error(error, "")),
        };
        let condition = Condition { kind: "indicator", source: Some(sourcesystem), ids: &[] };
        let told: Result<(Option<Uuid>, u64), ManageError> =
            async { Ok((client.workspace_id().await?, client.count(&condition).await?)) }.await;
        Some(match told {
            Ok((Some(found), _)) if found != *workspace_id => subject.error(
                format!(
                    "{} has the workspace ID {found}, and uploads go to {workspace_id}",
                    client.scope()
                ),
                format!(
                    "set target.{name}.workspace_id to {found}, or the names to those of the other workspace"
                ),
            ),
            Ok((_, count)) => {
                subject.ok(format!("Sentinel holds {count} indicators of {sourcesystem}"))
            }
            Err(error) => subject.failed(error, REMEDY),
        })
    }

    /// Whether deletions have an effect, where the target asks for them.
    async fn deletion(&self, tokens: Arc<TokenSource>, is_probed: bool) -> Option<Diagnosis> {
        let Target { name, managed, withdraw, .. } = self.target;
        let managed = managed.as_ref().filter(|_| *withdraw == Withdraw::Delete)?;
        if !is_probed {
            return Some(deletion::untried(name));
        }
        let rules = self.management();
        // What is wrong with the address was told by the step before.
        let client = ManageClient::new(self.http.clone(), managed, tokens, &rules).ok()?;
        let id = Observable::new("domain-name:value", PROBE).id(&self.config.rendering.namespace);
        let probe = deletion::Probe {
            target: self.target,
            id: format!("indicator--{id}"),
            patience: rules.ingestion.min(PATIENCE),
        };
        Some(probe.delete(&client).await)
    }

    async fn upload(
        &self,
        client: &upload::Client,
        token: &Secret,
        objects: &[String],
    ) -> UploadOutcome {
        let asked = RequestFacts {
            workspace: self.target.workspace_id,
            objects: objects.len(),
            accept_body: self.config.delivery.accept_body,
        };
        let body = upload::body(self.target.api, &self.target.sourcesystem, objects);
        UploadOutcome::of(&client.send(token, body).await, asked)
    }

    fn told(&self, outcome: &UploadOutcome, token: &Secret, well: &str) -> Diagnosis {
        let (subject, is_empty) = (self.subject(WORKSPACE), !well.is_empty());
        match outcome {
            UploadOutcome::Accepted { rejected, .. } => match rejected.first() {
                None => subject.ok(well),
                Some((_, words)) => subject.error(
                    format!("rejects a sound indicator: {words}"),
                    "check api_version and path of the target",
                ),
            },
            UploadOutcome::BadRequest { why } if is_empty && why.contains(self.target.api.list()) => {
                subject.ok(well)
            }
            UploadOutcome::BadRequest { why } if is_empty => subject
                .note(format!("an empty request is answered {why}; --upload-probe tells more")),
            UploadOutcome::Unauthorized { why } | UploadOutcome::Forbidden { why } => {
                let whom = object_id(token).map_or_else(
                    || "the application (its service principal)".to_owned(),
                    |id| format!("object id {id}"),
                );
                let workspace_id = self.target.workspace_id;
                let seen = why.split_once("; ").map_or(why.as_str(), |(seen, _)| seen);
                subject.error(
                    seen,
                    format!(
                        "give {whom} the role \"Microsoft Sentinel Contributor\" on the workspace {workspace_id} (Access control (IAM) > Add role assignment; it counts after some minutes)"
                    ),
                )
            }
            UploadOutcome::Throttled { .. } => subject.warning(
                "too many requests (429)",
                "another program uses the same application, e.g. misp2sentinel's cron job: give each its own",
            ),
            UploadOutcome::Misconfigured { why }
            | UploadOutcome::BadRequest { why }
            | UploadOutcome::TooLarge { why }
            | UploadOutcome::Foreign { why, .. }
            | UploadOutcome::Unreadable { why }
            | UploadOutcome::Transient { why, .. } => subject.failed(why, "; "),
        }
    }

    /// Harmless: nobody looks up this name, and it is over at once.
    fn indicator(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> String {
        let observable = Observable::new("domain-name:value", PROBE);
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        json!({
            "type": "indicator",
            "spec_version": "2.1",
            "id": format!("indicator--{}", observable.id(&self.config.rendering.namespace)),
            "created": time(from),
            "modified": time(SystemTime::now().into()),
            "name": "Upload probe of misp-sentinel-relay: may be ignored",
            "pattern": observable.pattern(),
            "pattern_type": "stix",
            "valid_from": time(from),
            "valid_until": time(until),
        })
        .to_string()
    }
}

/// Who shares a credential shares its quota.
fn quotas(config: &Config) -> Vec<Diagnosis> {
    let delivery = &config.delivery;
    let live = config.targets.iter().filter(|target| sends_nothing(target).is_none());
    let mut shared: Vec<(SignIn, String, Vec<Limits>)> = Vec::new();
    for target in live {
        let credential = SignIn::of(target);
        match shared.iter_mut().find(|(known, ..)| known.is_same_principal(&credential)) {
            Some((_, names, limits)) => {
                *names = format!("{names}, {}", target.name);
                limits.push(target.limits);
            }
            None => shared.push((credential, target.name.clone(), vec![target.limits])),
        }
    }
    let per = humantime::format_duration(delivery.quota_window);
    let tell = |(_, names, limits): (SignIn, String, Vec<Limits>)| {
        let (subject, requests) = (Subject(QUOTA, &names), Limits::shared_quota(&limits));
        if requests == 0 {
            return subject.warning(
                "delivery.quota_requests = 0: no limit, Sentinel will answer 429",
                "leave it at its default",
            );
        }
        let figures = format!("{requests} requests in any {per}");
        match limits.len() {
            1 => subject.ok(figures),
            count => subject.ok(format!("{figures}, shared by {count} targets of one credential")),
        }
    };
    shared.into_iter().map(tell).collect()
}
