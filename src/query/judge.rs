//! Which mappings are those of a segment, and whether that is certain.

use std::cmp::{Ordering, Reverse};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use super::System;
use super::ids::outside;
use super::origin::Origin;
use super::processes::{Found, Hit, inode_of};
use crate::model::{Attacher, Attachers, Key, Segment, ShmId};
use crate::procfs;
use crate::sys::{self, Errno, SysError};

/// What was found in processes, and which of it has been given to a segment.
pub(super) struct Judge<'a> {
    /// The system.
    system: &'a System,
    /// The mappings, by inode, pid and address.
    hits: &'a [Hit],
    /// Which of them are some segment's.
    taken: Vec<bool>,
    /// The segments that are judged.
    judged: HashSet<(u64, ShmId)>,
    /// Whether every process was looked into, so that all who share a memory are known.
    all: bool,
    /// Whether there are processes that are not ours to look into.
    closed: bool,
    /// Attached segments of several namespaces, where they are known.
    known: HashMap<(u64, ShmId), &'a Segment>,
}

/// Mappings of one file, or of one namespace where files cannot be told apart.
struct Group<'a> {
    /// What they have in common.
    origin: &'a Origin,
    /// Which hits they are.
    members: Vec<usize>,
    /// Whether a process among them is in the segment's namespace.
    at_home: bool,
}

/// A mapping that is, or may be, one of a segment's.
struct Choice {
    /// Which hit it is.
    index: usize,
    /// Whether that is certain.
    certain: bool,
    /// Whether it counts as one of those that the kernel counts.
    counts: bool,
}

/// Mappings that are left when each memory is counted once, and those that are the same as one of them.
struct Distinct {
    /// What is left.
    kept: Vec<usize>,
    /// What is the same: the hit that was kept, and the other.
    copies: Vec<(usize, usize)>,
}

impl<'a> Judge<'a> {
    /// Begins to judge mappings, which are sorted by inode, pid and address, for segments that are all known.
    pub(super) fn new(system: &'a System, found: &'a Found, segments: &[&'a Segment]) -> Self {
        let hits = found.hits.as_slice();
        let judged = segments.iter().filter_map(|segment| Some((segment.ns?, segment.id))).collect();
        let several = segments.iter().any(|segment| segment.ns != segments[0].ns);
        let place = |segment: &&'a Segment| Some(((segment.ns?, segment.id), *segment));
        let known = if several { segments.iter().filter_map(place).collect() } else { HashMap::new() };
        Self { system, hits, taken: vec![false; hits.len()], judged, all: found.all, closed: found.closed > 0, known }
    }

    /// Decides which mappings are those of a segment, and gives them to it.
    pub(super) fn judge(&mut self, segment: &Segment) -> Attachers {
        let (system, hits) = (self.system, self.hits);
        let key = key_of(segment);
        // The name keeps the key that the segment was made with.
        let can_be = |hit: &Hit| key.is_none_or(|key| hit.mapping.key.is_none_or(|other| other == key));
        let candidates =
            self.of_inode(inode_of(segment.id)).filter(|index| !self.taken[*index] && can_be(&hits[*index]));
        let distinct = Distinct::among(system, hits, candidates);
        let mut groups: Vec<Group<'_>> = Vec::new();
        for index in distinct.kept.iter().copied() {
            let origin = hits[index].origin(system);
            if !origin.fits(segment) {
                continue;
            }
            let at_home = is_in(system, &hits[index], segment.ns);
            match groups.iter_mut().find(|group| group.origin == origin) {
                Some(group) => {
                    group.members.push(index);
                    group.at_home |= at_home;
                }
                None => groups.push(Group { origin, members: vec![index], at_home }),
            }
        }
        let list = self.choose(segment, groups).into_iter().map(|Choice { index, certain, counts }| {
            self.taken[index] = true;
            distinct.copies_of(index).for_each(|copy| self.taken[copy] = true);
            let others: Vec<i32> = distinct.copies_of(index).map(|copy| hits[copy].pid).collect();
            let shared_with = Some(others).filter(|others| self.all || !others.is_empty());
            Attacher { counts, ..attacher(system, &hits[index], certain, shared_with) }
        });
        let mut list: Vec<Attacher> = list.collect();
        list.sort_by_key(|attacher| (attacher.pid, attacher.address));
        Attachers { list, hidden: Vec::new() }
    }

    /// Gives the places of the mappings with an inode number.
    fn of_inode(&self, inode: u64) -> Range<usize> {
        let start = self.hits.partition_point(|hit| hit.mapping.inode < inode);
        let end = self.hits.partition_point(|hit| hit.mapping.inode <= inode);
        start..end
    }

    /// Chooses among groups of mappings those of the segment.
    fn choose(&self, segment: &Segment, mut groups: Vec<Group<'_>>) -> Vec<Choice> {
        let rank = |group: &Group<'_>| {
            let fills = group.members.len() as u64 == segment.nattch;
            let apart = group.origin.made_with(segment);
            let born = apart.is_some();
            // The same birth says more than the namespace, which can be left; both together say most.
            (born && group.at_home, born, group.at_home, Reverse(apart), fills)
        };
        groups.sort_by_key(|group| Reverse(rank(group)));
        let ranks: Vec<_> = groups.iter().map(rank).collect();
        let mut chosen: Vec<Choice> = Vec::new();
        let mut file = false;
        for (place, group) in groups.iter().enumerate() {
            let known = matches!(group.origin, Origin::File { .. });
            let fits = (chosen.len() + group.members.len()) as u64 <= segment.nattch;
            // A segment is one file; and what is too much is none of it, unless nothing else could be.
            let acceptable = fits || (group.at_home && chosen.is_empty());
            if (file && known) || !acceptable {
                continue;
            }
            let born = group.origin.made_with(segment).is_some();
            let rival = ranks.iter().enumerate().any(|(other, rank)| other != place && *rank == ranks[place]);
            let mut counts = true;
            let certain = if group.at_home {
                // Without the file, too many mappings tell that some of them are another segment's.
                let alone = groups.len() == 1 && !group.origin.younger_than(segment);
                if known { !rival && (born || alone) } else { fits && !rival }
            } else {
                // They are of processes that have left the namespace, or of another segment with this id in theirs.
                match self.explained_elsewhere(&self.hits[group.members[0]], group.origin, segment) {
                    Some(true) => continue,
                    Some(false) => known && born && !rival,
                    None => {
                        // Where processes are closed to us, these explain what is missing better.
                        counts = !self.closed;
                        false
                    }
                }
            };
            file |= known;
            chosen.extend(group.members.iter().map(|index| Choice { index: *index, certain, counts }));
        }
        chosen
    }

