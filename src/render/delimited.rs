//! CSV and TSV.

use std::io::{self, Write};

use super::{Cell, Column};

/// The usual size of a row: the default buffer is larger than the rows that it would be allocated for.
const ROW_SIZE: usize = 512;

/// Appends a row of CSV (RFC 4180).
pub(super) fn append_csv(line: &mut Vec<u8>, fields: impl Iterator<Item = String>) -> io::Result<()> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).buffer_capacity(ROW_SIZE).from_writer(line);
    writer.write_record(fields.map(String::into_bytes))?;
    writer.flush()
}

pub(super) fn append_tsv<R>(line: &mut Vec<u8>, columns: &[&Column<R>], row: &R) -> io::Result<()> {
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
