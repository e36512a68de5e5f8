//! Holds frames that were recorded from a real MISP, and moves their times to the present. With their old
//! times the indicators would have expired.

use std::borrow::Cow;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// Includes files of `tests/recordings/zmq`. Each row has what follows `misp_json` in their names, and their
/// numbers.
macro_rules! recordings {
    ($($topic:literal: $($number:literal)*;)*) => {
        &[$($((
            $number,
            include_str!(concat!("../../../tests/recordings/zmq/", $number, "_misp_json", $topic, ".bin")),
        ),)*)*]
    };
}

const FRAMES: &[(&str, &str)] = recordings![
    "": "000332" "000337" "000349" "000370" "000411" "000419" "000429" "000457" "000473" "000486" "000500";
    "_attribute_delete": "000501";
    "_attribute_edit": "000339" "000344";
    "_attribute_soft-delete": "000347" "000352" "000354" "000356" "000358" "000366";
    "_event_delete": "000507";
    "_object_soft-delete": "000359";
    "_self": "000030";
    "_tag_attached-to-event": "000439";
];

/// The latest `Event.timestamp` in these frames. No time in them is later.
const RECORDED_UNTIL: i64 = 1_795_499_672;

/// The uptime in the recorded heartbeat, seconds.
const RECORDED_UPTIME: &str = "\"uptime\":93";

/// A recording whose times are moved so that its last moment is now. Its first moment would not do: MISP's
/// times do not lie in the future, and an indicator cannot be withdrawn before it is valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recording {
    /// The seconds that are added to each time.
    shift: i64,
}

impl Recording {
    pub(super) fn until(now: DateTime<Utc>) -> Self {
        Self { shift: now.timestamp() - RECORDED_UNTIL }
    }

    /// Returns a frame by its number: topic, space and JSON.
    ///
    /// # Errors
    /// There is no recorded frame of this number.
    pub(super) fn frame(self, number: &str) -> anyhow::Result<String> {
        Ok(self.moved(recorded(number)?))
    }

    /// Returns a frame in which words are replaced.
    ///
    /// # Errors
    /// There is no recorded frame of this number, or a word is not in it.
    pub(super) fn altered(self, number: &str, words: &[(&str, &str)]) -> anyhow::Result<String> {
        let mut frame = recorded(number)?.to_owned();
        for (from, to) in words {
            anyhow::ensure!(frame.contains(from), "no {from} in frame {number}");
            frame = frame.replace(from, to);
        }
        Ok(self.moved(&frame))
    }

    /// Returns MISP's heartbeat with the publisher's age in seconds.
    ///
    /// # Errors
    /// Never with the recorded frames at hand: a word would have to be missing in them.
    pub(super) fn heartbeat(self, uptime: u64) -> anyhow::Result<String> {
        self.altered("000030", &[(RECORDED_UPTIME, &format!("\"uptime\":{uptime}"))])
    }

    /// Returns an event of `count` domains, `bulk-1.example` and so on. It is made from a recorded event with
    /// one attribute.
    ///
    /// # Errors
    /// Never with the recorded frames at hand: a word would have to be missing in them.
    pub(super) fn bulk(self, count: u32) -> anyhow::Result<String> {
        let frame = self.altered(
            "000486",
            &[
                ("\"id\":\"7\"", "\"id\":\"20\""),
                ("\"event_id\":\"7\"", "\"event_id\":\"20\""),
                ("9acf80d4-e03a-4826-8548-04bc36b675ea", &Uuid::from_u128(BULK).to_string()),
                ("\"info\":\"Extension\"", "\"info\":\"Bulk import\""),
                ("ip-dst", "domain"),
            ],
        )?;
        let (before, rest) = frame.split_once("\"Attribute\":[").context("no attributes")?;
        let end = "],\"ShadowAttribute\":[],\"RelatedEvent\"";
        let (attribute, after) = rest.split_once(end).context("nothing behind the attributes")?;
        let attributes: Vec<String> = (1..=count).map(|n| bulk_attribute(attribute, n)).collect();
        let attributes = attributes.join(",");
        Ok(format!("{before}\"Attribute\":[{attributes}{end}{after}"))
    }

