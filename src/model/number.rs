//! Unsigned integers as users type them. Signs, trailing characters and overflow are errors.
//!
//! The errors are reasons: callers, or clap, name the value in front of them.

/// Parses an integer: decimal, `0x` hexadecimal or, with a leading 0, octal.
pub(crate) fn parse_integer(text: &str) -> Result<u64, String> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some("") => Err("expected digits after 0x".to_owned()),
        Some(digits) => parse_digits(digits, 16, "expected an integer"),
        None if text.len() > 1 && text.starts_with('0') => {
            parse_digits(&text[1..], 8, "expected octal digits after the leading 0")
        }
        None => parse_digits(text, 10, "expected an integer"),
    }
}

/// Returns whether a text consists of decimal digits only.
pub(crate) fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses a decimal integer without a leading zero, which some programs read as octal and others ignore.
pub(crate) fn parse_decimal(text: &str) -> Result<u64, String> {
    if text.len() > 1 && text.starts_with('0') && is_decimal(text) {
        return Err("a leading zero is ambiguous: it could mean octal".to_owned());
    }
    parse_digits(text, 10, "expected a decimal integer")
}

/// Parses a byte: 0 to 255, or 0x00 to 0xff.
pub(crate) fn parse_byte(text: &str) -> Result<u8, String> {
    let number = parse_integer(text)?;
    u8::try_from(number).map_err(|_| "expected a byte, 0 to 255".to_owned())
}

/// Parses a number of times, at least 1.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    match parse_decimal(text)? {
        0 => Err("expected at least 1".to_owned()),
        count => Ok(count),
    }
}

/// Parses a pid, which is never 0.
pub(crate) fn parse_pid(text: &str) -> Result<i32, String> {
    let number = i32::try_from(parse_decimal(text)?).unwrap_or(0);
    if number > 0 { Ok(number) } else { Err(format!("a pid is 1 to {}", i32::MAX)) }
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
            let byte = parse_digits(digits, 16, "").ok().and_then(|byte| u8::try_from(byte).ok());
            bytes.push(byte.ok_or_else(|| format!("expected two hexadecimal digits instead of {digits:?}"))?);
        }
    }
    Ok(bytes)
}

/// Parses digits. Unlike `from_str_radix`, it rejects a sign.
pub(super) fn parse_digits(digits: &str, radix: u32, expected: &str) -> Result<u64, String> {
    if digits.is_empty() {
        return Err("the value is empty".to_owned());
    }
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(expected.to_owned());
    }
    u64::from_str_radix(digits, radix).map_err(|_| "the number exceeds 64 bits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_no_sign_and_no_other_characters() {
        for (text, number) in
            [("1234", 1234), ("0x4D2", 1234), ("02322", 1234), ("0", 0), ("18446744073709551615", u64::MAX)]
        {
            assert_eq!(parse_integer(text), Ok(number));
        }
        for bad in ["", "0x", "-1", "+1", "12abc", "0x1g", "089", " 1", "1 ", "1_000", "18446744073709551616", "1.0"] {
            assert!(parse_integer(bad).is_err(), "{bad:?} was accepted as a number");
        }
        assert_eq!((parse_decimal("10"), parse_decimal("0")), (Ok(10), Ok(0)));
        assert!(parse_decimal("010").is_err() && parse_byte("256").is_err());
        assert_eq!(parse_hex("00ff 7F"), Ok(vec![0, 255, 127]));
        for bad in ["0", "0x00", "0g", "+1", "é"] {
            assert!(parse_hex(bad).is_err(), "{bad:?} was accepted as bytes");
        }
    }
}
