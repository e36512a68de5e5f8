//! misp-sentinel-relay: from MISP's feed to Microsoft Sentinel, as it is published.
//!
//! The modules follow the flow. The two halves meet only in the ledger:
//!
//! ```text
//! intake -> misp -> convert -> ledger (policy, stix) -> deliver
//! ```
//!
//! They stand in the order of floors: a module imports from those above it.

// What is the same for the same input: no I/O, no clock, no log.
pub mod pure;

// What everything stands on.
pub mod caught;
pub mod config;
pub mod http;
pub mod logging;
pub mod notice;

pub mod metrics;
pub mod signals;

// The memory in the middle: all SQL.
pub mod ledger;

// In from MISP.
pub mod misp_api;

pub mod intake;

// Out to Microsoft.
pub mod azure;

pub mod deliver;

pub mod compare;

// How operators look in, and the stand-in.
pub mod admin;

pub mod sandbox;

// All tasks of a running relay.
pub mod app;

// What the command line offers.
pub mod commands;
