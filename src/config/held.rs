//! The type `SharedSecret`: a secret in use. When it is refused, it is read again from its source, where it
//! may have been replaced.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync;

use super::secret::Secret;

/// The shortest time between two reads of a refused secret. Anybody may present a wrong secret, and must not
/// cause more reads.
pub const READ_AGAIN: Duration = Duration::from_secs(10);

/// A secret that is shared, and read again when it is refused.
#[derive(Debug)]
pub struct SharedSecret {
    secret: Mutex<Secret>,
    /// The time of the last read. The lock is held during a read, so that all who are refused share it.
    read_at: sync::Mutex<Option<Instant>>,
}

impl SharedSecret {
    pub fn new(secret: Secret) -> Self {
        Self { secret: Mutex::new(secret), read_at: sync::Mutex::default() }
    }

    /// Returns the secret as it was last read.
    pub fn now(&self) -> Secret {
        self.secret.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns a secret other than `refused`, read now or by another task meanwhile. `None`: there is none.
    /// The secret is read at most once in every [`READ_AGAIN`]. `what` names the secret in the log.
    pub async fn other_than(&self, refused: &Secret, what: &str) -> Option<Secret> {
        let mut read_at = self.read_at.lock().await;
        let secret = self.now();
        // Another task may have read it while this one waited for the lock.
        if secret != *refused {
            return Some(secret);
        }
        if read_at.is_some_and(|at| at.elapsed() < READ_AGAIN) {
            return None;
        }
        // This comes before the read, so that failed reads are limited too.
        *read_at = Some(Instant::now());
        match secret.read_again().await {
            Ok(None) => None,
            Ok(Some(new)) => {
                tracing::info!("{what} was refused, and is another one now: trying that");
                *self.secret.lock().unwrap_or_else(PoisonError::into_inner) = new.clone();
                Some(new)
            }
            Err(why) => {
                tracing::warn!(%why, "{what} was refused, and cannot be read again");
                None
            }
        }
    }
}
