//! What is left out, and why: lines of JSON, one for each attribute, or for each observable of an
//! attribute that makes claims.

use std::io::{self, Write};

use serde::Serialize;
use uuid::Uuid;

use crate::pure::convert::Reason;
use crate::pure::misp::{Malformed, NotAnEvent};
use crate::pure::safe;
use crate::pure::stix::Observable;

/// Members that are not known are `null`; `pattern` and `problem` are there where they say more.
#[derive(Debug, Serialize)]
struct Line<'a> {
    event: Option<Uuid>,
    attribute: Option<Uuid>,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    value: Option<&'a str>,
    /// Of the observable that is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// An attribute, as lines name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub event: Uuid,
    pub attribute: Uuid,
    pub kind: &'a str,
    pub value: &'a str,
}

/// Where the lines go.
#[derive(Debug)]
pub(super) struct SkippedLines<W>(W);

impl<W: Write> SkippedLines<W> {
    pub(super) fn new(out: W) -> Self {
        Self(out)
    }

    /// An attribute that makes no claim.
    pub(super) fn attribute(&mut self, named: Named<'_>, reason: Reason) -> io::Result<()> {
        self.write(&Line::new(named, reason))
    }

    /// A claim that makes no indicator.
    pub(super) fn claim(
        &mut self,
        named: Named<'_>,
        observable: &Observable,
        reason: Reason,
    ) -> io::Result<()> {
        let pattern = Some(observable.pattern());
        self.write(&Line { pattern, ..Line::new(named, reason) })
    }

    /// A claim whose tags are too strict, with what is to be said of those.
    pub(super) fn too_strict(
        &mut self,
        named: Named<'_>,
        observable: &Observable,
        markings: &[String],
    ) -> io::Result<()> {
        let pattern = Some(observable.pattern());
        let problem = Some(markings.join("; ")).filter(|words| !words.is_empty());
        self.write(&Line { pattern, problem, ..Line::new(named, Reason::TlpTooStrict) })
    }

    /// An attribute or object that cannot be read.
    pub(super) fn malformed(&mut self, event: Uuid, malformed: &Malformed<'_>) -> io::Result<()> {
        self.write(&Line {
            event: known(event),
            attribute: malformed.uuid,
            kind: malformed.kind.as_deref(),
            value: malformed.value.as_deref(),
            ..Line::malformed(malformed.problem.clone())
        })
    }

    /// An event that cannot be read, the one at `position` of the document.
    pub(super) fn event(&mut self, position: usize, problem: &NotAnEvent) -> io::Result<()> {
        let number = position + 1;
        self.write(&Line::malformed(format!("event {number} of the document: {problem}")))
    }

    /// Something else that is to be known, in words.
    pub(super) fn note(&mut self, words: &str) -> io::Result<()> {
        writeln!(self.0, "note: {}", safe::line(words))
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        writeln!(self.0, "{}", safe::json(&serde_json::to_string(line)?))
    }
}

impl<'a> Line<'a> {
    fn new(named: Named<'a>, reason: Reason) -> Self {
        Self {
            event: known(named.event),
            attribute: Some(named.attribute),
            kind: Some(named.kind),
            value: Some(named.value),
            pattern: None,
            reason,
            problem: None,
        }
    }

    fn malformed(problem: String) -> Self {
        Self {
            event: None,
            attribute: None,
            kind: None,
            value: None,
            pattern: None,
            reason: Reason::Malformed,
            problem: Some(problem),
        }
    }
}

fn known(event: Uuid) -> Option<Uuid> {
    (!event.is_nil()).then_some(event)
}
