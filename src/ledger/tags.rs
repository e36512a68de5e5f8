//! Marks on the tags of claims and events whether each was put on or taken off since the publication.

use uuid::Uuid;

use super::change::Change;
use super::elsewhere;
use super::refresh::refresh_with_copies;
use super::sources::Sources;
use super::sql::{Result, SqlError, Transaction};
use super::tables::claims::{self, STEP};
use super::tables::events;
use super::tables::keys::{EventCursor, EventKey};
use super::tables::tag_changes::CLOCKS;
use crate::notice::TagChange;
use crate::pure::convert::{Since, TagFacts};

/// What must be merged again after a tag changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Affected {
    Nothing,
    Objects(Vec<Uuid>),
    /// All that the event claims.
    Event,
}

/// Records that a tag was put on or taken off. Policy lets this change forbid at once, and permit only after the next
/// publication. `heard` is Unix seconds.
pub(super) fn apply(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    tag: &TagChange,
    heard: i64,
) -> Result<Affected> {
    let affected = match tag.attribute_id {
        None => apply_to_event(tx, event, tag, heard)?,
        Some(attribute_id) => apply_to_attribute(tx, event, attribute_id, tag, heard)?,
    };
    // A read that began before the tag was heard is overtaken, and the same snapshot counts as news.
    if affected != Affected::Nothing {
        events::touch(tx, event)?;
    }
    Ok(affected)
}

fn apply_to_event(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    tag: &TagChange,
    heard: i64,
) -> Result<Affected> {
    let stored = events::stored(tx, event)?.ok_or(SqlError::NoRow)?;
    let Some(mut facts) = stored.facts() else { return Ok(Affected::Nothing) };
    if !change_tags(&mut facts.tags, tag, heard) {
        return Ok(Affected::Nothing);
    }
    events::store_facts(tx, event, &facts)?;
    Ok(Affected::Event)
}

fn apply_to_attribute(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    attribute_id: i64,
    tag: &TagChange,
    heard: i64,
) -> Result<Affected> {
    let (mut objects, mut attributes) = (Vec::new(), Vec::new());
    for claim in claims::of_attribute_id(tx, event, attribute_id)? {
        let mut facts = claim.facts.read()?;
        if change_tags(&mut facts.tags, tag, heard) {
            claims::alter(tx, event.claim(claim.place), &facts)?;
            objects.push(claim.object);
            attributes.push(claim.place.attribute);
        }
    }
    if objects.is_empty() {
        return Ok(Affected::Nothing);
    }
    // The marking of one copy counts for all of them.
    let sources = Sources::load(tx)?;
    objects.extend(elsewhere::objects_beside(tx, &sources, event.source, attributes.into_iter())?);
    Ok(Affected::Objects(objects))
}

/// Returns whether anything changed. A tag that was put on and taken off again since the publication is removed. A tag
/// that was taken off and put on again counts as published.
fn change_tags(tags: &mut Vec<TagFacts>, change: &TagChange, heard: i64) -> bool {
    let Some(tag) = tags.iter_mut().find(|tag| tag.name == change.tag) else {
        if change.attached {
            let (name, since) = (change.tag.clone(), Since::Attached);
            tags.push(TagFacts { name, local: change.local, since, heard });
        }
        return change.attached;
    };
    match (tag.since, change.attached) {
        (Since::Published | Since::Attached, true) | (Since::Detached, false) => return false,
        (Since::Published, false) => (tag.since, tag.heard) = (Since::Detached, heard),
        (Since::Detached, true) => (tag.since, tag.heard) = (Since::Published, 0),
        (Since::Attached, false) => tags.retain(|tag| tag.name != change.tag),
    }
    true
}

/// When a pushed snapshot was taken and when it arrived, Unix seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pushed {
    pub taken: i64,
    pub received: i64,
}

/// Adds to a snapshot's `tags` those of `before` that may have been put on after the snapshot was taken. Tags have no
/// time in MISP, so this compares the time at which the relay heard of the tag with `taken`, which is
/// `Event.timestamp`. If the event changed well after that, the snapshot is newer: the tag was removed, and the relay
/// did not hear of it. In the same way, a tag that was taken off stays off. Returns whether there are any such tags.
pub(super) fn keep_attached(before: &[TagFacts], pushed: Pushed, tags: &mut Vec<TagFacts>) -> bool {
    let Pushed { taken, received } = pushed;
    let published = tags.len();
    let mut kept = false;
    for tag in before {
        // A clock that was ahead heard it later than now: it must not stay for so long.
        let heard = tag.heard.min(received);
        if heard.saturating_add(CLOCKS) < taken {
            continue;
        }
        match (tag.since, tags.iter_mut().find(|known| known.name == tag.name)) {
            (Since::Attached, None) => tags.push(TagFacts { heard, ..tag.clone() }),
            (Since::Detached, Some(known)) => {
                known.since = Since::Detached;
                known.heard = heard;
                kept = true;
            }
            (Since::Published | Since::Attached | Since::Detached, _) => {}
        }
    }
    kept || tags.len() > published
}

