//! CSV and TSV.

use std::io::{self, Write};

use super::{Cell, Column};

/// Writes rows as CSV (RFC 4180).
///
/// # Errors
/// The writer's.
pub(super) fn write_csv<R>(out: &mut impl Write, columns: &[&Column<R>], rows: &[R], headings: bool) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    if headings {
        writer.write_record(columns.iter().map(|column| column.name))?;
    }
    let mut field = Vec::new();
    for row in rows {
        for column in columns {
            field.clear();
            (column.cell)(row).write_raw(&mut field)?;
            writer.write_field(&field)?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()
}

/// Writes rows as TSV, in which tab, newline and backslash are escaped.
///
/// # Errors
/// The writer's.
pub(super) fn write_tsv<R>(out: &mut impl Write, columns: &[&Column<R>], rows: &[R], headings: bool) -> io::Result<()> {
    let mut line = Vec::new();
    if headings {
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        writeln!(line, "{}", names.join("\t"))?;
    }
    for row in rows {
        for (number, column) in columns.iter().enumerate() {
            if number > 0 {
                line.push(b'\t');
            }
            match (column.cell)(row) {
                Cell::Text(text) | Cell::Account(Some(text), _) => escape_tsv(text, &mut line),
                cell => cell.write_raw(&mut line)?,
            }
        }
        line.push(b'\n');
        if line.len() >= 60 << 10 {
            out.write_all(&line)?;
            line.clear();
        }
    }
    out.write_all(&line)
}

/// Appends text with its tabs, newlines, carriage returns and backslashes escaped.
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
