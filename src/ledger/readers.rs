//! The threads that read: each has a connection of its own, so that nobody who reads holds up the writing,
//! and nobody who reads for long holds up the senders.

use tokio::sync::{mpsc, oneshot};

use super::sql::{Connection, Result, SqlError, Transaction};
use super::thread::{Worker, guarded};

type Reading = Box<dyn FnOnce(&mut Connection) + Send>;

/// A thread that reads.
#[derive(Debug)]
pub(super) struct ReadingThread(Worker<Reading>);

impl ReadingThread {
    pub(super) fn start(name: &str, mut connection: Connection) -> Result<Self> {
        let run = move |mut waiting: mpsc::Receiver<Reading>| {
            while let Some(work) = waiting.blocking_recv() {
                work(&mut connection);
            }
        };
        Ok(Self(Worker::start(name, run)?))
    }

    /// Reads one moment of the ledger.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(|connection| work(&connection.snapshot()?)).await
    }

    /// Does what no transaction may hold.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (waiting, answer) = oneshot::channel();
        self.0
            .give(Box::new(move |connection| {
                waiting.send(guarded(|| work(connection))).ok();
            }))
            .await?;
        answer.await.map_err(|_| SqlError::Closed)?
    }

    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

/// Who reads what.
#[derive(Debug)]
pub(super) struct Readers {
    /// What the senders pick, and nothing else.
    pub picks: ReadingThread,
    /// Status and other questions that take milliseconds.
    pub short: ReadingThread,
    /// Commands that go through whole tables.
    pub long: ReadingThread,
}

impl Readers {
    pub(super) fn start(open: impl Fn() -> Result<Connection>) -> Result<Self> {
        Ok(Self {
            picks: ReadingThread::start("ledger-picks", open()?)?,
            short: ReadingThread::start("ledger-reads", open()?)?,
            long: ReadingThread::start("ledger-long", open()?)?,
        })
    }

    pub(super) async fn close(&self) {
        for reader in [&self.picks, &self.short, &self.long] {
            reader.close().await;
        }
    }
}
