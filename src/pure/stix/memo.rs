//! Caches what the tags and events of earlier indicators gave, because many indicators have the same tags and events.

use std::rc::Rc;

use super::body::Parts;
use super::{TagsSaid, time};
use crate::pure::convert::{ClaimFacts, EventFacts, TagFacts};

/// What the tags and events of earlier indicators gave.
#[derive(Debug, Default)]
pub struct Memo<'a> {
    said: Vec<(Tagged<'a>, TagsSaid)>,
    parts: Vec<(Tagged<'a>, &'a str, Rc<Parts>)>,
    time: Option<(i64, Rc<str>)>,
}

/// An event and the tags of a claim. Two events are the same if they are at the same address, so this type borrows
/// them.
#[derive(Debug, Clone, Copy)]
struct Tagged<'a> {
    event: &'a EventFacts,
    tags: &'a [TagFacts],
}

impl<'a> Tagged<'a> {
    fn new(event: &'a EventFacts, claim: &'a ClaimFacts) -> Self {
        Self { event, tags: &claim.tags }
    }

    fn is(self, other: Self) -> bool {
        std::ptr::eq(self.event, other.event) && self.tags == other.tags
    }
}

/// The most entries of each kind. More are not needed: the claims of one indicator come from few events and have few
/// tags.
const MAX_KEPT: usize = 32;

impl<'a> Memo<'a> {
    /// What the tags of a claim and of its event say.
    pub(super) fn said(
        &mut self,
        event: &'a EventFacts,
        claim: &'a ClaimFacts,
        read: impl FnOnce() -> TagsSaid,
    ) -> TagsSaid {
        let tagged = Tagged::new(event, claim);
        // The newest first: claims stand in the order of their events.
        let known = self.said.iter().rev().find(|(one, _)| one.is(tagged));
        if let Some((_, said)) = known {
            return *said;
        }
        let said = read();
        keep(&mut self.said, (tagged, said));
        said
    }

    /// The parts of an indicator that this claim alone makes.
    pub(super) fn parts(
        &mut self,
        event: &'a EventFacts,
        claim: &'a ClaimFacts,
        make: impl FnOnce() -> Option<Parts>,
    ) -> Option<Rc<Parts>> {
        // The category may become a phase of the kill chain, so it is part of what is remembered.
        let (tagged, category) = (Tagged::new(event, claim), claim.category.as_ref());
        let mut known = self.parts.iter().rev();
        if let Some((.., parts)) = known.find(|(one, of, _)| one.is(tagged) && *of == category) {
            return Some(Rc::clone(parts));
        }
        let parts = Rc::new(make()?);
        keep(&mut self.parts, (tagged, category, Rc::clone(&parts)));
        Some(parts)
    }

    /// Unix milliseconds as STIX writes them.
    pub(super) fn time(&mut self, milliseconds: i64) -> Rc<str> {
        match &self.time {
            Some((known, text)) if *known == milliseconds => Rc::clone(text),
            _ => {
                let text: Rc<str> = time::timestamp(milliseconds).into();
                self.time = Some((milliseconds, Rc::clone(&text)));
                text
            }
        }
    }
}

fn keep<T>(kept: &mut Vec<T>, one: T) {
    if kept.len() >= MAX_KEPT {
        kept.clear();
    }
    kept.push(one);
}
