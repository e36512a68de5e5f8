//! Checks whether the auth key still shows the view of MISP that filled the ledger; a view is what an
//! organisation and its rights may see. Under another view, reads add nothing and a missing event withdraws
//! nothing, since it may only be hidden.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{IntakeFault, RestIntake, now};
use crate::log_event::LogEvent;
use crate::misp_api::{Key, KeysView};

/// The key as the ledger remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    /// The view that filled the ledger.
    view: KeysView,
    user: i64,
    role: i64,
    /// Whether another view was seen since. What was read by it added nothing, and only withdrew.
    other_seen: bool,
}

/// The key as older ledgers remember it, without its view.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Older {
    user: i64,
    org: i64,
    role: i64,
    site_admin: bool,
}

/// The view that filled the ledger, as far as it is known.
#[derive(Debug)]
enum Memory {
    /// No key filled it.
    Empty,
    Of(Remembered),
    /// Some key filled it, and nothing tells whether that key saw the same. No view counts as the same.
    Unknown,
}

impl Memory {
    /// Reads what the ledger holds. A memory in the older shape counts if all that it holds is true of this
    /// key too.
    fn of(told: Option<&Value>, key: &Key) -> Self {
        let Some(told) = told else { return Self::Empty };
        // The present shape comes first. The older one takes no unknown fields, so neither is read as the
        // other.
        if let Ok(known) = Remembered::deserialize(told) {
            return Self::Of(known);
        }
        match Older::deserialize(told) {
            Ok(Older { user, org, role, site_admin })
                if (org, site_admin) == (key.organisation, key.view.site_admin) =>
            {
                Self::Of(Remembered { view: key.view.clone(), user, role, other_seen: false })
            }
            _ => Self::Unknown,
        }
    }

    /// Returns whether no other view than this one filled the ledger.
    fn is_of(&self, view: &KeysView) -> bool {
        match self {
            Self::Empty => true,
            Self::Of(known) => known.view == *view,
            Self::Unknown => false,
        }
    }

    fn is_of_another_seen(&self) -> bool {
        matches!(self, Self::Of(Remembered { other_seen: true, .. }))
    }
}

impl RestIntake {
    /// Asks for the key's view until MISP answers.
    pub(super) async fn learn_key(&self) {
        let mut failures = 0;
        while let Err(fault) = self.judge_key().await {
            failures += 1;
            self.pause(&fault, failures, "read its own user").await;
        }
    }

    /// Asks for the key's view once, and compares it with the ledger's. This happens before each listing and
    /// deletion, and between each answer and its use, since an administrator of MISP may move the key's user
    /// while the relay runs.
    pub(super) async fn judge_key(&self) -> Result<(), IntakeFault> {
        let key = self.client.key().await.map_err(IntakeFault::Key)?;
        self.status.told_key();
        let name = format!("key {}", self.source());
        let told = self.ledger.remembered(&name).await?;
        let before = Memory::of(told.as_ref(), &key);
        let same = before.is_of(&key.view);
        let accepted = same || self.accept_new_view.load(Ordering::Relaxed);
        self.tell(&key, &before, accepted);
        let after = remember(&key, &before, accepted).map(|after| serde_json::json!(after));
        // Reads by another view added nothing, so everything is read anew. The resync is stored before the view:
        // after a stop in between, the next start sees that the view is another one, and begins it again.
        if accepted && (!same || before.is_of_another_seen()) {
            self.ledger.restart_resync(self.source(), None, now()).await?;
        }
        if let Some(after) = after.filter(|after| told.as_ref() != Some(after)) {
            self.ledger.remember(&name, &after).await?;
        }
        // --accept-new-view counts once: for the key that the relay was started with. The same view does not use
        // it up, and neither does a ledger that could not store the other one.
        if accepted && !same {
            self.accept_new_view.store(false, Ordering::Relaxed);
        }
        // Set last: reads may add only once the ledger holds the view, and the resync that goes with it.
        self.key.set(key.view.site_admin, accepted);
        self.status.set_key(&key.words, !accepted);
        Ok(())
    }

    /// Logs what is new about the key's view.
    fn tell(&self, key: &Key, before: &Memory, accepted: bool) {
        if !accepted {
            // Told when it begins and at start: the key is judged before each request.
            if self.key.is_accepted() || self.status.now().key.is_none() {
                let (words, now) = (&key.words, &key.view);
                tracing::error!(
                    event = LogEvent::KeySeesOther.word(),
                    key = words,
                    ?now,
                    ?before,
                    "misp.key shows another view than the one that the ledger was filled with. What it reads adds nothing, and what it does not see is not withdrawn; start once with --accept-new-view if that is right"
                );
            }
            return;
        }
        let news = match before {
            Memory::Empty => return,
            _ if !before.is_of(&key.view) => {
                "The key shows another view than before, which is accepted. Everything is compared with what it sees"
            }
            _ if before.is_of_another_seen() => {
                "The key shows the view again that the ledger was filled with. Everything is compared with it"
            }
            Memory::Of(before) if (before.user, before.role) != (key.user, key.role) => {
                "The key belongs to another user or role than before, and shows the same view"
            }
            Memory::Of(_) | Memory::Unknown => return,
        };
        tracing::warn!(event = LogEvent::KeyChanged.word(), key = key.words, "{news}");
    }
}

/// Returns what is remembered from now on. `None`: the memory stays as it is, also one that cannot be read.
fn remember(key: &Key, before: &Memory, accepted: bool) -> Option<Remembered> {
    let (user, role) = (key.user, key.role);
    match before {
        _ if accepted => Some(Remembered { view: key.view.clone(), user, role, other_seen: false }),
        Memory::Of(before) => Some(Remembered { other_seen: true, ..before.clone() }),
        Memory::Empty | Memory::Unknown => None,
    }
}
