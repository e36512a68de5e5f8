//! Gives operators and Prometheus their view of the relay: the HTTP listener, the control socket, and the
//! data that both answer from.

mod commands;
pub mod control;
mod desk;
mod health;
pub mod http;
mod next;
mod page;
mod people;
mod progress;
mod request;
mod services;
mod shared;
mod status;
mod visitor;

pub use commands::Commands;
pub use desk::Desk;
pub use progress::ResyncState;
pub use request::{Explain, LongRequest, Needs, Nothing, Request};
pub use services::{RunningRelay, Services, SourceServices};
pub use status::{
    DegradedPart, Means, RelayStatus, SendingStatus, SourceMeans, SourceStatus, Status, is_named,
};
