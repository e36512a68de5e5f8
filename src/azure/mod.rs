//! The way into Azure: one HTTP client, sign-ins over it, the management plane, and what refusals mean.

mod assertion;
mod certificate;
mod credential;
pub mod http;
pub mod manage;
mod pace;
mod refusal;
mod remedy;
pub mod reply;
mod sign_in;
pub mod token;
mod transport;
pub mod vault;

pub use assertion::statement;
pub use certificate::{Certificate, CertificateError};
pub use refusal::SignInRefusal;
pub use sign_in::Who;
