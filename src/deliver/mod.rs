//! From the ledger's queue to Sentinel's answer.
//!
//! One sender loop per credential picks batches, keeps the quota and settles answers; the rooms
//! around it know one thing each.

mod build;
mod clock;
mod destination;
mod foreign_upload;
mod health;
mod lanes;
pub mod outcome;
pub mod pacer;
mod sender;
mod session;
mod settle;
mod state;
mod target_delivery;
mod tell;
pub mod upload;

pub use build::{BuildError, senders};
pub use foreign_upload::{ForeignUpload, ForeignUploadError};
pub use health::{Health, TargetHealth};
pub use sender::Sender;
pub use session::UploadAccess;
