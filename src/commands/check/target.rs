//! Checks each target: the sign-in, the workspace, the role of the credential and the quota.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::alerts;
use super::deletion::{Probe, REMEDY};
use super::diagnosis::{Diagnosis, Found, Severity, Subject, told};
use super::host::HostSeen;
use crate::azure;
use crate::azure::manage::{Condition, ManageClient, ManageError};
use crate::azure::token::{SignIn, SignInError, TokenSource, object_id};
use crate::config::{Config, Limits, ManagedWorkspace, Management, Mode, Proof, Secret, Target};
use crate::deliver::outcome::{RequestFacts, UploadOutcome};
use crate::deliver::upload;
use crate::ledger::Ledger;
use crate::pure::stix::{self, Observable, Withdraw, timestamp};

const TOKEN: &str = "token";
const WORKSPACE: &str = "workspace";
const READ_BACK: &str = "read-back";
const QUOTA: &str = "quota";

/// How long one answer of Sentinel may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The domain of the upload probe. Nobody can own it: `.invalid` is reserved (RFC 6761).
const PROBE: &str = "misp-sentinel-relay-upload-probe.invalid";

/// A credential's token, and the source of the next one; `None` if the sign-in failed.
type SignedIn = Option<(Secret, Arc<TokenSource>)>;

/// Checks all targets. Those that share a credential sign in once.
pub(super) async fn look(config: &Config, hosts: &[HostSeen], probe: bool) -> Found {
    let http = &azure::http::client(&config.azure)
        .map_err(|error| Subject("azure", "").error(error, ""))?;
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
                // A failure is remembered as well, so that it is reported once.
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
        let workspace = asked.look(&token, probe).await.unwrap_or_else(|end| end);
        // Without an accepted probe there is nothing to delete.
        let is_probed = probe && workspace.severity == Severity::Ok;
        findings.push(workspace);
        if let Some(managed) = &target.managed
            // The finding on that host has said what is wrong.
            && away(&[&managed.management], hosts).is_none()
        {
            findings.extend(told(asked.management(managed, tokens, is_probed).await));
        }
        if target.hits.as_ref().is_some_and(|hits| away(&[&hits.logs], hosts).is_none()) {
            findings.extend(alerts::look(config, target, http).await);
        }
    }
    findings.extend(quotas(config));
    Ok(findings)
}

fn sends_nothing(target: &Target) -> Option<Diagnosis> {
    let words = match (target.enabled, target.mode) {
        (false, _) => "enabled = false: nothing is sent",
        (true, Mode::DryRun) => "mode = \"dry-run\": what would be sent is written to a file",
        (true, Mode::Live) => return None,
    };
    Some(Subject("target", &target.name).note(words))
}

/// Returns the first server at `addresses` that is not reached; `None` if all are.
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

/// Notes that the end of a client secret is unknown. The end of a certificate is known, and other credentials
/// have none.
fn end_untold(target: &Target) -> Option<Diagnosis> {
    let has_secret = matches!(target.credential.proof, Proof::ClientSecret(_));
    let words = "Entra does not tell when a client secret ends: note its date, and change the secret before it";
    has_secret.then(|| Subject(TOKEN, &format!("{} client secret", target.name)).note(words))
}

