//! Parses MISP's JSON (events, attributes, objects, tags) leniently, from borrowed bytes. It reads an event
//! in two passes: first the head, with the lists cut into elements, then each element on its own.

mod attribute;
mod audience;
mod cut;
mod decay;
mod document;
mod event;
mod galaxy;
mod head;
mod lenient;
pub mod notification;
mod object;
mod sharing_group;
mod sighting;
mod tag;
mod time;

#[cfg(test)]
mod tests;

pub use attribute::{Attribute, Malformed};
pub use audience::{Audience, SHARING_GROUP, stands_under};
pub use cut::{CutEvent, EventCutter, LongList, NotToBeCut, Part};
pub use decay::Decay;
pub use document::{Events, NotAnEvent, events};
pub use event::Event;
pub use galaxy::Cluster;
pub use head::event_uuid;
pub use object::Object;
pub use sharing_group::SharingGroup;
pub use sighting::{Sighting, SightingKind, expires_at, false_positives};
pub use tag::Tag;
