//! Lists the steps of the demo: what happens in MISP, and what Sentinel must hold afterwards. The expected
//! patterns are written by hand from MISP's values, so they do not depend on the relay's code.

use super::recorded::Recording;

/// One thing that MISP does, and what must come of it.
#[derive(Debug)]
pub(super) struct DemoStep {
    pub did: &'static str,
    /// The event's name in MISP.
    pub event: &'static str,
    pub act: Act,
    /// The patterns that must be live after the step and were not before.
    pub appears: Vec<String>,
    /// The patterns that were live before the step and must not be after it.
    pub disappears: Vec<String>,
}

#[derive(Debug)]
pub(super) enum Act {
    /// Sends these frames, one after the other.
    Send(Vec<String>),
    /// Takes the feed down, and brings it back on its port.
    Restart,
}

impl DemoStep {
    fn new(did: &'static str, event: &'static str, frames: Vec<String>) -> Self {
        let (appears, disappears) = (Vec::new(), Vec::new());
        Self { did, event, act: Act::Send(frames), appears, disappears }
    }

    fn recorded(
        recording: Recording,
        did: &'static str,
        event: &'static str,
        numbers: &[&str],
    ) -> anyhow::Result<Self> {
        let frames = numbers.iter().map(|number| recording.frame(number));
        Ok(Self::new(did, event, frames.collect::<anyhow::Result<_>>()?))
    }

    fn appears(mut self, patterns: impl IntoIterator<Item = String>) -> Self {
        self.appears.extend(patterns);
        self
    }

    fn disappears(mut self, patterns: impl IntoIterator<Item = String>) -> Self {
        self.disappears.extend(patterns);
        self
    }
}

/// The patterns that the first publication of the recorded test event must give. Of its 102 attributes, 3
/// that policy would keep back have no `to_ids`, and one is `tlp:red`.
const KITCHEN_SINK: &str = include_str!("data/kitchen-sink.txt");

/// The number of attributes in the generated event, enough for three requests.
const BULK: u32 = 250;

fn ip(address: &str) -> String {
    format!("[ipv4-addr:value = '{address}']")
}

fn domain(name: &str) -> String {
    format!("[domain-name:value = '{name}']")
}

const SINK: &str = "Kitchen sink";
const HOLES: &str = "Tag holes";
const DOOMED: &str = "To be deleted";
const LOCAL: &str = "Local tag first";

/// Returns all steps of the demo, in order.
///
/// # Errors
/// Never with the recorded frames at hand: a frame or a word in it would have to be missing.
pub(super) fn scenario(recording: Recording) -> anyhow::Result<Vec<DemoStep>> {
    let mut steps = kitchen_sink(recording)?;
    steps.extend(small_events(recording)?);
    let bulk = (1..=BULK).map(|number| domain(&format!("bulk-{number}.example")));
    let frames = vec![recording.bulk(BULK)?];
    steps.push(DemoStep::new("250 attributes published", "Bulk import", frames).appears(bulk));
    steps.push(DemoStep { act: Act::Restart, ..DemoStep::new("feed restarted", "", vec![]) });
    let step = DemoStep::recorded(recording, "published", LOCAL, &["000473"])?;
    steps.push(step.appears([ip("203.0.113.62")]));
    Ok(steps)
}

/// Returns the steps in the life of the large test event.
fn kitchen_sink(recording: Recording) -> anyhow::Result<Vec<DemoStep>> {
    let step = |did, numbers: &[&str]| DemoStep::recorded(recording, did, SINK, numbers);
    let md5 = "[file:hashes.MD5 = 'd95679752134a2d9eb61dbd7b91c4bcc']";
    Ok(vec![
        step("published", &["000332"])?.appears(KITCHEN_SINK.lines().map(str::to_owned)),
        step("attribute added, published", &["000337"])?.appears([ip("203.0.113.130")]),
        step("to_ids off", &["000339"])?.disappears([ip("203.0.113.45")]),
        // Another attribute still claims c2.evil.example, and c3 waits for the publication.
        step("value edited", &["000344"])?,
        step("attribute deleted", &["000347"])?.disappears([domain("evil.example")]),
        step("published", &["000349"])?.appears([domain("c3.evil.example")]),
        step("object deleted", &["000352", "000354", "000356", "000358", "000359"])?
            .disappears([ip("203.0.113.210")]),
        step("attribute of object deleted", &["000366"])?.disappears([md5.to_owned()]),
        step("published", &["000370"])?,
        step("published, unchanged", &["000370"])?,
    ])
}

