//! Sends the requests of a target to Sentinel's upload API. In a dry run it appends them to a file instead.

use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use super::outcome::{RequestFacts, UploadOutcome};
use super::upload::{self, BadEndpoint};
use crate::azure::reply::Reply;
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
    /// The file of `mode = "dry-run"`.
    File(PathBuf),
}

/// The answer to one request.
#[derive(Debug)]
pub(super) struct UploadResponse {
    pub outcome: UploadOutcome,
    /// The target's time that the answer tells, Unix milliseconds. `None`: it tells none.
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
            Mode::Live => {
                Way::Upload(upload::Client::new(http.clone(), &config.azure, target, timeout)?)
            }
            Mode::DryRun => Way::File(target.dry_run_file.clone()),
        };
        let (workspace, accept_body) = (target.workspace_id, config.delivery.accept_body);
        Ok(Self { workspace, api: target.api, accept_body, way })
    }

    /// Returns the host that requests go to. `None`: they go to a file.
    pub(super) fn host(&self) -> Option<&str> {
        match &self.way {
            Way::Upload(client) => client.url().host_str(),
            Way::File(_) => None,
        }
    }

    /// Returns the file of a dry run. `None`: objects are sent to Sentinel.
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
        let (outcome, date) = match (&self.way, token) {
            (Way::Upload(client), Some(token)) => {
                let answer = client.send(token, body).await;
                let date = answer.as_ref().ok().and_then(Reply::date);
                (UploadOutcome::of(&answer, asked), date.map(|date| date.timestamp_millis()))
            }
            (Way::File(path), _) => (append(path, &body).await, None),
            (Way::Upload(_), None) => {
                (UploadOutcome::Unauthorized { why: "no credential".to_owned().into() }, None)
            }
        };
        UploadResponse { outcome, date }
    }
}

/// Appends the body of a request to the file of a dry run as one line.
async fn append(path: &Path, body: &[u8]) -> UploadOutcome {
    let appended = async {
        // Indicators may be restricted, so no other user may read the file.
        let mut file =
            tokio::fs::File::options().create(true).append(true).mode(0o600).open(path).await?;
        file.write_all(&[body, b"\n"].concat()).await?;
        file.flush().await
    };
    match appended.await {
        Ok(()) => UploadOutcome::accepted_all(),
        Err(error) => UploadOutcome::Transient {
            why: format!("cannot write dry_run_file {}: {error}", path.display()).into(),
            ambiguous: false,
            wait: None,
        },
    }
}
