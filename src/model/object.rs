//! A shared memory object: what is common to all kinds, and what only one kind has.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::{
    Claim, FileId, FileType, FileUsers, Ident, Key, Mode, Posix, Scope, SegmentUser, SegmentUsers, ShmId, Stamp, State,
};

/// A shared memory object, regardless of the source of its record.
///
/// A field that [`Needs`](super::Needs) names can be `None` if it was not requested; some sources fill it anyway.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(expecting = "a record")]
pub(crate) struct Object {
    /// Size in bytes as requested, not rounded up to pages.
    pub(crate) size: u64,
    pub(crate) mode: Mode,
    pub(crate) uid: u32,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) gid: u32,
    pub(crate) group: Option<Arc<str>>,
    /// Creation, or last change of owner, group or mode; of a file, also its last write.
    pub(crate) ctime: Option<Stamp>,
    /// Seconds since it was last used or changed; `None` while in use.
    pub(crate) idle_seconds: Option<u64>,
    pub(crate) rss: Option<u64>,
    pub(crate) swap: Option<u64>,
    pub(crate) state: Option<State>,
    // Unknown is null. deserialize_with makes a missing field an error: it was not asked for.
    #[serde(rename = "ns", deserialize_with = "Option::deserialize")]
    pub(crate) scope: Option<Scope>,
    /// The page size in bytes, if a process that has it attached shows it.
    #[serde(skip)]
    pub(crate) page_size: Option<u64>,
    #[serde(skip)]
    pub(crate) attachers: Option<Arc<SegmentUsers>>,
    /// The container or unit to which its scope belongs.
    #[serde(skip)]
    pub(crate) container: Option<Arc<str>>,
    /// The program that it belongs to; of a POSIX object, the one that uses such names.
    #[serde(skip)]
    pub(crate) product: Option<Arc<str>>,
    #[serde(flatten)]
    pub(crate) kind: ObjectKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ObjectKind {
    SysV(SysV),
    /// Boxed, because it is much larger than a segment, of which there can be thousands.
    Posix(Box<Posix>),
}

impl Default for ObjectKind {
    fn default() -> Self {
        Self::SysV(SysV::default())
    }
}

impl<'de> Deserialize<'de> for ObjectKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SysV::deserialize(deserializer).map(Self::SysV)
    }
}

/// The fields of `struct shmid_ds` that only a System V segment has, and what is derived from them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct SysV {
    pub(crate) id: ShmId,
    /// 0 for a private segment and after it was marked for destruction.
    pub(crate) key: Key,
    pub(crate) cuid: u32,
    pub(crate) creator: Option<Arc<str>>,
    pub(crate) cgid: u32,
    pub(crate) creator_group: Option<Arc<str>>,
    /// Process that created it; `None` if it is outside this pid namespace.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) cpid: Option<i32>,
    /// Process that attached or detached last; `None` if there was none or it is outside this pid namespace.
    pub(crate) lpid: Option<i32>,
    /// Attachments, counted as mappings: one process can have several.
    pub(crate) nattch: u64,
    pub(crate) atime: Option<Stamp>,
    pub(crate) dtime: Option<Stamp>,
    pub(crate) dest: bool,
    pub(crate) locked: bool,
    /// Command line of the creator, while it is running.
    #[serde(skip)]
    pub(crate) creator_command: Option<Arc<str>>,
    /// Command line of the last user, while it is running.
    #[serde(skip)]
    pub(crate) last_command: Option<Arc<str>>,
}

/// See [`Object::identity`].
pub(crate) type Identity = (ShmId, Option<i32>, u32, u32, u64);

impl Object {
    pub(crate) fn ident(&self) -> Ident {
        match &self.kind {
            ObjectKind::SysV(sysv) => Ident::Id(sysv.id),
            ObjectKind::Posix(posix) => posix.name.clone().map_or_else(|| Ident::File(posix.file()), Ident::Name),
        }
    }

    /// Returns whether its program's own clean-up command applies: it is left over, or the program keeps it.
    pub(crate) fn can_be_cleaned_up(&self, keep: bool) -> bool {
        let is_served = self.as_posix().is_some_and(|posix| posix.family.claim == Some(Claim::Segment));
        let is_in_use = is_served || matches!(self.state, Some(State::InUse | State::Dest | State::Kept));
        (keep || !is_in_use) && !self.as_posix().is_some_and(Posix::is_unproven)
    }

    /// Returns an identity that is the same for each of its names.
    pub(crate) fn unique_ident(&self) -> Ident {
        match &self.kind {
            ObjectKind::SysV(sysv) => Ident::Id(sysv.id),
            ObjectKind::Posix(posix) => Ident::File(posix.file()),
        }
    }

    /// Returns what only a System V segment has.
    ///
    /// # Panics
    ///
    /// If it is of another kind, which never reaches the code for segments.
    pub(crate) fn sysv(&self) -> &SysV {
        match &self.kind {
            ObjectKind::SysV(sysv) => sysv,
            ObjectKind::Posix(_) => unreachable!("{} is not a segment", self.ident()),
        }
    }

    pub(crate) fn sysv_mut(&mut self) -> &mut SysV {
        match &mut self.kind {
            ObjectKind::SysV(sysv) => sysv,
            ObjectKind::Posix(posix) => unreachable!("{} is not a segment", posix.file()),
        }
    }

