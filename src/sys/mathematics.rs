//! The only function that anything in the program wants of the C library's mathematics.

/// pow(3), which indicatif calls to smooth a rate, and nothing else does.
///
/// For want of it here the loader would map and relocate the C library's libm at every start, which takes a twelfth of
/// the time of a short call.
#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

#[cfg(test)]
mod tests {
    #[test]
    fn powers_are_powers() {
        assert_eq!(super::pow(2.0, 10.0).to_bits(), 1024_f64.to_bits());
        assert_eq!(super::pow(0.25, -0.5).to_bits(), 2_f64.to_bits());
    }
}
