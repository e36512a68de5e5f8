//! Puts new warninglists into force, if the guard allows what they would withdraw. Then judges again the claims on
//! which the old and the new lists differ.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use thiserror::Error;
use uuid::Uuid;

use super::change::Change;
use super::full_claims::{KnownEvents, claims_of};
use super::generations::Generations;
use super::guard;
use super::merge::merge;
use super::refresh::refresh;
use super::sources::Sources;
use super::sql::{Result as SqlResult, SqlError, Transaction};
use super::start::unjudged;
use super::tables::claims::{self, STEP, STEP_ROWS, WalkedClaim};
use super::tables::inferred::Going;
use super::tables::keys::ClaimCursor;
use super::tables::settings;
use super::warninglists::{InForce, ListsFile, file, mark};
use super::{Lane, Ledger, View, Views};
use crate::config::Guard;
use crate::pure::policy::OnLists;
use crate::pure::warninglist::Lists;

/// What the relay did with the lists that MISP returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// They decide exactly as the lists in force.
    Same,
    /// They are the first in force: all claims were judged anew.
    First,
    /// They are in force. The numbers are the objects of all views that they altered and withdrew.
    InForce { altered: usize, withdrawn: usize },
    /// They would withdraw more live objects (`going`) than the guard allows, so they wait for an operator. `news`:
    /// these lists were not waiting before.
    Waiting { going: i64, news: bool },
}

#[derive(Debug, Error)]
pub enum AdoptError {
    #[error("the ledger: {0}")]
    Ledger(#[from] SqlError),
    #[error("the files of the warninglists in ledger.data_dir: {0}")]
    File(#[from] io::Error),
}

/// The setting that remembers that lists of a source wait.
fn setting(source: &str) -> String {
    format!("{SETTING_BEFORE} {source}")
}

/// Its name in a release with one source.
const SETTING_BEFORE: &str = "warninglists waiting";

/// Objects whose claims are merged on trial at a time.
const CHUNK: usize = 500;

/// Lists that are to come into force in place of others.
#[derive(Debug, Clone, Copy)]
struct Replacement<'a> {
    before: &'a Arc<Lists>,
    after: &'a Arc<Lists>,
}

impl Replacement<'_> {
    /// Whether the new lists decide otherwise on a claim than the old ones.
    fn differs(&self, claim: &WalkedClaim) -> bool {
        // Unreadable facts are not admitted, whatever the lists say.
        let Ok(facts) = claim.facts.read() else { return false };
        let of = |lists: &Lists| {
            let mut on = OnLists::default();
            on.add("", lists, &facts, &claim.observable);
            on
        };
        of(self.before) != of(self.after)
    }
}

impl Ledger {
    /// Puts lists of a source into force, in place of those that it had. It always accepts the first lists of any source,
    /// and lists that decide as those before. It accepts others only if the guard's `measure` allows what they withdraw
    /// (`None`: an operator released them). If an error ends this call, the next call or start does the rest.
    pub async fn adopt(
        &self,
        views: &Views,
        lists: Arc<Lists>,
        source: &str,
        measure: Option<&Guard>,
    ) -> Result<Adopted, AdoptError> {
        let _adopting = self.shared.told.adopting.lock().await;
        let folder = &self.shared.folder;
        let before = match views.warninglists().of(source) {
            InForce::Unused | InForce::Pending => None,
            InForce::Lists(before) => Some(before),
        };
        if before.as_ref().is_some_and(|before| before.fingerprint() == lists.fingerprint()) {
            self.keep(source, &lists).await?;
            views.warninglists().set(source, InForce::Lists(lists));
            self.forget_waiting(source).await?;
            // An earlier call may have failed after the lists came into force.
            self.reevaluate(views, Self::now(), |_| {}).await?;
            return Ok(Adopted::Same);
        }
        // The first lists of one source concern what others claim, so the guard looks at them too. Those that come
        // first of all do not: no claim was admitted before.
        let none = Arc::default();
        let compared = before.as_ref().or(views.warninglists().now().are_any().then_some(&none));
        if let Some(measure) = measure
            && let Some(before) = compared
        {
            let replacement = Replacement { before, after: &lists };
            if let Some(going) = self.keep_waiting(views, replacement, source, measure).await? {
                // Kept in a file, so that an operator can release them after a restart as well.
                file::write(folder, ListsFile::Waiting(source), &lists).await?;
                let news = self.note_waiting(source, &lists, going).await?;
                return Ok(Adopted::Waiting { going, news });
            }
        }
        self.keep(source, &lists).await?;
        self.forget_waiting(source).await?;
        // Whoever judges claims does so in a unit of work of the one thread that writes: none that
        // began under the lists before ends after this.
        let (all, now, of) = (views.clone(), Arc::clone(&lists), source.to_owned());
        let judged = self.write(move |unit| {
            let unjudged: HashSet<String> =
                unjudged(unit, &all)?.iter().map(|view| view.name.clone()).collect();
            all.warninglists().set(&of, InForce::Lists(Arc::clone(&now)));
            Ok(all.only(|view| !unjudged.contains(&view.name)))
        });
        let judged = judged.await?;
        match before {
            Some(before) => {
                let replacement = Replacement { before: &before, after: &lists };
                Ok(self.judge_differing(views, &judged, replacement).await?)
            }
            None => {
                self.reevaluate(views, Self::now(), |_| {}).await?;
                Ok(Adopted::First)
            }
        }
    }

