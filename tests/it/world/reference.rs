//! The reference set: what Sentinel must hold live, worked out from MISP's events with a mapping and
//! a policy of its own. Shares no code with the relay.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use misp_sentinel_relay::sandbox::misp::{Attribute, Event, Misp, Object, Tag};
use uuid::Uuid;

use super::deed::Deed;

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
/// - tags of the event, or local ones, were changed and permit now what they forbade, or did so for
///   a while: that leaves no time in the attribute. Who missed the last publication cannot tell
///   whether a tag was taken off before it or since, and lets it forbid;
/// - its type was changed and the observable stays;
/// - it was not touched, but its time lies after the publication's, by a clock that was set back.
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
    outsider: bool,
    /// By event; those that were ever published.
    past: BTreeMap<Uuid, Past>,
    untraced: BTreeMap<Uuid, BTreeMap<Untraced, BTreeSet<String>>>,
    /// The latest time that MISP's clock ever showed.
    latest: i64,
    /// Every observable that may have left at some time.
    allowed: BTreeSet<String>,
}

/// An event since its last publication.
#[derive(Debug)]
struct Past {
    published: Arc<Event>,
    /// What its attributes may have been taken to claim at any time so far.
    claimed: BTreeSet<(Uuid, String)>,
    /// Of what a tag that forbids was taken off at any time so far without a trace in its time:
    /// attributes, and the event itself.
    permitted: HashSet<Uuid>,
    /// Attributes changed or added since.
    touched: HashSet<Uuid>,
    /// The event's own tags were changed since.
    tags_touched: bool,
}

impl Reference {
    pub(super) fn new(outsider: bool, now: i64) -> Self {
        Self {
            outsider,
            past: BTreeMap::new(),
            untraced: BTreeMap::new(),
            latest: now,
            allowed: BTreeSet::new(),
        }
    }

