//! All integration tests, in one binary.

mod kitchen_sink;
mod recordings;
