//! Where operators and Prometheus look in: the HTTP listener, the control socket, and the commands
//! that use it.

mod answer;
pub mod cleanup;
pub mod commands;
pub mod control;
pub mod explain;
pub mod forget;
mod health;
pub mod http;
pub mod ledger;
mod overview;
mod progress;
mod render;
pub mod resync;
mod status;
mod stream;
pub mod suppress;
pub mod verify;

pub use overview::Overview;
pub use progress::Progress;
pub use render::text;
pub use status::{EndpointStatus, Means, RelayStatus, Status, TargetHealth};
