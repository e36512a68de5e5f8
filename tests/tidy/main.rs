//! Tests the rules of CONTRIBUTING.md that a machine can check.

// `cfg(test)` tells clippy that helpers may unwrap as well.
#[cfg(test)]
mod documents;
#[cfg(test)]
mod files;
#[cfg(test)]
mod floors;
#[cfg(test)]
mod pure;
#[cfg(test)]
mod source;
#[cfg(test)]
mod sql;
#[cfg(test)]
mod tasks;
