//! The settings of a sandbox: its accounts and workspaces, and how strict it is. It also prints the
//! environment for a relay that uses the sandbox.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use crate::config::Secret;

/// The organisation that made the recorded events of the demo.
pub const RECORDED_ORGANISATION: &str = "4028eff6-8b64-45f8-ac36-ff18b327dc76";

/// How a sandbox behaves. The defaults are Microsoft's documented limits, one account and one workspace, on a free port
/// of the loopback interface.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    /// Further host names and addresses of the certificate, besides localhost, 127.0.0.1 and ::1.
    pub names: Vec<String>,
    /// The file into which the certificate authority is written, PEM; `None` for a temporary file that is
    /// removed with the sandbox.
    pub ca_file: Option<PathBuf>,
    pub accounts: Vec<Account>,
    /// The workspaces. On the management plane their names are `workspace-1`, `workspace-2` and so on, in this
    /// order.
    pub workspaces: Vec<Uuid>,
    /// The subscription of all workspaces on the management plane.
    pub subscription_id: Uuid,
    pub resource_group: String,
    /// The client ids without a role on the management plane.
    pub unprivileged: Vec<String>,
    /// The most requests of a client id in any `quota_window`; 0 is no limit.
    pub quota_requests: u32,
    pub quota_window: Duration,
    /// Whether a 429 has a `Retry-After` header.
    pub retry_after: bool,
    pub max_objects: usize,
    /// The most bytes of a request. Microsoft documents no limit.
    pub max_bytes: usize,
    pub token_lifetime: Duration,
    /// Whether to keep the body of each upload request in [`Upload::body`](super::Upload::body).
    pub keep_bodies: bool,
}

/// An application registered in a tenant.
#[derive(Debug, Clone)]
pub struct Account {
    pub tenant_id: String,
    pub client_id: String,
    pub client_secret: Secret,
    /// The workspaces to which it may upload; empty: all.
    pub workspaces: Vec<Uuid>,
}

impl Account {
    pub(super) fn may_upload_to(&self, workspace: Uuid) -> bool {
        self.workspaces.is_empty() || self.workspaces.contains(&workspace)
    }
}

impl Default for Settings {
    fn default() -> Self {
        let id = |n: u128| Uuid::from_u128(0x5a0d_b0c5_0000_4000_8000_0000_0000_0000 | n);
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            names: Vec::new(),
            ca_file: None,
            accounts: vec![Account {
                tenant_id: id(1).to_string(),
                client_id: id(2).to_string(),
                client_secret: Secret::new("sandbox-secret"),
                workspaces: Vec::new(),
            }],
            workspaces: vec![id(3)],
            subscription_id: id(4),
            resource_group: "sandbox".to_owned(),
            unprivileged: Vec::new(),
            quota_requests: 100,
            quota_window: Duration::from_secs(60),
            retry_after: false,
            max_objects: 100,
            max_bytes: 8 << 20,
            token_lifetime: Duration::from_secs(3599),
            keep_bodies: false,
        }
    }
}

/// The address of the feed of recorded events in a trial.
pub(super) const TRIAL_FEED: &str = "127.0.0.1:50000";

/// Returns what else a relay needs to be tried between the sandbox and the feed of recorded events. `page`: where its
/// page is to be.
pub(super) fn trial_environment(ledger: &Path, page: SocketAddr) -> [(String, String); 7] {
    [
        ("MSR_LEDGER__DATA_DIR", ledger.display().to_string()),
        // The usual port may be that of another relay on this machine.
        ("MSR_ADMIN__LISTEN", page.to_string()),
        ("MSR_MISP__PUBLIC_URL", "https://misp.example".to_owned()),
        ("MSR_MISP__ZEROMQ__ENDPOINTS", format!("tcp://{TRIAL_FEED}")),
        // The recorded events are made of documentation addresses.
        ("MSR_POLICY__ALLOW_NON_ROUTABLE", "true".to_owned()),
        // Some of them are only for the organisation that made them.
        ("MSR_POLICY__ORG_WITHOUT_KEY", RECORDED_ORGANISATION.to_owned()),
        // The operator's proxy does not lead to this machine.
        ("MSR_AZURE__PROXY", "none".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// Quotes a value for a shell, if it needs that.
pub(super) fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@,".contains(c);
    if value.chars().all(is_plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

/// Returns the relay's environment for a sandbox: one target for each workspace, of the first account that may
/// upload to it.
pub(super) fn relay_environment(
    settings: &Settings,
    base_url: &str,
    ca_file: &Path,
) -> Vec<(String, String)> {
    let mut variables = vec![("MSR_AZURE__CA_FILE".to_owned(), ca_file.display().to_string())];
    for (number, workspace) in (1..).zip(&settings.workspaces) {
        let mut accounts = settings.accounts.iter();
        let Some(account) = accounts.find(|account| account.may_upload_to(*workspace)) else {
            continue;
        };
        let target = if number == 1 { "SANDBOX".to_owned() } else { format!("SANDBOX_{number}") };
        let keys = [
            ("WORKSPACE_ID", workspace.to_string()),
            ("TENANT_ID", account.tenant_id.clone()),
            ("CLIENT_ID", account.client_id.clone()),
            ("CLIENT_SECRET", account.client_secret.expose().to_owned()),
            ("AUTHORITY", base_url.to_owned()),
            ("ENDPOINT", base_url.to_owned()),
            ("SUBSCRIPTION_ID", settings.subscription_id.to_string()),
            ("RESOURCE_GROUP", settings.resource_group.clone()),
            ("WORKSPACE_NAME", format!("workspace-{number}")),
            ("MANAGEMENT", base_url.to_owned()),
            ("LOGS", base_url.to_owned()),
        ];
        let named = |(key, value)| (format!("MSR_TARGET__{target}__{key}"), value);
        variables.extend(keys.map(named));
    }
    variables
}
