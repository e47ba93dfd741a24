//! The difference between two listings.
//!
//! Two records belong to the same segment if everything agrees that cannot be changed: namespace, id, creator's user and
//! group, creator's pid, size. Records that agree completely are paired first, then records that agree as far as both are
//! known.

use std::collections::HashMap;

use serde::Serialize;

use super::{Object, ShmId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    /// It has more attachments.
    Attached,
    /// It has fewer attachments.
    Detached,
    Owner,
    Group,
    Mode,
    /// The key is 0 after a segment was marked for destruction.
    Key,
    /// It was marked for destruction.
    Marked,
    /// It is no longer marked: the listings are in the wrong order.
    Unmarked,
    Locked,
    Unlocked,
}

impl Change {
    pub(crate) const fn as_str(self) -> &'static str {
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

    /// Returns the changes of a segment. Times, last user and memory use are not changes, since they vary with normal use.
    fn between(before: &Object, after: &Object) -> Vec<Self> {
        [
            (after.sysv().nattch > before.sysv().nattch, Self::Attached),
            (after.sysv().nattch < before.sysv().nattch, Self::Detached),
            (after.uid != before.uid, Self::Owner),
            (after.gid != before.gid, Self::Group),
            (after.mode != before.mode, Self::Mode),
            (after.sysv().key != before.sysv().key, Self::Key),
            (after.sysv().dest && !before.sysv().dest, Self::Marked),
            (!after.sysv().dest && before.sysv().dest, Self::Unmarked),
            (after.sysv().locked && !before.sysv().locked, Self::Locked),
            (!after.sysv().locked && before.sysv().locked, Self::Unlocked),
        ]
        .into_iter()
        .filter_map(|(is_so, change)| is_so.then_some(change))
        .collect()
    }
}

/// A segment that is in both listings and has changed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Changed {
    /// Never empty.
    pub(crate) changes: Vec<Change>,
    pub(crate) before: Object,
    pub(crate) after: Object,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Difference {
    /// Segments only in the later listing, in its order.
    pub(crate) created: Vec<Object>,
    /// Segments only in the earlier listing, in its order.
    pub(crate) removed: Vec<Object>,
    /// Segments in both listings that changed, in the order of the later one.
    pub(crate) changed: Vec<Changed>,
}

