//! Compares what Sentinel holds with what it must hold, once there are no more deeds and faults.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use misp_stand_in::RestFault;
use tokio::time::sleep;
use uuid::Uuid;

use super::deed::Deed;
use super::merged::Merged;
use super::reference::Verdict;
use super::relay::CATCH_UP;
use super::run::{Lasting, World};
use super::sent::{self, ANCHOR};
use super::weather::Weather;
use super::witness::{self, Doubts, Witness};

/// How long a quiet world may take to become as it must be.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

impl World {
    /// Everything works from now on.
    pub(super) async fn quiet(&mut self) {
        let lasting = std::mem::take(&mut self.lasting);
        let is_rejection = |lasting: &Lasting| matches!(lasting.weather, Weather::Rejects(_));
        let rejections = lasting.iter().any(is_rejection)
            || self.report.counts.contains_key("weather: partial errors");
        for lasting in lasting {
            self.lift(lasting).await;
        }
        self.sandbox.heal();
        for site in &mut self.sites {
            site.server.heal();
            site.wire.heal().await;
        }
        if self.relay.skew() != 0 {
            self.relay.kill();
            self.stops.push(Instant::now());
            self.relay.set_skew(0);
            self.relay.start().await;
            self.wait_for_subscriptions().await;
        }
        for place in 0..self.sites.len() {
            let misp = &self.sites[place].misp;
            misp.advance(5);
            let now = misp.now();
            self.report.log.push(format!("    {}quiet at {now}", self.named(place)));
        }
        self.hear().await;
        if rejections {
            self.relay.retry_rejected().await;
        }
    }

    async fn hear(&mut self) {
        for place in 0..self.sites.len() {
            self.hear_of(place).await;
        }
    }

    /// Waits until the relay has heard everything of a MISP and Sentinel has what it sent at once: the anchor
    /// changes, and is published until its new value is live and the old one is not.
    async fn hear_of(&mut self, place: usize) {
        let site = &mut self.sites[place];
        let before = site.anchor.value();
        let frames = site.move_anchor();
        for witness in &self.witnesses {
            witness.hear(place, &frames).await;
        }
        let after = site.anchor.value();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            for frame in &frames {
                site.wire.put(&frame.bytes).await;
            }
            for _ in 0..20 {
                if sent::is_anchored(&self.sandbox, &after)
                    && !sent::is_anchored(&self.sandbox, &before)
                {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
        let name = site.name;
        self.violation(format!("nothing of {name} is heard for {PATIENCE:?}"));
    }

    pub(super) async fn compare_all(&mut self) {
        if !self.report.violations.is_empty() {
            return;
        }
        let verdicts = Merged::of(&self.sites).verdicts();
        let either = verdicts.values().filter(|verdict| **verdict == Verdict::Either).count();
        self.count("verdicts: either", either);
        self.count("verdicts: must", verdicts.len() - either);
        // Two rounds of catch-up have begun after the quiet did.
        let rounds = if self.plan.rest { CATCH_UP * 5 / 2 } else { Duration::from_millis(50) };
        self.reach("after catch-up", rounds, Self::differs_after_catch_up).await;
        self.count_untraced();
        if self.plan.rest {
            match self.relay.resync().await {
                Ok(()) => self.reach("after a full resync", Duration::ZERO, Self::differs).await,
                Err(error) => self.violation(format!("no resync: {error}")),
            }
            self.read_without_fields().await;
            if let Err(error) = self.compare_relays().await {
                self.violation(format!("the relays could not be compared: {error}"));
            }
        }
        for place in 0..self.sites.len() {
            self.sites[place].misp.advance(2);
            for event in self.sites[place].events() {
                self.act(place, Deed::Publish(event.uuid)).await;
            }
        }
        self.hear().await;
        self.reach("after all was published", Duration::ZERO, Self::differs_in_the_end).await;
    }

    /// Answers that do not say whether an event is published change nothing.
    async fn read_without_fields(&mut self) {
        if !self.plan.absent_fields {
            return;
        }
        let was_tagged: BTreeSet<Uuid> =
            (self.sites.iter()).flat_map(|site| site.reference.tagged().iter().copied()).collect();
        for site in &mut self.sites {
            site.server.always(Some(RestFault::LacksPublication));
            let published = site.misp.events().into_iter().filter(|event| event.published);
            let certain = published.filter(|event| !was_tagged.contains(&event.uuid));
            for frame in certain.flat_map(|event| site.misp.push(event.uuid)).collect::<Vec<_>>() {
                site.wire.put(&frame.bytes).await;
            }
        }
        self.reach("after answers without fields", CATCH_UP, Self::differs).await;
        self.sites.iter().for_each(|site| site.server.always(None));
        self.reach("after whole answers again", CATCH_UP, Self::differs).await;
    }

    /// Whatever a relay lived through, it wants what one wants that starts now.
    async fn compare_relays(&mut self) -> Result<(), String> {
        let place = (&self.sandbox, &self.sites[..]);
        let newcomer = Witness::start(("one that starts now", false), &self.plan, place).await;
        newcomer.resync().await?;
        let doubts = self.doubts();
        let told = |name: &str, all: Vec<String>| {
            let name = name.to_owned();
            all.into_iter().map(move |words| format!("{name} / one that starts now: {words}"))
        };
        let mut found = Vec::new();
        let differ = witness::differences((&self.relay, newcomer.relay()), &doubts).await?;
        found.extend(told("the relay", differ));
        for witness in &self.witnesses {
            witness.resync().await?;
            let pair = (witness.relay(), newcomer.relay());
            let differ = witness::differences(pair, &doubts).await?;
            found.extend(told(witness.name, differ));
        }
        found.extend(self.relay.mistaken(&self.sandbox).await?);
        self.report.violations.extend(found);
        self.count("relays compared", 2 + self.witnesses.len());
        newcomer.stop().await
    }

    fn doubts(&self) -> Doubts {
        let merged = Merged::of(&self.sites);
        let verdicts = merged.verdicts().into_iter();
        let either = verdicts.filter(|(_, verdict)| *verdict == Verdict::Either);
        Doubts { either: either.map(|(said, _)| said).collect(), doubtful: merged.doubtful() }
    }

    /// Waits `at_least`, and until there is no difference; if there always is one, it is a violation.
    async fn reach(
        &mut self,
        when: &'static str,
        at_least: Duration,
        differs: fn(&Self) -> Vec<String>,
    ) {
        let begun = Instant::now();
        sleep(at_least).await;
        let mut differences = differs(self);
        while !differences.is_empty() && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(10)).await;
            differences = differs(self);
        }
        let violations = differences.into_iter().map(|difference| format!("{when}: {difference}"));
        self.report.violations.extend(violations);
    }

