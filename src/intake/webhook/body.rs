//! Reads the bodies of webhook requests in bounded memory and bounded time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{BodyDataStream, Bytes};
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::{Said, WebhookAnswer};
use crate::config::Webhook;
use crate::pure::misp;

/// The longest time for a whole body, in multiples of the patience: 60 s at the default `answer_within`.
const LONGEST: u32 = 15;

/// The bytes that a body must bring within the patience, unless it ends: 16 KiB/s at the default
/// `answer_within`.
const SLOWEST: usize = 64 << 10;

/// The bytes of a refused body that are read, so that its sender gets to the answer: otherwise the close
/// would reset the connection. For a longer body curl (MISP) waits for `100 Continue` first.
const DRAINED: usize = 1024 * 1024;
const DRAIN_WITHIN: Duration = Duration::from_secs(1);

/// The bounds on bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    /// The memory for all bodies together, a permit a byte.
    room: Arc<Semaphore>,
    /// The size of the largest body in bytes.
    max_body: usize,
    /// The key of the configuration that says so.
    max_body_key: String,
    /// The longest pause of a sender.
    patience: Duration,
}

/// A whole body, and its share of the memory.
#[derive(Debug, Default)]
pub(super) struct WholeBody {
    pub bytes: Bytes,
    /// The share of the memory, which is given back when the body is dropped.
    _room: Option<OwnedSemaphorePermit>,
}

/// A body as far as it has come.
#[derive(Debug, Default)]
struct Growing {
    bytes: Vec<u8>,
    /// The bytes of memory that `room` stands for.
    reserved: usize,
    room: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    pub(super) fn new(config: &Webhook) -> Self {
        Self {
            room: Arc::new(Semaphore::new(config.max_total.min(Semaphore::MAX_PERMITS))),
            max_body: config.max_body,
            max_body_key: config.key_of("max_body"),
            patience: config.answer_within,
        }
    }

    /// Reads a body whose headers announce `length` bytes. Nothing is read of one that is too large. The body
    /// takes memory only as it arrives, so that a slow one keeps no other out. The answer to an unfinished
    /// body names its event if the uuid was in the part that came.
    pub(super) async fn read(
        &self,
        pieces: &mut BodyDataStream,
        length: Option<usize>,
    ) -> Result<WholeBody, WebhookAnswer> {
        // It lives outside of the timed future, so that what has come is still here after the timeout.
        let mut growing = Growing::default();
        let within = self.patience.saturating_mul(LONGEST);
        // A chunked body announces no length, so it may grow up to the bound.
        let most = length.unwrap_or(self.max_body);
        let read = if most > self.max_body {
            Err(self.too_large())
        } else {
            timeout(within, self.fill(&mut growing, most, pieces))
                .await
                .unwrap_or(Err(Said::TooSlow))
        };
        let Growing { bytes, room, .. } = growing;
        match read {
            Ok(()) => Ok(WholeBody { bytes: bytes.into(), _room: room }),
            Err(said) => {
                let (event, bytes) = (misp::event_uuid(&bytes), bytes.len());
                Err(WebhookAnswer { said, bytes, event })
            }
        }
    }

    fn too_large(&self) -> Said {
        Said::TooLarge { key: self.max_body_key.clone(), most: self.max_body }
    }

    /// Reads pieces until the body ends; `most` is the size of the whole in bytes.
    async fn fill(
        &self,
        growing: &mut Growing,
        most: usize,
        pieces: &mut BodyDataStream,
    ) -> Result<(), Said> {
        let (mut enough, mut until) = (SLOWEST, Instant::now() + self.patience);
        loop {
            let piece = match timeout_at(until, pieces.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(_))) => return Err(Said::BrokenOff),
                Ok(None) => return Ok(()),
                Err(_) if growing.bytes.len() < enough => return Err(Said::TooSlow),
                // Only enough bytes move the limit of time, not any piece: one byte now and then would keep
                // the request open.
                Err(_) => {
                    enough = growing.bytes.len() + SLOWEST;
                    until = Instant::now() + self.patience;
                    continue;
                }
            };
            // The room comes first: no byte is kept that the bound does not count.
            self.reserve(growing, piece.len(), most)?;
            growing.bytes.extend_from_slice(&piece);
        }
    }

    /// Reserves memory for `more` bytes. The reservation doubles, up to the whole body.
    fn reserve(&self, growing: &mut Growing, more: usize, most: usize) -> Result<(), Said> {
        let needed = growing.bytes.len().saturating_add(more);
        if needed > self.max_body {
            return Err(self.too_large());
        }
        if needed <= growing.reserved {
            return Ok(());
        }
        let reserved = needed.max(growing.reserved.saturating_mul(2).min(most));
        let missing = u32::try_from(reserved - growing.reserved).map_err(|_| self.too_large())?;
        // Not waited for: others give room back only as fast as their senders are, and MISP waits as well.
        let room =
            Arc::clone(&self.room).try_acquire_many_owned(missing).map_err(|_| Said::NoRoom)?;
        // `merge` panics on permits of two semaphores. All of these are of `self.room`.
        match &mut growing.room {
            Some(all) => all.merge(room),
            none => *none = Some(room),
        }
        growing.reserved = reserved;
        // Exactly what is reserved: a vector that grows by itself would take more than the bound counts.
        growing.bytes.reserve_exact(reserved - growing.bytes.len());
        Ok(())
    }
}

/// Reads on for a moment and drops what comes, so that the sender of a refused request gets to the answer.
pub(super) async fn drain(headers: &HeaderMap, pieces: &mut BodyDataStream) {
    // A sender that waits for `100 Continue` has sent nothing, and reading would ask for it.
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let read = async {
        let mut read = 0;
        while let Some(Ok(piece)) = pieces.next().await {
            read += piece.len();
            if read > DRAINED {
                return;
            }
        }
    };
    // A sender that sends nothing more waits for the answer.
    timeout(DRAIN_WITHIN, read).await.ok();
}
