//! Whole numbers as users type them: never a sign, never a rest, never a wrap.

/// Reads a whole number: decimal, `0x` hexadecimal or, with a leading 0, octal.
///
/// # Errors
/// The text is empty, has a sign or any other foreign character, or leaves 64 bits.
pub(crate) fn parse_whole(text: &str) -> Result<u64, String> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hexadecimal) => (hexadecimal, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    parse_digits(digits, radix).map_err(|problem| match (problem, radix) {
        (Digits::None, 16) => format!("{text:?} has no digits after 0x"),
        (Digits::None, _) => "the number is empty".to_owned(),
        (Digits::Foreign, 8) => format!("{text:?} is no octal number, which its leading 0 makes it"),
        (Digits::Foreign, _) => format!("{text:?} is no whole number"),
        (Digits::TooLarge, _) => format!("{text} is too large"),
    })
}

/// Reads a whole decimal number that has neither sign nor leading zero.
///
/// # Errors
/// As [`parse_whole`], and for a leading zero, which some programs read as octal and others do not.
pub(crate) fn parse_decimal(text: &str) -> Result<u64, String> {
    if text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} has a leading zero, which could mean octal: leave it out"));
    }
    parse_digits(text, 10).map_err(|problem| match problem {
        Digits::None => "the number is empty".to_owned(),
        Digits::Foreign => format!("{text:?} is no whole number"),
        Digits::TooLarge => format!("{text} is too large"),
    })
}

/// Reads one byte: 0 to 255, or 0x00 to 0xff.
///
/// # Errors
/// As [`parse_whole`], and for a number above 255.
pub(crate) fn parse_byte(text: &str) -> Result<u8, String> {
    let number = parse_whole(text)?;
    u8::try_from(number).map_err(|_| format!("{number} is no byte: a byte is 0 to 255"))
}

/// Reads bytes of two hexadecimal digits each; white space between bytes is let through.
///
/// # Errors
/// The text has another character, or half a byte.
pub(crate) fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for word in text.split_ascii_whitespace() {
        if !word.is_ascii() || word.len() % 2 != 0 {
            return Err(format!("{word:?} is no row of bytes: each takes two hexadecimal digits"));
        }
        for pair in word.as_bytes().chunks(2) {
            let digits = std::str::from_utf8(pair).unwrap_or_default();
            let byte = parse_digits(digits, 16).ok().and_then(|byte| u8::try_from(byte).ok());
            bytes.push(byte.ok_or_else(|| format!("{digits:?} is no byte: it takes two hexadecimal digits"))?);
        }
    }
    Ok(bytes)
}

/// Why a run of digits is no number.
enum Digits {
    /// There is none.
    None,
    /// Something else than a digit is among them.
    Foreign,
    /// It leaves 64 bits.
    TooLarge,
}

/// Reads digits alone; unlike `from_str_radix` it takes no sign.
fn parse_digits(digits: &str, radix: u32) -> Result<u64, Digits> {
    if digits.is_empty() {
        return Err(Digits::None);
    }
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Digits::Foreign);
    }
    u64::from_str_radix(digits, radix).map_err(|_| Digits::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_no_sign_no_rest_and_no_wrap() {
        assert_eq!(parse_whole("1234"), Ok(1234));
        assert_eq!(parse_whole("0x4D2"), Ok(1234));
        assert_eq!(parse_whole("02322"), Ok(1234));
        assert_eq!(parse_whole("0"), Ok(0));
        assert_eq!(parse_whole("18446744073709551615"), Ok(u64::MAX));
        for bad in ["", "0x", "-1", "+1", "12abc", "0x1g", "089", " 1", "1 ", "1_000", "18446744073709551616", "1.0"] {
            assert!(parse_whole(bad).is_err(), "{bad:?} was taken for a number");
        }
    }

    #[test]
    fn decimals_refuse_the_ambiguous_zero() {
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
            assert!(parse_hex(bad).is_err(), "{bad:?} was taken for bytes");
        }
    }

    #[test]
    fn a_byte_ends_at_255() {
        assert_eq!(parse_byte("255"), Ok(255));
        assert_eq!(parse_byte("0xff"), Ok(255));
        assert!(parse_byte("256").is_err());
    }
}
