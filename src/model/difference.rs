//! What has become of segments between two listings.

use std::collections::HashMap;

use super::{Segment, ShmId};

/// Something about a segment that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It has more attachments.
    Attached,
    /// It has fewer attachments.
    Detached,
    /// Another owner.
    Owner,
    /// Another group.
    Group,
    /// Other permission bits.
    Mode,
    /// Another key, which is what a removal takes away.
    Key,
    /// It was marked for destruction.
    Marked,
    /// It is no longer marked, which only listings in the wrong order say.
    Unmarked,
    /// It was locked in memory.
    Locked,
    /// It was unlocked.
    Unlocked,
}

impl Change {
    /// Gives the contract's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Detached => "detached",
            Self::Owner => "owner",
            Self::Group => "group",
            Self::Mode => "mode",
            Self::Key => "key",
            Self::Marked => "marked",
            Self::Unmarked => "unmarked",
            Self::Locked => "locked",
            Self::Unlocked => "unlocked",
        }
    }

    /// Finds what changed of a segment. Times, last users and memory are no change: they move by themselves.
    fn between(before: &Segment, after: &Segment) -> Vec<Self> {
        [
            (after.nattch > before.nattch, Self::Attached),
            (after.nattch < before.nattch, Self::Detached),
            (after.uid != before.uid, Self::Owner),
            (after.gid != before.gid, Self::Group),
            (after.mode != before.mode, Self::Mode),
            (after.key != before.key, Self::Key),
            (after.dest && !before.dest, Self::Marked),
            (!after.dest && before.dest, Self::Unmarked),
            (after.locked && !before.locked, Self::Locked),
            (!after.locked && before.locked, Self::Unlocked),
        ]
        .into_iter()
        .filter_map(|(is_so, change)| is_so.then_some(change))
        .collect()
    }
}

/// A segment that is in both listings, and not the same.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    /// As it was.
    pub(crate) before: Segment,
    /// As it is.
    pub(crate) after: Segment,
    /// What changed; never empty.
    pub(crate) changes: Vec<Change>,
}

/// The difference between two listings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Difference {
    /// What is in the later one alone, in its order.
    pub(crate) created: Vec<Segment>,
    /// What is in the earlier one alone, in its order.
    pub(crate) removed: Vec<Segment>,
    /// What is in both and changed, in the order of the later one.
    pub(crate) changed: Vec<Changed>,
}

impl Difference {
    /// Tells whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.created.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Finds the difference between two listings.
    pub(crate) fn between(before: Vec<Segment>, after: Vec<Segment>) -> Self {
        // Several namespaces can have the same ids.
        let mut earlier: HashMap<ShmId, Vec<usize>> = HashMap::with_capacity(before.len());
        for (place, segment) in before.iter().enumerate() {
            earlier.entry(segment.id).or_default().push(place);
        }
        let mut left: Vec<Option<Segment>> = before.into_iter().map(Some).collect();
        let mut found: Vec<Option<Segment>> = after.iter().map(|_| None).collect();
        // What agrees in all that is known goes first: a record with less in it must not take its place.
        for agrees in [agree_wholly, agree_where_known] {
            for (later, place) in after.iter().zip(&mut found).filter(|(_, place)| place.is_none()) {
                let candidates = earlier.get(&later.id).into_iter().flatten();
                let fits = |place: &&usize| left[**place].as_ref().is_some_and(|segment| agrees(segment, later));
                if let Some(fitting) = candidates.copied().find(|place| fits(&place)) {
                    *place = left[fitting].take();
                }
            }
        }
        let mut difference = Self::default();
        for (after, before) in after.into_iter().zip(found) {
            let Some(before) = before else {
                difference.created.push(after);
                continue;
            };
            let changes = Change::between(&before, &after);
            if !changes.is_empty() {
                difference.changed.push(Changed { before, after, changes });
            }
        }
        difference.removed = left.into_iter().flatten().collect();
        difference
    }
}

/// Tells whether two records with one id are of one segment, and know the same of it.
fn agree_wholly(one: &Segment, other: &Segment) -> bool {
    (one.ns, one.cpid) == (other.ns, other.cpid) && agree_where_known(one, other)
}

/// Tells whether two records with one id are of one segment, as far as both know.
fn agree_where_known(one: &Segment, other: &Segment) -> bool {
    /// Whether two values agree, or one of them is not known.
    fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
        one.zip(other).is_none_or(|(one, other)| one == other)
    }
    let fixed = |segment: &Segment| (segment.cuid, segment.cgid, segment.size);
    fixed(one) == fixed(other) && agree(one.ns, other.ns) && agree(one.cpid, other.cpid)
}

