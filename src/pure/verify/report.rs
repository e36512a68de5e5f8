//! The report of `verify` on one target, as data and as text.

use serde::{Deserialize, Serialize};

use super::cleaning::Cleaning;
use super::listed::{CountedExamples, list};
use crate::pure::count::Count;
use crate::pure::safe;

/// A line of the answer to `verify`, `count` or `cleanup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyLine {
    /// How many objects were looked at so far.
    Progress {
        target: String,
        looked_at: u64,
        of: u64,
    },
    /// The counts of both sides, before the comparison.
    Counted {
        target: String,
        sentinel: u64,
        ledger: AcceptedCount,
    },
    Report(Box<VerifyReport>),
    /// The report of `cleanup`.
    Cleaned(Box<Cleaning>),
}

/// How many objects a target accepted, as the ledger knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedCount {
    /// Objects that are valid now.
    pub live: u64,
    /// Objects that were withdrawn or have expired.
    pub ended: u64,
}

/// The comparison of one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    pub target: String,
    pub sourcesystem: String,
    /// How many objects of the source system Sentinel showed.
    pub looked_at: u64,
    pub same: u64,
    /// Objects whose validity is over in Sentinel, as it should.
    #[serde(default)]
    pub ended: u64,
    /// Objects of this relay that the ledger does not know: what its indicators name, and relationships that it
    /// made.
    #[serde(default)]
    pub unknown: u64,
    /// Objects that are still to be sent, are on their way, or were refused.
    pub moving: u64,
    /// Objects that were accepted so lately that Sentinel may not show them yet.
    pub not_yet: u64,
    pub missing: CountedExamples,
    pub different: CountedExamples,
    pub left_over: CountedExamples,
    /// Objects that an ingestion rule or a user changed in Sentinel. They are left as they are.
    #[serde(default)]
    pub changed: CountedExamples,
    /// Withdrawn objects to which an ingestion rule in Sentinel gave another end. No repair lasts.
    #[serde(default)]
    pub revived: CountedExamples,
    /// How many of those left over no repair withdraws: the ledger does not know them, and it has not read all
    /// that MISP has published.
    #[serde(default)]
    pub kept: u64,
    /// Live objects under the source system that this relay did not make and the ledger does not know.
    pub foreign: CountedExamples,
    /// How many objects the repair sends again or withdraws. `None`: no repair was asked for.
    pub repaired: Option<u64>,
    /// The reason why the comparison stopped early.
    pub error: Option<String>,
}

impl VerifyReport {
    /// Whether Sentinel holds what it should.
    pub fn is_clean(&self) -> bool {
        self.error.is_none() && self.differing() == 0
    }

    pub fn differing(&self) -> u64 {
        self.missing.count + self.different.count + self.left_over.count + self.revived.count
    }

    /// Whether nothing is left for an operator to do.
    pub fn is_mended(&self) -> bool {
        self.is_clean() || self.error.is_none() && self.repaired == Some(self.differing())
    }
}

/// Prints a report for people.
pub fn text(report: &VerifyReport) -> String {
    let mut text = String::new();
    let VerifyReport { target, sourcesystem, looked_at, same, moving, not_yet, .. } = report;
    // Anybody who writes into the workspace may have chosen the patterns and names in it.
    let mut line = |words: String| {
        text.push_str(&safe::line(&words));
        text.push('\n');
    };
    line(format!("{target}: {} of {sourcesystem} looked at", Count(*looked_at, "object")));
    for (count, what) in [
        (*same, "as delivered"),
        (report.ended, "ended, as they should"),
        (report.missing.count, "missing"),
        (report.different.count, "different"),
        (report.left_over.count, "left over"),
        (
            report.changed.count,
            "changed in Sentinel, by an ingestion rule or a user: left as they are",
        ),
        (report.revived.count, "withdrawn, and live again by an ingestion rule"),
        (*not_yet, "too new to tell"),
        (*moving, "still to be sent, on their way, or rejected"),
        (report.unknown, "of this relay, though its ledger does not know them: left as they are"),
        (report.foreign.count, "of somebody else under this source system"),
    ] {
        if count > 0 || what == "as delivered" {
            line(format!("  {count:>8}  {what}"));
        }
    }
    for (title, listed) in [
        ("Missing", &report.missing),
        ("Different", &report.different),
        ("Left over", &report.left_over),
        ("Changed in Sentinel", &report.changed),
        ("Withdrawn, and live again by an ingestion rule", &report.revived),
        ("Of somebody else, left alone", &report.foreign),
    ] {
        list(&mut line, title, listed);
    }
    if report.kept > 0 {
        line(format!(
            "  {} of what is left over cannot be withdrawn: the ledger does not know what it is, and has not read everything in MISP (it needs misp.key, no misp.window, and a `resync` that is done)",
            report.kept
        ));
    }
    if report.revived.count > 0 {
        line(format!(
            "  Nothing is sent for what an ingestion rule makes live again, since the rule would do it again: except the source {sourcesystem} from the rules that extend validity (Sentinel > Threat intelligence > Ingestion rules)"
        ));
    }
    if let Some(error) = &report.error {
        line(format!("  not compared to the end: {error}"));
    }
    if let Some(repaired) = report.repaired {
        let verb = if repaired == 1 { "is" } else { "are" };
        line(format!("  {repaired} of {} {verb} sent again or withdrawn", report.differing()));
    }
    text
}
