//! Runs the tasks of the relay. It stops them in the order of the flow, so that everything received is
//! committed and everything sent is settled.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Listeners, Relay, reading, services};
use crate::admin;
use crate::admin::control::Control;
use crate::compare;
use crate::deliver::Sender;
use crate::intake::rest::RestStatus;
use crate::intake::webhook;
use crate::intake::zmq::{self, ZeroMqStatus};
use crate::ledger::{Lane, Ledger, Room, SqlResult, Views, WaitingCounts, Writer};
use crate::metrics::{self, Part};

/// How often gauges are refreshed and histograms drained.
const UPKEEP: Duration = Duration::from_secs(5);

/// A group of running parts. Each returns its name when it ends.
type Parts = JoinSet<anyhow::Result<&'static str>>;

/// The running parts, in the groups in which they stop.
#[derive(Debug)]
pub(super) struct Tasks {
    intakes: Parts,
    /// The ledger's writer. It ends when all intakes have ended and what they received is committed.
    writer: Parts,
    /// The senders, and the parts that only observe. They stop last.
    senders: Parts,
    stop_senders: CancellationToken,
}

impl Tasks {
    pub(super) fn start(
        relay: Relay,
        recorded: PrometheusHandle,
        commands: Router<Control>,
        stop: &CancellationToken,
    ) -> Self {
        // The senders have a stop of their own, because they end after the writer.
        let stop_senders = CancellationToken::new();
        let (mut intakes, mut writer, mut senders) =
            (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let services = services::of_relay(&relay);
        intakes.spawn(feed(&relay, stop.clone()));
        let Listeners { admin, webhook, control } = relay.listeners;
        if let (Some(config), Some(listener)) = (relay.config.misp.webhook.clone(), webhook) {
            let serving = webhook::serve(config, listener, relay.inbox.clone(), stop.clone());
            intakes.spawn(async move { serving.await.map(|()| "webhook") });
        }
        if let Some(asking) = relay.rest.clone() {
            let stop = stop.clone();
            intakes.spawn(async move {
                asking.run(stop).await;
                Ok("REST intake")
            });
        }
        // The writer ends when the last intake drops its end of the inbox, so none may be kept here.
        let rest = relay.rest.as_ref().map(|asking| asking.status.clone());
        let settings = reading::writer_settings(&relay.config, relay.rest.as_ref());
        drop((relay.inbox, relay.rest));
        let (ledger, views) = (relay.ledger.clone(), Arc::clone(&relay.views));
        let writing = Writer::new(ledger.clone(), Arc::clone(&views), settings, relay.notices);
        writer.spawn(async move {
            writing.run().await;
            Ok("writer")
        });
        let stopped = stop_senders.clone();
        senders.spawn(deliver_all(ledger.clone(), Arc::clone(&views), relay.senders, stopped));
        let targets = relay.config.targets.iter().map(|target| target.name.clone()).collect();
        let watched = Watched { ledger, views, targets, feed: relay.feed.clone(), rest };
        let (readback, of_ledger) = (Arc::clone(&services.readback), services.ledger.clone());
        let (rules, stopped) = (relay.config.management.clone(), stop_senders.clone());
        senders.spawn(async move {
            compare::delete_withdrawn(&readback, &of_ledger, &rules, &stopped).await;
            Ok("deletions")
        });
        senders.spawn(upkeep(watched, recorded.clone(), stop_senders.clone()));
        // The observers stop with the senders, so that status and metrics answer until the end.
        let http = admin::http::serve(admin, services.clone(), recorded, stop_senders.clone());
        senders.spawn(async move { http.await.map(|()| "admin listener") });
        let control = control.serve(commands, services, stop_senders.clone());
        senders.spawn(async move { control.await.map(|()| "control socket") });
        Self { intakes, writer, senders, stop_senders }
    }

    /// Waits for the first part that ends. None should before the stop.
    pub(super) async fn first_end(&mut self) -> anyhow::Result<&'static str> {
        let ended = tokio::select! {
            Some(ended) = self.intakes.join_next() => ended,
            Some(ended) = self.writer.join_next() => ended,
            Some(ended) = self.senders.join_next() => ended,
        };
        ended.context("a part of the relay failed")?
    }

    /// Waits for all parts, in the order of the flow. So everything that was received is committed, and
    /// everything that was sent is settled.
    pub(super) async fn end(&mut self) {
        for group in [&mut self.intakes, &mut self.writer] {
            drain(group).await;
        }
        self.stop_senders.cancel();
        drain(&mut self.senders).await;
    }

