//! What tests share.

pub(crate) mod ledger;
pub(crate) mod publisher;
pub(crate) mod relay;
pub(crate) mod sandbox;
pub(crate) mod webhook;
