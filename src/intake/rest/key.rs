//! Whose view the key shows. The ledger remembers it: with another key, what is absent may only be
//! hidden.

use serde_json::{Value, json};

use super::{Fault, RestIntake};
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

    /// Asks now and then: a role may change while the relay runs.
    pub(super) async fn watch_key(&self) {
        loop {
            tokio::time::sleep(self.rest.existence_every).await;
            self.learn_key().await;
        }
    }

    async fn judge_key(&self) -> Result<(), Fault> {
        let key = self.client.key().await?;
        self.status.succeeded();
        let name = format!("key {}", self.source());
        let view = view(&key);
        let before = self.ledger.remembered(&name).await?;
        let same = before.as_ref().is_none_or(|before| *before == view);
        if !same && self.accept_new_view && !self.key.is_accepted() {
            tracing::warn!(
                key = key.words,
                "another key than before is accepted: everything is compared with what it sees"
            );
            self.begin_resync(None).await?;
        }
        let accepted = same || self.accept_new_view;
        if accepted {
            self.ledger.remember(&name, &view).await?;
        } else {
            tracing::error!(key = key.words, before = %before.unwrap_or_default(), "the key is another than the ledger was filled with: what it does not see is not withdrawn; start once with --accept-new-view if that is right");
        }
        self.key.set(key.site_admin, accepted);
        self.status.set_key(&key.words, !accepted);
        Ok(())
    }
}

fn view(key: &Key) -> Value {
    json!({"user": key.user, "org": key.organisation, "role": key.role})
}