fn small_events(recording: Recording) -> anyhow::Result<Vec<DemoStep>> {
    let step = |did, event, number| DemoStep::recorded(recording, did, event, &[number]);
    let others = [ip("203.0.113.66"), ip("203.0.113.67"), domain("del-obj.example")];
    Ok(vec![
        step("published", "Only object", "000419")?.appears([domain("only-obj.example")]),
        // The demo has no key, so the relay does not know who may see the sharing group's event: it stays.
        step("published", "Sharing group event", "000429")?,
        step("published", HOLES, "000457")?.appears(holes()),
        tagged_red(recording)?,
        step("published", DOOMED, "000500")?.appears([ip("203.0.113.65")]).appears(others.clone()),
        step("attribute deleted for good", DOOMED, "000501")?.disappears([ip("203.0.113.65")]),
        step("event deleted", DOOMED, "000507")?.disappears(others),
    ])
}

/// Returns the edits that go on after the demo, in rounds of six. Each round ends as it began. The recording
/// must be a new one, so that what comes back is newer than its withdrawal.
///
/// # Errors
/// Never with the recorded frames at hand: a frame or a word in it would have to be missing.
pub(super) fn edit(number: usize, recording: Recording, uptime: u64) -> anyhow::Result<DemoStep> {
    let only = ip("203.0.113.62");
    Ok(match number % 6 {
        // What the tag forbade comes back when the tag is gone. It needs no publication.
        0 | 2 => DemoStep::new("heartbeat", "", vec![recording.heartbeat(uptime)?]),
        1 => red_taken_off(recording)?,
        3 => to_ids_off(recording)?.disappears([only]),
        4 => DemoStep::recorded(recording, "published", LOCAL, &["000473"])?.appears([only]),
        _ => tagged_red(recording)?,
    })
}

fn holes() -> [String; 3] {
    [ip("203.0.113.61"), ip("8.8.4.4"), domain("holes.evil.example")]
}

fn tagged_red(recording: Recording) -> anyhow::Result<DemoStep> {
    let frame = recording.altered("000439", &[("tlp:clear", "tlp:red")])?;
    Ok(DemoStep::new("tag tlp:red attached", HOLES, vec![frame]).disappears(holes()))
}

/// Takes the tag off. It was not part of the publication, so everything is as if it had never been there.
///
/// # Errors
/// Never with the recorded frames at hand: a frame or a word in it would have to be missing.
pub(super) fn red_taken_off(recording: Recording) -> anyhow::Result<DemoStep> {
    let words = [("tlp:clear", "tlp:red"), ("attached to event", "detached from event")];
    let frame = recording.altered("000439", &words)?;
    Ok(DemoStep::new("tag tlp:red detached", HOLES, vec![frame]).appears(holes()))
}

/// Turns `to_ids` off for the only attribute of a small event. The frame is made from another event's.
fn to_ids_off(recording: Recording) -> anyhow::Result<DemoStep> {
    let frame = recording.altered(
        "000339",
        &[
            ("\"id\":\"2\"", "\"id\":\"110\""),
            ("\"event_id\":\"1\"", "\"event_id\":\"6\""),
            ("589ee01b-423f-4ed8-9790-616079919c17", "032d3194-7a63-4d9f-9b1c-2692950f23da"),
            ("62724408-1cb5-4198-8ceb-3e542ad28bcd", "2d31b617-1a97-4f27-9f46-583f90789e9e"),
            ("203.0.113.45", "203.0.113.62"),
            ("1795499546", "1795499661"),
        ],
    )?;
    Ok(DemoStep::new("to_ids off", LOCAL, vec![frame]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_of_expectations_is_sound() {
        let recording = Recording::until(chrono::Utc::now());
        let mut live = BTreeSet::new();
        let mut steps = scenario(recording).unwrap();
        steps.extend((0..12).map(|number| edit(number, recording, 60).unwrap()));
        for step in steps {
            for pattern in step.disappears {
                assert!(live.remove(&pattern), "{}: {pattern} was not live", step.did);
            }
            for pattern in step.appears {
                assert!(live.insert(pattern.clone()), "{}: {pattern} is live", step.did);
            }
        }
        assert_eq!(KITCHEN_SINK.lines().count(), 61);
    }
}
