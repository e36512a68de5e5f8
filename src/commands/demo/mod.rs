//! The command `demo` runs the relay between a feed of recorded MISP events and the sandbox. They talk over
//! real sockets of the loopback interface.

mod check;
mod feed;
mod play;
mod recorded;
mod scenario;
mod stage;
mod table;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::is_closed_pipe;
use super::output::{is_dumb, width};
use crate::admin::Commands;
use crate::signals::stop_asked;
use crate::{logging, metrics};
use play::Play;
use recorded::Recording;
use scenario::{edit, scenario};
use stage::Stage;
use table::{Screen, seconds};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct DemoOptions {
    /// End after all steps: exit code 0 if everything arrived as expected, 1 if not
    #[arg(long)]
    pub once: bool,

    /// Only publish the recorded events over ZeroMQ at this address, in a loop
    #[arg(long, value_name = "ADDRESS", conflicts_with = "once")]
    pub feed: Option<SocketAddr>,

    /// Show the relay's log on standard error
    #[arg(long, short)]
    pub verbose: bool,
}

/// The pause between two edits, after all steps were shown.
const BETWEEN: Duration = Duration::from_secs(4);

/// The error of `--once` if a signal came before all steps were shown.
#[derive(Debug, thiserror::Error)]
#[error("the demo was stopped before its end")]
struct Stopped;

/// Runs the demo, or only its feed.
///
/// # Errors
/// The stand-in for Sentinel does not hold what MISP says, or a part could not be started.
pub async fn run(options: DemoOptions, commands: Commands) -> anyhow::Result<()> {
    let stop = stop_asked()?;
    let mut out = io::stdout();
    if let Some(address) = options.feed {
        return tokio::select! {
            ended = feed::publish_for_ever(address, &mut out) => ended,
            () = stop => Ok(()),
        };
    }
    let recorded = metrics::install()?;
    let (stage, relay, feed) = Stage::set(recorded.clone()).await?;
    if options.verbose {
        logging::install(&stage.config.log)?;
    } else {
        let log = stage.log_file();
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        logging::install_in_file(&stage.config.log, file)?;
    }
    // The log and the table would draw over each other.
    let columns = width().filter(|_| !options.verbose && understands_ansi());
    let screen = Screen::new(&mut out, columns);
    let mut play = Play::new(&stage, feed, screen);
    let stop_relay = CancellationToken::new();
    let relaying = relay.run(recorded, commands, stop_relay.clone());
    let shown = show(&mut play, relaying, stop_relay, options.once, stop).await;
    // The play borrows the stage, which is consumed below.
    drop(play);
    let Err(error) = shown else { return Ok(()) };
    match is_closed_pipe(&error) {
        // The reader closed standard output early: that is no failure.
        true if !options.once => Ok(()),
        // These are no faults of the relay, or its log was shown already: the log is not kept.
        is_closed if is_closed || error.is::<Stopped>() || options.verbose => Err(error),
        _ => anyhow::bail!("{error:#}\nthe relay's log: {}", stage.keep().display()),
    }
}

/// Runs the relay beside the play, and stops it when the play ends.
async fn show(
    play: &mut Play<'_>,
    relaying: impl Future<Output = anyhow::Result<()>>,
    stop_relay: CancellationToken,
    once: bool,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut running = Box::pin(relaying);
    let shown = tokio::select! {
        ended = &mut running => {
            ended?;
            anyhow::bail!("the relay ended by itself");
        }
        shown = Box::pin(acts(play, once)) => shown,
        () = stop => if once { Err(Stopped.into()) } else { Ok(()) },
    };
    // The summary reads the ledger, so it comes before the relay stops and closes it.
    let closed = if shown.is_ok() { closing(play).await } else { Ok(()) };
    stop_relay.cancel();
    running.await?;
    shown.and(closed)
}

async fn acts(play: &mut Play<'_>, once: bool) -> anyhow::Result<()> {
    opening(play, once)?;
    play.greet().await?;
    let recording = Recording::until(Utc::now());
    // The first step is a heartbeat: nothing is sent without a change.
    play.step(edit(0, recording, play.feed.uptime())?).await?;
    for step in scenario(recording)? {
        play.step(step).await?;
    }
    if once {
        return Ok(());
    }
    play.screen.text("\nThe demo goes on with small edits until Ctrl-C.\n")?;
    for number in 0.. {
        play.step(edit(number, Recording::until(Utc::now()), play.feed.uptime())?).await?;
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(())
}

fn opening(play: &mut Play<'_>, once: bool) -> io::Result<()> {
    let sandbox = &play.stage.sandbox;
    let (feed, url) = (play.feed.endpoint(), sandbox.base_url());
    let mut text = format!(
        "Recorded MISP events go through the relay to a stand-in for Sentinel.\n\n\
         \x20 MISP      {feed:<24}  ZeroMQ, recorded frames in the present\n\
         \x20 Sentinel  {url:<24}  TLS, Microsoft's limits\n\n\
         An attribute makes one claim, or two (such as domain|ip), or none. Several\n\
         claims of one observable make one indicator.\n"
    );
    if !once {
        let ca = sandbox.ca_file().display().to_string();
        text.push_str(&format!("  look      curl --cacert {ca} {url}/objects\n"));
        text.push_str(&format!("  log       {}\n", play.stage.log_file().display()));
    }
    play.screen.text(&text)?;
    play.screen.header()
}

/// Prints the summary, and how to go on.
async fn closing(play: &mut Play<'_>) -> anyhow::Result<()> {
    let found = check::look(&play.stage.sandbox);
    let rows = [
        ("live in the sandbox", format!("{} observables, one indicator each", found.live.len())),
        ("withdrawn", found.withdrawn.to_string()),
        ("duplicates", found.duplicates.to_string()),
        ("objects accepted", found.accepted.to_string()),
        ("requests used", format!("{} (Sentinel allows 100 a minute)", found.requests)),
        ("gaps noted", play.gaps().await?.to_string()),
        ("frame to accepted: publications", spread(&play.publications)),
        ("frame to accepted: withdrawals", spread(&play.withdrawals)),
    ];
    play.screen.text("")?;
    play.screen.summary(&rows)?;
    let text = format!(
        "\nAll {} steps as expected.\n\n\
         Next: `init` asks for your MISP and workspace, then \"Run it\" in README.md.",
        play.steps
    );
    Ok(play.screen.text(&text)?)
}

fn spread(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(slowest)) => {
            format!("{} in the middle, {} the slowest", seconds(*median), seconds(*slowest))
        }
        _ => String::new(),
    }
}

fn understands_ansi() -> bool {
    !is_dumb() && std::env::var_os("NO_COLOR").is_none()
}
