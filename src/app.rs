//! Builds every part, starts every task and owns the one shutdown.
//!
//! Stages: open the ledger, bind sockets, build senders; then run; then stop in the order of the
//! flow, so that what was received is committed and what was sent is settled.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Overview};
use crate::cli::RunOptions;
use crate::config::{Config, Mode};
use crate::deliver::{self, Health, Sender};
use crate::intake::zmq::{self, ZeroMqStatus};
use crate::intake::{Inbox, webhook};
use crate::ledger::{Lane, Ledger, TargetEntry, View, Writer, WriterSettings};
use crate::metrics;
use crate::notice::Notice;
use crate::signals;

/// The view of all targets, until targets have policies of their own.
const VIEW: &str = "default";

/// How often gauges are refreshed and histograms drained.
const UPKEEP: Duration = Duration::from_secs(5);

/// A relay whose parts are built and whose sockets are bound, but that does nothing yet.
#[derive(Debug)]
pub struct Relay {
    config: Config,
    ledger: Ledger,
    view: Arc<View>,
    inbox: Inbox,
    notices: mpsc::Receiver<Notice>,
    senders: Vec<Sender>,
    feed: ZeroMqStatus,
    health: Health,
    listeners: Listeners,
}

/// Sockets that are bound before anything runs.
#[derive(Debug)]
struct Listeners {
    admin: TcpListener,
    webhook: Option<TcpListener>,
    control: admin::control::Control,
}

/// Relays until SIGTERM or SIGINT; a second signal ends the process at once.
///
/// # Errors
/// The ledger cannot be opened, a listener cannot be bound, or a task ended by itself.
pub async fn run(
    config: Config,
    options: RunOptions,
    recorded: PrometheusHandle,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let relay = Relay::build(config, options).await?;
    let stop = CancellationToken::new();
    let mut watching = JoinSet::new();
    watching.spawn(signals::cancel(stop.clone())?);
    tracing::info!(
        ready_after_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "relay ready"
    );
    relay.run(recorded, stop).await
}

impl Relay {
    /// Opens the ledger and builds all parts. Nothing is sent or received yet.
    ///
    /// # Errors
    /// What is wrong, with its remedy.
    pub async fn build(mut config: Config, options: RunOptions) -> anyhow::Result<Self> {
        // What was only written to a file must not be taken for sent: a memory of its own.
        for target in config.targets.iter_mut().filter(|target| target.mode == Mode::DryRun) {
            target.name.push_str("/dry-run");
        }
        let ledger = Ledger::open(&config.ledger).await?;
        let view = Arc::new(view(&config));
        register(&config, &ledger, &view, options).await?;
        let health = Health::default();
        let http = deliver::http::client(&config.azure)?;
        let senders = deliver::senders(&config, VIEW, &ledger, &http, &health)?;
        let listeners = Listeners::bind(&config).await?;
        let (inbox, notices) = Inbox::new(memory(&config));
        let feed = ZeroMqStatus::new(&config.misp.zeromq);
        Ok(Self { config, ledger, view, inbox, notices, senders, feed, health, listeners })
    }

    /// The ledger, for looking on.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How the ZeroMQ endpoints are.
    #[must_use]
    pub fn feed(&self) -> &ZeroMqStatus {
        &self.feed
    }

    /// How the targets are.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Runs until `stop` or until a part fails. Stops in the order of the flow, within the grace
    /// time.
    ///
    /// # Errors
    /// A part ended by itself.
    pub async fn run(
        self,
        recorded: PrometheusHandle,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let grace = self.config.delivery.grace;
        let ledger = self.ledger.clone();
        let mut tasks = Tasks::start(self, recorded, &stop);
        let fault = tokio::select! {
            // Parts that end because of the stop are no fault.
            biased;
            () = stop.cancelled() => None,
            ended = tasks.first_end() => Some(ended),
        };
        stop.cancel();
        if tokio::time::timeout(grace, tasks.end()).await.is_err() {
            tracing::warn!(
                grace_s = grace.as_secs_f64(),
                "not all parts ended within the grace time: what was committed is safe, objects in requests are sent again"
            );
        }
        ledger.close().await;
        match fault {
            Some(Err(error)) => Err(error),
            Some(Ok(name)) => anyhow::bail!("{name} ended by itself"),
            None => Ok(()),
        }
    }
}

