//! Writes the STIX bundle (STIX 2.1, 8 "STIX Bundle Object"): first the indicators, then the context objects
//! that they need, and last the id of the bundle, which is made of its content. The same claims give the same
//! bytes at any time. So `created` and `modified` are MISP's times here, not the time of sending.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Write};

use uuid::Uuid;

use super::gathered::{Gathered, LeftOut};
use crate::pure::safe;
use crate::pure::stix::{self, ContextKind, ContextObject, Memo, Needed, Verdict};

/// What is known of a bundle when it is written.
#[derive(Debug)]
pub(super) struct WrittenBundle {
    /// Without any object it has no `objects`, since STIX knows no empty lists.
    pub has_objects: bool,
    pub left_out: LeftOut,
}

/// The context objects by kind and id.
type Related<'g> = BTreeMap<(ContextKind, Uuid), RelatedObject<'g>>;

#[derive(Debug)]
struct RelatedObject<'g> {
    /// The time of its state, Unix milliseconds.
    at: i64,
    object: ContextObject,
    /// What was rendered last for it.
    last: Needed<'g>,
}

/// Writes the indicators that are valid after `valid_after` (Unix milliseconds) and what they need, one a line.
///
/// # Errors
/// `out` cannot be written.
pub(super) fn write(
    gathered: &Gathered<'_>,
    valid_after: i64,
    out: &mut impl Write,
) -> io::Result<WrittenBundle> {
    let (mut memo, mut content) = (Memo::default(), blake3::Hasher::new());
    let (mut related, mut left_out) = (Related::new(), LeftOut::new());
    out.write_all(br#"{"type":"bundle""#)?;
    let mut before = ",\"objects\":[\n";
    for object in &gathered.objects {
        let verdict = gathered.verdict(&mut memo, object, valid_after);
        if let Some(indicator) = &verdict.indicator {
            // MISP's time and not now: the same document must give the same bundle.
            let at = changed_at(&verdict);
            let live = stix::live(&indicator.body, indicator.valid_until, at, at);
            write_object(out, before, &live)?;
            before = ",\n";
            content.update(object.stix_id.as_bytes());
            content.update(&indicator.fingerprint.to_le_bytes());
            content.update(&at.to_le_bytes());
            for needed in gathered.needed(object, &verdict) {
                relate(&mut related, needed, at);
            }
        }
        left_out.push(verdict.reasons);
    }
    for RelatedObject { at, object, .. } in related.values() {
        write_object(out, before, &stix::context(&object.body, false, *at, *at))?;
        before = ",\n";
        // Context counts as well: a bundle with other content must have another id.
        content.update(&object.fingerprint.to_le_bytes()).update(&at.to_le_bytes());
    }
    let has_objects = before == ",\n";
    let id = Uuid::new_v5(&gathered.namespace, content.finalize().as_bytes());
    writeln!(out, "{},\"id\":\"bundle--{id}\"}}", if has_objects { "\n]" } else { "" })?;
    Ok(WrittenBundle { has_objects, left_out })
}

fn write_object(out: &mut impl Write, before: &str, json: &str) -> io::Result<()> {
    out.write_all(before.as_bytes())?;
    out.write_all(safe::json(json).as_bytes())
}

/// Returns when MISP last changed an attribute that counts, Unix milliseconds.
fn changed_at(verdict: &Verdict<'_>) -> i64 {
    let newest = verdict.admitted.iter().map(|claim| claim.claim.timestamp).max();
    newest.unwrap_or_default().saturating_mul(1_000)
}

/// Adds a context object. It is as old as its event, or as the indicator if the event's time is unknown.
fn relate<'g>(related: &mut Related<'g>, needed: Needed<'g>, changed_at: i64) {
    let at = match needed.timestamp {
        0 => changed_at,
        timestamp => timestamp.saturating_mul(1_000),
    };
    match related.entry((needed.kind, needed.id)) {
        Entry::Vacant(place) => {
            let object = needed.render();
            object.map(|object| place.insert(RelatedObject { at, object, last: needed }));
        }
        Entry::Occupied(mut place) => {
            let known = place.get_mut();
            known.at = at.max(known.at);
            // Indicators of one event stand together and need the same.
            if known.last.is_same_as(&needed) {
                return;
            }
            known.last = needed;
            // Several events may need the same object: the result must not depend on their order.
            if let Some(object) = needed.render().filter(|one| one.outranks(&known.object)) {
                known.object = object;
            }
        }
    }
}
