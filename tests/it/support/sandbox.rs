//! Starts a sandbox, and configures the relay's own clients to use it.

use std::sync::Arc;
use std::time::Duration;

use misp_sentinel_relay::azure::reply::Reply;
use misp_sentinel_relay::azure::token::{SignIn, TokenSource};
use misp_sentinel_relay::azure::{http, manage};
use misp_sentinel_relay::config::{
    self, AcceptBody, Api, Azure, Credential, Limits, ManagedWorkspace, Management, Mode, Proof,
    Secret, Target,
};
use misp_sentinel_relay::deliver::outcome::{NoReply, RequestFacts, UploadOutcome};
use misp_sentinel_relay::deliver::upload;
use misp_sentinel_relay::pure::stix::{Identity, Withdraw};
use misp_sentinel_relay::sandbox::{Sandbox, Settings};
use uuid::Uuid;

pub(crate) const SOURCE: &str = "misp-sentinel-relay";

/// Long enough for a busy machine, short enough for a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Where nothing listens.
pub(crate) const METADATA: &str = "http://127.0.0.1:1";

/// The way to a sandbox, trusting its authority.
pub(crate) fn azure(sandbox: &Sandbox) -> Azure {
    Azure {
        ca_file: Some(sandbox.ca_file().to_owned()),
        proxy: None,
        connect_timeout: PATIENCE,
        token_timeout: PATIENCE,
        sign_in_pause: Duration::from_millis(20),
        metadata_endpoint: METADATA.to_owned(),
    }
}

/// Small pages and short waits.
pub(crate) fn management() -> Management {
    Management {
        page: 10,
        request_timeout: PATIENCE,
        request_pause: Duration::ZERO,
        retries: 3,
        backoff_min: Duration::from_millis(10),
        backoff_max: Duration::from_millis(50),
        ingestion: Duration::ZERO,
        delete_after: Duration::ZERO,
        delete_pause: Duration::ZERO,
    }
}

/// The sandbox's first workspace by its names.
pub(crate) fn managed(sandbox: &Sandbox) -> ManagedWorkspace {
    ManagedWorkspace {
        subscription_id: sandbox.settings().subscription_id,
        resource_group: sandbox.settings().resource_group.clone(),
        workspace_name: "workspace-1".to_owned(),
        management: sandbox.base_url(),
        api_version: "2025-07-01-preview".to_owned(),
    }
}

/// The management plane's client for it.
pub(crate) fn manager(sandbox: &Sandbox) -> manage::ManageClient {
    let azure = azure(sandbox);
    let Uploader { tokens, .. } = Uploader::new(sandbox);
    let http = http::client(&azure).unwrap();
    let (workspace, tokens) = (managed(sandbox), Arc::new(tokens));
    manage::ManageClient::new(http, &azure, &workspace, tokens, &management()).unwrap()
}

/// The sandbox's first account and workspace as a target.
pub(crate) fn target(sandbox: &Sandbox) -> Target {
    let account = &sandbox.settings().accounts[0];
    Target {
        hits: None,
        name: "sandbox".to_owned(),
        enabled: true,
        mode: Mode::Live,
        workspace_id: sandbox.settings().workspaces[0],
        credential: Credential {
            tenant_id: account.tenant_id.clone(),
            client_id: account.client_id.clone(),
            proof: Proof::ClientSecret(account.client_secret.clone()),
        },
        sourcesystem: SOURCE.to_owned(),
        authority: sandbox.base_url(),
        scope: "https://management.azure.com/.default".to_owned(),
        api: Api::StixObjects,
        endpoint: sandbox.base_url(),
        path: "/workspaces/{workspace_id}/threat-intelligence-stix-objects:upload".to_owned(),
        api_version: "2024-02-01-preview".to_owned(),
        managed: Some(managed(sandbox)),
        dry_run_file: "unused".into(),
        policy: config::load_rules(None, std::iter::empty()).unwrap().policy,
        identity: Identity::Observable,
        withdraw: Withdraw::Expire,
        limits: Limits {
            max_objects: 100,
            max_bytes: 1 << 20,
            quota_requests: 0,
            max_in_flight: 4,
        },
    }
}

/// The STIX id of the `n`th test indicator.
pub(crate) fn id(n: usize) -> String {
    format!("indicator--{}", Uuid::from_u128(0x4000_8000_0000_0000_0000 + n as u128))
}

/// The `n`th test indicator, as JSON.
pub(crate) fn indicator(n: usize) -> String {
    format!(
        r#"{{"type":"indicator","spec_version":"2.1","id":"{}","created":"2026-11-01T00:00:00Z","modified":"2026-11-01T00:00:00Z","pattern":"[ipv4-addr:value = '198.51.100.{}']","pattern_type":"stix","valid_from":"2026-11-01T00:00:00Z","valid_until":"2999-11-01T00:00:00Z"}}"#,
        id(n),
        n % 256,
    )
}

/// The upload client and its tokens, with the policy of a test: none.
pub(crate) struct Uploader {
    pub(crate) client: upload::Client,
    pub(crate) tokens: TokenSource,
    pub(crate) workspace: Uuid,
}

impl Uploader {
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        Self::with_timeout(sandbox, PATIENCE)
    }

    pub(crate) fn with_timeout(sandbox: &Sandbox, timeout: Duration) -> Self {
        Self::of(&target(sandbox), &azure(sandbox), timeout)
    }

    pub(crate) fn of(target: &Target, azure: &Azure, timeout: Duration) -> Self {
        let http = http::client(azure).unwrap();
        let client = upload::Client::new(http.clone(), azure, target, timeout).unwrap();
        let tokens = TokenSource::new(SignIn::of(target), http, azure).unwrap();
        Self { client, tokens, workspace: target.workspace_id }
    }

    pub(crate) async fn send(&self, objects: &[String]) -> UploadOutcome {
        let token = self.tokens.token().await.unwrap();
        let answer = self.post(&token, objects).await;
        let asked = RequestFacts {
            workspace: self.workspace,
            objects: objects.len(),
            accept_body: AcceptBody::Documented,
        };
        UploadOutcome::of(&answer, asked)
    }

    pub(crate) async fn post(&self, token: &Secret, objects: &[String]) -> Result<Reply, NoReply> {
        self.client.send(token, upload::body(Api::StixObjects, SOURCE, objects)).await
    }
}

/// A sandbox without a quota.
pub(crate) async fn start() -> Sandbox {
    start_with(Settings { quota_requests: 0, ..Settings::default() }).await
}

pub(crate) async fn start_with(settings: Settings) -> Sandbox {
    Sandbox::start(settings).await.unwrap()
}

/// Waits until the sandbox is as `reached` says, and fails with what it holds when it never is.
pub(crate) async fn eventually(sandbox: &Sandbox, reached: impl Fn(&Sandbox) -> bool) {
    let mut changes = sandbox.changes();
    let wait = async {
        while !reached(sandbox) {
            changes.changed().await.unwrap();
        }
    };
    // An event of 5,000 attributes takes a debug build on a busy machine longer than one answer.
    let in_time = tokio::time::timeout(PATIENCE * 6, wait).await;
    assert!(in_time.is_ok(), "never reached; requests: {:#?}", sandbox.requests());
}

/// All were accepted.
pub(crate) fn all_well() -> UploadOutcome {
    UploadOutcome::Accepted { rejected: Vec::new(), stray: Vec::new() }
}
