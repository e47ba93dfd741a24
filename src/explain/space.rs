//! What holds the segment ids and pages of an IPC namespace or the space of /dev/shm, or limits the size of a file.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::error::{Error, Hint, again, program, shmadm, sysctl};
use crate::model::{Limits, Needs, Object, Size, State, Tally, counted, enumerate, first_names};
use crate::query::{
    Filter, Resource, System, add_attachers, caller_limit, count, creator_and_last_user, inventory, may_control,
    posix_usage, unlinked_objects,
};
use crate::sys::{self, FileSystem};

/// Maximum number of ids of an IPC namespace (IPCMNI of ipc/util.h) unless the kernel was booted with ipcmni_extend.
const MAX_IDS: u64 = 1 << 15;

/// Maximum number of consumers that a message names.
const MAX_NAMED: usize = 2;

/// Adds which limit caused ENOSPC, what holds it, and how to find or raise it.
pub(super) fn explain_no_space(system: &System, error: Error, size: u64, limits: Limits) -> Error {
    let error = add_full_limits(system, error, size, limits);
    if error.cause.is_some() {
        return error;
    }
    error.cause("another process took the last ids or pages at the same time, or the number of pages overflows")
}

/// Adds the limits of the IPC namespace that a new segment would exceed, if any: the pages, which the kernel checks
/// first, and the ids.
pub(super) fn add_full_limits(system: &System, mut error: Error, size: u64, limits: Limits) -> Error {
    let Ok(Tally { segments: ids, pages, .. }) = count(system) else { return error };
    let wanted = size.div_ceil(limits.page_size);
    let total = pages.checked_add(wanted);
    let (lacks_pages, lacks_ids) = (total.is_none_or(|total| total > limits.shmall), ids >= limits.shmmni);
    if !lacks_pages && !lacks_ids {
        return error;
    }
    let segments = segments(system);
    if lacks_pages {
        let pages_of = |segment: &Object| segment.size.div_ceil(limits.page_size);
        let nouns = [
            (State::Orphan, "in orphans"),
            (State::Dest, "in segments marked for destruction"),
            (State::InUse, "in attached segments"),
            (State::Idle, "in idle segments"),
            (State::Unknown, "in segments of unknown state"),
        ];
        let held = describe(system, &segments, &nouns, pages_of, |pages| pages.to_string());
        error = error.also(&format!(
            "{} would exceed the limit of {} for all segments, with {pages} in use (kernel.shmall){held}",
            counted(wanted, "more page"),
            limits.shmall
        ));
    }
    if lacks_ids {
        let nouns = [
            (State::Orphan, "orphans"),
            (State::Dest, "marked for destruction"),
            (State::InUse, "in use"),
            (State::Idle, "idle"),
            (State::Unknown, "unknown"),
        ];
        let held = describe(system, &segments, &nouns, |_| 1, |ids| ids.to_string());
        let ids = match limits.shmmni {
            most if most < ids => format!("{} exist, more than the limit of {most}", counted(ids, "segment")),
            1 => "the only segment id of this IPC namespace is in use".to_owned(),
            all => format!("all {all} segment ids of this IPC namespace are in use"),
        };
        let cause = format!("{ids} (kernel.shmmni){held}");
        error = error.also(&cause);
    }
    let others = || match lacks_pages {
        true => Hint::new("list the largest segments first", shmadm("list --sort size --reverse")),
        false => Hint::new("list the oldest segments first", shmadm("list --sort ctime")),
    };
    // Who reads the hint is this process's user.
    error = error.with(suggest_orphans(&system.renewed(), segments).unwrap_or_else(others));
    if let Some(total) = total.filter(|_| lacks_pages) {
        error = error.hint("raise the limit", sysctl("kernel.shmall", total));
    }
    match ids.max(limits.shmmni).saturating_mul(2).min(MAX_IDS) {
        more if lacks_ids && more > ids => error.hint("raise the limit", sysctl("kernel.shmmni", more)),
        _ => error,
    }
}

