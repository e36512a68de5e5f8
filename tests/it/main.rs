//! Tests the program from the outside, over real sockets and protocols. All modules are one test binary.

// `cfg(test)` tells clippy that helpers may unwrap as well.
#[cfg(test)]
mod support;

#[cfg(test)]
mod admin;
#[cfg(test)]
mod alerts;
#[cfg(test)]
mod azure;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod check;
#[cfg(test)]
mod cleanup;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod config;
#[cfg(test)]
mod context;
#[cfg(test)]
mod context_sent;
#[cfg(test)]
mod convergence;
#[cfg(test)]
mod convert;
#[cfg(test)]
mod crash_points;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod delete;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod door;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod hangup;
#[cfg(test)]
mod hearsay;
#[cfg(test)]
mod hits;
#[cfg(test)]
mod identities;
#[cfg(test)]
#[cfg(feature = "import-config")]
mod import;
#[cfg(test)]
mod independent;
#[cfg(test)]
mod init;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod judging;
#[cfg(test)]
mod kitchen_sink;
#[cfg(test)]
mod late_news;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod ledger_care;
#[cfg(test)]
mod legacy;
#[cfg(test)]
mod libraries;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod log;
#[cfg(test)]
mod manage;
#[cfg(test)]
mod mapping;
#[cfg(test)]
mod misp_docker;
#[cfg(test)]
mod page;
#[cfg(test)]
mod page_in_browser;
#[cfg(test)]
mod page_under_load;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod reads;
#[cfg(test)]
mod recordings;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod rest_faults;
#[cfg(test)]
mod rest_tls;
#[cfg(test)]
mod revoke;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod sandbox_misp;
#[cfg(test)]
mod secrecy;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod several_sources;
#[cfg(test)]
mod sightings;
#[cfg(test)]
mod sightings_back;
#[cfg(test)]
mod status_watch;
#[cfg(test)]
mod suppress;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod truth;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod url_forms;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod views;
#[cfg(test)]
mod warninglists;
#[cfg(test)]
mod webhook;
#[cfg(test)]
mod withdrawn_today;
#[cfg(test)]
mod world;
#[cfg(test)]
mod zmq;