fn refused(target: &Target, error: &SignInError) -> Diagnosis {
    let unreachable = match target.credential.proof {
        Proof::ManagedIdentity(_) | Proof::FederatedManagedIdentity { .. } => {
            "only machines in Azure have managed identities: elsewhere set credential to \"certificate\" or \"client-secret\""
        }
        Proof::ClientSecret(_)
        | Proof::Certificate { .. }
        | Proof::WorkloadIdentity { .. }
        | Proof::AzureCli => "see what is said of the host above",
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

/// The checks of one target's workspace.
struct WorkspaceCheck<'c> {
    config: &'c Config,
    target: &'c Target,
    http: &'c reqwest::Client,
}

impl<'c> WorkspaceCheck<'c> {
    fn subject(&self, step: &'static str) -> Subject<'c> {
        Subject(step, &self.target.name)
    }

    async fn look(&self, token: &Secret, probe: bool) -> Found<Diagnosis> {
        let azure = &self.config.azure;
        let client = upload::Client::new(self.http.clone(), azure, self.target, PATIENCE)
            .map_err(|error| self.subject(WORKSPACE).error(error, ""))?;
        if !probe {
            // An empty request stores nothing, and still needs the right token, role and workspace.
            let outcome = self.upload(&client, token, &[]).await;
            let well = "an empty request is let in; --upload-probe shows whether an indicator is";
            return Ok(self.told(&outcome, token, well));
        }
        let now = Ledger::now();
        // First a validity of some minutes, then one that ends at once: the withdrawal.
        for until in [now + 300_000, now + 1_000] {
            let outcome = self.upload(&client, token, &[self.indicator(now, until)]).await;
            if !matches!(&outcome, UploadOutcome::Accepted { rejected, .. } if rejected.is_empty())
            {
                return Ok(self.told(&outcome, token, ""));
            }
        }
        let words = format!("took an indicator of {PROBE} and its withdrawal");
        Ok(self.subject(WORKSPACE).ok(words))
    }

    /// Checks the management plane, with one try and little patience, because an operator waits.
    async fn management(
        &self,
        managed: &ManagedWorkspace,
        tokens: Arc<TokenSource>,
        is_probed: bool,
    ) -> Found {
        let rules = &self.config.management;
        let request_timeout = rules.request_timeout.min(PATIENCE);
        let rules = Management { retries: 0, request_timeout, ..rules.clone() };
        let client =
            ManageClient::new(self.http.clone(), &self.config.azure, managed, tokens, &rules)
                .map_err(|error| self.subject(READ_BACK).error(error, ""))?;
        let mut findings = vec![self.read_back(&client).await];
        if self.target.withdraw == Withdraw::Delete {
            let (id, patience) = (self.probe_id(), rules.ingestion.min(PATIENCE));
            let probe = Probe { target: self.target, client: &client, id, patience };
            findings.push(if is_probed { probe.delete().await } else { probe.untried() });
        }
        Ok(findings)
    }

    async fn read_back(&self, client: &ManageClient) -> Diagnosis {
        let Target { name, workspace_id, sourcesystem, .. } = self.target;
        let subject = self.subject(READ_BACK);
        let condition = Condition { kind: "indicator", source: Some(sourcesystem), ids: &[] };
        let told: Result<(Option<Uuid>, u64), ManageError> =
            async { Ok((client.workspace_id().await?, client.count(&condition).await?)) }.await;
        match told {
            Ok((Some(found), _)) if found != *workspace_id => {
                let scope = client.scope();
                let seen = format!(
                    "{scope} has the workspace ID {found}, and uploads go to {workspace_id}"
                );
                let remedy = format!(
                    "set target.{name}.workspace_id to {found}, or the names to those of the other workspace"
                );
                subject.error(seen, remedy)
            }
            Ok((_, count)) => {
                subject.ok(format!("Sentinel holds {count} indicators of {sourcesystem}"))
            }
            Err(error) => subject.failed(error, REMEDY),
        }
    }

    /// Returns the probe's id, as Sentinel shows it.
    fn probe_id(&self) -> String {
        let observable = Observable::new("domain-name:value", PROBE);
        format!("indicator--{}", observable.id(&self.config.rendering.namespace))
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
                Some((_, words)) => {
                    let seen = format!("rejects a sound indicator: {words}");
                    subject.error(seen, "check api_version and path of the target")
                }
            },
            // Sentinel refuses the empty list by its name. So it has let the request in.
            UploadOutcome::BadRequest { why }
                if is_empty && why.to_string().contains(self.target.api.list()) =>
            {
                subject.ok(well)
            }
            UploadOutcome::BadRequest { why } if is_empty => subject
                .note(format!("an empty request is answered {why}; --upload-probe tells more")),
            UploadOutcome::Unauthorized { why } | UploadOutcome::Forbidden { why } => {
                let whom = object_id(token).map(|id| format!("object id {id}"));
                let whom = whom.as_deref().unwrap_or("the application (its service principal)");
                let workspace_id = self.target.workspace_id;
                let why = why.to_string();
                let seen = why.split_once("; ").map_or(why.as_str(), |(seen, _)| seen);
                let remedy = format!(
                    "give {whom} the role \"Microsoft Sentinel Contributor\" on the workspace {workspace_id} (Access control (IAM) > Add role assignment; it counts after some minutes)"
                );
                subject.error(seen, remedy)
            }
            UploadOutcome::Throttled { .. } => {
                let remedy = "another program uses the same application, e.g. misp2sentinel's cron job: give each its own";
                subject.warning("too many requests (429)", remedy)
            }
            UploadOutcome::Misconfigured { why }
            | UploadOutcome::BadRequest { why }
            | UploadOutcome::TooLarge { why }
            | UploadOutcome::Foreign { why, .. }
            | UploadOutcome::Unreadable { why }
            | UploadOutcome::Transient { why, .. } => subject.failed(why, "; "),
        }
    }

    /// Makes the probe. It is harmless: nobody looks up this name, and it is over at once. Times are Unix
    /// milliseconds.
    fn indicator(&self, from: i64, until: i64) -> String {
        let body = json!({
            "type": "indicator",
            "spec_version": "2.1",
            "id": self.probe_id(),
            "name": "Upload probe of misp-sentinel-relay: may be ignored",
            "pattern": Observable::new("domain-name:value", PROBE).pattern(),
            "pattern_type": "stix",
            "valid_from": timestamp(from),
        });
        stix::live(&body.to_string(), until, from, Ledger::now())
    }
}

