//! The first lines of the log of `run`: which program it is, where its settings come from, and what it will
//! read and send. Secrets are never among them, since variables are named without their values.

use super::version::version;
use crate::config::{Config, ConfigSource, Webhook};
use crate::log_event::LogEvent;
use crate::logging::nested;

/// Logs what begins.
pub(super) fn log(settings: &ConfigSource, config: &Config) {
    let file = settings.used_file();
    tracing::info!(
        version = version(),
        event = LogEvent::RelayStarts.word(),
        config_file = file.map_or_else(|| "none".to_owned(), |file| file.display().to_string()),
        variables = nested(&settings.variables()),
        data_dir = %config.ledger.data_dir.display(),
        admin = %config.admin.listen,
        "misp-sentinel-relay starts"
    );
    for source in config.enabled_sources() {
        let webhook = source.webhook.as_ref().map(Webhook::place);
        let rest = source.rest.as_ref().map(|rest| rest.url.clone());
        tracing::info!(
            event = LogEvent::SourceConfigured.word(),
            source = source.name,
            endpoints = nested(&source.zeromq.endpoints),
            webhook = or_none(webhook.unwrap_or_default()),
            rest = or_none(rest.unwrap_or_default()),
            "The relay reads MISP"
        );
    }
    for target in &config.targets {
        tracing::info!(
            event = LogEvent::TargetConfigured.word(),
            target = target.name,
            mode = if target.enabled { target.mode.word() } else { "not enabled" },
            workspace = %target.workspace_id,
            endpoint = target.endpoint,
            credential = target.credential.word(),
            "The relay sends to Sentinel"
        );
    }
}

fn or_none(words: String) -> String {
    if words.is_empty() { "none".to_owned() } else { words }
}
