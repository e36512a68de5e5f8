//! Runs the steps of the demo: it publishes the frames of a step, waits until the relay has sent everything,
//! and compares the sandbox with what it must hold.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::check::{self, Expected, InSandbox};
use super::feed::Feed;
use super::recorded::Recording;
use super::scenario::{Act, DemoStep};
use super::stage::Stage;
use super::table::{PublicationCounts, Reasons, Screen, State, StepRow};
use crate::intake::frame;
use crate::pure::convert::{self, Claim};
use crate::pure::misp::Event;
use crate::pure::policy::SideFacts;

/// The most time that a step may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing must arrive after a step that sends nothing. It is more than the linger time.
const QUIET: Duration = Duration::from_millis(400);

/// How long the feed stays down at a restart.
const DOWN: Duration = Duration::from_millis(1_200);

/// The recorded frame of an event without attributes.
const EMPTY_EVENT: &str = "000411";

/// The pause after an upload. The quota allows one every 0.6 s. The demo waits between the steps, so that
/// their times show the relay and not the quota.
const SLOT: Duration = Duration::from_millis(650);

/// The longest pause between two looks at the sandbox.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// The running demo.
pub(super) struct Play<'a> {
    pub stage: &'a Stage,
    pub feed: Feed,
    pub screen: Screen<'a>,
    pub patience: Duration,
    pub steps: usize,
    /// The times from frame to acceptance of steps that only withdraw. Those of the other steps are in
    /// `publications`.
    pub withdrawals: Vec<Duration>,
    pub publications: Vec<Duration>,
    expected: Expected,
    began: Instant,
}

impl<'a> Play<'a> {
    pub(super) fn new(stage: &'a Stage, feed: Feed, screen: Screen<'a>) -> Self {
        Self {
            stage,
            feed,
            screen,
            patience: PATIENCE,
            steps: 0,
            withdrawals: Vec::new(),
            publications: Vec::new(),
            expected: Expected::default(),
            began: Instant::now(),
        }
    }

    /// Does one step, shows it, and checks its result.
    ///
    /// # Errors
    /// Sentinel does not hold what MISP says, or feed, ledger or screen failed.
    pub(super) async fn step(&mut self, step: DemoStep) -> anyhow::Result<()> {
        let DemoStep { did, event, act, appears, disappears } = step;
        if let Some(last) = check::look(&self.stage.sandbox).last {
            tokio::time::sleep(SLOT.saturating_sub(last.elapsed())).await;
        }
        let mut row = StepRow { at: self.began.elapsed(), did, event, ..StepRow::default() };
        self.screen.row(&row)?;
        let only_withdraws = appears.is_empty() && !disappears.is_empty();
        // A withdrawal is an accepted object as well.
        self.expected.accepted += appears.len() + disappears.len();
        self.expected.live.retain(|pattern| !disappears.contains(pattern));
        self.expected.live.extend(appears);
        match act {
            Act::Send(frames) => self.send(frames, &mut row).await?,
            Act::Restart => self.restart(&mut row).await?,
        }
        self.screen.row(&row)?;
        if row.state == State::Wrong {
            let differences = self.expected.differences(&check::look(&self.stage.sandbox));
            anyhow::bail!(
                "after \"{did}\" {event:?} Sentinel does not hold what MISP says:\n{differences}"
            );
        }
        self.steps += 1;
        let times = if only_withdraws { &mut self.withdrawals } else { &mut self.publications };
        times.extend(row.after.filter(|_| !row.accepted.is_empty()));
        Ok(())
    }

    async fn send(&mut self, frames: Vec<String>, row: &mut StepRow) -> anyhow::Result<()> {
        let before = check::look(&self.stage.sandbox);
        let claims = claims(&self.stage.recorded.render());
        for frame in &frames {
            self.tell_publication(frame, row);
        }
        let sent = Instant::now();
        let mut heard = Utc::now();
        for frame in frames {
            heard = Utc::now();
            self.feed.publish(frame).await?;
        }
        let found = self.settled(&before, heard, sent).await?;
        row.claims = since(claims, self::claims(&self.stage.recorded.render()));
        row.state = if self.expected.is_met_by(&found) { State::AsExpected } else { State::Wrong };
        row.accepted = changes(&before, &found);
        if found.accepted > before.accepted {
            row.after = found.last.map(|last| last.saturating_duration_since(sent));
        }
        Ok(())
    }

