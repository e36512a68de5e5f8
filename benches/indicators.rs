//! The whole pure way, bytes of a publication to fingerprinted indicators, on the recorded event of
//! 50,000 attributes: time, and what is allocated on the way.
//! `cargo bench --bench indicators`; one core.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use allocation_counter::AllocationInfo;
use misp_sentinel_relay::config::{self, Rules};
use misp_sentinel_relay::convert::{self, Claim};
use misp_sentinel_relay::misp::Event;
use misp_sentinel_relay::policy::{Beside, Judge};
use misp_sentinel_relay::stix::{Admitted, ClaimTimes, Merger};

const RECORDING: &str = "tests/recordings/zmq/010630_misp_json.bin.gz";
const ROUNDS: usize = 30;

fn publication() -> io::Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDING);
    let mut frame = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path)?).read_to_end(&mut frame)?;
    Ok(frame.strip_prefix(b"misp_json ").unwrap_or(&frame).to_vec())
}

/// What an operator has who changes nothing.
fn defaults() -> anyhow::Result<Rules> {
    let none = tempfile::NamedTempFile::new()?;
    Ok(config::load_rules(Some(none.path()), std::iter::empty())?)
}

struct Way {
    judge: Judge,
    merger: Merger,
}

impl Way {
    /// How many attributes were read, and indicators made of them.
    fn walk(&self, document: &[u8]) -> anyhow::Result<(u64, usize)> {
        let event = Event::parse(document)?;
        let conversion = convert::event(&event);
        let facts = event.facts();
        let mut objects: HashMap<uuid::Uuid, Vec<&Claim>> = HashMap::new();
        for claim in &conversion.claims {
            if self.judge.admit(&facts, &claim.facts, &claim.observable, &Beside::default()).is_ok()
            {
                let key = self.merger.object_key(&claim.observable, claim.attribute);
                objects.entry(key).or_default().push(claim);
            }
        }
        let mut indicators = 0;
        for (key, claims) in &objects {
            let admitted: Vec<Admitted<'_>> = claims
                .iter()
                .map(|claim| Admitted {
                    event: &facts,
                    attribute: claim.attribute,
                    claim: &claim.facts,
                    times: ClaimTimes::of(&claim.facts, 0, None),
                    beside: Beside::default(),
                })
                .collect();
            let first = claims.first().map(|claim| &claim.observable);
            let merged = first.and_then(|first| self.merger.merge(*key, first, &admitted));
            indicators += usize::from(black_box(merged).is_some());
        }
        Ok((conversion.attributes, indicators))
    }
}

fn median(work: &dyn Fn()) -> Duration {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        work();
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times.get(ROUNDS / 2).copied().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "the figures are the output")]
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(what: &str, attributes: u64, time: Duration, allocated: &AllocationInfo) {
    let attributes = attributes as f64;
    println!(
        "{what}: {:.0} attributes/s ({:.1} ms); {:.2} allocations and {:.0} bytes an attribute, \
         at most {:.1} MB at once",
        attributes / time.as_secs_f64(),
        time.as_secs_f64() * 1e3,
        allocated.count_total as f64 / attributes,
        allocated.bytes_total as f64 / attributes,
        allocated.bytes_max as f64 / 1e6,
    );
}

fn main() -> anyhow::Result<()> {
    let document = publication()?;
    let rules = defaults()?;
    let judge = Judge::new(&rules.policy);
    let way = Way { merger: Merger::new(&rules.rendering, &judge), judge };
    let (attributes, indicators) = way.walk(&document)?;
    anyhow::ensure!(indicators > 40_000, "only {indicators} indicators: not what is measured");
    let read = || Event::parse(black_box(&document)).map(|event| event.attributes().count());
    let claims = || Event::parse(black_box(&document)).map(|event| convert::event(&event));
    let whole = || way.walk(black_box(&document));
    let measure = |work: &dyn Fn()| (median(work), allocation_counter::measure(work));
    for (what, work) in [
        ("bytes to attributes", &(|| drop(black_box(read()))) as &dyn Fn()),
        ("bytes to claims", &|| drop(black_box(claims()))),
        ("bytes to indicators", &|| drop(black_box(whole()))),
    ] {
        let (time, allocated) = measure(work);
        report(what, attributes, time, &allocated);
    }
    Ok(())
}
