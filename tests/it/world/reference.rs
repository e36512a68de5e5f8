//! Computes what one MISP lets Sentinel hold live. It has a mapping and a policy of its own and shares no code
//! with the relay. What several MISPs say together is in `merged`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use misp_stand_in::{Attribute, Event, Misp, Object, Tag};
use uuid::Uuid;

use super::audience::{Rules, is_red_in};
use super::deed::Deed;
use super::observables::observables;
use super::plan::Plan;

/// What must be said of an observable.
///
/// Of an unpublished event, MISP no longer shows what was published; it shows the attributes as they
/// are, with the time of their last change, and the time of the last publication. *Either* is the
/// verdict where two histories with different reference sets look the same there:
///
/// - an attribute was touched since the publication (edited, restored, tagged) and says an observable
///   that it said in this publication, or in an earlier one: who missed some of it cannot tell
///   whether it said so all the time, is new, or was taken back and is said again;
/// - it was touched, or is new, in the very second of the publication or before it by a clock that
///   was set back: who asks MISP takes it for published as it is;
/// - a tag of the event, or a local one, that forbade was shown as published at any time and is taken
///   off: that leaves no time in the attribute. Who missed the last publication cannot tell whether it
///   was taken off before it or since, and lets it forbid. (A tag that never was part of a publication
///   and is off again is as if it had never been.);
/// - so it is with a distribution or sharing group of the event or object that forbade and was widened;
/// - its type was changed and the observable stays;
/// - it was not touched since the publication, but its time lies after the publication's, or before the
///   one that it had earlier, by a clock that was set back: that publication looks older than what the
///   relay knows, and counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Not,
    Either,
    Must,
}

/// Changes that leave no trace in MISP's timestamps: only a full resync finds them, when their
/// frames are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Untraced {
    /// An object deleted for good leaves event and attributes as they were, but for its own.
    ObjectRemoved,
    /// A local tag, put on or taken off, touches neither attribute nor event.
    LocalTag,
    /// Whoever asks for what changed since a time misses what a clock that was set back dates before
    /// it.
    ClockSetBack,
}

impl Untraced {
    /// How the report counts it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::ObjectRemoved => "left to the resync: object deleted for good",
            Self::LocalTag => "left to the resync: local tag",
            Self::ClockSetBack => "left to the resync: clock set back",
        }
    }
}

/// Everything that must be remembered of MISP's past.
#[derive(Debug)]
pub(super) struct Reference {
    rules: Rules,
    /// By event; those that were ever published.
    past: BTreeMap<Uuid, Past>,
    untraced: BTreeMap<Uuid, BTreeMap<Untraced, BTreeSet<String>>>,
    /// Attributes whose time once went back, with MISP's clock: they look older than what is known.
    dated_back: HashSet<Uuid>,
    /// Events whose tags, or those of their attributes, ever came or went.
    tagged: HashSet<Uuid>,
    /// The latest time that MISP's clock ever showed.
    latest: i64,
    /// When the world began, by the true clock.
    began: i64,
    /// Every observable that may have left at some time.
    allowed: BTreeSet<String>,
}

/// An attribute as one MISP shows it.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) attribute: Uuid,
    pub(super) event: Uuid,
    pub(super) timestamp: i64,
    /// Whether its event is published now.
    pub(super) is_published: bool,
    /// Whether every reader knows it so.
    pub(super) is_certain: bool,
    pub(super) is_for_ids: bool,
    pub(super) is_deleted: bool,
    /// By its own tags or its event's.
    pub(super) is_red: bool,
    /// What it says, whether that may leave or not.
    pub(super) observables: Vec<String>,
    /// The same, with what this MISP lets Sentinel hold.
    pub(super) claims: Vec<(String, Verdict)>,
}

/// Names, with whether they are local.
type Tags = BTreeSet<(String, bool)>;

