//! Tables that fit the terminal, one line per row; unlimited width if standard output is no terminal.
//!
//! IDs and names are never cut, so that they can be copied and piped; long texts are cut with an ellipsis; optional
//! columns are left out by rank. `--json` has everything.

use std::fmt;

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Width, presets};
use shared::model::text::one_line;
use terminal_size::terminal_size_of;

/// A column: its heading, and how it shrinks on a narrow terminal.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    heading: &'static str,
    is_cut: bool,
    /// Higher ranks are left out first; none = always shown.
    rank: Option<u8>,
    /// Whether it is always shown if rows differ in it.
    stays_if_different: bool,
}

/// A column that is always shown whole.
#[must_use]
pub const fn whole(heading: &'static str) -> Column {
    Column { heading, is_cut: false, rank: None, stays_if_different: false }
}

/// A column whose texts are cut on a narrow terminal.
#[must_use]
pub const fn cut(heading: &'static str) -> Column {
    Column { heading, is_cut: true, rank: None, stays_if_different: false }
}

impl Column {
    /// Left out on a narrow terminal, before lower ranks.
    #[must_use]
    pub const fn optional(self, rank: u8) -> Self {
        Self { rank: Some(rank), ..self }
    }

    /// Left out on a narrow terminal, but only if all rows have the same value.
    #[must_use]
    pub const fn optional_if_same(self, rank: u8) -> Self {
        Self { rank: Some(rank), stays_if_different: true, ..self }
    }
}

/// A table for standard output.
pub struct Table {
    table: comfy_table::Table,
    columns: Vec<Column>,
    width: u16,
}

/// The width of the terminal at standard output; none if it is no terminal.
#[must_use]
pub fn width() -> Option<u16> {
    terminal_size_of(std::io::stdout()).map(|(width, _)| width.0)
}

/// The space between columns.
const GAP: u16 = 2;
/// Columns are left out before a cut column becomes narrower than this.
const CUT: u16 = 20;
/// The least width of a cut column.
const NARROWEST: u16 = 12;

impl Table {
    /// A table of these rows, at most as wide as the terminal.
    #[must_use]
    pub fn new(columns: &[Column], rows: Vec<Vec<String>>) -> Self {
        Self::with_width(columns, rows, width().unwrap_or(u16::MAX))
    }

    fn with_width(columns: &[Column], rows: Vec<Vec<String>>, width: u16) -> Self {
        let differ = |place: usize| rows.windows(2).any(|pair| pair[0].get(place) != pair[1].get(place));
        let columns = columns.iter().enumerate().map(|(place, column)| {
            let rank = column.rank.filter(|_| !(column.stays_if_different && differ(place)));
            Column { rank, ..*column }
        });
        let columns: Vec<Column> = columns.collect();
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::NOTHING).set_truncation_indicator("…").set_width(width);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(columns.iter().map(|column| column.heading));
        for row in rows {
            // One line per row: control characters in a message can't forge lines or move the cursor.
            let mut row = Row::from(row.iter().map(|cell| one_line(cell)).collect::<Vec<_>>());
            row.max_height(1);
            table.add_row(row);
        }
        let mut this = Self { table, columns, width };
        this.fit();
        this
    }

    /// Leaves out optional columns until the rest fits; only cut columns shrink.
    fn fit(&mut self) {
        let natural = self.table.column_max_content_widths();
        let needed = |column: &Column, width: u16| GAP + if column.is_cut { width.min(CUT) } else { width };
        let mut shown = vec![true; self.columns.len()];
        loop {
            let widths = self.columns.iter().zip(&natural).zip(&shown).filter(|(_, shown)| **shown);
            let total: u16 = widths.map(|((column, width), _)| needed(column, *width)).fold(0, u16::saturating_add);
            let last = self.columns.iter().enumerate().filter(|(place, it)| shown[*place] && it.rank.is_some());
            let Some((place, _)) = last.max_by_key(|(_, it)| it.rank) else { break };
            if total.saturating_sub(GAP) <= self.width {
                break;
            }
            shown[place] = false;
        }
        for (column, ((own, width), shown)) in
            self.table.column_iter_mut().zip(self.columns.iter().zip(&natural).zip(&shown))
        {
            column.set_padding((0, GAP));
            // Cut at the width, and not after the last whole word.
            column.set_delimiter('\0');
            if !shown {
                column.set_constraint(ColumnConstraint::Hidden);
            } else if own.is_cut {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed((*width).min(NARROWEST) + GAP)));
            } else {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.table.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 5] =
        [whole("ID"), whole("STATUS"), whole("APPLICATION").optional(1), whole("SINCE").optional(2), cut("TITLE")];

    fn rows(title: &str) -> Vec<Vec<String>> {
        let row = ["INC-HEALTH-MWTIGJH0-B72H1X20", "acknowledged", "shop", "2026-11-30 12:00:00", title];
        vec![row.map(str::to_owned).to_vec()]
    }

    #[test]
    fn every_line_fits_and_no_id_is_cut() {
        let long = "Payment processing failed for an order that was placed a long time ago ".repeat(9);
        for (title, width) in
            [("short", 80), (&long, 80), (&long, 120), (&"x".repeat(500), 80), (&"漢字".repeat(90), 80)]
        {
            let text = Table::with_width(&COLUMNS, rows(title), width).to_string();
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(text.contains("INC-HEALTH-MWTIGJH0-B72H1X20"), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{text}");
            assert!(title.len() < 20 || text.ends_with('…'), "{text}");
        }
    }

    #[test]
    fn optional_columns_are_left_out_by_rank() {
        let text = |width| Table::with_width(&COLUMNS, rows("Payment processing failed"), width).to_string();
        assert!(text(120).contains("SINCE") && text(120).contains("Payment processing failed"));
        assert!(
            text(80).contains("APPLICATION") == text(80).contains("shop") && !text(80).contains("SINCE"),
            "{}",
            text(80)
        );
        assert!(!text(60).contains("APPLICATION") && text(60).contains("TITLE"), "{}", text(60));
        assert!(text(20).contains("INC-HEALTH-MWTIGJH0-B72H1X20"), "{}", text(20));
    }

    #[test]
    fn a_column_in_which_rows_differ_stays_and_without_a_terminal_all_do() {
        let columns = [whole("SERVICE"), whole("ENVIRONMENT").optional_if_same(1), cut("REASON")];
        let text = |environments: [&str; 2], width| {
            let row = |environment: &str| vec!["s".repeat(60), environment.to_owned(), "x".repeat(300)];
            Table::with_width(&columns, environments.map(row).to_vec(), width).to_string()
        };
        assert!(!text(["production", "production"], 80).contains("ENVIRONMENT"));
        let differ = text(["production", "test"], 80);
        assert!(differ.contains("ENVIRONMENT") && differ.contains("production") && differ.contains("test"), "{differ}");
        let whole = text(["production", "production"], u16::MAX);
        assert!(whole.contains("ENVIRONMENT") && whole.contains(&"x".repeat(300)), "{whole}");
        assert!(whole.lines().all(|line| line.chars().count() < 400), "{whole}");
    }

    #[test]
    fn a_row_is_one_line_whatever_is_in_it() {
        let text = Table::with_width(&COLUMNS, rows("\u{1b}[31mred\nINC-FORGED\tx"), 200).to_string();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n'), "{text:?}");
    }
}
