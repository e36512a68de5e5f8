//! Helpers that several tests use.

pub(crate) mod browser;
pub(crate) mod clock;
pub(crate) mod database;
pub(crate) mod event;
pub(crate) mod ledger;
pub(crate) mod misp;
pub(crate) mod port;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod publisher;
pub(crate) mod relay;
pub(crate) mod rest;
pub(crate) mod sandbox;
pub(crate) mod scene;
pub(crate) mod sentinel;
pub(crate) mod terminal;
pub(crate) mod webhook;
