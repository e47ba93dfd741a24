//! The checksum of contents, for which holes cost nothing.

/// Bytes of a block.
pub(super) const BLOCK: usize = 4096;
/// The name by which a file says how its checksum was made.
pub(crate) const ALGORITHM: &str = "blake3-blocks";

/// BLAKE3 over the BLAKE3 of those blocks of 4096 bytes, the last one as long as it is, that have a byte other than zero,
/// each behind the block's offset as 64 bits, the lowest first: so it is the same whether zeros are holes or not, and
/// holes are not read. Blocks by themselves, since their chunks can be hashed side by side.
#[derive(Debug, Default)]
pub(super) struct Checksum(blake3::Hasher);

/// What the checksum is made of, for some of the blocks; different ones can be gathered side by side.
#[derive(Debug, Default)]
pub(super) struct Digests(Vec<u8>);

impl Digests {
    /// Adds bytes that stand at an offset, which is a multiple of a block.
    pub(super) fn add(&mut self, offset: u64, bytes: &[u8]) {
        for (place, block) in blocks(offset, bytes) {
            self.0.extend_from_slice(&place.to_le_bytes());
            self.0.extend_from_slice(blake3::hash(block).as_bytes());
        }
    }
}

impl Checksum {
    /// Adds blocks that lie behind all that were added before.
    pub(super) fn add(&mut self, digests: &Digests) {
        self.0.update(&digests.0);
    }

    /// Gives it in hexadecimal.
    pub(super) fn end(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// Gives the blocks that have a byte other than zero, each with its offset, of bytes that stand at an offset.
fn blocks(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let blocks = (offset..).step_by(BLOCK).zip(bytes.chunks(BLOCK));
    blocks.filter(|(_, block)| !is_zero(block))
}

/// Gives what lies between blocks of zeros, each with its offset, of bytes that stand at an offset.
pub(super) fn runs(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(start..)?;
        let before = rest.chunks(BLOCK).take_while(|block| is_zero(block)).count() * BLOCK;
        let rest = rest.get(before..)?;
        let length = rest.chunks(BLOCK).take_while(|block| !is_zero(block)).map(<[u8]>::len).sum();
        let place = start + before;
        start = place + length;
        (length > 0).then(|| (offset + place as u64, &rest[..length]))
    })
}

/// Tells whether a block is all zeros.
fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_count_for_nothing_and_places_count() {
        let sum = |parts: &[(u64, &[u8])]| {
            let mut sum = Checksum::default();
            for (offset, bytes) in parts {
                let mut digests = Digests::default();
                digests.add(*offset, bytes);
                sum.add(&digests);
            }
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

    #[test]
    fn runs_are_what_lies_between_blocks_of_zeros() {
        let spans = |bytes: &[u8]| {
            let span = |(offset, run): (u64, &[u8])| (offset - 4096, run.len());
            runs(4096, bytes).map(span).collect::<Vec<_>>()
        };
        let mut bytes = vec![0; 6 * BLOCK + 10];
        assert_eq!(spans(&bytes), []);
        for place in [BLOCK, 2 * BLOCK + 9, 4 * BLOCK - 1, 6 * BLOCK + 9] {
            bytes[place] = 1;
        }
        assert_eq!(spans(&bytes), [(4096, 3 * BLOCK), (6 * 4096, 10)]);
        assert_eq!(spans(&[1]), [(0, 1)]);
        assert_eq!(spans(&[]), []);
    }
}
