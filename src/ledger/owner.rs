//! Runs the one thread that writes. Callers hand it a unit of work and wait for the answer. Units that wait at the same
//! time share a commit. Each has a savepoint of its own, so a unit that fails does not undo the others. A step of a
//! large piece of work has a commit of its own.

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use super::Shared;
use super::change::Change;
use super::sql::{Connection, Result, SqlError, Transaction};
use super::thread::{Worker, guarded};
use crate::log_event::LogEvent;
use crate::metrics;

/// The most units that share a commit.
const MOST: usize = 256;

/// A transaction takes up no more units after this time. The rest goes into the next one.
const LONGEST: Duration = Duration::from_millis(100);

/// An effect of a unit of work that follows its commit: a wake-up, a metric or a line of the log.
type Effect = Box<dyn FnOnce(&Shared) + Send>;

/// A unit of work on its way through a transaction.
pub(super) struct Unit<'t> {
    transaction: &'t Transaction<'t>,
    effects: RefCell<Vec<Effect>>,
}

impl<'t> Deref for Unit<'t> {
    type Target = Transaction<'t>;

    fn deref(&self) -> &Transaction<'t> {
        self.transaction
    }
}

impl Unit<'_> {
    /// Runs `effect` after the commit. A unit that is rolled back has no effect.
    pub(super) fn then(&self, effect: impl FnOnce(&Shared) + Send + 'static) {
        let span = Span::current();
        let effect = move |shared: &Shared| span.in_scope(|| effect(shared));
        self.effects.borrow_mut().push(Box::new(effect));
    }

    /// Wakes the senders after the commit if something changed for them.
    pub(super) fn wake(&self, change: &Change<'_>) {
        if !change.is_empty() {
            self.then(|shared| shared.changed.notify_waiters());
        }
    }
}

