//! Runs one seed, from its first operation to the last comparison.

use std::collections::BTreeSet;
use std::mem::discriminant;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use misp_sentinel_relay::sandbox::{Fault, Sandbox, Settings};
use misp_stand_in::{Chance, Misp, MispServer, MispSettings, NewAttribute, NewEvent, RestFault};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;
use uuid::Uuid;

use super::deed::Deed;
use super::plan::Plan;
use super::reference::Reference;
use super::relay::Relay;
use super::report::Report;
use super::sent::{self, ANCHOR};
use super::weather::{self, Weather};
use super::wire::Wire;
use super::witness::{self, Witness};

/// Lives one seed.
pub(super) async fn seed(plan: Plan) -> Report {
    let mut world = World::make(plan).await;
    world.live().await;
    world.quiet().await;
    world.compare_all().await;
    world.end().await
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) draw: StdRng,
    pub(super) misp: Misp,
    pub(super) server: MispServer,
    pub(super) sandbox: Sandbox,
    pub(super) wire: Wire,
    pub(super) relay: Relay,
    pub(super) reference: Reference,
    pub(super) anchor: Anchor,
    /// Relays beside it.
    pub(super) witnesses: Vec<Witness>,
    /// What is to be undone, with the steps that it still lasts.
    pub(super) lasting: Vec<(u32, Weather)>,
    /// Patterns that Sentinel rejects now.
    pub(super) rejected: Arc<Mutex<BTreeSet<String>>>,
    pub(super) stops: Vec<Instant>,
    pub(super) report: Report,
}

/// An event of the harness: what is published there last is what the relay heard last.
pub(super) struct Anchor {
    pub(super) event: Uuid,
    pub(super) attribute: Uuid,
    pub(super) number: u32,
}

impl Anchor {
    pub(super) fn value(&self) -> String {
        format!("{ANCHOR}{}.example", self.number)
    }
}

impl World {
    async fn make(plan: Plan) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let began = i64::try_from(now).unwrap();
        let misp = Misp::new(began - 10_000);
        let settings = MispSettings { keys: vec![witness::key(&plan)], listen: lasting_address() };
        let server = MispServer::start(misp.clone(), settings).await.unwrap();
        let settings = Settings {
            listen: lasting_address(),
            quota_requests: 0,
            keep_bodies: true,
            token_lifetime: plan.token_lifetime,
            ..Settings::default()
        };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let wire = Wire::new(plan.frame_faults);
        let relay = Relay::new(&plan, &wire.publisher().endpoint(), &sandbox, &server);
        let reference = Reference::new(&plan, misp.now(), began);
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
            witnesses: Vec::new(),
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
        self.start_relay().await;
        self.wire.publisher().wait_for_subscriptions(2).await;
        if self.plan.witnesses {
            for kind in [("one that hears all", true), ("one that only reads", false)] {
                let place = (&self.sandbox, &self.misp);
                self.witnesses.push(Witness::start(kind, &self.plan, place).await);
            }
        }
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
            let faults = (0..24).map(|_| weather::rest_fault(&self.plan, &mut self.draw)).collect();
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
            // Without a key nothing heals what happens twice to an attribute in one second.
            let least = i64::from(!self.plan.rest);
            self.misp.advance(i64::from(self.draw.random_range(0..4_u8)).max(least));
            self.weather().await;
            let deed = Deed::draw(&mut self.draw, &self.misp, self.anchor.event, &self.plan);
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

    pub(super) async fn act(&mut self, deed: Deed) {
        let before = self.misp.event(deed.event());
        let frames = deed.clone().act(&self.misp);
        self.reference.observe(&deed, before, &self.misp);
        for witness in &self.witnesses {
            witness.hear(&frames).await;
        }
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
        let drawn = Weather::draw(&self.plan, &mut self.draw);
        // What is down already goes down no more, and comes up once.
        let is_down = |weather: &Weather| {
            let lasting = self.lasting.iter().map(|(_, lasting)| discriminant(lasting));
            weather.is_outage() && lasting.into_iter().any(|one| one == discriminant(weather))
        };
        if let Some((weather, lasts)) = drawn.filter(|(weather, _)| !is_down(weather)) {
            self.report.log.push(format!("    {weather:?} for {lasts}"));
            self.count(weather.kind(), 1);
            self.bring(&weather).await;
            self.lasting.push((lasts + 1, weather));
        }
    }

    async fn bring(&mut self, weather: &Weather) {
        match weather {
            Weather::FeedStalls { publications_last } => self.wire.stall(*publications_last),
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
            Weather::ClockJumps(seconds) | Weather::ClockIsWrong(seconds) => {
                self.misp.advance(*seconds);
            }
            Weather::NumbersAgain => self.misp.reset_counters(),
            Weather::Kill => {
                if self.relay.is_running() {
                    self.relay.kill();
                    self.stops.push(Instant::now());
                }
            }
        }
    }

    pub(super) async fn lift(&mut self, weather: Weather) {
        match weather {
            Weather::FeedStalls { .. } | Weather::FeedStops { .. } => self.wire.go_on().await,
            Weather::SentinelStops => self.sandbox.restart().await.unwrap(),
            Weather::SentinelAnswers(_) => self.sandbox.always(None),
            Weather::Rejects(pattern) => {
                self.rejections(|rejected| rejected.remove(&pattern));
            }
            Weather::MispStops => self.server.restart().await.unwrap(),
            Weather::Kill => {
                if !self.relay.is_running() {
                    self.start_relay().await;
                }
            }
            Weather::ClockIsWrong(seconds) => self.misp.advance(-seconds),
            Weather::Uploads(_)
            | Weather::Rest(_)
            | Weather::ClockJumps(_)
            | Weather::NumbersAgain => {}
        }
    }

    async fn start_relay(&mut self) {
        if self.plan.relay_clock {
            let skew = if self.draw.random_bool(0.5) { weather::wrong(&mut self.draw) } else { 0 };
            self.report.log.push(format!("    the relay's clock is wrong by {skew} s"));
            self.relay.set_skew(skew);
        }
        self.relay.start().await;
    }

    fn rejections<T>(&self, act: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        act(&mut self.rejected.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn end(mut self) -> Report {
        if let Err(error) = self.relay.stop().await {
            self.violation(error);
        }
        if let Err(error) = self.relay.check_ledger().await {
            self.violation(error);
        }
        match self.relay.told().await {
            Ok(told) => {
                self.count("observables explained", told.observables);
                let differences = told.differences.into_iter();
                self.report.violations.extend(differences.map(|words| format!("explain: {words}")));
            }
            Err(error) => self.violation(error),
        }
        for witness in std::mem::take(&mut self.witnesses) {
            let name = witness.name;
            if let Err(error) = witness.stop().await {
                self.violation(format!("{name}: {error}"));
            }
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

    pub(super) fn count(&mut self, kind: &'static str, number: usize) {
        *self.report.counts.entry(kind).or_default() += number;
    }

    pub(super) fn violation(&mut self, words: String) {
        self.report.violations.push(words);
    }
}

/// A port that nobody else gets while its server is down: below those that the system gives to
/// whoever connects.
fn lasting_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another run of the tests at the same time begins elsewhere, most often.
    let first = u16::try_from(std::process::id() % 40).unwrap() * 500;
    loop {
        let port = 12_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
