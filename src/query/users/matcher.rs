//! Decides which of the mappings that were found belong to a segment, and whether that is certain.
//!
//! The same id names a different segment in each IPC namespace, attachments survive setns(2) and unshare(2), and the
//! first id in each namespace is 0. So the mappings with a segment's inode number are grouped by origin
//! ([`super::origin`]), and the groups are ranked: those with a file born with the segment first, then those in its
//! namespace. Only one file can be the segment's. If a mapping's process is in another namespace that has a segment of
//! this id that fits better, the mapping is that segment's. The key in a mapping's name is the one at creation, and
//! excludes other segments unless the segment has lost its key (IPC_RMID). Processes that share their memory (CLONE_VM,
//! found by kcmp(2)) share one mapping.
//!
//! Files are not read if numbers prove the same: if no mapping can be missing, and exactly nattch mappings have the
//! segment's inode number, all of them are the segment's.

use std::cell::RefCell;
use std::cmp::{Ordering, Reverse};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::origin::Origin;
use super::scan::{ScanResult, SegmentMapping, inode_of, is_in_namespace};
use crate::model::{Key, Object, SegmentUser, SegmentUsers, ShmId};
use crate::procfs;
use crate::query::host::System;
use crate::sys::{self, Errno, SysError};

/// The origin of mappings that need none, because they are proven to be a segment's.
static PROVEN: Origin = Origin::Namespace(None);

/// The mappings that were found, and which of them have been assigned to a segment.
pub(super) struct Matcher<'a> {
    system: &'a System,
    found: &'a ScanResult,
    /// Sorted by inode, pid and address.
    mappings: &'a [SegmentMapping],
    assigned: Vec<bool>,
    known: HashMap<(u64, ShmId), &'a Object>,
    /// Results of kcmp(2) by pids, which are the same for all mappings of two processes.
    memories: RefCell<HashMap<(i32, i32), Option<Ordering>>>,
}

/// Mappings of one file, or of one namespace if the files are not visible.
struct Group<'a> {
    origin: &'a Origin,
    members: Vec<usize>,
    /// Whether one of their processes is in the segment's namespace.
    in_namespace: bool,
}

/// A mapping that belongs, or may belong, to a segment.
struct Choice {
    index: usize,
    certain: bool,
    /// Whether it counts towards nattch.
    counts: bool,
}

