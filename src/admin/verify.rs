//! The command `verify`: by the running relay, or on the ledger without one.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::sync::mpsc;

use super::commands::{open, print, print_json};
use super::control::{self, Request, Response};
use crate::azure;
use crate::azure::token::{SignIn, TokenSource};
use crate::commands::VerifyOptions;
use crate::config::{Config, Mode};
use crate::deliver::UploadAccess;
use crate::pure::count::Count;
use crate::pure::verify::{Cleaning, Line, Report, kql, text};
use crate::readback::{NothingToAsk, Place, Readback, is_asked};

/// Compares what Sentinel holds with what it accepted, and tells.
///
/// # Errors
/// Something differs and was not repaired, or it cannot be told.
pub async fn verify(config: &Config, options: &VerifyOptions) -> anyhow::Result<()> {
    if options.kql {
        return print_queries(config, options.target.as_deref());
    }
    let (lines, told) = mpsc::channel(8);
    let (asked, reports) = tokio::join!(ask(config, options, lines), tell(told, options.json));
    let ((reports, _), is_online) = (reports?, asked?);
    let repaired = reports.iter().any(|report| report.repaired.is_some_and(|count| count > 0));
    if repaired && !options.json {
        print(if is_online {
            "The relay sends it now; look again once Sentinel shows it (azure.management.ingestion).\n"
        } else {
            "No relay is running: its next start sends it.\n"
        })?;
    }
    match reports.iter().filter(|report| !report.is_mended()).count() {
        0 => Ok(()),
        1 => bail!("a target is not as it should be"),
        count => bail!("{count} targets are not as they should be"),
    }
}

fn print_queries(config: &Config, target: Option<&str>) -> anyhow::Result<()> {
    let live = config.targets.iter().filter(|one| one.enabled && one.mode == Mode::Live);
    let asked: Vec<_> = live.filter(|one| target.is_none_or(|name| one.name == name)).collect();
    if asked.is_empty() {
        bail!("there is no such target");
    }
    let queries: Vec<String> =
        asked.iter().map(|target| kql::queries(&target.name, &target.sourcesystem)).collect();
    print(&queries.join("\n"))
}

/// Whether a relay was asked.
async fn ask(
    config: &Config,
    options: &VerifyOptions,
    lines: mpsc::Sender<Line>,
) -> anyhow::Result<bool> {
    let VerifyOptions { target, repair, .. } = options;
    let request = Request::Verify { target: target.clone(), repair: *repair };
    if ask_relay(config, &request, lines.clone()).await? {
        return Ok(true);
    }
    let readback = Arc::new(readback(config)?);
    // Before the ledger is opened: a mistake of the operator's.
    readback.which(target.as_deref())?;
    let ledger = open(&config.ledger).await?;
    let verified = readback.verify(ledger.clone(), (target.clone(), *repair), lines).await;
    ledger.close().await;
    verified?;
    Ok(false)
}

/// Passes the running relay's lines on; `false`: none runs.
pub(super) async fn ask_relay(
    config: &Config,
    request: &Request,
    lines: mpsc::Sender<Line>,
) -> anyhow::Result<bool> {
    let (raw, mut received) = mpsc::channel::<Vec<u8>>(8);
    let passing = async move {
        while let Some(line) = received.recv().await {
            let line = serde_json::from_slice(&line).context("understand the relay's answer")?;
            if lines.send(line).await.is_err() {
                break;
            }
        }
        anyhow::Ok(())
    };
    let (asked, passed) =
        tokio::join!(control::ask_long(&config.ledger.data_dir, request, raw), passing);
    passed?;
    match asked? {
        Some(Response::End) => Ok(true),
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => Ok(false),
    }
}

/// Those whose workspaces can be asked.
pub(super) fn readback(config: &Config) -> anyhow::Result<Readback> {
    let http = azure::http::client(&config.azure)?;
    let (mut places, mut known) = (Vec::new(), Vec::new());
    for target in config.targets.iter().filter(|target| is_asked(target)) {
        let tokens = TokenSource::shared(&mut known, SignIn::of(target), &http, &config.azure)?;
        places.extend(Place::of(config, target, &http, UploadAccess { tokens, pacer: None })?);
    }
    if places.is_empty() {
        return Err(NothingToAsk::Nowhere.into());
    }
    Ok(Readback::new(places, config.management.ingestion))
}

/// Tells each line; returns the reports, and those of `cleanup`.
pub(super) async fn tell(
    mut lines: mpsc::Receiver<Line>,
    json: bool,
) -> anyhow::Result<(Vec<Report>, Vec<Cleaning>)> {
    let (mut reports, mut cleanings) = (Vec::new(), Vec::new());
    let bar = progress(json);
    while let Some(line) = lines.recv().await {
        match line {
            Line::Progress { target, looked_at, of } => {
                bar.set_length(of.max(looked_at));
                bar.set_position(looked_at);
                bar.set_message(target);
            }
            Line::Counted { target, sentinel, ledger } => {
                if !json {
                    bar.suspend(|| {
                        let counted = Count(sentinel, "indicator");
                        print(&format!(
                            "{target}: Sentinel counts {counted}; by the ledger it accepted {} that are valid and {} that have ended.\n",
                            ledger.live, ledger.ended
                        ))
                    })?;
                }
            }
            Line::Report(report) => {
                bar.finish_and_clear();
                match json {
                    true => print_json(&serde_json::to_string(&report)?)?,
                    false => print(&text(&report))?,
                }
                reports.push(*report);
            }
            Line::Cleaned(cleaning) => {
                bar.finish_and_clear();
                match json {
                    true => print_json(&serde_json::to_string(&cleaning)?)?,
                    false => print(&cleaning.text())?,
                }
                cleanings.push(*cleaning);
            }
        }
    }
    Ok((reports, cleanings))
}

/// On standard error, for people only.
fn progress(json: bool) -> indicatif::ProgressBar {
    if json || !io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template("{msg} {bar:30} {pos} of {len} looked at");
    let bar = indicatif::ProgressBar::new(0);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}
