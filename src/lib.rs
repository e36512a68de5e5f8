//! misp-sentinel-relay: pushes MISP's indicators to Microsoft Sentinel. `intake` receives changes,
//! `pure::misp` and `pure::convert` turn them into claims, `ledger` stores them and decides by `pure::policy`
//! and `pure::stix` what to send, and `deliver` sends it. `intake` and `deliver` meet only in the ledger. A
//! module imports only from those above it.

// What is the same for the same input: no I/O, no clock, no log.
pub mod pure;

// What everything stands on.
pub mod caught;
pub mod log_event;

pub mod config;
pub mod document;
pub mod http;
pub mod logging;
pub mod notice;

pub mod metrics;
pub mod recent;
pub mod signals;

// The memory in the middle: all SQL.
pub mod ledger;

// In from MISP.
pub mod misp_api;

pub mod intake;

// Back to MISP: hits.
pub mod telling;

// Out to Microsoft.
pub mod azure;

pub mod deliver;

pub mod hits;

pub mod compare;

// How operators look in, and the stand-in.
pub mod admin;

pub mod sandbox;

// All tasks of a running relay.
pub mod app;

// What the command line offers.
pub mod commands;