/// Mappings with those of shared memory (CLONE_VM) counted once.
struct Distinct {
    kept: Vec<usize>,
    /// The same mappings seen through other processes: the kept one, and the copy.
    copies: Vec<(usize, usize)>,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(system: &'a System, found: &'a ScanResult, segments: &[&'a Object]) -> Self {
        let mappings = found.mappings.as_slice();
        let identified = |segment: &&'a Object| Some(((segment.ipc_namespace()?, segment.sysv().id), *segment));
        let known = segments.iter().filter_map(identified).collect();
        Self { system, found, mappings, assigned: vec![false; mappings.len()], known, memories: RefCell::default() }
    }

    pub(super) fn assign(&mut self, segment: &Object) -> SegmentUsers {
        let (system, mappings) = (self.system, self.mappings);
        let key = original_key(segment);
        // The name contains the key at creation.
        let has_key = |mapping: &SegmentMapping| key.is_none_or(|key| mapping.vma.key.is_none_or(|other| other == key));
        let candidates = self
            .with_inode(inode_of(segment.sysv().id))
            .filter(|index| !self.assigned[*index] && has_key(&mappings[*index]));
        let candidates: Vec<usize> = candidates.collect();
        let proven = self.are_proven(segment, &candidates);
        let distinct = if proven { Distinct::all(candidates) } else { self.distinct(candidates) };
        let mut groups: Vec<Group<'_>> = Vec::new();
        for index in distinct.kept.iter().copied() {
            let origin = if proven { &PROVEN } else { mappings[index].origin(system) };
            if !origin.size_matches(segment) {
                continue;
            }
            let (mapping, namespace) = (&mappings[index], segment.ipc_namespace());
            let in_namespace =
                namespace.is_some() && (mapping.ns == namespace || is_in_namespace(system, mapping.pid, namespace));
            match groups.iter_mut().find(|group| group.origin == origin) {
                Some(group) => {
                    group.members.push(index);
                    group.in_namespace |= in_namespace;
                }
                None => groups.push(Group { origin, members: vec![index], in_namespace }),
            }
        }
        let list = self.choose(segment, groups).into_iter().map(|Choice { index, certain, counts }| {
            self.assigned[index] = true;
            distinct.copies_of(index).for_each(|copy| self.assigned[copy] = true);
            let others: Vec<i32> = distinct.copies_of(index).map(|copy| mappings[copy].pid).collect();
            let shared_with = Some(others).filter(|others| self.found.complete || !others.is_empty());
            SegmentUser { counts, ..attacher(system, &mappings[index], certain, shared_with) }
        });
        let mut list: Vec<SegmentUser> = list.collect();
        list.sort_by_key(|attacher| (attacher.pid, attacher.address));
        SegmentUsers { list, hidden: Vec::new() }
    }

    /// Returns whether these are all attachments of a segment, and no mapping is another segment's with its id.
    fn are_proven(&self, segment: &Object, candidates: &[usize]) -> bool {
        self.found.exhaustive
            && candidates.len() as u64 == segment.sysv().nattch
            && candidates.len() == self.with_inode(inode_of(segment.sysv().id)).len()
            && candidates.iter().all(|index| self.mappings[*index].ns == segment.ipc_namespace())
    }

    fn with_inode(&self, inode: u64) -> Range<usize> {
        let start = self.mappings.partition_point(|mapping| mapping.vma.inode < inode);
        let end = self.mappings.partition_point(|mapping| mapping.vma.inode <= inode);
        start..end
    }

    /// Chooses the groups of mappings that belong, or may belong, to a segment; the best first.
    ///
    /// Example: segment 0 has nattch 2. One process maps a file twice that was born when the segment was created.
    /// Another process has entered the namespace with a mapping of its old segment 0. Both are in the namespace, so the
    /// file decides: the first group ranks higher, and since a segment is one file, the second is another segment's.
    fn choose(&self, segment: &Object, mut groups: Vec<Group<'_>>) -> Vec<Choice> {
        let rank = |group: &Group<'_>| {
            let equals_nattch = group.members.len() as u64 == segment.sysv().nattch;
            let distance = group.origin.birth_distance(segment);
            let born_together = distance.is_some();
            // A process can leave its namespace, so the birth time is the stronger evidence; both are the strongest.
            (born_together && group.in_namespace, born_together, group.in_namespace, Reverse(distance), equals_nattch)
        };
        groups.sort_by_key(|group| Reverse(rank(group)));
        let ranks: Vec<_> = groups.iter().map(rank).collect();
        let mut chosen: Vec<Choice> = Vec::new();
        let mut has_file = false;
        for (index, group) in groups.iter().enumerate() {
            let is_file = matches!(group.origin, Origin::File { .. });
            let fits = (chosen.len() + group.members.len()) as u64 <= segment.sysv().nattch;
            // A segment is one file. Mappings beyond nattch are another segment's, unless these are the only
            // candidates.
            let acceptable = fits || (group.in_namespace && chosen.is_empty());
            if (has_file && is_file) || !acceptable {
                continue;
            }
            let born_together = group.origin.birth_distance(segment).is_some();
            let rival = ranks.iter().enumerate().any(|(other, rank)| other != index && *rank == ranks[index]);
            let mut counts = true;
            let certain = if group.in_namespace {
                // Without the file, more mappings than nattch show that some are another segment's.
                let only_candidate = groups.len() == 1 && !group.origin.born_after_change(segment);
                if is_file { !rival && (born_together || only_candidate) } else { fits && !rival }
            } else {
                // The processes have left the namespace, or have attached another segment with this id in theirs.
                match self.fits_other_segment(&self.mappings[group.members[0]], group.origin, segment) {
                    Some(true) => continue,
                    Some(false) => {}
                    // If some processes are inaccessible, the missing attachments are more likely theirs.
                    None => counts = !self.found.some_inaccessible(),
                }
                // That namespace need not be the one in which they attached it, and what they attached can have been
                // changed or removed since.
                false
            };
            has_file |= is_file;
            chosen.extend(group.members.iter().map(|index| Choice { index: *index, certain, counts }));
        }
        chosen
    }

    /// Returns whether the namespace of a process has an attached segment of this id that fits the mapping better than
    /// `segment`; `None` if that is unknown.
    fn fits_other_segment(&self, mapping: &SegmentMapping, origin: &Origin, segment: &Object) -> Option<bool> {
        let is_better = |other: &Object| {
            let is_nearer = match (origin.birth_distance(other), origin.birth_distance(segment)) {
                (Some(other), Some(this)) => other <= this,
                (None, Some(_)) => false,
                (_, None) => true,
            };
            let same_key = original_key(other).is_none_or(|key| mapping.vma.key == Some(key));
            other.sysv().nattch > 0 && same_key && origin.size_matches(other) && is_nearer
        };
        let id = segment.sysv().id;
        if let Some(other) = mapping.ns.and_then(|ns| self.known.get(&(ns, id))) {
            return Some(is_better(other));
        }
        match self.in_namespace_of(mapping, id)? {
            Ok(Some(other)) => Some(is_better(&other)),
            Ok(None) | Err(SysError { errno: Errno::EINVAL | Errno::EIDRM, .. }) => Some(false),
            Err(_) => None,
        }
    }

