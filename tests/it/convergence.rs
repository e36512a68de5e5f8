//! Tests a real writer and ledger against a model of MISP that publishes, edits, tags and deletes at random.
//! The frames come over two sockets, and their order between the sockets is random.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use misp_sentinel_relay::ledger::Ledger;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::support::ledger::Relay;
use super::support::sentinel::Sentinel;

const EVENTS: usize = 2;
const ATTRIBUTES: usize = 2;
/// Values that the attributes share.
const VALUES: usize = 3;

/// What MISP's users do, and which of its frames arrives next.
#[derive(Debug, Clone)]
enum Act {
    Edit(usize, usize, usize),
    ToIds(usize, usize, bool),
    Delete(usize, usize),
    Restore(usize, usize),
    TagEvent(usize, bool),
    TagAttribute(usize, usize, bool),
    Publish(usize),
    DeleteEvent(usize),
    HearPublication(usize),
    HearOther,
    Deliver,
}

fn act() -> impl Strategy<Value = Act> {
    let event = 0..EVENTS;
    let attribute = (0..EVENTS, 0..ATTRIBUTES);
    prop_oneof![
        3 => (attribute.clone(), 0..VALUES).prop_map(|((e, a), v)| Act::Edit(e, a, v)),
        3 => (attribute.clone(), any::<bool>()).prop_map(|((e, a), on)| Act::ToIds(e, a, on)),
        2 => attribute.clone().prop_map(|(e, a)| Act::Delete(e, a)),
        2 => attribute.clone().prop_map(|(e, a)| Act::Restore(e, a)),
        2 => (event.clone(), any::<bool>()).prop_map(|(e, on)| Act::TagEvent(e, on)),
        2 => (attribute, any::<bool>()).prop_map(|((e, a), on)| Act::TagAttribute(e, a, on)),
        6 => event.clone().prop_map(Act::Publish),
        1 => event.prop_map(Act::DeleteEvent),
        8 => (0..4_usize).prop_map(Act::HearPublication),
        10 => Just(Act::HearOther),
        4 => Just(Act::Deliver),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Attribute {
    value: usize,
    timestamp: i64,
    to_ids: bool,
    deleted: bool,
    red: bool,
}

#[derive(Debug, Clone, Copy)]
struct Event {
    timestamp: i64,
    red: bool,
    deleted: bool,
    attributes: [Attribute; ATTRIBUTES],
}

/// What MISP says: as it is when it is said.
#[derive(Debug, Clone, Copy)]
enum Frame {
    Publication(usize, Event),
    Edited(usize, usize, Attribute),
    Deleted(usize, usize, Attribute),
    EventTag(usize, bool),
    AttributeTag(usize, usize, bool),
    EventDeleted(usize, i64),
}

/// MISP itself, and its frames on their way.
#[derive(Debug)]
struct Misp {
    case: u64,
    clock: i64,
    events: [Event; EVENTS],
    publications: Vec<Frame>,
    others: VecDeque<Frame>,
}

impl Misp {
    fn new(case: u64) -> Self {
        let clock = Ledger::now() / 1_000 - 100_000;
        let attribute =
            |value| Attribute { value, timestamp: clock, to_ids: true, deleted: false, red: false };
        let event = Event {
            timestamp: clock,
            red: false,
            deleted: false,
            attributes: [attribute(0), attribute(1)],
        };
        let (publications, others) = (Vec::new(), VecDeque::new());
        Self { case, clock, events: [event; EVENTS], publications, others }
    }

    fn act(&mut self, act: &Act) {
        self.clock += 1;
        match *act {
            Act::Edit(e, a, value) => self.edit(e, a, |one| one.value = value),
            Act::ToIds(e, a, on) => self.edit(e, a, |one| one.to_ids = on),
            Act::Restore(e, a) => {
                if self.events[e].attributes[a].deleted {
                    self.change(e, a, |one| one.deleted = false);
                }
            }
            Act::Delete(e, a) => {
                self.edit(e, a, |one| one.deleted = true);
            }
            Act::TagAttribute(e, a, on) => {
                let one = self.events[e].attributes[a];
                if !one.deleted && one.red != on && !self.events[e].deleted {
                    self.others.push_back(Frame::AttributeTag(e, a, on));
                    self.edit(e, a, |one| one.red = on);
                }
            }
            Act::TagEvent(e, on) => {
                let event = &mut self.events[e];
                if event.red != on && !event.deleted {
                    event.red = on;
                    event.timestamp = self.clock;
                    self.others.push_back(Frame::EventTag(e, on));
                }
            }
            Act::Publish(e) => {
                if !self.events[e].deleted {
                    self.publications.push(Frame::Publication(e, self.events[e]));
                }
            }
            Act::DeleteEvent(e) => {
                if !std::mem::replace(&mut self.events[e].deleted, true) {
                    self.others.push_back(Frame::EventDeleted(e, self.events[e].timestamp));
                }
            }
            Act::HearPublication(_) | Act::HearOther | Act::Deliver => {}
        }
    }

    fn edit(&mut self, e: usize, a: usize, how: impl Fn(&mut Attribute)) {
        if !self.events[e].attributes[a].deleted {
            self.change(e, a, how);
        }
    }

    fn change(&mut self, e: usize, a: usize, how: impl Fn(&mut Attribute)) {
        let event = &mut self.events[e];
        if event.deleted {
            return;
        }
        let one = &mut event.attributes[a];
        how(one);
        (one.timestamp, event.timestamp) = (self.clock, self.clock);
        self.others.push_back(match one.deleted {
            true => Frame::Deleted(e, a, *one),
            false => Frame::Edited(e, a, *one),
        });
    }

    /// Values that must be live once everything is published and heard.
    fn truth(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut live: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (e, event) in self.events.iter().enumerate() {
            for one in &event.attributes {
                if !(event.deleted || event.red || one.deleted || one.red) && one.to_ids {
                    live.entry(self.value(one.value)).or_default().insert(self.event_uuid(e));
                }
            }
        }
        live
    }

    fn value(&self, value: usize) -> String {
        format!("v{value}.case{}.example", self.case)
    }

    fn event_uuid(&self, e: usize) -> String {
        format!("{:08x}-0000-4000-8000-00000000000{e}", self.case)
    }

    /// The frame as MISP writes it.
    fn wire(&self, frame: Frame) -> Vec<u8> {
        let (topic, json) = match frame {
            Frame::Publication(e, event) => ("misp_json", self.publication(e, &event)),
            Frame::Edited(e, a, one) => ("misp_json_attribute", self.change_of(e, a, &one, "edit")),
            Frame::Deleted(e, a, one) => {
                ("misp_json_attribute", self.change_of(e, a, &one, "soft-delete"))
            }
            Frame::EventTag(e, on) => ("misp_json_tag", self.tag(e, None, on)),
            Frame::AttributeTag(e, a, on) => ("misp_json_tag", self.tag(e, Some(a), on)),
            Frame::EventDeleted(e, timestamp) => (
                "misp_json_event",
                format!(
                    r#"{{"Event":{{"id":"{}","uuid":"{}","timestamp":"{timestamp}"}},"action":"delete"}}"#,
                    self.event_id(e),
                    self.event_uuid(e),
                ),
            ),
        };
        format!("{topic} {json}").into_bytes()
    }

    fn publication(&self, e: usize, event: &Event) -> String {
        let attributes: Vec<String> = (0..ATTRIBUTES)
            .filter(|a| !event.attributes[*a].deleted)
            .map(|a| self.attribute(e, a, &event.attributes[a]))
            .collect();
        format!(
            r#"{{"Event":{{"id":"{}","uuid":"{}","info":"x","distribution":"3","timestamp":"{}","Attribute":[{}],"Object":[]{}}}}}"#,
            self.event_id(e),
            self.event_uuid(e),
            event.timestamp,
            attributes.join(","),
            red(event.red),
        )
    }

    fn attribute(&self, e: usize, a: usize, one: &Attribute) -> String {
        format!(
            r#"{{"id":"{}","event_id":"{}","uuid":"{:08x}-0000-4000-9000-0000000000{e}{a}","type":"domain","category":"Network activity","value":"{}","to_ids":{},"deleted":{},"timestamp":"{}"{}}}"#,
            self.attribute_id(e, a),
            self.event_id(e),
            self.case,
            self.value(one.value),
            one.to_ids,
            one.deleted,
            one.timestamp,
            red(one.red),
        )
    }

    fn change_of(&self, e: usize, a: usize, one: &Attribute, action: &str) -> String {
        format!(
            r#"{{"Attribute":{},"Event":{{"id":"{}","uuid":"{}"}},"action":"{action}"}}"#,
            self.attribute(e, a, one),
            self.event_id(e),
            self.event_uuid(e),
        )
    }

    fn tag(&self, e: usize, a: Option<usize>, on: bool) -> String {
        let what = if on { "attached to" } else { "detached from" };
        let event = self.event_id(e);
        match a {
            None => format!(
                r#"{{"Tag":{{"name":"tlp:red","local":false,"event_id":"{event}"}},"action":"{what} event"}}"#
            ),
            Some(a) => format!(
                r#"{{"Tag":{{"name":"tlp:red","attribute_id":"{}","event_id":"{event}"}},"action":"{what} attribute"}}"#,
                self.attribute_id(e, a),
            ),
        }
    }

    fn event_id(&self, e: usize) -> u64 {
        1_000_000 + self.case * 10 + e as u64
    }

    fn attribute_id(&self, e: usize, a: usize) -> u64 {
        1_000_000 + self.case * 100 + (e * 10 + a) as u64
    }
}

fn red(red: bool) -> &'static str {
    if red { r#","Tag":[{"name":"tlp:red"}]"# } else { "" }
}

/// A tag against the last publication that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Red {
    No,
    Published,
    Attached,
    Detached,
}

impl Red {
    /// What was put on and taken off again since the publication leaves nothing behind.
    fn tagged(self, on: bool) -> Self {
        match (self, on) {
            (Self::No, true) => Self::Attached,
            (Self::Detached, true) => Self::Published,
            (Self::Published, false) => Self::Detached,
            (Self::Attached, false) => Self::No,
            _ => self,
        }
    }

    /// A publication may be from before the last word that was heard of the tag.
    fn published(red: bool, last_word: Option<bool>) -> Self {
        match (red, last_word) {
            (true, Some(false)) => Self::Detached,
            (true, _) => Self::Published,
            (false, Some(true)) => Self::Attached,
            (false, _) => Self::No,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Claim {
    value: usize,
    timestamp: i64,
    to_ids: bool,
    red: Red,
}

/// What keeps an attribute of a snapshot out.
#[derive(Debug, Clone, Copy)]
enum Withdrawn {
    /// Whatever it says, up to this second.
    Until(i64),
    /// With `to_ids`, up to this second; without, before it.
    IdsUntil(i64),
    /// This value, up to this second.
    ValueUntil(usize, i64),
}

impl Withdrawn {
    fn keeps_out(self, one: &Attribute) -> bool {
        match self {
            Self::Until(at) => one.timestamp <= at,
            Self::IdsUntil(at) => one.timestamp < at || one.timestamp == at && one.to_ids,
            Self::ValueUntil(value, at) => one.value == value && one.timestamp <= at,
        }
    }
}

/// What one who heard these frames in this order must hold for true: the rules of the reference
/// set, in words as plain as they go.
#[derive(Debug, Default)]
struct Heard {
    applied: BTreeMap<usize, (i64, Red)>,
    deleted: BTreeSet<usize>,
    claims: BTreeMap<(usize, usize), Claim>,
    withdrawn: BTreeMap<(usize, usize), Vec<Withdrawn>>,
    /// The last word heard of the tag of an event, or of one of its attributes.
    words: BTreeMap<(usize, Option<usize>), bool>,
}

impl Heard {
    fn hear(&mut self, frame: Frame) {
        match frame {
            Frame::Publication(e, event) => self.publication(e, &event),
            Frame::Edited(e, a, one) => self.edited(e, a, &one),
            Frame::Deleted(e, a, one) => {
                self.withdrawn.entry((e, a)).or_default().push(Withdrawn::Until(one.timestamp));
                self.end(e, a, one.timestamp);
            }
            Frame::EventTag(e, on) => {
                self.words.insert((e, None), on);
                if let Some((_, red)) = self.applied.get_mut(&e) {
                    *red = red.tagged(on);
                }
            }
            Frame::AttributeTag(e, a, on) => {
                self.words.insert((e, Some(a)), on);
                if let Some(claim) = self.claims.get_mut(&(e, a)) {
                    claim.red = claim.red.tagged(on);
                }
            }
            Frame::EventDeleted(e, _) => {
                self.deleted.insert(e);
                self.claims.retain(|(of, _), _| *of != e);
            }
        }
    }

    fn publication(&mut self, e: usize, event: &Event) {
        let applied = self.applied.get(&e).map_or(0, |(applied, _)| *applied);
        if self.deleted.contains(&e) || event.timestamp < applied {
            return;
        }
        let red = Red::published(event.red, self.words.get(&(e, None)).copied());
        self.applied.insert(e, (event.timestamp, red));
        for (a, one) in event.attributes.iter().enumerate() {
            let withdrawn = self.withdrawn.get(&(e, a)).into_iter().flatten();
            let out = one.deleted || withdrawn.copied().any(|it| it.keeps_out(one));
            self.claims.remove(&(e, a));
            if !out {
                let Attribute { value, timestamp, to_ids, .. } = *one;
                let red = Red::published(one.red, self.words.get(&(e, Some(a))).copied());
                self.claims.insert((e, a), Claim { value, timestamp, to_ids, red });
            }
        }
    }

    fn edited(&mut self, e: usize, a: usize, one: &Attribute) {
        let withdrawn = self.withdrawn.entry((e, a)).or_default();
        let at = one.timestamp;
        match self.claims.get(&(e, a)) {
            _ if !one.to_ids => {
                withdrawn.push(Withdrawn::IdsUntil(at));
                self.end(e, a, at);
            }
            None => withdrawn.push(Withdrawn::Until(at - 1)),
            Some(claim) if claim.value != one.value && claim.timestamp <= at => {
                withdrawn.push(Withdrawn::ValueUntil(claim.value, at));
                self.end(e, a, at);
            }
            Some(_) => {}
        }
    }

    /// A withdrawal older than its claim takes nothing back.
    fn end(&mut self, e: usize, a: usize, at: i64) {
        if self.claims.get(&(e, a)).is_some_and(|claim| claim.timestamp <= at) {
            self.claims.remove(&(e, a));
        }
    }

    fn live(&self, misp: &Misp) -> BTreeMap<String, BTreeSet<String>> {
        let mut live: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for ((e, _), claim) in &self.claims {
            if claim.to_ids && claim.red == Red::No && self.applied[e].1 == Red::No {
                live.entry(misp.value(claim.value)).or_default().insert(misp.event_uuid(*e));
            }
        }
        live
    }
}

/// A case in progress.
struct Play<'a> {
    relay: &'a Relay,
    sentinel: Sentinel,
    misp: Misp,
    heard: Heard,
}

impl Play<'_> {
    async fn act(&mut self, act: &Act) {
        self.misp.act(act);
        if let Act::HearPublication(which) = act
            && let Some(which) = which.checked_rem(self.misp.publications.len())
        {
            let frame = self.misp.publications.remove(which);
            self.hear(frame).await;
        }
        if matches!(act, Act::HearOther)
            && let Some(frame) = self.misp.others.pop_front()
        {
            self.hear(frame).await;
        }
        if matches!(act, Act::Deliver) {
            self.deliver().await;
        }
    }

    async fn hear(&mut self, frame: Frame) {
        self.heard.hear(frame);
        self.relay.hear(&self.misp.wire(frame)).await;
    }

    async fn deliver(&mut self) {
        self.sentinel.accept_all(self.relay).await;
        assert_eq!(self.sentinel.live(), self.heard.live(&self.misp));
    }

    /// All that is on its way arrives, and everything is published once more.
    async fn end(&mut self) {
        while let Some(frame) = self.misp.others.pop_front() {
            self.hear(frame).await;
        }
        for e in 0..EVENTS {
            self.misp.act(&Act::Publish(e));
        }
        for frame in std::mem::take(&mut self.misp.publications) {
            self.hear(frame).await;
        }
        self.sentinel.accept_all(self.relay).await;
        assert_eq!(self.sentinel.live(), self.misp.truth(), "in the end");
        let writes = self.sentinel.writes;
        for e in 0..EVENTS {
            if !self.misp.events[e].deleted {
                let again = Frame::Publication(e, self.misp.events[e]);
                self.hear(again).await;
            }
        }
        self.sentinel.accept_all(self.relay).await;
        assert_eq!(self.sentinel.writes, writes, "a repeat sends nothing");
    }
}

#[test]
fn whatever_happens_in_misp_and_in_whatever_order_it_is_heard() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let relay = runtime.block_on(Relay::start());
    let case = Cell::new(0);
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let acts = proptest::collection::vec(act(), 1..60);
    let checked = TestRunner::new(config).run(&acts, |acts| {
        case.set(case.get() + 1);
        let misp = Misp::new(case.get());
        let (sentinel, heard) = (Sentinel::default(), Heard::default());
        let mut play = Play { relay: &relay, sentinel, misp, heard };
        runtime.block_on(async {
            for act in &acts {
                play.act(act).await;
            }
            play.end().await;
        });
        Ok(())
    });
    // The writer is a task of the runtime.
    let _inside = runtime.enter();
    drop(relay);
    checked.unwrap();
}
