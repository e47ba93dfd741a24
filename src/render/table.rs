//! Tables for people: borderless, in the manner of lsblk.

use std::collections::HashMap;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::human::{Look, text};
use super::{Align, Column, TimeStyle};
use crate::model::{Stamp, State};

/// Rows that are drawn at a time: the cost of a table grows faster than its rows.
const CHUNK: usize = 500;
/// Columns of space between two columns.
const GAP: usize = 2;

/// How a table looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableStyle<'a> {
    /// With headings.
    pub(crate) headings: bool,
    /// Sizes in bytes, not in units.
    pub(crate) bytes: bool,
    /// Moments.
    pub(crate) time: TimeStyle,
    /// What "ago" counts from.
    pub(crate) now: Stamp,
    /// Columns of the terminal; `None` if nothing is to be cut.
    pub(crate) width: Option<usize>,
    /// For a terminal, be its width known or not.
    pub(crate) terminal: bool,
    /// With colour.
    pub(crate) color: bool,
    /// Columns that may be left out, in this order, where the terminal is too narrow.
    pub(crate) droppable: &'a [&'a str],
}

/// Writes rows as a table.
pub(super) fn write<R>(
    out: &mut impl Write,
    columns: &[&Column<R>],
    rows: &[R],
    style: &TableStyle<'_>,
) -> io::Result<()> {
    if columns.is_empty() || (rows.is_empty() && !style.headings) {
        return Ok(());
    }
    let look = Look { bytes: style.bytes, time: style.time, now: style.now };
    let mut columns = columns.to_vec();
    let mut texts: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|column| text(&(column.cell)(row), look)).collect()).collect();
    let mut widths: Vec<usize> = (0..columns.len())
        .map(|index| {
            let heading = if style.headings { columns[index].name.len() } else { 0 };
            texts.iter().map(|row| width(&row[index])).max().unwrap_or(0).max(heading)
        })
        .collect();
    if let Some(available) = style.width {
        fit(&mut columns, &mut texts, &mut widths, available, style.droppable);
    }
    let headings: Option<Vec<String>> =
        style.headings.then(|| columns.iter().map(|column| column.name.to_owned()).collect());
    draw(out, &columns, headings.into_iter().collect(), &widths, style.color.then(|| Style::new().bold()))?;
    let state = columns.iter().position(|column| column.name == "STATE").filter(|_| style.color);
    while !texts.is_empty() {
        let rest = texts.split_off(texts.len().min(CHUNK));
        let chunk = std::mem::replace(&mut texts, rest);
        match state {
            None => draw(out, &columns, chunk, &widths, None)?,
            Some(index) => draw_painted(out, &columns, chunk, &widths, index)?,
        }
    }
    Ok(())
}

/// Cuts free text, then leaves columns out, until the lines fit.
fn fit<R>(
    columns: &mut Vec<&Column<R>>,
    texts: &mut [Vec<String>],
    widths: &mut Vec<usize>,
    available: usize,
    droppable: &[&str],
) {
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * (widths.len() - 1);
    let mut names = droppable.iter();
    loop {
        let excess = total(widths).saturating_sub(available);
        if excess == 0 {
            return;
        }
        let free: Vec<usize> = (0..columns.len()).filter(|index| columns[*index].least.is_some()).collect();
        let least = |index: usize| {
            let column = columns[index];
            widths[index].min(column.least.unwrap_or(0).max(column.name.len()))
        };
        let slack: usize = free.iter().map(|index| widths[*index] - least(*index)).sum();
        if slack >= excess || (names.len() == 0 && slack > 0) {
            let least: HashMap<usize, usize> = free.iter().map(|index| (*index, least(*index))).collect();
            let mut left = excess.min(slack);
            for index in free {
                let taken = left.min(widths[index] - least[&index]);
                left -= taken;
                widths[index] -= taken;
                texts.iter_mut().for_each(|row| cut(&mut row[index], widths[index]));
            }
            return;
        }
        let Some(name) = names.next() else { return };
        if let Some(index) = columns.iter().position(|column| column.name == *name) {
            columns.remove(index);
            widths.remove(index);
            texts.iter_mut().for_each(|row| drop(row.remove(index)));
        }
    }
}

/// Gives the columns that a text takes on a terminal.
fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// Cuts a text to a width, with a mark where it was cut.
fn cut(text: &mut String, most: usize) {
    if width(text) <= most {
        return;
    }
    let mut taken = 0;
    let end = text.char_indices().find(|(_, character)| {
        taken += character.width().unwrap_or(0);
        taken + 1 > most
    });
    if let Some((end, _)) = end {
        text.truncate(end);
        text.push('…');
    }
}

/// Draws rows, the whole lines in one style.
fn draw<R>(
    out: &mut impl Write,
    columns: &[&Column<R>],
    rows: Vec<Vec<String>>,
    widths: &[usize],
    paint: Option<Style>,
) -> io::Result<()> {
    for line in lines(columns, rows, widths) {
        match paint {
            Some(style) => writeln!(out, "{style}{}{style:#}", line.trim_end())?,
            None => writeln!(out, "{}", line.trim_end())?,
        }
    }
    Ok(())
}

/// Draws rows, each line in the colour of its state.
fn draw_painted<R>(
    out: &mut impl Write,
    columns: &[&Column<R>],
    rows: Vec<Vec<String>>,
    widths: &[usize],
    state: usize,
) -> io::Result<()> {
    let colors: Vec<_> = rows.iter().map(|row| color(&row[state])).collect();
    for (line, color) in lines(columns, rows, widths).zip(colors) {
        let style = Style::new().fg_color(color.map(Into::into));
        writeln!(out, "{style}{}{style:#}", line.trim_end())?;
    }
    Ok(())
}

/// Gives the colour of a state, which its word says as well.
fn color(state: &str) -> Option<AnsiColor> {
    if state == State::Orphan.word() {
        Some(AnsiColor::Yellow)
    } else if state == State::Dest.word() {
        Some(AnsiColor::Red)
    } else {
        None
    }
}

/// Lays rows out in columns of fixed widths.
fn lines<R>(columns: &[&Column<R>], rows: Vec<Vec<String>>, widths: &[usize]) -> impl Iterator<Item = String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for row in rows {
        table.add_row(row.into_iter().map(comfy_table::Cell::new_owned).collect::<Vec<_>>());
    }
    let last = columns.len().saturating_sub(1);
    for (index, (column, width)) in columns.iter().zip(widths).enumerate() {
        let Some(drawn) = table.column_mut(index) else { continue };
        let gap = if index == last { 0 } else { GAP };
        let number = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        drawn.set_padding((0, number(gap)));
        drawn.set_constraint(ColumnConstraint::Absolute(Width::Fixed(number(width.max(&1) + gap))));
        drawn.set_cell_alignment(match column.align {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        });
    }
    table.lines().collect::<Vec<_>>().into_iter()
}
