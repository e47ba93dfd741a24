//! The checksum of contents. Holes are not read, and have the same checksum as zeros.

pub(super) const BLOCK: usize = 4096;
/// The name of the algorithm in the record of a dump.
pub(crate) const ALGORITHM: &str = "blake3-blocks";

/// BLAKE3 over one entry for each block of 4096 bytes that has a nonzero byte, in ascending order. An entry is the offset
/// of the block as a 64-bit little-endian number, followed by the BLAKE3 hash of the block. The last block can be shorter.
/// Blocks are hashed separately, so that threads can hash them in parallel.
#[derive(Debug, Default)]
pub(super) struct Checksum(blake3::Hasher);

/// The entries of some blocks. Threads collect them independently.
#[derive(Debug, Default)]
pub(super) struct Digests(Vec<u8>);

impl Digests {
    /// Adds bytes at an offset that is a multiple of the block size.
    pub(super) fn add(&mut self, offset: u64, bytes: &[u8]) {
        for (start, block) in blocks(offset, bytes) {
            self.0.extend_from_slice(&start.to_le_bytes());
            self.0.extend_from_slice(blake3::hash(block).as_bytes());
        }
    }
}

impl Checksum {
    /// Adds entries, whose offsets must be higher than those of all entries before.
    pub(super) fn add(&mut self, digests: &Digests) {
        self.0.update(&digests.0);
    }

    /// Returns the checksum in hexadecimal.
    pub(super) fn end(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// Returns the blocks with a nonzero byte, each with its offset.
fn blocks(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let blocks = (offset..).step_by(BLOCK).zip(bytes.chunks(BLOCK));
    blocks.filter(|(_, block)| !is_zero(block))
}

/// Returns the runs of blocks with a nonzero byte, each with its offset.
pub(super) fn runs(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(start..)?;
        let before = rest.chunks(BLOCK).take_while(|block| is_zero(block)).count() * BLOCK;
        let rest = rest.get(before..)?;
        let length = rest.chunks(BLOCK).take_while(|block| !is_zero(block)).map(<[u8]>::len).sum();
        let run = start + before;
        start = run + length;
        (length > 0).then(|| (offset + run as u64, &rest[..length]))
    })
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_depends_on_offsets_but_not_on_zeros() {
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
        // As documented.
        let mut hasher = blake3::Hasher::new();
        hasher.update(&4096_u64.to_le_bytes());
        hasher.update(blake3::hash(block).as_bytes());
        assert_eq!(sum(&[(0, &two)]), hasher.finalize().to_hex().to_string());
    }

    #[test]
    fn runs_exclude_blocks_of_zeros() {
        let spans = |bytes: &[u8]| {
            let span = |(offset, run): (u64, &[u8])| (offset - 4096, run.len());
            runs(4096, bytes).map(span).collect::<Vec<_>>()
        };
        let mut bytes = vec![0; 6 * BLOCK + 10];
        assert_eq!(spans(&bytes), []);
        for index in [BLOCK, 2 * BLOCK + 9, 4 * BLOCK - 1, 6 * BLOCK + 9] {
            bytes[index] = 1;
        }
        assert_eq!(spans(&bytes), [(4096, 3 * BLOCK), (6 * 4096, 10)]);
        assert_eq!(spans(&[1]), [(0, 1)]);
        assert_eq!(spans(&[]), []);
    }
}
