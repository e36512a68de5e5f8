//! Whose view the key shows. The ledger remembers it: with another key, what is absent may only be
//! hidden.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{Fault, RestIntake, now};
use crate::rest::Key;

impl RestIntake {
    /// Asks until MISP tells.
    pub(super) async fn learn_key(&self) {
        let mut failures = 0;
        while let Err(fault) = self.judge_key().await {
            failures += 1;
            self.pause(&fault, failures, "read its own user").await;
        }
    }

    /// Asks once: before each catch-up and each deletion, since a role may change while the relay
    /// runs.
    pub(super) async fn judge_key(&self) -> Result<(), Fault> {
        let key = self.client.key().await?;
        self.status.succeeded();
        let name = format!("key {}", self.source());
        let view = view(&key);
        let before = self.ledger.remembered(&name).await?;
        let same = before.as_ref().is_none_or(|before| *before == view);
        // The operator's word counts for the key that the relay was started with.
        let accepted = same || self.accept_new_view.swap(false, Ordering::Relaxed);
        if accepted {
            self.ledger.remember(&name, &view).await?;
        }
        if accepted && !same {
            tracing::warn!(
                key = key.words,
                "another key than before is accepted: everything is compared with what it sees"
            );
            self.ledger.restart_resync(self.source(), None, now()).await?;
        }
        let news = self.key.is_accepted() || self.status.now().key.is_none();
        if news && !accepted {
            tracing::error!(key = key.words, before = %before.unwrap_or_default(), "the key is another than the ledger was filled with: what it does not see is not withdrawn; start once with --accept-new-view if that is right");
        }
        self.key.set(key.site_admin, accepted);
        self.status.set_key(&key.words, !accepted);
        Ok(())
    }
}

fn view(key: &Key) -> Value {
    let Key { user, organisation, role, site_admin, .. } = key;
    json!({"user": user, "org": organisation, "role": role, "site_admin": site_admin})
}
