//! The whole pure way, bytes of a publication to fingerprinted indicators, on the recorded event of
//! 50,000 attributes: time on one core, and what is allocated on the way.
//! `cargo bench --bench indicators`. Times are of the thread's own processor time, so that others on the
//! machine count little; the best of many rounds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hint::black_box;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use allocation_counter::AllocationInfo;
use misp_sentinel_relay::config::{self, Rules};
use misp_sentinel_relay::pure::convert::{self, Claim, EventFacts};
use misp_sentinel_relay::pure::misp::Event;
use misp_sentinel_relay::pure::policy::{Judge, SideFacts};
use misp_sentinel_relay::pure::stix::{Admitted, ClaimTimes, Memo, Merger, Sight};
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

const RECORDING: &str = "tests/recordings/zmq/010630_misp_json.bin.gz";
const ROUNDS: usize = 40;

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
        let admits = |claim: &Claim| {
            let side_facts = SideFacts::default();
            self.judge.admit(&facts, &claim.facts, &claim.observable, &side_facts).is_ok()
        };
        let objects = self.gather(conversion.claims.iter().filter(|claim| admits(claim)));
        let mut indicators = 0;
        let mut memo = Memo::default();
        for (key, claims) in &objects {
            let Some(first) = claims.first() else { continue };
            let merged = match claims.as_slice() {
                [one] => {
                    let one = admitted(&facts, one);
                    self.merger.merge(&mut memo, *key, &first.observable, &[one])
                }
                several => {
                    let several: Vec<_> =
                        several.iter().map(|claim| admitted(&facts, claim)).collect();
                    self.merger.merge(&mut memo, *key, &first.observable, &several)
                }
            };
            indicators += usize::from(black_box(merged).is_some());
        }
        Ok((conversion.attributes, indicators))
    }

    /// The claims by the object that they count for, in the order of the document.
    fn gather<'c>(&self, claims: impl Iterator<Item = &'c Claim>) -> Vec<(Uuid, Vec<&'c Claim>)> {
        let mut places = HashMap::new();
        let mut objects: Vec<(Uuid, Vec<&Claim>)> = Vec::new();
        for claim in claims {
            let key = self.merger.object_key(&claim.observable, claim.attribute);
            match places.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(objects.len());
                    objects.push((key, vec![claim]));
                }
                Entry::Occupied(place) => {
                    objects.get_mut(*place.get()).into_iter().for_each(|(_, all)| all.push(claim));
                }
            }
        }
        objects
    }
}

fn admitted<'a>(event: &'a EventFacts, claim: &'a Claim) -> Admitted<'a> {
    let times = ClaimTimes::of(&claim.facts, Sight::first(i64::MAX), None);
    let (attribute, side_facts) = (claim.attribute, SideFacts::default());
    Admitted { event, attribute, claim: &claim.facts, times, side_facts }
}

/// The processor time that this thread has used.
fn used() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

fn best(work: &dyn Fn()) -> Duration {
    let round = |_| {
        let begun = used();
        work();
        used().saturating_sub(begun)
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
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
    let measure = |work: &dyn Fn()| (best(work), allocation_counter::measure(work));
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
