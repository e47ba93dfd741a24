//! Whether pages that are not in memory may be in swap.
//!
//! mincore(2) reports a swapped-out page like a hole. It can be relied on only if there is no swap, or if none of the
//! segment was in swap and nothing was swapped out in between.

use super::host::System;
use super::inventory::lookup;
use crate::model::{Needs, ShmId};
use crate::procfs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swap {
    exists: bool,
    /// Pages swapped out since boot.
    out: Option<u64>,
    /// Bytes of the segment that are in swap.
    of_segment: Option<u64>,
}

impl Swap {
    pub(crate) fn now(system: &System, id: ShmId) -> Self {
        let exists = procfs::meminfo(system.proc(), "SwapTotal:") != Some(0);
        let of_segment = || lookup(system, id, Needs::RESIDENT).ok().flatten().and_then(|segment| segment.swap);
        Self {
            exists,
            out: procfs::swapped_out(system.proc()),
            of_segment: if exists { of_segment() } else { Some(0) },
        }
    }

    /// Returns whether no page of the segment can have been in swap between this state and a later one.
    pub(crate) fn rules_out(self, later: Self) -> bool {
        let never = !self.exists && !later.exists;
        let unmoved = self.out.is_some() && self.out == later.out;
        never || (unmoved && self.of_segment == Some(0) && later.of_segment == Some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_ruled_out_only_without_swap_or_any_page_swapped_out() {
        let none = Swap { exists: false, out: Some(5), of_segment: Some(0) };
        let quiet = Swap { exists: true, out: Some(5), of_segment: Some(0) };
        assert!(none.rules_out(none) && quiet.rules_out(quiet));
        let others = [
            Swap { out: Some(6), ..quiet },
            Swap { of_segment: Some(4096), ..quiet },
            Swap { of_segment: None, ..quiet },
            Swap { out: None, ..quiet },
        ];
        assert!(others.iter().all(|other| !quiet.rules_out(*other) && !other.rules_out(quiet)));
        assert!(!others[3].rules_out(others[3]));
        assert!(quiet.rules_out(none) && !Swap { out: Some(4), ..none }.rules_out(quiet), "swap was turned off or on");
    }
}
