//! Prints stories for people, one block per attribute, in the order of the steps from MISP to Sentinel. It
//! also prints them as JSON, one object per line.

use std::fmt::Write;

use chrono::DateTime;
use uuid::Uuid;

use super::{ClaimVerdict, DeliveryState, EventOf, Indicated, Other, Story, TargetStanding, Why};
use crate::pure::safe;

/// Prints one story after the other.
#[derive(Debug, Default)]
pub struct Teller {
    json: bool,
    /// The event whose heading was printed last.
    event: Option<Uuid>,
}

impl Teller {
    /// Makes a teller; `json`: it prints one object a line.
    pub fn new(json: bool) -> Self {
        Self { json, event: None }
    }

    /// Returns the text of a story. The heading of its event comes first, unless the last story has the same
    /// event.
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

/// One line of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoryLine {
    /// What the line is about. Empty: the same as the line before.
    pub name: String,
    /// It may hold words of MISP and Sentinel.
    pub words: String,
}

/// Returns the block of one story. Times are UTC.
fn text(story: &Story) -> String {
    let mut text = String::new();
    for StoryLine { name, words } in lines(story) {
        let words = safe::line(&words);
        // Writing to a string cannot fail. The first line has no indent, since all others belong to it.
        let written = match name.as_str() {
            ATTRIBUTE => writeln!(text, "{name} {words}"),
            STIX => writeln!(text, "    {words}"),
            _ => writeln!(text, "  {name:<11} {words}"),
        };
        written.ok();
    }
    text
}

const ATTRIBUTE: &str = "attribute";
const STIX: &str = "stix";

/// Returns the lines about one attribute, without the heading of its event. Times are UTC.
pub fn lines(story: &Story) -> Vec<StoryLine> {
    let mut block = Block(Vec::new());
    block.attribute(story);
    for claimed in &story.claims {
        block.line("claims", &claimed.pattern);
        claimed.views.iter().for_each(|seen| block.seen(seen));
    }
    for note in &story.notes {
        block.line("note", note);
    }
    block.0
}

/// Returns the line about an event, which stands above the blocks of its attributes.
pub fn heading(event: &EventOf) -> String {
    let published = match (event.publish_timestamp, event.published) {
        (0, true) => "published, at a time that the feed did not tell".to_owned(),
        (0, false) => "without a time of publication".to_owned(),
        (seconds, _) => format!("published {}", time(seconds.saturating_mul(1_000))),
    };
    let EventOf { uuid, id, info, organisation, .. } = event;
    format!("event {uuid} (MISP's number {id}): {info:?} by {organisation}, {published}")
}

struct Block(Vec<StoryLine>);

impl Block {
    fn line(&mut self, name: &str, words: &str) {
        self.0.push(StoryLine { name: name.to_owned(), words: words.to_owned() });
    }

    fn attribute(&mut self, story: &Story) {
        let Story { attribute, kind, value, .. } = story;
        let name = if attribute.is_nil() {
            "without a readable uuid".to_owned()
        } else {
            attribute.to_string()
        };
        self.line(ATTRIBUTE, &format!("{name}  {kind}  {}", shown(value)));
        if story.is_read() {
            self.in_misp(story);
        }
        if let Some(why) = &story.skipped {
            self.line("skipped", &because(why));
        }
    }

    fn in_misp(&mut self, story: &Story) {
        let to_ids = if story.to_ids { "to_ids" } else { "no to_ids" };
        let object = story.object.as_ref().map(|name| format!("in an object {name:?}"));
        let source = story.source.as_ref().map(|source| format!("source {source}"));
        let changed = format!("changed {}", time(story.timestamp.saturating_mul(1_000)));
        let (source, object) = (source.unwrap_or_default(), object.unwrap_or_default());
        let words = [&source, &story.category, to_ids, &object, &changed];
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        self.line("in MISP", &words.join(", "));
        if !story.tags.is_empty() {
            self.line("tags", &story.tags.join(", "));
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
        if !seen.kept_by.is_empty() {
            self.line("", &format!("kept by the claims of {}", seen.kept_by.join(", ")));
        }
    }

    fn other(&mut self, other: &Other) {
        let Other { source, event, info, attribute, withheld } = other;
        let source = source.as_ref().map(|source| format!(" of source {source}"));
        let withheld = withheld.as_ref().map(|why| format!(" (withheld: {})", why.reason));
        let words = format!(
            "also claimed by attribute {attribute} of event {event} {info:?}{}{}",
            source.unwrap_or_default(),
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
                self.line(STIX, line);
            }
        }
    }
}

fn because(why: &Why) -> String {
    format!("{} ({})", why.reason, why.words)
}

/// Says how an indicator stands at a target.
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

/// Shortens a value. Of a rule of many lines only the first line is shown.
fn shown(value: &str) -> String {
    const MOST: usize = 200;
    let first = value.lines().next().unwrap_or_default();
    let short: String = first.chars().take(MOST).collect();
    if short.len() < value.len() { format!("{short}…") } else { short }
}

/// Prints Unix milliseconds as `2026-10-01 10:34:56 UTC`.
pub fn time(milliseconds: i64) -> String {
    match DateTime::from_timestamp_millis(milliseconds) {
        Some(time) => time.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        None => format!("{milliseconds} ms"),
    }
}
