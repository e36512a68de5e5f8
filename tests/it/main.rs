//! The program as its users meet it: one test binary, one module for each side.

mod cli;
mod config;
