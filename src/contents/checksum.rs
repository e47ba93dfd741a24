//! The checksum of contents. Holes are not read, and have the same checksum as zeros.

pub(super) const BLOCK: usize = 4096;
/// The name of the algorithm in the record of a dump.
pub(crate) const ALGORITHM: &str = "blake3-blocks";

#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece<'a> {
    Bytes(&'a [u8]),
    /// The length of a hole, which reads as zeros.
    Hole(u64),
}

/// Returns the entries of bytes at an offset that is a multiple of the block size.
///
/// The checksum is BLAKE3 over one entry for each block of 4096 bytes that has a nonzero byte, in ascending order. An
/// entry is the offset of the block as a 64-bit little-endian number, followed by the BLAKE3 hash of the block. The
/// last block can be shorter. Blocks are hashed separately, so that threads can hash them in parallel.
pub(super) fn entries(offset: u64, bytes: &[u8]) -> Vec<u8> {
    let mut entries = Vec::new();
    for (start, block) in (offset..).step_by(BLOCK).zip(bytes.chunks(BLOCK)).filter(|(_, block)| !is_zero(block)) {
        entries.extend_from_slice(&start.to_le_bytes());
        entries.extend_from_slice(blake3::hash(block).as_bytes());
    }
    entries
}

/// Splits bytes into runs of blocks with a nonzero byte and runs of zeros, each with its offset.
pub(super) fn split_zeros(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, Piece<'_>)> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let start = offset + (bytes.len() - rest.len()) as u64;
        let is_hole = is_zero(rest.chunks(BLOCK).next()?);
        let run = rest.chunks(BLOCK).take_while(|block| is_zero(block) == is_hole).map(<[u8]>::len).sum();
        let (run, after) = rest.split_at(run);
        rest = after;
        Some((start, if is_hole { Piece::Hole(run.len() as u64) } else { Piece::Bytes(run) }))
    })
}

/// Returns the runs of blocks with a nonzero byte, each with its offset.
pub(super) fn runs(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    split_zeros(offset, bytes).filter_map(|(offset, piece)| match piece {
        Piece::Bytes(run) => Some((offset, run)),
        Piece::Hole(_) => None,
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
            let entries = parts.iter().flat_map(|(offset, bytes)| entries(*offset, bytes));
            blake3::hash(&entries.collect::<Vec<_>>())
        };
        let mut two = vec![0; 2 * BLOCK];
        two[BLOCK + 5] = 7;
        let block = &two[BLOCK..];
        assert_eq!(sum(&[(0, &two)]), sum(&[(4096, block)]));
        assert_ne!(sum(&[(0, block)]), sum(&[(4096, block)]));
        assert_eq!(sum(&[(0, &[0; 5000])]), sum(&[]));
        // As documented.
        assert_eq!(entries(0, &two), [&4096_u64.to_le_bytes()[..], blake3::hash(block).as_bytes()].concat());
    }
}
