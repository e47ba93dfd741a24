//! The difference between two listings.
//!
//! Two records belong to the same object if everything agrees that cannot be changed: namespace, id, creator's user and
//! group, creator's pid, size. Records that agree completely are paired first, then records that agree as far as both are
//! known.

use std::collections::HashMap;

use serde::Serialize;

use super::{Ident, Object, named};

named! {
    pub(crate) enum Change {
        Attached = "attached",
        Detached = "detached",
        Owner = "owner",
        Group = "group",
        Mode = "mode",
        /// The key is 0 after a segment was marked for destruction.
        Key = "key",
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
        let (old, new) = (before.sysv(), after.sysv());
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
    (one.scope, one.identity()) == (other.scope, other.identity())
}

/// Returns whether two records with the same id belong to the same segment, ignoring unknown fields.
fn match_where_known(one: &Object, other: &Object) -> bool {
    fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
        one.zip(other).is_none_or(|(one, other)| one == other)
    }
    let fixed = |segment: &Object| (segment.sysv().cuid, segment.sysv().cgid, segment.size);
    fixed(one) == fixed(other) && agree(one.scope, other.scope) && agree(one.sysv().cpid, other.sysv().cpid)
}
