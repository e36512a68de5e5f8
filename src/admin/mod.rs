//! Where operators and Prometheus look in: the HTTP listener, the control socket, and the commands
//! that use it.

pub mod commands;
pub mod control;
mod health;
pub mod http;
pub mod ledger;
mod overview;
mod render;
mod status;
mod stream;

pub use overview::Overview;
pub use render::text;
pub use status::{EndpointStatus, RelayStatus, Status, TargetHealth};
