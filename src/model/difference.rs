//! The difference between two listings.
//!
//! Two records belong to the same object if everything agrees that cannot be changed: namespace, id, creator's user and
//! group, creator's pid, size; of a POSIX object device, inode and creation time. Records that agree completely are
//! paired first, then records that agree as far as both are known. An object with several names has several records:
//! those with the same name are paired first.

use std::collections::HashMap;

use serde::Serialize;

use super::{FileId, Ident, Object, ObjectKind, Posix, named};

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
        Size = "size",
        Name = "name",
        Links = "links",
    }
}

impl Change {
    /// Returns the changes of an object. Times, last user and memory use are not changes, since they vary with normal
    /// use.
    fn between(before: &Object, after: &Object) -> Vec<Self> {
        let attributes = [
            (after.uid != before.uid, Self::Owner),
            (after.gid != before.gid, Self::Group),
            (after.mode != before.mode, Self::Mode),
        ];
        let is_partial = |object: &Object| object.as_posix().is_some_and(|posix| posix.is_partial);
        let is_resized = after.size != before.size && !is_partial(before) && !is_partial(after);
        let (first, last) = match (&before.kind, &after.kind) {
            (ObjectKind::SysV(old), ObjectKind::SysV(new)) => (
                vec![(new.nattch > old.nattch, Self::Attached), (new.nattch < old.nattch, Self::Detached)],
                vec![
                    (new.key != old.key, Self::Key),
                    (new.dest && !old.dest, Self::Marked),
                    (!new.dest && old.dest, Self::Unmarked),
                    (new.locked && !old.locked, Self::Locked),
                    (!new.locked && old.locked, Self::Unlocked),
                ],
            ),
            (ObjectKind::Posix(old), ObjectKind::Posix(new)) => (
                vec![(text(new) != text(old), Self::Name), (is_resized, Self::Size)],
                vec![(new.stat.links != old.stat.links, Self::Links)],
            ),
            _ => return Vec::new(),
        };
        let changes = first.into_iter().chain(attributes).chain(last);
        changes.filter_map(|(is_so, change)| is_so.then_some(change)).collect()
    }
}

/// Returns the name of an object, as both a report and the system have it.
fn text(posix: &Posix) -> Option<&str> {
    posix.name.as_ref().map(super::ObjectName::as_str)
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
        for (index, object) in before.iter().enumerate() {
            earlier.entry(object.unique_ident()).or_default().push(index);
        }
        let mut left: Vec<Option<Object>> = before.into_iter().map(Some).collect();
        let mut found: Vec<Option<Object>> = after.iter().map(|_| None).collect();
        // Complete matches first, so that a record with unknown fields does not take the counterpart of another one.
        for matches in [match_completely, match_where_known] {
            for (later, slot) in after.iter().zip(&mut found).filter(|(_, slot)| slot.is_none()) {
                let candidates = earlier.get(&later.unique_ident()).into_iter().flatten();
                let is_match = |index: &&usize| left[**index].as_ref().is_some_and(|object| matches(object, later));
                if let Some(index) = candidates.copied().find(|index| is_match(&index)) {
                    *slot = left[index].take();
                }
            }
        }
        // Another name of an object is not another object.
        let is_another_name = |one: &Object, others: &HashMap<FileId, Object>| {
            one.file().and_then(|file| others.get(&file)).is_some_and(|other| match_where_known(one, other))
        };
        let mut difference = Self::default();
        let mut named: HashMap<FileId, Object> = HashMap::new();
        let mut unpaired = Vec::new();
        for (after, before) in after.into_iter().zip(found) {
            let Some(before) = before else {
                unpaired.push(after);
                continue;
            };
            if let Some(posix) = before.as_posix()
                && posix.stat.links.max(links(&after)) > 1
            {
                named.insert(posix.file(), before.clone());
            }
            let changes = Change::between(&before, &after);
            if !changes.is_empty() {
                difference.changed.push(Changed { before, after, changes });
            }
        }
        let is_new = |object: &Object| !is_another_name(object, &named);
        difference.created = unpaired.into_iter().filter(is_new).collect();
        difference.removed = left.into_iter().flatten().filter(is_new).collect();
        difference
    }
}

/// Returns the number of names of an object; 0 for a segment.
fn links(object: &Object) -> u64 {
    object.as_posix().map_or(0, |posix| posix.stat.links)
}

/// Returns whether two records with the same id belong to the same object, and have the same unknown fields.
fn match_completely(one: &Object, other: &Object) -> bool {
    match (&one.kind, &other.kind) {
        (ObjectKind::Posix(first), ObjectKind::Posix(second)) => {
            match_where_known(one, other) && text(first) == text(second)
        }
        (ObjectKind::SysV(_), ObjectKind::SysV(_)) => (one.scope, one.identity()) == (other.scope, other.identity()),
        _ => false,
    }
}

/// Returns whether two records with the same id belong to the same object, ignoring unknown fields. A listing has whole
/// seconds.
fn match_where_known(one: &Object, other: &Object) -> bool {
    fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
        one.zip(other).is_none_or(|(one, other)| one == other)
    }
    match (&one.kind, &other.kind) {
        (ObjectKind::Posix(first), ObjectKind::Posix(second)) => {
            let btime = |posix: &Posix| posix.stat.btime.map(super::FileTime::stamp);
            agree(btime(first), btime(second))
        }
        (ObjectKind::SysV(first), ObjectKind::SysV(second)) => {
            (first.cuid, first.cgid, one.size) == (second.cuid, second.cgid, other.size)
                && agree(one.scope, other.scope)
                && agree(first.cpid, second.cpid)
        }
        _ => false,
    }
}
