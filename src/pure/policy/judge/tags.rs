//! Reads what the tags of a claim and of its event say to policy. Many claims have the same tags, so a caller that
//! judges many claims reads each set of tags once.

use super::Judge;
use crate::pure::convert::{ClaimFacts, EventFacts, Since, TagFacts};
use crate::pure::policy::{Mark, Tlp};

/// What the tags of a claim and of its event mean for policy, published or changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagVerdict {
    /// `None`: no tag is a level.
    pub(super) strictest: Option<Tlp>,
    /// A tag forbids naming the source of the claim.
    pub hides_source: bool,
    pub(super) is_false_positive: bool,
    /// A tag is in `policy.tags_exclude`.
    pub(super) is_excluded: bool,
    /// A published tag is in `policy.tags_include`, or that list is empty.
    pub(super) is_included: bool,
    /// Whether the event's own tags allow a description to mention other attributes of the claim's MISP object.
    pub(super) event_lets_tell: bool,
}

impl Judge {
    /// Reads the tags of a claim and of its event.
    pub fn read_tags(&self, event: &EventFacts, claim: &ClaimFacts) -> TagVerdict {
        let mut verdict = TagVerdict {
            strictest: None,
            hides_source: false,
            is_false_positive: false,
            is_excluded: false,
            is_included: self.tags.include.is_empty(),
            event_lets_tell: false,
        };
        event.tags.iter().for_each(|tag| self.read_tag(&mut verdict, tag));
        let is_lenient = self.level(verdict) <= self.policy.tlp_max;
        verdict.event_lets_tell = is_lenient && verdict.is_included;
        claim.tags.iter().for_each(|tag| self.read_tag(&mut verdict, tag));
        verdict
    }

    /// The strictest level that the event's own tags say; else that of untagged.
    pub fn event_level(&self, event: &EventFacts) -> Tlp {
        let levels = event.tags.iter().filter_map(|tag| match self.marks.read(&tag.name) {
            Some(Mark::Level(level)) => Some(level),
            Some(Mark::HidesSource) | None => None,
        });
        levels.max().unwrap_or(self.policy.tlp_untagged.judged())
    }

    /// The verdict under the markings too that another source shows of the attribute, on it or on its event. What is
    /// untagged there raises nothing, and all other tags count with the claim of their own source.
    #[must_use]
    pub fn raised(
        &self,
        mut verdict: TagVerdict,
        event: &EventFacts,
        tags: &[TagFacts],
    ) -> TagVerdict {
        event.tags.iter().chain(tags).for_each(|tag| self.read_mark(&mut verdict, tag));
        verdict
    }

    fn read_mark(&self, verdict: &mut TagVerdict, tag: &TagFacts) {
        match self.marks.read(&tag.name) {
            Some(Mark::Level(level)) => verdict.strictest = verdict.strictest.max(Some(level)),
            Some(Mark::HidesSource) => verdict.hides_source = true,
            None => {}
        }
    }

    fn read_tag(&self, verdict: &mut TagVerdict, tag: &TagFacts) {
        self.read_mark(verdict, tag);
        verdict.is_false_positive |= self.false_positives.includes(&tag.name);
        verdict.is_excluded |= self.tags.excludes(&tag.name);
        let is_standing = tag.since == Since::Published;
        verdict.is_included |= is_standing && self.tags.includes(&tag.name);
    }

    /// The strictest level that tags of these names say; else that of untagged.
    pub fn strictest<'t>(&self, names: impl Iterator<Item = &'t str>) -> Tlp {
        let levels = names.filter_map(|name| match self.marks.read(name)? {
            Mark::Level(level) => Some(level),
            Mark::HidesSource => None,
        });
        levels.max().unwrap_or(self.policy.tlp_untagged.judged())
    }

    /// Whether tags of these names say a level that may not leave.
    pub fn is_too_strict<'t>(&self, names: impl Iterator<Item = &'t str>) -> bool {
        let marks = names.filter_map(|name| self.marks.read(name));
        let mut too_strict = marks.filter(|mark| match mark {
            Mark::Level(level) => *level > self.policy.tlp_max,
            Mark::HidesSource => false,
        });
        too_strict.next().is_some()
    }

    /// The strictest level of the tags, or the level of `policy.tlp_untagged` if no tag has one.
    pub(super) fn level(&self, tags: TagVerdict) -> Tlp {
        tags.strictest.unwrap_or(self.policy.tlp_untagged.judged())
    }
}
