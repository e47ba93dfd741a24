//! The canonical hex dump, as `hexdump -C` draws it.

use std::io::{self, Write};

/// Bytes to a line.
const LINE: usize = 16;

/// A dump that is being written; lines that repeat the one before are folded into a `*`.
#[derive(Debug, Default)]
pub(crate) struct HexDump {
    /// The line before.
    before: Option<[u8; LINE]>,
    /// Whether the fold has been marked.
    folded: bool,
    /// The beginning of a line whose rest is to come.
    begun: Vec<u8>,
}

impl HexDump {
    /// Writes bytes that stand at an offset, right behind those of the call before.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn write(&mut self, out: &mut impl Write, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut offset, mut bytes) = (offset, bytes);
        if !self.begun.is_empty() {
            let (head, tail) = bytes.split_at(bytes.len().min(LINE - self.begun.len()));
            let start = offset - self.begun.len() as u64;
            self.begun.extend_from_slice(head);
            let Ok(line) = self.begun.as_slice().try_into() else { return Ok(()) };
            self.line(out, start, line)?;
            self.begun.clear();
            (offset, bytes) = (offset + head.len() as u64, tail);
        }
        let (lines, rest) = bytes.as_chunks();
        for (number, line) in lines.iter().enumerate() {
            self.line(out, offset + (number * LINE) as u64, *line)?;
        }
        self.begun.extend_from_slice(rest);
        Ok(())
    }

    /// Writes zeros that stand at an offset and of which nobody has a copy, however many they are.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn zeros(&mut self, out: &mut impl Write, offset: u64, length: u64) -> io::Result<()> {
        let line = LINE as u64;
        // The end of a line that is begun, two lines that begin a fold, and the beginning of another line.
        let head = length.min((line - self.begun.len() as u64) % line);
        let (lines, tail) = ((length - head) / line * line, (length - head) % line);
        for (offset, length) in [(offset, head), (offset + head, lines.min(2 * line)), (offset + length - tail, tail)] {
            self.write(out, offset, &[0; 2 * LINE][..usize::try_from(length).unwrap_or(0)])?;
        }
        Ok(())
    }

    /// Ends the dump with the offset behind its last byte.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn end(self, out: &mut impl Write, end: u64) -> io::Result<()> {
        if !self.begun.is_empty() {
            write_line(out, end - self.begun.len() as u64, &self.begun)?;
        }
        writeln!(out, "{end:08x}")
    }

    /// Writes a whole line, or folds it.
    fn line(&mut self, out: &mut impl Write, offset: u64, line: [u8; LINE]) -> io::Result<()> {
        if self.before == Some(line) {
            return if std::mem::replace(&mut self.folded, true) { Ok(()) } else { writeln!(out, "*") };
        }
        (self.before, self.folded) = (Some(line), false);
        write_line(out, offset, &line)
    }
}

/// Writes one line: offset, bytes, and what of them can be shown.
fn write_line(out: &mut impl Write, offset: u64, line: &[u8]) -> io::Result<()> {
    let mut text = format!("{offset:08x} ");
    for place in 0..LINE {
        if place % 8 == 0 {
            text.push(' ');
        }
        match line.get(place) {
            Some(byte) => text.push_str(&format!("{byte:02x} ")),
            None => text.push_str("   "),
        }
    }
    text.push_str(" |");
    text.extend(line.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    }));
    writeln!(out, "{text}|")
}

/// Writes bytes as hexadecimal digits, two for each.
///
/// # Errors
/// The writer's.
pub(crate) fn write_hex(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |number: u8| DIGITS[usize::from(number)];
    let text: Vec<u8> = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    out.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_may_end_anywhere() {
        let mut bytes = vec![0; 100];
        bytes.extend(b"begin, and go on for more than a line".iter());
        bytes.extend(vec![0; 400]);
        let mut whole = Vec::new();
        let mut dump = HexDump::default();
        dump.write(&mut whole, 5, &bytes).unwrap();
        dump.end(&mut whole, 5 + bytes.len() as u64).unwrap();
        for length in 1..150 {
            for holes in [false, true] {
                let (mut parts, mut dump, mut offset) = (Vec::new(), HexDump::default(), 5);
                for part in bytes.chunks(length) {
                    if holes && part.iter().all(|byte| *byte == 0) {
                        dump.zeros(&mut parts, offset, part.len() as u64).unwrap();
                    } else {
                        dump.write(&mut parts, offset, part).unwrap();
                    }
                    offset += part.len() as u64;
                }
                dump.end(&mut parts, offset).unwrap();
                assert_eq!(String::from_utf8_lossy(&parts), String::from_utf8_lossy(&whole), "{length}, {holes}");
            }
        }
    }

    #[test]
    fn holes_look_like_zeros() {
        for (length, before) in
            [0_u64, 5, 16, 17, 32, 33, 48, 1000].into_iter().flat_map(|length| [(length, 0), (length, 5)])
        {
            let (mut of_bytes, mut of_hole) = (Vec::new(), Vec::new());
            let (mut one, mut other) = (HexDump::default(), HexDump::default());
            one.write(&mut of_bytes, 16 - before, &b"begun"[..usize::try_from(before).unwrap()]).unwrap();
            other.write(&mut of_hole, 16 - before, &b"begun"[..usize::try_from(before).unwrap()]).unwrap();
            one.write(&mut of_bytes, 16, &vec![0; usize::try_from(length).unwrap()]).unwrap();
            other.zeros(&mut of_hole, 16, length).unwrap();
            one.end(&mut of_bytes, 16 + length).unwrap();
            other.end(&mut of_hole, 16 + length).unwrap();
            assert_eq!(of_hole, of_bytes, "{length} behind {before}");
        }
    }

    #[test]
    fn the_dump_is_the_one_that_everybody_knows() {
        let mut out = Vec::new();
        let mut dump = HexDump::default();
        dump.write(&mut out, 0, b"Hello, world!\n\x00\xff").unwrap();
        dump.write(&mut out, 16, &[0; 64]).unwrap();
        dump.write(&mut out, 80, b"end").unwrap();
        dump.end(&mut out, 83).unwrap();
        let expected = "\
00000000  48 65 6c 6c 6f 2c 20 77  6f 72 6c 64 21 0a 00 ff  |Hello, world!...|
00000010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
*
00000050  65 6e 64                                          |end|
00000053
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
