//! Reads the section `[log]`: the level and the format of the log.

use std::time::Duration;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use super::reader::Reader;
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
        /// How often a long piece of work, such as a first fill, is told.
        progress_every: Duration = Reader::time,
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

/// The crates beside ours are heard from this level on, unless the setting names them.
const OTHERS: LevelFilter = LevelFilter::WARN;

/// Parses a level. It refuses a word that is no level, because `EnvFilter` would take it for a module's name.
fn filter(level: &str) -> Result<EnvFilter, String> {
    let mut directives = Vec::new();
    for directive in level.split(',').map(str::trim) {
        let (module, word) = match directive.rsplit_once('=') {
            Some((module, word)) => (Some(module), word.trim()),
            None => (None, directive),
        };
        let known = word.parse::<LevelFilter>().ok();
        let Some(known) = known.filter(|_| !word.chars().all(|c| c.is_ascii_digit())) else {
            return Err(format!("{directive:?} names no level"));
        };
        match module {
            Some(_) => directives.push(directive.to_owned()),
            // A level alone is meant for the relay's own lines. What its crates say at `info`, and far more at
            // `debug`, tells an operator nothing.
            None => {
                let own = env!("CARGO_CRATE_NAME");
                directives.push(format!("{},{own}={known}", known.min(OTHERS)));
            }
        }
    }
    EnvFilter::builder().parse(directives.join(",")).map_err(|error| error.to_string())
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

    #[test]
    fn a_level_alone_is_for_our_own_lines() {
        for (level, all) in [
            ("debug", ["misp_sentinel_relay=debug", "warn"]),
            ("off", ["misp_sentinel_relay=off", "off"]),
            ("error", ["misp_sentinel_relay=error", "error"]),
        ] {
            let text = filter(level).unwrap().to_string();
            assert!(
                all.iter().all(|part| text.split(',').any(|it| it == *part)),
                "{level}: {text}"
            );
        }
        let named = filter("info, zeromq=debug").unwrap().to_string();
        assert!(named.contains("zeromq=debug") && named.contains("warn"), "{named}");
    }
}
