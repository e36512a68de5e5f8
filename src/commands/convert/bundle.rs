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

/// With the time that they are as of, Unix milliseconds.
type Related = BTreeMap<(ContextKind, Uuid), (i64, ContextObject)>;

/// Writes the indicators that are valid after `valid_after` (Unix milliseconds), one a line, and
/// tells of the others. A bundle without any has no `objects`, since STIX knows no empty lists. Gives back
/// whether it has any.
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

/// What has to be known of a bundle before its first byte is written: the UUIDv5 of all that is in it,
/// what its indicators need, and what is left out. Merging twice is cheaper than keeping every object.
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
        content.update(&object.fingerprint.to_le_bytes()).update(&at.to_le_bytes());
    }
    (Uuid::new_v5(&gathered.namespace, content.finalize().as_bytes()), related, left_out)
}

/// When MISP last changed an attribute that counts, Unix milliseconds.
fn changed_at(verdict: &Verdict<'_>) -> i64 {
    let newest = verdict.admitted.iter().map(|claim| claim.claim.timestamp).max();
    newest.unwrap_or_default().saturating_mul(1_000)
}

/// What is as old as its event, or as the indicator where that is not known.
fn relate(related: &mut Related, needed: ContextObject, changed_at: i64) {
    let at = match needed.timestamp {
        0 => changed_at,
        timestamp => timestamp.saturating_mul(1_000),
    };
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
