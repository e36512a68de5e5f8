//! Decides how far a snapshot counts. A snapshot from the feed or the webhook is a hint, and may be older than what the
//! ledger knows. A snapshot from a read is MISP's answer, and counts as far as it shows what was published.

use super::sql::{Result, Transaction};
use super::tables::tag_changes::{self, TagChanges};
use super::tables::tombstones::Tombstone;
use super::tags;
use crate::config::OnUnpublish;
use crate::pure::convert::{ClaimFacts, EventFacts, TagFacts};
use crate::pure::misp::{Audience, Event};

/// Where a snapshot comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// A publication from the feed, with the time at which it arrived, Unix seconds.
    Push { received: i64 },
    /// A direct REST read.
    Read(Shown),
}

/// What a read shows besides the event itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    /// When the request began, Unix milliseconds.
    pub began: i64,
    /// The sequence of the event in the ledger when the request began.
    pub sequence: i64,
    /// MISP's clock, Unix seconds.
    pub date: i64,
    pub published: bool,
    /// Unix seconds; 0: never published.
    pub publication: i64,
    /// Whether the key shows the view that filled the ledger. A read by a key with another view adds nothing, and what
    /// is absent from it may only be hidden.
    pub of_our_view: bool,
    /// Whether the key is a site administrator's. MISP shows deleted attributes of other organisations' events to no
    /// ordinary user.
    pub sees_all: bool,
    /// Attributes up to this time are as they were published, Unix seconds.
    as_published_until: i64,
    keeps_published: bool,
}

/// How the answer came about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub began: i64,
    pub sequence: i64,
    pub date: i64,
    pub selected: bool,
    pub of_our_view: bool,
    pub sees_all: bool,
}

impl Shown {
    pub(super) fn new(event: &Event<'_>, asked: Asked, on_unpublish: OnUnpublish) -> Self {
        let Asked { began, sequence, date, selected, of_our_view, sees_all } = asked;
        let published = event.published;
        let publication = event.publish_timestamp;
        let keeps_published = published || publication > 0 && on_unpublish == OnUnpublish::Keep;
        // What `misp.search` does not select, or a key with another view shows, adds nothing.
        let may_add = selected && of_our_view;
        // `i64::MIN` lets nothing of the read count, and `i64::MAX` everything: a published event shows what it published.
        let as_published_until = match (may_add && keeps_published, published) {
            (false, _) => i64::MIN,
            (true, true) => i64::MAX,
            (true, false) => publication,
        };
        Self {
            began,
            sequence,
            date,
            published,
            publication,
            of_our_view,
            sees_all,
            as_published_until,
            keeps_published,
        }
    }

    /// Whether an attribute is shown as it was published, without a later edit.
    pub(super) fn counts(&self, facts: &ClaimFacts) -> bool {
        facts.timestamp <= self.as_published_until
    }

    /// Removes the other attributes that a description would mention, if they were edited since the publication.
    pub(super) fn less_unpublished(&self, facts: &mut ClaimFacts) {
        if let Some(object) = &mut facts.object {
            object.siblings.retain(|sibling| sibling.timestamp <= self.as_published_until);
        }
    }

    /// Whether what it says of an attribute counts for the copies in other sources. What is beyond the source's search or
    /// the key's view is no part of the source.
    pub(super) fn says_of_copies(&self) -> bool {
        self.keeps_published && self.as_published_until != i64::MIN
    }

    /// Whether the last publication still counts.
    pub(super) fn keeps_published(&self) -> bool {
        self.keeps_published
    }

    /// Returns a published claim, less what was taken back according to what MISP shows `now`.
    pub(super) fn less_taken_back(&self, before: ClaimFacts, now: &ClaimFacts) -> ClaimFacts {
        let mut tags = now.tags.clone();
        tags::mark_changed(&before.tags, self.began / 1_000, &mut tags);
        let known: Vec<Audience> =
            ClaimFacts { also: Vec::new(), ..before.clone() }.below().collect();
        let also = now.below().filter(|one| !known.contains(one)).collect();
        // An unpublished edit forbids at once and permits nothing, so the published claim and the shown one must agree.
        ClaimFacts { to_ids: before.to_ids && now.to_ids, tags, also, ..before }
    }

    /// A part of the content's fingerprint, because the same attributes count differently in another kind of read.
    pub(super) fn salt(&self) -> [i64; 2] {
        [self.as_published_until, i64::from(self.keeps_published) + 1]
    }
}

/// Keeps an edit of the event's audience if the publication is older than the edit.
fn keep_narrowed(before: &EventFacts, facts: &mut EventFacts) {
    // A publication of the very second of the edit holds it already.
    if facts.timestamp >= before.narrowed_at {
        return;
    }
    facts.also = Some(facts.shared()).filter(|published| published.audience != before.audience());
    facts.distribution = before.distribution;
    facts.sharing_group_id = before.sharing_group_id;
    facts.sharing_group.clone_from(&before.sharing_group);
    facts.narrowed_at = before.narrowed_at;
}

