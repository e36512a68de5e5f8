//! Puts new warninglists into force, if the guard allows what they would withdraw. Then judges again the claims on
//! which the old and the new lists differ.

use std::collections::HashSet;
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
use super::warninglists::file::{self, IN_FORCE, WAITING};
use super::warninglists::{InForce, mark};
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

/// The setting that remembers that lists wait.
const SETTING: &str = "warninglists waiting";

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
        let of = |lists: &Lists| OnLists::of(lists, &facts, &claim.observable);
        of(self.before) != of(self.after)
    }
}

impl Ledger {
    /// Puts lists into force. It always accepts the first lists ever, and lists that decide as those before. It accepts
    /// others only if the guard's `measure` allows what they withdraw (`None`: an operator released them). If an error
    /// ends this call, the next call or start does the rest.
    pub async fn adopt(
        &self,
        views: &Views,
        lists: Arc<Lists>,
        source: &str,
        measure: Option<&Guard>,
    ) -> Result<Adopted, AdoptError> {
        let folder = &self.shared.folder;
        let before = match views.warninglists().now() {
            InForce::Unused | InForce::Pending => None,
            InForce::Lists(before) => Some(before),
        };
        if let Some(before) = &before {
            if before.fingerprint() == lists.fingerprint() {
                file::write(folder, IN_FORCE, &lists).await?;
                views.warninglists().set(InForce::Lists(lists));
                self.forget_waiting().await?;
                // An earlier call may have failed after the lists came into force.
                self.reevaluate(views, Self::now(), |_| {}).await?;
                return Ok(Adopted::Same);
            }
            let replacement = Replacement { before, after: &lists };
            if let Some(measure) = measure
                && let Some(going) = self.keep_waiting(views, replacement, source, measure).await?
            {
                // Kept in a file, so that an operator can release them after a restart as well.
                file::write(folder, WAITING, &lists).await?;
                let news = self.note_waiting(&lists, going).await?;
                return Ok(Adopted::Waiting { going, news });
            }
        }
        file::write(folder, IN_FORCE, &lists).await?;
        self.forget_waiting().await?;
        // Whoever judges claims does so in a unit of work of the one thread that writes: none that
        // began under the lists before ends after this.
        let (all, now) = (views.clone(), Arc::clone(&lists));
        let judged = self.write(move |unit| {
            let unjudged: HashSet<String> =
                unjudged(unit, &all)?.iter().map(|view| view.name.clone()).collect();
            all.warninglists().set(InForce::Lists(Arc::clone(&now)));
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

    /// Puts the waiting lists into force, as an operator asked; `None`: none wait.
    pub async fn release_warninglists(
        &self,
        views: &Views,
        source: &str,
    ) -> Result<Option<Adopted>, AdoptError> {
        let Some(lists) = file::read(&self.shared.folder, WAITING) else { return Ok(None) };
        self.adopt(views, lists, source, None).await.map(Some)
    }

    /// How many live objects the waiting lists would withdraw, if any wait.
    pub async fn waiting_warninglists(&self) -> SqlResult<Option<i64>> {
        let waiting = self.remembered(SETTING).await?;
        Ok(waiting.and_then(|waiting| waiting.get("going")?.as_i64()))
    }

    async fn note_waiting(&self, lists: &Lists, going: i64) -> SqlResult<bool> {
        let mark = mark(lists);
        let before = self.remembered(SETTING).await?;
        self.remember(SETTING, &json!({"lists": mark, "going": going})).await?;
        Ok(before.is_none_or(|before| before.get("lists") != Some(&Value::from(mark))))
    }

    async fn forget_waiting(&self) -> Result<(), AdoptError> {
        if self.remembered(SETTING).await?.is_some_and(|waiting| !waiting.is_null()) {
            self.remember(SETTING, &Value::Null).await?;
        }
        Ok(file::remove(&self.shared.folder, WAITING).await?)
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
        let trial = views.under(InForce::Lists(Arc::clone(replacement.after)));
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
