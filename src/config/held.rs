//! A secret in use, which may be another one by now where it came from.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::secret::Secret;

/// How often a refused secret is read again, at most: anybody may present a wrong one.
pub const READ_AGAIN: Duration = Duration::from_secs(10);

/// A secret that is shared, and read again when it is refused.
#[derive(Debug)]
pub struct Held(Mutex<State>);

#[derive(Debug)]
struct State {
    secret: Secret,
    /// Not before this.
    again: Option<Instant>,
}

impl Held {
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self(Mutex::new(State { secret, again: None }))
    }

    /// As it was last read.
    #[must_use]
    pub fn now(&self) -> Secret {
        self.with(|state| state.secret.clone())
    }

    /// Another one than `refused`, if there is one: read now, or by somebody else meanwhile. Asked
    /// more often than every [`READ_AGAIN`] it says no. `what` is named in the log.
    pub async fn other_than(&self, refused: &Secret, what: &str) -> Option<Secret> {
        let now = Instant::now();
        let secret = self.with(|state| {
            let may_read = state.again.is_none_or(|again| now >= again);
            if state.secret == *refused && may_read {
                state.again = Some(now + READ_AGAIN);
            }
            (state.secret.clone(), may_read)
        });
        let (secret, may_read) = secret;
        if secret != *refused {
            return Some(secret);
        }
        if !may_read {
            return None;
        }
        match secret.read_again().await {
            Ok(None) => None,
            Ok(Some(new)) => {
                tracing::info!("{what} was refused, and is another one now: trying that");
                self.with(|state| state.secret = new.clone());
                Some(new)
            }
            Err(why) => {
                tracing::warn!(%why, "{what} was refused, and cannot be read again");
                None
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
