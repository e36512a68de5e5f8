//! Writes tables: on a wide screen in columns, on a narrow one each row as a block whose cells have labels.

use maud::{Markup, html};

/// A table with a caption. Its first column names the rows.
pub(super) struct Table<'t> {
    pub caption: &'t str,
    pub columns: &'t [Column],
    pub rows: Vec<Vec<Markup>>,
}

/// A column and how it is aligned.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    Words(&'static str),
    Number(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Words(title) | Self::Number(title) => title,
        }
    }

    fn class(self) -> Option<&'static str> {
        matches!(self, Self::Number(_)).then_some("is-number")
    }

    /// A narrow screen leaves out the zeros.
    fn class_of(self, cell: &Markup) -> Option<&'static str> {
        match self {
            Self::Number(_) if cell.0 == "0" => Some("is-number is-zero"),
            Self::Words(_) | Self::Number(_) => self.class(),
        }
    }
}

impl Table<'_> {
    // The roles are said again, because a browser forgets them for what a style sheet lays out as blocks.
    pub(super) fn write(&self) -> Markup {
        html! {
            table role="table" {
                caption { (self.caption) }
                thead role="rowgroup" {
                    tr role="row" {
                        @for column in self.columns {
                            th scope="col" role="columnheader" class=[column.class()] { (column.title()) }
                        }
                    }
                }
                tbody role="rowgroup" {
                    @for row in &self.rows {
                        tr role="row" { (self.cells(row)) }
                    }
                }
            }
        }
    }

    fn cells(&self, row: &[Markup]) -> Markup {
        html! {
            @for (place, (column, cell)) in self.columns.iter().zip(row).enumerate() {
                @if place == 0 {
                    th scope="row" role="rowheader" data-label=(column.title()) {
                        span.cell { (cell) }
                    }
                } @else {
                    td role="cell" data-label=(column.title()) class=[column.class_of(cell)] {
                        span.cell { (cell) }
                    }
                }
            }
        }
    }
}
