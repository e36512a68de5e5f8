//! The section about gaps: times in which something may have been missed.

use chrono::DateTime;
use maud::{Markup, html};

use super::Sight;
use super::table::{Column, Table};
use super::words::{foreign, number, since};

pub(super) fn write(sight: Sight<'_>) -> Markup {
    let gaps = &sight.status.ledger.gaps;
    let at = |millis| since(DateTime::from_timestamp_millis(millis), sight.now, "unknown");
    let rows = gaps.iter().map(|gap| {
        let source = foreign(&gap.source);
        let (intake, reason) = (foreign(&gap.intake), foreign(&gap.reason));
        let times = number(gap.times);
        vec![
            html! { (source) },
            html! { (intake) },
            html! { (reason) },
            html! { (times) },
            at(gap.since),
            at(gap.until),
        ]
    });
    let table = Table {
        caption: "Times in which something may have been missed",
        columns: &[
            Column::Words("Source"),
            Column::Words("Intake"),
            Column::Words("Reason"),
            Column::Number("Times"),
            Column::Words("First"),
            Column::Words("Last"),
        ],
        rows: rows.collect(),
    };
    html! {
        @if !gaps.is_empty() {
            section aria-labelledby="gaps" {
                h2 #gaps { "Gaps" }
                (table.write())
            }
        }
    }
}
