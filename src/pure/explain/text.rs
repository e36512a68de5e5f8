//! Prints stories for people, one block per attribute, in the order of the steps from MISP to Sentinel. It
//! also prints them as JSON, one object per line.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};
use uuid::Uuid;

use super::{
    ClaimStory, ClaimVerdict, DeliveryState, EventOf, Indicated, Other, Story, TargetStanding, Why,
};
use crate::pure::safe;

/// Tells one story after the other.
#[derive(Debug, Default)]
pub struct Teller {
    json: bool,
    /// Whose heading was written last.
    event: Option<Uuid>,
}

impl Teller {
    /// `json`: one object a line.
    pub fn new(json: bool) -> Self {
        Self { json, event: None }
    }

    /// The words for this story; its event's heading first, where it is another's.
    pub fn tell(&mut self, story: &Story) -> String {
        if self.json {
            // Strings and numbers with string keys: serialising cannot fail.
            let line = serde_json::to_string(story).unwrap_or_default();
            return safe::json(&line).into_owned() + "\n";
        }
        let before = self.event.replace(story.event.uuid);
        let gap = if before.is_some() { "\n" } else { "" };
        if before == Some(story.event.uuid) {
            format!("{gap}{}", text(story))
        } else {
            format!("{gap}{}\n\n{}", safe::line(&heading(&story.event)), text(story))
        }
    }
}

/// The block of one story. Times are UTC.
fn text(story: &Story) -> String {
    let mut block = Block(String::new());
    block.attribute(story);
    for claimed in &story.claims {
        block.claimed(claimed);
    }
    for note in &story.notes {
        block.line("note", note);
    }
    block.0
}

/// The line about an event, above the blocks of its attributes.
fn heading(event: &EventOf) -> String {
    let published = match (event.publish_timestamp, event.published) {
        (0, true) => "published, at a time that the feed did not tell".to_owned(),
        (0, false) => "without a time of publication".to_owned(),
        (seconds, _) => format!("published {}", time(seconds.saturating_mul(1_000))),
    };
    let EventOf { uuid, id, info, organisation, .. } = event;
    format!("event {uuid} (MISP's number {id}): {info:?} by {organisation}, {published}")
}

struct Block(String);

impl Block {
    /// Words of MISP and Sentinel stand in it: they end no line of ours.
    fn line(&mut self, name: &str, words: &str) {
        // Writing to a string cannot fail.
        writeln!(self.0, "  {name:<11} {}", safe::line(words)).ok();
    }

    fn attribute(&mut self, story: &Story) {
        let Story { attribute, kind, value, .. } = story;
        let name = if attribute.is_nil() {
            "without a readable uuid".to_owned()
        } else {
            attribute.to_string()
        };
        let line = format!("attribute {name}  {kind}  {}", shown(value));
        writeln!(self.0, "{}", safe::line(&line)).ok();
        if story.is_read() {
            self.in_misp(story);
        }
        if let Some(why) = &story.skipped {
            self.line("skipped", &because(why));
        }
    }

    fn in_misp(&mut self, story: &Story) {
        let to_ids = if story.to_ids { "to_ids" } else { "no to_ids" };
        let mut words = vec![story.category.as_str(), to_ids];
        let object = story.object.as_ref().map(|name| format!("in an object {name:?}"));
        words.extend(object.as_deref());
        let changed = format!("changed {}", time(story.timestamp.saturating_mul(1_000)));
        words.push(&changed);
        words.retain(|word| !word.is_empty());
        self.line("in MISP", &words.join(", "));
        if !story.tags.is_empty() {
            self.line("tags", &story.tags.join(", "));
        }
    }

    fn claimed(&mut self, claimed: &ClaimStory) {
        self.line("claims", &claimed.pattern);
        for seen in &claimed.views {
            self.seen(seen);
        }
    }

