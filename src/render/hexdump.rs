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
}

impl HexDump {
    /// Writes bytes that stand at an offset; all but the last call's are a multiple of a line long.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn write(&mut self, out: &mut impl Write, offset: u64, bytes: &[u8]) -> io::Result<()> {
        for (number, line) in bytes.chunks(LINE).enumerate() {
            let whole = line.try_into().ok();
            if whole.is_some() && whole == self.before {
                if !self.folded {
                    self.folded = true;
                    writeln!(out, "*")?;
                }
                continue;
            }
            (self.before, self.folded) = (whole, false);
            write_line(out, offset + (number * LINE) as u64, line)?;
        }
        Ok(())
    }

    /// Writes zeros that stand at an offset and of which nobody has a copy, however many they are.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn zeros(&mut self, out: &mut impl Write, offset: u64, length: u64) -> io::Result<()> {
        // Two lines begin a fold; the end may be part of a line.
        let fold = (2 * LINE as u64).min(length / LINE as u64 * LINE as u64);
        let rest = length % LINE as u64;
        self.write(out, offset, &vec![0; usize::try_from(fold).unwrap_or(0)])?;
        self.write(out, offset + length - rest, &vec![0; usize::try_from(rest).unwrap_or(0)])
    }

    /// Ends the dump with the offset behind its last byte.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn end(self, out: &mut impl Write, end: u64) -> io::Result<()> {
        writeln!(out, "{end:08x}")
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
    fn holes_look_like_zeros() {
        for length in [0_u64, 5, 16, 17, 32, 33, 48, 1000] {
            let (mut of_bytes, mut of_hole) = (Vec::new(), Vec::new());
            let (mut one, mut other) = (HexDump::default(), HexDump::default());
            let bytes = vec![0; usize::try_from(length).unwrap()];
            one.write(&mut of_bytes, 16, &bytes).unwrap();
            other.zeros(&mut of_hole, 16, length).unwrap();
            assert_eq!(of_hole, of_bytes, "{length}");
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
