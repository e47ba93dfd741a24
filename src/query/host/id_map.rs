//! Ids across user namespaces.
//!
//! With `--ns` the program may enter a user namespace, in which the kernel shows other ids. [`IdMaps`] are the uid_map
//! and gid_map that were read before, and convert ids to those of the caller's user namespace.

use crate::procfs::IdRange;

impl IdRange {
    /// Returns the offset in this range of an id inside the namespace.
    pub(super) fn offset(&self, inside: u32) -> Option<u32> {
        inside.checked_sub(self.inside).filter(|offset| *offset < self.count)
    }

    /// Returns the id inside the namespace of one outside.
    pub(super) fn inside_of(&self, outside: u32) -> Option<u32> {
        outside.checked_sub(self.outside).filter(|offset| *offset < self.count).map(|offset| self.inside + offset)
    }
}

/// The id maps of the user namespace that was entered; empty if none was.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdMaps {
    pub(crate) users: Vec<IdRange>,
    pub(crate) groups: Vec<IdRange>,
}

/// Converts an id inside the namespace to the caller's. An id without a mapping is returned as it is.
pub(in crate::query) fn to_caller(map: &[IdRange], id: u32) -> u32 {
    let outside = |range: &IdRange| range.offset(id).map(|offset| range.outside + offset);
    map.iter().find_map(outside).unwrap_or(id)
}

/// Converts one of the caller's ids to the namespace; `None` if it has no mapping.
pub(super) fn to_namespace(map: &[IdRange], id: u32) -> Option<u32> {
    if map.is_empty() { Some(id) } else { map.iter().find_map(|range| range.inside_of(id)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_converted_in_both_directions() {
        let map =
            [IdRange { inside: 0, outside: 1000, count: 1 }, IdRange { inside: 1, outside: 100_000, count: 65_536 }];
        for (within, without) in [(0, 1000), (1, 100_000), (65_536, 165_535)] {
            assert_eq!((to_caller(&map, within), to_namespace(&map, without)), (without, Some(within)));
        }
        assert_eq!(to_caller(&map, 70_000), 70_000);
        assert_eq!(to_namespace(&map, 0), None);
        assert_eq!((to_caller(&[], 5), to_namespace(&[], 5)), (5, Some(5)));
    }
}
