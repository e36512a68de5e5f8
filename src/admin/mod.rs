//! Gives operators and Prometheus their view of the relay: the HTTP listener, the control socket, and the
//! data that both answer from.

pub mod control;
mod health;
pub mod http;
mod progress;
mod request;
mod services;
mod status;

pub use progress::ResyncState;
pub use request::{LongRequest, Needs, Nothing, Request};
pub use services::{RunningRelay, Services};
pub use status::{DegradedPart, Means, RelayStatus, SendingStatus, Status};