    fn seen(&mut self, seen: &ClaimVerdict) {
        let whose = match seen.targets.as_slice() {
            [] => String::new(),
            targets => format!("for {}: ", targets.join(", ")),
        };
        match &seen.withheld {
            Some(why) => self.line("policy", &format!("{whose}withholds it: {}", because(why))),
            None => self.line("policy", &format!("{whose}admits it")),
        }
        for remark in &seen.remarks {
            self.line("", remark);
        }
        for other in &seen.others {
            self.other(other);
        }
        if seen.more > 0 {
            self.line("", &format!("and {} more claim it", seen.more));
        }
        if let Some(indicated) = &seen.indicator {
            self.indicated(indicated);
        }
    }

    fn other(&mut self, other: &Other) {
        let Other { event, info, attribute, withheld } = other;
        let withheld = withheld.as_ref().map(|why| format!(" (withheld: {})", why.reason));
        let words = format!(
            "also claimed by attribute {attribute} of event {event} {info:?}{}",
            withheld.unwrap_or_default()
        );
        self.line("", &words);
    }

    fn indicated(&mut self, indicated: &Indicated) {
        let Indicated { id, valid_from, valid_until, withdrawn, expired, .. } = indicated;
        let over = if *expired { ": that is over, nothing is sent" } else { "" };
        let valid = if *withdrawn {
            "withdrawn: nothing claims it that policy admits".to_owned()
        } else {
            format!("valid {} to {}{over}", time(*valid_from), time(*valid_until))
        };
        self.line("indicator", &format!("{id}, {valid}"));
        for at in &indicated.targets {
            self.line(&format!("  {}", at.target), &standing(at));
        }
        if let Some(stix) = &indicated.stix {
            // A value of our own: serialising cannot fail.
            let json = serde_json::to_string_pretty(stix).unwrap_or_default();
            for line in json.lines() {
                writeln!(self.0, "    {}", safe::line(line)).ok();
            }
        }
    }
}

fn because(why: &Why) -> String {
    format!("{} ({})", why.reason, why.words)
}

/// Where an indicator stands at a target, in words.
pub fn standing(at: &TargetStanding) -> String {
    let when = at.at.map(|at| format!(" {}", time(at))).unwrap_or_default();
    let lane = at.lane.as_ref().map(|lane| format!(" in the {lane} lane")).unwrap_or_default();
    let mut words = match at.state {
        DeliveryState::Delivered if at.dry_run => {
            format!("written to dry_run_file{when}: nothing is sent to Sentinel")
        }
        DeliveryState::Withdrawn if at.dry_run => {
            format!("withdrawn in dry_run_file{when}: nothing is sent to Sentinel")
        }
        DeliveryState::Delivered => format!("delivered: Sentinel accepted it{when}"),
        DeliveryState::Pending => format!("pending{lane}"),
        DeliveryState::Rejected => "rejected".to_owned(),
        DeliveryState::Withdrawing => format!("its withdrawal is pending{lane}"),
        DeliveryState::Withdrawn => format!("withdrawn: Sentinel accepted that{when}"),
        DeliveryState::Expired => "its validity is over: nothing is sent".to_owned(),
        DeliveryState::NeverSent => "never sent".to_owned(),
        DeliveryState::Disabled => "the target is not enabled: nothing is sent".to_owned(),
    };
    if at.in_doubt {
        words.push_str("; a request is on its way, or its answer was lost");
    }
    if let Some(said) = &at.words {
        write!(words, "; Sentinel says: {said}").ok();
    }
    words
}

/// A rule of many lines is told by its first.
fn shown(value: &str) -> String {
    const MOST: usize = 200;
    let first = value.lines().next().unwrap_or_default();
    let short: String = first.chars().take(MOST).collect();
    if short.len() < value.len() { format!("{short}…") } else { short }
}

/// `2026-10-01 10:34:56 UTC`, of Unix milliseconds.
pub fn time(milliseconds: i64) -> String {
    let time = DateTime::from_timestamp_millis(milliseconds);
    time.map_or_else(
        || format!("{milliseconds} ms"),
        |time| {
            time.to_rfc3339_opts(SecondsFormat::Secs, true).replace('T', " ").replace('Z', " UTC")
        },
    )
}
