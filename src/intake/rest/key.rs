//! Whose view the key shows. The ledger remembers it: by another view nothing is added, and what is
//! absent may only be hidden.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::{Fault, RestIntake, now};
use crate::rest::{Key, KeysView};

/// What the ledger remembers of the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    /// The view that filled the ledger.
    view: KeysView,
    user: i64,
    role: i64,
    /// Another view was seen since: what was read by it counted only as far as it forbids.
    other_seen: bool,
}

impl RestIntake {
    /// Asks until MISP tells.
    pub(super) async fn learn_key(&self) {
        let mut failures = 0;
        while let Err(fault) = self.judge_key().await {
            failures += 1;
            self.pause(&fault, failures, "read its own user").await;
        }
    }

    /// Asks once: before each listing and deletion, and between each answer and its use, since an
    /// administrator of MISP may move the key's user while the relay runs.
    pub(super) async fn judge_key(&self) -> Result<(), Fault> {
        let key = self.client.key().await.map_err(Fault::Key)?;
        self.status.succeeded();
        let name = format!("key {}", self.source());
        let before = self.ledger.remembered(&name).await?;
        let before = before.and_then(|told| serde_json::from_value::<Remembered>(told).ok());
        let same = before.as_ref().is_none_or(|before| before.view == key.view);
        // The operator's word counts for the key that the relay was started with.
        let accepted = same || self.accept_new_view.swap(false, Ordering::Relaxed);
        self.tell(&key, before.as_ref(), accepted);
        let after = remember(&key, before.as_ref(), accepted);
        if before.as_ref() != Some(&after) {
            self.ledger.remember(&name, &serde_json::json!(after)).await?;
        }
        if accepted && before.is_some_and(|before| before.other_seen || !same) {
            self.ledger.restart_resync(self.source(), None, now()).await?;
        }
        self.key.set(key.view.site_admin, accepted);
        self.status.set_key(&key.words, !accepted);
        Ok(())
    }

    fn tell(&self, key: &Key, before: Option<&Remembered>, accepted: bool) {
        let Some(before) = before else { return };
        if !accepted {
            if self.key.is_accepted() || self.status.now().key.is_none() {
                let (words, now, before) = (&key.words, &key.view, &before.view);
                tracing::error!(
                    key = words,
                    ?now,
                    ?before,
                    "misp.key shows another view than the one that the ledger was filled with: what it reads adds nothing, and what it does not see is not withdrawn; start once with --accept-new-view if that is right"
                );
            }
            return;
        }
        let news = if before.view != key.view {
            "another view than before is accepted: everything is compared with what the key sees"
        } else if before.other_seen {
            "the key shows the view again that the ledger was filled with: everything is compared with it"
        } else if (before.user, before.role) != (key.user, key.role) {
            "misp.key belongs to another user or role than before, and shows the same view"
        } else {
            return;
        };
        tracing::warn!(key = key.words, "{news}");
    }
}

fn remember(key: &Key, before: Option<&Remembered>, accepted: bool) -> Remembered {
    match before {
        Some(before) if !accepted => Remembered { other_seen: true, ..before.clone() },
        _ => {
            Remembered { view: key.view.clone(), user: key.user, role: key.role, other_seen: false }
        }
    }
}