    /// Returns whether everything that was received is committed. Ask after [`Tasks::end`].
    pub(super) fn has_committed_all(&self) -> bool {
        self.intakes.is_empty() && self.writer.is_empty()
    }
}

async fn drain(group: &mut Parts) {
    while let Some(ended) = group.join_next().await {
        match ended {
            Ok(Ok(name)) => tracing::debug!(name, "ended"),
            Ok(Err(error)) => tracing::error!(error = format!("{error:#}"), "a part failed"),
            Err(error) => tracing::error!(%error, "a part failed"),
        }
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
            // A part that returns counts as failed, so this one waits for the stop instead.
            stop.cancelled().await;
        } else {
            zmq::run(config, inbox, status, stop).await;
        }
        Ok("ZeroMQ intake")
    }
}

/// Judges the whole ledger anew if the policy changed, so that nothing leaves that it forbids now. Then runs
/// all senders until `stop`.
async fn deliver_all(
    ledger: Ledger,
    views: Arc<Views>,
    senders: Vec<Sender>,
    stop: CancellationToken,
) -> anyhow::Result<&'static str> {
    let progress = |done| {
        tracing::info!(objects = done, "judging the ledger anew: policy or rendering changed")
    };
    ledger.reevaluate(&views, Ledger::now(), progress).await.context("judge the ledger anew")?;
    let mut running = JoinSet::new();
    for sender in senders {
        running.spawn(sender.run(stop.clone()));
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a sender failed")?;
    }
    // Without an enabled target there is no sender. To return before the stop would count as a fault.
    stop.cancelled().await;
    Ok("senders")
}

/// The parts that the gauges show.
struct Watched {
    ledger: Ledger,
    views: Arc<Views>,
    targets: Vec<String>,
    feed: ZeroMqStatus,
    rest: Option<RestStatus>,
}

/// Refreshes the gauges and drains the histograms every [`UPKEEP`], until `stop`.
async fn upkeep(
    watched: Watched,
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
        watched.parts();
        // A gauge that cannot be refreshed is no reason to end the relay.
        if let Err(error) = watched.ledger().await {
            tracing::warn!(%error, "cannot read the ledger");
        }
    }
}

impl Watched {
    fn parts(&self) {
        for endpoint in self.feed.now() {
            let part = Part::Feed(&endpoint.endpoint);
            metrics::degraded(part, "not_connected", !endpoint.connected());
        }
        metrics::degraded(Part::Ledger, "not_writable", !self.ledger.is_writable());
        metrics::degraded(Part::Rest, "not_configured", self.rest.is_none());
        let rest = self.rest.as_ref().map(RestStatus::now).unwrap_or_default();
        metrics::degraded(Part::Rest, "failing", rest.error.is_some());
        metrics::degraded(Part::Rest, "late", rest.late);
        metrics::degraded(Part::Rest, "other_view", rest.other_view);
        metrics::degraded(Part::Rest, "empty", rest.empty);
        let lists = self.views.warninglists().state().unwrap_or_default();
        metrics::warninglist_entries(lists.entries as f64);
        metrics::degraded(Part::Warninglists, "pending", lists.pending);
        metrics::degraded(Part::Warninglists, "failing", lists.error.is_some());
        metrics::degraded(Part::Warninglists, "unreadable", !lists.unreadable.is_empty());
    }

    async fn ledger(&self) -> SqlResult<()> {
        let WaitingCounts { reads, held } = self.ledger.waiting().await?;
        metrics::waiting(reads as f64, held as f64);
        let Room { file, wal, free } = self.ledger.room().await?;
        for (part, bytes) in [("file", file), ("wal", wal), ("free", free)] {
            metrics::ledger_size(part, bytes as f64);
        }
        metrics::degraded(Part::Ledger, "held", held > 0);
        let (_, unread) = self.ledger.unread(0).await?;
        metrics::degraded(Part::Rest, "unreadable_events", unread > 0);
        let waiting = self.ledger.waiting_warninglists().await?.is_some();
        metrics::degraded(Part::Warninglists, "waiting", waiting);
        for target in &self.targets {
            let depths = self.ledger.queue_depth(target).await?;
            for (lane, depth) in Lane::ALL.iter().zip(depths) {
                metrics::queued(target, lane.word(), depth as f64);
            }
        }
        Ok(())
    }
}