    /// Waits until the sandbox is as expected and the relay has nothing more to do, or until patience ends.
    /// Returns what the sandbox holds then.
    async fn settled(
        &self,
        before: &InSandbox,
        heard: DateTime<Utc>,
        sent: Instant,
    ) -> anyhow::Result<InSandbox> {
        let sends_nothing = self.expected.accepted == before.accepted;
        let mut changes = self.stage.sandbox.changes();
        loop {
            let found = check::look(&self.stage.sandbox);
            // If nothing is to come, the sandbox is as expected at once: only time shows that nothing comes.
            let quiet = !sends_nothing || sent.elapsed() > QUIET;
            let met = quiet && self.expected.is_met_by(&found) && self.has_heard(heard);
            if (met && self.has_sent_all().await?) || sent.elapsed() > self.patience {
                return Ok(found);
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn has_heard(&self, since: DateTime<Utc>) -> bool {
        let endpoints = self.stage.hears.now();
        endpoints.iter().any(|endpoint| endpoint.last_frame.is_some_and(|last| last >= since))
    }

    async fn has_sent_all(&self) -> anyhow::Result<bool> {
        for target in &self.stage.config.targets {
            if self.stage.ledger.queue_depth(&target.name).await? != [0; 3] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts the counts of a publication into the row. They come from the same pure functions that the relay
    /// uses.
    fn tell_publication(&self, frame: &str, row: &mut StepRow) {
        let Some((frame::PUBLICATION, document)) = frame.split_once(' ') else { return };
        let Ok(event) = Event::parse(document.as_bytes()) else { return };
        let conversion = convert::event(&event);
        let facts = event.facts();
        let (mut withheld, mut observables) = (Vec::new(), BTreeSet::new());
        for claim in &conversion.claims {
            let Claim { facts: of_claim, observable, .. } = claim;
            match self.stage.judge.admit(&facts, of_claim, observable, &SideFacts::default()) {
                Ok(()) => drop(observables.insert(observable)),
                Err(reason) => withheld.push((reason.word(), 1)),
            }
        }
        let silent = conversion.skipped.iter().map(|(reason, count)| (reason.word(), count));
        row.held = Some(PublicationCounts {
            attributes: conversion.attributes,
            silent: Reasons::of(silent),
            claims: conversion.claims.len() as u64,
            withheld: Reasons::of(withheld.into_iter()),
            observables: observables.len() as u64,
        });
    }

    /// Publishes harmless frames on both kinds of topics until the relay hears both. What is published before
    /// a subscription has arrived is lost.
    ///
    /// # Errors
    /// The relay does not hear its feed in time.
    pub(super) async fn greet(&mut self) -> anyhow::Result<()> {
        let (began, since) = (Instant::now(), Utc::now());
        let recording = Recording::until(since);
        while !self.hears_both(since) {
            anyhow::ensure!(began.elapsed() < self.patience, "the relay does not hear its feed");
            self.feed.publish(recording.heartbeat(self.feed.uptime())?).await?;
            self.feed.publish(recording.frame(EMPTY_EVENT)?).await?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn hears_both(&self, since: DateTime<Utc>) -> bool {
        let recent = |time: Option<DateTime<Utc>>| time.is_some_and(|time| time >= since);
        self.stage.hears.now().iter().all(|endpoint| {
            let heard = recent(endpoint.last_frame) && recent(endpoint.last_publication);
            endpoint.connected() && heard
        })
    }

    /// Takes the feed down and brings it back. The relay must reconnect by itself, and note that it may have
    /// missed something.
    async fn restart(&mut self, row: &mut StepRow) -> anyhow::Result<()> {
        let before = self.gaps().await?;
        self.feed.close().await;
        tokio::time::sleep(DOWN).await;
        self.feed.open().await?;
        let up = Instant::now();
        self.greet().await?;
        row.after = Some(up.elapsed());
        while self.gaps().await? == before {
            anyhow::ensure!(up.elapsed() < self.patience, "the relay noted no gap");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        row.accepted = "gap noted".to_owned();
        row.state = State::AsExpected;
        Ok(())
    }

    /// Returns how often the relay noted that it may have missed something.
    pub(super) async fn gaps(&self) -> anyhow::Result<i64> {
        Ok(self.stage.ledger.status().await?.gaps.iter().map(|gap| gap.times).sum())
    }
}

/// Returns in words how the live patterns changed.
fn changes(before: &InSandbox, found: &InSandbox) -> String {
    let new = found.live.difference(&before.live).count();
    let gone = before.live.difference(&found.live).count();
    let updated = (found.accepted - before.accepted).saturating_sub(new + gone);
    let counts = [(new, "new"), (gone, "gone"), (updated, "again")];
    let changed = counts.iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = changed.map(|(count, word)| format!("{count} {word}")).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join("\n") }
}

/// Reads the relay's counters of claims that are new, changed and gone.
fn claims(metrics: &str) -> [u64; 3] {
    ["new", "changed", "gone"].map(|change| {
        let series = format!("misp_sentinel_relay_claims_total{{change=\"{change}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
        value.and_then(|value| value.parse().ok()).unwrap_or_default()
    })
}

/// Returns in words by how much the counters rose, e.g. `+53 ~1 -2`.
fn since(before: [u64; 3], now: [u64; 3]) -> String {
    let counts = now.into_iter().zip(before).map(|(now, before)| now.saturating_sub(before));
    let changed = ["+", "~", "-"].iter().zip(counts).filter(|(_, count)| *count > 0);
    changed.map(|(sign, count)| format!("{sign}{count}")).collect::<Vec<_>>().join(" ")
}
