//! A target whose workspace the relay can read over the management plane, with the rule by which the ids of its objects
//! are made.

use std::sync::Arc;

use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::azure::manage::{Condition, ManageClient, ManageError};
use crate::config::{Config, Source, Target};
use crate::deliver::{ForeignUpload, UploadAccess};
use crate::ledger::{Ledger, ResyncPhase, SqlResult};
use crate::pure::stix::{Identity, Withdraw};

/// A target's workspace on the management plane, and how the ids of its objects are made.
#[derive(Debug)]
pub struct ReadableTarget {
    pub target: String,
    pub sourcesystem: String,
    pub client: ManageClient,
    /// The upload of objects that the ledger does not know.
    pub foreign_upload: ForeignUpload,
    /// The namespace of the indicators' ids; `None` where an id does not depend on the observable.
    pub namespace: Option<Uuid>,
    /// The namespace of the relationships' ids, which always depend on what they connect.
    pub relationships: Uuid,
    pub withdraw: Withdraw,
    workspace_id: Uuid,
    /// Set once the workspace is confirmed, so that it is asked only once.
    confirmed: OnceCell<()>,
    /// The sources that the ledger must have read completely before an unknown indicator counts as left over;
    /// `None` where it never reads everything.
    read_whole: Option<Vec<String>>,
}

impl ReadableTarget {
    /// Makes it of a target; `None` where the target is not read back.
    ///
    /// # Errors
    /// An address of the target is not valid.
    pub fn of(
        config: &Config,
        target: &Target,
        http: &reqwest::Client,
        access: UploadAccess,
    ) -> anyhow::Result<Option<Self>> {
        let managed = target.managed.as_ref().filter(|_| target.is_live());
        let Some(managed) = managed else { return Ok(None) };
        let namespace = config.rendering.namespace;
        // With a window, or with the feed alone, the relay never reads everything.
        let reads_all = |source: &Source| source.rest.is_some() && source.window.is_none();
        let read_whole = config
            .enabled_sources()
            .all(reads_all)
            .then(|| config.enabled_sources().map(|source| source.name.clone()).collect());
        let tokens = Arc::clone(&access.tokens);
        Ok(Some(Self {
            target: target.name.clone(),
            sourcesystem: target.sourcesystem.clone(),
            foreign_upload: ForeignUpload::new(config, target, http, access)?,
            client: ManageClient::new(
                http.clone(),
                &config.azure,
                managed,
                tokens,
                &config.management,
            )?,
            namespace: (target.identity == Identity::Observable).then_some(namespace),
            relationships: namespace,
            withdraw: target.withdraw,
            workspace_id: target.workspace_id,
            confirmed: OnceCell::new(),
            read_whole,
        }))
    }

    /// Checks that the configured names lead to the workspace that uploads go to. If the role does not allow
    /// this question, the names are believed.
    ///
    /// # Errors
    /// [`ManageError::Refused`] if they lead to another workspace. Another one if it cannot be asked.
    pub async fn confirm(&self) -> Result<(), ManageError> {
        self.confirmed.get_or_try_init(|| self.ask_which()).await.copied()
    }

    async fn ask_which(&self) -> Result<(), ManageError> {
        let (wanted, scope) = (self.workspace_id, self.client.scope());
        let found = self.client.workspace_id().await?;
        // `None`: the role does not allow the question.
        if let Some(found) = found.filter(|found| *found != wanted) {
            let target = &self.target;
            return Err(ManageError::Refused(format!(
                "{scope} has the workspace ID {found}, and uploads go to {wanted} -- set workspace_id, or subscription_id, resource_group and workspace_name, of target {target}"
            )));
        }
        Ok(())
    }

    /// Returns the condition for this target's own objects of a kind: those with these ids, or all.
    pub(super) fn own<'c>(&'c self, kind: &'c str, ids: &'c [String]) -> Condition<'c> {
        Condition { kind, source: Some(&self.sourcesystem), ids }
    }

    /// Returns whether the ledger has read all that MISP has published. Only then is an object left over that the
    /// ledger does not know.
    pub(super) async fn knows_all(&self, ledger: &Ledger) -> SqlResult<bool> {
        let Some(sources) = &self.read_whole else { return Ok(false) };
        for source in sources {
            let resync = ledger.resync(source).await?;
            if !resync.is_some_and(|one| one.is_whole() && one.phase == ResyncPhase::Done) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns whether the used-up ids can be read from the target's workspace. Under `identity = "attribute"`
/// they cannot, since an id does not depend on the observable.
pub fn tells_used_up_ids(target: &Target) -> bool {
    is_asked(target) && target.identity == Identity::Observable
}

/// Returns whether a target can be read back: it is sent to, and the names of its workspace are configured.
pub fn is_asked(target: &Target) -> bool {
    target.is_live() && target.managed.is_some()
}
