//! What tests share.

pub(crate) mod publisher;
pub(crate) mod relay;
pub(crate) mod sandbox;
