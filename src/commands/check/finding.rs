//! What the doctor says: one finding a line, for people or for machines. Pure.

use serde::Serialize;

use crate::pure::safe;

/// How bad it is; the worst of all decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Ok,
    /// It could not be looked at, or says nothing of good or bad.
    Note,
    /// It works, and probably not as it is meant.
    Warning,
    /// It does not work.
    Error,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, e.g. `host`, `zeromq` or `token`.
    pub step: &'static str,
    /// Which one of it: an address, a target, a key of the configuration; may be empty.
    pub subject: String,
    pub severity: Severity,
    /// What was seen.
    pub evidence: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(step: &'static str, subject: &str, evidence: impl Into<String>) -> Self {
        Self::new(step, subject, Severity::Ok, evidence.into(), None)
    }

    pub(super) fn note(step: &'static str, subject: &str, evidence: impl Into<String>) -> Self {
        Self::new(step, subject, Severity::Note, evidence.into(), None)
    }

    pub(super) fn warning(
        step: &'static str,
        subject: &str,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(step, subject, Severity::Warning, evidence.into(), Some(remedy.into()))
    }

    pub(super) fn error(
        step: &'static str,
        subject: &str,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(step, subject, Severity::Error, evidence.into(), Some(remedy.into()))
    }

    fn new(
        step: &'static str,
        subject: &str,
        severity: Severity,
        evidence: String,
        remedy: Option<String>,
    ) -> Self {
        let one_line = |text: String| safe::line(&text).into_owned();
        let (evidence, remedy) = (one_line(evidence), remedy.map(one_line));
        let remedy = remedy.filter(|remedy| !remedy.is_empty());
        Self { step, subject: subject.to_owned(), severity, evidence, remedy }
    }

    /// For people; the remedy stands below.
    pub(super) fn text(&self) -> String {
        let Self { step, subject, evidence, .. } = self;
        let named = format!("{step} {subject}");
        let mut text = format!("{:<8} {}: {evidence}\n", self.severity.word(), named.trim_end());
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!("{:<8}   -> {remedy}\n", ""));
        }
        text
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|json| safe::json(&json).into_owned() + "\n")
    }
}

/// The exit code, as monitoring plugins have it: 0 well, 1 warnings, 2 errors.
pub(super) fn exit_code(worst: Severity) -> u8 {
    match worst {
        Severity::Ok | Severity::Note => 0,
        Severity::Warning => 1,
        Severity::Error => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_said_stays_in_its_line() {
        let finding = Finding::error("misp", "key", "no\r\nERROR ledger: \u{1b}[31mgone", "");
        assert_eq!(finding.text(), "ERROR    misp key: no\\r\\nERROR ledger: \\u{1b}[31mgone\n");
        assert_eq!(finding.remedy, None);
        let finding = Finding::warning("clock", "", "late", "run NTP");
        assert_eq!(finding.text(), "WARNING  clock: late\n           -> run NTP\n");
        let json = r#"{"step":"clock","subject":"","severity":"warning","evidence":"late","remedy":"run NTP"}"#;
        assert_eq!(finding.json().unwrap().trim_end(), json);
    }

    #[test]
    fn the_worst_decides() {
        let worst = [Severity::Warning, Severity::Ok, Severity::Note].into_iter().max();
        assert_eq!(worst.map(exit_code), Some(1));
        assert_eq!(exit_code(Severity::Error), 2);
        assert_eq!(exit_code(Severity::Note), 0);
    }
}