/// An event since its last publication.
#[derive(Debug)]
struct Past {
    published: Arc<Event>,
    /// What its attributes may have been taken to claim at any time so far.
    claimed: BTreeSet<(Uuid, String)>,
    /// What a tag or an audience forbade while the event was shown as published, at any time so far:
    /// attributes, by a local tag or their object's audience, and the event itself.
    forbidden: HashSet<Uuid>,
    /// Attributes changed or added since.
    touched: HashSet<Uuid>,
    /// Attributes whose tags ever changed: what was heard of that counts as not published yet until the
    /// next publication is heard.
    retagged: HashSet<Uuid>,
    /// The event's own tags, in each way that it was shown so far: who first sees them while the event is
    /// unpublished takes them for published.
    shown: BTreeSet<Tags>,
}

impl Reference {
    pub(super) fn new(plan: &Plan, now: i64, began: i64) -> Self {
        Self {
            rules: Rules::of(plan),
            past: BTreeMap::new(),
            untraced: BTreeMap::new(),
            dated_back: HashSet::new(),
            tagged: HashSet::new(),
            latest: now,
            began,
            allowed: BTreeSet::new(),
        }
    }

    /// Takes in what `deed` has done to its event.
    pub(super) fn observe(&mut self, deed: &Deed, before: Option<Arc<Event>>, misp: &Misp) {
        let uuid = deed.event();
        let after = misp.event(uuid);
        if deed.is_about_tags() || is_retagged(before.as_deref(), after.as_deref()) {
            self.tagged.insert(uuid);
        }
        if before == after {
            return;
        }
        self.trace(deed, before.as_deref(), after.as_deref(), misp.now());
        if let (Some(before), Some(after)) = (&before, &after) {
            self.dated_back.extend(dated_back(before, after));
        }
        match (deed, &after) {
            (_, None) => drop(self.past.remove(&uuid)),
            (Deed::Publish(_) | Deed::Pull(_), Some(event)) => {
                // Later than all that was ever shown: this publication counts everywhere.
                if misp.now() >= self.latest {
                    self.dated_back.retain(|one| event.attribute(*one).is_none());
                }
                let published = Arc::clone(event);
                let touched = HashSet::new();
                let past = match self.past.remove(&uuid) {
                    Some(earlier) => Past { published, touched, ..earlier },
                    None => Past {
                        published,
                        touched,
                        claimed: BTreeSet::new(),
                        forbidden: HashSet::new(),
                        retagged: HashSet::new(),
                        shown: BTreeSet::new(),
                    },
                };
                self.past.insert(uuid, past);
            }
            (_, Some(after)) => {
                if let (Some(past), Some(before)) = (self.past.get_mut(&uuid), before) {
                    past.touched.extend(changed(&before, after));
                    past.retagged.extend(retagged(&before, after));
                }
            }
        }
        if let Some(event) = after {
            let claims = self.claims(&event);
            self.past.entry(uuid).and_modify(|past| {
                past.claimed.extend(claims);
                past.shown.insert(tags(&event));
                if event.published {
                    past.forbidden.extend(forbidden(&self.rules, &event));
                }
            });
        }
        let verdicts = self.verdicts(misp);
        self.allowed.extend(verdicts.into_keys());
    }

    /// Notes what catch-up cannot find, and forgets it once the event shows a new time.
    fn trace(&mut self, deed: &Deed, before: Option<&Event>, after: Option<&Event>, now: i64) {
        if matches!(deed, Deed::Unpublish(_) | Deed::Push(_)) {
            // By hand; what was published stands.
            return;
        }
        let cause = if matches!(deed, Deed::RemoveObject(..)) {
            Some(Untraced::ObjectRemoved)
        } else if is_about_local_tag(deed, before) {
            Some(Untraced::LocalTag)
        } else {
            (now < self.latest).then_some(Untraced::ClockSetBack)
        };
        self.latest = self.latest.max(now);
        let event = deed.event();
        let (Some(cause), Some(after)) = (cause, after) else {
            self.untraced.remove(&event);
            return;
        };
        let all = before.into_iter().flat_map(Event::all).chain(after.all());
        let said = all.flat_map(|(_, one)| observables(&one.kind, &one.value));
        let noted = self.untraced.entry(event).or_default();
        noted.entry(cause).or_default().extend(said);
    }