/// A read brings a deleted event back only if it began this many milliseconds after the deletion.
const AFTER_DELETION: i64 = 2_000;

/// No request takes this many milliseconds, so a larger difference comes from a clock that stepped.
const CLOCK: i64 = 3_600_000;

impl Origin {
    /// Returns the tag changes that a snapshot may not show. A push may be older than any of them. A read may be older
    /// than those that were heard since it began.
    pub(super) fn tags_heard(
        &self,
        tx: &Transaction<'_>,
        source: &str,
        facts: &EventFacts,
    ) -> Result<TagChanges> {
        let since = match self {
            Self::Push { .. } => tag_changes::reaching(self.taken(facts.timestamp)),
            Self::Read(shown) => shown.began,
        };
        tag_changes::since(tx, source, facts.id, since)
    }

    /// Whether what it says of an attribute counts for the copies in other sources. What was never published says nothing
    /// to others.
    pub(super) fn says_of_copies(&self) -> bool {
        match self {
            Self::Push { .. } => true,
            Self::Read(shown) => shown.says_of_copies(),
        }
    }

    pub(super) fn is_read(&self) -> bool {
        matches!(self, Self::Read(_))
    }

    /// Whether the read began before a notice or a deletion that the ledger has applied. A deletion in the future was
    /// noted before the relay's clock was set back.
    pub(super) fn is_overtaken(&self, sequence: i64, deleted_at: Option<i64>) -> bool {
        let Self::Read(shown) = self else { return false };
        let just = |at: i64| {
            let after = shown.began.saturating_sub(at);
            // A read that began so soon after a deletion may still show the event.
            (-CLOCK..AFTER_DELETION).contains(&after)
        };
        sequence != shown.sequence || deleted_at.is_some_and(just)
    }

    /// Whether it is a read of an event that the ledger knew when the request began.
    pub(super) fn is_of_known(&self) -> bool {
        matches!(self, Self::Read(shown) if shown.sequence > 0)
    }

    /// The time up to which this snapshot settles what was announced or missed, Unix milliseconds.
    pub(super) fn told_at(&self) -> i64 {
        match self {
            Self::Push { .. } => i64::MAX,
            Self::Read(shown) => shown.began,
        }
    }

    /// When a snapshot with this `Event.timestamp` was taken, Unix seconds of our clock, as far as that can be told.
    /// It was not taken after it arrived, however far MISP's clock is ahead.
    pub(super) fn taken(&self, timestamp: i64) -> i64 {
        match self {
            Self::Push { received } => timestamp.min(*received),
            Self::Read(shown) => shown.began / 1_000,
        }
    }

    /// Reconciles a snapshot's facts of its event with those known `before`. A push may be older, and an answer about
    /// an unpublished event is not published. So neither permits what was forbidden since.
    pub(super) fn reconcile(&self, before: &EventFacts, facts: &mut EventFacts) {
        match self {
            Self::Push { .. } => {
                self.keep_attached(&before.tags, facts.timestamp, &mut facts.tags);
                keep_narrowed(before, facts);
            }
            // A published event counts as it stands.
            Self::Read(shown) if shown.as_published_until == i64::MAX => {}
            Self::Read(shown) => {
                tags::mark_changed(&before.tags, shown.began / 1_000, &mut facts.tags);
                self.keep_audience(before, facts);
            }
        }
    }

    /// Calls [`tags::keep_attached`] for a push with this `Event.timestamp`.
    pub(super) fn keep_attached(
        &self,
        before: &[TagFacts],
        timestamp: i64,
        tags: &mut Vec<TagFacts>,
    ) -> bool {
        let Self::Push { received } = *self else { return false };
        let pushed = tags::Pushed { taken: self.taken(timestamp), received };
        tags::keep_attached(before, pushed, tags)
    }

    /// Keeps the published audience beside an unpublished edit of the event's distribution. So what the edit allows
    /// counts only after a publication.
    fn keep_audience(&self, before: &EventFacts, facts: &mut EventFacts) {
        let Self::Read(shown) = self else { return };
        if shown.as_published_until == i64::MAX || before.uuid.is_nil() {
            return;
        }
        let published = before.also.clone().unwrap_or_else(|| before.shared());
        facts.also = Some(published).filter(|published| published.audience != facts.audience());
    }

    /// Whether this is a read that began after the withdrawal that a tombstone records.
    pub(super) fn outdates(&self, tombstone: &Tombstone) -> bool {
        let Self::Read(shown) = self else { return false };
        shown.of_our_view && tombstone.withdrawn_at < shown.began
    }
}