/// Marks in the `tags` of an unpublished event how they differ from those `before`. A tag that was put on forbids at
/// once. The removal of a tag permits nothing before the next publication. `heard` is Unix seconds.
pub(super) fn mark_changed(before: &[TagFacts], heard: i64, tags: &mut Vec<TagFacts>) {
    for tag in tags.iter_mut() {
        match before.iter().find(|known| known.name == tag.name) {
            None => (tag.since, tag.heard) = (Since::Attached, heard),
            Some(known) if known.since == Since::Attached => *tag = known.clone(),
            Some(_) => {}
        }
    }
    for known in before {
        if known.since != Since::Attached && tags.iter().all(|tag| tag.name != known.name) {
            let heard = if known.since == Since::Detached { known.heard } else { heard };
            tags.push(TagFacts { since: Since::Detached, heard, ..known.clone() });
        }
    }
}

/// Merges anew at most [`STEP`] of the event's claims, those after `after`; returns where to go on,
/// `None` at the end.
pub(super) fn refresh_event(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    after: Option<EventCursor>,
    change: &mut Change<'_>,
) -> Result<Option<EventCursor>> {
    let claims = claims::after(tx, event, after.unwrap_or(EventCursor::BEGINNING))?;
    let objects = claims.iter().map(|claim| claim.object).collect();
    let attributes = claims.iter().map(|claim| claim.at.place.attribute);
    refresh_with_copies(tx, event.source, objects, attributes, change)?;
    let last = claims.last().map(|claim| claim.at);
    Ok(last.filter(|_| claims.len() == STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(tag: &str, attached: bool) -> TagChange {
        TagChange { event_id: 1, attribute_id: None, tag: tag.into(), local: false, attached }
    }

    #[test]
    fn a_tag_remembers_where_it_stands_against_the_publication() {
        let mut tags = vec![TagFacts { name: "a:b".into(), ..TagFacts::default() }];
        assert!(!change_tags(&mut tags, &change("a:b", true), 7), "already published");
        assert!(change_tags(&mut tags, &change("a:b", false), 7));
        assert_eq!(tags[0].since, Since::Detached);
        assert!(change_tags(&mut tags, &change("tlp:red", true), 7));
        assert_eq!(tags[1].since, Since::Attached);
        assert!(!change_tags(&mut tags, &change("c:d", false), 7), "was never on");
        assert!(change_tags(&mut tags, &change("tlp:red", false), 8));
        assert_eq!(tags.len(), 1, "as if it had never been");
        assert!(change_tags(&mut tags, &change("a:b", true), 9));
        assert_eq!(
            tags,
            [TagFacts { name: "a:b".into(), ..TagFacts::default() }],
            "as it was published"
        );
    }

    #[test]
    fn a_snapshot_from_before_a_tag_does_not_take_it_off() {
        let tag =
            |since, heard| TagFacts { name: "tlp:red".into(), since, heard, ..TagFacts::default() };
        let at = |taken| Pushed { taken, received: taken + 9 };
        let kept = |before, taken| keep_attached(&[before], at(taken), &mut Vec::new());
        assert!(kept(tag(Since::Attached, 7), 7));
        assert!(
            !kept(tag(Since::Attached, 7), 8 + CLOCKS),
            "taken later: it was taken off unheard"
        );
        assert!(kept(tag(Since::Attached, 7), 8), "the clocks may differ");
        assert!(!kept(tag(Since::Detached, 7), 7));
        assert!(!kept(tag(Since::Published, 0), 0));
        let mut published = vec![tag(Since::Published, 0)];
        assert!(!keep_attached(&[tag(Since::Attached, 7)], at(7), &mut published));
        assert_eq!(published, [tag(Since::Published, 0)]);
        assert!(keep_attached(&[tag(Since::Detached, 7)], at(7), &mut published));
        assert_eq!(published, [tag(Since::Detached, 7)], "permits no more");
    }

    #[test]
    fn a_tag_that_a_clock_heard_in_the_future_stays_no_longer_than_others() {
        let tag =
            |since| TagFacts { name: "tlp:red".into(), since, heard: 9_000, ..TagFacts::default() };
        let at = |taken| Pushed { taken, received: taken + 9 };
        for (since, shown) in
            [(Since::Attached, vec![]), (Since::Detached, vec![tag(Since::Published)])]
        {
            let mut tags = shown.clone();
            assert!(keep_attached(&[tag(since)], at(7), &mut tags));
            assert_eq!(tags[0].since, since, "the snapshot may be from before it");
            let mut later = shown.clone();
            assert!(!keep_attached(&tags, at(17 + CLOCKS), &mut later), "{since:?}");
            assert_eq!(later, shown);
        }
    }
}
