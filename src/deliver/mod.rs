//! From the ledger's queue to Sentinel's answer.

pub mod backoff;

pub mod http;

pub mod outcome;

pub mod pacer;

pub mod token;

pub mod upload;