    /// Takes in what `deed` has done to its event.
    pub(super) fn observe(&mut self, deed: &Deed, before: Option<Arc<Event>>, misp: &Misp) {
        let uuid = deed.event();
        let after = misp.event(uuid);
        if before == after {
            return;
        }
        self.trace(deed, before.as_deref(), after.as_deref(), misp.now());
        match (deed, &after) {
            (_, None) => drop(self.past.remove(&uuid)),
            (Deed::Publish(_), Some(event)) => {
                let published = Arc::clone(event);
                let (touched, tags_touched) = (HashSet::new(), false);
                let earlier = self.past.remove(&uuid);
                let (claimed, permitted) =
                    earlier.map(|past| (past.claimed, past.permitted)).unwrap_or_default();
                let past = Past { published, claimed, permitted, touched, tags_touched };
                self.past.insert(uuid, past);
            }
            (_, Some(after)) => {
                if let (Some(past), Some(before)) = (self.past.get_mut(&uuid), before) {
                    past.tags_touched |= before.tags != after.tags;
                    past.touched.extend(changed(&before, after));
                    past.permitted.extend(permitted(&before, after));
                }
            }
        }
        if let Some(event) = after {
            let claims = self.claims(&event);
            self.past.entry(uuid).and_modify(|past| past.claimed.extend(claims));
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

    /// All observables that must, or may, be live.
    pub(super) fn verdicts(&self, misp: &Misp) -> BTreeMap<String, Verdict> {
        let mut verdicts = BTreeMap::new();
        for event in misp.events() {
            for (object, one) in event.all() {
                for (said, verdict) in self.of_attribute(&event, object, one) {
                    let known = verdicts.entry(said).or_insert(Verdict::Not);
                    *known = verdict.max(*known);
                }
            }
        }
        verdicts.retain(|_, verdict| *verdict != Verdict::Not);
        verdicts
    }

    /// Observables that may differ after catch-up alone, with the cause.
    pub(super) fn untraced(&self) -> BTreeMap<&str, Untraced> {
        let causes = self.untraced.values().flatten();
        causes.flat_map(|(cause, all)| all.iter().map(|one| (one.as_str(), *cause))).collect()
    }

    /// Whether MISP ever gave a reason to send this.
    pub(super) fn was_allowed(&self, pattern: &str) -> bool {
        self.allowed.contains(pattern)
    }

    /// The events that claim each observable, of those that are published.
    pub(super) fn claimants(&self, misp: &Misp) -> BTreeMap<String, BTreeSet<String>> {
        let mut claimants: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for event in misp.events().iter().filter(|event| event.published) {
            let admitted = event.all().filter(|(object, one)| self.admits(event, *object, one));
            for said in admitted.flat_map(|(_, one)| observables(&one.kind, &one.value)) {
                claimants.entry(said).or_default().insert(event.uuid.to_string());
            }
        }
        claimants
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
        if !self.admits(event, object, one) {
            return all(Verdict::Not);
        }
        if event.published {
            return all(Verdict::Must);
        }
        let Some(past) = self.past.get(&event.uuid) else { return all(Verdict::Not) };
        let looks_published = one.timestamp <= event.publish_timestamp;
        let addition = if looks_published { Verdict::Either } else { Verdict::Not };
        let touched = past.touched.contains(&one.uuid) || past.tags_touched;
        if let Some((old_object, old)) = past.published.attribute(one.uuid).filter(|_| !touched) {
            let certain = looks_published
                && self.admits(&past.published, old_object, old)
                && !past.permitted.contains(&event.uuid)
                && !past.permitted.contains(&one.uuid);
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

    /// To whoever reads with the relay's key, under the default policy.
    fn admits(&self, event: &Event, object: Option<&Object>, one: &Attribute) -> bool {
        let own = |distribution: u8| self.outsider && distribution == 0;
        let hidden = own(event.distribution)
            || own(one.distribution)
            || object.is_some_and(|object| own(object.distribution));
        let red = |tags: &[Tag]| tags.iter().any(|tag| is_red(&tag.name));
        !hidden && !one.deleted && one.to_ids && !red(&event.tags) && !red(&one.tags)
    }
}

/// TLP:RED stays home, and what is no TLP that anyone knows counts as red.
fn is_red(tag: &str) -> bool {
    const KNOWN: [&str; 4] = ["clear", "green", "amber", "amber+strict"];
    tag.strip_prefix("tlp:").is_some_and(|colour| !KNOWN.contains(&colour))
}

/// Of what a forbidding tag is taken off: a local one, or any of the event itself.
fn permitted(before: &Event, after: &Event) -> Vec<Uuid> {
    let lost = |before: &[Tag], after: &[Tag], local_only: bool| {
        let red = before.iter().filter(|tag| is_red(&tag.name) && (tag.local || !local_only));
        red.into_iter().any(|tag| !after.contains(tag))
    };
    let mut all = Vec::new();
    if lost(&before.tags, &after.tags, false) {
        all.push(before.uuid);
    }
    for (_, old) in before.all() {
        if after.attribute(old.uuid).is_some_and(|(_, one)| lost(&old.tags, &one.tags, true)) {
            all.push(old.uuid);
        }
    }
    all
}

/// Attributes that differ, and those that are new.
fn changed(before: &Event, after: &Event) -> Vec<Uuid> {
    let same = |one: &Attribute| before.attribute(one.uuid).is_some_and(|(_, old)| old == one);
    after.all().filter(|(_, one)| !same(one)).map(|(_, one)| one.uuid).collect()
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

/// The patterns of a value from [`VALUES`](super::deed::VALUES).
pub(super) fn observables(kind: &str, value: &str) -> Vec<String> {
    let (first, last) = value.split_once('|').unwrap_or((value, value));
    let ip = |value: &str| {
        let version = if value.contains(':') { 6 } else { 4 };
        format!("[ipv{version}-addr:value = '{value}']")
    };
    let name = |value: &str| format!("[domain-name:value = '{value}']");
    match kind {
        "ip-src" | "ip-dst" | "ip-dst|port" => vec![ip(first)],
        "domain" | "hostname" => vec![name(value)],
        "domain|ip" => vec![name(first), ip(last)],
        "url" => vec![format!("[url:value = '{}']", value.replace('\'', "\\'"))],
        "sha256" | "filename|sha256" => vec![format!("[file:hashes.'SHA-256' = '{last}']")],
        "md5" => vec![format!("[file:hashes.MD5 = '{value}']")],
        "email-src" => vec![format!("[email-addr:value = '{value}']")],
        _ => vec![],
    }
}
