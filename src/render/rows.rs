//! Rows, written as they come where the format allows.

use std::io::{self, Write};

use super::escape::escape_lines;
use super::{Column, Format, JsonObject, TableStyle, delimited, table};

/// How much is gathered before it is handed on: more than standard output gathers, which passes it on without a copy, and
/// little enough to stay in the processor's cache.
const ENOUGH: usize = 32 << 10;

/// Rows that are being written.
pub(crate) struct Rows<'a, R: 'static> {
    /// The format.
    format: Format,
    /// The columns.
    columns: &'a [&'static Column<R>],
    /// How a table looks.
    style: &'a TableStyle<'a>,
    /// JSON's keys with all that surrounds them, made once: of many rows, small pieces cost most.
    keys: Vec<String>,
    /// What is to be handed on.
    buffer: Vec<u8>,
    /// How many rows there were.
    count: u64,
    /// The rows, where nothing can be written before all are known.
    kept: Vec<R>,
}

impl<'a, R> Rows<'a, R> {
    /// Begins to write rows; `name` is the key under which JSON has them.
    ///
    /// # Errors
    /// None: the buffer takes everything.
    pub(crate) fn begin(
        format: Format,
        name: &str,
        columns: &'a [&'static Column<R>],
        style: &'a TableStyle<'a>,
    ) -> io::Result<Self> {
        let key = |(number, column): (usize, &&Column<R>)| {
            format!("{}\"{}\":", if number == 0 { "{" } else { "," }, column.json)
        };
        let keys = columns.iter().enumerate().map(key).collect();
        let mut buffer = Vec::with_capacity(ENOUGH + (ENOUGH >> 2));
        match format {
            Format::Json => JsonObject::schema(&mut buffer)?.field(name)?.write_all(b"[")?,
            Format::Tsv if style.headings => {
                let names: Vec<_> = columns.iter().map(|column| column.name).collect();
                writeln!(buffer, "{}", names.join("\t"))?;
            }
            Format::Tsv | Format::Csv | Format::Table => {}
        }
        Ok(Self { format, columns, style, keys, buffer, count: 0, kept: Vec::new() })
    }

    /// Tells whether rows can only be written when all are there.
    pub(crate) fn keeps(&self) -> bool {
        matches!(self.format, Format::Table | Format::Csv)
    }

    /// Keeps a row until the end.
    pub(crate) fn keep(&mut self, row: R) {
        self.kept.push(row);
    }

    /// Writes a row where rows are not kept.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn write(&mut self, out: &mut impl Write, row: &R) -> io::Result<()> {
        match self.format {
            Format::Table | Format::Csv => {}
            Format::Tsv => delimited::append_tsv(&mut self.buffer, self.columns, row)?,
            Format::Json => {
                if self.count > 0 {
                    self.buffer.push(b',');
                }
                for (key, column) in self.keys.iter().zip(self.columns) {
                    self.buffer.extend_from_slice(key.as_bytes());
                    (column.cell)(row).write_json(&mut self.buffer)?;
                }
                self.buffer.push(b'}');
            }
        }
        self.count += 1;
        if self.buffer.len() >= ENOUGH {
            self.hand_on(out)?;
        }
        Ok(())
    }

    /// Hands on what was gathered, harmless for a terminal where it goes to one.
    fn hand_on(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.style.terminal && matches!(self.format, Format::Csv | Format::Tsv) {
            // The ends of lines stay what they are.
            let lines = String::from_utf8_lossy(&self.buffer).replace("\r\n", "\n");
            let end = if self.format == Format::Csv { "\r\n" } else { "\n" };
            out.write_all(escape_lines(&lines).replace('\n', end).as_bytes())?;
        } else {
            out.write_all(&self.buffer)?;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Writes the end, and all that had to wait for it.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn end(mut self, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            Format::Table => return table::write(out, self.columns, &self.kept, self.style),
            Format::Csv => {
                delimited::write_csv(&mut self.buffer, self.columns, &self.kept, self.style.headings)?;
            }
            Format::Json => self.buffer.extend_from_slice(b"]}\n"),
            Format::Tsv => {}
        }
        self.hand_on(out)
    }
}

/// Writes rows that are all there.
///
/// # Errors
/// The writer's.
pub(crate) fn write_rows<R>(
    out: &mut impl Write,
    format: Format,
    name: &str,
    columns: &[&'static Column<R>],
    rows: Vec<R>,
    style: &TableStyle<'_>,
) -> io::Result<()> {
    let mut writer = Rows::begin(format, name, columns, style)?;
    if writer.keeps() {
        writer.kept = rows;
    } else {
        rows.iter().try_for_each(|row| writer.write(out, row))?;
    }
    writer.end(out)
}
