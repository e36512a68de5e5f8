//! Builds the inbound half: the REST intake and the settings of the ledger's writer. Commands without a
//! running relay use it to resync, without the feed and without senders.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{RunOptions, views};
use crate::config::{Config, Source};
use crate::intake::Inbox;
use crate::intake::rest::{RestIntake, RestStatus};
use crate::ledger::{KeyView, Ledger, RestRules, SqlResult, Upkeep, Views, Writer, WriterSettings};
use crate::misp_api::MispClient;

/// What the intake of a source is built of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'p> {
    pub source: &'p Source,
    pub config: &'p Config,
    pub ledger: &'p Ledger,
    pub views: &'p Arc<Views>,
    pub inbox: &'p Inbox,
}

/// Builds the intake that asks a MISP over REST. Returns `None` without a key.
pub(super) fn intake(
    parts: &Parts<'_>,
    accept_new_view: bool,
) -> anyhow::Result<Option<RestIntake>> {
    let Parts { source, config, ledger, views, inbox } = *parts;
    let Some(rest) = source.rest.clone() else { return Ok(None) };
    Ok(Some(RestIntake {
        client: MispClient::new(&rest)?,
        ledger: ledger.clone(),
        inbox: inbox.clone(),
        data_dir: config.ledger.data_dir.clone(),
        source: Arc::new(source.clone()),
        rest: Arc::new(rest),
        key: KeyView::default(),
        catches_up: true,
        status: RestStatus::default(),
        views: Arc::clone(views),
        guard: config.guard,
        accept_new_view: Arc::new(AtomicBool::new(accept_new_view)),
        progress_every: config.log.progress_every,
    }))
}

/// Why nothing can be read over REST.
pub const NO_KEY: &str =
    "a resync reads MISP over REST: set misp.key (and misp.url), or those of a source";

/// Collects the settings of the writer of a source.
pub(super) fn writer_settings(
    source: &Source,
    config: &Config,
    rest: Option<&RestIntake>,
) -> WriterSettings {
    let webhook = source.webhook.as_ref();
    WriterSettings {
        source: source.name.clone(),
        confirm_within: webhook.map_or(Duration::from_secs(120), |webhook| webhook.confirm_within),
        tombstones: config.ledger.tombstones,
        rest: rest.map(|asking| RestRules {
            times: (*asking.rest).clone(),
            key: asking.key.clone(),
            searches: !source.search.is_empty(),
            on_unpublish: source.on_unpublish,
            guard: config.guard,
        }),
    }
}

/// What a resync reads; everything by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The only source to ask; `None` for all that have a key.
    #[serde(default)]
    pub source: Option<String>,
    /// The only event to read; `None` for all.
    pub event: Option<Uuid>,
    /// Reads only what was touched since then (MISP's time, Unix seconds); `None` for all times.
    pub since: Option<i64>,
}

impl Scope {
    /// Returns those of these sources that it reads.
    ///
    /// # Errors
    /// None of them is: the named one is not among them, or there are none.
    pub fn which<'s>(
        &self,
        sources: impl Iterator<Item = &'s str>,
    ) -> anyhow::Result<Vec<&'s str>> {
        let all: Vec<&str> = sources.collect();
        ensure!(!all.is_empty(), NO_KEY);
        let Some(named) = &self.source else { return Ok(all) };
        let found = all.iter().find(|source| *source == named).copied();
        let found = found.with_context(|| {
            format!(
                "no source {named:?} can be asked over REST; those that can: {}",
                all.join(", ")
            )
        });
        Ok(vec![found?])
    }

    /// Begins the resync of a source in the ledger.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn begin(&self, ledger: &Ledger, source: &str) -> SqlResult<()> {
        match self.event {
            Some(event) => ledger.resync_event(source, event, Ledger::now()).await,
            None => ledger.begin_resync(source, self.since, Ledger::now()).await,
        }
    }
}

/// A ledger that is filled over REST alone, by a command while no relay runs, or on a copy.
#[derive(Debug)]
pub struct RestReading {
    pub ledger: Ledger,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    /// The states of the intakes, by source.
    states: Vec<(String, RestStatus)>,
}

impl RestReading {
    /// Opens the ledger and begins a resync of `scope`.
    ///
    /// # Errors
    /// There is no key, or the ledger cannot be opened.
    pub async fn begin(config: &Config, scope: Scope) -> anyhow::Result<Self> {
        let mut config = config.clone();
        // Only what was asked for is read, and no periodic resync. The settings of the other sources stay: what
        // their MISPs forbid counts for every claim.
        let with_key = config.enabled_sources().filter(|source| source.rest.is_some());
        let asked = scope.which(with_key.map(|source| source.name.as_str()))?;
        let asked: Vec<String> = asked.into_iter().map(str::to_owned).collect();
        config.sources.iter_mut().for_each(|source| source.resync = None);
        super::name_as_remembered(&mut config);
        let ledger = Ledger::open(&config.ledger).await?;
        super::remember_sources(&mut config, &ledger).await?;
        let views = Arc::new(views(&config));
        // The same as at a start: the settings that it refuses are refused, and the claims that it judges
        // anew are judged anew.
        super::register(&config, None, &ledger, &views, RunOptions::default()).await?;
        ledger.reevaluate(&views, Ledger::now(), |_| {}).await?;
        let mut reading = Self {
            ledger,
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
            states: Vec::new(),
        };
        for source in config.sources.iter().filter(|source| asked.contains(&source.name)) {
            scope.begin(&reading.ledger, &source.name).await?;
            reading.start(source, &config, &views)?;
        }
        Ok(reading)
    }

    fn start(
        &mut self,
        source: &Source,
        config: &Config,
        views: &Arc<Views>,
    ) -> anyhow::Result<()> {
        let (inbox, notices) = Inbox::new(0);
        let of = Parts { source, config, ledger: &self.ledger, views, inbox: &inbox };
        let asking = intake(&of, false)?.context(NO_KEY)?;
        let asking = RestIntake { catches_up: false, ..asking };
        // The writer ends when the last holder of the inbox is gone, which is then the intake.
        drop(inbox);
        let settings = writer_settings(source, config, Some(&asking));
        let upkeep = self.states.is_empty().then(|| Upkeep::new(std::slice::from_ref(&settings)));
        let writer = Writer::new(self.ledger.clone(), Arc::clone(views), settings, upkeep, notices);
        self.states.push((source.name.clone(), asking.status.clone()));
        self.tasks.spawn(asking.run(self.stop.clone()));
        self.tasks.spawn(writer.run());
        Ok(())
    }

    /// Returns the sources that are read.
    pub fn sources(&self) -> Vec<String> {
        self.states.iter().map(|(source, _)| source.clone()).collect()
    }

    /// Returns why a MISP cannot be asked now; `None` if all can.
    pub fn fault(&self) -> Option<String> {
        self.states.iter().find_map(|(_, state)| state.now().error)
    }

    /// Stops reading, and returns the ledger. What was committed stays.
    pub async fn end(mut self) -> Ledger {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.ledger
    }
}
