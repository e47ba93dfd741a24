//! Sums over the segments of the IPC namespace.

use std::collections::BTreeMap;

use super::{System, each};
use crate::error::Error;
use crate::model::{Needs, Tally};
use crate::sys;

/// Sums up all segments, with what is needed of them.
///
/// # Errors
/// The segments cannot be listed.
pub(crate) fn tally(system: &System, needs: Needs) -> Result<Tally, Error> {
    let page_size = system.page_size();
    let mut sums = Tally::NOTHING;
    each(system, needs, |segment| {
        sums.add(&Tally::of(&segment, page_size));
        Ok(())
    })?;
    Ok(sums)
}

/// Sums up all segments by the user id of their owner, with what is needed of them.
///
/// # Errors
/// The segments cannot be listed.
pub(crate) fn tally_by_owner(system: &System, needs: Needs) -> Result<BTreeMap<u32, Tally>, Error> {
    let page_size = system.page_size();
    let mut owners: BTreeMap<u32, Tally> = BTreeMap::new();
    each(system, needs, |segment| {
        owners.entry(segment.uid).or_insert(Tally::NOTHING).add(&Tally::of(&segment, page_size));
        Ok(())
    })?;
    Ok(owners)
}

/// Counts segments and their pages, and nothing else: the kernel has both numbers ready.
///
/// # Errors
/// The kernel does not tell, and the segments cannot be listed.
pub(crate) fn count(system: &System) -> Result<Tally, Error> {
    match sys::usage() {
        Ok((segments, pages, ..)) => Ok(Tally { segments, pages, ..Tally::NOTHING }),
        Err(_) => tally(system, Needs::empty()),
    }
}
