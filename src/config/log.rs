//! Reads the section `[log]`: the level and the format of the log.

use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use super::section::section;

section! {
    /// What is logged, and how.
    #[derive(Debug, Clone)]
    pub struct Log at "log" {
        format: LogFormat = |reader, key| reader.word(key, LogFormat::Pretty),
        /// A `tracing` filter, e.g. `info` or `info,misp_sentinel_relay::intake=debug`.
        level: String = |reader, key| {
            let allowed = "error, warn, info, debug, trace, also by module";
            reader.parsed(key, allowed, |text| Ok(filter(text).map(|_| text.to_owned())?))
        },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum LogFormat {
    Pretty,
    Json,
}

impl Log {
    /// Returns the filter for the level.
    ///
    /// # Errors
    /// The level is wrong. The text says why.
    pub fn filter(&self) -> Result<EnvFilter, String> {
        filter(&self.level)
    }
}

/// Parses a level. It refuses a word that is no level, because `EnvFilter` would take it for a module's name.
fn filter(level: &str) -> Result<EnvFilter, String> {
    for directive in level.split(',') {
        let word = directive.rsplit_once('=').map_or(directive, |(_, word)| word).trim();
        if word.parse::<LevelFilter>().is_err() || word.chars().all(|c| c.is_ascii_digit()) {
            return Err(format!("{directive:?} names no level"));
        }
    }
    EnvFilter::builder().parse(level).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for level in ["verbose", "", "info,intake", "info,intake=loud", "3"] {
            assert!(filter(level).is_err(), "{level:?}");
        }
    }
}
