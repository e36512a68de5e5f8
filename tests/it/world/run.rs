//! One seed from its first operation to the last comparison.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use misp_sentinel_relay::sandbox::misp::{
    Chance, Edit, Key, Misp, MispServer, MispSettings, NewAttribute, NewEvent, RestFault,
};
use misp_sentinel_relay::sandbox::{Fault, Sandbox, Settings};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;
use uuid::Uuid;

use super::deed::Deed;
use super::plan::Plan;
use super::reference::{Reference, Verdict};
use super::relay::{CATCH_UP, KEY, Relay};
use super::sent::{self, ANCHOR};
use super::weather::{self, Weather};
use super::wire::Wire;

/// How long a quiet world may take to become as it must be.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a seed gave.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) counts: BTreeMap<&'static str, usize>,
    pub(super) violations: Vec<String>,
    /// All that was done, in its order.
    log: Vec<String>,
    /// The end of the relay's own log.
    relay: String,
}

impl Report {
    pub(super) fn panicked(seed: u64, error: &tokio::task::JoinError) -> Self {
        Self { seed, violations: vec![format!("panicked: {error}")], ..Self::default() }
    }

    pub(super) fn words(&self) -> String {
        let mut text = format!("==== seed {}\n", self.seed);
        for line in &self.log {
            // Writing to a String cannot fail.
            let _written = writeln!(text, "  {line}");
        }
        for violation in &self.violations {
            let _written = writeln!(text, "VIOLATION in seed {}: {violation}", self.seed);
        }
        let _written = writeln!(text, "{}", self.relay);
        text
    }
}

/// Lives one seed.
pub(super) async fn seed(plan: Plan) -> Report {
    let mut world = World::make(plan).await;
    world.live().await;
    world.quiet().await;
    world.compare_all().await;
    world.end().await
}

struct World {
    plan: Plan,
    draw: StdRng,
    misp: Misp,
    server: MispServer,
    sandbox: Sandbox,
    wire: Wire,
    relay: Relay,
    reference: Reference,
    anchor: Anchor,
    /// What is to be undone, with the steps that it still lasts.
    lasting: Vec<(u32, Weather)>,
    /// Patterns that Sentinel rejects now.
    rejected: Arc<Mutex<BTreeSet<String>>>,
    stops: Vec<Instant>,
    report: Report,
}

/// An event of the harness: what is published there last is what the relay heard last.
struct Anchor {
    event: Uuid,
    attribute: Uuid,
    number: u32,
}

impl Anchor {
    fn value(&self) -> String {
        format!("{ANCHOR}{}.example", self.number)
    }
}

