//! Long answers, made line by line while they are sent or printed.

use anyhow::bail;
use serde::Serialize;
use tokio::sync::mpsc;

use super::commands::open;
use super::control::{self, Request, Response};
use crate::app;
use crate::config::Config;
use crate::ledger::{Ledger, Telling, Views};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Long {
    Export,
    Check,
    Explain { what: String, stix: bool },
}

/// The lines of a long answer, from the running relay or from the ledger itself.
///
/// # Errors
/// Neither can tell.
pub(super) async fn ask(
    config: &Config,
    request: &Request,
    what: Long,
    lines: mpsc::Sender<Vec<u8>>,
) -> anyhow::Result<()> {
    match control::ask_long(&config.ledger.data_dir, request, lines.clone()).await? {
        Some(Response::End) => Ok(()),
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => {
            let ledger = open(&config.ledger).await?;
            let made = make(what, &ledger, &app::views(config), lines).await;
            ledger.close().await;
            Ok(made?)
        }
    }
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
            let (findings, found) = mpsc::channel(1);
            let checking = ledger.check(views, Ledger::now(), findings);
            tokio::join!(checking, pass_on(found, chunks)).0
        }
        Long::Explain { what, stix } => {
            let (stories, told) = mpsc::channel(1);
            let telling = Telling { now: Ledger::now(), stix };
            let explaining = ledger.explain(views, &what, telling, stories);
            tokio::join!(explaining, pass_on(told, chunks)).0
        }
    }
}

/// Until nobody takes the lines any more.
async fn pass_on<T: Serialize>(mut made: mpsc::Receiver<T>, chunks: mpsc::Sender<Vec<u8>>) {
    while let Some(one) = made.recv().await {
        // Strings and numbers with string keys: serialising cannot fail.
        let mut line = serde_json::to_vec(&one).unwrap_or_default();
        line.push(b'\n');
        if chunks.send(line).await.is_err() {
            return;
        }
    }
}
