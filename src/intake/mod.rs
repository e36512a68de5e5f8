//! The intakes (ZeroMQ, webhook, REST), which turn what MISP sends or answers into notices. This file holds
//! the inbox through which the notices reach the ledger's writer.

pub mod frame;
mod kept_gaps;
mod once_a_minute;
pub mod rest;
pub mod webhook;
pub mod zmq;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::notice::{Notice, Receipt, What};

/// The sending end of the ledger writer's inbox. It never blocks an intake: a payload that does not fit into
/// the memory bound is refused, and the intake records a gap instead.
#[derive(Debug, Clone)]
pub struct Inbox {
    notices: mpsc::Sender<Notice>,
    memory: Arc<Semaphore>,
}

/// The refusal of a notice, which it gives back: the inbox is full, or the writer has ended.
#[derive(Debug)]
pub struct Full(pub What);

/// The most notices that wait. Each small one takes well under a kilobyte.
const MAX_NOTICES: usize = 16_384;

impl Inbox {
    /// Makes an inbox whose payloads may hold `max_bytes`, and its reading end.
    pub fn new(max_bytes: usize) -> (Self, mpsc::Receiver<Notice>) {
        let (notices, reader) = mpsc::channel(MAX_NOTICES);
        // A semaphore with more than MAX_PERMITS panics.
        let memory = Arc::new(Semaphore::new(max_bytes.min(Semaphore::MAX_PERMITS)));
        (Self { notices, memory }, reader)
    }

    /// Offers a notice without waiting.
    ///
    /// # Errors
    /// [`Full`] gives the notice back.
    pub fn offer(&self, what: What, received: Instant) -> Result<(), Full> {
        self.put(what, received, None)
    }

    /// Offers a notice without waiting. The receipt comes after the commit.
    ///
    /// # Errors
    /// [`Full`] gives the notice back.
    pub fn offer_and_wait(
        &self,
        what: What,
        received: Instant,
    ) -> Result<oneshot::Receiver<Receipt>, Full> {
        let (done, receipt) = oneshot::channel();
        self.put(what, received, Some(done))?;
        Ok(receipt)
    }

    fn put(
        &self,
        what: What,
        received: Instant,
        done: Option<oneshot::Sender<Receipt>>,
    ) -> Result<(), Full> {
        // The notice owns its permit, so the memory is free only when the writer drops the notice.
        let Ok(memory) = self.reserve(&what) else { return Err(Full(what)) };
        // `try_send`, not `send`: a socket that waits here would make its publisher drop frames unseen.
        self.notices
            .try_send(Notice { what, received, done, memory })
            .map_err(|refused| Full(refused.into_inner().what))
    }

    fn reserve(&self, what: &What) -> Result<Option<OwnedSemaphorePermit>, ()> {
        // Only documents are large. Small notices are bounded by their number.
        let (What::Published(body) | What::Announced(body)) = what else {
            return Ok(None);
        };
        // A permit is one byte. A body whose length has no such number does not fit anyway.
        let bytes = u32::try_from(body.len()).map_err(|_| ())?;
        Arc::clone(&self.memory).try_acquire_many_owned(bytes).map(Some).map_err(|_| ())
    }
}
