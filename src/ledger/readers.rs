//! Runs the threads that read. Each has a connection of its own. So reading does not hold up writing, and long reads do
//! not hold up the senders.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::sql::{Connection, Interrupt, Result, SqlError, Transaction};
use super::thread::{Worker, guarded};

type Reading = Box<dyn FnOnce(&mut Connection) + Send>;

/// How long a read may go on while the ledger is being closed.
const LAST_READ: Duration = Duration::from_millis(50);

/// A thread that reads.
#[derive(Debug)]
pub(super) struct ReadingThread {
    worker: Worker<Reading>,
    interrupt: Interrupt,
}

impl ReadingThread {
    pub(super) fn start(name: &str, mut connection: Connection) -> Result<Self> {
        let interrupt = connection.interrupt();
        let run = move |mut waiting: mpsc::Receiver<Reading>| {
            while let Some(work) = waiting.blocking_recv() {
                work(&mut connection);
            }
        };
        Ok(Self { worker: Worker::start(name, run)?, interrupt })
    }

    /// Reads one moment of the ledger.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(|connection| work(&connection.snapshot()?)).await
    }

    /// Runs work that cannot be part of a transaction.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (waiting, answer) = oneshot::channel();
        self.worker
            .give(Box::new(move |connection| {
                waiting.send(guarded(|| work(connection))).ok();
            }))
            .await?;
        answer.await.map_err(|_| SqlError::Closed)?
    }

    /// Breaks off what the thread reads, since nobody needs it any more, and waits until the thread has ended.
    pub(super) async fn close(&self) {
        let mut closing = pin!(self.worker.close());
        // Again and again: an interrupt ends one statement, and the work may begin the next.
        while timeout(LAST_READ, &mut closing).await.is_err() {
            self.interrupt.now();
        }
    }
}

/// The threads that read, by what they read.
#[derive(Debug)]
pub(super) struct Readers {
    /// Picks of the senders, and nothing else.
    pub picks: ReadingThread,
    /// Questions that take milliseconds.
    pub short: ReadingThread,
    /// The figures of `status`. Some of them are counted row by row.
    pub counts: ReadingThread,
    /// Commands that go through whole tables.
    pub long: ReadingThread,
}

impl Readers {
    pub(super) fn start(open: impl Fn() -> Result<Connection>) -> Result<Self> {
        Ok(Self {
            picks: ReadingThread::start("ledger-picks", open()?)?,
            short: ReadingThread::start("ledger-reads", open()?)?,
            counts: ReadingThread::start("ledger-counts", open()?)?,
            long: ReadingThread::start("ledger-long", open()?)?,
        })
    }

    pub(super) async fn close(&self) {
        for reader in [&self.picks, &self.short, &self.counts, &self.long] {
            reader.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::sql::{Options, Statement};
    use super::*;

    static ENDLESS: Statement = Statement::new(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT max(n) FROM n",
        &[],
    );

    #[tokio::test]
    async fn a_read_that_lasts_does_not_hold_up_the_end() {
        let folder = tempfile::TempDir::new().unwrap();
        let options = Options { fsync: false, cache: 1_000 };
        let connection = Connection::open(&folder.path().join("ledger.db"), options).unwrap();
        let reader = ReadingThread::start("reader", connection).unwrap();
        let began = Instant::now();
        let reading = reader.read(|tx| tx.row::<i64>(&ENDLESS, &[]));
        let (read, ()) = tokio::join!(reading, reader.close());
        assert!(matches!(read, Err(SqlError::Sqlite(_))), "{read:?}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
