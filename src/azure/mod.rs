//! The way into Azure: one HTTP client, sign-ins over it, and what refusals mean.

mod assertion;
mod certificate;
mod credential;
pub mod http;
mod refusal;
mod remedy;
pub mod token;
mod transport;
pub mod vault;

pub use assertion::statement;
pub use certificate::{Certificate, CertificateError};
pub use refusal::{Refusal, Who};
