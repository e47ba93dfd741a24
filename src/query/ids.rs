//! User and group ids as they are where the caller stands, though the program has entered a user namespace.

use crate::procfs::IdRange;

/// The maps of the user namespace that was entered; empty where none was.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdMaps {
    /// Users.
    pub(crate) users: Vec<IdRange>,
    /// Groups.
    pub(crate) groups: Vec<IdRange>,
}

/// Gives the caller's id for one inside of the namespace; one that has none stays what the kernel shows for it.
pub(super) fn outside(map: &[IdRange], id: u32) -> u32 {
    let inside = |range: &&IdRange| id.checked_sub(range.inside).is_some_and(|offset| offset < range.count);
    map.iter().find(inside).map_or(id, |range| range.outside + (id - range.inside))
}

/// Gives the id inside of the namespace for one of the caller's; `None` if it has none.
pub(super) fn inside(map: &[IdRange], id: u32) -> Option<u32> {
    let outside = |range: &&IdRange| id.checked_sub(range.outside).is_some_and(|offset| offset < range.count);
    if map.is_empty() { Some(id) } else { map.iter().find(outside).map(|range| range.inside + (id - range.outside)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_mapped_there_and_back() {
        let map =
            [IdRange { inside: 0, outside: 1000, count: 1 }, IdRange { inside: 1, outside: 100_000, count: 65_536 }];
        for (within, without) in [(0, 1000), (1, 100_000), (65_536, 165_535)] {
            assert_eq!((outside(&map, within), inside(&map, without)), (without, Some(within)));
        }
        assert_eq!(outside(&map, 70_000), 70_000);
        assert_eq!(inside(&map, 0), None);
        assert_eq!((outside(&[], 5), inside(&[], 5)), (5, Some(5)));
    }
}
