//! Sends the requests of a target to Sentinel's upload API or, in a dry run, appends them to a file.

use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use super::clock;
use super::outcome::{RequestFacts, UploadOutcome};
use super::upload::{self, BadEndpoint};
use crate::config::{AcceptBody, Api, Config, Mode, Secret, Target};

/// The address of a target's requests and the form of their bodies.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    workspace: Uuid,
    api: Api,
    accept_body: AcceptBody,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Upload(upload::Client),
    /// `mode = "dry-run"`.
    File(PathBuf),
}

/// What one request led to.
#[derive(Debug)]
pub(super) struct UploadResponse {
    pub outcome: UploadOutcome,
    /// The target's time by the answer, Unix milliseconds. `None` where the answer does not tell it.
    pub date: Option<i64>,
}

impl Destination {
    /// Reads where a target's requests go from its settings.
    ///
    /// # Errors
    /// [`BadEndpoint`].
    pub(super) fn new(
        config: &Config,
        target: &Target,
        http: &reqwest::Client,
    ) -> Result<Self, BadEndpoint> {
        let timeout = config.delivery.request_timeout;
        let way = match target.mode {
            Mode::Live => Way::Upload(upload::Client::new(http.clone(), target, timeout)?),
            Mode::DryRun => Way::File(target.dry_run_file.clone()),
        };
        let (workspace, accept_body) = (target.workspace_id, config.delivery.accept_body);
        Ok(Self { workspace, api: target.api, accept_body, way })
    }

    /// The file of a dry run. `None` where objects are really sent.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.way {
            Way::Upload(_) => None,
            Way::File(path) => Some(path),
        }
    }

    /// Sends one request with these objects. A dry run needs no token.
    pub(super) async fn send(
        &self,
        token: Option<&Secret>,
        sourcesystem: &str,
        objects: &[impl AsRef<str> + Sync],
    ) -> UploadResponse {
        let body = upload::body(self.api, sourcesystem, objects);
        let Self { workspace, accept_body, .. } = *self;
        let asked = RequestFacts { workspace, objects: objects.len(), accept_body };
        match (&self.way, token) {
            (Way::Upload(client), Some(token)) => {
                let answer = client.send(token, body).await;
                let header = answer.as_ref().ok().and_then(|reply| reply.date.as_deref());
                UploadResponse {
                    date: clock::date(header),
                    outcome: UploadOutcome::of(&answer, asked),
                }
            }
            (Way::File(path), _) => {
                UploadResponse { outcome: append(path, &body).await, date: None }
            }
            (Way::Upload(_), None) => {
                let outcome = UploadOutcome::Unauthorized { why: "no credential".into() };
                UploadResponse { outcome, date: None }
            }
        }
    }
}

/// Appends the body of a request to the file of a dry run as one line.
async fn append(path: &Path, body: &[u8]) -> UploadOutcome {
    let appended = async {
        // Others must not read indicators that may be restricted.
        let mut file =
            tokio::fs::File::options().create(true).append(true).mode(0o600).open(path).await?;
        file.write_all(&[body, b"\n"].concat()).await?;
        file.flush().await
    };
    match appended.await {
        Ok(()) => UploadOutcome::accepted_all(),
        Err(error) => UploadOutcome::Transient {
            why: format!("cannot write dry_run_file {}: {error}", path.display()),
            ambiguous: false,
            wait: None,
        },
    }
}
