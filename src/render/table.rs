//! Tables for people: borderless, in the manner of lsblk.

use std::io::{self, Write};
use std::iter::repeat_n;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets};
use unicode_width::UnicodeWidthStr;

use super::human::text;
use super::{Align, Cell, Column, TimeStyle};
use crate::model::{Stamp, State};

const GAP: u16 = 2;
/// Characters of a cell on a terminal: comfy-table adds up widths in a `u16`.
const LONGEST: usize = 1 << 13;

#[derive(Clone, Copy, Debug)]
pub(crate) struct TableStyle<'a> {
    pub(crate) headings: bool,
    /// Print sizes in bytes, without units.
    pub(crate) bytes: bool,
    pub(crate) time: TimeStyle,
    /// The reference for relative times.
    pub(crate) now: Stamp,
    /// The width of the terminal; `None` if nothing is shortened.
    pub(crate) width: Option<usize>,
    /// Whether it goes to a terminal, even one of unknown width.
    pub(crate) terminal: bool,
    pub(crate) color: bool,
    /// Columns to omit, in this order, if the terminal is too narrow.
    pub(crate) droppable: &'a [&'a str],
    /// Columns of flags to omit unless one is set.
    pub(crate) optional: &'a [&'a str],
}

pub(super) fn write<R>(
    out: &mut impl Write,
    columns: &[&Column<R>],
    rows: &[R],
    style: &TableStyle<'_>,
) -> io::Result<()> {
    let is_set = |column: &Column<R>| rows.iter().any(|row| matches!((column.cell)(row), Cell::Flag(true)));
    let columns: Vec<_> =
        columns.iter().copied().filter(|column| !style.optional.contains(&column.name) || is_set(column)).collect();
    let columns = columns.as_slice();
    if columns.is_empty() || (rows.is_empty() && !style.headings) {
        return Ok(());
    }
    let headings = style.headings.then(|| columns.iter().map(|column| column.name.to_owned()).collect());
    let cells = |row: &R| columns.iter().map(|column| text(&(column.cell)(row), style)).collect();
    let texts: Vec<Vec<String>> = headings.into_iter().chain(rows.iter().map(cells)).collect();
    let state = columns.iter().position(|column| column.name == "STATE");
    let paints: Vec<Style> = (texts.iter().enumerate())
        .map(|(number, row)| match state {
            _ if !style.color => Style::new(),
            _ if style.headings && number == 0 => Style::new().bold(),
            state => Style::new().fg_color(state.and_then(|index| color(&row[index])).map(Into::into)),
        })
        .collect();
    let mut show = |(line, paint): (String, Style)| writeln!(out, "{paint}{}{paint:#}", line.trim_end());
    match style.width {
        Some(width) => fit(columns, texts, width, style.droppable).lines().zip(paints).try_for_each(&mut show),
        None => pad(columns, &texts).zip(paints).try_for_each(&mut show),
    }
}

fn color(state: &str) -> Option<AnsiColor> {
    let colors = [(State::Orphan, AnsiColor::Yellow), (State::Dest, AnsiColor::Red)];
    colors.into_iter().find(|(known, _)| known.as_str() == state).map(|(_, color)| color)
}

/// Pads each text to the width of its column, in less time than comfy-table takes: long tables are piped.
fn pad<R>(columns: &[&Column<R>], texts: &[Vec<String>]) -> impl Iterator<Item = String> {
    let width = |text: &str| if text.is_ascii() { text.len() } else { text.width() };
    let widest = move |index: usize| texts.iter().map(|row: &Vec<String>| width(&row[index])).fold(1, usize::max);
    let columns: Vec<_> = columns.iter().enumerate().map(|(index, column)| (column.align, widest(index))).collect();
    texts.iter().map(move |row| {
        let mut line = String::new();
        for (text, (align, widest)) in row.iter().zip(&columns) {
            let spaces = repeat_n(' ', widest - width(text));
            match align {
                Align::Left => {
                    line.push_str(text);
                    line.extend(spaces);
                }
                Align::Right => {
                    line.extend(spaces);
                    line.push_str(text);
                }
            }
            line.extend(repeat_n(' ', GAP.into()));
        }
        line
    })
}

/// Fits a table to a terminal: hides droppable columns as far as necessary, then truncates free text.
fn fit<R>(columns: &[&Column<R>], texts: Vec<Vec<String>>, width: usize, droppable: &[&str]) -> Table {
    // The last column has a gap as well, which trimming the lines removes.
    let width = u16::try_from(width).unwrap_or(u16::MAX).saturating_add(GAP);
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    // Texts contain no newline: they are truncated at any character, not at a space.
    table.set_truncation_indicator("…").set_delimiter('\n');
    for row in texts {
        let cells = row.into_iter().map(|text| text.chars().take(LONGEST).collect::<String>());
        let mut row = Row::from(cells.collect::<Vec<_>>());
        row.max_height(1);
        table.add_row(row);
    }
    let least = |column: &Column<R>, widest: u16| {
        let least = column.least.map(|least| least.max(column.name.len()));
        widest.min(least.and_then(|least| u16::try_from(least).ok()).unwrap_or(u16::MAX)).saturating_add(GAP)
    };
    let widest = table.column_max_content_widths();
    let least: Vec<u16> = columns.iter().zip(widest).map(|(column, widest)| least(column, widest)).collect();
    let mut total: usize = least.iter().copied().map(usize::from).sum();
    for ((shown, column), least) in table.column_iter_mut().zip(columns).zip(&least) {
        shown.set_padding((0, GAP));
        shown.set_constraint(match column.least {
            Some(_) => ColumnConstraint::LowerBoundary(Width::Fixed(*least)),
            None => ColumnConstraint::ContentWidth,
        });
        shown.set_cell_alignment(match column.align {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        });
    }
    for name in droppable {
        if let Some(index) = columns.iter().position(|column| column.name == *name)
            && total > width.into()
        {
            total -= usize::from(least[index]);
            table.column_iter_mut().nth(index).map(|column| column.set_constraint(ColumnConstraint::Hidden));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    static COLUMNS: [Column<String>; 2] = [
        Column::left("COMMAND", |text: &String| Cell::Text(text)).shortened_to(8),
        Column::left("STATE", |_| Cell::Word("orphan")),
    ];

    fn table(rows: &[String], width: Option<usize>) -> String {
        let (time, now, terminal, droppable) = (TimeStyle::Unix, Stamp(0), width.is_some(), &["STATE"][..]);
        let style = TableStyle {
            headings: true,
            bytes: true,
            time,
            now,
            width,
            terminal,
            color: false,
            droppable,
            optional: &[],
        };
        let mut out = Vec::new();
        write(&mut out, &COLUMNS.iter().collect::<Vec<_>>(), rows, &style).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn wide_characters_are_padded_by_their_width() {
        let rows = ["日本".to_owned(), "sh".to_owned()];
        for width in [None, Some(80)] {
            assert_eq!(table(&rows, width), "COMMAND  STATE\n日本     orphan\nsh       orphan\n");
        }
    }

    #[test]
    fn a_terminal_truncates_text_of_any_length() {
        for text in ["x".repeat(100_000), "日本".repeat(40_000)] {
            let table = table(&[text.clone(), text], Some(40));
            assert!(table.lines().all(|line| line.width() <= 40), "{table}");
            assert_eq!(table.matches('…').count(), 2, "{table}");
        }
    }
}