    /// Tells whether the namespace of a process has an attached segment of this id that its mapping can be rather than
    /// `segment`; `None` if nobody knows.
    fn explained_elsewhere(&self, hit: &Hit, origin: &Origin, segment: &Segment) -> Option<bool> {
        let can_be = |other: &Segment| {
            let nearer = match (origin.made_with(other), origin.made_with(segment)) {
                (Some(other), Some(this)) => other <= this,
                (None, Some(_)) => false,
                (_, None) => true,
            };
            let same_key = key_of(other).is_none_or(|key| hit.mapping.key == Some(key));
            other.nattch > 0 && same_key && origin.fits(other) && nearer
        };
        let id = segment.id;
        if let Some(other) = hit.ns.and_then(|ns| self.known.get(&(ns, id))) {
            return Some(can_be(other));
        }
        match self.in_namespace_of(hit, id)? {
            Ok(Some(other)) => Some(can_be(&other)),
            Ok(None) | Err(SysError { errno: Errno::EINVAL | Errno::EIDRM, .. }) => Some(false),
            Err(_) => None,
        }
    }

    /// Gathers the mappings that no segment took, by id and origin. One whose process is in a namespace that has a segment
    /// of that id, which nobody had attached when it was listed, has attached that meanwhile.
    pub(super) fn strays(&self, listed: &HashSet<(u64, ShmId)>) -> Vec<(ShmId, Attachers)> {
        let id = |inode: u64| i32::try_from(inode).ok().and_then(ShmId::new);
        let is_new = |hit: &Hit| {
            let Some(place) = hit.ns.zip(id(hit.mapping.inode)) else { return false };
            !self.judged.contains(&place) && (listed.contains(&place) || self.is_there(hit, place.1))
        };
        let left = (0..self.hits.len()).filter(|index| !self.taken[*index] && !is_new(&self.hits[*index]));
        let distinct = Distinct::among(self.system, self.hits, left);
        let mut groups: Vec<(u64, &Origin, Attachers)> = Vec::new();
        for index in distinct.kept.iter().copied() {
            let hit = &self.hits[index];
            let origin = hit.origin(self.system);
            let others = distinct.copies_of(index).map(|copy| self.hits[copy].pid).collect();
            let attacher = attacher(self.system, hit, matches!(origin, Origin::File { .. }), Some(others));
            let place = (hit.mapping.inode, origin);
            match groups.iter_mut().find(|(inode, known, _)| (*inode, *known) == place) {
                Some((_, _, attachers)) => attachers.list.push(attacher),
                None => groups.push((place.0, origin, Attachers { list: vec![attacher], hidden: Vec::new() })),
            }
        }
        groups.into_iter().filter_map(|(inode, _, attachers)| Some((id(inode)?, attachers))).collect()
    }

