//! The command `ledger export` writes every row of the ledger as a line of JSON.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use serde_json::value::RawValue;
use tempfile::NamedTempFile;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use super::super::{ConfigSource, door};
use crate::admin::{LongRequest, Needs, Nothing, Services};

/// A row of the ledger as JSON.
pub(super) type RowJson = Box<RawValue>;

/// The request for every row of the ledger, as of one moment.
pub(super) const EXPORT: LongRequest<Nothing, RowJson> = LongRequest {
    path: "/ledger/export",
    needs: Needs::Settings,
    execute: |services, _, rows| Box::pin(export_all(services, rows)),
};

async fn export_all(services: &Services, rows: mpsc::Sender<RowJson>) -> anyhow::Result<()> {
    let _turn = long_read(&services.long_read)?;
    let (chunks, made) = mpsc::channel(2);
    let (exported, passed) = tokio::join!(services.ledger.export(chunks), pass_on(made, rows));
    exported.context("the ledger cannot be read")?;
    passed
}

/// Takes the turn for a long read. Only one runs at a time, since each occupies one of the ledger's few
/// readers.
pub(super) fn long_read(turns: &Semaphore) -> anyhow::Result<SemaphorePermit<'_>> {
    turns
        .try_acquire()
        .ok()
        .context("another export or check is running: try again when it has ended")
}

/// Splits chunks into rows, until nobody takes the rows any more.
async fn pass_on(
    mut chunks: mpsc::Receiver<Vec<u8>>,
    rows: mpsc::Sender<RowJson>,
) -> anyhow::Result<()> {
    while let Some(chunk) = chunks.recv().await {
        for row in serde_json::Deserializer::from_slice(&chunk).into_iter::<RowJson>() {
            if rows.send(row?).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Writes every row to standard output or to a file. The file appears only once it is complete.
///
/// # Errors
/// Neither a relay nor the ledger can answer, or the lines cannot be written.
pub(super) async fn export(settings: &ConfigSource, file: Option<&Path>) -> anyhow::Result<()> {
    let (rows, told) = mpsc::channel(256);
    let writing = async {
        match file {
            Some(file) => write_file(file, told).await.map(Some),
            None => Ok(write_rows(told, &mut io::stdout()).await.map(|()| None)?),
        }
    };
    let (asked, written) =
        tokio::join!(door::ask_for_lines(settings, &EXPORT, Nothing {}, rows), writing);
    // An error of writing comes first, because it is why the asking ended.
    let part: Option<NamedTempFile> = written?;
    // The file is put in place only after the whole answer has come.
    asked?;
    if let (Some(part), Some(file)) = (part, file) {
        part.persist(file).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

async fn write_file(file: &Path, rows: mpsc::Receiver<RowJson>) -> anyhow::Result<NamedTempFile> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Beside the file, because a rename works only within one file system.
    let mut part = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
        .with_context(|| format!("write beside {}", file.display()))?;
    let written = write_rows(rows, &mut part).await;
    written.with_context(|| format!("write {}", part.path().display()))?;
    part.as_file().sync_all().context("write the export to disk")?;
    Ok(part)
}

/// Writes the rows. Those that are already waiting are written in one piece.
async fn write_rows(mut rows: mpsc::Receiver<RowJson>, out: &mut impl Write) -> io::Result<()> {
    let mut some = Vec::new();
    while rows.recv_many(&mut some, 256).await > 0 {
        let mut text = String::new();
        for row in some.drain(..) {
            text.push_str(row.get());
            text.push('\n');
        }
        out.write_all(text.as_bytes())?;
    }
    out.flush()
}
