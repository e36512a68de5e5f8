//! The table `targets`: where objects are sent, as the last start found it. There are few targets, so most
//! questions read all rows.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ledger::sql::{
    Columns, FromColumn, FromRow, Result, Transaction, ValueRef, row, statements, values,
};

statements! {
    ALL() =
        "SELECT target, mode, workspace, sourcesystem, identity, view FROM targets ORDER BY target";
    ONE(Text) =
        "SELECT target, mode, workspace, sourcesystem, identity, view FROM targets WHERE target = $1";
    STORE(Text, Text, Text, Text, Text, Text) =
        "INSERT INTO targets (target, mode, workspace, sourcesystem, identity, view)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (target) DO UPDATE SET view = excluded.view, mode = excluded.mode,
             workspace = excluded.workspace, sourcesystem = excluded.sourcesystem,
             identity = excluded.identity";
    SET_MODE(Text, Text) = "UPDATE targets SET mode = $2 WHERE target = $1";
    DELETE(Text) = "DELETE FROM targets WHERE target = $1";
}

/// What the relay does with a target's changes.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum TargetMode {
    /// They are sent.
    #[default]
    Live,
    /// They are written to a file.
    DryRun,
    /// The target is configured and not enabled: no change is queued for it, and once it is enabled it is
    /// compared with everything.
    Disabled,
    /// The target is no longer configured.
    Absent,
}

impl TargetMode {
    /// The word in the ledger and in `status`.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// Whether changes are queued for the target.
    fn takes_changes(self) -> bool {
        matches!(self, Self::Live | Self::DryRun)
    }
}

impl FromColumn for TargetMode {
    fn from_column(value: ValueRef<'_>) -> Option<Self> {
        String::from_column(value)?.parse().ok()
    }
}

row! {
    /// A target as the ledger remembers it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct TargetEntry {
        pub target: String,
        pub mode: TargetMode,
        pub workspace: String,
        pub sourcesystem: String,
        /// From what its ids are made, see [`Identity::word`](crate::pure::stix::Identity::word).
        pub identity: String,
    }
}

/// A target, and the view that it saw at the last start.
#[derive(Debug)]
pub(in crate::ledger) struct RegisteredTarget {
    pub entry: TargetEntry,
    pub view: String,
}

impl FromRow for RegisteredTarget {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { entry: TargetEntry::from_row(columns)?, view: columns.take()? })
    }
}

/// A target and the view that it sees.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct TargetView<'a> {
    pub target: &'a str,
    pub view: &'a str,
}

/// All targets, by name.
pub(in crate::ledger) fn all(tx: &Transaction<'_>) -> Result<Vec<RegisteredTarget>> {
    tx.rows(&ALL, &values![])
}

/// Those that the configuration named at the last start.
pub(in crate::ledger) fn present(tx: &Transaction<'_>) -> Result<Vec<RegisteredTarget>> {
    let mut targets = all(tx)?;
    targets.retain(|one| one.entry.mode != TargetMode::Absent);
    Ok(targets)
}

/// The names of those for which changes of a view are queued.
pub(in crate::ledger) fn taking(tx: &Transaction<'_>, view: &str) -> Result<Vec<String>> {
    let is_taking = |one: &RegisteredTarget| one.view == view && one.entry.mode.takes_changes();
    Ok(all(tx)?.into_iter().filter(is_taking).map(|one| one.entry.target).collect())
}

/// The views that targets see, also those that only absent targets saw.
pub(in crate::ledger) fn views(tx: &Transaction<'_>) -> Result<BTreeSet<String>> {
    Ok(all(tx)?.into_iter().map(|one| one.view).collect())
}

pub(in crate::ledger) fn one(
    tx: &Transaction<'_>,
    target: &str,
) -> Result<Option<RegisteredTarget>> {
    tx.row(&ONE, &values![target])
}

/// Calls a function with a target and the view that it sees. Does nothing for a target that the ledger does not know.
pub(in crate::ledger) fn with_view<T: Default>(
    tx: &Transaction<'_>,
    target: &str,
    work: impl FnOnce(TargetView<'_>) -> Result<T>,
) -> Result<T> {
    match one(tx, target)? {
        Some(known) => work(TargetView { target, view: &known.view }),
        None => Ok(T::default()),
    }
}

pub(in crate::ledger) fn store(
    tx: &Transaction<'_>,
    entry: &TargetEntry,
    view: &str,
) -> Result<()> {
    let TargetEntry { target, mode, workspace, sourcesystem, identity } = entry;
    let values = values![target, mode.word(), workspace, sourcesystem, identity, view];
    tx.execute(&STORE, &values).map(drop)
}

pub(in crate::ledger) fn set_mode(
    tx: &Transaction<'_>,
    target: &str,
    mode: TargetMode,
) -> Result<()> {
    tx.execute(&SET_MODE, &values![target, mode.word()]).map(drop)
}

pub(in crate::ledger) fn delete(tx: &Transaction<'_>, target: &str) -> Result<()> {
    tx.execute(&DELETE, &values![target]).map(drop)
}