    /// Keeps the lists that come into force.
    async fn keep(&self, source: &str, lists: &Arc<Lists>) -> Result<(), AdoptError> {
        let (folder, file) = (&self.shared.folder, ListsFile::InForce(source));
        file::write(folder, file, lists).await?;
        if self.is_first(source).await? {
            file::remove_before(folder, file).await?;
        }
        Ok(())
    }

    /// Whether what a release with one source left is this source's.
    async fn is_first(&self, source: &str) -> SqlResult<bool> {
        let sources = self.read(Sources::load).await?;
        Ok(sources.place(source) == 0)
    }

    /// Puts the waiting lists of a source into force, as an operator asked; `None`: none wait.
    pub async fn release_warninglists(
        &self,
        views: &Views,
        source: &str,
    ) -> Result<Option<Adopted>, AdoptError> {
        let is_first = self.is_first(source).await?;
        let waiting = file::read(&self.shared.folder, ListsFile::Waiting(source), is_first);
        let Some(lists) = waiting else { return Ok(None) };
        self.adopt(views, lists, source, None).await.map(Some)
    }

    /// How many live objects the waiting lists would withdraw, if any wait: of all sources together.
    pub async fn waiting_warninglists(&self) -> SqlResult<Option<i64>> {
        let waiting = self.waiting_warninglists_of_each().await?;
        Ok((!waiting.is_empty()).then(|| waiting.values().sum()))
    }

    /// How many live objects the waiting lists of each source would withdraw, without the sources whose lists do not
    /// wait.
    pub async fn waiting_warninglists_of_each(&self) -> SqlResult<BTreeMap<String, i64>> {
        let sources = self.read(Sources::load).await?;
        let mut waiting = BTreeMap::new();
        for source in sources.names() {
            let going = self.noted(source).await?.and_then(|noted| noted.get("going")?.as_i64());
            waiting.extend(going.map(|going| (source.to_owned(), going)));
        }
        Ok(waiting)
    }

    /// What is remembered of waiting lists of a source.
    async fn noted(&self, source: &str) -> SqlResult<Option<Value>> {
        match self.remembered(&setting(source)).await? {
            None if self.is_first(source).await? => self.remembered(SETTING_BEFORE).await,
            noted => Ok(noted),
        }
    }

    async fn note_waiting(&self, source: &str, lists: &Lists, going: i64) -> SqlResult<bool> {
        let mark = mark(lists);
        let before = self.noted(source).await?;
        self.remember(&setting(source), &json!({"lists": mark, "going": going})).await?;
        Ok(before.is_none_or(|before| before.get("lists") != Some(&Value::from(mark))))
    }

    async fn forget_waiting(&self, source: &str) -> Result<(), AdoptError> {
        if self.noted(source).await?.is_some_and(|waiting| !waiting.is_null()) {
            self.remember(&setting(source), &Value::Null).await?;
        }
        let (folder, is_first) = (&self.shared.folder, self.is_first(source).await?);
        Ok(file::remove(folder, ListsFile::Waiting(source), is_first).await?)
    }

    /// Forgets the lists of a source that is not read any more. Those in force are no longer its own by now: the
    /// configuration does not name it.
    pub(super) async fn forget_warninglists(&self, source: &str) -> SqlResult<()> {
        if self.noted(source).await?.is_some_and(|waiting| !waiting.is_null()) {
            self.remember(&setting(source), &Value::Null).await?;
        }
        for file in [ListsFile::InForce(source), ListsFile::Waiting(source)] {
            // A file that stays takes room, and nobody reads it.
            file::remove(&self.shared.folder, file, false).await.ok();
        }
        Ok(())
    }

