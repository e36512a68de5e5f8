//! Prints the result of each step of the demo: as a table on a terminal, as plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, TableComponent, Width};

use crate::commands::wrap::wrapped;
use crate::pure::count::Count;

/// The width of the whole table.
const WIDE: u16 = 100;

/// The width without the column [`LEFT_OUT`], which fits into the usual 80 columns.
const NARROW: u16 = 79;

/// The columns with their widths. Two characters of space follow each; together they are [`WIDE`] wide.
const COLUMNS: [(&str, u16); 9] = [
    ("time", 6),
    ("MISP did", 21),
    ("event", 16),
    ("attr.", 7),
    ("ledger", 8),
    (LEFT_OUT, 21),
    ("accepted", 11),
    ("after", 8),
    ("", 2),
];

/// The column with reasons. In a narrow table they stand below the row.
const LEFT_OUT: &str = "left out";

/// The row of a step, as far as it has come.
#[derive(Debug, Clone, Default)]
pub(super) struct StepRow {
    /// The time since the demo began.
    pub at: Duration,
    pub did: &'static str,
    pub event: &'static str,
    /// What the step's publication holds; `None` for other steps.
    pub held: Option<PublicationCounts>,
    /// How the claims in the ledger changed, in words.
    pub claims: String,
    /// What Sentinel accepted, in words.
    pub accepted: String,
    /// The time from the frame to Sentinel's answer.
    pub after: Option<Duration>,
    pub state: State,
}

/// What a publication holds. An attribute makes no claim, one claim, or two.
#[derive(Debug, Clone, Default)]
pub(super) struct PublicationCounts {
    pub attributes: u64,
    /// The attributes that claim nothing.
    pub silent: Reasons,
    pub claims: u64,
    /// The claims that policy withholds.
    pub withheld: Reasons,
    /// The number of observables that the other claims are about.
    pub observables: u64,
}

