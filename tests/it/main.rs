//! The program as its users meet it: one test binary, one module for each side.

// `cfg(test)` tells clippy that helpers may unwrap as well.
#[cfg(test)]
mod cli;
#[cfg(test)]
mod config;
#[cfg(test)]
mod kitchen_sink;
#[cfg(test)]
mod recordings;