    /// All observables that must, or may, be live for what this MISP alone says.
    fn verdicts(&self, misp: &Misp) -> BTreeMap<String, Verdict> {
        let mut verdicts = BTreeMap::new();
        for (said, verdict) in self.copies(misp).into_iter().flat_map(|copy| copy.claims) {
            let known = verdicts.entry(said).or_insert(Verdict::Not);
            *known = verdict.max(*known);
        }
        verdicts.retain(|_, verdict| *verdict != Verdict::Not);
        verdicts
    }

    /// Every attribute of this MISP, deleted ones included.
    pub(super) fn copies(&self, misp: &Misp) -> Vec<Copy> {
        let mut copies = Vec::new();
        for event in misp.events() {
            let all = event.all();
            copies.extend(all.map(|(object, one)| self.copy(&event, object, one)));
        }
        copies
    }

    fn copy(&self, event: &Event, object: Option<&Object>, one: &Attribute) -> Copy {
        Copy {
            attribute: one.uuid,
            event: event.uuid,
            timestamp: one.timestamp,
            is_published: event.published,
            is_certain: self.is_certain(event, one) && self.rules.shows(event, object, one),
            is_for_ids: one.to_ids && !one.deleted,
            is_deleted: one.deleted,
            is_red: is_red_in(&event.tags) || is_red_in(&one.tags),
            observables: observables(&one.kind, &one.value),
            claims: self.of_attribute(event, object, one),
        }
    }

    /// Whether whoever reads MISP knows what the attribute says, and that it is published.
    fn is_certain(&self, event: &Event, one: &Attribute) -> bool {
        event.published
            || self.past.get(&event.uuid).is_some_and(|past| {
                let is_as_published = past.published.attribute(one.uuid).is_some()
                    && !past.touched.contains(&one.uuid)
                    && !past.retagged.contains(&one.uuid)
                    && !self.dated_back.contains(&one.uuid);
                is_as_published && past.shown.len() == 1 && one.timestamp <= event.publish_timestamp
            })
    }

    /// Observables of which not everything is certain: an attribute may claim them or not, or with
    /// other tags of its event. Who missed the last publication of an event that is unpublished now
    /// cannot tell of a tag that came or went since an earlier one whether that was published. And what
    /// is dated in the future counts from when it was heard.
    pub(super) fn doubtful(&self, misp: &Misp) -> BTreeSet<String> {
        let mut doubtful = BTreeSet::new();
        for event in misp.events() {
            let now = tags(&event);
            let past = self.past.get(&event.uuid).filter(|_| !event.published);
            let retagged = past.is_some_and(|past| past.shown.iter().any(|shown| *shown != now));
            for (object, one) in event.all() {
                let said = self.of_attribute(&event, object, one).into_iter();
                let unsure = retagged
                    || past.is_some_and(|past| past.retagged.contains(&one.uuid))
                    || one.timestamp > self.began;
                let said = said.filter(|(_, verdict)| {
                    *verdict == Verdict::Either || (unsure && *verdict == Verdict::Must)
                });
                doubtful.extend(said.map(|(said, _)| said));
            }
        }
        doubtful
    }

    /// Events whose tags, or those of their attributes, ever came or went: a push within the time in which
    /// the order of frames is in doubt then counts with what was heard, until a read that tells everything.
    pub(super) fn tagged(&self) -> &HashSet<Uuid> {
        &self.tagged
    }

    /// Events of which something may differ after catch-up alone, with the causes and what they said.
    pub(super) fn untraced(&self) -> &BTreeMap<Uuid, BTreeMap<Untraced, BTreeSet<String>>> {
        &self.untraced
    }

    /// Whether MISP ever gave a reason to send this.
    pub(super) fn was_allowed(&self, pattern: &str) -> bool {
        self.allowed.contains(pattern)
    }

