//! Integration tests: real sockets, real protocols, one binary.

// `cfg(test)` tells clippy that helpers are tests too.
#[cfg(test)]
mod support;

#[cfg(test)]
mod azure;
#[cfg(test)]
mod sandbox;
