//! Follows the last events from the frame that told of them to the targets that accepted what came of it.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::pure::policy::Tlp;

/// How many events are kept.
pub const EVENTS: usize = 20;

/// How many characters of a title are kept.
pub const TITLE: usize = 200;

/// News about an event, as it was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub event: Uuid,
    /// MISP's number; `None` where the news did not tell.
    pub id: Option<i64>,
    /// MISP's title (`info`); `None` where the news did not tell.
    pub title: Option<String>,
    /// The strictest level that the tags of the event and of its attributes say. `None`: not known.
    pub tlp: Option<Tlp>,
    /// What happened in MISP, in a few words.
    pub what: &'static str,
    /// When the news came, Unix milliseconds.
    pub heard: i64,
    /// Claims that are new, changed or gone.
    pub new: usize,
    pub changed: usize,
    pub gone: usize,
    /// Whether the news only takes back.
    pub is_withdrawal: bool,
}

impl Committed {
    /// Describes news that tells little of the event: it names no title, and which claims it is about.
    fn untitled(event: Uuid, what: &'static str, heard: i64) -> Self {
        let (new, changed, gone, is_withdrawal) = (0, 0, 0, false);
        let (id, title, tlp) = (None, None, None);
        Self { event, id, title, tlp, what, heard, new, changed, gone, is_withdrawal }
    }

    /// Describes a withdrawal that MISP announced by a frame, or the deletion of an event.
    pub fn withdrawal(event: Uuid, claims: usize, what: &'static str, heard: i64) -> Self {
        Self { gone: claims, is_withdrawal: true, ..Self::untitled(event, what, heard) }
    }

    /// Describes that a tag was put on claims, or taken off. `is_withdrawal`: that only forbids some of them.
    pub fn tagged(
        event: Uuid,
        claims: usize,
        attached: bool,
        is_withdrawal: bool,
        heard: i64,
    ) -> Self {
        let what = if attached { "a tag put on" } else { "a tag taken off" };
        Self { changed: claims, is_withdrawal, ..Self::untitled(event, what, heard) }
    }
}

/// One event on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentEvent {
    pub committed: Committed,
    pub committed_at: DateTime<Utc>,
    /// The targets that accepted all of it, in the order in which they did.
    pub accepted: Vec<Acceptance>,
}

/// That a target accepted all that the news altered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    pub target: String,
    pub at: DateTime<Utc>,
}

/// The last events, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Timeline(VecDeque<RecentEvent>);

impl Timeline {
    pub(super) fn committed(&mut self, event: Committed, at: DateTime<Utc>) {
        let title = event.title.map(|title| title.chars().take(TITLE).collect());
        let mut committed = Committed { title, ..event };
        let mut before = self.0.iter().rev().map(|one| &one.committed);
        let known = before.find(|before| before.event == committed.event);
        // A frame that tells no title is about the event that was seen before, and of its level.
        if let (None, Some(known)) = (&committed.title, known) {
            committed.id = known.id;
            committed.title.clone_from(&known.title);
            committed.tlp = known.tlp;
        }
        // What is marked more strictly now was not less secret before: its title stands in the older lines too.
        for one in self.0.iter_mut().filter(|one| one.committed.event == committed.event) {
            let levels = one.committed.tlp.zip(committed.tlp);
            one.committed.tlp = levels.map(|(before, now)| before.max(now));
        }
        self.0.push_back(RecentEvent { committed, committed_at: at, accepted: Vec::new() });
        if self.0.len() > EVENTS {
            self.0.pop_front();
        }
    }

    pub(super) fn taken(&mut self, event: Uuid, heard: i64, target: &str, at: DateTime<Utc>) {
        let mut of_event = self.0.iter_mut().rev();
        let news =
            of_event.find(|one| (one.committed.event, one.committed.heard) == (event, heard));
        let Some(news) = news else { return };
        // A change has a part for each lane: the last one counts.
        news.accepted.retain(|accepted| accepted.target != target);
        news.accepted.push(Acceptance { target: target.to_owned(), at });
    }

