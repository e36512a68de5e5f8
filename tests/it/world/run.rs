//! Runs one seed, from its first operation to the last comparison.

use std::collections::BTreeSet;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use misp_sentinel_relay::sandbox::{Fault, Sandbox, Settings};
use misp_stand_in::RestFault;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;

use super::deed::Deed;
use super::plan::Plan;
use super::relay::Relay;
use super::report::Report;
use super::sent;
use super::site::{Site, lasting_address};
use super::weather::{self, Weather};
use super::witness::Witness;

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
    pub(super) sites: Vec<Site>,
    pub(super) sandbox: Sandbox,
    pub(super) relay: Relay,
    /// Relays beside it.
    pub(super) witnesses: Vec<Witness>,
    pub(super) lasting: Vec<Lasting>,
    /// Patterns that Sentinel rejects now.
    pub(super) rejected: Arc<Mutex<BTreeSet<String>>>,
    pub(super) stops: Vec<Instant>,
    pub(super) report: Report,
}

/// What is to be undone.
pub(super) struct Lasting {
    /// The steps that it still lasts.
    steps: u32,
    /// The place of the MISP that it is about, if it is about one.
    pub(super) place: usize,
    pub(super) weather: Weather,
}

impl World {
    async fn make(plan: Plan) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let began = i64::try_from(now).unwrap();
        let mut sites = Vec::new();
        for place in 0..plan.sites {
            sites.push(Site::new(&plan, place, began).await);
        }
        let settings = Settings {
            listen: lasting_address(),
            quota_requests: 0,
            keep_bodies: true,
            token_lifetime: plan.token_lifetime,
            ..Settings::default()
        };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let reached: Vec<_> = sites.iter().map(Site::reached).collect();
        let mut world = Self {
            plan,
            draw: StdRng::seed_from_u64(plan.seed),
            relay: Relay::new(&plan, &reached, &sandbox),
            sites,
            sandbox,
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
        self.wait_for_subscriptions().await;
        if self.plan.witnesses {
            for kind in [("one that hears all", true), ("one that only reads", false)] {
                let place = (&self.sandbox, &self.sites[..]);
                self.witnesses.push(Witness::start(kind, &self.plan, place).await);
            }
        }
        self.listen_for_rejections();
        for site in &mut self.sites {
            site.begin(&mut self.draw);
        }
    }

    pub(super) async fn wait_for_subscriptions(&self) {
        for site in &self.sites {
            site.wire.publisher().wait_for_subscriptions(2).await;
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
            let seconds = i64::from(self.draw.random_range(0..4_u8)).max(least);
            self.sites.iter().for_each(|site| site.misp.advance(seconds));
            self.weather().await;
            let place = self.draw_place();
            let deed = Deed::draw(&mut self.draw, &self.sites, place);
            let site = &self.sites[place];
            self.report.log.push(format!(
                "{step:>3} {}{} {deed}",
                self.named(place),
                site.misp.now()
            ));
            self.act(place, deed).await;
            for site in &mut self.sites {
                site.wire.step().await;
            }
            // Long enough that a relay that was killed is sometimes up again.
            let longest = if self.plan.kills { 40 } else { 12 };
            let pause = self.draw.random_range(0..longest);
            sleep(Duration::from_millis(pause)).await;
        }
        self.count("operations", self.plan.operations);
    }

    /// One of the MISPs. Where there is only one, nothing is drawn.
    fn draw_place(&mut self) -> usize {
        if self.sites.len() == 1 { 0 } else { self.draw.random_range(0..self.sites.len()) }
    }

    /// For the report, where there are several.
    pub(super) fn named(&self, place: usize) -> String {
        let is_one_of_several = self.sites.len() > 1;
        if is_one_of_several { format!("{:<8} ", self.sites[place].name) } else { String::new() }
    }

    pub(super) async fn act(&mut self, place: usize, deed: Deed) {
        let site = &mut self.sites[place];
        let before = site.misp.event(deed.event());
        let frames = deed.clone().act(&site.misp);
        site.reference.observe(&deed, before, &site.misp);
        if matches!(deed, Deed::Pull(_)) && !frames.is_empty() {
            *self.report.counts.entry("events pulled by another MISP").or_default() += 1;
        }
        for witness in &self.witnesses {
            witness.hear(place, &frames).await;
        }
        site.wire.send(frames, &mut self.draw).await;
    }