    fn differs_after_catch_up(&self) -> Vec<String> {
        let untraced = Merged::of(&self.sites).untraced();
        let mut differences = self.differs();
        differences.retain(|words| !untraced.keys().any(|said| words.contains(said.as_str())));
        differences
    }

    /// Counts what only a full resync can find, where it was not found before.
    fn count_untraced(&mut self) {
        let differences = self.differs();
        let untraced = Merged::of(&self.sites).untraced();
        let causes: Vec<_> = differences
            .iter()
            .filter_map(|words| {
                untraced.iter().find(|(pattern, _)| words.contains(pattern.as_str()))
            })
            .map(|(_, cause)| cause.words())
            .collect();
        for cause in causes {
            self.count(cause, 1);
        }
    }

    fn differs(&self) -> Vec<String> {
        let (live, verdicts) = (sent::live(&self.sandbox), Merged::of(&self.sites).verdicts());
        let mut differences = two_ids(&live);
        for (pattern, verdict) in &verdicts {
            if *verdict == Verdict::Must && !live.contains_key(pattern) && !is_anchor(pattern) {
                differences.push(format!("{pattern} is missing"));
            }
        }
        for (pattern, (ids, events)) in &live {
            if !verdicts.contains_key(pattern) {
                differences.push(format!("{pattern} is left over: {ids:?} of {events:?}"));
            }
        }
        differences
    }

    /// Everything is published: no doubt is left, and the events that claim an observable are named.
    fn differs_in_the_end(&self) -> Vec<String> {
        let live = sent::live(&self.sandbox);
        let (mut claimants, uncertain) = Merged::of(&self.sites).claimants();
        claimants.retain(|pattern, _| !is_anchor(pattern));
        let held = live.iter().map(|(pattern, (_, events))| (pattern.clone(), events.clone()));
        let held: BTreeMap<_, _> = held.collect();
        let mut differences = two_ids(&live);
        let all: BTreeSet<_> = held.keys().chain(claimants.keys()).collect();
        for pattern in all.into_iter().filter(|pattern| !uncertain.contains(*pattern)) {
            let (held, wanted) = (held.get(pattern), claimants.get(pattern));
            if held != wanted {
                differences.push(format!("{pattern} is of {held:?} and must be of {wanted:?}"));
            }
        }
        differences
    }
}

fn two_ids(live: &sent::Live) -> Vec<String> {
    let twice = live.iter().filter(|(_, (ids, _))| ids.len() > 1);
    twice.map(|(pattern, (ids, _))| format!("{pattern} is live under {ids:?}")).collect()
}

fn is_anchor(pattern: &str) -> bool {
    pattern.contains(ANCHOR)
}