    /// Returns the mappings that were not assigned, by id and origin. A mapping is left out if its process is in a
    /// namespace with a segment of that id that was not attached when it was listed: the process has attached that one
    /// since.
    pub(super) fn strays(&self, listed: &HashSet<(u64, ShmId)>) -> Vec<(ShmId, SegmentUsers)> {
        let id = |inode: u64| i32::try_from(inode).ok().and_then(ShmId::new);
        let is_recent = |mapping: &SegmentMapping| {
            let Some(identity) = mapping.ns.zip(id(mapping.vma.inode)) else { return false };
            !self.known.contains_key(&identity) && (listed.contains(&identity) || self.exists_now(mapping, identity.1))
        };
        let left =
            (0..self.mappings.len()).filter(|index| !self.assigned[*index] && !is_recent(&self.mappings[*index]));
        let distinct = self.distinct(left);
        let mut groups: Vec<(u64, &Origin, SegmentUsers)> = Vec::new();
        for index in distinct.kept.iter().copied() {
            let mapping = &self.mappings[index];
            let origin = mapping.origin(self.system);
            let others = distinct.copies_of(index).map(|copy| self.mappings[copy].pid).collect();
            let attacher = attacher(self.system, mapping, matches!(origin, Origin::File { .. }), Some(others));
            let file = (mapping.vma.inode, origin);
            match groups.iter_mut().find(|(inode, known, _)| (*inode, *known) == file) {
                Some((_, _, attachers)) => attachers.list.push(attacher),
                None => groups.push((file.0, origin, SegmentUsers { list: vec![attacher], hidden: Vec::new() })),
            }
        }
        groups.into_iter().filter_map(|(inode, _, attachers)| Some((id(inode)?, attachers))).collect()
    }

    fn exists_now(&self, mapping: &SegmentMapping, id: ShmId) -> bool {
        let found = if mapping.ns == self.system.namespace() {
            Some(sys::stat_any(id))
        } else {
            self.in_namespace_of(mapping, id)
        };
        matches!(found, Some(Ok(Some(_))))
    }

    /// Reads a segment in the namespace of a process; `None` if that cannot be entered.
    fn in_namespace_of(&self, mapping: &SegmentMapping, id: ShmId) -> Option<Result<Option<Object>, SysError>> {
        mapping.ns?;
        let open = |thread: i32| procfs::open_namespace(self.system.proc(), thread, mapping.ns);
        let namespace = mapping.with_thread(self.system, open).ok()?;
        sys::in_ipc_namespace(&namespace, move || sys::stat_any(id)).ok()
    }

    /// Separates mappings from copies of them that were seen through processes sharing their memory (CLONE_VM).
    fn distinct(&self, candidates: impl IntoIterator<Item = usize>) -> Distinct {
        let mut distinct = Distinct::all(Vec::new());
        // For each inode and address, one mapping of each memory, sorted as kcmp(2) orders memories.
        let mut memories: HashMap<(u64, u64), Vec<usize>> = HashMap::new();
        for index in candidates {
            let mapping = &self.mappings[index];
            let known = memories.entry((mapping.vma.inode, mapping.vma.start)).or_default();
            // If the kernel does not compare them, they count as two.
            let compare =
                |other: &usize| self.compare_memory(&self.mappings[*other], mapping).unwrap_or(Ordering::Less);
            match known.binary_search_by(compare) {
                Ok(same) => distinct.copies.push((known[same], index)),
                Err(position) => {
                    known.insert(position, index);
                    distinct.kept.push(index);
                }
            }
        }
        distinct
    }

    fn compare_memory(&self, one: &SegmentMapping, other: &SegmentMapping) -> Option<Ordering> {
        let pids = (one.pid, other.pid);
        *self.memories.borrow_mut().entry(pids).or_insert_with(|| one.compare_memory(self.system, other))
    }
}

impl Distinct {
    fn all(kept: Vec<usize>) -> Self {
        Self { kept, copies: Vec::new() }
    }

    fn copies_of(&self, kept: usize) -> impl Iterator<Item = usize> + '_ {
        self.copies.iter().filter(move |(same, _)| *same == kept).map(|(_, copy)| *copy)
    }
}

/// Returns the key in the names of a segment's mappings; unknown if the segment has lost it (IPC_RMID).
fn original_key(segment: &Object) -> Option<Key> {
    (!segment.sysv().dest).then_some(segment.sysv().key)
}

fn attacher(system: &System, mapping: &SegmentMapping, certain: bool, shared_with: Option<Vec<i32>>) -> SegmentUser {
    let uid = system.effective_uid(mapping.pid);
    SegmentUser {
        pid: mapping.pid,
        uid,
        user: uid.and_then(|uid| system.user_name(uid)),
        command: system.command(mapping.pid),
        address: mapping.vma.start,
        size: mapping.vma.end - mapping.vma.start,
        access: mapping.vma.access,
        ns: mapping.ns,
        certain,
        counts: true,
        key: mapping.vma.key,
        device: mapping.vma.device,
        exiting: false,
        shared_with,
    }
}