    pub(super) fn marked(&mut self, event: Uuid, level: Tlp) {
        for one in self.0.iter_mut().filter(|one| one.committed.event == event) {
            one.committed.tlp = one.committed.tlp.max(one.committed.tlp.map(|_| level));
        }
    }

    pub(super) fn retagged(&mut self, event: Uuid) {
        for one in self.0.iter_mut().filter(|one| one.committed.event == event) {
            one.committed.tlp = None;
        }
    }

    pub(super) fn newest_first(&self) -> Vec<RecentEvent> {
        self.0.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(number: u128, heard: i64) -> Committed {
        Committed {
            event: Uuid::from_u128(number),
            id: Some(7),
            title: Some("é".repeat(1_000)),
            tlp: Some(Tlp::Clear),
            what: "published",
            heard,
            new: 1,
            changed: 0,
            gone: 0,
            is_withdrawal: false,
        }
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn a_few_events_with_short_titles_are_kept() {
        let mut timeline = Timeline::default();
        (0..100).for_each(|number| timeline.committed(news(number, 1), at(1)));
        let events = timeline.newest_first();
        assert_eq!(events.len(), EVENTS);
        assert_eq!(events[0].committed.event, Uuid::from_u128(99));
        assert_eq!(events[19].committed.title.as_ref().unwrap().chars().count(), TITLE);
    }

    #[test]
    fn an_acceptance_goes_to_its_own_news() {
        let mut timeline = Timeline::default();
        timeline.committed(news(1, 10), at(1));
        timeline.committed(news(1, 20), at(2));
        timeline.taken(Uuid::from_u128(1), 10, "soc", at(3));
        timeline.taken(Uuid::from_u128(1), 10, "soc", at(4));
        timeline.taken(Uuid::from_u128(1), 11, "soc", at(5));
        timeline.taken(Uuid::from_u128(2), 10, "soc", at(5));
        let events = timeline.newest_first();
        assert_eq!(events[0].accepted, []);
        assert_eq!(events[1].accepted, [Acceptance { target: "soc".to_owned(), at: at(4) }]);
    }

    #[test]
    fn a_tag_makes_the_level_stricter_and_never_milder() {
        let mut timeline = Timeline::default();
        timeline.committed(news(1, 10), at(1));
        let level = |timeline: &Timeline| timeline.newest_first()[0].committed.tlp;
        timeline.marked(Uuid::from_u128(1), Tlp::Amber);
        assert_eq!(level(&timeline), Some(Tlp::Amber));
        timeline.marked(Uuid::from_u128(1), Tlp::Green);
        timeline.marked(Uuid::from_u128(2), Tlp::Red);
        assert_eq!(level(&timeline), Some(Tlp::Amber));
        timeline.retagged(Uuid::from_u128(1));
        timeline.marked(Uuid::from_u128(1), Tlp::Green);
        assert_eq!(level(&timeline), None);
    }

    #[test]
    fn stricter_news_hides_the_title_in_the_older_lines_too() {
        let mut timeline = Timeline::default();
        timeline.committed(news(1, 10), at(1));
        timeline.committed(news(2, 10), at(1));
        timeline.committed(Committed { tlp: Some(Tlp::Red), ..news(1, 20) }, at(2));
        timeline.committed(news(1, 30), at(3));
        let levels = timeline.newest_first().into_iter().map(|one| one.committed.tlp);
        let (clear, red) = (Some(Tlp::Clear), Some(Tlp::Red));
        assert_eq!(levels.collect::<Vec<_>>(), [clear, red, clear, red]);
    }

    #[test]
    fn the_level_of_a_retagged_event_is_not_known() {
        let mut timeline = Timeline::default();
        timeline.committed(news(1, 10), at(1));
        timeline.committed(news(2, 10), at(1));
        timeline.retagged(Uuid::from_u128(1));
        let levels = timeline.newest_first().into_iter().map(|one| one.committed.tlp);
        assert_eq!(levels.collect::<Vec<_>>(), [Some(Tlp::Clear), None]);
    }
}
