//! Decides how far a snapshot counts. A snapshot from the feed or the webhook is a hint, and may be older than what the
//! ledger knows. A snapshot from a read is MISP's answer, and counts as far as it shows what was published.

use super::sql::{Result, Transaction};
use super::tables::tag_changes::{self, TagChanges};
use super::tables::tombstones::Tombstone;
use super::tags;
use crate::config::OnUnpublish;
use crate::pure::convert::{ClaimFacts, EventFacts, TagFacts};
use crate::pure::misp::{Audience, Event};

/// Who says what a snapshot says.
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
    /// Of the event in the ledger, when the request began.
    pub sequence: i64,
    /// MISP's clock, Unix seconds.
    pub date: i64,
    pub published: bool,
    /// Unix seconds; 0: never published.
    pub publication: i64,
    /// Whether the key shows the view that filled the ledger. By another nothing is added, and what is
    /// absent may only be hidden.
    pub of_our_view: bool,
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
}

impl Shown {
    pub(super) fn new(event: &Event<'_>, asked: Asked, on_unpublish: OnUnpublish) -> Self {
        let Asked { began, sequence, date, selected, of_our_view } = asked;
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
            as_published_until,
            keeps_published,
        }
    }

    /// Whether an attribute is shown as it was published: untouched since.
    pub(super) fn counts(&self, facts: &ClaimFacts) -> bool {
        facts.timestamp <= self.as_published_until
    }

    /// Takes out what is told beside an attribute and was touched since the publication.
    pub(super) fn less_unpublished(&self, facts: &mut ClaimFacts) {
        if let Some(object) = &mut facts.object {
            object.siblings.retain(|sibling| sibling.timestamp <= self.as_published_until);
        }
    }

    /// Whether what was published stands at all.
    pub(super) fn keeps_published(&self) -> bool {
        self.keeps_published
    }

    /// A published claim, less what was taken back by what MISP shows `now`.
    pub(super) fn less_taken_back(&self, before: ClaimFacts, now: &ClaimFacts) -> ClaimFacts {
        let mut tags = now.tags.clone();
        tags::mark_changed(&before.tags, self.began / 1_000, &mut tags);
        let known: Vec<Audience> =
            ClaimFacts { also: Vec::new(), ..before.clone() }.below().collect();
        let also = now.below().filter(|one| !known.contains(one)).collect();
        // An unpublished edit forbids at once and permits nothing, so the published claim and the shown one must agree.
        ClaimFacts { to_ids: before.to_ids && now.to_ids, tags, also, ..before }
    }

    /// What goes into the content's fingerprint: the same attributes count differently.
    pub(super) fn salt(&self) -> [i64; 2] {
        [self.as_published_until, i64::from(self.keeps_published) + 1]
    }
}

/// A publication from before an edit of the event's audience does not undo it.
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

/// How long after an event's deletion a read must have begun to bring it back, milliseconds.
const AFTER_DELETION: i64 = 2_000;

/// A difference that no request lasts, milliseconds.
const CLOCK: i64 = 3_600_000;

impl Origin {
    /// The tag changes that count against a snapshot: a push may be from before them, and a read from before those
    /// that were heard since it began.
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

    pub(super) fn is_read(&self) -> bool {
        matches!(self, Self::Read(_))
    }

    /// Whether the read began before something that the ledger knows. A deletion in the future is one
    /// from before the relay's clock was set back.
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

    /// Up to when this tells what was announced or missed, Unix milliseconds.
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

    /// Reconciles what a snapshot says of its event with what was known `before`: neither a push that
    /// may be older nor an answer about an unpublished event permits what was forbidden since.
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

    /// As [`tags::keep_attached`], of a push with this `Event.timestamp`.
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

    /// What an unpublished edit of the event's distribution allows counts only once it is published.
    fn keep_audience(&self, before: &EventFacts, facts: &mut EventFacts) {
        let Self::Read(shown) = self else { return };
        if shown.as_published_until == i64::MAX || before.uuid.is_nil() {
            return;
        }
        let published = before.also.clone().unwrap_or_else(|| before.shared());
        facts.also = Some(published).filter(|published| published.audience != facts.audience());
    }

    /// Whether this is a read that began after what a tombstone tells of.
    pub(super) fn outdates(&self, tombstone: &Tombstone) -> bool {
        let Self::Read(shown) = self else { return false };
        shown.of_our_view && tombstone.withdrawn_at < shown.began
    }
}
