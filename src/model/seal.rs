//! The seals of a memfd.

use super::named;

named! {
    /// A seal (fcntl(2), F_ADD_SEALS), in the order of the kernel's bits.
    pub(crate) enum Seal {
        /// No more seals can be added.
        Final = "seal",
        Shrink = "shrink",
        Grow = "grow",
        Write = "write",
        FutureWrite = "future-write",
        Exec = "exec",
    }
}

impl Seal {
    /// Returns the seals of a bit set.
    pub(crate) fn of_bits(bits: u32) -> Vec<Self> {
        (0..).zip(Self::ALL).filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, seal)| seal).collect()
    }

    /// Returns the kernel's name.
    pub(crate) fn constant(self) -> String {
        format!("F_SEAL_{}", self.as_str().to_uppercase().replace('-', "_"))
    }
}