    /// Tells whether the namespace of a process has a segment with an id now.
    fn is_there(&self, hit: &Hit, id: ShmId) -> bool {
        let found =
            if hit.ns == self.system.namespace() { Some(sys::stat_any(id)) } else { self.in_namespace_of(hit, id) };
        matches!(found, Some(Ok(Some(_))))
    }

    /// Looks for a segment in the namespace of a process; `None` if that cannot be entered.
    fn in_namespace_of(&self, hit: &Hit, id: ShmId) -> Option<Result<Option<Segment>, SysError>> {
        let open = |thread: i32| {
            let file = File::open(self.system.proc().join(format!("{thread}/ns/ipc")))?;
            // Threads may be in several, and may have moved on.
            if Some(file.metadata()?.ino()) == hit.ns { Ok(file) } else { Err(ErrorKind::NotFound.into()) }
        };
        let namespace = hit.ask(self.system, open).ok()?;
        sys::in_ipc_namespace(&namespace, move || sys::stat_any(id)).ok()
    }
}

impl Distinct {
    /// Takes out mappings that are the very same one, seen through processes that share their memory (CLONE_VM).
    fn among(system: &System, hits: &[Hit], candidates: impl Iterator<Item = usize>) -> Self {
        let mut distinct = Self { kept: Vec::new(), copies: Vec::new() };
        // For each place in memory, one of each memory, in the order that the kernel has for memories.
        let mut memories: HashMap<(u64, u64), Vec<usize>> = HashMap::new();
        for index in candidates {
            let hit = &hits[index];
            let known = memories.entry((hit.mapping.inode, hit.mapping.start)).or_default();
            let (mut low, mut high) = (0, known.len());
            let mut same = None;
            while low < high && same.is_none() {
                let middle = usize::midpoint(low, high);
                match hits[known[middle]].compare_memory(system, hit) {
                    Some(Ordering::Equal) => same = Some(known[middle]),
                    Some(Ordering::Greater) => high = middle,
                    // Where the kernel does not say, they count as two.
                    Some(Ordering::Less) | None => low = middle + 1,
                }
            }
            match same {
                Some(same) => distinct.copies.push((same, index)),
                None => {
                    known.insert(low, index);
                    distinct.kept.push(index);
                }
            }
        }
        distinct
    }

    /// Gives what is the same as a mapping that was kept.
    fn copies_of(&self, kept: usize) -> impl Iterator<Item = usize> + '_ {
        self.copies.iter().filter(move |(same, _)| *same == kept).map(|(_, copy)| *copy)
    }
}

/// Gives the key by which a segment's mappings can be told; one that is marked for destruction has lost it.
fn key_of(segment: &Segment) -> Option<Key> {
    (!segment.dest).then_some(segment.key)
}

/// Tells whether a process, or one of its threads, is in an IPC namespace.
fn is_in(system: &System, hit: &Hit, namespace: Option<u64>) -> bool {
    let threads = || procfs::other_threads(system.proc(), hit.pid);
    namespace.is_some()
        && (hit.ns == namespace
            || threads().iter().any(|thread| procfs::namespace_of(system.proc(), thread) == namespace))
}

/// Describes an attachment.
fn attacher(system: &System, hit: &Hit, certain: bool, shared_with: Option<Vec<i32>>) -> Attacher {
    let uid = procfs::effective_uid(system.proc(), hit.pid).map(|uid| outside(&system.ids.users, uid));
    Attacher {
        pid: hit.pid,
        uid,
        user: uid.and_then(|uid| system.user_name(uid)),
        command: system.command(hit.pid),
        address: hit.mapping.start,
        size: hit.mapping.end - hit.mapping.start,
        access: hit.mapping.access,
        ns: hit.ns,
        certain,
        counts: true,
        shared_with,
    }
}