impl World {
    async fn make(plan: Plan) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let misp = Misp::new(i64::try_from(now).unwrap() - 10_000);
        let key = if plan.outsider { Key::read_only(KEY) } else { Key::site_admin(KEY) };
        let settings = MispSettings { keys: vec![key], listen: lasting_address() };
        let server = MispServer::start(misp.clone(), settings).await.unwrap();
        let settings = Settings {
            listen: lasting_address(),
            quota_requests: 0,
            keep_bodies: true,
            ..Settings::default()
        };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let wire = Wire::new(plan.frame_faults);
        let relay = Relay::new(&plan, &wire.publisher().endpoint(), &sandbox, &server);
        let reference = Reference::new(plan.outsider, misp.now());
        let named =
            |number: u128| Uuid::from_u128(0xa2c4_0a00_0000_4000_8000_0000_0000_0000 | number);
        let anchor = Anchor { event: named(1), attribute: named(2), number: 0 };
        let mut world = Self {
            plan,
            draw: StdRng::seed_from_u64(plan.seed),
            misp,
            server,
            sandbox,
            wire,
            relay,
            reference,
            anchor,
            lasting: Vec::new(),
            rejected: Arc::default(),
            stops: Vec::new(),
            report: Report { seed: plan.seed, ..Report::default() },
        };
        world.begin().await;
        world
    }

    async fn begin(&mut self) {
        self.report.log.push(format!("{:?}", self.plan));
        self.relay.start().await;
        self.wire.publisher().wait_for_subscriptions(2).await;
        let attribute = NewAttribute {
            uuid: self.anchor.attribute,
            ..NewAttribute::new("domain", &self.anchor.value())
        };
        let attributes = vec![attribute];
        self.misp.add_event(NewEvent {
            uuid: self.anchor.event,
            attributes,
            ..NewEvent::default()
        });
        self.listen_for_rejections();
        if self.plan.rest_faults > 0 {
            let faults = (0..24).map(|_| weather::rest_fault(&mut self.draw)).collect();
            let probability = f64::from(self.plan.rest_faults) / 100.0;
            self.server.by_chance(Chance { seed: self.plan.seed, probability, faults });
        }
    }

    fn listen_for_rejections(&self) {
        let rejected = Arc::clone(&self.rejected);
        self.sandbox.reject_where(move |object| {
            let rejected = rejected.lock().unwrap_or_else(PoisonError::into_inner);
            let pattern = object["pattern"].as_str().unwrap_or_default();
            rejected.contains(pattern).then(|| "rejected by the weather".to_owned())
        });
    }

    /// All operations and all bad weather.
    async fn live(&mut self) {
        for step in 0..self.plan.operations {
            self.misp.advance(i64::from(self.draw.random_range(0..4_u8)));
            self.weather().await;
            let outsider = self.plan.outsider;
            let deed = Deed::draw(&mut self.draw, &self.misp, self.anchor.event, outsider);
            self.report.log.push(format!("{step:>3} {} {deed}", self.misp.now()));
            self.act(deed).await;
            self.wire.step().await;
            // Long enough that a relay that was killed is sometimes up again.
            let longest = if self.plan.kills { 40 } else { 12 };
            let pause = self.draw.random_range(0..longest);
            sleep(Duration::from_millis(pause)).await;
        }
        self.count("operations", self.plan.operations);
    }

    async fn act(&mut self, deed: Deed) {
        let before = self.misp.event(deed.event());
        let frames = deed.clone().act(&self.misp);
        self.reference.observe(&deed, before, &self.misp);
        self.wire.send(frames, &mut self.draw).await;
    }

    async fn weather(&mut self) {
        for (steps, _) in &mut self.lasting {
            *steps = steps.saturating_sub(1);
        }
        let over: Vec<_> = self.lasting.extract_if(.., |(steps, _)| *steps == 0).collect();
        for (_, weather) in over {
            self.lift(weather).await;
        }
        if let Some((weather, lasts)) = Weather::draw(&self.plan, &mut self.draw) {
            self.report.log.push(format!("    {weather:?} for {lasts}"));
            self.count(weather.kind(), 1);
            self.bring(&weather).await;
            self.lasting.push((lasts + 1, weather));
        }
    }

    async fn bring(&mut self, weather: &Weather) {
        match weather {
            Weather::FeedStalls => self.wire.stall(),
            Weather::FeedStops { queued } => self.wire.stop(*queued),
            Weather::Uploads(faults) => self.sandbox.script(faults.clone()),
            Weather::SentinelStops => {
                self.stops.push(Instant::now());
                self.sandbox.stop().await;
            }
            Weather::SentinelAnswers(fault) => self.sandbox.always(Some(fault.clone())),
            Weather::Rejects(pattern) => {
                self.rejections(|rejected| rejected.insert(pattern.clone()));
            }
            Weather::Rest(faults) => self.server.script(faults.clone()),
            Weather::MispStops => self.server.stop().await,
            Weather::ClockJumps(seconds) => self.misp.advance(*seconds),
            Weather::Kill => {
                if self.relay.is_running() {
                    self.relay.kill();
                    self.stops.push(Instant::now());
                }
            }
        }
    }

    async fn lift(&mut self, weather: Weather) {
        match weather {
            Weather::FeedStalls | Weather::FeedStops { .. } => self.wire.go_on().await,
            Weather::SentinelStops => self.sandbox.restart().await.unwrap(),
            Weather::SentinelAnswers(_) => self.sandbox.always(None),
            Weather::Rejects(pattern) => {
                self.rejections(|rejected| rejected.remove(&pattern));
            }
            Weather::MispStops => self.server.restart().await.unwrap(),
            Weather::Kill => {
                if !self.relay.is_running() {
                    self.relay.start().await;
                }
            }
            Weather::Uploads(_) | Weather::Rest(_) | Weather::ClockJumps(_) => {}
        }
    }

    fn rejections<T>(&self, act: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        act(&mut self.rejected.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything works from now on.
    async fn quiet(&mut self) {
        let lasting = std::mem::take(&mut self.lasting);
        let rejections = lasting.iter().any(|(_, weather)| matches!(weather, Weather::Rejects(_)))
            || self.report.counts.contains_key("weather: partial errors");
        for (_, weather) in lasting {
            self.lift(weather).await;
        }
        self.sandbox.heal();
        self.server.heal();
        self.wire.heal().await;
        self.misp.advance(5);
        self.report.log.push(format!("    quiet at {}", self.misp.now()));
        self.hear().await;
        if rejections {
            self.relay.retry_rejected().await;
        }
    }

    /// Waits until the relay has heard everything and Sentinel has what it sent at once: the anchor
    /// changes, and is published until its new value is live and the old one is not.
    async fn hear(&mut self) {
        let before = self.anchor.value();
        self.anchor.number += 1;
        let value = Edit::Value(self.anchor.value());
        let frames = self.misp.edit_attribute(self.anchor.event, self.anchor.attribute, value);
        let frames = [frames, self.misp.publish(self.anchor.event)].concat();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            for frame in &frames {
                self.wire.put(&frame.bytes).await;
            }
            for _ in 0..20 {
                if sent::is_anchored(&self.sandbox, &self.anchor.value())
                    && !sent::is_anchored(&self.sandbox, &before)
                {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
        self.violation(format!("nothing is heard for {PATIENCE:?}"));
    }

    async fn compare_all(&mut self) {
        if !self.report.violations.is_empty() {
            return;
        }
        let verdicts = self.reference.verdicts(&self.misp);
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
        }
        self.misp.advance(2);
        for event in self.misp.events() {
            if event.uuid != self.anchor.event {
                self.act(Deed::Publish(event.uuid)).await;
            }
        }
        self.hear().await;
        self.reach("after all was published", Duration::ZERO, Self::differs_in_the_end).await;
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
        let untraced = self.reference.untraced();
        let mut differences = self.differs();
        differences.retain(|words| !untraced.keys().any(|pattern| words.contains(pattern)));
        differences
    }

    /// Counts what only a full resync can find, where it was not found before.
    fn count_untraced(&mut self) {
        let differences = self.differs();
        let untraced = self.reference.untraced();
        let causes: Vec<_> = differences
            .iter()
            .filter_map(|words| untraced.iter().find(|(pattern, _)| words.contains(**pattern)))
            .map(|(_, cause)| cause.words())
            .collect();
        for cause in causes {
            self.count(cause, 1);
        }
    }

    fn differs(&self) -> Vec<String> {
        let (live, verdicts) = (sent::live(&self.sandbox), self.reference.verdicts(&self.misp));
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
        let mut claimants = self.reference.claimants(&self.misp);
        claimants.retain(|pattern, _| !is_anchor(pattern));
        let held = live.iter().map(|(pattern, (_, events))| (pattern.clone(), events.clone()));
        let held: BTreeMap<_, _> = held.collect();
        let mut differences = two_ids(&live);
        for pattern in held.keys().chain(claimants.keys()).collect::<BTreeSet<_>>() {
            let (held, wanted) = (held.get(pattern), claimants.get(pattern));
            if held != wanted {
                differences.push(format!("{pattern} is of {held:?} and must be of {wanted:?}"));
            }
        }
        differences
    }

    async fn end(mut self) -> Report {
        if let Err(error) = self.relay.stop().await {
            self.violation(error);
        }
        if let Err(error) = self.relay.check_ledger().await {
            self.violation(error);
        }
        let wrong = sent::violations(&self.sandbox, &self.reference, &self.stops);
        self.report.violations.extend(wrong);
        let uploads = self.sandbox.requests();
        self.count("uploads", uploads.len());
        let faulty = uploads.iter().filter(|upload| upload.fault != Fault::None).count();
        self.count("uploads with a fault", faulty);
        let asked = self.server.requests();
        self.count("REST requests", asked.len());
        let faulty = asked.iter().filter(|asked| asked.fault != RestFault::None).count();
        self.count("REST requests with a fault", faulty);
        for (kind, number) in std::mem::take(&mut self.wire.counts) {
            self.count(kind, number);
        }
        if !self.report.violations.is_empty() {
            self.report.relay = self.relay.log(60);
            if std::env::var_os("MSR_KEEP").is_some() {
                let kept = self.relay.keep().display().to_string();
                self.report.log.push(format!("kept: {kept}"));
            }
        }
        self.report
    }

    fn count(&mut self, kind: &'static str, number: usize) {
        *self.report.counts.entry(kind).or_default() += number;
    }

    fn violation(&mut self, words: String) {
        self.report.violations.push(words);
    }
}

/// A port that nobody else gets while its server is down: below those that the system gives to
/// whoever connects.
fn lasting_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another run of the tests at the same time has ports of its own, most often.
    let first = 12_000 + u16::try_from(std::process::id() % 4).unwrap() * 5_000;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 5_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn two_ids(live: &sent::Live) -> Vec<String> {
    let twice = live.iter().filter(|(_, (ids, _))| ids.len() > 1);
    twice.map(|(pattern, (ids, _))| format!("{pattern} is live under {ids:?}")).collect()
}

fn is_anchor(pattern: &str) -> bool {
    pattern.contains(ANCHOR)
}