    async fn weather(&mut self) {
        for lasting in &mut self.lasting {
            lasting.steps = lasting.steps.saturating_sub(1);
        }
        let over: Vec<_> = self.lasting.extract_if(.., |one| one.steps == 0).collect();
        for lasting in over {
            self.lift(lasting).await;
        }
        let Some((weather, lasts)) = Weather::draw(&self.plan, &mut self.draw) else { return };
        let place = if weather.is_of_site() { self.draw_place() } else { 0 };
        // What is down already goes down no more, and comes up once.
        let is_same = |one: &Lasting| {
            one.place == place && discriminant(&one.weather) == discriminant(&weather)
        };
        if weather.is_outage() && self.lasting.iter().any(is_same) {
            return;
        }
        self.report.log.push(format!("    {}{weather:?} for {lasts}", self.named(place)));
        self.count(weather.kind(), 1);
        self.bring(place, &weather).await;
        self.lasting.push(Lasting { steps: lasts + 1, place, weather });
    }

    async fn bring(&mut self, place: usize, weather: &Weather) {
        let site = &mut self.sites[place];
        match weather {
            Weather::FeedStalls { publications_last } => site.wire.stall(*publications_last),
            Weather::FeedStops { queued } => site.wire.stop(*queued),
            Weather::Uploads(faults) => self.sandbox.script(faults.clone()),
            Weather::SentinelStops => {
                self.stops.push(Instant::now());
                self.sandbox.stop().await;
            }
            Weather::SentinelAnswers(fault) => self.sandbox.always(Some(fault.clone())),
            Weather::Rejects(pattern) => {
                self.rejections(|rejected| rejected.insert(pattern.clone()));
            }
            Weather::Rest(faults) => site.server.script(faults.clone()),
            Weather::MispStops => site.server.stop().await,
            Weather::ClockJumps(seconds) | Weather::ClockIsWrong(seconds) => {
                site.misp.advance(*seconds);
            }
            Weather::NumbersAgain => site.misp.reset_counters(),
            Weather::KeyIsAnothers => site.change_key(),
            Weather::Kill => {
                if self.relay.is_running() {
                    self.relay.kill();
                    self.stops.push(Instant::now());
                }
            }
        }
    }

    pub(super) async fn lift(&mut self, lasting: Lasting) {
        let site = &mut self.sites[lasting.place];
        match lasting.weather {
            Weather::FeedStalls { .. } | Weather::FeedStops { .. } => site.wire.go_on().await,
            Weather::SentinelStops => self.sandbox.restart().await.unwrap(),
            Weather::SentinelAnswers(_) => self.sandbox.always(None),
            Weather::Rejects(pattern) => {
                self.rejections(|rejected| rejected.remove(&pattern));
            }
            Weather::MispStops => site.server.restart().await.unwrap(),
            Weather::Kill => {
                if !self.relay.is_running() {
                    self.start_relay().await;
                }
            }
            Weather::ClockIsWrong(seconds) => site.misp.advance(-seconds),
            Weather::KeyIsAnothers => site.change_key_back(),
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
        let wrong = sent::violations(&self.sandbox, &self.sites, &self.stops);
        self.report.violations.extend(wrong);
        let uploads = self.sandbox.requests();
        self.count("uploads", uploads.len());
        let faulty = uploads.iter().filter(|upload| upload.fault != Fault::None).count();
        self.count("uploads with a fault", faulty);
        for place in 0..self.sites.len() {
            let site = &mut self.sites[place];
            let (asked, counts) = (site.server.requests(), std::mem::take(&mut site.wire.counts));
            self.count("REST requests", asked.len());
            let faulty = asked.iter().filter(|asked| asked.fault != RestFault::None).count();
            self.count("REST requests with a fault", faulty);
            for (kind, number) in counts {
                self.count(kind, number);
            }
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