impl Listeners {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let webhook = config.misp.webhook.as_ref();
        if let Some(files) = webhook.and_then(|webhook| webhook.tls.as_ref()) {
            webhook::load(files)?;
        }
        Ok(Self {
            admin: bind("admin.listen", config.admin.listen)?,
            webhook: webhook
                .map(|webhook| bind("misp.webhook.listen", webhook.listen))
                .transpose()?,
            control: admin::control::bind(&config.ledger.data_dir).await?,
        })
    }
}

/// The view of all targets.
#[must_use]
pub fn view(config: &Config) -> View {
    let names = config.targets.iter().map(|target| target.name.clone()).collect();
    View::new(VIEW, names, &config.policy, &config.rendering)
}

fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {key} = {address}: another program may use the port")
    })?;
    listener.set_nonblocking(true).with_context(|| format!("listen on {address}"))?;
    Ok(listener)
}

/// Identity and targets, compared with the last run.
async fn register(
    config: &Config,
    ledger: &Ledger,
    view: &View,
    options: RunOptions,
) -> anyhow::Result<()> {
    let rendering = &config.rendering;
    let identity = format!("{:?} in {}", rendering.identity, rendering.namespace);
    let entry = |target: &crate::config::Target| TargetEntry {
        target: target.name.clone(),
        mode: target.mode.word().into(),
        workspace: target.workspace_id.to_string(),
        sourcesystem: target.sourcesystem.clone(),
    };
    let targets: Vec<TargetEntry> = config.targets.iter().map(entry).collect();
    if !options.accept_duplicates {
        ledger.knows_generations(view, &targets).await?;
    }
    Ok(ledger.register(view, &identity, &targets, options.rehome).await?)
}

/// What publications may hold in memory: the feed's bound, and room for one webhook body.
fn memory(config: &Config) -> usize {
    let webhook = config.misp.webhook.as_ref().map_or(0, |webhook| webhook.max_body);
    config.misp.zeromq.max_waiting.saturating_add(webhook)
}

/// The running parts, in the groups in which they stop.
#[derive(Debug)]
struct Tasks {
    intakes: JoinSet<anyhow::Result<&'static str>>,
    /// Ends when all intakes have ended and what they gave is committed.
    writer: JoinSet<anyhow::Result<&'static str>>,
    /// Senders, and what looks on: the last to stop.
    senders: JoinSet<anyhow::Result<&'static str>>,
    stop_senders: CancellationToken,
}

impl Tasks {
    fn start(relay: Relay, recorded: PrometheusHandle, stop: &CancellationToken) -> Self {
        let stop_senders = CancellationToken::new();
        let (mut intakes, mut writer, mut senders) =
            (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let overview = overview(&relay);
        intakes.spawn(feed(&relay, stop.clone()));
        let Listeners { admin, webhook, control } = relay.listeners;
        if let (Some(config), Some(listener)) = (relay.config.misp.webhook.clone(), webhook) {
            let serving = webhook::serve(config, listener, relay.inbox.clone(), stop.clone());
            intakes.spawn(async move { serving.await.map(|()| "webhook") });
        }
        // The writer ends when the last intake drops its end of the inbox.
        drop(relay.inbox);
        let settings = WriterSettings {
            source: relay.config.misp.name.clone(),
            confirm_within: relay
                .config
                .misp
                .webhook
                .as_ref()
                .map_or(Duration::from_secs(120), |webhook| webhook.confirm_within),
            tombstones: relay.config.ledger.tombstones,
        };
        let (ledger, view) = (relay.ledger.clone(), Arc::clone(&relay.view));
        let writing = Writer::new(ledger.clone(), Arc::clone(&view), settings, relay.notices);
        writer.spawn(async move {
            writing.run().await;
            Ok("writer")
        });
        senders.spawn(deliver_all(ledger.clone(), view, relay.senders, stop_senders.clone()));
        let names = relay.config.targets.iter().map(|target| target.name.clone()).collect();
        let feed = relay.feed.clone();
        senders.spawn(upkeep(ledger, names, feed, recorded.clone(), stop_senders.clone()));
        let http = admin::http::serve(admin, overview.clone(), recorded, stop_senders.clone());
        senders.spawn(async move { http.await.map(|()| "admin listener") });
        let control = control.serve(overview, stop_senders.clone());
        senders.spawn(async move { control.await.map(|()| "control socket") });
        Self { intakes, writer, senders, stop_senders }
    }

    /// The first part that ends, which none should before the stop.
    async fn first_end(&mut self) -> anyhow::Result<&'static str> {
        let ended = tokio::select! {
            Some(ended) = self.intakes.join_next() => ended,
            Some(ended) = self.writer.join_next() => ended,
            Some(ended) = self.senders.join_next() => ended,
        };
        ended.context("a part of the relay failed")?
    }

