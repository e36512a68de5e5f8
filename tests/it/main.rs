//! All integration tests, in one binary. `cfg(test)` tells clippy that their helpers are tests too.

#[cfg(test)]
mod kitchen_sink;
#[cfg(test)]
mod recordings;