    fn of_attribute(
        &self,
        event: &Event,
        object: Option<&Object>,
        one: &Attribute,
    ) -> Vec<(String, Verdict)> {
        let all = |verdict| {
            let said = observables(&one.kind, &one.value);
            said.into_iter().map(|said| (said, verdict)).collect()
        };
        if !self.rules.admits(event, object, one) {
            return all(Verdict::Not);
        }
        if event.published {
            return all(Verdict::Must);
        }
        let Some(past) = self.past.get(&event.uuid) else { return all(Verdict::Not) };
        let looks_published = one.timestamp <= event.publish_timestamp;
        let addition = if looks_published { Verdict::Either } else { Verdict::Not };
        let touched = past.touched.contains(&one.uuid);
        if let Some((old_object, old)) = past.published.attribute(one.uuid).filter(|_| !touched) {
            let certain = looks_published
                && self.rules.admits(&past.published, old_object, old)
                && !self.dated_back.contains(&one.uuid)
                && !past.forbidden.contains(&event.uuid)
                && !past.forbidden.contains(&one.uuid);
            return all(if certain { Verdict::Must } else { Verdict::Either });
        }
        let said = observables(&one.kind, &one.value).into_iter();
        said.map(|said| {
            let claimed = past.claimed.contains(&(one.uuid, said.clone()));
            (said, if claimed { Verdict::Either } else { addition })
        })
        .collect()
    }

    /// What may be taken to be claimed of an event now.
    fn claims(&self, event: &Event) -> Vec<(Uuid, String)> {
        let all = event.all().flat_map(|(object, one)| {
            let said = self.of_attribute(event, object, one).into_iter();
            let uuid = one.uuid;
            said.map(move |(said, verdict)| (uuid, said, verdict))
        });
        let claimed = all.filter(|(_, _, verdict)| *verdict != Verdict::Not);
        claimed.map(|(uuid, said, _)| (uuid, said)).collect()
    }
}

/// What is forbidden now without a trace in an attribute's time, should that be lifted: the event, by a
/// tag or its audience, and attributes with a local tag or in an object with such an audience.
fn forbidden(rules: &Rules, event: &Event) -> impl Iterator<Item = Uuid> {
    let is_forbidden = |object: Option<&Object>, one: &Attribute| {
        let local: Vec<_> = one.tags.iter().filter(|tag| tag.local).cloned().collect();
        is_red_in(&local) || object.is_some_and(|object| !rules.admits_object(object))
    };
    let itself = is_red_in(&event.tags) || !rules.admits_audience_of(event);
    let attributes = event.all().filter(move |(object, one)| is_forbidden(*object, one));
    itself.then_some(event.uuid).into_iter().chain(attributes.map(|(_, one)| one.uuid))
}

fn tags(event: &Event) -> Tags {
    event.tags.iter().map(|tag| (tag.name.clone(), tag.local)).collect()
}

/// Attributes that differ, and those that are new.
fn changed(before: &Event, after: &Event) -> Vec<Uuid> {
    let same = |one: &Attribute| before.attribute(one.uuid).is_some_and(|(_, old)| old == one);
    after.all().filter(|(_, one)| !same(one)).map(|(_, one)| one.uuid).collect()
}

/// Attributes whose tags differ.
fn retagged(before: &Event, after: &Event) -> Vec<Uuid> {
    let differ = |one: &Attribute| {
        before.attribute(one.uuid).is_some_and(|(_, before)| before.tags != one.tags)
    };
    after.all().filter(|(_, one)| differ(one)).map(|(_, one)| one.uuid).collect()
}

/// Whether tags of the event or of one of its attributes came or went.
fn is_retagged(before: Option<&Event>, after: Option<&Event>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    tags(before) != tags(after) || !retagged(before, after).is_empty()
}

/// Attributes that were changed and are older than before.
fn dated_back(before: &Event, after: &Event) -> Vec<Uuid> {
    let was = |one: &Attribute| before.attribute(one.uuid).map(|(_, old)| old.timestamp);
    let dated_back = after.all().filter(|(_, one)| was(one).is_some_and(|was| one.timestamp < was));
    dated_back.map(|(_, one)| one.uuid).collect()
}

fn is_about_local_tag(deed: &Deed, before: Option<&Event>) -> bool {
    let was_local = |tags: &[Tag], name: &str| tags.iter().any(|tag| tag.name == name && tag.local);
    if let (Deed::UntagEvent(_, name), Some(event)) = (deed, before) {
        return was_local(&event.tags, name);
    }
    if let (Deed::UntagAttribute(_, one, name), Some(event)) = (deed, before) {
        return event.attribute(*one).is_some_and(|(_, one)| was_local(&one.tags, name));
    }
    matches!(deed, Deed::TagEvent(_, _, true) | Deed::TagAttribute(_, _, _, true))
}