/// A unit of work that waits for its turn.
trait Job: Send {
    /// Runs the unit. It may have to run again if its transaction is lost.
    fn run(&mut self, unit: &Unit<'_>) -> Result<()>;
    /// Answers the caller. `outcome` is that of the unit and its commit.
    fn answer(self: Box<Self>, outcome: Result<()>);
}

struct WaitingUnit<W, T> {
    work: W,
    /// That of the caller. It names the source in the log.
    span: Span,
    done: Option<T>,
    waiting: oneshot::Sender<Result<T>>,
}

impl<W, T> Job for WaitingUnit<W, T>
where
    W: Fn(&Unit<'_>) -> Result<T> + Send,
    T: Send,
{
    fn run(&mut self, unit: &Unit<'_>) -> Result<()> {
        self.done = Some(self.span.in_scope(|| (self.work)(unit))?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<()>) {
        let Self { work, done, waiting, .. } = *self;
        // Whoever asked may go on with what it lent to the work.
        drop(work);
        let answer = outcome.and_then(|()| done.ok_or(SqlError::Closed));
        // Whoever waited may be gone. The work is done all the same.
        waiting.send(answer).ok();
    }
}

/// Work that cannot be part of a transaction, such as giving pages back to the disk.
type Maintenance = Box<dyn FnOnce(&mut Connection) + Send>;

enum Task {
    Unit(Box<dyn Job>),
    /// A unit that shares its transaction with no other.
    Alone(Box<dyn Job>),
    Maintain(Maintenance),
}

/// Hands work to the thread that writes.
#[derive(Debug)]
pub(super) struct Owner(Worker<Task>);

impl Owner {
    /// Starts the thread. It ends when all work is done and the last handle is gone.
    pub(super) fn start(connection: Connection, shared: Arc<Shared>) -> Result<Self> {
        let thread = Thread { connection, shared };
        Ok(Self(Worker::start("ledger", move |tasks| thread.run(tasks))?))
    }

    /// Runs a unit of work and waits for its commit. The work is done even if the caller stops waiting.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Fn(&Unit<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run_as(Task::Unit, work).await
    }

    /// The same in a transaction of its own. SQLite keeps a copy of each page that a savepoint changes in
    /// memory, and each statement takes longer the more of them there are: a unit that changes thousands of
    /// rows takes twice the time and tens of megabytes if it shares a transaction.
    pub(super) async fn run_alone<T: Send + 'static>(
        &self,
        work: impl Fn(&Unit<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run_as(Task::Alone, work).await
    }

    async fn run_as<T: Send + 'static>(
        &self,
        task: fn(Box<dyn Job>) -> Task,
        work: impl Fn(&Unit<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (waiting, answer) = oneshot::channel();
        let unit = WaitingUnit { work, span: Span::current(), done: None, waiting };
        self.0.give(task(Box::new(unit))).await?;
        answer.await.map_err(|_| SqlError::Closed)?
    }

    /// Runs work that cannot be part of a transaction.
    pub(super) async fn maintain<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (waiting, answer) = oneshot::channel();
        self.0
            .give(Task::Maintain(Box::new(move |connection| {
                waiting.send(guarded(|| work(connection))).ok();
            })))
            .await?;
        answer.await.map_err(|_| SqlError::Closed)?
    }

    /// Waits until all work is done and the thread has ended.
    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

struct Thread {
    connection: Connection,
    shared: Arc<Shared>,
}

/// The result of a unit in its transaction.
type UnitOutcome = Result<Vec<Effect>>;

impl Thread {
    fn run(mut self, mut tasks: mpsc::Receiver<Task>) {
        let mut taken = Vec::new();
        while tasks.blocking_recv_many(&mut taken, MOST) > 0 {
            let mut units = Vec::new();
            for task in taken.drain(..) {
                match task {
                    Task::Unit(unit) => units.push(unit),
                    // What was handed over before is committed before: units keep their order.
                    Task::Alone(unit) => {
                        self.work_down(std::mem::take(&mut units));
                        self.work_down(vec![unit]);
                    }
                    Task::Maintain(work) => {
                        self.work_down(std::mem::take(&mut units));
                        work(&mut self.connection);
                    }
                }
            }
            self.work_down(units);
        }
    }

    fn work_down(&mut self, mut units: Vec<Box<dyn Job>>) {
        while !units.is_empty() {
            let outcomes = match self.commit(&mut units) {
                Ok(outcomes) => outcomes,
                Err(error) if units.len() == 1 => vec![Err(error)],
                // One of them may be what the transaction was lost for.
                Err(_) => units.chunks_mut(1).map(|one| self.commit_one(one)).collect(),
            };
            for (unit, outcome) in units.drain(..outcomes.len()).zip(outcomes) {
                outcome.as_ref().err().into_iter().for_each(|error| self.shared.note_failed(error));
                unit.answer(outcome.map(|effects| self.follow(effects)));
            }
        }
    }

    /// Runs the effects that follow a commit. If one fails, the others still run.
    fn follow(&self, effects: Vec<Effect>) {
        for effect in effects {
            if guarded(|| {
                effect(&self.shared);
                Ok(())
            })
            .is_err()
            {
                tracing::error!(
                    event = LogEvent::RelayFault.word(),
                    "The relay failed at what follows from a commit. Report this with the log"
                );
            }
        }
    }

    fn commit_one(&mut self, one: &mut [Box<dyn Job>]) -> UnitOutcome {
        self.commit(one)?.pop().unwrap_or(Err(SqlError::Closed))
    }

    /// Runs the first of these units in one transaction, as many as there is time for.
    ///
    /// # Errors
    /// The transaction was lost, and with it all of them.
    fn commit(&mut self, units: &mut [Box<dyn Job>]) -> Result<Vec<UnitOutcome>> {
        let began = Instant::now();
        let transaction = self.connection.begin()?;
        let is_alone = units.len() == 1;
        let mut outcomes = Vec::with_capacity(units.len());
        for job in units {
            let unit = Unit { transaction: &transaction, effects: RefCell::default() };
            let mut run = || guarded(|| job.run(&unit));
            // The transaction is the savepoint of a unit that is alone in it.
            let ran = if is_alone { Ok(run()?) } else { transaction.savepoint(run)? };
            outcomes.push(ran.map(|()| unit.effects.take()));
            // Those that are left begin the next transaction.
            if began.elapsed() > LONGEST {
                break;
            }
        }
        let committing = Instant::now();
        transaction.commit()?;
        self.shared.note_written();
        metrics::committed(committing.elapsed());
        Ok(outcomes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sql::{Options, ParameterType, Statement, values};
    use super::*;

    static CREATE: Statement = Statement::new(
        "CREATE TABLE words (word TEXT NOT NULL PRIMARY KEY, length BIGINT NOT NULL)",
        &[],
    );
    // $2 stands before $1.
    static INSERT: Statement = Statement::new(
        "INSERT INTO words (length, word) VALUES ($2, $1)",
        &[ParameterType::Text, ParameterType::Integer],
    );
    static ALL: Statement = Statement::new("SELECT word, length FROM words ORDER BY word", &[]);

    fn started(folder: &tempfile::TempDir) -> Owner {
        let options = Options { fsync: false, cache: 1_000 };
        let connection = Connection::open(&folder.path().join("words.db"), options).unwrap();
        let lock = tempfile::tempfile().unwrap();
        let shared = Shared::new(folder.path().to_owned(), lock);
        Owner::start(connection, Arc::new(shared)).unwrap()
    }

    async fn all(owner: &Owner) -> Vec<(String, i64)> {
        owner.run(|unit| unit.rows(&ALL, &[])).await.unwrap()
    }

    fn insert(word: &'static str, length: i64) -> impl Fn(&Unit<'_>) -> Result<()> {
        move |unit| unit.execute(&INSERT, &values![word, length]).map(drop)
    }

    #[tokio::test]
    async fn a_unit_that_fails_or_panics_takes_no_other_with_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let owner = started(&folder);
        owner.run(|unit| unit.execute(&CREATE, &[])).await.unwrap();
        let twice = |unit: &Unit<'_>| {
            insert("third", 5)(unit)?;
            insert("first", 5)(unit)
        };
        let (first, twice, panicked, second) = tokio::join!(
            owner.run(insert("first", 5)),
            owner.run(twice),
            owner.run(|_: &Unit<'_>| -> Result<()> { panic!("a fault") }),
            owner.run(insert("second", 6)),
        );
        assert!(first.is_ok() && second.is_ok());
        assert!(matches!(twice, Err(SqlError::Sqlite(_))), "{twice:?}");
        assert!(matches!(panicked, Err(SqlError::Panicked)), "{panicked:?}");
        assert_eq!(all(&owner).await, [("first".to_owned(), 5), ("second".to_owned(), 6)]);
        owner.close().await;
        assert!(matches!(owner.run(insert("third", 5)).await, Err(SqlError::Closed)));
    }

    #[tokio::test]
    async fn work_is_done_although_whoever_asked_has_gone_away() {
        let folder = tempfile::TempDir::new().unwrap();
        let owner = started(&folder);
        owner.run(|unit| unit.execute(&CREATE, &[])).await.unwrap();
        // Asked, and not waited for.
        let asked = tokio::time::timeout(Duration::ZERO, owner.run(insert("first", 5))).await;
        drop(asked);
        assert_eq!(all(&owner).await.len(), 1);
    }

    #[tokio::test]
    async fn an_effect_that_panics_costs_no_other() {
        let folder = tempfile::TempDir::new().unwrap();
        let owner = started(&folder);
        let (told, heard) = std::sync::mpsc::channel();
        let effects = move |unit: &Unit<'_>| {
            unit.then(|_| panic!("a fault"));
            let told = told.clone();
            unit.then(move |_| told.send("the next").unwrap());
            Ok(())
        };
        assert!(owner.run(effects).await.is_ok());
        assert_eq!(heard.try_recv(), Ok("the next"));
        assert!(owner.run(|_: &Unit<'_>| Ok(())).await.is_ok());
    }

    #[tokio::test]
    async fn an_effect_comes_after_the_commit_and_never_of_what_was_undone() {
        let folder = tempfile::TempDir::new().unwrap();
        let owner = started(&folder);
        owner.run(|unit| unit.execute(&CREATE, &[])).await.unwrap();
        let (told, heard) = std::sync::mpsc::channel();
        let telling = |word: &'static str, fails: bool| {
            let told = told.clone();
            move |unit: &Unit<'_>| {
                insert(word, 5)(unit)?;
                let told = told.clone();
                unit.then(move |_| told.send(word).unwrap());
                if fails { Err(SqlError::NoRow) } else { Ok(()) }
            }
        };
        let (undone, done) =
            tokio::join!(owner.run(telling("first", true)), owner.run(telling("second", false)));
        assert!(undone.is_err() && done.is_ok());
        assert_eq!(heard.try_recv(), Ok("second"));
        assert!(heard.try_recv().is_err());
    }
}
