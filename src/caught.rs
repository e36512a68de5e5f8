//! Catches a panic inside a future or a function. So the panic ends only that work, and not the task that waits for it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt as _;

/// The most characters of a panic's own words that are kept.
const KEPT: usize = 200;

/// A fault of this program or of a library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a fault inside this program, please report it: {0}")]
pub struct Panicked(String);

/// Awaits `future`, and turns a panic in it into an error. A panic must not leave what the future shares with
/// others half changed.
///
/// # Errors
/// [`Panicked`].
pub async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|payload| Panicked(words(&*payload)))
}

/// Does `work` at once, e.g. reading what others sent. `None`: it panicked, and standard error shows where.
/// The caller must no longer use what the work may have changed.
pub fn caught_now<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("no words").chars().take(KEPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_nothing_and_all_else_goes_through() {
        let none: Option<u8> = caught_now(|| panic!("a fault of a parser"));
        assert_eq!((none, caught_now(|| 7)), (None, Some(7)));
    }

    #[tokio::test]
    async fn words_of_a_panic_come_back_as_an_error() {
        let number = 7;
        let told = caught(async { panic!("broken at {number}") }).await;
        let told: Result<(), Panicked> = told;
        assert!(told.unwrap_err().to_string().ends_with("broken at 7"));
        assert_eq!(caught(async { number }).await, Ok(7));
    }
}
