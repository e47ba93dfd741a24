//! Typed numbers in a segment, in native byte order.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

/// Defines the argument of `--type`: for each type its name, the Rust type, its variant of [`Value`] and its parser.
macro_rules! value_types {
    ($($variant:ident = $name:literal, $type:ident, $value:ident, $parse:ident;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ValueType {
            $($variant,)+
        }

        impl ValueType {
            pub(crate) const ALL: [(&'static str, Self); [$($name),+].len()] = [$(($name, Self::$variant)),+];

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            pub(crate) const fn size(self) -> usize {
                match self { $(Self::$variant => size_of::<$type>(),)+ }
            }

            /// Returns the numbers in bytes of a multiple of the size.
            fn decode(self, bytes: &[u8]) -> Vec<Value> {
                match self {
                    $(Self::$variant => {
                        let numbers = bytes.as_chunks().0.iter().map(|bytes| $type::from_ne_bytes(*bytes));
                        numbers.map(|number| Value::$value(number.into())).collect()
                    })+
                }
            }
        }

        /// Appends the bytes of a number as typed by the user: decimal, or for integers also `0x` hexadecimal.
        pub(crate) fn encode(kind: ValueType, text: &str, bytes: &mut Vec<u8>) -> Result<(), String> {
            let invalid = |expected| format!("invalid {} {text:?}: expected {expected}", kind.name());
            match kind {
                $(ValueType::$variant => {
                    bytes.extend($parse(text, $type::MIN, $type::MAX).map_err(invalid)?.to_ne_bytes());
                })+
            }
            Ok(())
        }
    };
}

value_types! {
    U8 = "u8", u8, Unsigned, integer;
    U16 = "u16", u16, Unsigned, integer;
    U32 = "u32", u32, Unsigned, integer;
    U64 = "u64", u64, Unsigned, integer;
    I8 = "i8", i8, Signed, integer;
    I16 = "i16", i16, Signed, integer;
    I32 = "i32", i32, Signed, integer;
    I64 = "i64", i64, Signed, integer;
    F32 = "f32", f32, Single, float;
    F64 = "f64", f64, Double, float;
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    /// An f32, not widened to f64: its shortest decimal form would get longer.
    Single(f32),
    Double(f64),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(number) => number.fmt(formatter),
            Self::Signed(number) => number.fmt(formatter),
            // Debug, unlike Display, uses an exponent for very large and very small numbers.
            Self::Single(number) => fmt::Debug::fmt(number, formatter),
            Self::Double(number) => fmt::Debug::fmt(number, formatter),
        }
    }
}

impl Value {
    /// Writes the number as JSON. NaN and infinities, which JSON lacks, are written as strings.
    pub(crate) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Single(number) if !number.is_finite() => write!(out, "\"{number}\""),
            Self::Double(number) if !number.is_finite() => write!(out, "\"{number}\""),
            _ => write!(out, "{self}"),
        }
    }
}

/// Decodes numbers from bytes that arrive in pieces of any length.
#[derive(Debug)]
pub(crate) struct Decoder {
    kind: ValueType,
    /// The first bytes of an incomplete number.
    rest: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(kind: ValueType) -> Self {
        Self { kind, rest: Vec::new() }
    }

    /// Returns the numbers that are complete with these bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Value> {
        let joined = [&self.rest, bytes].concat();
        let whole = joined.len() - joined.len() % self.kind.size();
        self.rest = joined[whole..].to_vec();
        self.kind.decode(&joined[..whole])
    }
}

fn integer<T: TryFrom<i128> + fmt::Display>(text: &str, min: T, max: T) -> Result<T, String> {
    let number = parse_integer(text).and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("{min} to {max}, in decimal without + or a leading zero, or in hexadecimal (0x1f)"))
}

fn float<T: FromStr + PartialOrd>(text: &str, min: T, max: T) -> Result<T, String> {
    // parse() turns a number that is too large into an infinity: accept one only if it was typed.
    let is_infinity = text.trim_start_matches(['-', '+']).to_ascii_lowercase().starts_with("inf");
    let number = text.parse().ok().filter(|number| is_infinity || !(*number < min || *number > max));
    number.ok_or_else(|| format!("a number within the range of a {}-bit float", 8 * size_of::<T>()))
}

/// Parses an integer: decimal without a leading zero, or `0x` hexadecimal, with an optional minus sign.
fn parse_integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_hexadecimal = digits.starts_with("0x") || digits.starts_with("0X");
    if digits.len() > 1 && digits.starts_with('0') && !is_hexadecimal {
        // Ambiguous: it could mean octal.
        return None;
    }
    let magnitude = crate::model::parse_integer(digits).ok().map(i128::from)?;
    Some(if digits.len() < text.len() { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_arrive_in_pieces() {
        let mut bytes = Vec::new();
        encode(ValueType::F32, "0.1", &mut bytes).unwrap();
        encode(ValueType::F32, "-inf", &mut bytes).unwrap();
        let mut decoder = Decoder::new(ValueType::F32);
        let values: Vec<_> = bytes.iter().flat_map(|byte| decoder.feed(&[*byte])).collect();
        assert_eq!(values, [Value::Single(0.1), Value::Single(f32::NEG_INFINITY)]);
    }
}