    fn moved(self, frame: &str) -> String {
        let (mut key, mut colon) = ("", "");
        let mut pieces = Vec::new();
        // An escaped quote splits a string as well. That is harmless: a value is moved only right after a key
        // of a time and a colon.
        for piece in frame.split('"') {
            let moved = (colon == ":").then(|| self.moved_time(key, piece)).flatten();
            pieces.push(moved.map_or(Cow::Borrowed(piece), Cow::Owned));
            (key, colon) = (colon, piece);
        }
        pieces.join("\"")
    }

    fn moved_time(self, key: &str, value: &str) -> Option<String> {
        match key {
            "timestamp" | "publish_timestamp" | "date_sighting" => {
                let seconds = value.parse::<i64>().ok().filter(|seconds| *seconds != 0)?;
                Some((seconds + self.shift).to_string())
            }
            "first_seen" | "last_seen" => {
                let time = DateTime::parse_from_rfc3339(value).ok()?;
                let time = time.checked_add_signed(TimeDelta::try_seconds(self.shift)?)?;
                Some(time.format("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string())
            }
            _ => None,
        }
    }
}

/// The uuid of the generated event. The uuids of its attributes follow it.
const BULK: u128 = 0x5a0d_b0c5_0000_4000_8000_0001_0000_0000;

fn bulk_attribute(recorded: &str, number: u32) -> String {
    let uuid = Uuid::from_u128(BULK + u128::from(number)).to_string();
    recorded
        .replace("\"id\":\"111\"", &format!("\"id\":\"{}\"", 2_000 + number))
        .replace("d4a8a1c5-a16a-48a8-816b-8dff8141d3a0", &uuid)
        .replace("203.0.113.64", &format!("bulk-{number}.example"))
}

fn recorded(number: &str) -> anyhow::Result<&'static str> {
    let found = FRAMES.iter().find(|(known, _)| *known == number);
    found.map(|(_, frame)| *frame).with_context(|| format!("frame {number} is not recorded"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::misp::Event;

    fn document(frame: &str) -> &[u8] {
        frame.split_once(' ').unwrap().1.as_bytes()
    }

    #[test]
    fn all_times_move_and_nothing_else_does() {
        let day = 86_400;
        let recording = Recording { shift: day };
        let then = recorded("000339").unwrap();
        let now = recording.frame("000339").unwrap();
        let moved = now
            .replace("\"1795585946\"", "\"1795499546\"")
            .replace("2026-10-02T10:34:56.123456", "2026-10-01T10:34:56.123456")
            .replace("2026-11-02T00:00:00.000000", "2026-11-01T00:00:00.000000");
        assert_ne!(now, then);
        assert_eq!(moved, then);
        assert_eq!(Recording { shift: 0 }.frame("000332").unwrap(), recorded("000332").unwrap());
    }

    #[test]
    fn the_recording_ends_now() {
        let now = DateTime::from_timestamp(1_950_000_000, 0).unwrap();
        let frame = Recording::until(now).frame("000507").unwrap();
        assert!(frame.contains("\"timestamp\":\"1950000000\""), "{frame}");
        for (number, frame) in FRAMES {
            for seconds in frame.split("timestamp\":\"").skip(1) {
                let seconds: i64 = seconds.split('"').next().unwrap().parse().unwrap();
                // The publication of the deletion is a second later than its event.
                assert!(seconds <= RECORDED_UNTIL + 1, "{number}: {seconds}");
            }
        }
    }

    #[test]
    fn the_generated_event_is_one_for_misp() {
        let frame = Recording { shift: 0 }.bulk(250).unwrap();
        let event = Event::parse(document(&frame)).unwrap();
        assert_eq!(event.facts().info, "Bulk import");
        assert_eq!(event.attributes().filter(Result::is_ok).count(), 250);
    }
}
