//! The type `Diagnosis`: one finding of the command `check`. It is printed as text for people or as a line of
//! JSON, and its severity decides the exit code. Pure.

use std::fmt::Display;

use serde::Serialize;

use crate::pure::safe;

/// How bad a finding is. The worst one decides the exit code.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub(in crate::commands) enum Severity {
    Ok,
    /// It could not be checked, or is neither good nor bad.
    Note,
    /// It works, but probably not as it is meant.
    #[strum(serialize = "WARNING")]
    Warning,
    /// It does not work.
    #[strum(serialize = "ERROR")]
    Error,
}

/// The finding on one thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::commands) struct Diagnosis {
    /// What was checked, e.g. `host`, `zeromq` or `token`.
    pub step: &'static str,
    /// Which of them: an address, a target, a key of the configuration. May be empty.
    pub subject: String,
    /// The source that was checked, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    pub severity: Severity,
    /// What was seen.
    pub evidence: String,
    /// What to do about it; `None` if there is nothing to do.
    pub remedy: Option<String>,
}

/// What a step finds. An error is the finding that ended the step; it is reported like the others.
pub(super) type Found<T = Vec<Diagnosis>> = Result<T, Diagnosis>;

/// What a diagnosis is about: the step, and which of its subjects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'s>(pub &'static str, pub &'s str);

impl Subject<'_> {
    pub(super) fn ok(self, evidence: impl Display) -> Diagnosis {
        self.diagnosis(Severity::Ok, evidence, "")
    }

    pub(super) fn note(self, evidence: impl Display) -> Diagnosis {
        self.diagnosis(Severity::Note, evidence, "")
    }

    pub(super) fn warning(self, evidence: impl Display, remedy: impl Display) -> Diagnosis {
        self.diagnosis(Severity::Warning, evidence, remedy)
    }

    pub(super) fn error(self, evidence: impl Display, remedy: impl Display) -> Diagnosis {
        self.diagnosis(Severity::Error, evidence, remedy)
    }

    /// Makes an error of another room's message, in which the remedy follows `separator`.
    pub(super) fn failed(self, error: impl Display, separator: &str) -> Diagnosis {
        let words = error.to_string();
        let (seen, remedy) = words.split_once(separator).unwrap_or((&words, ""));
        self.error(seen, remedy)
    }

    fn diagnosis(
        self,
        severity: Severity,
        evidence: impl Display,
        remedy: impl Display,
    ) -> Diagnosis {
        // Servers can put anything into these words: they must not look like further findings.
        let one_line = |text: String| safe::line(&text).into_owned();
        let remedy = Some(one_line(remedy.to_string())).filter(|remedy| !remedy.is_empty());
        let Self(step, subject) = self;
        let (subject, evidence) = (subject.to_owned(), one_line(evidence.to_string()));
        Diagnosis { step, subject, source: None, severity, evidence, remedy }
    }
}

impl Diagnosis {
    /// The same finding, on this source.
    pub(super) fn of_source(self, source: &str) -> Self {
        Self { source: Some(source.to_owned()), ..self }
    }

    /// Returns the text for people. The remedy stands on a line below.
    pub(in crate::commands) fn text(&self) -> String {
        let Self { step, subject, evidence, severity, .. } = self;
        let (word, named): (&str, _) = (severity.into(), format!("{step} {subject}"));
        let of = self.source.as_ref().map_or_else(String::new, |source| format!(" ({source})"));
        let mut text = format!("{word:<8} {}{of}: {evidence}\n", named.trim_end());
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!("{:<8}   -> {remedy}\n", ""));
        }
        text
    }

    /// Returns the finding as one line of JSON.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|json| safe::json(&json).into_owned() + "\n")
    }
}

/// Returns all that a step found, in its order.
pub(super) fn told(found: Found) -> Vec<Diagnosis> {
    found.unwrap_or_else(|end| vec![end])
}

/// Returns the exit code, as monitoring plugins use it: 0 well, 1 warnings, 2 errors.
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
        let finding = Subject("misp", "key").error("no\r\nERROR ledger: \u{1b}[31mgone", "");
        assert_eq!(finding.text(), "ERROR    misp key: no\\r\\nERROR ledger: \\u{1b}[31mgone\n");
        assert_eq!(finding.remedy, None);
        let finding = Subject("clock", "").warning("late", "run NTP");
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
