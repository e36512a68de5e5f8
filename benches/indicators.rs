//! The whole pure way, bytes of a publication to fingerprinted indicators, on the recorded event of
//! 50,000 attributes: time on one core, and what is allocated on the way. Then the command `convert`, on the
//! same attributes in 100 events: processor time of its process.
//! `cargo bench --bench indicators`. Times are of the thread's own processor time, so that others on the
//! machine count little; the best of many rounds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hint::black_box;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use allocation_counter::AllocationInfo;
use anyhow::Context;
use misp_sentinel_relay::config::{self, Rules};
use misp_sentinel_relay::pure::convert::{self, Claim, EventFacts};
use misp_sentinel_relay::pure::misp::Event;
use misp_sentinel_relay::pure::policy::{Judge, SideFacts};
use misp_sentinel_relay::pure::stix::{Admitted, ClaimSource, ClaimTimes, Memo, Merger, Sight};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::value::RawValue;
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
                    let one = self.admitted(&facts, one);
                    self.merger.merge(&mut memo, *key, &first.observable, &[one])
                }
                several => {
                    let several: Vec<_> =
                        several.iter().map(|claim| self.admitted(&facts, claim)).collect();
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

    fn admitted<'a>(&self, event: &'a EventFacts, claim: &'a Claim) -> Admitted<'a> {
        let times = ClaimTimes::of(&claim.facts, Sight::first(i64::MAX), None);
        let tags = self.merger.read_tags(event, &claim.facts);
        let (attribute, side_facts) = (claim.attribute, SideFacts::default());
        let source = ClaimSource::default();
        let copies = Vec::new();
        Admitted { event, attribute, source, claim: &claim.facts, times, side_facts, tags, copies }
    }
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

/// The attributes of a publication in 100 events, as an answer of MISP has them.
fn answer(publication: &[u8]) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Publication<'a> {
        #[serde(borrow, rename = "Event")]
        event: Attributes<'a>,
    }
    #[derive(Deserialize)]
    struct Attributes<'a> {
        uuid: Uuid,
        #[serde(borrow, rename = "Attribute")]
        attributes: Vec<&'a RawValue>,
    }
    let text = std::str::from_utf8(publication)?;
    let Attributes { uuid, attributes } = serde_json::from_str::<Publication<'_>>(text)?.event;
    let (head, _) = text.split_once(r#""Attribute":["#).context("no attributes")?;
    let events =
        (1..).zip(attributes.chunks(attributes.len() / 100)).map(|(number, attributes)| {
            let head = head.replace(&uuid.to_string(), &Uuid::from_u128(number).to_string());
            let attributes: Vec<&str> = attributes.iter().map(|one| one.get()).collect();
            let tags = r#"[{"name":"tlp:green"},{"name":"type:OSINT"}]"#;
            format!(r#"{head}"Attribute":[{}],"Object":[],"Tag":{tags}}}}}"#, attributes.join(","))
        });
    Ok(format!(r#"{{"response": [{}]}}"#, events.collect::<Vec<_>>().join(",")))
}

/// The processor time of a `convert` that writes to a file.
fn converted(document: &Path) -> anyhow::Result<Duration> {
    let bundle = tempfile::tempfile()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_misp-sentinel-relay"));
    command.args(["convert", "--no-expiry"]).arg(document).env_clear();
    let mut child = command.stdout(bundle).stderr(Stdio::null()).spawn()?;
    let used = used_by(&child);
    anyhow::ensure!(child.wait()?.success(), "`convert` failed");
    used
}

/// The processor time of a process until it ended.
fn used_by(child: &Child) -> anyhow::Result<Duration> {
    let process = Pid::from_raw(child.id().try_into()?);
    // Its clock is there until it is waited for.
    waitid(Id::Pid(process), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    Ok(clock_getcpuclockid(process)?.now()?.into())
}

#[expect(clippy::print_stdout, reason = "the figures are the output")]
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report_command(publication: &[u8], attributes: u64) -> anyhow::Result<()> {
    let document = tempfile::NamedTempFile::new()?;
    std::fs::write(&document, answer(publication)?)?;
    let mut times =
        (0..9).map(|_| converted(document.path())).collect::<anyhow::Result<Vec<_>>>()?;
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64();
    println!(
        "the command convert: {:.0} attributes a CPU second ({:.1} ms)",
        attributes as f64 / median,
        median * 1e3
    );
    Ok(())
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
    report_command(&document, attributes)
}
