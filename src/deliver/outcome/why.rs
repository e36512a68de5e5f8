//! Says why something failed, with the words of the other side apart from ours: they may quote what was sent, and the
//! page may have to leave them out.

use std::fmt;

use crate::azure::reply::Reply;

/// Why something failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Why {
    before: String,
    /// The words of the other side. They may hold any value that was sent.
    quoted: String,
    after: String,
}

/// What stands in place of words that are left out.
const LEFT_OUT: &str = " (its words may hold values: `misp-sentinel-relay status` shows them)";

impl Why {
    /// Quotes an answer, behind its status.
    pub(super) fn of_reply(reply: &Reply) -> Self {
        let status = format!("HTTP {}", reply.status);
        let words = reply.words();
        let quoted = words.strip_prefix(&status).unwrap_or(&words).to_owned();
        Self { before: status, quoted, after: String::new() }
    }

    /// Adds words of ours at the end.
    #[must_use]
    pub fn and(mut self, words: &str) -> Self {
        self.after.push_str(words);
        self
    }

    /// Adds words of ours at the beginning.
    #[must_use]
    pub fn under(mut self, words: &str) -> Self {
        self.before.insert_str(0, words);
        self
    }

    /// Returns the reason without the words of the other side.
    #[must_use]
    pub fn unquoted(&self) -> String {
        let Self { before, quoted, after } = self;
        let left_out = if quoted.is_empty() { "" } else { LEFT_OUT };
        format!("{before}{left_out}{after}")
    }
}

/// Words of ours alone.
impl From<String> for Why {
    fn from(words: String) -> Self {
        Self { before: words, ..Self::default() }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, quoted, after } = self;
        write!(f, "{before}{quoted}{after}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_side_says_can_be_left_out() {
        let body = br#"{"error":{"code":"Bad","message":"evil.example is no domain"}}"#.to_vec();
        let why = Why::of_reply(&Reply { status: 400, body, ..Reply::default() });
        let why = why.and("; check the target").under("every request is refused: ");
        assert_eq!(
            why.to_string(),
            "every request is refused: HTTP 400 Bad: evil.example is no domain; check the target"
        );
        assert_eq!(
            why.unquoted(),
            format!("every request is refused: HTTP 400{LEFT_OUT}; check the target")
        );
    }

    #[test]
    fn words_of_ours_stay() {
        let bare = Why::of_reply(&Reply { status: 503, ..Reply::default() });
        assert_eq!(bare.unquoted(), "HTTP 503");
        assert_eq!(Why::from("connection reset".to_owned()).unquoted(), "connection reset");
    }
}
