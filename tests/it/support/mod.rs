//! What tests share.

pub(crate) mod publisher;
pub(crate) mod sandbox;
