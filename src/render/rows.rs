//! Rows, written one by one if the format allows.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::escape::escape_lines;
use super::{Cell, Column, Format, TableStyle, begin_report, table};

/// The size at which the buffer is written: more than the buffer of standard output, which then passes it on without
/// a copy, and small enough for the processor's cache.
const BUFFER_SIZE: usize = 32 << 10;

pub(crate) struct Rows<'a, R: 'static> {
    format: Format,
    columns: &'a [&'static Column<R>],
    style: &'a TableStyle<'a>,
    buffer: Vec<u8>,
    count: u64,
    /// The rows of a table, whose widths depend on all of them.
    kept: Vec<R>,
}

impl<'a, R> Rows<'a, R> {
    /// Begins to write rows; JSON has them in the field `name`, after the fields of `report`.
    pub(crate) fn begin(
        format: Format,
        report: &impl Serialize,
        name: &str,
        columns: &'a [&'static Column<R>],
        style: &'a TableStyle<'a>,
    ) -> io::Result<Self> {
        let mut buffer = Vec::with_capacity(BUFFER_SIZE + (BUFFER_SIZE >> 2));
        match format {
            Format::Json => {
                begin_report(&mut buffer, report, name)?;
                buffer.push(b'[');
            }
            Format::Tsv if style.headings => {
                let names: Vec<_> = columns.iter().map(|column| column.name).collect();
                writeln!(buffer, "{}", names.join("\t"))?;
            }
            Format::Csv if style.headings => {
                append_csv(&mut buffer, columns.iter().map(|column| column.name.to_owned()))?;
            }
            Format::Tsv | Format::Csv | Format::Table => {}
        }
        Ok(Self { format, columns, style, buffer, count: 0, kept: Vec::new() })
    }

    /// Writes a row, or keeps it until the end.
    pub(crate) fn add(&mut self, out: &mut impl Write, row: R) -> io::Result<()> {
        match self.format {
            Format::Table => self.kept.push(row),
            Format::Csv => {
                let fields = self.columns.iter().map(|column| (column.cell)(&row).to_string());
                append_csv(&mut self.buffer, fields)?;
            }
            Format::Tsv => append_tsv(&mut self.buffer, self.columns, &row)?,
            Format::Json => {
                if self.count > 0 {
                    self.buffer.push(b',');
                }
                let fields = self.columns.iter().map(|column| (column.json, (column.cell)(&row)));
                serde_json::Serializer::new(&mut self.buffer).collect_map(fields)?;
            }
        }
        self.count += 1;
        if self.buffer.len() >= BUFFER_SIZE { self.flush(out) } else { Ok(()) }
    }

    /// Writes rows, or keeps them until the end; the first rows of a table without moving them.
    pub(crate) fn add_all(&mut self, out: &mut impl Write, rows: Vec<R>) -> io::Result<()> {
        if self.format == Format::Table && self.kept.is_empty() {
            self.kept = rows;
            return Ok(());
        }
        rows.into_iter().try_for_each(|row| self.add(out, row))
    }

    /// Begins another list of rows of a JSON report.
    pub(crate) fn begin_list(&mut self, name: &str, columns: &'a [&'static Column<R>]) {
        self.buffer.extend_from_slice(format!("],\"{name}\":[").as_bytes());
        (self.columns, self.count) = (columns, 0);
    }

    /// Writes the end of a JSON report with another list, which is unknown.
    pub(crate) fn end_with_unknown(mut self, out: &mut impl Write, name: &str) -> io::Result<()> {
        self.buffer.extend_from_slice(format!("],\"{name}\":null}}\n").as_bytes());
        self.flush(out)
    }

    /// Writes the buffer, escaped for a terminal.
    fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.style.terminal && matches!(self.format, Format::Csv | Format::Tsv) {
            // The line ends are not escaped.
            let lines = String::from_utf8_lossy(&self.buffer).replace("\r\n", "\n");
            let end = if self.format == Format::Csv { "\r\n" } else { "\n" };
            out.write_all(escape_lines(&lines).replace('\n', end).as_bytes())?;
        } else {
            out.write_all(&self.buffer)?;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Writes the end, and the rows that were kept.
    pub(crate) fn end(mut self, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            Format::Table => return table::write(out, self.columns, &self.kept, self.style),
            Format::Json => self.buffer.extend_from_slice(b"]}\n"),
            Format::Csv | Format::Tsv => {}
        }
        self.flush(out)
    }
}

pub(crate) fn write_rows<R>(
    out: &mut impl Write,
    format: Format,
    report: &impl Serialize,
    name: &str,
    columns: &[&'static Column<R>],
    rows: Vec<R>,
    style: &TableStyle<'_>,
) -> io::Result<()> {
    let mut writer = Rows::begin(format, report, name, columns, style)?;
    writer.add_all(out, rows)?;
    writer.end(out)
}

/// The usual size of a row: the default buffer is larger than the rows that it would be allocated for.
const ROW_SIZE: usize = 512;

/// Appends a row of CSV (RFC 4180).
fn append_csv(line: &mut Vec<u8>, fields: impl Iterator<Item = String>) -> io::Result<()> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).buffer_capacity(ROW_SIZE).from_writer(line);
    writer.write_record(fields.map(String::into_bytes))?;
    writer.flush()
}

fn append_tsv<R>(line: &mut Vec<u8>, columns: &[&Column<R>], row: &R) -> io::Result<()> {
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            line.push(b'\t');
        }
        match (column.cell)(row) {
            Cell::Text(text) | Cell::Account(Some(text), _) => escape_tsv(text, line),
            Cell::Texts(texts) => escape_tsv(&texts.join("; "), line),
            cell => write!(line, "{cell}")?,
        }
    }
    line.push(b'\n');
    Ok(())
}

/// Appends text; tabs, newlines, carriage returns and backslashes are escaped.
fn escape_tsv(text: &str, line: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'\t' => line.extend_from_slice(b"\\t"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\\' => line.extend_from_slice(b"\\\\"),
            _ => line.push(byte),
        }
    }
}