#[cfg(test)]
mod tests {
    use super::super::listing::tests::segment;
    use super::super::{Key, Mode, Stamp, State};
    use super::*;

    /// Compares two records with one id: `None` if they are two segments, else what changed.
    fn compared(before: Segment, after: Segment) -> Option<Vec<Change>> {
        let Difference { created, removed, changed } = Difference::between(vec![before], vec![after]);
        assert_eq!(created.len(), removed.len());
        created.is_empty().then(|| changed.into_iter().flat_map(|changed| changed.changes).collect())
    }

    #[test]
    fn identity_is_what_nobody_can_change() {
        let one = || segment(5);
        assert_eq!(compared(one(), one()), Some(vec![]));
        for other in [
            Segment { id: ShmId::new(6).unwrap(), ..one() },
            Segment { cuid: 1, ..one() },
            Segment { cgid: 1, ..one() },
            Segment { size: 4097, ..one() },
            Segment { cpid: Some(4712), ..one() },
            Segment { ns: Some(1), ..one() },
        ] {
            assert_eq!(compared(one(), other.clone()), None, "{other:?}");
            assert_eq!(compared(other, one()), None);
        }
        for unknown in [Segment { cpid: None, ..one() }, Segment { ns: None, ..one() }] {
            assert_eq!(compared(one(), unknown.clone()), Some(vec![]));
            assert_eq!(compared(unknown, one()), Some(vec![]));
        }
    }

    #[test]
    fn each_change_has_its_word() {
        let one = || segment(5);
        let twice = || Segment { nattch: 2, dest: true, locked: true, ..one() };
        for (before, after, words) in [
            (one(), Segment { nattch: 1, ..one() }, "attached"),
            (twice(), Segment { nattch: 1, ..twice() }, "detached"),
            (one(), Segment { uid: 7, ..one() }, "owner"),
            (one(), Segment { gid: 7, ..one() }, "group"),
            (one(), Segment { mode: Mode::parse("640").unwrap(), ..one() }, "mode"),
            (one(), Segment { key: Key::PRIVATE, ..one() }, "key"),
            (one(), Segment { key: Key::PRIVATE, dest: true, ..one() }, "key marked"),
            (one(), twice(), "attached marked locked"),
            (twice(), one(), "detached unmarked unlocked"),
            // What moves by itself is no change.
            (
                one(),
                Segment {
                    lpid: Some(1),
                    atime: Some(Stamp(1)),
                    dtime: Some(Stamp(1)),
                    ctime: Some(Stamp(1)),
                    idle_seconds: None,
                    rss: Some(1),
                    swap: Some(1),
                    state: Some(State::Idle),
                    owner: None,
                    ..one()
                },
                "",
            ),
        ] {
            let changes = compared(before, after).unwrap();
            assert_eq!(changes.iter().map(|change| change.word()).collect::<Vec<_>>().join(" "), words);
        }
    }

    #[test]
    fn ids_repeat_across_namespaces_and_what_is_known_decides() {
        let of = |ns: Option<u64>, nattch: u64| Segment { ns, nattch, ..segment(0) };
        let before = vec![of(Some(1), 0), of(Some(2), 0), of(Some(3), 0)];
        // The one that does not know its namespace comes first, and must not take the place of one that does.
        let after = vec![of(None, 9), of(Some(2), 0), of(Some(1), 4), of(Some(4), 0)];
        let Difference { created, removed, changed } = Difference::between(before, after);
        assert_eq!(created.iter().map(|segment| segment.ns).collect::<Vec<_>>(), [Some(4)]);
        assert_eq!(removed.len(), 0);
        let pairs: Vec<_> = changed.iter().map(|changed| (changed.before.ns, changed.after.nattch)).collect();
        assert_eq!(pairs, [(Some(3), 9), (Some(1), 4)]);
    }

    #[test]
    fn an_id_that_came_back_is_another_segment() {
        let before = vec![segment(1), segment(2)];
        let after = vec![Segment { cpid: Some(9), ..segment(2) }, segment(3)];
        let Difference { created, removed, changed } = Difference::between(before, after);
        let ids = |segments: &[Segment]| segments.iter().map(|segment| segment.id.raw()).collect::<Vec<_>>();
        assert_eq!((ids(&created), ids(&removed), changed.len()), (vec![2, 3], vec![1, 2], 0));
    }
}
