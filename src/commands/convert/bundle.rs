//! Writes the STIX bundle (STIX 2.1, 8 "STIX Bundle Object"): first the indicators, then the context objects
//! that they need. The same claims give the same bytes at any time. So `created` and `modified` are MISP's
//! times here, not the time of sending, and the id of the bundle is made of its content.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Write};

use uuid::Uuid;

use super::gathered::{Gathered, LeftOut};
use crate::pure::safe;
use crate::pure::stix::{self, ContextKind, ContextObject, Verdict};

/// The context objects by kind and id, each with the time of its state, Unix milliseconds.
type Related = BTreeMap<(ContextKind, Uuid), (i64, ContextObject)>;

/// Writes the indicators that are valid after `valid_after` (Unix milliseconds), one a line, and the reasons
/// for the others to `skipped`. Returns whether the bundle has objects: without any it has no `objects`,
/// since STIX knows no empty lists.
///
/// # Errors
/// `out` or `skipped` cannot be written.
pub(super) fn write(
    gathered: &Gathered<'_>,
    valid_after: i64,
    out: &mut impl Write,
    skipped: &mut impl Write,
) -> io::Result<bool> {
    let (id, related, left_out) = survey(gathered, valid_after);
    gathered.write_left_out(&left_out, skipped)?;
    write!(out, "{{\"type\":\"bundle\",\"id\":\"bundle--{id}\"")?;
    let mut before = ",\"objects\":[\n";
    for object in &gathered.objects {
        let verdict = gathered.verdict(object, valid_after);
        let Some(indicator) = &verdict.indicator else { continue };
        // MISP's time and not now: the same document must give the same bundle.
        let at = changed_at(&verdict);
        let live = stix::live(&indicator.body, indicator.valid_until, at, at);
        write!(out, "{before}{}", safe::json(&live))?;
        before = ",\n";
    }
    for (at, object) in related.values() {
        let context = stix::context(&object.body, false, *at, *at);
        write!(out, "{before}{}", safe::json(&context))?;
        before = ",\n";
    }
    let has_objects = before == ",\n";
    writeln!(out, "{}", if has_objects { "\n]}" } else { "}" })?;
    Ok(has_objects)
}

/// Returns what has to be known before the first byte is written: the UUIDv5 of the bundle's content, what
/// its indicators need, and what is left out. To merge twice is cheaper than to keep every object.
fn survey(gathered: &Gathered<'_>, valid_after: i64) -> (Uuid, Related, LeftOut) {
    let (mut related, mut left_out) = (Related::new(), LeftOut::new());
    let mut content = blake3::Hasher::new();
    for object in &gathered.objects {
        let verdict = gathered.verdict(object, valid_after);
        if let Some(indicator) = &verdict.indicator {
            let changed_at = changed_at(&verdict);
            content.update(object.stix_id.as_bytes());
            content.update(&indicator.fingerprint.to_le_bytes());
            content.update(&changed_at.to_le_bytes());
            for needed in gathered.needed(object, &verdict) {
                relate(&mut related, needed, changed_at);
            }
        }
        left_out.push(verdict.reasons);
    }
    for (at, object) in related.values() {
        // Context counts as well: a bundle with other content must have another id.
        content.update(&object.fingerprint.to_le_bytes()).update(&at.to_le_bytes());
    }
    (Uuid::new_v5(&gathered.namespace, content.finalize().as_bytes()), related, left_out)
}

/// Returns when MISP last changed an attribute that counts, Unix milliseconds.
fn changed_at(verdict: &Verdict<'_>) -> i64 {
    let newest = verdict.admitted.iter().map(|claim| claim.claim.timestamp).max();
    newest.unwrap_or_default().saturating_mul(1_000)
}

/// Adds a context object. It is as old as its event, or as the indicator if the event's time is unknown.
fn relate(related: &mut Related, needed: ContextObject, changed_at: i64) {
    let at = match needed.timestamp {
        0 => changed_at,
        timestamp => timestamp.saturating_mul(1_000),
    };
    // Several events may need the same object: the result must not depend on their order.
    match related.entry((needed.kind, needed.id)) {
        Entry::Vacant(place) => drop(place.insert((at, needed))),
        Entry::Occupied(mut place) => {
            let (known_at, known) = place.get_mut();
            *known_at = at.max(*known_at);
            if needed.outranks(known) {
                *known = needed;
            }
        }
    }
}
