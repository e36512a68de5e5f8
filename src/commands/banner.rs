//! The first lines of the log of `run`: which program it is, where its settings come from, and what it will
//! read and send. Secrets are never among them, since variables are named without their values.

use super::version::version;
use crate::config::{Config, ConfigSource};

/// Logs what begins.
pub(super) fn log(settings: &ConfigSource, config: &Config) {
    let file = settings.used_file();
    tracing::info!(
        version = version(),
        config_file = file.map_or_else(|| "none".to_owned(), |file| file.display().to_string()),
        variables = settings.variables().join(" "),
        data_dir = %config.ledger.data_dir.display(),
        admin = %config.admin.listen,
        "misp-sentinel-relay starts"
    );
    let misp = &config.misp;
    let webhook = misp.webhook.as_ref();
    tracing::info!(
        zeromq = or_none(misp.zeromq.endpoints.join(" ")),
        webhook = or_none(webhook.map(|hook| hook.listen.to_string()).unwrap_or_default()),
        rest = or_none(misp.rest.as_ref().map(|rest| rest.url.clone()).unwrap_or_default()),
        "reads MISP"
    );
    for target in &config.targets {
        tracing::info!(
            target_name = target.name,
            mode = if target.enabled { target.mode.word() } else { "not enabled" },
            workspace = %target.workspace_id,
            endpoint = target.endpoint,
            credential = target.credential.word(),
            "sends to Sentinel"
        );
    }
}

fn or_none(words: String) -> String {
    if words.is_empty() { "none".to_owned() } else { words }
}
