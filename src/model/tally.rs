//! Sums over segments, as monitoring has them.

use super::{Segment, State};

/// Sums over some segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many there are.
    pub(crate) segments: u64,
    /// Pages that they may take, as the kernel counts them against shmall: each segment is rounded up.
    pub(crate) pages: u64,
    /// Sum of their sizes in bytes; unreserved segments can together pass 64 bits.
    pub(crate) size: u128,
    /// Resident bytes; `None` where they were not asked for or cannot be told.
    pub(crate) rss: Option<u128>,
    /// Swapped bytes, likewise.
    pub(crate) swap: Option<u128>,
    /// How many of them are orphans; 0 where states were not asked for.
    pub(crate) orphans: u64,
    /// Sum of the sizes of orphans in bytes.
    pub(crate) orphan_bytes: u128,
    /// How many of them may be orphans, which cannot be told; 0 where states were not asked for.
    pub(crate) unknown: u64,
    /// Sum of the sizes of these in bytes.
    pub(crate) unknown_bytes: u128,
    /// How many of them are marked for destruction.
    pub(crate) dest: u64,
    /// Attachments, counted as mappings.
    pub(crate) attachments: u64,
}

impl Tally {
    /// The sums over no segment at all.
    pub(crate) const NOTHING: Self = Self {
        segments: 0,
        pages: 0,
        size: 0,
        rss: Some(0),
        swap: Some(0),
        orphans: 0,
        orphan_bytes: 0,
        unknown: 0,
        unknown_bytes: 0,
        dest: 0,
        attachments: 0,
    };

    /// Gives the sums over one segment; `page_size` in bytes.
    pub(crate) fn of(segment: &Segment, page_size: u64) -> Self {
        let size = u128::from(segment.size);
        let is_orphan = segment.state == Some(State::Orphan);
        let is_unknown = segment.state == Some(State::Unknown);
        Self {
            segments: 1,
            pages: segment.size.div_ceil(page_size),
            size,
            rss: segment.rss.map(u128::from),
            swap: segment.swap.map(u128::from),
            orphans: u64::from(is_orphan),
            orphan_bytes: if is_orphan { size } else { 0 },
            unknown: u64::from(is_unknown),
            unknown_bytes: if is_unknown { size } else { 0 },
            dest: u64::from(segment.dest),
            attachments: segment.nattch,
        }
    }

    /// Adds the sums over other segments. What is unknown of some is unknown of all.
    pub(crate) fn add(&mut self, other: &Self) {
        let both = |one: Option<u128>, other: Option<u128>| Some(one? + other?);
        self.segments += other.segments;
        // The kernel keeps the pages below 64 bits, but a list is not of one moment.
        self.pages = self.pages.saturating_add(other.pages);
        self.size += other.size;
        self.rss = both(self.rss, other.rss);
        self.swap = both(self.swap, other.swap);
        self.orphans += other.orphans;
        self.orphan_bytes += other.orphan_bytes;
        self.unknown += other.unknown;
        self.unknown_bytes += other.unknown_bytes;
        self.dest += other.dest;
        self.attachments = self.attachments.saturating_add(other.attachments);
    }
}

#[cfg(test)]
mod tests {
    use super::super::listing::tests::segment;
    use super::*;

    #[test]
    fn sums_round_up_to_pages_and_forget_nothing() {
        let orphan = Segment { size: 4097, state: Some(State::Orphan), nattch: 0, ..segment(1) };
        let used = Segment { size: u64::MAX, state: Some(State::InUse), nattch: 3, dest: true, ..segment(2) };
        let mut sums = Tally::NOTHING;
        sums.add(&Tally::of(&orphan, 4096));
        sums.add(&Tally::of(&used, 4096));
        assert_eq!((sums.segments, sums.pages), (2, 2 + (1 << 52)));
        assert_eq!(sums.size, u128::from(u64::MAX) + 4097);
        assert_eq!((sums.orphans, sums.orphan_bytes, sums.dest, sums.attachments), (1, 4097, 1, 3));
        assert_eq!((sums.rss, sums.swap), (Some(0), Some(0)));
        sums.add(&Tally::of(&Segment { rss: None, ..segment(3) }, 4096));
        assert_eq!((sums.rss, sums.swap), (None, Some(0)), "a part that is unknown makes no sum");
    }
}