/// Returns a finding for each credential, since its targets share one quota.
fn quotas(config: &Config) -> Vec<Diagnosis> {
    let delivery = &config.delivery;
    let live = config.targets.iter().filter(|target| sends_nothing(target).is_none());
    let groups = alike(live, |a, b| SignIn::of(a).is_same_principal(&SignIn::of(b)));
    let per = humantime::format_duration(delivery.quota_window);
    let tell = |targets: &Vec<&Target>| {
        let limits: Vec<Limits> = targets.iter().map(|target| target.limits).collect();
        let (names, requests) = (names(targets), Limits::shared_quota(&limits));
        let subject = Subject(QUOTA, &names);
        if requests == 0 {
            let seen = "delivery.quota_requests = 0: no limit, Sentinel will answer 429";
            return subject.warning(seen, "leave it at its default");
        }
        let figures = format!("{requests} requests in any {per}");
        match limits.len() {
            1 => subject.ok(figures),
            count => subject.ok(format!("{figures}, shared by {count} targets of one credential")),
        }
    };
    groups.iter().map(tell).collect()
}

/// Groups the targets that are alike, in their order.
pub(super) fn alike<'t>(
    targets: impl Iterator<Item = &'t Target>,
    are_alike: impl Fn(&Target, &Target) -> bool,
) -> Vec<Vec<&'t Target>> {
    let mut groups: Vec<Vec<&Target>> = Vec::new();
    for target in targets {
        let is_of =
            |group: &&mut Vec<&Target>| group.first().is_some_and(|one| are_alike(one, target));
        match groups.iter_mut().find(is_of) {
            Some(group) => group.push(target),
            None => groups.push(vec![target]),
        }
    }
    groups
}

pub(super) fn names(targets: &[&Target]) -> String {
    targets.iter().map(|target| target.name.as_str()).collect::<Vec<_>>().join(", ")
}
