//! Compares a target with what its workspace holds, in both directions. It looks up each page of Sentinel in
//! the ledger and keeps 16 bytes of each object; then it walks the ledger for objects that Sentinel did not
//! show. What looks wrong is compared a second time before it counts.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::stray::stray;
use super::{INDICATOR, ReadableTarget};
use crate::azure::manage::{ManageError, WorkspaceObject};
use crate::deliver::ForeignUploadError;
use crate::ledger::{Accepted, Deviation, Ledger, Mending, SqlError, SqlResult, millis};
use crate::pure::stix::Withdraw;
use crate::pure::verify::{
    Comparison, Example, Ours, Stand, VerifyLine, VerifyReport, is_own_relationship, judge, lives,
    time,
};

/// The kinds in the order in which they are compared. Indicators and relationships come first, because they
/// name the others.
const KINDS: [&str; 5] = [INDICATOR, "relationship", "identity", "attack-pattern", "threat-actor"];

/// The most suspects that are asked for by their ids. More of them are looked for in another walk.
const FEW: usize = 2_000;
/// The number of ids in one request.
const AT_ONCE: usize = 50;

/// The number of ledger rows that are read at a time, and of objects that are mended in a transaction.
const STEP: usize = 500;

/// Why a target was not compared, or not cleaned, completely.
#[derive(Debug, Error)]
pub enum LookError {
    #[error(transparent)]
    Manage(#[from] ManageError),
    #[error("the ledger cannot be used: {0}")]
    Ledger(#[from] SqlError),
    #[error(transparent)]
    Send(#[from] ForeignUploadError),
    #[error("nobody listens any more")]
    Unheard,
}

/// Compares one target. Progress goes to `lines`, and an error into the report.
pub(super) async fn compare(
    ledger: &Ledger,
    place: &ReadableTarget,
    ingestion: Duration,
    repair: bool,
    lines: &mpsc::Sender<VerifyLine>,
) -> VerifyReport {
    let report = VerifyReport {
        target: place.target.clone(),
        sourcesystem: place.sourcesystem.clone(),
        repaired: repair.then_some(0),
        ..VerifyReport::default()
    };
    let shown = Ledger::now().saturating_sub(millis(ingestion));
    let mut look = Look {
        ledger,
        place,
        shown,
        lines,
        report,
        mending: Mending::default(),
        named: HashSet::new(),
        knows_all: false,
    };
    let ended = look.all().await;
    look.report.error = ended.err().map(|error| error.to_string());
    look.report
}

struct Look<'a> {
    ledger: &'a Ledger,
    place: &'a ReadableTarget,
    /// Unix milliseconds. Sentinel may not show yet what it accepted later than this.
    shown: i64,
    lines: &'a mpsc::Sender<VerifyLine>,
    report: VerifyReport,
    /// Differences that were found and are not written to the ledger yet.
    mending: Mending,
    /// The STIX ids that this relay's indicators and relationships refer to: the organisations that made them
    /// and what they indicate. These are some thousands at most.
    named: HashSet<String>,
    /// Whether an object that the ledger does not know is left over. It is, once the ledger has read all that MISP has
    /// published.
    knows_all: bool,
}

/// A list of ids, in ascending order once it is complete.
type Ids = Vec<Uuid>;

impl Look<'_> {
    async fn all(&mut self) -> Result<(), LookError> {
        self.place.confirm().await?;
        self.knows_all = self.place.knows_all(self.ledger).await?;
        for kind in KINDS {
            // Two looks: an object may change between the reading of one side and that of the other.
            let expected = self.count(kind).await?;
            let suspects = self.first_look(kind, expected).await?;
            self.second_look(kind, suspects).await?;
        }
        // The rest, which does not fill a step.
        self.mend(1).await
    }

    /// Counts the objects of a kind on both sides, and tells the operator about indicators before the walk
    /// begins.
    async fn count(&self, kind: &'static str) -> Result<u64, LookError> {
        let sentinel = self.place.client.count(&self.place.own(kind, &[])).await?;
        let ledger = self.ledger.delivered_count(&self.place.target, kind, Ledger::now()).await?;
        if kind == INDICATOR {
            let target = self.place.target.clone();
            self.tell(VerifyLine::Counted { target, sentinel, ledger }).await?;
        }
        Ok(sentinel)
    }

    async fn tell(&self, line: VerifyLine) -> Result<(), LookError> {
        self.lines.send(line).await.map_err(|_| LookError::Unheard)
    }

    /// Tells how many of `of` objects were looked at so far.
    async fn progress(&self, of: u64) -> Result<(), LookError> {
        let (target, looked_at) = (self.place.target.clone(), self.report.looked_at);
        self.tell(VerifyLine::Progress { target, looked_at, of }).await
    }

    /// Walks over what the workspace holds. Returns the ids that look wrong.
    async fn first_look(&mut self, kind: &'static str, of: u64) -> Result<Ids, LookError> {
        let (mut seen, mut suspects) = (Ids::new(), Ids::new());
        let mut walk = self.place.client.walk(&self.place.own(kind, &[]));
        while let Some(page) = walk.page().await? {
            let page = by_id(kind, page);
            self.report.looked_at += page.len() as u64;
            self.progress(of.max(page.len() as u64)).await?;
            let ids: Ids = page.keys().copied().collect();
            let known = self.known(kind, &ids).await?;
            seen.extend(ids);
            for (id, found) in &page {
                if self.is_suspect(kind, *id, found, known.get(id)) {
                    suspects.push(*id);
                }
            }
        }
        seen.sort_unstable();
        self.add_unseen(kind, &seen, &mut suspects).await?;
        suspects.sort_unstable();
        suspects.dedup();
        Ok(suspects)
    }

    /// Adds to `suspects` what the target accepted and the walk did not see. `seen` is sorted.
    async fn add_unseen(
        &self,
        kind: &str,
        seen: &Ids,
        suspects: &mut Ids,
    ) -> Result<(), LookError> {
        // Page by page in the order of the key, because the ledger may change between two pages.
        let (mut after, limit) = (Uuid::nil(), i64::try_from(STEP).unwrap_or(i64::MAX));
        loop {
            let (target, now) = (&self.place.target, Ledger::now());
            let rows = self.ledger.delivered_after(target, kind, after, now, limit).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.object;
            let unseen = rows.iter().filter(|row| seen.binary_search(&row.stix_id).is_err());
            suspects.extend(unseen.map(|row| row.stix_id));
        }
    }

    async fn known(&self, kind: &str, ids: &[Uuid]) -> SqlResult<HashMap<Uuid, Accepted>> {
        self.ledger.accepted_of(&self.place.target, kind, ids, Ledger::now()).await
    }

    /// Returns whether an object has to be looked at again. Counts those that need no second look.
    fn is_suspect(
        &mut self,
        kind: &str,
        id: Uuid,
        found: &WorkspaceObject,
        known: Option<&Accepted>,
    ) -> bool {
        let now = Ledger::now();
        let is_ours = self.ours(id, found).is_some();
        if known.is_some() || is_ours || self.is_own_relationship(kind, id, found) {
            // Objects of the later kinds are ours only if one of our objects names them.
            self.take_references(found);
        }
        let Some(known) = known else {
            let is_live = lives(&found.data, now);
            if is_live && !is_ours {
                self.count_unknown(kind, id, found);
            }
            // What is over needs no withdrawal, and what others made is not ours to withdraw.
            return is_live && is_ours;
        };
        match judge(&known.stand, Some(&found.data), now, self.shown) {
            Comparison::Same => self.report.same += 1,
            Comparison::Ended => self.report.ended += 1,
            Comparison::Moving => self.report.moving += 1,
            Comparison::NotYet => self.report.not_yet += 1,
            Comparison::Missing
            | Comparison::Different(_)
            | Comparison::ChangedThere(_)
            | Comparison::Revived
            | Comparison::LeftOver => return true,
        }
        false
    }

    fn is_own_relationship(&self, kind: &str, id: Uuid, found: &WorkspaceObject) -> bool {
        kind == "relationship" && is_own_relationship(&found.data, id, &self.place.relationships)
    }

    /// Remembers what one of our objects refers to.
    fn take_references(&mut self, found: &WorkspaceObject) {
        for member in ["created_by_ref", "target_ref"] {
            let reference = found.data.get(member).and_then(serde_json::Value::as_str);
            self.named.extend(reference.map(str::to_owned));
        }
    }

    /// Counts a live object that the ledger does not know and that is no indicator of ours.
    fn count_unknown(&mut self, kind: &str, id: Uuid, found: &WorkspaceObject) {
        let is_named = self.named.contains(found.id());
        if is_named || self.is_own_relationship(kind, id, found) {
            self.report.unknown += 1;
        } else {
            self.report.foreign.add(|| shown(&found.data));
        }
    }

    fn ours(&self, id: Uuid, found: &WorkspaceObject) -> Option<Ours> {
        Ours::of(&found.data, id, self.place.namespace.as_ref()?)
    }

    /// Reads both sides once more for the ids that look wrong. `suspects` is sorted.
    async fn second_look(&mut self, kind: &'static str, suspects: Ids) -> Result<(), LookError> {
        if suspects.len() <= FEW {
            for ids in suspects.chunks(AT_ONCE) {
                let names: Vec<String> = ids.iter().map(|id| format!("{kind}--{id}")).collect();
                let walk = self.place.client.walk(&self.place.own(kind, &names));
                self.settle(kind, ids, &by_id(kind, walk.all().await?)).await?;
            }
            return Ok(());
        }
        let mut seen: HashSet<Uuid> = HashSet::new();
        let mut walk = self.place.client.walk(&self.place.own(kind, &[]));
        while let Some(page) = walk.page().await? {
            let mut page = by_id(kind, page);
            // The others were counted in the first look.
            page.retain(|id, _| suspects.binary_search(id).is_ok());
            let ids: Ids = page.keys().copied().collect();
            self.settle(kind, &ids, &page).await?;
            seen.extend(ids);
        }
        // What the walk did not meet is absent from the workspace, which is a finding as well.
        let left: Ids = suspects.into_iter().filter(|id| !seen.contains(id)).collect();
        for ids in left.chunks(STEP) {
            self.settle(kind, ids, &HashMap::new()).await?;
        }
        Ok(())
    }

    /// Counts these ids by what both sides hold now, and has them mended.
    async fn settle(
        &mut self,
        kind: &str,
        ids: &[Uuid],
        found: &HashMap<Uuid, WorkspaceObject>,
    ) -> Result<(), LookError> {
        let known = self.known(kind, ids).await?;
        for id in ids {
            match (known.get(id), found.get(id)) {
                (Some(known), found) => self.settle_known(kind, *id, known, found),
                (None, Some(found)) => self.settle_unknown(kind, *id, found),
                // Both sides agree that it is gone.
                (None, None) => {}
            }
        }
        self.mend(STEP).await?;
        // A sign of life for the operator, although nothing new was looked at.
        self.progress(self.report.looked_at).await
    }

    fn settle_known(
        &mut self,
        kind: &str,
        id: Uuid,
        known: &Accepted,
        found: Option<&WorkspaceObject>,
    ) {
        let now = Ledger::now();
        let held = found.map(|found| &found.data);
        // An object that is missing in Sentinel is named from the ledger's own copy.
        let named = || match (found, &known.stand) {
            (Some(found), _) => shown(&found.data),
            (None, Stand::Live { json, .. }) => {
                shown(&serde_json::from_str(json).unwrap_or_default())
            }
            (None, _) => Example { id: format!("{kind}--{id}"), ..Example::default() },
        };
        let (object, accepted_at) = (known.object, known.accepted_at.unwrap_or_default());
        let again = Deviation { object, accepted_at, valid_until: 0 };
        match judge(&known.stand, held, now, self.shown) {
            Comparison::Same => self.report.same += u64::from(found.is_some()),
            Comparison::Ended => self.report.ended += u64::from(found.is_some()),
            Comparison::Moving => self.report.moving += 1,
            Comparison::NotYet => self.report.not_yet += 1,
            Comparison::Missing => {
                self.report.missing.add(named);
                self.mending.again.push(again);
            }
            Comparison::Different(properties) => {
                self.report.different.add(|| Example { properties, ..named() });
                self.mending.again.push(again);
            }
            // A rule or a user changed it in Sentinel: sending it again would undo what they want.
            Comparison::ChangedThere(properties) => {
                self.report.changed.add(|| Example { properties, ..named() });
            }
            Comparison::Revived => self.report.revived.add(named),
            Comparison::LeftOver => {
                self.report.left_over.add(named);
                let Some(found) = found else { return };
                match (&known.stand, known.accepted_at) {
                    (Stand::Ended { .. }, Some(_)) => {
                        let valid_until = time(&found.data, "valid_until").unwrap_or(i64::MAX);
                        self.mending.ended.push(Deviation { valid_until, ..again });
                    }
                    // The ledger has no accepted withdrawal of it, so it is withdrawn like an unknown object.
                    _ => self.mending.strays.push(stray(found, known.object, id, None)),
                }
            }
        }
    }

    fn settle_unknown(&mut self, kind: &str, id: Uuid, found: &WorkspaceObject) {
        if !lives(&found.data, Ledger::now()) {
            return;
        }
        let Some(ours) = self.ours(id, found) else { return self.count_unknown(kind, id, found) };
        self.report.left_over.add(|| shown(&found.data));
        // Before everything was read, an unknown indicator may still be wanted, so it is kept.
        if self.knows_all {
            self.mending.strays.push(stray(found, id, id, Some(&ours)));
        } else {
            self.report.kept += 1;
        }
    }

    /// Writes the differences that were found, once there are at least `least` of them.
    async fn mend(&mut self, least: usize) -> Result<(), LookError> {
        if self.mending.len() < least {
            return Ok(());
        }
        let mending = std::mem::take(&mut self.mending);
        // Without `repair` they are only dropped.
        let Some(repaired) = &mut self.report.repaired else { return Ok(()) };
        let (target, revoke) = (&self.place.target, self.place.withdraw == Withdraw::Revoke);
        *repaired += self.ledger.mend(target, &mending, revoke, Ledger::now()).await?;
        Ok(())
    }
}

/// Returns the uuid of a STIX id of this kind; `None` for an id of another kind.
pub(super) fn uuid_of(kind: &str, id: &str) -> Option<Uuid> {
    let uuid = id.strip_prefix(kind)?.strip_prefix("--")?;
    Uuid::try_parse(uuid).ok()
}

/// Returns the objects of this kind by their uuids.
fn by_id(kind: &str, page: Vec<WorkspaceObject>) -> HashMap<Uuid, WorkspaceObject> {
    page.into_iter().filter_map(|found| Some((uuid_of(kind, found.id())?, found))).collect()
}

pub(super) fn shown(object: &serde_json::Value) -> Example {
    let text = |member| object.get(member).and_then(serde_json::Value::as_str);
    let what = text("pattern").or(text("name")).or(text("relationship_type"));
    Example {
        id: text("id").unwrap_or_default().to_owned(),
        what: what.unwrap_or_default().chars().take(120).collect(),
        properties: Vec::new(),
    }
}