    /// Waits for all parts in the order of the flow: nothing received is left uncommitted, nothing
    /// sent is left unsettled.
    async fn end(&mut self) {
        for group in [&mut self.intakes, &mut self.writer] {
            drain(group).await;
        }
        self.stop_senders.cancel();
        drain(&mut self.senders).await;
    }
}

async fn drain(group: &mut JoinSet<anyhow::Result<&'static str>>) {
    while let Some(ended) = group.join_next().await {
        match ended {
            Ok(Ok(name)) => tracing::debug!(name, "ended"),
            Ok(Err(error)) => tracing::error!(error = format!("{error:#}"), "a part failed"),
            Err(error) => tracing::error!(%error, "a part failed"),
        }
    }
}

/// What `status` shows of the running parts.
fn overview(relay: &Relay) -> Overview {
    let (feed, health) = (relay.feed.clone(), relay.health.clone());
    let targets = relay.config.targets.clone();
    Overview {
        ledger: relay.ledger.clone(),
        view: Arc::clone(&relay.view),
        started: SystemTime::now(),
        webhook: relay.config.misp.webhook.as_ref().map(|webhook| webhook.listen),
        endpoints: Arc::new(move || feed.now().iter().map(Into::into).collect()),
        targets: Arc::new(move || {
            let now = health.now();
            let enabled = targets.iter().filter(|target| target.enabled);
            enabled
                .map(|target| {
                    let health = now.get(&target.name).cloned().unwrap_or_default();
                    admin::TargetHealth::new(&target.name, target.mode, health)
                })
                .collect()
        }),
    }
}

fn feed(
    relay: &Relay,
    stop: CancellationToken,
) -> impl Future<Output = anyhow::Result<&'static str>> + use<> {
    let (config, inbox, status) =
        (relay.config.misp.zeromq.clone(), relay.inbox.clone(), relay.feed.clone());
    async move {
        if config.endpoints.is_empty() {
            stop.cancelled().await;
        } else {
            zmq::run(config, inbox, status, stop).await;
        }
        Ok("ZeroMQ intake")
    }
}

/// First the whole ledger is judged anew if the policy changed, so that nothing leaves that it now
/// forbids; then all senders run until `stop`.
async fn deliver_all(
    ledger: Ledger,
    view: Arc<View>,
    senders: Vec<Sender>,
    stop: CancellationToken,
) -> anyhow::Result<&'static str> {
    let progress = |done| {
        tracing::info!(objects = done, "judging the ledger anew: policy or rendering changed")
    };
    ledger.reevaluate(&view, Ledger::now(), progress).await.context("judge the ledger anew")?;
    let mut running = JoinSet::new();
    for sender in senders {
        running.spawn(sender.run(stop.clone()));
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a sender failed")?;
    }
    stop.cancelled().await;
    Ok("senders")
}

/// Refreshes gauges and drains histograms.
async fn upkeep(
    ledger: Ledger,
    targets: Vec<String>,
    feed: ZeroMqStatus,
    recorded: PrometheusHandle,
    stop: CancellationToken,
) -> anyhow::Result<&'static str> {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok("upkeep"),
            _ = tick.tick() => {}
        }
        recorded.run_upkeep();
        for endpoint in feed.now() {
            metrics::degraded(&endpoint.endpoint, "feed", !endpoint.connected());
        }
        metrics::degraded("ledger", "not_writable", !ledger.is_writable());
        metrics::degraded("rest", "absent", true);
        for target in &targets {
            match ledger.queue_depth(target).await {
                Ok(depths) => {
                    for (lane, depth) in Lane::ALL.iter().zip(depths) {
                        metrics::queued(target, lane.word(), depth as f64);
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot read the ledger"),
            }
        }
    }
}
