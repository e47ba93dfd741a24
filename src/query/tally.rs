//! Sums over the segments of the IPC namespace.

use std::collections::BTreeMap;

use super::failure::QueryError;
use super::host::System;
use super::inventory::each;
use crate::model::{Needs, Object, Tally, Usage};
use crate::sys;

/// Sums up all segments; `needs` are the fields to read.
pub(crate) fn tally(system: &System, needs: Needs) -> Result<Tally, QueryError> {
    let mut sums = Tally::zero();
    tally_by_owner(system, needs)?.values().for_each(|owner| sums.add(owner));
    Ok(sums)
}

/// Sums up the segments of each owner, by uid; `needs` are the fields to read.
pub(crate) fn tally_by_owner(system: &System, needs: Needs) -> Result<BTreeMap<u32, Tally>, QueryError> {
    let mut owners = BTreeMap::new();
    each(system, needs, |segment| {
        add_to_owner(system, &mut owners, &segment);
        Ok::<_, QueryError>(())
    })?;
    Ok(owners)
}

/// Adds a segment to the sums of its owner.
pub(crate) fn add_to_owner(system: &System, owners: &mut BTreeMap<u32, Tally>, segment: &Object) {
    owners.entry(segment.uid).or_insert_with(Tally::zero).add(&Tally::of(segment, system.page_size()));
}

/// Counts segments and their pages, which SHM_INFO returns without a listing.
pub(crate) fn count(system: &System) -> Result<Tally, QueryError> {
    match sys::usage() {
        Ok((segments, pages, ..)) => Ok(Tally { segments, pages, ..Tally::zero() }),
        Err(_) => tally(system, Needs::empty()),
    }
}

/// Returns the usage of the limits. The kernel counts resident bytes itself, so the cheaper listing is enough for the
/// sizes.
pub(crate) fn usage(system: &System) -> Result<Usage, QueryError> {
    let counted = sys::usage().ok();
    let needs = if counted.is_some() { Needs::empty() } else { Needs::RESIDENT };
    let Tally { segments, pages, size, rss, swap, .. } = tally(system, needs)?;
    let bytes = |pages: u64| u128::from(pages) * u128::from(system.page_size());
    Ok(match counted {
        Some((segments, pages, rss, swap)) => Usage { segments, pages, size, rss: bytes(rss), swap: bytes(swap) },
        None => Usage { segments, pages, size, rss: rss.unwrap_or(0), swap: swap.unwrap_or(0) },
    })
}
