//! The type `SharedSecret`: a secret in use. When it is refused, it is read again from its source, where it
//! may have been replaced.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync;

use super::secret::Secret;

/// How often a refused secret is read again, at most: anybody may present a wrong one.
pub const READ_AGAIN: Duration = Duration::from_secs(10);

/// A secret that is shared, and read again when it is refused.
#[derive(Debug)]
pub struct SharedSecret {
    secret: Mutex<Secret>,
    /// When it was last read again. Whoever is refused while somebody reads waits for the same answer.
    read_at: sync::Mutex<Option<Instant>>,
}

impl SharedSecret {
    pub fn new(secret: Secret) -> Self {
        Self { secret: Mutex::new(secret), read_at: sync::Mutex::default() }
    }

    /// As it was last read.
    pub fn now(&self) -> Secret {
        self.secret.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another one than `refused`, if there is one: read now, or by somebody else meanwhile. It is read
    /// no more often than every [`READ_AGAIN`]. `what` is named in the log.
    pub async fn other_than(&self, refused: &Secret, what: &str) -> Option<Secret> {
        let mut read_at = self.read_at.lock().await;
        let secret = self.now();
        if secret != *refused {
            return Some(secret);
        }
        if read_at.is_some_and(|at| at.elapsed() < READ_AGAIN) {
            return None;
        }
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