    /// Returns what only a System V segment has, unless it is of another kind.
    pub(crate) fn as_sysv(&self) -> Option<&SysV> {
        match &self.kind {
            ObjectKind::SysV(sysv) => Some(sysv),
            ObjectKind::Posix(_) => None,
        }
    }

    /// Returns what only a POSIX object has.
    ///
    /// # Panics
    ///
    /// If it is a segment, which never reaches the code for POSIX objects.
    pub(crate) fn posix(&self) -> &Posix {
        match &self.kind {
            ObjectKind::Posix(posix) => posix,
            ObjectKind::SysV(sysv) => unreachable!("segment {} is not a POSIX object", sysv.id),
        }
    }

    pub(crate) fn posix_mut(&mut self) -> &mut Posix {
        match &mut self.kind {
            ObjectKind::Posix(posix) => posix,
            ObjectKind::SysV(sysv) => unreachable!("segment {} is not a POSIX object", sysv.id),
        }
    }

    /// Returns what only a POSIX object has, unless it is a segment.
    pub(crate) fn as_posix(&self) -> Option<&Posix> {
        match &self.kind {
            ObjectKind::Posix(posix) => Some(posix),
            ObjectKind::SysV(_) => None,
        }
    }

    /// Returns the device and inode of a POSIX object.
    pub(crate) fn file(&self) -> Option<FileId> {
        self.as_posix().map(Posix::file)
    }

    /// Returns the processes that use a POSIX object, if they were looked for.
    pub(crate) fn file_users(&self) -> Option<&Arc<FileUsers>> {
        self.as_posix()?.users.as_ref()
    }

    /// Returns its key, if it is of a kind that has one.
    pub(crate) fn key(&self) -> Option<Key> {
        self.as_sysv().map(|sysv| sysv.key)
    }

    /// Returns whether it is a System V segment.
    pub(crate) fn is_segment(&self) -> bool {
        matches!(self.kind, ObjectKind::SysV(_))
    }

    /// Returns whether it is a directory in /dev/shm, which takes space but is not shared memory.
    pub(crate) fn is_directory(&self) -> bool {
        self.as_posix().is_some_and(|posix| posix.file_type == FileType::Dir)
    }

    /// Returns what to call it: `object` is short for POSIX object.
    pub(crate) fn noun(&self) -> &'static str {
        match self.kind {
            ObjectKind::SysV(_) => "segment",
            ObjectKind::Posix(_) => "object",
        }
    }

    pub(crate) fn is_in_use(&self) -> bool {
        match &self.kind {
            ObjectKind::SysV(sysv) => sysv.nattch > 0,
            ObjectKind::Posix(posix) => posix.in_use().unwrap_or_default(),
        }
    }

    /// Returns the key that a segment marked for destruction had; `None` if it had none, or if no attachment that was
    /// found shows it.
    pub(crate) fn former_key(&self) -> Option<Key> {
        let key = self.certain_attacher().filter(|_| self.is_marked())?.key;
        key.filter(|key| *key != Key::PRIVATE)
    }

    /// Returns an attachment that was found and is certainly one of this object.
    pub(crate) fn certain_attacher(&self) -> Option<&SegmentUser> {
        self.attachers.as_ref()?.list.iter().find(|attacher| attacher.certain)
    }

    /// Returns whether it is marked for destruction.
    pub(crate) fn is_marked(&self) -> bool {
        self.as_sysv().is_some_and(|sysv| sysv.dest)
    }

    /// Returns the number of the IPC namespace that it belongs to, if it belongs to one.
    pub(crate) fn ipc_namespace(&self) -> Option<u64> {
        self.scope.and_then(Scope::ipc_namespace)
    }

    /// Returns whether owner, group, mode and lock are the same as in an earlier record. The change time has a
    /// resolution of one second, so it does not show every change.
    pub(crate) fn has_same_attributes(&self, earlier: &Self) -> bool {
        let attributes = |object: &Self| (object.uid, object.gid, object.mode, object.sysv().locked);
        attributes(self) == attributes(earlier)
    }

    /// Returns what identifies a segment from its creation to its removal: id, creator, size. The kernel reuses an id
    /// only after millions of segments.
    pub(crate) fn identity(&self) -> Identity {
        let SysV { id, cpid, cuid, cgid, .. } = *self.sysv();
        (id, cpid, cuid, cgid, self.size)
    }

    /// Returns whether two records belong to the same segment, and its key and change time are the same.
    pub(crate) fn is_same_segment(&self, earlier: &Self) -> bool {
        let key = |object: &Self| (object.identity(), object.sysv().key, object.ctime);
        key(self) == key(earlier)
    }

    #[cfg(test)]
    pub(crate) fn with(mut self, change: impl FnOnce(&mut SysV)) -> Self {
        change(self.sysv_mut());
        self
    }
}

impl SysV {
    /// Returns the recorded processes: creator and last user.
    pub(crate) fn processes(&self) -> impl Iterator<Item = i32> {
        [self.cpid, self.lpid].into_iter().flatten()
    }

    /// Returns what each attach and detach changes.
    pub(crate) fn usage(&self) -> (Option<i32>, Option<Stamp>, Option<Stamp>) {
        (self.lpid, self.atime, self.dtime)
    }
}