/// Adds whether the inodes or the bytes of a tmpfs are in use (ENOSPC), and by what. `path` is its name in the message.
pub(crate) fn explain_full_directory(system: &System, error: Error, file: BorrowedFd<'_>, path: &str) -> Error {
    let known = objects_on(system, file);
    let are_known = known.is_some();
    let (objects, unlinked) = known.unwrap_or_default();
    let described = |measure: fn(&Object) -> u64, show: fn(u64) -> String| {
        let nouns = [
            (State::Unlinked, "in unlinked objects"),
            (State::Orphan, "in orphans"),
            (State::InUse, "in objects in use"),
            (State::Idle, "in idle objects"),
            (State::Kept, "in objects that their programs keep"),
            (State::Unused, "in unused objects"),
            (State::Unknown, "in objects of unknown state"),
        ];
        describe(system, &objects, &nouns, measure, show)
    };
    let (error, list) = match sys::file_system(file) {
        Ok(Some(FileSystem { inodes, inodes_used: Some(used), .. })) if used >= inodes => {
            let held = described(|_| 1, |files| files.to_string());
            let list = Hint::new("list the oldest files", shmadm("list --posix --sort IDLE --reverse"));
            (error.cause(format!("all {inodes} inodes of {path} are in use{held}")), list)
        }
        Ok(Some(FileSystem { size, used: Some(used), .. })) => {
            let allocated = |object: &Object| object.posix().allocated;
            let mut held = described(allocated, |bytes| Size(bytes).to_string());
            let known = objects.iter().filter(|object| object.state == Some(State::Unlinked)).map(allocated).sum();
            if unlinked > known {
                let separator = if held.is_empty() { ":" } else { "," };
                let rest = Size(unlinked - known);
                held.push_str(&format!("{separator} {rest} in unlinked objects that cannot be inspected"));
            }
            let largest = shmadm("list --posix --sort RSS --reverse");
            let free = Size(size.saturating_sub(used));
            let error = error.cause(format!("{path} has {free} free of {}{held}", Size(size)));
            (error, Hint::new("list the objects that take the most memory", largest))
        }
        _ => return error,
    };
    let has = |named: bool| !are_known || objects.iter().any(|it| it.posix().name.is_some() == named);
    let error = if has(true) { error.with(list) } else { error };
    match has(false) || unlinked > 0 {
        true => error.hint("list those without a name", shmadm("list --unlinked")),
        false => error,
    }
}

/// Returns the objects on the file system of a file, with their states and users, and the bytes of those without a
/// name; `None` if it is not that of the caller's objects, or if they cannot be listed.
fn objects_on(system: &System, file: BorrowedFd<'_>) -> Option<(Vec<Object>, u64)> {
    let needs = Needs::STATE | Needs::ATTACHERS;
    if sys::stat_file(file).ok()?.file.device != system.objects().ok()?.device {
        return None;
    }
    let (usage, mut objects) = posix_usage(system, needs).ok()?;
    objects.extend(unlinked_objects(system, needs).unwrap_or_default());
    Some((objects, usage.unlinked.unwrap_or(0)))
}

/// Adds why a file cannot have a size (EINVAL, EFBIG). `space` is its file system.
pub(super) fn explain_file_size(
    system: &System,
    error: Error,
    size: u64,
    space: Option<FileSystem>,
    errno: Errno,
) -> Error {
    match (errno, space) {
        (Errno::EINVAL, Some(FileSystem { is_huge: true, page, .. })) => {
            let whole = size.checked_next_multiple_of(page).unwrap_or(page);
            error
                .cause(format!("the size must be a multiple of the huge page size, {}", Size(page)))
                .hint("round the size up", again(&format!("--size {whole}")))
        }
        (Errno::EFBIG, _) if i64::try_from(size).is_err() => error.cause("an object must be smaller than 8 EiB"),
        (Errno::EFBIG, _) => match caller_limit(system, Resource::RLIMIT_FSIZE) {
            Some(limit) if limit < size => error
                .cause(format!("the size exceeds RLIMIT_FSIZE, {}", Size(limit)))
                .hint("show the limit in KiB", program("ulimit -f")),
            _ => error.cause("the size exceeds the maximum file size of the file system"),
        },
        _ => error,
    }
}

/// Returns all segments with their states and processes; none if they cannot be listed.
fn segments(system: &System) -> Vec<Object> {
    let mut segments = inventory(system, Needs::STATE).unwrap_or_default();
    // Without the processes, only the states are described.
    let _ = add_attachers(system, &mut segments);
    segments
}

/// Describes how much is held by segments or objects of each state, and by their largest consumer or creator:
/// `: 3 orphans (all created by user alice), 2 in use (1 attached by pid 4711, Xorg)`.
fn describe(
    system: &System,
    objects: &[Object],
    nouns: &[(State, &str)],
    measure: impl Fn(&Object) -> u64,
    show: impl Fn(u64) -> String,
) -> String {
    let mut parts = Vec::new();
    for (state, noun) in nouns.iter().copied() {
        let (mut total, mut consumers) = (0, BTreeMap::new());
        for object in objects.iter().filter(|object| object.state == Some(state)) {
            let amount = measure(object);
            total += amount;
            for consumer in consumers_of(system, object, state) {
                *consumers.entry(consumer).or_insert(0) += amount;
            }
        }
        if total == 0 {
            continue;
        }
        let noun = if total == 1 { noun.strip_suffix("s").filter(|_| noun == "orphans").unwrap_or(noun) } else { noun };
        parts.push(format!("{} {noun}{}", show(total), describe_largest(total, consumers, &show)));
    }
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
}

