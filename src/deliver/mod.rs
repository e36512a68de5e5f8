//! From the ledger's queue to Sentinel's answer.
//!
//! One sender loop per credential picks batches, keeps the quota and settles answers; the rooms
//! around it know one thing each.

mod build;
mod clock;
mod guest;
mod halving;
mod health;
mod lanes;
mod line;
pub mod outcome;
pub mod pacer;
mod sender;
mod settle;
mod tell;
pub mod upload;

pub use build::{BuildError, senders};
pub use guest::{Guest, GuestError};
pub use health::{Health, TargetHealth};
pub use sender::Sender;
