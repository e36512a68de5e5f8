//! Long answers, made line by line while they are sent or printed.

use tokio::sync::mpsc;

use crate::ledger::{Ledger, Views};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Long {
    Export,
    Check,
}

/// Makes the lines, in chunks of whole ones; ends early when nobody takes them any more.
///
/// # Errors
/// Whatever SQLite says.
pub(super) async fn make(
    what: Long,
    ledger: &Ledger,
    views: &Views,
    chunks: mpsc::Sender<Vec<u8>>,
) -> sqlx::Result<()> {
    match what {
        Long::Export => ledger.export(chunks).await.map(drop),
        Long::Check => {
            let (findings, mut found) = mpsc::channel(1);
            let telling = async move {
                while let Some(finding) = found.recv().await {
                    // Strings and numbers only: serialising cannot fail.
                    let mut line = serde_json::to_vec(&finding).unwrap_or_default();
                    line.push(b'\n');
                    if chunks.send(line).await.is_err() {
                        return;
                    }
                }
            };
            tokio::join!(ledger.check(views, Ledger::now(), findings), telling).0
        }
    }
}
