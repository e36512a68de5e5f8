//! Ends the indicators that another product left in a workspace. Each of them is uploaded once more as it is,
//! under that product's source system, but with a validity that is over.

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::look::shown;
use super::stray::stray;
use super::{INDICATOR, LookError, ReadableTarget, Readback};
use crate::azure::manage::{Condition, WorkspaceObject};
use crate::ledger::Ledger;
use crate::pure::stix::EndedIndicator;
use crate::pure::verify::{self, Cleaning, VerifyLine, kind_of, lives};

/// How long before now a cleaned-up indicator's end is set, milliseconds. Nobody checks later whether it is
/// over by Sentinel's clock, and our clock may be ahead of it.
const EARLIER: i64 = 86_400_000;

/// The number of ids that are looked up at a time.
const AT_ONCE: usize = 50;

// Says which indicators are to be ended, and how.
#[derive(Debug, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cleanup {
    /// The source system that the other product uploads under, e.g. MISP
    #[arg(long, value_name = "NAME")]
    pub sourcesystem: String,

    /// Only in this target's workspace
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,

    /// End them; without this they are only listed
    #[arg(long)]
    #[serde(default)]
    pub apply: bool,

    /// Revoke them, which is final; without this their validity ends now
    #[arg(long, requires = "apply")]
    #[serde(default)]
    pub revoke: bool,
}

impl Readback {
    /// Lists the indicators of another product, and ends them if `cleanup` says so.
    ///
    /// # Errors
    /// There is nothing to ask, or another comparison is running. An error at one target is in its report.
    pub async fn cleanup(
        &self,
        cleanup: Cleanup,
        lines: mpsc::Sender<VerifyLine>,
    ) -> anyhow::Result<()> {
        let places = self.which(cleanup.target.as_deref())?;
        let _turn = self.turn()?;
        for place in places {
            let cleaning = Cleaning {
                target: place.target.clone(),
                sourcesystem: cleanup.sourcesystem.clone(),
                ended: cleanup.apply.then_some(0),
                ..Cleaning::default()
            };
            let mut work = Work { place, cleanup: &cleanup, lines: &lines, cleaning };
            let ended = work.all().await;
            work.cleaning.error = ended.err().map(|error| error.to_string());
            if lines.send(VerifyLine::Cleaned(Box::new(work.cleaning))).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

struct Work<'a> {
    place: &'a ReadableTarget,
    cleanup: &'a Cleanup,
    lines: &'a mpsc::Sender<VerifyLine>,
    cleaning: Cleaning,
}

impl Work<'_> {
    async fn all(&mut self) -> Result<(), LookError> {
        let live = self.list().await?;
        // Each indicator is read again right before its end is sent: it may be long since it was listed.
        if !self.cleanup.apply {
            return Ok(());
        }
        let mut ready = Vec::new();
        for ids in live.chunks(AT_ONCE) {
            ready.extend(self.endings(ids).await?);
            // Full requests only, because each takes a place of the quota.
            while ready.len() >= self.place.foreign_upload.max_objects() {
                let rest = ready.split_off(self.place.foreign_upload.max_objects());
                self.send(std::mem::replace(&mut ready, rest)).await?;
            }
        }
        if ready.is_empty() { Ok(()) } else { self.send(ready).await }
    }

    /// Lists the indicators. Returns the ids of those that are live.
    async fn list(&mut self) -> Result<Vec<String>, LookError> {
        self.place.confirm().await?;
        let condition = self.condition(&[]);
        let of = self.place.client.count(&condition).await?;
        let mut walk = self.place.client.walk(&condition);
        let (mut live, mut looked_at) = (Vec::new(), 0);
        while let Some(page) = walk.page().await? {
            looked_at += page.len() as u64;
            for found in &page {
                if lives(&found.data, Ledger::now()) {
                    self.cleaning.live.add(|| shown(&found.data));
                    *self.cleaning.kinds.entry(kind_of(&found.data)).or_default() += 1;
                    live.push(found.id().to_owned());
                } else {
                    self.cleaning.over += 1;
                }
            }
            self.progress(looked_at, of).await?;
        }
        Ok(live)
    }

    fn condition<'c>(&'c self, ids: &'c [String]) -> Condition<'c> {
        Condition { kind: INDICATOR, source: Some(&self.cleanup.sourcesystem), ids }
    }

    async fn progress(&self, looked_at: u64, of: u64) -> Result<(), LookError> {
        let target = self.place.target.clone();
        let line = VerifyLine::Progress { target, looked_at, of: of.max(looked_at) };
        self.lines.send(line).await.map_err(|_| LookError::Unheard)
    }

    /// Returns the uploads that end those of `ids` that are still live.
    async fn endings(&self, ids: &[String]) -> Result<Vec<String>, LookError> {
        let found = self.place.client.walk(&self.condition(ids)).all().await?;
        let live = found.iter().filter(|one| lives(&one.data, Ledger::now()));
        Ok(live.map(|one| self.ending(one)).collect())
    }

    fn ending(&self, found: &WorkspaceObject) -> String {
        // Ids do not matter here: another product's indicator has no row in the ledger.
        let one = stray(found, Uuid::nil(), Uuid::nil(), None);
        let now = Ledger::now();
        let ending = EndedIndicator {
            body: &one.body,
            valid_from: one.valid_from,
            at: now.saturating_sub(EARLIER),
            confidence: None,
            revoked: self.cleanup.revoke,
        };
        // Sentinel's clock may be ahead of ours, and nothing may be modified before it was created.
        ending.json(one.created.min(now), now)
    }

    async fn send(&mut self, objects: Vec<String>) -> Result<(), LookError> {
        let count = objects.len() as u64;
        let rejected = self.place.foreign_upload.send(&self.cleanup.sourcesystem, objects).await?;
        for (object, why) in &rejected {
            self.cleaning.rejected.add(|| verify::rejected(object, why));
        }
        let ended = self.cleaning.ended.get_or_insert_default();
        *ended += count.saturating_sub(rejected.len() as u64);
        let ended = *ended;
        self.progress(ended, self.cleaning.live.count).await
    }
}
