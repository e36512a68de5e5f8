//! Tests of the documentation: the parts that repeat the program must agree with it, and every link must lead
//! somewhere.

// `cfg(test)` tells clippy that helpers may unwrap as well.
#[cfg(test)]
#[cfg(feature = "import-config")]
mod commands;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod links;
#[cfg(test)]
mod log;
#[cfg(test)]
mod mapping;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod overlay;
#[cfg(test)]
mod page;
#[cfg(test)]
mod picture;
#[cfg(test)]
mod sentinel;
