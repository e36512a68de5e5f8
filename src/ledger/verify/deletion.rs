//! Notes the deletions of withdrawn indicators (`withdraw = "delete"`). A deletion and an upload of the same id may
//! overtake each other. So a deletion is noted before its request is sent. If an upload is accepted meanwhile, the
//! object is sent again.

use uuid::Uuid;

use super::super::Ledger;
use super::super::sql::Result;
use super::super::tables::delivered::deletions::{self, Deletable};
use super::super::tables::targets;

/// How a deletion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The indicator is gone.
    Gone,
    /// It must be checked again `at` this time, Unix milliseconds.
    Later { at: i64, tried: bool },
}

/// Never due again.
const DONE: i64 = i64::MAX;

impl Ledger {
    /// Indicators whose withdrawal a target accepted before `before`, and whose deletion is due.
    pub async fn due_deletions(
        &self,
        target: &str,
        before: i64,
        now: i64,
        limit: i64,
    ) -> Result<Vec<Deletable>> {
        let target = target.to_owned();
        self.read(move |tx| {
            targets::with_view(tx, &target, |at| deletions::due(tx, at, before, now, limit))
        })
        .await
    }

    /// Notes that a deletion leaves now; `false`: it must not.
    pub async fn begin_deletion(&self, target: &str, object: Uuid) -> Result<bool> {
        let target = target.to_owned();
        self.write(move |unit| {
            targets::with_view(unit, &target, |at| deletions::begin(unit, at, object))
        })
        .await
    }

    /// Notes how a deletion ended. What came back under its id meanwhile goes once more.
    pub async fn end_deletion(
        &self,
        target: &str,
        deletable: &Deletable,
        how: Deletion,
        now: i64,
    ) -> Result<()> {
        let (due_at, tried) = match how {
            Deletion::Gone => (DONE, false),
            Deletion::Later { at, tried } => (at, tried),
        };
        let (target, deletable) = (target.to_owned(), *deletable);
        self.write(move |unit| {
            targets::with_view(unit, &target, |at| {
                deletions::end(unit, at.target, deletable.object, due_at, tried)?;
                // A deletion that was not tried took nothing along.
                if tried {
                    deletions::send_heirs_again(unit, at, &deletable, now)?;
                }
                Ok(())
            })
        })
        .await
    }
}
