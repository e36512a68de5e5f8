//! The command `run` starts the relay, which works until SIGTERM or SIGINT. SIGHUP reads the level of the log
//! again.

use super::banner;
use crate::admin::Commands;
use crate::app::{self, Ended, RunOptions};
use crate::config::{self, Config, ConfigSource};
use crate::log_event::LogEvent;
use crate::logging::{self, LevelSwitch};
use crate::metrics;

/// Relays until SIGTERM or SIGINT. Returns the exit code.
///
/// # Errors
/// The log or the metrics cannot be set up, or those of [`app::run`].
pub(super) async fn run(
    settings: ConfigSource,
    config: Config,
    options: RunOptions,
    commands: Commands,
) -> anyhow::Result<u8> {
    // The log comes first, because the lines below go into it.
    let switch = logging::install(&config.log)?;
    let recorded = metrics::install()?;
    for (secret, ends) in &config.secret_ends {
        metrics::vault_secret_ends(secret, Some((*ends).into()));
    }
    banner::log(&settings, &config);
    for warning in config::warnings(&config) {
        tracing::warn!(event = LogEvent::SettingDoubtful.word(), "{warning}");
    }
    let reload = move || reload(&settings, &switch);
    Ok(match app::run(config, options, recorded, commands, reload).await? {
        Ended::InOrder => 0,
        Ended::WithFault => 1,
    })
}

/// Reads the level of the log again, from where it came from at the start.
fn reload(settings: &ConfigSource, switch: &LevelSwitch) {
    let read = settings.log().map_err(anyhow::Error::from);
    match read.and_then(|log| switch.set(&log).map(|()| log.level)) {
        Ok(level) => {
            tracing::info!(
                event = LogEvent::LogLevelSet.word(),
                log_level = level,
                "SIGHUP had log.level read again. Other settings need a restart"
            );
        }
        Err(error) => {
            // A mistake is told in several lines.
            let lines: Vec<String> =
                error.to_string().lines().map(|line| line.trim().to_owned()).collect();
            let why = lines.join("; ");
            tracing::warn!(
                event = LogEvent::LogLevelRefused.word(),
                %why,
                "SIGHUP had log.level read again, and it is a mistake. The level of the log stays as it was"
            );
        }
    }
}
