//! Prints the progress and the reports of `verify` and `cleanup` while they compare the ledger with the
//! workspaces.

use indicatif::ProgressBar;
use tokio::sync::mpsc;

use super::output::{self, print, print_as};
use crate::pure::count::Count;
use crate::pure::verify::{Cleaning, VerifyLine, VerifyReport, text};

/// Prints each line as it comes. Returns the reports on the targets.
pub(super) async fn tell(
    mut lines: mpsc::Receiver<VerifyLine>,
    json: bool,
) -> anyhow::Result<(Vec<VerifyReport>, Vec<Cleaning>)> {
    let (mut reports, mut cleanings) = (Vec::new(), Vec::new());
    // A script reads JSON, so it gets no progress.
    let bar = match json {
        true => ProgressBar::hidden(),
        false => output::bar("{msg} {bar:30} {pos} of {len} looked at"),
    };
    while let Some(line) = lines.recv().await {
        match line {
            VerifyLine::Progress { target, looked_at, of } => {
                // Uploads go on during the walk, so there may be more objects than were counted.
                bar.set_length(of.max(looked_at));
                bar.set_position(looked_at);
                bar.set_message(target);
            }
            // A script expects one report for each target and nothing else.
            VerifyLine::Counted { .. } if json => {}
            VerifyLine::Counted { target, sentinel, ledger } => bar.suspend(|| {
                let counted = Count(sentinel, "indicator");
                print(&format!(
                    "{target}: Sentinel counts {counted}; by the ledger it accepted {} that are valid and {} that have ended.\n",
                    ledger.live, ledger.ended
                ))
            })?,
            VerifyLine::Report(report) => {
                bar.finish_and_clear();
                print_as(json, &*report, text)?;
                reports.push(*report);
            }
            VerifyLine::Cleaned(cleaning) => {
                bar.finish_and_clear();
                print_as(json, &*cleaning, Cleaning::text)?;
                cleanings.push(*cleaning);
            }
        }
    }
    Ok((reports, cleanings))
}
