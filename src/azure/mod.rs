//! The way into Azure: one HTTP client, sign-ins over it, the management plane, and what refusals mean.

pub mod http;
pub mod manage;
mod refusal;
pub mod token;
mod transport;

pub use refusal::Refusal;
