//! The commands `ledger export`, `ledger check` and `ledger vacuum`: the running relay carries them
//! out; without one they open the ledger themselves.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, bail};
use tokio::sync::mpsc;

use super::commands::{open, print};
use super::control::{self, Request, Response};
use super::stream::{self, Long};
use crate::app;
use crate::config::Config;
use crate::ledger::{Finding, Given, Ledger};
use crate::pure::safe;

/// Writes every row of the ledger as a line of JSON, to standard output or a file, which is there
/// only once it is whole.
///
/// # Errors
/// Neither a relay nor the ledger can tell, or the lines cannot be written.
pub async fn export(config: &Config, file: Option<&Path>) -> anyhow::Result<()> {
    let (lines, written) = mpsc::channel(2);
    let (asked, written) = tokio::join!(
        stream::ask(config, &Request::LedgerExport, Long::Export, lines),
        async move {
            match file {
                Some(file) => write_file(file, written).await,
                None => write_out(written).await,
            }
        }
    );
    let keep = written?;
    asked?;
    match (keep, file) {
        (Some(whole), Some(file)) => {
            whole.persist(file).with_context(|| format!("write {}", file.display()))?;
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn write_file(
    file: &Path,
    mut lines: mpsc::Receiver<Vec<u8>>,
) -> anyhow::Result<Option<tempfile::NamedTempFile>> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut part = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
        .with_context(|| format!("write beside {}", file.display()))?;
    while let Some(chunk) = lines.recv().await {
        part.write_all(&chunk).with_context(|| format!("write {}", part.path().display()))?;
    }
    part.as_file().sync_all().context("write the export to disk")?;
    Ok(Some(part))
}

/// A reader that has seen enough, such as `head`, is no error.
async fn write_out(
    mut lines: mpsc::Receiver<Vec<u8>>,
) -> anyhow::Result<Option<tempfile::NamedTempFile>> {
    while let Some(chunk) = lines.recv().await {
        let mut out = io::stdout().lock();
        match out.write_all(&chunk).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
            written => written?,
        }
    }
    Ok(None)
}

/// Tells of each invariant whether it holds, and what to do if not. `repair`: the next start judges
/// all claims anew.
///
/// # Errors
/// One does not hold, or neither a relay nor the ledger can tell.
pub async fn check(config: &Config, repair: bool) -> anyhow::Result<()> {
    let (lines, mut found) = mpsc::channel::<Vec<u8>>(2);
    let telling = async move {
        let mut broken = 0;
        while let Some(line) = found.recv().await {
            let finding: Finding =
                serde_json::from_slice(&line).context("understand the relay's answer")?;
            broken += usize::from(!finding.holds());
            print(&words(&finding))?;
        }
        anyhow::Ok(broken)
    };
    let asking = stream::ask(config, &Request::LedgerCheck, Long::Check, lines);
    let (asked, broken) = tokio::join!(asking, telling);
    let broken = broken?;
    asked?;
    if repair {
        self::repair(config).await?;
    }
    match broken {
        0 => Ok(()),
        1 => bail!("an invariant does not hold"),
        broken => bail!("{broken} invariants do not hold"),
    }
}

async fn repair(config: &Config) -> anyhow::Result<()> {
    match control::ask(&config.ledger.data_dir, &Request::LedgerRepair).await? {
        Some(Response::Repaired) => {
            print("Restart the relay: it judges all claims anew before it sends anything.\n")
        }
        Some(other) => bail!("the relay answers {other:?}"),
        None => {
            let ledger = open(&config.ledger).await?;
            let repaired = ledger.judge_anew(&app::views(config), Ledger::now()).await;
            ledger.close().await;
            repaired?;
            print("The next start judges all claims anew before it sends anything.\n")
        }
    }
}

fn words(finding: &Finding) -> String {
    let Finding { invariant, broken, examples, remedy, left_out } = finding;
    if let Some(reason) = left_out {
        return format!("unknown  {invariant}: {reason}\n");
    }
    if finding.holds() {
        return format!("holds    {invariant}\n");
    }
    let mut text = format!("BROKEN   {invariant}: {broken}\n");
    for example in examples {
        text.push_str(&format!("           {}\n", safe::line(example)));
    }
    text.push_str(&format!("         remedy: {remedy}\n"));
    text
}

/// Gives free pages back to the file system.
///
/// # Errors
/// Neither a relay nor the ledger can do it.
pub async fn vacuum(config: &Config) -> anyhow::Result<()> {
    let given = match control::ask(&config.ledger.data_dir, &Request::LedgerVacuum).await? {
        Some(Response::Vacuumed { given }) => given,
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => {
            let ledger = open(&config.ledger).await?;
            let given = ledger.vacuum().await;
            ledger.close().await;
            given?
        }
    };
    print(&told(&given))
}

fn told(given: &Given) -> String {
    let size = |bytes: i64| bytesize::ByteSize::b(bytes.unsigned_abs());
    let mut text =
        format!("The ledger had {}, it has {} now.\n", size(given.before), size(given.after));
    if given.needs_stop {
        text.push_str("Free pages are given back only once the file was converted: stop the relay and run `ledger vacuum` again.\n");
    }
    text
}
