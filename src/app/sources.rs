//! The parts that read one MISP: its feed, its REST intake, and the writer of what they and its webhook hear. Each source
//! has parts of its own, so that a slow or lying MISP takes no room and no time of another.

use std::sync::Arc;

use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::parts::{Parts, named};
use super::{RunOptions, reading};
use crate::admin::{Means, SourceServices};
use crate::config::{Config, Source, Webhook, ZeroMq};
use crate::intake::Inbox;
use crate::intake::rest::RestIntake;
use crate::intake::webhook::SourceWebhook;
use crate::intake::zmq::{self, ZeroMqStatus};
use crate::ledger::{Ledger, Upkeep, Views, Writer, WriterSettings};
use crate::notice::Notice;
use crate::telling::Teller;

/// A source whose parts are built.
#[derive(Debug)]
pub(super) struct SourceParts {
    source: Source,
    inbox: Inbox,
    notices: mpsc::Receiver<Notice>,
    feed: ZeroMqStatus,
    /// `None` without a key.
    rest: Option<RestIntake>,
    writer: WriterSettings,
    /// `None` where MISP is told of no hits.
    teller: Option<Teller>,
    /// Names the source in the log, where there are several.
    span: Span,
}

/// Builds the parts of all sources that are read.
///
/// # Errors
/// A client of MISP cannot be made.
pub(super) fn build(
    config: &Config,
    ledger: &Ledger,
    views: &Arc<Views>,
    options: RunOptions,
) -> anyhow::Result<Vec<SourceParts>> {
    let build = |source| SourceParts::build(source, config, ledger, views, options);
    config.enabled_sources().map(build).collect()
}

impl SourceParts {
    fn build(
        source: &Source,
        config: &Config,
        ledger: &Ledger,
        views: &Arc<Views>,
        options: RunOptions,
    ) -> anyhow::Result<Self> {
        // The memory for waiting publications: the feed's bound, and room for one webhook body.
        let body = source.webhook.as_ref().map_or(0, |webhook| webhook.max_body);
        let (inbox, notices) = Inbox::new(source.zeromq.max_waiting.saturating_add(body));
        let of = reading::Parts { source, config, ledger, views, inbox: &inbox };
        let rest = reading::intake(&of, options.accept_new_view)?;
        let writer = reading::writer_settings(source, config, rest.as_ref());
        Ok(Self {
            source: source.clone(),
            feed: ZeroMqStatus::new(&source.zeromq),
            inbox,
            notices,
            rest,
            writer,
            teller: teller(source, ledger)?,
            span: span(config, source),
        })
    }

    /// The state of its ZeroMQ endpoints.
    pub(super) fn feed(&self) -> ZeroMqStatus {
        self.feed.clone()
    }

    /// Returns its webhook with its name, if there is one.
    pub(super) fn webhook(&self) -> Option<(String, SourceWebhook)> {
        let config = self.source.webhook.clone()?;
        let (inbox, span) = (self.inbox.clone(), self.span.clone());
        Some((self.source.name.clone(), SourceWebhook { config, inbox, span }))
    }

    /// Returns what operators may look at of this source.
    pub(super) fn services(&self) -> SourceServices {
        let Source { name, section, webhook, rest, .. } = &self.source;
        SourceServices {
            name: name.clone(),
            section: section.clone(),
            means: Means { webhook: webhook.is_some(), rest: rest.is_some() },
            misp: self.rest.as_ref().map(|asking| asking.client.clone()),
            webhook: webhook.as_ref().map(Webhook::place),
            rest: self.rest.as_ref().map(|asking| asking.status.clone()),
            endpoints: Some(self.feed.subscribe()),
        }
    }
}

/// Builds what tells a MISP of hits, if it has the keys for it.
fn teller(source: &Source, ledger: &Ledger) -> anyhow::Result<Option<Teller>> {
    let both = source.rest.as_ref().zip(source.telling.as_ref());
    Ok(both.map(|(rest, telling)| Teller::new(rest, telling, ledger.clone())).transpose()?)
}

/// Returns the upkeep of the ledger for which these sources write.
pub(super) fn upkeep(sources: &[SourceParts]) -> Upkeep {
    let writers: Vec<WriterSettings> = sources.iter().map(|one| one.writer.clone()).collect();
    Upkeep::new(&writers)
}

/// The groups of tasks in which a source runs.
#[derive(Debug)]
pub(super) struct Groups<'t> {
    pub intakes: &'t mut Parts,
    pub writers: &'t mut Parts,
    pub stop: &'t CancellationToken,
}

impl SourceParts {
    /// Starts the source. `upkeep`: its writer also takes care of the ledger.
    pub(super) fn start(
        self,
        ledger: &Ledger,
        views: &Arc<Views>,
        upkeep: Option<Upkeep>,
        groups: &mut Groups<'_>,
    ) {
        let Self { source, inbox, notices, feed, rest, writer, teller, span } = self;
        let stop = groups.stop;
        // The writer ends when the last intake drops its end of the inbox, so none is kept here.
        let feeding = hear(source.zeromq, inbox, feed, stop.clone());
        groups.intakes.spawn(named("ZeroMQ intake", feeding).instrument(span.clone()));
        if let Some(asking) = rest {
            let asking = asking.run(stop.clone()).map(Ok);
            groups.intakes.spawn(named("REST intake", asking).instrument(span.clone()));
        }
        if let Some(teller) = teller {
            let telling = teller.run(stop.clone()).map(Ok);
            groups.intakes.spawn(named("sightings", telling).instrument(span.clone()));
        }
        let writing = Writer::new(ledger.clone(), Arc::clone(views), writer, upkeep, notices);
        groups.writers.spawn(named("writer", writing.run().map(Ok)).instrument(span));
    }
}

/// The lines of the log name a source only where there are several.
pub(super) fn span(config: &Config, source: &Source) -> Span {
    if config.sources.len() > 1 {
        return tracing::error_span!("source", source = source.name);
    }
    Span::none()
}

async fn hear(
    config: ZeroMq,
    inbox: Inbox,
    status: ZeroMqStatus,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if config.endpoints.is_empty() {
        // A part that returns counts as failed, so this one waits for the stop instead. It keeps no end of the inbox.
        drop(inbox);
        stop.cancelled().await;
    } else {
        zmq::run(config, inbox, status, stop).await;
    }
    Ok(())
}
