//! Canonical hex dump, in the format of `hexdump -C`.

use std::io::{self, Write};

const BYTES_PER_LINE: usize = 16;

/// Writes a hex dump piece by piece; repeated lines are folded into one `*`.
#[derive(Debug, Default)]
pub(crate) struct HexDump {
    previous: Option<[u8; BYTES_PER_LINE]>,
    /// Whether the `*` of the current fold has been written.
    folded: bool,
    /// The bytes of an incomplete line.
    partial: Vec<u8>,
}

impl HexDump {
    /// Writes the bytes at an offset, which must follow those of the previous call.
    pub(crate) fn write(&mut self, out: &mut impl Write, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut start = offset - self.partial.len() as u64;
        self.partial.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.partial);
        let (lines, rest) = bytes.as_chunks();
        for line in lines {
            self.write_or_fold(out, start, *line)?;
            start += BYTES_PER_LINE as u64;
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    /// Writes a range of zeros at an offset, in constant time and memory.
    pub(crate) fn write_zeros(&mut self, out: &mut impl Write, offset: u64, length: u64) -> io::Result<()> {
        let line = BYTES_PER_LINE as u64;
        // The rest of an incomplete line, two whole lines to start a fold, and the start of the last line.
        let head = length.min((line - self.partial.len() as u64) % line);
        let (lines, tail) = ((length - head) / line * line, (length - head) % line);
        for (offset, length) in [(offset, head), (offset + head, lines.min(2 * line)), (offset + length - tail, tail)] {
            self.write(out, offset, &[0; 2 * BYTES_PER_LINE][..usize::try_from(length).unwrap_or(0)])?;
        }
        Ok(())
    }

    pub(crate) fn finish(self, out: &mut impl Write, end: u64) -> io::Result<()> {
        if !self.partial.is_empty() {
            write_line(out, end - self.partial.len() as u64, &self.partial)?;
        }
        writeln!(out, "{end:08x}")
    }

    fn write_or_fold(&mut self, out: &mut impl Write, offset: u64, line: [u8; BYTES_PER_LINE]) -> io::Result<()> {
        if self.previous == Some(line) {
            return if std::mem::replace(&mut self.folded, true) { Ok(()) } else { writeln!(out, "*") };
        }
        (self.previous, self.folded) = (Some(line), false);
        write_line(out, offset, &line)
    }
}

/// Writes one line: offset, hexadecimal bytes, printable characters.
fn write_line(out: &mut impl Write, offset: u64, line: &[u8]) -> io::Result<()> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x} ")).collect::<String>();
    let (left, right) = line.split_at(line.len().min(BYTES_PER_LINE / 2));
    let text: String =
        line.iter().map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' }).collect();
    writeln!(out, "{offset:08x}  {:<24} {:<24} |{text}|", hex(left), hex(right))
}

pub(crate) fn write_hex(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |number: u8| DIGITS[usize::from(number)];
    let text: Vec<u8> = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    out.write_all(&text)
}
