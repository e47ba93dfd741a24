//! Sums over segments, for `limits`, `check` and `metrics`.

use super::{Object, State};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) segments: u64,
    /// Pages, as the kernel counts them against shmall: each segment is rounded up.
    pub(crate) pages: u64,
    /// Sizes in bytes. With SHM_NORESERVE, their sum can exceed 64 bits.
    pub(crate) size: u128,
    /// Resident bytes; `None` if not requested or unknown.
    pub(crate) rss: Option<u128>,
    pub(crate) swap: Option<u128>,
    /// Orphans; 0 if states were not requested.
    pub(crate) orphans: u64,
    pub(crate) orphan_bytes: u128,
    /// Segments in state `unknown`; 0 if states were not requested.
    pub(crate) unknown: u64,
    pub(crate) unknown_bytes: u128,
    pub(crate) dest: u64,
    /// Attachments, counted as mappings.
    pub(crate) attachments: u64,
}

impl Tally {
    /// Returns the sums over no segments.
    pub(crate) fn zero() -> Self {
        Self { rss: Some(0), swap: Some(0), ..Self::default() }
    }

    pub(crate) fn of(segment: &Object, page_size: u64) -> Self {
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
            dest: u64::from(segment.sysv().dest),
            attachments: segment.sysv().nattch,
        }
    }

    /// Adds the sums over other segments. If a value is unknown for some, the sum is unknown.
    pub(crate) fn add(&mut self, other: &Self) {
        let both = |one: Option<u128>, other: Option<u128>| Some(one? + other?);
        self.segments += other.segments;
        // The kernel limits the pages to 64 bits, but a listing is not atomic.
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
