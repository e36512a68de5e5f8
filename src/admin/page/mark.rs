//! Writes a state with a sign and in words, so that its colour says nothing alone.

use maud::{Markup, html};

use super::words::sentence;

/// How good a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Good,
    /// Neither good nor bad: it only began, or it is under way.
    Neutral,
    Bad,
}

impl Mark {
    fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Neutral => "…",
            Self::Bad => "!",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Neutral => "dim",
            Self::Bad => "bad",
        }
    }

    /// Returns the classes of the box around a verdict.
    pub(super) fn box_class(self) -> &'static str {
        match self {
            Self::Good => "verdict",
            Self::Neutral => "verdict is-neutral",
            Self::Bad => "verdict is-bad",
        }
    }

    /// Writes our own sentence, in which commands stand between backticks.
    pub(super) fn write_sentence(self, words: &str) -> Markup {
        html! { span class=(self.class()) { (self.sign()) " " (sentence(words)) } }
    }

    pub(super) fn write(self, words: &str) -> Markup {
        html! { span class=(self.class()) { (self.sign()) " " (words) } }
    }
}
