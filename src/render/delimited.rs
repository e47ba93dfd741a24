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
            Cell::Number(number) | Cell::Seconds(number) => append_number(number, line),
            Cell::Bytes(number) => match u64::try_from(number) {
                Ok(number) => append_number(number, line),
                Err(_) => write!(line, "{number}")?,
            },
            cell => write!(line, "{cell}")?,
        }
    }
    line.push(b'\n');
    Ok(())
}

/// Appends a number. Rows are mostly numbers, and `Display` is slower.
fn append_number(mut number: u64, line: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            return line.extend_from_slice(&digits[start..]);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_display_does() {
        for number in [0, 7, 10, 4096, u64::MAX] {
            let mut line = Vec::new();
            append_number(number, &mut line);
            assert_eq!(String::from_utf8(line).unwrap(), number.to_string());
        }
    }
}
