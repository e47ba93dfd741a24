//! Unsigned integers as users type them. Signs, trailing characters and overflow are errors.
//!
//! The errors are reasons: callers, or clap, name the value in front of them.

/// Parses an integer: decimal, `0x` hexadecimal or, with a leading 0, octal.
pub(crate) fn parse_integer(text: &str) -> Result<u64, String> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hexadecimal) => (hexadecimal, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    parse_digits(digits, radix).map_err(|problem| match (problem, radix) {
        (DigitsError::Empty, 16) => "expected digits after 0x".to_owned(),
        (DigitsError::Empty, _) => "the value is empty".to_owned(),
        (DigitsError::Invalid, 8) => "expected octal digits after the leading 0".to_owned(),
        (DigitsError::Invalid, _) => "expected an integer".to_owned(),
        (DigitsError::TooLarge, _) => "the number exceeds 64 bits".to_owned(),
    })
}

/// Parses a decimal integer without a leading zero, which some programs read as octal and others ignore.
pub(crate) fn parse_decimal(text: &str) -> Result<u64, String> {
    if text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a leading zero is ambiguous: it could mean octal".to_owned());
    }
    parse_digits(text, 10).map_err(|problem| match problem {
        DigitsError::Empty => "the value is empty".to_owned(),
        DigitsError::Invalid => "expected a decimal integer".to_owned(),
        DigitsError::TooLarge => "the number exceeds 64 bits".to_owned(),
    })
}

/// Parses a byte: 0 to 255, or 0x00 to 0xff.
pub(crate) fn parse_byte(text: &str) -> Result<u8, String> {
    let number = parse_integer(text)?;
    u8::try_from(number).map_err(|_| "expected a byte, 0 to 255".to_owned())
}

/// Parses bytes of two hexadecimal digits each, with optional white space between bytes.
pub(crate) fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for word in text.split_ascii_whitespace() {
        if !word.is_ascii() || word.len() % 2 != 0 {
            return Err(format!("expected two hexadecimal digits per byte in {word:?}"));
        }
        for pair in word.as_bytes().chunks(2) {
            let digits = std::str::from_utf8(pair).unwrap_or_default();
            let byte = parse_digits(digits, 16).ok().and_then(|byte| u8::try_from(byte).ok());
            bytes.push(byte.ok_or_else(|| format!("expected two hexadecimal digits instead of {digits:?}"))?);
        }
    }
    Ok(bytes)
}

enum DigitsError {
    Empty,
    /// There is a character that is not a digit.
    Invalid,
    /// The number exceeds 64 bits.
    TooLarge,
}

/// Parses digits. Unlike `from_str_radix`, it rejects a sign.
fn parse_digits(digits: &str, radix: u32) -> Result<u64, DigitsError> {
    if digits.is_empty() {
        return Err(DigitsError::Empty);
    }
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(DigitsError::Invalid);
    }
    u64::from_str_radix(digits, radix).map_err(|_| DigitsError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_trailing_characters_and_overflow_are_invalid() {
        assert_eq!(parse_integer("1234"), Ok(1234));
        assert_eq!(parse_integer("0x4D2"), Ok(1234));
        assert_eq!(parse_integer("02322"), Ok(1234));
        assert_eq!(parse_integer("0"), Ok(0));
        assert_eq!(parse_integer("18446744073709551615"), Ok(u64::MAX));
        for bad in ["", "0x", "-1", "+1", "12abc", "0x1g", "089", " 1", "1 ", "1_000", "18446744073709551616", "1.0"] {
            assert!(parse_integer(bad).is_err(), "{bad:?} was accepted as a number");
        }
    }

    #[test]
    fn a_decimal_number_has_no_leading_zero() {
        assert_eq!(parse_decimal("10"), Ok(10));
        assert_eq!(parse_decimal("0"), Ok(0));
        assert!(parse_decimal("010").is_err_and(|message| message.contains("octal")));
        assert!(parse_decimal("00").is_err());
    }

    #[test]
    fn hexadecimal_bytes_have_two_digits_each() {
        assert_eq!(parse_hex("00ff 7F"), Ok(vec![0, 255, 127]));
        assert_eq!(parse_hex(""), Ok(vec![]));
        for bad in ["0", "0x00", "0g", "+1", "é"] {
            assert!(parse_hex(bad).is_err(), "{bad:?} was accepted as bytes");
        }
    }

    #[test]
    fn a_byte_is_at_most_255() {
        assert_eq!(parse_byte("255"), Ok(255));
        assert_eq!(parse_byte("0xff"), Ok(255));
        assert!(parse_byte("256").is_err());
    }
}
