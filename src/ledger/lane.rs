//! Names the lanes of a target's queue, in the order in which they are sent.

use super::sql::{FromColumn, ValueRef};

/// The order in which changes are sent: withdrawals before live changes, these before the backlog.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::FromRepr, strum::IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
#[repr(i16)]
pub enum Lane {
    Withdrawals,
    Live,
    Backlog,
}

impl Lane {
    /// All of them, the highest first.
    pub const ALL: [Self; 3] = [Self::Withdrawals, Self::Live, Self::Backlog];

    /// The word in metrics, status and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// Its number in the ledger.
    pub(super) fn number(self) -> i16 {
        self as i16
    }
}

impl FromColumn for Lane {
    fn from_column(value: ValueRef<'_>) -> Option<Self> {
        // A lane that nobody knows is the last.
        Some(Self::from_repr(i16::from_column(value)?).unwrap_or(Self::Backlog))
    }
}
