//! All traffic to Azure: the HTTP client, sign-ins, key vaults, the management plane, Log Analytics, and the
//! meaning of refusals.

mod assertion;
mod certificate;
mod credential;
pub mod http;
pub mod logs;
pub mod manage;
pub mod pace;
mod refusal;
mod remedy;
pub mod reply;
mod service;
mod sign_in;
pub mod token;
mod transport;
pub mod vault;

pub use assertion::statement;
pub use certificate::{Certificate, CertificateError};
pub use refusal::SignInRefusal;
pub use sign_in::Who;
