//! Sizes as users type them and as messages show them.

use std::fmt;

use super::counted;
use super::number::{parse_decimal, parse_integer};

/// The powers of 1024, starting with 1024^1.
const BINARY_UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A number of bytes, displayed in the largest unit that divides it: `16 TiB`, `4097 bytes`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        TotalSize(self.0.into()).fmt(formatter)
    }
}

/// A sum of sizes, which can exceed 64 bits, displayed like one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TotalSize(pub(crate) u128);

impl fmt::Display for TotalSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let divides = |(_, shift): &(&str, u32)| self.0 > 0 && self.0.trailing_zeros() >= *shift;
        match BINARY_UNITS.into_iter().zip((10..).step_by(10)).filter(divides).last() {
            Some((unit, shift)) => write!(formatter, "{} {unit}", self.0 >> shift),
            None => formatter.write_str(&counted(self.0, "byte")),
        }
    }
}

/// Parses a SIZE in bytes: `4096`, `0x1000`, `4K`, `4KiB`, `4KB` in any case.
///
/// K, M, G, T, P (and KiB, …) are powers of 1024; KB, MB, … are powers of 1000.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    if text.starts_with("0x") || text.starts_with("0X") {
        return parse_integer(text);
    }
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        let empty = || "the value is empty".to_owned();
        return Err(if text.is_empty() { empty() } else { "expected a size such as 4096, 64K or 1GiB".to_owned() });
    }
    let number = parse_decimal(digits)?;
    if unit.starts_with('.') {
        return Err("a size is a whole number: use a smaller unit".to_owned());
    }
    let factor = factor(unit).ok_or_else(|| {
        format!("unknown unit {unit:?}: K, M, G, T, P are powers of 1024, KB, MB, GB, TB, PB are powers of 1000")
    })?;
    number.checked_mul(factor).ok_or_else(|| "the size exceeds 64 bits".to_owned())
}

fn factor(unit: &str) -> Option<u64> {
    let (letter, base): (u8, u64) = match *unit.to_ascii_lowercase().as_bytes() {
        [] => return Some(1),
        [letter] | [letter, b'i', b'b'] => (letter, 1024),
        [letter, b'b'] => (letter, 1000),
        _ => return None,
    };
    let power = (1..).zip(b"kmgtp").find(|(_, known)| **known == letter)?.0;
    base.checked_pow(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        for (text, bytes) in
            [("4096", 4096), ("0x1000", 4096), ("4k", 4096), ("4KiB", 4096), ("4KB", 4000), ("1P", 1 << 50), ("0", 0)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "K", "1E", "1.5G", "-1", "1 K", "4Ki", "4B", "010", "0x", "0x1K", "16384P", "K4", "4KK"] {
            assert!(parse_size(bad).is_err(), "{bad:?} was accepted as a size");
        }
        for (bytes, text) in [(16 << 40, "16 TiB"), (4097, "4097 bytes"), (1, "1 byte"), (0, "0 bytes")] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
