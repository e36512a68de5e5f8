//! Builds every part of the relay, starts every task and owns the one shutdown. First it opens the ledger,
//! binds the sockets and builds the senders; then it runs until the stop. `tasks` has the order of the stop.

mod ending;
mod gauges;
mod known_sources;
mod listen;
mod parts;
mod readback;
mod reading;
mod series;
mod services;
mod sources;
mod tasks;
mod webhooks;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::Commands;
use crate::admin::control::{self, ControlSocket};
use crate::compare::Readback;
use crate::config::{Config, Mode, Source, Target};
use crate::deliver::{self, Health, Sender};
use crate::hits::AlertReader;
use crate::intake::zmq::ZeroMqStatus;
use crate::ledger::{
    InForce, Ledger, Member, ReadSource, StartError, TargetEntry, TargetMode, Views,
    load_warninglists,
};
use crate::log_event::{LogEvent, ms};
use crate::signals::{self, StopCause};
use listen::listen;
use sources::SourceParts;
use tasks::Tasks;
use webhooks::WebhookListener;

pub use ending::Ended;
pub use known_sources::remember_sources;
pub use readback::of_config as readback_of;
pub use reading::{NO_KEY, RestReading, Scope};
pub use services::services_of;

/// The exceptions that the operator allows for this start only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct RunOptions {
    /// Accept an indicator.namespace or a sourcesystem other than the ledger remembers: every indicator is
    /// sent as a new one, and the old ones stay until they expire
    #[arg(long)]
    pub rehome: bool,

    /// Start with an empty ledger under withdraw = "revoke" even if the used-up ids cannot be read back:
    /// an indicator that was revoked in Sentinel comes back under its old id, and one that had come back
    /// under a new id is there twice until it expires
    #[arg(long)]
    pub accept_duplicates: bool,

    /// Accept that misp.key has another view (organisation, site administrator, sync) than the one that the
    /// ledger was filled with: what it sees is added, and what it does not see is withdrawn
    #[arg(long)]
    pub accept_new_view: bool,
}

/// A relay whose parts are built and whose sockets are bound. It does nothing until it is run.
#[derive(Debug)]
pub struct Relay {
    config: Config,
    pub ledger: Ledger,
    views: Arc<Views>,
    sources: Vec<SourceParts>,
    senders: Vec<Sender>,
    health: Health,
    /// Those that read the alerts of targets for hits.
    alerts: Vec<AlertReader>,
    readback: Arc<Readback>,
    listeners: Listeners,
}

/// The sockets, which are bound before anything runs.
#[derive(Debug)]
struct Listeners {
    webhooks: Vec<WebhookListener>,
    admin: TcpListener,
    control: ControlSocket,
}

/// Relays until SIGTERM or SIGINT. A second signal ends the process at once, and SIGHUP calls `on_hangup`.
/// `commands` are what it answers with their code.
///
/// # Errors
/// The ledger cannot be opened, a listener cannot be bound, or a task ended by itself. If the log has told that, it is
/// no error but [`Ended::WithFault`].
pub async fn run(
    config: Config,
    options: RunOptions,
    recorded: PrometheusHandle,
    commands: Commands,
    on_hangup: impl Fn() + Send + 'static,
) -> anyhow::Result<Ended> {
    let (started, format) = (Instant::now(), config.log.format);
    let cause = StopCause::default();
    // The set ends its tasks when it is dropped, at the end of the run.
    let mut watching = JoinSet::new();
    // First, because a terminal may be closed while a large ledger is opened.
    watching.spawn(signals::at_hangup(on_hangup)?);
    let ended = async {
        let relay = Relay::build(config, options).await?;
        let stop = CancellationToken::new();
        watching.spawn(signals::cancel(stop.clone(), Arc::clone(&cause))?);
        tracing::info!(
            event = LogEvent::RelayReady.word(),
            ready_after_ms = ms(started.elapsed()),
            "The relay is ready"
        );
        relay.run(recorded, commands, stop).await
    };
    let ended = Box::pin(ended).await;
    ending::tell(ended, &cause, format, started.elapsed())
}

impl Relay {
    /// Opens the ledger and builds all parts. Nothing is sent or received yet.
    ///
    /// # Errors
    /// A part cannot be built. The error says which, and what to do.
    pub async fn build(mut config: Config, options: RunOptions) -> anyhow::Result<Self> {
        // Before all else, because every part knows a target by its name in the ledger.
        name_as_remembered(&mut config);
        let ledger = Ledger::open(&config.ledger).await?;
        remember_sources(&mut config, &ledger).await?;
        let views = Arc::new(views(&config));
        let http = crate::azure::http::client(&config.azure)?;
        // Before the senders are built: a start that must not send under these settings ends here.
        register(&config, Some(&http), &ledger, &views, options).await?;
        known_sources::tell(&config, &ledger).await?;
        let health = Health::default();
        let senders = deliver::senders(&config, &views, &ledger, &http, &health)?;
        let alerts = AlertReader::all(&config, &ledger, &http, &health)?;
        let readback = Arc::new(readback::of(&config, &http, &senders)?);
        // Bound before the run begins, so that a port that is in use ends the start.
        let listeners = Listeners::bind(&config)?;
        let sources = sources::build(&config, &ledger, &views, options)?;
        // Before anything runs, so that no sender is ahead of it.
        ledger.begin_judging(&views).await.context("read what must be judged anew")?;
        // A start that fails before this line has received nothing, so it leaves no gap behind.
        tell_hits(&config, &ledger).await?;
        ledger.begin_run(&read_sources(&config), Ledger::now()).await?;
        Ok(Self { config, ledger, views, sources, senders, alerts, health, readback, listeners })
    }

