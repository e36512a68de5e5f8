//! Other lists come into force: what they alter is judged anew, within the guard's measure.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use thiserror::Error;
use uuid::Uuid;

use super::file::{self, IN_FORCE, WAITING};
use super::{InForce, mark};
use crate::config::Guard;
use crate::ledger::apply::STEP;
use crate::ledger::change::Change;
use crate::ledger::claimed::{ClaimRow, claims_of, load_events};
use crate::ledger::claims::{ClaimKey, behind};
use crate::ledger::generations::{self, newest};
use crate::ledger::guard;
use crate::ledger::start::{judged_name, store_setting};
use crate::ledger::wanted::{merge, refresh};
use crate::ledger::{Lane, Ledger, Views, Writing};
use crate::pure::convert::ClaimFacts;
use crate::pure::policy::OnLists;
use crate::pure::stix::Observable;
use crate::pure::warninglist::Lists;

/// What became of lists that MISP showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// They decide as those in force.
    Same,
    /// They are the first in force: all claims were judged anew.
    First,
    /// They are in force; objects that they altered and withdrew, of all views.
    InForce { altered: usize, withdrawn: usize },
    /// They would withdraw so many live objects, more than the guard allows: an operator is asked.
    /// `news`: these were not waiting before.
    Waiting { going: i64, news: bool },
}

#[derive(Debug, Error)]
pub enum AdoptError {
    #[error("the ledger: {0}")]
    Ledger(#[from] sqlx::Error),
    #[error("the files of the warninglists in ledger.data_dir: {0}")]
    File(#[from] io::Error),
}

/// Under which the ledger remembers that lists wait.
const SETTING: &str = "warninglists waiting";

#[derive(Debug, sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    key: ClaimKey,
    object: Uuid,
    path: String,
    value: String,
    facts: String,
}

impl Ledger {
    /// Puts lists into force. The first ones ever, and those that decide as the ones before, always;
    /// others only if what they withdraw is within the guard's `measure` (`None`: an operator
    /// released them).
    ///
    /// # Errors
    /// What the disk says. Whatever was done by then, the next call or start does the rest.
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
                return Ok(Adopted::Same);
            }
            if let Some(measure) = measure
                && let Some(going) =
                    self.keep_waiting(views, (before, &lists), (source, measure)).await?
            {
                file::write(folder, WAITING, &lists).await?;
                let news = self.note_waiting(&lists, going).await?;
                return Ok(Adopted::Waiting { going, news });
            }
        }
        file::write(folder, IN_FORCE, &lists).await?;
        self.forget_waiting().await?;
        // Whoever judges claims does so in a transaction of the one writing connection: none that
        // began under the lists before ends after this.
        let tx = self.begin().await?;
        views.warninglists().set(InForce::Lists(Arc::clone(&lists)));
        tx.commit().await?;
        match before {
            Some(before) => Ok(self.judge_differing(views, (&before, &lists)).await?),
            None => {
                self.reevaluate(views, Self::now(), |_| {}).await?;
                Ok(Adopted::First)
            }
        }
    }

    /// Puts the waiting lists into force, as an operator asked; `None`: none wait.
    ///
    /// # Errors
    /// As [`Ledger::adopt`].
    pub async fn release_warninglists(
        &self,
        views: &Views,
        source: &str,
    ) -> Result<Option<Adopted>, AdoptError> {
        let Some(lists) = file::read(&self.shared.folder, WAITING) else { return Ok(None) };
        self.adopt(views, lists, source, None).await.map(Some)
    }

    /// How many live objects the waiting lists would withdraw, if any wait.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn waiting_warninglists(&self) -> sqlx::Result<Option<i64>> {
        let waiting = self.remembered(SETTING).await?;
        Ok(waiting.and_then(|waiting| waiting.get("going")?.as_i64()))
    }

    async fn note_waiting(&self, lists: &Lists, going: i64) -> sqlx::Result<bool> {
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

    /// How many live objects would go, if the guard does not allow it; if it does, they are counted.
    async fn keep_waiting(
        &self,
        views: &Views,
        (before, after): (&Lists, &Arc<Lists>),
        (source, measure): (&str, &Guard),
    ) -> sqlx::Result<Option<i64>> {
        let objects = self.differing(before, after).await?;
        let trial = views.under(InForce::Lists(Arc::clone(after)));
        let now = Self::now();
        let mut tx = self.begin().await?;
        let going = going(&mut tx, &trial, &objects).await?;
        let allowed = guard::infer(&mut tx, (source, &going), measure, now).await?;
        tx.commit().await?;
        let most = going.iter().map(|(_, count)| *count).max().unwrap_or(0);
        Ok((!allowed).then_some(most))
    }

    /// Judges all claims anew on which the lists say something else than those before.
    async fn judge_differing(
        &self,
        views: &Views,
        (before, after): (&Lists, &Lists),
    ) -> sqlx::Result<Adopted> {
        let objects = self.differing(before, after).await?;
        let (mut altered, mut withdrawn) = (0, 0);
        for objects in objects.chunks(STEP) {
            let mut tx = self.begin().await?;
            let mut change = Change::new(views, None, Self::now()).in_lane(Lane::Backlog);
            refresh(&mut tx, objects, &mut change).await?;
            self.commit(tx, &change).await?;
            altered += change.altered;
            withdrawn += change.withdrawn;
        }
        let mut tx = self.begin().await?;
        for view in views.iter() {
            let judged = views.judged_as(view);
            store_setting(&mut tx, &judged_name(&view.name), &judged).await?;
        }
        tx.commit().await?;
        Ok(Adopted::InForce { altered, withdrawn })
    }

    /// The objects of claims on which the lists say something else than those before.
    async fn differing(&self, before: &Lists, after: &Lists) -> sqlx::Result<Vec<Uuid>> {
        let mut objects = Vec::new();
        let (mut place, step) = (ClaimKey::least(), i64::try_from(STEP).unwrap_or(i64::MAX));
        loop {
            let columns = "object, path, value, facts";
            let rows: Vec<Row> = behind(&self.readers, &place, columns, step).await?;
            let Some(last) = rows.last() else { break };
            place = last.key.clone();
            let differs = |row: &&Row| row.lists(before) != row.lists(after);
            objects.extend(rows.iter().filter(differs).map(|row| row.object));
        }
        objects.sort_unstable();
        objects.dedup();
        Ok(objects)
    }
}

