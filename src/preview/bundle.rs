//! The bundle (STIX 2.1, 8 "STIX Bundle Object"), written object by object.
//!
//! The same claims give the same bytes at any time: `created` and `modified`, which `run` sets when it
//! sends, are MISP's time of the newest attribute, and the bundle's id is made of what is in it.

use std::io::{self, Write};

use uuid::Uuid;

use super::gathered::{Gathered, Object};
use super::skipped::SkippedLines;
use crate::convert::Reason;
use crate::stix::{self, Indicator};

/// Writes the indicators that are valid after `valid_after` (Unix milliseconds), one a line, and
/// tells of the others. A bundle without any has no `objects`, since STIX knows no empty lists.
///
/// # Errors
/// `out` or `skipped` cannot be written.
pub(super) fn write(
    gathered: &Gathered<'_>,
    valid_after: i64,
    out: &mut impl Write,
    skipped: &mut SkippedLines<impl Write>,
) -> io::Result<()> {
    let id = id(gathered, valid_after);
    write!(out, "{{\"type\":\"bundle\",\"id\":\"bundle--{id}\"")?;
    let mut before = ",\"objects\":[\n";
    for object in &gathered.objects {
        let Some(indicator) = indicator(gathered, object, valid_after) else {
            for named in gathered.claimants(object) {
                skipped.claim(named, &object.observable, Reason::Expired)?;
            }
            continue;
        };
        let at = object.changed_at();
        write!(out, "{before}{}", stix::live(&indicator.body, indicator.valid_until, at, at))?;
        before = ",\n";
    }
    let has_objects = before == ",\n";
    writeln!(out, "{}", if has_objects { "\n]}" } else { "}" })
}

/// UUIDv5 of all that is in the bundle. Merging twice is cheaper than keeping every object.
fn id(gathered: &Gathered<'_>, valid_after: i64) -> Uuid {
    let mut content = blake3::Hasher::new();
    for object in &gathered.objects {
        if let Some(indicator) = indicator(gathered, object, valid_after) {
            content.update(object.stix_id.as_bytes());
            content.update(&indicator.fingerprint.to_le_bytes());
            content.update(&object.changed_at().to_le_bytes());
        }
    }
    Uuid::new_v5(&gathered.namespace, content.finalize().as_bytes())
}

/// `None` if it has expired: what has is never sent.
fn indicator(gathered: &Gathered<'_>, object: &Object<'_>, valid_after: i64) -> Option<Indicator> {
    gathered.indicator(object).filter(|indicator| indicator.valid_until > valid_after)
}
