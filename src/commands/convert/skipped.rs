//! Writes what is left out: one line of JSON for each attribute that makes no claim, and for each claim that
//! makes no indicator, with the reason; or a table of the reasons.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;
use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use uuid::Uuid;

use crate::pure::convert::{Claim, Reason, Skipped};
use crate::pure::misp::{Attribute, Malformed};
use crate::pure::safe;

/// A line on what is left out. Members that are not known are `null`; `pattern` and `problem` are absent if
/// they add nothing.
#[derive(Debug, Serialize)]
pub(super) struct SkippedLine<'d> {
    event: Option<Uuid>,
    attribute: Option<Uuid>,
    #[serde(rename = "type")]
    kind: Option<Cow<'d, str>>,
    value: Option<Cow<'d, str>>,
    /// The pattern of the observable that is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl<'d> SkippedLine<'d> {
    /// Makes the line of an attribute that makes no claim.
    pub(super) fn attribute(event: Uuid, attribute: Attribute<'d>, reason: Reason) -> Self {
        let Attribute { uuid, kind, value, .. } = attribute;
        Self::new(event, uuid, kind, value, reason)
    }

    /// Makes the line of a claim that makes no indicator. `problem` adds details.
    pub(super) fn claim(
        event: Uuid,
        claim: &'d Claim,
        reason: Reason,
        problem: Option<String>,
    ) -> Self {
        let Claim { attribute, observable, facts, .. } = claim;
        let (kind, value) = (facts.kind.as_ref().into(), facts.written(observable).into());
        let pattern = Some(observable.pattern());
        Self { pattern, problem, ..Self::new(event, *attribute, kind, value, reason) }
    }

    /// Makes the line of an attribute or object that cannot be read.
    pub(super) fn malformed(event: Uuid, malformed: Malformed<'d>) -> Self {
        let Malformed { uuid: attribute, kind, value, problem, .. } = malformed;
        Self { event: known(event), attribute, kind, value, ..Self::no_event(problem) }
    }

    /// Makes the line of an event that cannot be read.
    pub(super) fn no_event(problem: String) -> Self {
        Self { problem: Some(problem), ..Self::nameless(Reason::Malformed) }
    }

    fn new(
        event: Uuid,
        attribute: Uuid,
        kind: Cow<'d, str>,
        value: Cow<'d, str>,
        reason: Reason,
    ) -> Self {
        let (attribute, kind, value) = (Some(attribute), Some(kind), Some(value));
        Self { event: known(event), attribute, kind, value, ..Self::nameless(reason) }
    }

    fn nameless(reason: Reason) -> Self {
        let (event, attribute, kind, value) = (None, None, None, None);
        Self { event, attribute, kind, value, pattern: None, reason, problem: None }
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", safe::json(&serde_json::to_string(self)?))
    }

    /// Whether it is that of a whole event, which has no name.
    fn is_event(&self) -> bool {
        self.event.is_none() && self.attribute.is_none() && self.kind.is_none()
    }
}

/// What is left out, counted by reason.
#[derive(Debug, Default)]
pub(super) struct Summary(Skipped);

impl Summary {
    /// Counts what a line tells. Why an event cannot be read is told in `out`: no count says it.
    pub(super) fn add(&mut self, line: &SkippedLine<'_>, out: &mut impl Write) -> io::Result<()> {
        match &line.problem {
            Some(problem) if line.is_event() => writeln!(out, "{}", safe::line(problem)),
            _ => {
                self.0.add(line.reason);
                Ok(())
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.total() == 0 {
            return Ok(());
        }
        let mut reasons: Vec<(Reason, u64)> = self.0.iter().collect();
        reasons.sort_by_key(|(_, count)| Reverse(*count));
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(["left out", "reason", ""]);
        for (reason, count) in reasons {
            table.add_row([&count.to_string(), reason.word(), reason.sentence()]);
        }
        if let Some(counts) = table.column_mut(0) {
            counts.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(out, "{}", table.trim_fmt())?;
        writeln!(out, "--skipped shows each of them")
    }
}

fn known(event: Uuid) -> Option<Uuid> {
    (!event.is_nil()).then_some(event)
}
