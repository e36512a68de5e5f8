//! Runs a thread that does pieces of work from a channel in their order. It ends when the last sender of the channel is
//! gone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::sql::{Result, SqlError};

/// How many pieces of work may wait.
const WAITING: usize = 256;

/// Runs work so that its panic ends only this work, and not the thread.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(SqlError::Panicked))
}

/// A thread and the channel to it.
pub(super) struct Worker<W> {
    work: Mutex<Option<mpsc::Sender<W>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<W> std::fmt::Debug for Worker<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl<W: Send + 'static> Worker<W> {
    /// `run` works until its channel ends.
    pub(super) fn start(
        name: &str,
        run: impl FnOnce(mpsc::Receiver<W>) + Send + 'static,
    ) -> Result<Self> {
        let (work, waiting) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(waiting))
            .map_err(SqlError::Thread)?;
        Ok(Self { work: Mutex::new(Some(work)), thread: Mutex::new(Some(thread)) })
    }

    /// Hands a piece of work to the thread. Waits while the channel is full.
    ///
    /// # Errors
    /// The thread was closed.
    pub(super) async fn give(&self, one: W) -> Result<()> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).clone();
        work.ok_or(SqlError::Closed)?.send(one).await.map_err(|_| SqlError::Closed)
    }

    /// Waits until all work that was handed over is done and the thread has ended.
    pub(super) async fn close(&self) {
        if let Some(thread) = self.end() {
            // A panic was told when it happened.
            tokio::task::spawn_blocking(move || thread.join().ok()).await.ok();
        }
    }
}

impl<W> Worker<W> {
    /// Closes the channel. Returns the thread, which still has to end.
    fn end(&self) -> Option<JoinHandle<()>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<W> Drop for Worker<W> {
    /// Waits for the thread to end, so that it has closed the file.
    fn drop(&mut self) {
        let Some(thread) = self.end() else { return };
        // The last handle may be dropped by the thread itself, after its last work.
        if thread.thread().id() != std::thread::current().id() {
            thread.join().ok();
        }
    }
}
