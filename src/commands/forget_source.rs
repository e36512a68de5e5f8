//! The command `forget-source` ends what a source claims that is no longer read.

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::output::print;
use super::{ConfigSource, door};
use crate::admin::{Needs, Request, Services};
use crate::ledger::ForgottenSource;
use crate::log_event::LogEvent;
use crate::pure::count::Count;

// Forgets a source that is not read.
#[derive(Debug, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetSource {
    /// The source's name, as `status` shows it
    #[arg(value_name = "NAME")]
    pub source: String,
}

pub(super) const FORGET_SOURCE: Request<ForgetSource, ForgottenSource> =
    Request::change("/forget-source", Needs::Targets, |services, asked: ForgetSource| {
        Box::pin(end(services, asked.source))
    })
    .slow();

async fn end(services: &Services, source: String) -> anyhow::Result<ForgottenSource> {
    let read: Vec<String> = services.sources.iter().map(|one| one.name.clone()).collect();
    let forgotten = services.ledger.forget_source(&services.views, &source, &read).await;
    let done = forgotten.context("the ledger cannot be written")?;
    match &done {
        ForgottenSource::Done { events, withdrawn } => {
            tracing::warn!(
                event = LogEvent::OperatorForgetSource.word(),
                source,
                events,
                withdrawn,
                "A source is forgotten, as an operator asked"
            );
        }
        ForgottenSource::Configured | ForgottenSource::Unknown { .. } => tracing::info!(
            event = LogEvent::OperatorForgetSource.word(),
            source,
            ?done,
            "An operator asked to forget a source that is read or not known. Nothing was changed"
        ),
    }
    Ok(done)
}

/// Ends what a source claims that is no longer read.
///
/// # Errors
/// The source is read or unknown, neither a relay nor the ledger can do it, or standard output is closed.
pub async fn forget_source(settings: &ConfigSource, asked: ForgetSource) -> anyhow::Result<()> {
    let source = asked.source.clone();
    let (done, _) = door::ask(settings, &FORGET_SOURCE, asked).await?;
    match done {
        ForgottenSource::Done { events, withdrawn } => {
            let (events, withdrawn) = (Count(events, "event"), Count(withdrawn, "object"));
            print(&format!(
                "{source} is forgotten, with {events}: {withdrawn} that nothing else claims are being withdrawn.\n"
            ))
        }
        ForgottenSource::Configured => bail!(
            "{source} is read: the relay would fill the ledger with it again\n  hint: set source.{source}.enabled = false, or remove the section, and restart the relay first"
        ),
        ForgottenSource::Unknown { absent } if absent.is_empty() => {
            bail!(
                "the ledger holds nothing of a source {source:?}, and nothing of any that is not read"
            )
        }
        ForgottenSource::Unknown { absent } => bail!(
            "the ledger holds nothing of a source {source:?}; of those that it holds, these are not read: {}",
            absent.join(", ")
        ),
    }
}
