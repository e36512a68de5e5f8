//! A target whose workspace can be read back over the management plane, and how the ids of its objects are
//! made.

use std::sync::Arc;

use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::azure::manage::{ManageClient, ManageError};
use crate::config::{Config, Mode, Target};
use crate::deliver::{ForeignUpload, UploadAccess};
use crate::ledger::{Ledger, ResyncPhase};
use crate::pure::stix::{Identity, Withdraw};

/// A target's workspace on the management plane, and how its indicators are made.
#[derive(Debug, Clone)]
pub struct ReadableTarget {
    pub target: String,
    pub sourcesystem: String,
    pub client: ManageClient,
    /// For objects that the ledger does not know.
    pub foreign_upload: ForeignUpload,
    /// Of indicators; `None` where an id says nothing of its observable.
    pub namespace: Option<Uuid>,
    /// Of relationships, whose ids always tell what they are between.
    pub relationships: Uuid,
    pub withdraw: Withdraw,
    workspace_id: Uuid,
    /// Asked once.
    confirmed: OnceCell<()>,
    /// The MISP of which the ledger must have read everything before what it does not know is taken for
    /// left over; `None` where it never reads everything.
    source: Option<String>,
}

impl ReadableTarget {
    /// `None` where the target is not to be asked.
    ///
    /// # Errors
    /// An address of the target is none.
    pub fn of(
        config: &Config,
        target: &Target,
        http: &reqwest::Client,
        access: UploadAccess,
    ) -> anyhow::Result<Option<Self>> {
        let Some(managed) = target.managed.as_ref() else { return Ok(None) };
        if !is_asked(target) {
            return Ok(None);
        }
        let namespace = config.rendering.namespace;
        // A window, or a feed alone, never shows everything.
        let reads_all = config.misp.rest.is_some() && config.misp.window.is_none();
        let tokens = Arc::clone(&access.tokens);
        Ok(Some(Self {
            target: target.name.clone(),
            sourcesystem: target.sourcesystem.clone(),
            foreign_upload: ForeignUpload::new(config, target, http, access)?,
            client: ManageClient::new(http.clone(), managed, tokens, &config.management)?,
            namespace: (target.identity == Identity::Observable).then_some(namespace),
            relationships: namespace,
            withdraw: target.withdraw,
            workspace_id: target.workspace_id,
            confirmed: OnceCell::new(),
            source: reads_all.then(|| config.misp.name.clone()),
        }))
    }

    /// Whether the names lead to the workspace that uploads go to. Where the role does not let it be
    /// asked, they are believed.
    ///
    /// # Errors
    /// [`ManageError::Refused`]: what is held there is not this target's.
    pub async fn confirm(&self) -> Result<(), ManageError> {
        self.confirmed.get_or_try_init(|| self.ask_which()).await.copied()
    }

    async fn ask_which(&self) -> Result<(), ManageError> {
        let (wanted, scope) = (self.workspace_id, self.client.scope());
        match self.client.workspace_id().await? {
            Some(found) if found != wanted => Err(ManageError::Refused(format!(
                "{scope} has the workspace ID {found}, and uploads go to {wanted} -- set workspace_id, or \
                 subscription_id, resource_group and workspace_name, of target {}",
                self.target
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the ledger has read all that MISP has published, so that what it does not know is wanted
    /// by nobody.
    pub(super) async fn knows_all(&self, ledger: &Ledger) -> sqlx::Result<bool> {
        let Some(source) = &self.source else { return Ok(false) };
        let resync = ledger.resync(source).await?;
        Ok(resync.is_some_and(|one| one.is_whole() && one.phase == ResyncPhase::Done))
    }
}

/// Whether its workspace tells which ids are used up: under `identity = "attribute"` none does.
#[must_use]
pub fn tells_used_up_ids(target: &Target) -> bool {
    is_asked(target) && target.identity == Identity::Observable
}

/// Whether a target can be read back: it is sent to, and its workspace has names.
#[must_use]
pub fn is_asked(target: &Target) -> bool {
    target.enabled && target.mode == Mode::Live && target.managed.is_some()
}
