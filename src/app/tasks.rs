//! Runs the tasks of the relay. It stops them in the order of the flow, so that everything received is
//! committed and everything sent is settled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::FutureExt as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::gauges::Shown;
use super::parts::{Parts, named};
use super::sources::{self, Groups, SourceParts};
use super::{Listeners, Relay, gauges, series, services, webhooks};
use crate::admin::{self, Commands, Desk, Services};
use crate::compare;
use crate::deliver::Sender;
use crate::intake::rest::RestStatus;
use crate::ledger::{Ledger, Views};
use crate::log_event::{LogEvent, ms};
use crate::pure::outage::{Down, Outage};

/// How often gauges are refreshed and histograms drained.
const UPKEEP: Duration = Duration::from_secs(5);

/// The pause before the judging goes on after the ledger could not be read or written.
const JUDGE_AGAIN: Duration = Duration::from_secs(5);

/// The running parts, in the groups in which they stop.
#[derive(Debug)]
pub(super) struct Tasks {
    intakes: Parts,
    /// The writers of the sources. They end when all intakes have ended and what they received is committed.
    writers: Parts,
    /// The senders, and the parts that only observe. They stop last.
    senders: Parts,
    stop_senders: CancellationToken,
}

impl Tasks {
    pub(super) fn start(
        relay: Relay,
        recorded: PrometheusHandle,
        commands: Commands,
        stop: &CancellationToken,
    ) -> Self {
        // The senders have a stop of their own, because they end after the writer.
        let stop_senders = CancellationToken::new();
        let (mut intakes, mut writers, mut senders) =
            (JoinSet::new(), JoinSet::new(), JoinSet::new());
        series::begin_all(&relay.config);
        let services = services::of_relay(&relay);
        let Relay { config, ledger, views, sources, listeners, .. } = relay;
        let Listeners { webhooks, admin, control } = listeners;
        let of_sources = sources.iter().filter_map(SourceParts::webhook).collect();
        webhooks::start(webhooks, of_sources, &mut intakes, stop);
        let mut upkeep_of_ledger = Some(sources::upkeep(&sources));
        let mut groups = Groups { intakes: &mut intakes, writers: &mut writers, stop };
        for source in sources {
            source.start(&ledger, &views, upkeep_of_ledger.take(), &mut groups);
        }
        let stopped = stop_senders.clone();
        let delivering = deliver_all(ledger.clone(), views, relay.senders, stopped.clone());
        senders.spawn(named("senders", delivering));
        let (readback, health) = (Arc::clone(&services.readback), relay.health);
        let rules = config.management;
        senders.spawn(named("deletions", async move {
            compare::delete_withdrawn(&readback, &ledger, &rules, &health, &stopped).await;
            Ok(())
        }));
        for reader in relay.alerts {
            senders.spawn(named("hits", reader.run(stop_senders.clone()).map(Ok)));
        }
        // The observers stop with the senders, so that status and metrics answer until the end.
        let stopped = || stop_senders.clone();
        let watching = upkeep(services.clone(), recorded.clone(), stopped());
        senders.spawn(named("upkeep", watching.map(Ok)));
        let Commands { routes, explain } = commands;
        let desk = Desk::new(&config.admin, services.clone(), recorded, explain);
        let http = admin::http::serve(admin, desk, stopped());
        senders.spawn(named("admin listener", http));
        senders.spawn(named("control socket", control.serve(routes, services, stopped())));
        Self { intakes, writers, senders, stop_senders }
    }

    /// Waits for the first part that ends. None should before the stop.
    pub(super) async fn first_end(&mut self) -> anyhow::Result<&'static str> {
        let ended = tokio::select! {
            Some(ended) = self.intakes.join_next() => ended,
            Some(ended) = self.writers.join_next() => ended,
            Some(ended) = self.senders.join_next() => ended,
        };
        ended.context("a part of the relay failed")?
    }

    /// Waits for all parts, in the order of the flow. So everything that was received is committed, and
    /// everything that was sent is settled.
    pub(super) async fn end(&mut self) {
        for group in [&mut self.intakes, &mut self.writers] {
            drain(group).await;
        }
        self.stop_senders.cancel();
        drain(&mut self.senders).await;
    }

    /// Returns whether everything that was received is committed. Ask after [`Tasks::end`].
    pub(super) fn has_committed_all(&self) -> bool {
        self.intakes.is_empty() && self.writers.is_empty()
    }
}

async fn drain(group: &mut Parts) {
    while let Some(ended) = group.join_next().await {
        match ended {
            Ok(Ok(name)) => tracing::debug!(name, "A part of the relay ended"),
            Ok(Err(error)) => tell_failed(&format!("{error:#}")),
            Err(error) => tell_failed(&error.to_string()),
        }
    }
}

fn tell_failed(error: &str) {
    tracing::error!(event = LogEvent::PartFailed.word(), error, "A part of the relay failed");
}

/// Runs all senders until `stop`. If the policy changed, the whole ledger is judged again meanwhile. Until an object is
/// judged, only a new withdrawal of it is sent.
async fn deliver_all(
    ledger: Ledger,
    views: Arc<Views>,
    senders: Vec<Sender>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut running = JoinSet::new();
    for sender in senders {
        running.spawn(sender.run(stop.clone()));
    }
    let sent = async {
        while let Some(ended) = running.join_next().await {
            ended.context("a sender failed")?;
        }
        anyhow::Ok(())
    };
    let judged = async {
        judge_anew(&ledger, &views, &stop).await;
        anyhow::Ok(())
    };
    tokio::try_join!(sent, judged)?;
    // Without an enabled target there is no sender. To return before the stop would count as a fault.
    stop.cancelled().await;
    Ok(())
}

/// Judges everything that must be judged again, and repeats this after an error. Objects that are not judged stay as
/// they are.
async fn judge_anew(ledger: &Ledger, views: &Views, stop: &CancellationToken) {
    let began = Instant::now();
    let progress = |objects| {
        tracing::info!(
            event = LogEvent::JudgingProgress.word(),
            objects,
            "The policy, the rendering or the sources changed, and the relay judges its ledger anew"
        );
    };
    while !stop.is_cancelled() {
        let judged = tokio::select! {
            judged = ledger.reevaluate(views, Ledger::now(), progress) => judged,
            () = stop.cancelled() => return,
        };
        if matches!(judged, Ok(true)) {
            tracing::info!(
                event = LogEvent::JudgingDone.word(),
                took_ms = ms(began.elapsed()),
                "The ledger is judged anew"
            );
        }
        if ledger.judge(judged.map(drop), "judge anew") {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(JUDGE_AGAIN) => {}
        }
    }
}

/// Refreshes the gauges and drains the histograms every [`UPKEEP`], until `stop`.
async fn upkeep(watched: Services, recorded: PrometheusHandle, stop: CancellationToken) {
    let (mut tick, mut unreadable) = (tokio::time::interval(UPKEEP), Outage::default());
    let mut shown = Shown::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        recorded.run_upkeep();
        let asking = watched.sources.iter().filter_map(|source| source.rest.as_ref());
        asking.for_each(RestStatus::tell_late);
        // A gauge that cannot be refreshed is no reason to end the relay.
        let Err(error) = gauges::refresh(&watched, &mut shown).await else {
            unreadable.over(Instant::now());
            continue;
        };
        if let Some(Down { lasted, failures }) = unreadable.failed("", Instant::now()) {
            tracing::warn!(
                event = LogEvent::LedgerUnreadable.word(),
                %error,
                down_ms = ms(lasted),
                failures,
                "The figures of the ledger cannot be read"
            );
        }
    }
}
