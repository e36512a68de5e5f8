//! misp-sentinel-relay: from MISP's feed to Microsoft Sentinel, as it is published.
//!
//! The modules follow the flow. The two halves meet only in the ledger:
//!
//! ```text
//! intake -> misp -> convert -> ledger (policy, stix) -> deliver
//! ```

pub mod config;

pub mod notice;

pub mod backoff;

pub mod safe;

pub mod caught;

pub mod count;

pub mod http;

pub mod misp;

pub mod convert;

pub mod warninglist;

pub mod policy;

pub mod stix;

pub mod rest;

pub mod azure;

pub mod intake;

pub mod ledger;

pub mod deliver;

pub mod readback;

pub mod admin;

pub mod check;

pub mod metrics;

pub mod logging;

pub mod sandbox;

pub mod signals;

pub mod demo;

pub mod explain;

pub mod verify;

pub mod import;

pub mod preview;

pub mod app;

pub mod cli;

pub mod healthcheck;