/// Counts by reason, the most frequent first.
#[derive(Debug, Clone, Default)]
pub(super) struct Reasons(Vec<(&'static str, u64)>);

impl Reasons {
    pub(super) fn of(reasons: impl Iterator<Item = (&'static str, u64)>) -> Self {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (reason, count) in reasons {
            *counts.entry(reason).or_default() += count;
        }
        let mut counts: Vec<(&'static str, u64)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Self(counts)
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    fn each(&self) -> Vec<String> {
        self.0.iter().map(|(reason, count)| format!("{count} {reason}")).collect()
    }
}

impl PublicationCounts {
    /// Returns the counts in words, in which they add up.
    fn words(&self) -> Vec<String> {
        let Self { attributes, silent, claims, withheld, observables } = self;
        let less = |what: String, reasons: &Reasons, verb: &str| match reasons.total() {
            0 => what,
            count => format!("{what}, {count} of them {verb} ({})", reasons.each().join(" + ")),
        };
        let verb = if silent.total() == 1 { "claims nothing" } else { "claim nothing" };
        let left = claims.saturating_sub(withheld.total());
        let mut words = vec![
            less(Count(*attributes, "attribute").to_string(), silent, verb),
            less(Count(*claims, "claim").to_string(), withheld, "withheld"),
        ];
        if left != *observables {
            let (left, observables) = (Count(left, "claim"), Count(*observables, "observable"));
            words.push(format!("{left} left, of {observables}"));
        }
        words
    }

    /// Returns the reasons for a narrow column.
    fn left_out(&self) -> Vec<String> {
        let of = |reasons: &Reasons, noun| match reasons.total() {
            0 => Vec::new(),
            count => {
                let each = reasons.each().into_iter().map(|one| format!("  {one}"));
                std::iter::once(format!("{}:", Count(count, noun))).chain(each).collect()
            }
        };
        [of(&self.silent, "attribute"), of(&self.withheld, "claim")].concat()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Waiting,
    AsExpected,
    Wrong,
}

impl State {
    /// Returns a sign for a terminal, and a word for other outputs.
    fn shown(self) -> (&'static str, &'static str) {
        match self {
            Self::Waiting => ("…", "waiting"),
            Self::AsExpected => ("✓", "ok"),
            Self::Wrong => ("✗", "WRONG"),
        }
    }
}

impl StepRow {
    /// Returns the words of [`LEFT_OUT`] in one line; `None` if there are none.
    fn left_out(&self) -> Option<String> {
        let PublicationCounts { silent, withheld, .. } = self.held.as_ref()?;
        let of = |reasons: &Reasons, noun| match reasons.total() {
            0 => None,
            count => Some(format!("{} ({})", Count(count, noun), reasons.each().join(" + "))),
        };
        let words: Vec<String> =
            [of(silent, "attribute"), of(withheld, "claim")].into_iter().flatten().collect();
        (!words.is_empty()).then(|| format!("        {LEFT_OUT}: {}", words.join(", ")))
    }

    fn cells(&self) -> [String; 9] {
        let held = self.held.as_ref();
        [
            format!("{:.1}", self.at.as_secs_f64()),
            self.did.to_owned(),
            self.event.to_owned(),
            held.map(|held| held.attributes.to_string()).unwrap_or_default(),
            self.claims.clone(),
            held.map(PublicationCounts::left_out).unwrap_or_default().join("\n"),
            self.accepted.clone(),
            self.after.map(seconds).unwrap_or_default(),
            self.state.shown().0.to_owned(),
        ]
    }

    /// Returns the row as one line, for logs and pipes.
    fn line(&self) -> String {
        let (at, (_, state), did) = (self.at.as_secs_f64(), self.state.shown(), self.did);
        let mut line = format!("{at:>5.1} s  {state:<5}  {did}");
        if !self.event.is_empty() {
            line.push_str(&format!(" \"{}\"", self.event));
        }
        let mut parts = self.held.as_ref().map(PublicationCounts::words).unwrap_or_default();
        let accepted = self.accepted.replace('\n', " + ");
        let told = [("in the ledger", &self.claims), ("accepted", &accepted)];
        let told = told.iter().filter(|(_, words)| !words.is_empty());
        parts.extend(told.map(|(label, words)| format!("{label} {words}")));
        parts.extend(self.after.map(|after| format!("after {}", seconds(after))));
        if !parts.is_empty() {
            line.push_str(": ");
            line.push_str(&parts.join("; "));
        }
        line
    }
}

pub(super) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// The output of the demo.
pub(super) struct Screen<'a> {
    out: &'a mut (dyn Write + Send),
    /// The width of the table on a terminal that understands ANSI; `None` for other outputs.
    width: Option<u16>,
    /// The number of lines of the row that is still waiting. They are drawn over.
    drawn: usize,
}

impl<'a> Screen<'a> {
    /// `columns` is the width of a terminal that understands ANSI.
    pub(super) fn new(out: &'a mut (dyn Write + Send), columns: Option<usize>) -> Self {
        let is_wide = |columns: usize| columns >= usize::from(WIDE);
        let width = columns.map(|columns| if is_wide(columns) { WIDE } else { NARROW });
        Self { out, width, drawn: 0 }
    }

    /// Prints a text below the rows.
    ///
    /// # Errors
    /// The output is closed.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.drawn = 0;
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Prints the titles of the columns, on a terminal only.
    ///
    /// # Errors
    /// The output is closed.
    pub(super) fn header(&mut self) -> io::Result<()> {
        let Some(width) = self.width else { return Ok(()) };
        let rule = "─".repeat(width.into());
        let names = layout(COLUMNS.map(|(name, _)| name.to_owned()), width).join("\n");
        self.text(&format!("{rule}\n{names}\n{rule}"))
    }

    /// Shows a row in place of the one that was waiting. If this is no terminal, only finished rows are
    /// shown.
    ///
    /// # Errors
    /// The output is closed.
    pub(super) fn row(&mut self, row: &StepRow) -> io::Result<()> {
        let waits = row.state == State::Waiting;
        let Some(width) = self.width else {
            return if waits { Ok(()) } else { self.text(&row.line()) };
        };
        let mut lines = layout(row.cells(), width);
        if width == NARROW
            && let Some(words) = row.left_out()
        {
            lines.extend(wrapped(&words, width.into()).lines().map(str::to_owned));
        }
        // Without wrapping, a narrow terminal cuts the lines, and their number stays known.
        let mut text = String::from("\x1b[?7l");
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\x1b[J", self.drawn));
        }
        for line in &lines {
            text.push_str(&coloured(line));
            text.push('\n');
        }
        text.push_str("\x1b[?7h");
        // A finished row stays, and the next one is drawn below it.
        self.drawn = if waits { lines.len() } else { 0 };
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Shows a small table of names and values.
    ///
    /// # Errors
    /// The output is closed.
    pub(super) fn summary(&mut self, rows: &[(&str, String)]) -> io::Result<()> {
        let text: Vec<String> = if let Some(width) = self.width {
            let mut table = table(UTF8_HORIZONTAL_ONLY, width);
            // Rules between rows of one line would only take room.
            table.remove_style(TableComponent::HorizontalLines);
            table.remove_style(TableComponent::MiddleIntersections);
            table.add_rows(rows.iter().map(|(name, value)| [(*name).to_owned(), value.clone()]));
            table.lines().collect()
        } else {
            rows.iter().map(|(name, value)| format!("{name}: {value}")).collect()
        };
        self.text(&text.join("\n"))
    }
}

fn layout(cells: [String; 9], width: u16) -> Vec<String> {
    let shown =
        COLUMNS.into_iter().zip(cells).filter(|((name, _), _)| width == WIDE || *name != LEFT_OUT);
    let (columns, cells): (Vec<_>, Vec<String>) = shown.unzip();
    let mut table = table(NOTHING, width);
    table.add_row(cells);
    let fixed = columns.iter().map(|(_, width)| ColumnConstraint::Absolute(Width::Fixed(*width)));
    table.set_constraints(fixed);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().collect()
}

fn table(preset: &str, width: u16) -> Table {
    let mut table = Table::new();
    table.load_preset(preset).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    table
}

fn coloured(line: &str) -> String {
    line.replace('✓', "\x1b[32m✓\x1b[0m").replace('✗', "\x1b[1;31m✗\x1b[0m")
}