    /// Returns how many live objects would be withdrawn, if the guard does not allow it. If it does, they are recorded
    /// for the guard. The count takes several reads, so objects that become live in between are left out.
    async fn keep_waiting(
        &self,
        views: &Views,
        replacement: Replacement<'_>,
        source: &str,
        measure: &Guard,
    ) -> SqlResult<Option<i64>> {
        let objects = self.differing(replacement).await?;
        let after = InForce::Lists(Arc::clone(replacement.after));
        let trial = views.under(views.warninglists().now().with(source, after));
        let now = Self::now();
        let going = self.going(trial, &objects).await?;
        // Views share most observables, so the figures of all views together would count them several times.
        let most = going.iter().map(|one| one.objects).max().unwrap_or(0);
        let (source, measure) = (source.to_owned(), *measure);
        let allowed =
            self.write(move |unit| guard::infer(unit, &source, &going, &measure, now)).await?;
        Ok((!allowed).then_some(most))
    }

    /// How many of these objects are live and would have no claim left, in each view.
    async fn going(&self, views: Views, objects: &[Uuid]) -> SqlResult<Vec<Going>> {
        let none = |view: &View| Going { view: view.name.clone(), objects: 0 };
        let going = views.iter().map(none).collect();
        let mut trial = Trial { views, going, events: KnownEvents::default() };
        for objects in objects.chunks(CHUNK) {
            let objects = objects.to_vec();
            let counted = self.read(move |tx| {
                trial.count(tx, &objects)?;
                Ok(trial)
            });
            trial = counted.await?;
        }
        Ok(trial.going)
    }

    /// Judges again all claims on which the new lists decide otherwise than the old ones. `judged`: the views of which
    /// all claims had been judged before. The walk that judges the other views covers all their claims.
    async fn judge_differing(
        &self,
        views: &Views,
        judged: &Views,
        replacement: Replacement<'_>,
    ) -> SqlResult<Adopted> {
        let objects = self.differing(replacement).await?;
        let (mut altered, mut withdrawn) = (0, 0);
        for objects in objects.chunks(STEP) {
            let (views, objects, now) = (views.clone(), objects.to_vec(), Self::now());
            let done = self.write_step(move |unit| {
                let mut change = Change::new(&views, None, now).in_lane(Lane::Backlog);
                refresh(unit, &objects, &mut change)?;
                unit.wake(&change);
                Ok((change.altered, change.withdrawn))
            });
            let done = done.await?;
            altered += done.0;
            withdrawn += done.1;
        }
        // Written last: a crash before this has the next start judge everything by the lists in force.
        let judged = judged.clone();
        self.write(move |unit| {
            for view in judged.iter() {
                settings::store_judged(unit, &view.name, &judged.judged_as(view))?;
            }
            Ok(())
        })
        .await?;
        Ok(Adopted::InForce { altered, withdrawn })
    }

    /// The objects of the claims on which the new lists decide otherwise than the old ones.
    async fn differing(&self, replacement: Replacement<'_>) -> SqlResult<Vec<Uuid>> {
        let mut objects = Vec::new();
        let mut cursor = ClaimCursor::BEGINNING;
        loop {
            let claims = self.read(move |tx| claims::walk(tx, cursor, STEP_ROWS)).await?;
            let Some(last) = claims.last() else { break };
            cursor = last.cursor;
            let differing = claims.iter().filter(|claim| replacement.differs(claim));
            objects.extend(differing.map(|claim| claim.object));
        }
        objects.sort_unstable();
        objects.dedup();
        Ok(objects)
    }
}

/// Claims merged on trial.
struct Trial {
    views: Views,
    /// Of each view.
    going: Vec<Going>,
    events: KnownEvents,
}

impl Trial {
    /// Adds how many of these objects are live and would have no claim left.
    fn count(&mut self, tx: &Transaction<'_>, objects: &[Uuid]) -> SqlResult<()> {
        let claims = claims_of(tx, objects, &self.views, &Sources::load(tx)?)?;
        self.events.load(tx, &claims)?;
        for (view, going) in self.views.iter().zip(&mut self.going) {
            let known = Generations::load(tx, view, objects)?;
            let withdrawn = merge(view, &known, &claims, &self.events).withdrawn(&known);
            going.objects += i64::try_from(withdrawn.len()).unwrap_or(i64::MAX);
        }
        Ok(())
    }
}
