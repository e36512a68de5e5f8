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
use crate::config::Config;
use crate::intake::Inbox;
use crate::intake::rest::{RestIntake, RestStatus};
use crate::ledger::{KeyView, Ledger, RestRules, SqlResult, Views, Writer, WriterSettings};
use crate::misp_api::MispClient;

/// Builds the intake that asks MISP over REST. Returns `None` without a key.
pub(super) fn intake(
    config: &Config,
    ledger: &Ledger,
    views: &Arc<Views>,
    inbox: &Inbox,
    accept_new_view: bool,
) -> anyhow::Result<Option<RestIntake>> {
    let Some(rest) = config.misp.rest.clone() else { return Ok(None) };
    Ok(Some(RestIntake {
        client: MispClient::new(&rest)?,
        ledger: ledger.clone(),
        inbox: inbox.clone(),
        data_dir: config.ledger.data_dir.clone(),
        misp: Arc::new(config.misp.clone()),
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

/// Collects the settings of the ledger's writer.
pub(super) fn writer_settings(config: &Config, rest: Option<&RestIntake>) -> WriterSettings {
    let webhook = config.misp.webhook.as_ref();
    WriterSettings {
        source: config.misp.name.clone(),
        confirm_within: webhook.map_or(Duration::from_secs(120), |webhook| webhook.confirm_within),
        tombstones: config.ledger.tombstones,
        rest: rest.map(|asking| RestRules {
            times: (*asking.rest).clone(),
            key: asking.key.clone(),
            searches: !config.misp.search.is_empty(),
            on_unpublish: config.misp.on_unpublish,
            guard: config.guard,
        }),
    }
}

/// What a resync reads; everything by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The only event to read; `None` for all.
    pub event: Option<Uuid>,
    /// Reads only what was touched since then (MISP's time, Unix seconds); `None` for all times.
    pub since: Option<i64>,
}

impl Scope {
    /// Begins the resync in the ledger.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn begin(self, ledger: &Ledger, source: &str) -> SqlResult<()> {
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
    status: RestStatus,
}

impl RestReading {
    /// Opens the ledger and begins a resync of `scope`.
    ///
    /// # Errors
    /// There is no key, or the ledger cannot be opened.
    pub async fn begin(config: &Config, scope: Scope) -> anyhow::Result<Self> {
        ensure!(config.misp.rest.is_some(), "a resync reads MISP over REST: set misp.key");
        let mut config = config.clone();
        // The periodic resync stays off: only what was asked for is read.
        config.misp.resync = None;
        super::name_as_remembered(&mut config);
        let ledger = Ledger::open(&config.ledger).await?;
        let views = Arc::new(views(&config));
        // The same as at a start: the settings that it refuses are refused, and the claims that it judges
        // anew are judged anew.
        super::register(&config, None, &ledger, &views, RunOptions::default()).await?;
        ledger.reevaluate(&views, Ledger::now(), |_| {}).await?;
        scope.begin(&ledger, &config.misp.name).await?;
        let (inbox, notices) = Inbox::new(0);
        let asking = intake(&config, &ledger, &views, &inbox, false)?.context("a key")?;
        let asking = RestIntake { catches_up: false, ..asking };
        // The writer ends when the last holder of the inbox is gone, which is then the intake.
        drop(inbox);
        let settings = writer_settings(&config, Some(&asking));
        let writer = Writer::new(ledger.clone(), views, settings, notices);
        let (stop, status) = (CancellationToken::new(), asking.status.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(asking.run(stop.clone()));
        tasks.spawn(writer.run());
        Ok(Self { ledger, tasks, stop, status })
    }

    /// Returns why MISP cannot be asked now; `None` if it can.
    pub fn fault(&self) -> Option<String> {
        self.status.now().error
    }

    /// Stops reading, and returns the ledger. What was committed stays.
    pub async fn end(mut self) -> Ledger {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.ledger
    }
}
