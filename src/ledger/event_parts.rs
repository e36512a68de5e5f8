//! Reads the long lists of an event part by part. A document in memory is one part. Of a document in a spool, only the
//! head and one part are in memory at a time.

use std::io;
use std::ops::ControlFlow;

use thiserror::Error;

use crate::document::Spool;
use crate::pure::convert::{Clusters, EventFacts};
use crate::pure::misp::{CutEvent, Event, EventCutter, NotAnEvent, NotToBeCut};

/// The number of bytes that are cut at a time.
const STEP: u64 = 256 << 10;

/// The size of a part in bytes. About this much of a spooled event is in memory. An object is never cut.
const PART: u64 = 1 << 20;

/// An event with the place of its lists.
#[derive(Debug)]
pub(super) struct EventParts<'d> {
    /// The event, without its lists where they are spooled.
    pub head: Event<'d>,
    spooled: Option<SpooledLists<'d>>,
}

#[derive(Debug)]
struct SpooledLists<'d> {
    spool: &'d Spool,
    cut: &'d CutEvent,
}

/// The reason why a part of an event cannot be read.
#[derive(Debug, Error)]
pub(super) enum Unread {
    #[error("{0}")]
    NoEvent(#[from] NotAnEvent),
    #[error("it is no document that can be cut")]
    Uncut,
    #[error("it cannot be read back from the data folder: {0}")]
    Disk(#[from] io::Error),
}

impl From<Unread> for NotAnEvent {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::NoEvent(refusal) => refusal,
            unread @ (Unread::Uncut | Unread::Disk(_)) => Self::Other(unread.to_string()),
        }
    }
}

/// Cuts a spooled document.
pub(super) fn cut(spool: &Spool) -> Result<CutEvent, Unread> {
    let mut cutter = EventCutter::new(PART);
    let mut begin = 0;
    while begin < spool.length() {
        let end = spool.length().min(begin + STEP);
        let step = spool.read(&(begin..end))?;
        cutter.take(&step).map_err(|NotToBeCut| Unread::Uncut)?;
        begin = end;
    }
    Ok(cutter.finish())
}

impl<'d> EventParts<'d> {
    pub(super) fn whole(document: &'d [u8]) -> Result<Self, NotAnEvent> {
        Ok(Self { head: Event::parse(document)?, spooled: None })
    }

    pub(super) fn spooled(spool: &'d Spool, cut: &'d CutEvent) -> Result<Self, Unread> {
        let head = Event::parse(&cut.head)?;
        // PHP writes a list with holes as an object, which is not cut.
        if !head.lists_nothing() {
            return Err(Unread::Uncut);
        }
        Ok(Self { head, spooled: Some(SpooledLists { spool, cut }) })
    }

    /// Gives `take` the parts, each as an event that holds only it, until it has enough.
    pub(super) fn each(
        &self,
        mut take: impl FnMut(&Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Unread> {
        let Some(SpooledLists { spool, cut }) = &self.spooled else {
            return Ok(take(&self.head));
        };
        for part in &cut.parts {
            let mut text = spool.read(&part.place)?;
            if take(&part.read(&self.head, &mut text)?).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether anything in it is for the own organisation or a sharing group only.
    pub(super) fn is_restricted(&self) -> Result<bool, Unread> {
        let restricted = |part: &Event<'_>| match part.is_restricted() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        Ok(!self.head.audience().is_open() || self.each(restricted)?.is_break())
    }

    /// Returns the facts of the event, and gives `take` everything of it that counts, for hashing: the same as
    /// [`Event::content`] gives of the whole.
    pub(super) fn facts(&self, mut take: impl FnMut(&[u8])) -> Result<EventFacts, Unread> {
        let head = &self.head;
        let Some(SpooledLists { cut, .. }) = &self.spooled else {
            head.content(take);
            return Ok(head.facts());
        };
        head.content_of_head(cut.attributes, &mut take);
        let mut clusters = Clusters::default();
        clusters.take(head);
        let lists = self.each(|part| {
            part.content_of_lists(&mut take);
            clusters.take(part);
            ControlFlow::Continue(())
        });
        lists.map(|_| EventFacts { clusters: clusters.finish(), ..head.facts() })
    }
}
