//! The checksum of contents, for which holes cost nothing.

/// Bytes of a block.
pub(crate) const BLOCK: usize = 4096;
/// The name by which a file says how its checksum was made.
pub(crate) const ALGORITHM: &str = "blake3-blocks";

/// BLAKE3 over the BLAKE3 of those blocks of 4096 bytes, the last one as long as it is, that have a byte other than zero,
/// each behind the block's offset as 64 bits, the lowest first: so it is the same whether zeros are holes or not, and
/// holes are not read. Blocks by themselves, since their chunks can be hashed side by side.
#[derive(Debug, Default)]
pub(crate) struct Checksum(blake3::Hasher);

impl Checksum {
    /// Adds bytes that stand at an offset, which is a multiple of a block.
    pub(crate) fn add(&mut self, offset: u64, bytes: &[u8]) {
        for (place, block) in blocks(offset, bytes) {
            self.0.update(&place.to_le_bytes());
            self.0.update(blake3::hash(block).as_bytes());
        }
    }

    /// Gives it in hexadecimal.
    pub(crate) fn end(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// Gives the blocks that have a byte other than zero, each with its offset, of bytes that stand at an offset.
pub(super) fn blocks(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let blocks = (offset..).step_by(BLOCK).zip(bytes.chunks(BLOCK));
    blocks.filter(|(_, block)| block.iter().any(|byte| *byte != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_count_for_nothing_and_places_count() {
        let sum = |parts: &[(u64, &[u8])]| {
            let mut sum = Checksum::default();
            parts.iter().for_each(|(offset, bytes)| sum.add(*offset, bytes));
            sum.end()
        };
        let mut two = vec![0; 2 * BLOCK];
        two[BLOCK + 5] = 7;
        let block = &two[BLOCK..];
        assert_eq!(sum(&[(0, &two)]), sum(&[(4096, block)]));
        assert_ne!(sum(&[(0, block)]), sum(&[(4096, block)]));
        assert_ne!(sum(&[(0, block)]), sum(&[]));
        assert_eq!(sum(&[(0, &[0; 5000])]), sum(&[]));
        // What everybody can make again.
        let mut hasher = blake3::Hasher::new();
        hasher.update(&4096_u64.to_le_bytes());
        hasher.update(blake3::hash(block).as_bytes());
        assert_eq!(sum(&[(0, &two)]), hasher.finalize().to_hex().to_string());
    }
}
