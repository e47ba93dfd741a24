//! Typed numbers in a segment, in native byte order.

use std::fmt;
use std::io::{self, Write};

/// The argument of `--type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueType {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

/// A number that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    /// An f32, not widened to f64: its shortest decimal form would get longer.
    Single(f32),
    Double(f64),
}

impl ValueType {
    pub(crate) const ALL: [(&'static str, Self); 10] = [
        ("u8", Self::U8),
        ("u16", Self::U16),
        ("u32", Self::U32),
        ("u64", Self::U64),
        ("i8", Self::I8),
        ("i16", Self::I16),
        ("i32", Self::I32),
        ("i64", Self::I64),
        ("f32", Self::F32),
        ("f64", Self::F64),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, each)| *each == self).map_or("", |(name, _)| name)
    }

    /// Returns the size in bytes.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
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
        decode(self.kind, &joined[..whole])
    }
}

fn decode(kind: ValueType, bytes: &[u8]) -> Vec<Value> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> Value) -> Vec<Value> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| number(*chunk)).collect()
    }
    match kind {
        ValueType::U8 => each(bytes, |chunk| Value::Unsigned(u8::from_ne_bytes(chunk).into())),
        ValueType::U16 => each(bytes, |chunk| Value::Unsigned(u16::from_ne_bytes(chunk).into())),
        ValueType::U32 => each(bytes, |chunk| Value::Unsigned(u32::from_ne_bytes(chunk).into())),
        ValueType::U64 => each(bytes, |chunk| Value::Unsigned(u64::from_ne_bytes(chunk))),
        ValueType::I8 => each(bytes, |chunk| Value::Signed(i8::from_ne_bytes(chunk).into())),
        ValueType::I16 => each(bytes, |chunk| Value::Signed(i16::from_ne_bytes(chunk).into())),
        ValueType::I32 => each(bytes, |chunk| Value::Signed(i32::from_ne_bytes(chunk).into())),
        ValueType::I64 => each(bytes, |chunk| Value::Signed(i64::from_ne_bytes(chunk))),
        ValueType::F32 => each(bytes, |chunk| Value::Single(f32::from_ne_bytes(chunk))),
        ValueType::F64 => each(bytes, |chunk| Value::Double(f64::from_ne_bytes(chunk))),
    }
}

/// Appends the bytes of a number as typed by the user: decimal, or for integers also `0x` hexadecimal.
pub(crate) fn encode(kind: ValueType, text: &str, bytes: &mut Vec<u8>) -> Result<(), String> {
    let invalid = |expected: String| format!("invalid {} {text:?}: expected {expected}", kind.name());
    macro_rules! integer {
        ($type:ty) => {{
            let number = parse_integer(text).and_then(|number| <$type>::try_from(number).ok());
            let number = number.ok_or_else(|| invalid(format!("{} to {}", <$type>::MIN, <$type>::MAX)))?;
            bytes.extend_from_slice(&number.to_ne_bytes());
        }};
    }
    macro_rules! float {
        ($type:ty) => {{
            // parse() turns a number that is too large into an infinity: accept one only if it was typed.
            let is_infinity = text.trim_start_matches(['-', '+']).to_ascii_lowercase().starts_with("inf");
            let number = text.parse::<$type>().ok().filter(|number| is_infinity || !number.is_infinite());
            let bits = 8 * size_of::<$type>();
            let number = number.ok_or_else(|| invalid(format!("a number within the range of a {bits}-bit float")))?;
            bytes.extend_from_slice(&number.to_ne_bytes());
        }};
    }
    match kind {
        ValueType::U8 => integer!(u8),
        ValueType::U16 => integer!(u16),
        ValueType::U32 => integer!(u32),
        ValueType::U64 => integer!(u64),
        ValueType::I8 => integer!(i8),
        ValueType::I16 => integer!(i16),
        ValueType::I32 => integer!(i32),
        ValueType::I64 => integer!(i64),
        ValueType::F32 => float!(f32),
        ValueType::F64 => float!(f64),
    }
    Ok(())
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
    use proptest::prelude::*;

    /// Encodes and decodes one number, and returns it as JSON.
    fn round_trip(kind: ValueType, text: &str) -> Option<String> {
        let mut bytes = Vec::new();
        encode(kind, text, &mut bytes).ok()?;
        assert_eq!(bytes.len(), kind.size());
        let mut decoder = Decoder::new(kind);
        let values: Vec<_> = bytes.iter().flat_map(|byte| decoder.feed(&[*byte])).collect();
        assert_eq!((values.len(), decoder.rest.len()), (1, 0));
        Some(json(values[0]))
    }

    fn json(value: Value) -> String {
        let mut text = Vec::new();
        value.write_json(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn numbers_outside_the_range_of_their_type_are_invalid() {
        assert_eq!(round_trip(ValueType::I32, "-523").as_deref(), Some("-523"));
        assert_eq!(round_trip(ValueType::I8, "-0x80").as_deref(), Some("-128"));
        assert_eq!(round_trip(ValueType::U8, "0xff").as_deref(), Some("255"));
        assert_eq!(round_trip(ValueType::U64, "18446744073709551615").as_deref(), Some("18446744073709551615"));
        assert_eq!(round_trip(ValueType::F32, "0.1").as_deref(), Some("0.1"));
        assert_eq!(round_trip(ValueType::F64, "1e300").as_deref(), Some("1e300"));
        assert_eq!(round_trip(ValueType::F64, "NaN").as_deref(), Some("\"NaN\""));
        assert_eq!(round_trip(ValueType::F32, "-inf").as_deref(), Some("\"-inf\""));
        for (kind, bad) in [
            (ValueType::U8, "256"),
            (ValueType::U8, "-1"),
            (ValueType::I8, "128"),
            (ValueType::I32, "1.5"),
            (ValueType::F32, "x"),
            (ValueType::I64, ""),
        ] {
            assert_eq!(round_trip(kind, bad), None, "{bad:?} was accepted as {}", kind.name());
        }
    }

    proptest! {
        #[test]
        fn every_double_survives_a_round_trip_through_json(bits: u64) {
            let json = json(Value::Double(f64::from_bits(bits)));
            if f64::from_bits(bits).is_finite() {
                prop_assert_eq!(json.parse::<f64>().unwrap().to_bits(), bits);
                prop_assert!(serde_json::from_str::<f64>(&json).is_ok());
            } else {
                prop_assert!(json.starts_with('"'));
            }
        }
    }
}