    /// The states of the ZeroMQ endpoints, by source.
    pub fn feeds(&self) -> impl Iterator<Item = ZeroMqStatus> {
        self.sources.iter().map(SourceParts::feed)
    }

    /// Runs until `stop`, or until a part fails. Then stops the parts in the order of the flow, within the
    /// grace time. `commands` are what it answers with their code.
    ///
    /// # Errors
    /// A part ended by itself.
    pub async fn run(
        self,
        recorded: PrometheusHandle,
        commands: Commands,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let grace = self.config.delivery.grace;
        let (ledger, config) = (self.ledger.clone(), self.config.clone());
        let mut tasks = Tasks::start(self, recorded, commands, &stop);
        let fault = tokio::select! {
            // The stop is looked at first: a part that ends because of it is no fault.
            biased;
            () = stop.cancelled() => None,
            ended = tasks.first_end() => Some(ended),
        };
        // The intakes stop first: what MISP tells from now on is missed.
        let heard = Ledger::now();
        stop.cancel();
        if tokio::time::timeout(grace, tasks.end()).await.is_err() {
            tracing::warn!(
                event = LogEvent::GraceExceeded.word(),
                grace_ms = ms(grace),
                "Not all parts ended within delivery.grace. What was committed is safe, and objects in requests are sent again"
            );
        }
        // Only then is the run noted as ended. Otherwise the next start notes a gap and catches up.
        if tasks.has_committed_all() {
            let ended = ledger.end_run(&read_sources(&config), heard).await;
            ledger.judge(ended, "end the run");
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
    fn bind(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            webhooks: webhooks::bind_all(config)?,
            admin: listen("admin.listen", config.admin.listen)?,
            control: control::bind(&config.ledger.data_dir)?,
        })
    }
}

/// Names to the ledger which sources are told of hits from now on.
async fn tell_hits(config: &Config, ledger: &Ledger) -> anyhow::Result<()> {
    let is_told = |source: &&Source| source.enabled && source.telling.is_some();
    let (told, others): (Vec<&Source>, Vec<&Source>) = config.sources.iter().partition(is_told);
    let names = |sources: Vec<&Source>| sources.iter().map(|one| one.name.clone()).collect();
    ledger.tell_hits_to(names(told), names(others)).await.context("note who is told of hits")
}

/// Returns the sources that are read, as the ledger knows them.
fn read_sources(config: &Config) -> Vec<ReadSource<'_>> {
    config.enabled_sources().map(ReadSource::from).collect()
}

/// Groups the targets into views. Targets with equal policy, identity and withdrawal share a view if they
/// take the same kinds of objects. Changes are queued for enabled targets only. A view judges by the
/// warninglists that were in force last. If there are none, its claims wait for them with a key, and go
/// without them otherwise.
pub fn views(config: &Config) -> Views {
    let members = config.targets.iter().map(|target| {
        let Target { enabled, ref policy, identity, withdraw, api, .. } = *target;
        let (target, name) = (remembered(target), configured(target));
        let only_indicators = api.takes_only_indicators();
        Member { target, name, enabled, policy, identity, withdraw, only_indicators }
    });
    let members: Vec<Member<'_>> = members.collect();
    let views = Views::new(&members, &config.policy, &config.rendering);
    if !views.use_warninglists() {
        return views;
    }
    let names: Vec<String> = config.sources.iter().map(|source| source.name.clone()).collect();
    let mut kept = load_warninglists(&config.ledger.data_dir, &names);
    let lists = config.sources.iter().map(|source| {
        let lists = match kept.remove(&source.name) {
            Some(lists) => InForce::Lists(lists),
            None if source.enabled && source.rest.is_some() => InForce::Pending,
            None => InForce::Unused,
        };
        (source.name.clone(), lists)
    });
    views.under(lists.collect())
}

/// The suffix of the ledger's names for targets that write to a file.
const DRY_RUN: &str = "/dry-run";

/// Gives each target its name in the ledger. A dry-run target has a name of its own there, since what was
/// only written to a file must not count as sent.
fn name_as_remembered(config: &mut Config) {
    for target in &mut config.targets {
        target.name = remembered(target);
    }
}

/// Returns the target's name in the ledger.
fn remembered(target: &Target) -> String {
    match target.mode {
        Mode::Live => target.name.clone(),
        Mode::DryRun => format!("{}{DRY_RUN}", configured(target)),
    }
}

/// Returns the target's name in the configuration.
fn configured(target: &Target) -> &str {
    target.name.strip_suffix(DRY_RUN).unwrap_or(&target.name)
}

/// Compares namespace and targets with those of the last run, and registers them. `http` is used to read back
/// what an empty ledger cannot know. Without it, an empty ledger is refused where that matters.
async fn register(
    config: &Config,
    http: Option<&reqwest::Client>,
    ledger: &Ledger,
    views: &Views,
    options: RunOptions,
) -> anyhow::Result<()> {
    let entry = |target: &Target| TargetEntry {
        target: target.name.clone(),
        mode: match target.mode {
            _ if !target.enabled => TargetMode::Disabled,
            Mode::Live => TargetMode::Live,
            Mode::DryRun => TargetMode::DryRun,
        },
        workspace: target.workspace_id.to_string(),
        sourcesystem: target.sourcesystem.clone(),
        identity: target.identity.word().into(),
    };
    let targets: Vec<TargetEntry> = config.targets.iter().map(entry).collect();
    if !options.accept_duplicates {
        match ledger.knows_generations(views, &targets).await {
            // The ledger is empty, and a revoked id never comes back: the used-up ids must be known first.
            Err(StartError::Forgotten) => {
                Box::pin(readback::recover(config, http, ledger, views)).await?;
            }
            known => known?,
        }
    }
    Ok(ledger.register(views, &targets, options.rehome).await?)
}
