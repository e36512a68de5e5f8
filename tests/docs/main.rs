//! The pages of the documentation: what they repeat of the program is what the program says, and every
//! link leads somewhere.

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
mod mapping;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod page;
