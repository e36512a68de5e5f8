//! Prints what the command `check-config` reports on a configuration without mistakes: where it comes from,
//! feeds, targets, the ledger's folder and warnings.

use std::io::Write;

use crate::config::{self, Config, ConfigSource};

/// Prints what `check-config` reports on a configuration without mistakes.
pub(super) fn report(settings: &ConfigSource, config: &Config) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "The configuration is valid.")?;
    match settings.used_file() {
        Some(file) => writeln!(out, "  file     {}", file.display())?,
        None => writeln!(out, "  file     none")?,
    }
    for variable in settings.variables() {
        writeln!(out, "  variable {variable}")?;
    }
    for source in &config.sources {
        let state = if source.enabled { "" } else { " (not enabled)" };
        writeln!(out, "  source   {}{state}", source.name)?;
        for endpoint in &source.zeromq.endpoints {
            writeln!(out, "  feed     {endpoint}")?;
        }
        if let Some(webhook) = &source.webhook {
            writeln!(out, "  webhook  {}", webhook.place())?;
        }
        if let Some(rest) = &source.rest {
            writeln!(out, "  rest     {}", rest.url)?;
        }
    }
    for target in &config.targets {
        let state = match (target.enabled, target.mode) {
            (false, _) => "not enabled",
            (true, config::Mode::Live) => "live",
            (true, config::Mode::DryRun) => "dry run",
        };
        writeln!(out, "  target   {} ({state}) {}", target.name, target.endpoint)?;
    }
    writeln!(out, "  ledger   {}", config.ledger.data_dir.display())?;
    for address in &config.lookups {
        writeln!(out, "  vault    {address} (looked up at start)")?;
    }
    for warning in config::warnings(config) {
        writeln!(out, "  warning  {warning}")?;
    }
    Ok(())
}
