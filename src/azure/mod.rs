//! The way into Azure: one HTTP client, sign-ins over it, and what refusals mean.

pub mod http;
mod refusal;
pub mod token;
mod transport;

pub use refusal::Refusal;
