//! Warns of each tag that counts as a TLP marking only because of its words, so that the operator can correct that.
//! Each tag is logged once.

use std::collections::HashSet;

use uuid::Uuid;

use super::Views;
use crate::log_event::LogEvent;
use crate::pure::convert::TagFacts;

/// The most tags that are logged. There must be a limit, because anybody may make tags.
const MOST: usize = 1_000;

/// The tags that were logged.
#[derive(Debug, Default)]
pub(super) struct Guessed(HashSet<String>);

impl Guessed {
    /// Logs the tags of an event that were not logged before.
    pub(super) fn tell<'t>(
        &mut self,
        views: &Views,
        event: Uuid,
        tags: impl Iterator<Item = &'t TagFacts>,
    ) {
        for TagFacts { name, .. } in tags {
            if self.0.len() >= MOST || self.0.contains(name) {
                continue;
            }
            let Some(mark) = views.iter().find_map(|view| view.judge.guess(name)) else { continue };
            tracing::warn!(
                event = LogEvent::TagGuessed.word(),
                misp_event = %event,
                tag = name,
                taken_for = mark.tag(),
                "A tag reads as a marking of TLP, and counts as one. If it is none, say so in [policy.tlp_tags]"
            );
            self.0.insert(name.clone());
        }
    }
}
