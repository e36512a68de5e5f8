//! Writes the ledger as lines of JSON, for people and scripts: one object a row, from one snapshot, never more than a
//! few rows in memory.

use std::ops::ControlFlow;

use tokio::sync::mpsc;

use super::Ledger;
use super::sql::Result;
use super::tables::dump;

/// Lines are handed on when so many bytes are together.
const CHUNK_BYTES: usize = 64 << 10;

impl Ledger {
    /// Writes every row as a line: `{"table":"claims","source":"misp",…}`. Columns are named as in
    /// the tables; ids are uuids, JSON columns JSON, flags `true` or `false`, times the numbers that
    /// the ledger keeps: Unix milliseconds, MISP's own (`timestamp`) Unix seconds. It is one moment
    /// of the ledger, whatever is written meanwhile, and the writer is not held up; but what is
    /// written meanwhile stays in the WAL, so whoever takes the chunks should not dawdle.
    ///
    /// Ends early when nobody takes the chunks any more. Returns how many rows were written.
    pub async fn export(&self, chunks: mpsc::Sender<Vec<u8>>) -> Result<u64> {
        self.read_long(move |snapshot| {
            // The channel is bounded, so a client that takes nothing holds up this reader, and memory does not
            // grow.
            let mut lines = Vec::with_capacity(CHUNK_BYTES);
            let rows_written = dump::write_all(snapshot, &mut lines, |lines| {
                if lines.len() < CHUNK_BYTES {
                    return ControlFlow::Continue(());
                }
                let full = std::mem::replace(lines, Vec::with_capacity(CHUNK_BYTES));
                match chunks.blocking_send(full) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })?;
            // Whoever asked may be gone.
            chunks.blocking_send(lines).ok();
            Ok(rows_written)
        })
        .await
    }
}
