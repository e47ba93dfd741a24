//! The difference between two listings.
//!
//! Two records belong to the same object if everything agrees that cannot be changed: namespace, id, creator's user and
//! group, creator's pid, size. Records that agree completely are paired first, then records that agree as far as both are
//! known.

use std::collections::HashMap;

use serde::Serialize;

use super::{Ident, Object, ObjectKind, named};

named! {
    pub(crate) enum Change {
        /// It has more attachments.
        Attached = "attached",
        /// It has fewer attachments.
        Detached = "detached",
        Owner = "owner",
        Group = "group",
        Mode = "mode",
        /// The key is 0 after a segment was marked for destruction.
        Key = "key",
        /// It was marked for destruction.
        Marked = "marked",
        /// It is no longer marked: the listings are in the wrong order.
        Unmarked = "unmarked",
        Locked = "locked",
        Unlocked = "unlocked",
    }
}

impl Change {
    /// Returns the changes of an object. Times, last user and memory use are not changes, since they vary with normal use.
    fn between(before: &Object, after: &Object) -> Vec<Self> {
        let (ObjectKind::SysV(old), ObjectKind::SysV(new)) = (&before.kind, &after.kind);
        let changes = [
            (new.nattch > old.nattch, Self::Attached),
            (new.nattch < old.nattch, Self::Detached),
            (after.uid != before.uid, Self::Owner),
            (after.gid != before.gid, Self::Group),
            (after.mode != before.mode, Self::Mode),
            (new.key != old.key, Self::Key),
            (new.dest && !old.dest, Self::Marked),
            (!new.dest && old.dest, Self::Unmarked),
            (new.locked && !old.locked, Self::Locked),
            (!new.locked && old.locked, Self::Unlocked),
        ];
        changes.into_iter().filter_map(|(is_so, change)| is_so.then_some(change)).collect()
    }
}

/// An object that is in both listings and has changed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Changed {
    /// Never empty.
    pub(crate) changes: Vec<Change>,
    pub(crate) before: Object,
    pub(crate) after: Object,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Difference {
    /// Objects only in the later listing, in its order.
    pub(crate) created: Vec<Object>,
    /// Objects only in the earlier listing, in its order.
    pub(crate) removed: Vec<Object>,
    /// Objects in both listings that changed, in the order of the later one.
    pub(crate) changed: Vec<Changed>,
}

impl Difference {
    pub(crate) fn is_empty(&self) -> bool {
        self.created.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Compares two listings.
    pub(crate) fn between(before: Vec<Object>, after: Vec<Object>) -> Self {
        // Ids repeat across namespaces.
        let mut earlier: HashMap<Ident, Vec<usize>> = HashMap::with_capacity(before.len());
        for (index, segment) in before.iter().enumerate() {
            earlier.entry(segment.ident()).or_default().push(index);
        }
        let mut left: Vec<Option<Object>> = before.into_iter().map(Some).collect();
        let mut found: Vec<Option<Object>> = after.iter().map(|_| None).collect();
        // Complete matches first, so that a record with unknown fields does not take the counterpart of another one.
        for matches in [match_completely, match_where_known] {
            for (later, slot) in after.iter().zip(&mut found).filter(|(_, slot)| slot.is_none()) {
                let candidates = earlier.get(&later.ident()).into_iter().flatten();
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

/// Returns whether two records with the same id belong to the same object, and have the same unknown fields.
fn match_completely(one: &Object, other: &Object) -> bool {
    (one.scope, one.sysv().cpid) == (other.scope, other.sysv().cpid) && match_where_known(one, other)
}

/// Returns whether two records with the same id belong to the same segment, ignoring unknown fields.
fn match_where_known(one: &Object, other: &Object) -> bool {
    fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
        one.zip(other).is_none_or(|(one, other)| one == other)
    }
    let fixed = |segment: &Object| (segment.sysv().cuid, segment.sysv().cgid, segment.size);
    fixed(one) == fixed(other) && agree(one.scope, other.scope) && agree(one.sysv().cpid, other.sysv().cpid)
}

#[cfg(test)]
mod tests {
    use super::super::listing::tests::segment;
    use super::super::{Key, Mode, Scope, ShmId, Stamp, State};
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
        let attached = |nattch| one().with(|segment| segment.nattch = nattch);
        let twice = |nattch| attached(nattch).with(|segment| (segment.dest, segment.locked) = (true, true));
        let varying = Object { ctime: Some(Stamp(1)), idle_seconds: None, rss: Some(1), swap: Some(1), ..one() };
        let varying = Object { state: Some(State::Idle), owner: None, ..varying }.with(|segment| {
            (segment.lpid, segment.atime, segment.dtime) = (Some(1), Some(Stamp(1)), Some(Stamp(1)));
        });
        for (before, after, words) in [
            (one(), attached(1), "attached"),
            (twice(2), twice(1), "detached"),
            (one(), Object { uid: 7, ..one() }, "owner"),
            (one(), Object { gid: 7, ..one() }, "group"),
            (one(), Object { mode: Mode::parse("640").unwrap(), ..one() }, "mode"),
            (one(), one().with(|segment| segment.key = Key::PRIVATE), "key"),
            (one(), one().with(|segment| (segment.key, segment.dest) = (Key::PRIVATE, true)), "key marked"),
            (one(), twice(2), "attached marked locked"),
            (twice(2), one(), "detached unmarked unlocked"),
            // Values that vary with normal use are not changes.
            (one(), varying, ""),
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
        assert_eq!(created.iter().map(Object::ipc_namespace).collect::<Vec<_>>(), [Some(4)]);
        assert_eq!(removed.len(), 0);
        let pairs = changed.iter().map(|changed| (changed.before.ipc_namespace(), changed.after.sysv().nattch));
        assert_eq!(pairs.collect::<Vec<_>>(), [(Some(3), 9), (Some(1), 4)]);
    }

    #[test]
    fn a_reused_id_is_another_segment() {
        let after = vec![segment(2).with(|segment| segment.cpid = Some(9)), segment(3)];
        let Difference { created, removed, changed } = Difference::between(vec![segment(1), segment(2)], after);
        let ids = |objects: &[Object]| objects.iter().map(|object| object.ident().argument()).collect::<Vec<_>>();
        assert_eq!((ids(&created).join(" "), ids(&removed).join(" "), changed.len()), ("2 3".into(), "1 2".into(), 0));
    }
}