/// Describes the consumers with the largest share of a total: ` (all attached by pid 4711, Xorg)`.
fn describe_largest(total: u64, consumers: BTreeMap<Consumer, u64>, show: impl Fn(u64) -> String) -> String {
    let Some(&amount) = consumers.values().max() else { return String::new() };
    let largest: Vec<Consumer> =
        consumers.into_iter().filter(|(_, it)| *it == amount).map(|(consumer, _)| consumer).collect();
    let verb = largest[0].verb;
    let names = first_names(MAX_NAMED, largest.iter().filter(|it| it.verb == verb).map(|it| it.name.clone()));
    let each = if names.len() > 1 { "each of " } else { "" };
    match amount {
        1 if total == 1 => format!(" ({verb} by {})", enumerate(&names, "and")),
        _ if amount == total => format!(" (all {verb} by {})", enumerate(&names, "and")),
        _ => format!(" ({} {verb} by {each}{})", show(amount), enumerate(&names, "and")),
    }
}

/// A process or user that holds segments or objects.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Consumer {
    /// How it holds them, or why it is named.
    verb: &'static str,
    name: String,
}

/// Returns who holds a segment or object: the processes that certainly have it attached or use it, the running creator
/// or last user of an idle segment, and otherwise, or if none is visible, the user who created or owns it.
fn consumers_of(system: &System, object: &Object, state: State) -> Vec<Consumer> {
    let process = |verb: &'static str, pid: i32| {
        let command = system.command(pid).map(|command| format!(", {command}")).unwrap_or_default();
        Consumer { verb, name: format!("pid {pid}{command}") }
    };
    let Some(sysv) = object.as_sysv() else {
        let pids = object.file_users().into_iter().flat_map(|users| users.pids());
        let users: Vec<Consumer> = pids.map(|pid| process("used", pid)).collect();
        let owner = || vec![Consumer { verb: "owned", name: format!("user {}", system.user(object.uid)) }];
        return if users.is_empty() { owner() } else { users };
    };
    let created = || vec![Consumer { verb: "created", name: format!("user {}", system.user(sysv.cuid)) }];
    match state {
        State::Dest | State::InUse => {
            let processes = object.attachers.iter().flat_map(|attachers| attachers.processes());
            let certain = processes.filter(|mappings| mappings.iter().any(|mapping| mapping.certain));
            let attached: Vec<Consumer> = certain.map(|mappings| process("attached", mappings[0].pid)).collect();
            // The processes may be those of other users.
            if attached.is_empty() { created() } else { attached }
        }
        State::Idle => {
            let [creator, last_user] = creator_and_last_user(system, object);
            let running = [("created", sysv.cpid, creator), ("last used", sysv.lpid, last_user)].into_iter();
            let mut running = running.filter(|(.., status)| status.is_running());
            running.find_map(|(verb, pid, _)| Some(process(verb, pid?))).into_iter().collect()
        }
        State::Orphan | State::Unknown | State::Unlinked | State::Kept | State::Unused => created(),
    }
}

/// Returns a hint to list the orphans, if there are any: with the options of prune that their owners and ages require,
/// or with `list` if the caller may not remove them all.
fn suggest_orphans(system: &System, mut segments: Vec<Object>) -> Option<Hint> {
    segments.retain(|segment| segment.state == Some(State::Orphan));
    let default = Filter::prune_default();
    let excludes_any = |condition: Filter| segments.iter().any(|segment| !condition.matches(system, segment));
    let options = [
        ("--any-owner", excludes_any(Filter { older_than: None, ..default.clone() })),
        ("--older-than 0s", excludes_any(Filter { mine: false, ..default })),
    ];
    let options: Vec<_> = options.into_iter().filter_map(|(option, needed)| needed.then_some(option)).collect();
    let command = if segments.iter().all(|segment| may_control(system, segment) == Some(true)) {
        shmadm(format!("prune --dry-run {}", options.join(" ")))
    } else {
        shmadm("list --state orphan")
    };
    match segments.len() {
        0 => None,
        1 => Some(Hint::new("list the orphan", command)),
        many => Some(Hint::new(format!("list the {many} orphans"), command)),
    }
}
