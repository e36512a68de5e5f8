//! The convergence test. A seed decides what happens: people edit a model MISP, the feed loses, repeats and
//! reorders frames, REST API and Sentinel fail, and the real relay between them is killed or not. In the end
//! Sentinel must be equal to MISP, and other relays with another history must want what this relay wants.
//! ```text
//! MSR_SEEDS=1000 cargo test --release --test it convergence_long -- --ignored --nocapture
//! ```
//! `MSR_FIRST_SEED` (default 1) is the first seed, and `MSR_PARALLEL` (8) seeds run at once. To run one seed:
//! `MSR_FIRST_SEED=4711 MSR_SEEDS=1`. Every fourth seed kills the built binary. With `MSR_BINARY=1` all seeds
//! run it, so that there is a log (`MSR_KEEP=1` keeps its folder). `MSR_SOURCES=3` gives every seed three MISPs,
//! which pull events from one another; else the seed decides on one, two or three. `MSR_WITH=blinks,relay_clock` gives these
//! parts of the plan to every seed. Wrong clocks of the relay need the package faketime; without it those
//! seeds run with a right clock.

mod audience;
mod compare;
mod deed;
mod draw;
mod merged;
mod observables;
mod plan;
mod reference;
mod relay;
mod report;
mod run;
mod sent;
mod site;
mod told;
mod weather;
mod wire;
mod witness;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;

use plan::Plan;
use report::Report;

// All have more workers than there are cores: a seed that blocks for a moment must not keep the answers of
// others from their relays for as long as a request may take.

/// Seeds that the ordinary test command runs.
const FAST: std::ops::RangeInclusive<u64> = 1..=21;

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn sentinel_becomes_equal_to_misp_whatever_happens() {
    let seeds = FAST.map(Plan::of).filter(|plan| !plan.kills);
    all(seeds.collect(), 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn sentinel_becomes_equal_to_misp_whenever_the_relay_is_killed() {
    let seeds = FAST.map(Plan::of).filter(|plan| plan.kills);
    all(seeds.collect(), 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
#[ignore = "a run of its own, see the module"]
async fn convergence_long() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect(name))
    };
    let first = number("MSR_FIRST_SEED", 1);
    let seeds = first..first + number("MSR_SEEDS", 1_000);
    let parallel = usize::try_from(number("MSR_PARALLEL", 8)).unwrap();
    all(seeds.map(Plan::of).collect(), parallel).await;
}

/// Runs them all, tells how it goes, and fails with every violation.
async fn all(plans: Vec<Plan>, parallel: usize) {
    let (begun, count) = (Instant::now(), plans.len());
    let runs = futures::stream::iter(plans).map(|plan| {
        let seed = plan.seed;
        let run = tokio::spawn(run::seed(plan));
        async move { (seed, run.await) }
    });
    let mut runs = runs.buffer_unordered(parallel);
    let mut sum = Sum::default();
    let mut told = Instant::now();
    while let Some((seed, ended)) = runs.next().await {
        let report = ended.unwrap_or_else(|error| Report::panicked(seed, &error));
        if !report.violations.is_empty() {
            println!("{}", report.words());
        }
        sum.add(&report);
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            println!(
                "{} of {count} seeds after {:.0?}: {}",
                sum.seeds,
                begun.elapsed(),
                sum.words()
            );
        }
    }
    println!("{} seeds in {:.1?}: {}", sum.seeds, begun.elapsed(), sum.words());
    for (kind, number) in &sum.counts {
        println!("  {number:>8} {kind}");
    }
    assert!(sum.failed.is_empty(), "violations in seeds {:?}", sum.failed);
    // A reference that is seldom certain finds nothing. Over many seeds it is of eight in nine observables.
    let (must, either) = (sum.of("verdicts: must"), sum.of("verdicts: either"));
    assert!(count < 10 || must > 2 * either, "certain of {must} observables, and not of {either}");
}

/// What all seeds so far add up to.
#[derive(Debug, Default)]
struct Sum {
    seeds: usize,
    violations: usize,
    failed: Vec<u64>,
    counts: BTreeMap<&'static str, usize>,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.violations += report.violations.len();
        if !report.violations.is_empty() {
            self.failed.push(report.seed);
        }
        for (kind, number) in &report.counts {
            *self.counts.entry(kind).or_default() += number;
        }
    }

    fn of(&self, kind: &str) -> usize {
        self.counts.get(kind).copied().unwrap_or_default()
    }

    fn words(&self) -> String {
        format!(
            "{} operations, {} uploads, {} kills, {} either, {} violations",
            self.of("operations"),
            self.of("uploads"),
            self.of("kills"),
            self.of("verdicts: either"),
            self.violations
        )
    }
}
