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
use crate::ledger::claimed::{ClaimRow, EventsByKey, claims_of, load_events};
use crate::ledger::claims::{ClaimKey, behind};
use crate::ledger::generations::{self, newest};
use crate::ledger::guard;
use crate::ledger::sql::{
    Columns, FromRow, Result as SqlResult, SqlError, Transaction, statements,
};
use crate::ledger::start::{judged_name, store_setting};
use crate::ledger::wanted::{merge, refresh};
use crate::ledger::{Lane, Ledger, Views};
use crate::pure::convert::ClaimFacts;
use crate::pure::policy::OnLists;
use crate::pure::stix::Observable;
use crate::pure::warninglist::Lists;

statements! {
    CLAIMS(Text, Bytes, Bytes, Integer, Integer) =
        "SELECT source, event, attribute, part, object, path, value, facts FROM claims
         WHERE (source, event, attribute, part) > ($1, $2, $3, $4)
         ORDER BY source, event, attribute, part LIMIT $5";
}

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
    Ledger(#[from] SqlError),
    #[error("the files of the warninglists in ledger.data_dir: {0}")]
    File(#[from] io::Error),
}

/// Under which the ledger remembers that lists wait.
const SETTING: &str = "warninglists waiting";

/// Objects whose claims are merged on trial at a time.
const CHUNK: usize = 500;

#[derive(Debug)]
struct Row {
    key: ClaimKey,
    object: Uuid,
    path: String,
    value: String,
    facts: String,
}

impl FromRow for Row {
    fn from_row(columns: &mut Columns<'_>) -> SqlResult<Self> {
        Ok(Self {
            key: ClaimKey::from_row(columns)?,
            object: columns.take()?,
            path: columns.take()?,
            value: columns.take()?,
            facts: columns.take()?,
        })
    }
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
        // Whoever judges claims does so in a unit of work of the one thread that writes: none that
        // began under the lists before ends after this.
        let (in_force, now) = (views.warninglists().clone(), Arc::clone(&lists));
        self.write(move |_| {
            in_force.set(InForce::Lists(Arc::clone(&now)));
            Ok(())
        })
        .await?;
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

    /// How many live objects would go, if the guard does not allow it; if it does, they are counted.
    async fn keep_waiting(
        &self,
        views: &Views,
        (before, after): (&Lists, &Arc<Lists>),
        (source, measure): (&str, &Guard),
    ) -> SqlResult<Option<i64>> {
        let objects = self.differing(before, after).await?;
        let trial = views.under(InForce::Lists(Arc::clone(after)));
        let now = Self::now();
        let going = self.going(&trial, &objects).await?;
        let most = going.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let (source, measure) = (source.to_owned(), *measure);
        let allowed =
            self.write(move |unit| guard::infer(unit, (&source, &going), &measure, now)).await?;
        Ok((!allowed).then_some(most))
    }

    /// How many of these objects are live and nothing would claim, in each view.
    async fn going(&self, views: &Views, objects: &[Uuid]) -> SqlResult<Vec<(String, i64)>> {
        let mut going: Vec<(String, i64)> =
            views.iter().map(|view| (view.name.clone(), 0)).collect();
        let mut events = HashMap::new();
        for objects in objects.chunks(CHUNK) {
            let (views, objects) = (views.clone(), objects.to_vec());
            let counted = self.read(move |tx| count_going(tx, &views, &objects, events));
            let counts;
            (counts, events) = counted.await?;
            for ((_, all), count) in going.iter_mut().zip(counts) {
                *all += count;
            }
        }
        Ok(going)
    }

    /// Judges all claims anew on which the lists say something else than those before.
    async fn judge_differing(
        &self,
        views: &Views,
        (before, after): (&Lists, &Lists),
    ) -> SqlResult<Adopted> {
        let objects = self.differing(before, after).await?;
        let (mut altered, mut withdrawn) = (0, 0);
        for objects in objects.chunks(STEP) {
            let (views, objects, now) = (views.clone(), objects.to_vec(), Self::now());
            let done = self.write(move |unit| {
                let mut change = Change::new(&views, None, now).in_lane(Lane::Backlog);
                refresh(unit, &objects, &mut change)?;
                unit.wake(&change);
                Ok((change.altered, change.withdrawn))
            });
            let done = done.await?;
            altered += done.0;
            withdrawn += done.1;
        }
        let views = views.clone();
        self.write(move |unit| {
            for view in views.iter() {
                store_setting(unit, &judged_name(&view.name), &views.judged_as(view))?;
            }
            Ok(())
        })
        .await?;
        Ok(Adopted::InForce { altered, withdrawn })
    }

    /// The objects of claims on which the lists say something else than those before.
    async fn differing(&self, before: &Lists, after: &Lists) -> SqlResult<Vec<Uuid>> {
        let mut objects = Vec::new();
        let (mut place, step) = (ClaimKey::least(), i64::try_from(STEP).unwrap_or(i64::MAX));
        loop {
            let rows: Vec<Row> = self.read(move |tx| behind(tx, &CLAIMS, &place, step)).await?;
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

/// How many of these objects are live and nothing would claim, of each view, and the events that were
/// needed for it, beside those that were known.
fn count_going(
    tx: &Transaction<'_>,
    views: &Views,
    objects: &[Uuid],
    mut events: EventsByKey,
) -> SqlResult<(Vec<i64>, EventsByKey)> {
    let claims = claims_of(tx, objects, views)?;
    load_events(tx, &claims, &mut events)?;
    let mut counts = Vec::new();
    for view in views.iter() {
        let newest = newest(tx, view, (objects, &claims))?;
        let place =
            |key: Uuid, first: &ClaimRow| generations::place(view, first, newest.get(&key), false);
        let merged = merge(view, &claims, &events, place);
        counts.push(i64::try_from(merged.withdrawn(&newest).len()).unwrap_or(i64::MAX));
    }
    Ok((counts, events))
}
