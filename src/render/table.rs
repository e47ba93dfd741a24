//! Tables for people: borderless, in the manner of lsblk.

use std::borrow::Cow;
use std::io::{self, Write};
use std::iter::repeat_n;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use super::human::text;
use super::{Align, Cell, Column, TimeStyle};
use crate::model::{Stamp, State};

const GAP: usize = 2;

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
    /// What stands for the part of a text that is left out.
    pub(crate) ellipsis: &'static str,
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
    let headings = style.headings.then(|| columns.iter().map(|column| column.name.into()).collect());
    let rows_of_text = rows.iter().map(|row| columns.iter().map(|column| text(&(column.cell)(row), style)).collect());
    let texts: Vec<Vec<Cow<'_, str>>> = headings.into_iter().chain(rows_of_text).collect();
    let state = columns.iter().position(|column| column.name == "STATE");
    let paints = texts[usize::from(style.headings)..].iter().zip(rows).map(|(texts, row)| {
        let by_state = state.and_then(|index| color(&texts[index]));
        by_state.or_else(|| columns.iter().find_map(|column| (column.color)(row)))
    });
    let paints = paints.map(|color| Style::new().fg_color(color.filter(|_| style.color).map(Into::into)));
    let heading = style.headings.then(|| if style.color { Style::new().bold() } else { Style::new() });
    let paints: Vec<Style> = heading.into_iter().chain(paints).collect();
    let columns = columns.iter().enumerate();
    let mut shown: Vec<_> = columns.map(|(index, column)| Shown::new(*column, index, &texts)).collect();
    if let Some(width) = style.width {
        fit(&mut shown, width, style.droppable);
    }
    let mut rows = texts.iter().zip(paints);
    rows.try_for_each(|(row, paint)| writeln!(out, "{paint}{}{paint:#}", line(&shown, row, style.ellipsis)))
}

fn color(state: &str) -> Option<AnsiColor> {
    let colors = [(State::Orphan, AnsiColor::Yellow), (State::Dest, AnsiColor::Red)];
    colors.into_iter().find(|(known, _)| known.as_str() == state).map(|(_, color)| color)
}

/// A column as it is shown.
struct Shown<'a, R: 'static> {
    column: &'a Column<R>,
    /// Its position in each row.
    index: usize,
    width: usize,
    /// The width to which it may be shortened.
    least: usize,
    /// The width to which it may be shortened before others are omitted.
    preferred: usize,
}

impl<'a, R> Shown<'a, R> {
    /// Returns a column that is as wide as its widest text.
    fn new(column: &'a Column<R>, index: usize, texts: &[Vec<Cow<'_, str>>]) -> Self {
        let width = texts.iter().map(|row| width(&row[index])).fold(1, usize::max);
        let least = column.least.map_or(width, |least| width.min(least.max(column.name.len())));
        Self { column, index, width, least, preferred: width.min(column.preferred).max(least) }
    }
}

fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// Fits columns to a terminal: omits droppable ones as far as necessary, then narrows the widest texts.
fn fit<R>(shown: &mut Vec<Shown<'_, R>>, width: usize, droppable: &[&str]) {
    fn total<R>(shown: &[Shown<'_, R>], width: fn(&Shown<'_, R>) -> usize) -> usize {
        shown.iter().map(|shown| width(shown) + GAP).sum::<usize>().saturating_sub(GAP)
    }
    for name in droppable {
        if total(shown, |shown| shown.preferred) > width {
            shown.retain(|shown| shown.column.name != *name);
        }
    }
    for shown in shown.iter_mut() {
        // No text can be wider than all columns together.
        shown.width = shown.width.min(width).max(shown.least);
    }
    for _ in width..total(shown, |shown| shown.width) {
        let narrowable = shown.iter_mut().filter(|shown| shown.width > shown.least);
        if let Some(widest) = narrowable.max_by_key(|shown| shown.width) {
            widest.width -= 1;
        }
    }
}

/// Returns a row with each text shortened and padded to the width of its column.
fn line<R>(shown: &[Shown<'_, R>], row: &[Cow<'_, str>], ellipsis: &str) -> String {
    let mut line = String::with_capacity(shown.iter().map(|shown| shown.width + GAP).sum());
    for Shown { column, index, width: widest, .. } in shown {
        let mut text = Cow::Borrowed(&*row[*index]);
        if width(&text) > *widest {
            text = (column.shorten)(&text, *widest, ellipsis).into();
        }
        let spaces = repeat_n(' ', widest.saturating_sub(width(&text)));
        match column.align {
            Align::Left => {
                line.push_str(&text);
                line.extend(spaces);
            }
            Align::Right => {
                line.extend(spaces);
                line.push_str(&text);
            }
        }
        line.extend(repeat_n(' ', GAP));
    }
    line.truncate(line.trim_end().len());
    line
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
            ellipsis: "…",
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
