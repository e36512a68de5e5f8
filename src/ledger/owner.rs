//! The thread that owns the writing: whoever wants something written hands it a unit of work and waits for
//! the answer. Units that wait together share a commit, each in a savepoint of its own, so that one that
//! fails takes nothing of the others with it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::sql::{Connection, SqlError, Transaction};
use crate::metrics;

/// Units that share a commit.
const MOST: usize = 256;

/// What follows from a unit of work once it is committed: a wake-up, a metric, a line of the log.
type Effect = Box<dyn FnOnce(&Shared) + Send>;

/// A unit of work on its way through a transaction.
pub(super) struct Unit<'t> {
    pub sql: &'t Transaction<'t>,
    effects: RefCell<Vec<Effect>>,
}

impl Unit<'_> {
    /// Has this done after the commit. What is rolled back has no effect.
    pub(super) fn then(&self, effect: impl FnOnce(&Shared) + Send + 'static) {
        self.effects.borrow_mut().push(Box::new(effect));
    }
}

/// A unit of work that waits for its turn.
trait Job: Send {
    /// Runs, and may have to run again after its transaction was lost.
    fn run(&mut self, unit: &Unit<'_>) -> Result<(), SqlError>;
    /// Tells whoever waits. `outcome` is that of the unit and its commit.
    fn answer(self: Box<Self>, outcome: Result<(), SqlError>);
}

struct Work<W, T> {
    work: W,
    done: Option<T>,
    waiting: oneshot::Sender<Result<T, SqlError>>,
}

impl<W, T> Job for Work<W, T>
where
    W: Fn(&Unit<'_>) -> Result<T, SqlError> + Send,
    T: Send,
{
    fn run(&mut self, unit: &Unit<'_>) -> Result<(), SqlError> {
        self.done = Some((self.work)(unit)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), SqlError>) {
        let Self { done, waiting, .. } = *self;
        let answer = outcome.and_then(|()| done.ok_or(SqlError::Closed));
        // Whoever waited may be gone. The work is done all the same.
        waiting.send(answer).ok();
    }
}

/// Hands work to the thread. Clones share it.
#[derive(Clone)]
pub(super) struct Owner(mpsc::UnboundedSender<Box<dyn Job>>);

impl Owner {
    /// Starts the thread. It ends when every clone is dropped and all work is done.
    pub(super) fn start(
        connection: Connection,
        shared: Arc<Shared>,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, waiting) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || Thread { connection, shared, waiting }.run())?;
        Ok((Self(jobs), thread))
    }

    /// Runs a unit of work and waits for its commit. It is done although whoever asked has gone away.
    ///
    /// # Errors
    /// As the unit, or the database refuses the commit.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Fn(&Unit<'_>) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, SqlError> {
        let (waiting, answer) = oneshot::channel();
        let job = Work { work, done: None, waiting };
        self.0.send(Box::new(job)).map_err(|_| SqlError::Closed)?;
        answer.await.map_err(|_| SqlError::Closed)?
    }
}

struct Thread {
    connection: Connection,
    shared: Arc<Shared>,
    waiting: mpsc::UnboundedReceiver<Box<dyn Job>>,
}

/// What a unit came to in its transaction.
type Outcome = Result<Vec<Effect>, SqlError>;

impl Thread {
    fn run(mut self) {
        let mut jobs = Vec::new();
        while self.waiting.blocking_recv_many(&mut jobs, MOST) > 0 {
            let outcomes = match self.commit(&mut jobs) {
                Ok(outcomes) => outcomes,
                Err(error) if jobs.len() == 1 => vec![Err(error)],
                // One of them may be what the transaction was lost for.
                Err(_) => jobs.chunks_mut(1).map(|one| self.commit_one(one)).collect(),
            };
            for (job, outcome) in jobs.drain(..).zip(outcomes) {
                let effects = outcome.map(|effects| {
                    effects.into_iter().for_each(|effect| effect(&self.shared));
                });
                job.answer(effects);
            }
        }
    }

    fn commit_one(&mut self, one: &mut [Box<dyn Job>]) -> Outcome {
        self.commit(one)?.pop().unwrap_or(Err(SqlError::Closed))
    }

    /// Runs these units in one transaction.
    ///
    /// # Errors
    /// The transaction was lost, and with it all of them.
    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Vec<Outcome>, SqlError> {
        let began = Instant::now();
        let transaction = self.connection.begin()?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            let unit = Unit { sql: &transaction, effects: RefCell::default() };
            let ran = transaction.savepoint(|| {
                catch_unwind(AssertUnwindSafe(|| job.run(&unit))).unwrap_or(Err(SqlError::Panicked))
            })?;
            outcomes.push(ran.map(|()| unit.effects.take()));
        }
        transaction.commit()?;
        metrics::committed(began.elapsed());
        Ok(outcomes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sql::{Options, Statement, statements, values};
    use super::*;

    statements! {
        CREATE() = "CREATE TABLE IF NOT EXISTS words (word TEXT NOT NULL PRIMARY KEY, length BIGINT NOT NULL)";
        // $2 stands before $1.
        INSERT(Text, Integer) = "INSERT INTO words (length, word) VALUES ($2, $1)";
        ALL() = "SELECT word, length FROM words ORDER BY word";
    }

    fn started(folder: &tempfile::TempDir) -> (Owner, JoinHandle<()>) {
        let options = Options { fsync: false, cache: 1_000 };
        let connection = Connection::open(&folder.path().join("words.db"), options).unwrap();
        Owner::start(connection, Arc::new(Shared)).unwrap()
    }

    async fn all(owner: &Owner) -> Vec<(String, i64)> {
        owner.run(|unit| unit.sql.rows(&ALL, &[])).await.unwrap()
    }

    fn insert(word: &'static str, length: i64) -> impl Fn(&Unit<'_>) -> Result<(), SqlError> {
        move |unit| unit.sql.execute(&INSERT, &values![word, length]).map(drop)
    }

    #[tokio::test]
    async fn a_unit_that_fails_or_panics_takes_no_other_with_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let (owner, thread) = started(&folder);
        owner.run(|unit| unit.sql.execute(&CREATE, &[])).await.unwrap();
        let twice = |unit: &Unit<'_>| {
            insert("third", 5)(unit)?;
            insert("first", 5)(unit)
        };
        let (first, twice, panicked, second) = tokio::join!(
            owner.run(insert("first", 5)),
            owner.run(twice),
            owner.run(|_: &Unit<'_>| -> Result<(), SqlError> { panic!("a fault") }),
            owner.run(insert("second", 6)),
        );
        assert!(first.is_ok() && second.is_ok());
        assert!(matches!(twice, Err(SqlError::Sqlite(_))), "{twice:?}");
        assert!(matches!(panicked, Err(SqlError::Panicked)), "{panicked:?}");
        assert_eq!(all(&owner).await, [("first".to_owned(), 5), ("second".to_owned(), 6)]);
        drop(owner);
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn work_is_done_although_whoever_asked_has_gone_away() {
        let folder = tempfile::TempDir::new().unwrap();
        let (owner, _thread) = started(&folder);
        owner.run(|unit| unit.sql.execute(&CREATE, &[])).await.unwrap();
        let asked = owner.run(insert("first", 5));
        assert!(futures_lite_poll(asked).is_none(), "nobody waits for the answer");
        assert_eq!(all(&owner).await.len(), 1);
    }

    /// Asks a future once, and drops it.
    fn futures_lite_poll<F: Future>(future: F) -> Option<F::Output> {
        let mut future = Box::pin(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
}
