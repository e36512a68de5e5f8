//! The command `status` prints the state of the relay, or of the ledger alone if no relay runs. With `--watch` it
//! prints the state of the relay again and again.

use std::io::{self, Write};
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use clap::Args;
use console::Term;

use super::door::{self, NoLedger};
use super::output::{fitted, is_dumb, note, print_as, width, write};
use super::status_text;
use crate::admin::{Needs, Nothing, Request, Status};
use crate::config::ConfigSource;
use crate::pure::safe;
use crate::signals;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct StatusOptions {
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,

    /// Show it again every few seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub watch: Option<u32>,
}

/// The exit code if no relay runs, the same as that of `systemctl status`.
const NO_RELAY: u8 = 3;

/// The request for the status of everything.
pub(super) const STATUS: Request<Nothing, Status> =
    Request::read("/status", Needs::Settings, |services, _| {
        Box::pin(async { services.status().await.context("the ledger cannot be read") })
    });

/// Prints the status of everything, as text or as one JSON object. Returns the exit code: 0, or 3 if no relay
/// runs. The ledger alone answers then, if there is one. When it is watched, the code is 0 at Ctrl-C.
///
/// # Errors
/// Neither a relay nor the ledger can answer, or standard output is closed.
pub async fn status(settings: &ConfigSource, options: StatusOptions) -> anyhow::Result<u8> {
    if let Some(seconds) = options.watch {
        watch(settings, options.json, Duration::from_secs(seconds.into())).await?;
        return Ok(0);
    }
    let status = match door::ask(settings, &STATUS, Nothing {}).await {
        Ok((status, _)) => status,
        // Before the first start there is nothing to show. That is exit code 3, and no failure.
        Err(error) if error.is::<NoLedger>() => {
            error.to_string().lines().for_each(note);
            return Ok(NO_RELAY);
        }
        Err(error) => return Err(error),
    };
    print_as(options.json, &status, text)?;
    Ok(if status.relay.is_some() { 0 } else { NO_RELAY })
}

fn text(status: &Status) -> String {
    status_text::text(status, Utc::now(), width().unwrap_or(usize::MAX))
}

/// Shows the status again and again: on a terminal in place of the last one, else one after the other. A relay that
/// does not answer now may do so later, so that ends nothing. The ledger is not opened in its place: a relay that is
/// started just then could not have it.
async fn watch(settings: &ConfigSource, json: bool, every: Duration) -> anyhow::Result<()> {
    let mut stop = pin!(signals::stop_asked()?);
    let screen = Screen::open(json)?;
    loop {
        let asked = tokio::select! {
            asked = door::ask_relay(settings, &STATUS, &Nothing {}) => {
                asked.and_then(|status| status.context("no relay is running"))
            }
            () = &mut stop => return Ok(()),
        };
        match (&screen, asked) {
            (Some(screen), Ok(status)) => screen.draw(&text(&status))?,
            (Some(screen), Err(error)) => screen.draw(&format!("{error:#}"))?,
            (None, Ok(status)) => {
                print_as(json, &status, |status| format!("{}\n", text(status)))?;
            }
            (None, Err(error)) => format!("{error:#}").lines().for_each(note),
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = &mut stop => return Ok(()),
        }
    }
}

/// The terminal's second screen. The first one is as it was once this is dropped.
struct Screen(Term);

impl Screen {
    /// Returns `None` where standard output is no terminal that can be drawn on, or is for machines.
    fn open(json: bool) -> anyhow::Result<Option<Self>> {
        let term = Term::stdout();
        if json || !term.is_term() || is_dumb() {
            return Ok(None);
        }
        // Without the cursor, which would stand somewhere in the text.
        write("\u{1b}[?1049h\u{1b}[?25l")?;
        Ok(Some(Self(term)))
    }

    /// Replaces what is shown. What does not fit is left out, and that is said.
    fn draw(&self, text: &str) -> anyhow::Result<()> {
        let (rows, _) = self.0.size();
        let rows = usize::from(rows).max(2);
        let text = safe::lines(text);
        let text = fitted(&text);
        let lines: Vec<&str> = text.lines().collect();
        let mut shown = String::from("\u{1b}[H\u{1b}[J");
        if lines.len() < rows {
            shown.push_str(&lines.join("\r\n"));
        } else {
            let kept = lines.get(..rows - 2).unwrap_or_default();
            shown.push_str(&kept.join("\r\n"));
            shown.push_str(&format!(
                "\r\n… {} more lines: make the window higher",
                lines.len() - kept.len()
            ));
        }
        write(&shown)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // If the terminal is gone, nothing has to be put back.
        io::stdout().write_all(b"\x1b[?25h\x1b[?1049l").and_then(|()| io::stdout().flush()).ok();
    }
}
