//! Sends to Sentinel what waits in the ledger's queue, and stores what Sentinel answers. One [`Sender`] per
//! credential picks batches (`target_delivery`, `lanes`), signs in (`session`), keeps the quota (`pure::pacer`),
//! sends (`destination`, `upload`), reads the answer (`outcome`) and settles it (`settle`). `state` decides
//! how a target goes on.

mod backlog;
mod build;
mod clock;
mod destination;
mod foreign_upload;
mod health;
mod lanes;
pub mod outcome;
mod quota_use;
mod sender;
mod session;
mod settle;
mod state;
mod target_delivery;
mod tell;
pub mod upload;

pub use build::{BuildError, senders};
pub use foreign_upload::{ForeignUpload, ForeignUploadError};
pub use health::{DeliveryHealth, Health};
pub use quota_use::QuotaStatus;
pub use sender::Sender;
pub use session::UploadAccess;