impl Row {
    /// The lists that the claim is on.
    fn lists(&self, lists: &Lists) -> OnLists {
        // Unreadable facts are not admitted, whatever the lists say.
        let Ok(facts) = serde_json::from_str::<ClaimFacts>(&self.facts) else {
            return OnLists::default();
        };
        let observable = Observable { path: self.path.clone().into(), value: self.value.clone() };
        OnLists::of(lists, &facts, &observable)
    }
}

/// How many of these objects are live and nothing would claim, in each view.
async fn going(
    tx: &mut Writing,
    views: &Views,
    objects: &[Uuid],
) -> sqlx::Result<Vec<(String, i64)>> {
    let mut going: Vec<(String, i64)> = views.iter().map(|view| (view.name.clone(), 0)).collect();
    let mut events = HashMap::new();
    for objects in objects.chunks(500) {
        let claims = claims_of(tx, objects, views).await?;
        load_events(tx, &claims, &mut events).await?;
        for (view, (_, count)) in views.iter().zip(&mut going) {
            let newest = newest(tx, view, (objects, &claims)).await?;
            let place = |key: Uuid, first: &ClaimRow| {
                generations::place(view, first, newest.get(&key), false)
            };
            let merged = merge(view, &claims, &events, place);
            *count += i64::try_from(merged.withdrawn(&newest).len()).unwrap_or(i64::MAX);
        }
    }
    Ok(going)
}