impl Difference {
    pub(crate) fn is_empty(&self) -> bool {
        self.created.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Compares two listings.
    pub(crate) fn between(before: Vec<Object>, after: Vec<Object>) -> Self {
        // Ids repeat across namespaces.
        let mut earlier: HashMap<ShmId, Vec<usize>> = HashMap::with_capacity(before.len());
        for (index, segment) in before.iter().enumerate() {
            earlier.entry(segment.sysv().id).or_default().push(index);
        }
        let mut left: Vec<Option<Object>> = before.into_iter().map(Some).collect();
        let mut found: Vec<Option<Object>> = after.iter().map(|_| None).collect();
        // Complete matches first, so that a record with unknown fields does not take the counterpart of another one.
        for matches in [match_completely, match_where_known] {
            for (later, slot) in after.iter().zip(&mut found).filter(|(_, slot)| slot.is_none()) {
                let candidates = earlier.get(&later.sysv().id).into_iter().flatten();
                let is_match = |index: &&usize| left[**index].as_ref().is_some_and(|segment| matches(segment, later));
                if let Some(index) = candidates.copied().find(|index| is_match(&index)) {
                    *slot = left[index].take();
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

/// Returns whether two records with the same id belong to the same segment, and have the same unknown fields.
fn match_completely(one: &Object, other: &Object) -> bool {
    (one.ipc_namespace(), one.sysv().cpid) == (other.ipc_namespace(), other.sysv().cpid)
        && match_where_known(one, other)
}

/// Returns whether two records with the same id belong to the same segment, ignoring unknown fields.
fn match_where_known(one: &Object, other: &Object) -> bool {
    fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
        one.zip(other).is_none_or(|(one, other)| one == other)
    }
    let fixed = |segment: &Object| (segment.sysv().cuid, segment.sysv().cgid, segment.size);
    fixed(one) == fixed(other)
        && agree(one.ipc_namespace(), other.ipc_namespace())
        && agree(one.sysv().cpid, other.sysv().cpid)
}

#[cfg(test)]
mod tests {
    use super::super::listing::tests::segment;
    use super::super::{Key, Mode, Scope, Stamp, State};
    use super::*;

    /// Compares two records. Returns `None` if they belong to different segments.
    fn compared(before: Object, after: Object) -> Option<Vec<Change>> {
        let Difference { created, removed, changed } = Difference::between(vec![before], vec![after]);
        assert_eq!(created.len(), removed.len());
        created.is_empty().then(|| changed.into_iter().flat_map(|changed| changed.changes).collect())
    }

    #[test]
    fn immutable_fields_identify_a_segment() {
        let one = || segment(5);
        assert_eq!(compared(one(), one()), Some(vec![]));
        for other in [
            one().with(|segment| segment.id = ShmId::new(6).unwrap()),
            one().with(|segment| segment.cuid = 1),
            one().with(|segment| segment.cgid = 1),
            Object { size: 4097, ..one() },
            one().with(|segment| segment.cpid = Some(4712)),
            Object { scope: Some(Scope::Ipc(1)), ..one() },
        ] {
            assert_eq!(compared(one(), other.clone()), None, "{other:?}");
            assert_eq!(compared(other, one()), None);
        }
        for unknown in [one().with(|segment| segment.cpid = None), Object { scope: None, ..one() }] {
            assert_eq!(compared(one(), unknown.clone()), Some(vec![]));
            assert_eq!(compared(unknown, one()), Some(vec![]));
        }
    }

    #[test]
    fn every_change_is_named() {
        let one = || segment(5);
        let twice = || {
            one().with(|segment| {
                segment.nattch = 2;
                segment.dest = true;
                segment.locked = true;
            })
        };
        for (before, after, words) in [
            (one(), one().with(|segment| segment.nattch = 1), "attached"),
            (twice(), twice().with(|segment| segment.nattch = 1), "detached"),
            (one(), Object { uid: 7, ..one() }, "owner"),
            (one(), Object { gid: 7, ..one() }, "group"),
            (one(), Object { mode: Mode::parse("640").unwrap(), ..one() }, "mode"),
            (one(), one().with(|segment| segment.key = Key::PRIVATE), "key"),
            (
                one(),
                one().with(|segment| {
                    segment.key = Key::PRIVATE;
                    segment.dest = true;
                }),
                "key marked",
            ),
            (one(), twice(), "attached marked locked"),
            (twice(), one(), "detached unmarked unlocked"),
            // Values that vary with normal use are not changes.
            (
                one(),
                Object {
                    ctime: Some(Stamp(1)),
                    idle_seconds: None,
                    rss: Some(1),
                    swap: Some(1),
                    state: Some(State::Idle),
                    owner: None,
                    ..one()
                }
                .with(|segment| {
                    segment.lpid = Some(1);
                    segment.atime = Some(Stamp(1));
                    segment.dtime = Some(Stamp(1));
                }),
                "",
            ),
        ] {
            let changes = compared(before, after).unwrap();
            assert_eq!(changes.iter().map(|change| change.as_str()).collect::<Vec<_>>().join(" "), words);
        }
    }

    #[test]
    fn segments_with_the_same_id_are_matched_by_namespace() {
        let of = |ns: Option<u64>, nattch: u64| {
            Object { scope: ns.map(Scope::Ipc), ..segment(0) }.with(|segment| segment.nattch = nattch)
        };
        let before = vec![of(Some(1), 0), of(Some(2), 0), of(Some(3), 0)];
        // The record without a namespace is first, but must not take the counterpart of one with a namespace.
        let after = vec![of(None, 9), of(Some(2), 0), of(Some(1), 4), of(Some(4), 0)];
        let Difference { created, removed, changed } = Difference::between(before, after);
        assert_eq!(created.iter().map(|segment| segment.ipc_namespace()).collect::<Vec<_>>(), [Some(4)]);
        assert_eq!(removed.len(), 0);
        let pairs: Vec<_> =
            changed.iter().map(|changed| (changed.before.ipc_namespace(), changed.after.sysv().nattch)).collect();
        assert_eq!(pairs, [(Some(3), 9), (Some(1), 4)]);
    }

    #[test]
    fn a_reused_id_is_another_segment() {
        let before = vec![segment(1), segment(2)];
        let after = vec![segment(2).with(|segment| segment.cpid = Some(9)), segment(3)];
        let Difference { created, removed, changed } = Difference::between(before, after);
        let ids = |segments: &[Object]| segments.iter().map(|segment| segment.sysv().id.raw()).collect::<Vec<_>>();
        assert_eq!((ids(&created), ids(&removed), changed.len()), (vec![2, 3], vec![1, 2], 0));
    }
}
