//! What `verify` and `cleanup` print while workspaces are compared.

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use super::output::{print, print_json};
use crate::pure::count::Count;
use crate::pure::verify::{Cleaning, Report, VerifyLine, text};

/// What was told of the targets.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) reports: Vec<Report>,
    pub(super) cleanings: Vec<Cleaning>,
}

/// Prints each line.
pub(super) async fn tell(
    mut lines: mpsc::Receiver<VerifyLine>,
    json: bool,
) -> anyhow::Result<Told> {
    let mut told = Told::default();
    let bar = progress(json);
    while let Some(line) = lines.recv().await {
        match line {
            VerifyLine::Progress { target, looked_at, of } => {
                bar.set_length(of.max(looked_at));
                bar.set_position(looked_at);
                bar.set_message(target);
            }
            VerifyLine::Counted { target, sentinel, ledger } => {
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
            VerifyLine::Report(report) => {
                bar.finish_and_clear();
                if json {
                    print_json(&report)?
                } else {
                    print(&text(&report))?
                }
                told.reports.push(*report);
            }
            VerifyLine::Cleaned(cleaning) => {
                bar.finish_and_clear();
                if json {
                    print_json(&cleaning)?
                } else {
                    print(&cleaning.text())?
                }
                told.cleanings.push(*cleaning);
            }
        }
    }
    Ok(told)
}

/// Shows the progress on standard error, for people only. It is hidden where that is no terminal.
fn progress(json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos} of {len} looked at");
    let bar = ProgressBar::new(0);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}
