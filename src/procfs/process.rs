//! /proc/PID: names, command lines, users, threads, children and id maps.
//!
//! If a thread-group leader has exited while other threads run, it is a zombie: its `maps` and `cmdline` are empty,
//! it has no `map_files` and no `ns/ipc`, its user is the one it had at exit, and its control group is the root.
//! Functions here read such facts from another thread. /proc/TID has `map_files` for each thread; the directories in
//! `task` do not.

use std::fmt::Display;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::ProcError;
use crate::model::Access;

/// The maximum length of a command line; the rest is cut.
const MAX_COMMAND: usize = 4096;

/// Reads a file of a process or thread (`4711`, `7/task/8`, `self`) with few calls. Files of /proc have size 0, for
/// which std would start with a small buffer.
fn read(root: &Path, process: impl Display, file: &str) -> io::Result<Vec<u8>> {
    let mut contents = Vec::with_capacity(MAX_COMMAND);
    fs::File::open(root.join(format!("{process}/{file}")))?.read_to_end(&mut contents)?;
    Ok(contents)
}

/// Reads a file of a process, or of another thread if `is_exited` finds that the leader has exited.
fn read_thread(root: &Path, pid: i32, file: &str, is_exited: impl FnOnce(&[u8]) -> bool) -> Option<Vec<u8>> {
    let contents = read(root, pid, file).ok()?;
    if !is_exited(&contents) {
        return Some(contents);
    }
    Some(other_threads(root, pid).iter().find_map(|thread| read(root, thread, file).ok()).unwrap_or(contents))
}

pub(crate) fn pids(root: &Path) -> Result<impl Iterator<Item = i32>, ProcError> {
    let entries = fs::read_dir(root).map_err(|error| ProcError::read(root, error))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// Returns the children of all threads of a process (proc_tid_children(5)).
///
/// Children that start or exit meanwhile can be missing. Without CONFIG_PROC_CHILDREN the result is empty.
pub(crate) fn children(root: &Path, pid: i32) -> Vec<i32> {
    let of_thread = |thread: String| {
        let text = read(root, thread, "children").ok().and_then(|text| String::from_utf8(text).ok());
        let pids = text.iter().flat_map(|text| text.split_ascii_whitespace());
        pids.filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()
    };
    [thread_path(pid, pid)].into_iter().chain(other_threads(root, pid)).flat_map(of_thread).collect()
}

/// Returns the parent of a process (proc_pid_stat(5), field 4).
pub(crate) fn parent(root: &Path, pid: i32) -> Option<i32> {
    stat_field(root, pid, 4)
}

/// Returns the start time of a process in clock ticks since boot (proc_pid_stat(5), field 22).
pub(crate) fn start_ticks(root: &Path, pid: i32) -> Option<u64> {
    stat_field(root, pid, 22)
}

fn stat_field<T: std::str::FromStr>(root: &Path, pid: i32, field: usize) -> Option<T> {
    field_of(&read(root, pid, "stat").ok()?, field)
}

/// Returns a field of /proc/PID/stat, counted from 1; at least 3.
fn field_of<T: std::str::FromStr>(stat: &[u8], field: usize) -> Option<T> {
    // Field 2, the name, can contain spaces and parentheses: the last parenthesis ends it.
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(field.checked_sub(3)?)?.parse().ok()
}

/// linux/sched.h: flag of a thread that exits, set before it releases its memory.
const PF_EXITING: u32 = 0x4;
/// SIGKILL in a signal set of proc_pid_status(5).
const SIGKILL_BIT: u64 = 1 << 8;

/// Returns whether a process is exiting: it has a thread that has not exited, and each such thread has begun to exit or
/// is being killed. `None` if /proc does not show it.
///
/// In a multi-threaded execve(2) the other threads are killed, including the leader, but the calling thread is not.
pub(crate) fn is_exiting(root: &Path, pid: i32) -> Option<bool> {
    let mut exiting = false;
    for thread in [pid].into_iter().chain(other_thread_ids(root, pid)) {
        let path = thread_path(pid, thread);
        let (stat, status) = match (read(root, &path, "stat"), read(root, &path, "status")) {
            (Ok(stat), Ok(status)) => (stat, status),
            // Another thread has exited since they were listed.
            _ if thread != pid => continue,
            _ => return None,
        };
        let pending = |set| u64::from_str_radix(status_field(&status, set)?, 16).ok();
        let is_killed = (pending("SigPnd")? | pending("ShdPnd")?) & SIGKILL_BIT != 0;
        match field_of::<char>(&stat, 3)? {
            // A zombie has released its memory.
            'Z' | 'X' => {}
            _ if is_killed || field_of::<u32>(&stat, 9)? & PF_EXITING != 0 => exiting = true,
            _ => return Some(false),
        }
    }
    Some(exiting)
}

/// Returns whether a thread of a process is running or in uninterruptible sleep: such a thread can be in a system call.
pub(crate) fn is_busy(root: &Path, pid: i32) -> bool {
    [pid].into_iter().chain(other_thread_ids(root, pid)).any(|thread| {
        let stat = read(root, thread_path(pid, thread), "stat").ok();
        matches!(stat.and_then(|stat| field_of(&stat, 3)), Some('R' | 'D'))
    })
}

/// Returns the name of a process (proc_pid_comm(5)), at most fifteen bytes.
/// Fails if the process has exited, or may not be inspected.
pub(crate) fn name(root: &Path, pid: i32) -> Result<Vec<u8>, ProcError> {
    let mut name =
        read(root, pid, "comm").map_err(|error| ProcError::read(&root.join(format!("{pid}/comm")), error))?;
    name.pop_if(|last| *last == b'\n');
    Ok(name)
}

/// Returns the command line of a process with spaces between the arguments, or its name in brackets if it has none.
pub(crate) fn command(root: &Path, pid: i32) -> Option<Vec<u8>> {
    command_line(root, pid).or_else(|| Some([b"[".as_slice(), &name(root, pid).ok()?, b"]"].concat()))
}

/// Returns the command line of a process with spaces between the arguments; `None` if it has exited.
pub(crate) fn command_line(root: &Path, pid: i32) -> Option<Vec<u8>> {
    // A leader that has exited has no memory; its threads do.
    let mut command = read_thread(root, pid, "cmdline", <[u8]>::is_empty)?;
    command.truncate(MAX_COMMAND);
    // Programs that overwrite their command line pad it.
    while command.pop_if(|last| matches!(last, 0 | b' ')).is_some() {}
    command.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    Some(command).filter(|command| !command.is_empty())
}

/// Returns the threads of a process except its leader, as paths below the root such as `7/task/8`.
pub(crate) fn other_threads(root: &Path, pid: i32) -> Vec<String> {
    other_thread_ids(root, pid).into_iter().map(|thread| thread_path(pid, thread)).collect()
}

/// Returns the path of a thread below the root. `/proc/TID` exists too, but is not listed.
pub(crate) fn thread_path(pid: i32, thread: i32) -> String {
    format!("{pid}/task/{thread}")
}

/// Returns the ids of the threads of a process except its leader.
///
/// Most processes have none, which the link count of the directory shows without listing it.
pub(crate) fn other_thread_ids(root: &Path, pid: i32) -> Vec<i32> {
    let path = root.join(format!("{pid}/task"));
    // `.`, the entry in the parent directory, and one for each thread.
    if fs::metadata(&path).map_or(0, |directory| directory.nlink()) <= 3 {
        return Vec::new();
    }
    pids(&path).into_iter().flatten().filter(|thread| *thread != pid).collect()
}

/// Returns the effective user id of a process (proc_pid_status(5), Uid). The owner of its directory can be root
/// instead.
pub(crate) fn effective_uid(root: &Path, pid: i32) -> Option<u32> {
    // A leader that has exited keeps the user it had; its threads can have changed theirs since.
    let status = read_thread(root, pid, "status", is_zombie_leader)?;
    status_field(&status, "Uid")?.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn is_zombie_leader(status: &[u8]) -> bool {
    status_field(status, "State").is_some_and(|state| state.starts_with('Z'))
}

/// Returns the process that a thread belongs to (proc_pid_status(5), Tgid).
pub(crate) fn process_of(root: &Path, thread: i32) -> Option<i32> {
    status_field(&read(root, thread, "status").ok()?, "Tgid")?.parse().ok()
}

/// Returns the value of a line of the status of a process or thread (`"self"`, `"7/task/8"`), such as `CapEff`.
pub(crate) fn status_line(root: &Path, process: &str, name: &str) -> Option<String> {
    status_field(&read(root, process, "status").ok()?, name).map(ToOwned::to_owned)
}

/// Returns the bytes of address space that a process or thread uses (proc_pid_status(5), VmSize).
pub(crate) fn address_space(root: &Path, process: &str) -> Option<u64> {
    status_line(root, process, "VmSize")?.strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the value of a line of /proc/PID/status.
fn status_field<'a>(status: &'a [u8], name: &str) -> Option<&'a str> {
    let mut lines = status.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
    std::str::from_utf8(value).ok().map(str::trim)
}

/// Returns the paths of the control groups (cgroups(7)) of a process or thread (`"4711"`, `"7/task/8"`), with that of
/// version 2 or systemd first.
pub(crate) fn control_groups(root: &Path, process: &str) -> Vec<String> {
    let text = read(root, process, "cgroup").unwrap_or_default();
    let mut paths = Vec::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let Some((controllers, path)) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':')) else {
            continue;
        };
        let index = if matches!(controllers, "" | "name=systemd") { 0 } else { paths.len() };
        paths.insert(index, path.to_owned());
    }
    paths
}

/// A range of a user namespace's id map (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdRange {
    /// The first id inside the namespace.
    pub(crate) inside: u32,
    /// The first id in the user namespace of the reader.
    pub(crate) outside: u32,
    /// The length of the range.
    pub(crate) count: u32,
}

/// Reads an id map of a process; `name` is `uid_map` or `gid_map`.
pub(crate) fn id_map(root: &Path, pid: i32, name: &str) -> Option<Vec<IdRange>> {
    let text = String::from_utf8(read(root, pid, name).ok()?).ok()?;
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        let mut number = || numbers.next()?.ok();
        Some(IdRange { inside: number()?, outside: number()?, count: number()? })
    };
    text.lines().map(range).collect()
}

/// Returns the number of the IPC namespace of a process or thread (`"4711"`, `"7/task/8"`, `"thread-self"`).
pub(crate) fn namespace_of(root: &Path, process: &str) -> Option<u64> {
    namespace(root, process, "ipc")
}

/// Returns the number of the mount namespace of a process or thread.
pub(crate) fn mount_namespace_of(root: &Path, process: &str) -> Option<u64> {
    namespace(root, process, "mnt")
}

/// Returns the number of the user namespace of a process or thread.
pub(crate) fn user_namespace_of(root: &Path, process: &str) -> Option<u64> {
    namespace(root, process, "user")
}

fn namespace(root: &Path, process: &str, kind: &str) -> Option<u64> {
    fs::metadata(root.join(process).join("ns").join(kind)).ok().map(|file| file.ino())
}

/// Opens the IPC namespace of a process or thread. Fails with `NotFound` if it is not the one with the given number: a
/// thread can have entered another one.
pub(crate) fn open_namespace(root: &Path, process: impl Display, number: Option<u64>) -> io::Result<fs::File> {
    let file = fs::File::open(root.join(format!("{process}/ns/ipc")))?;
    let is_expected = number.is_none() || file.metadata().ok().map(|file| file.ino()) == number;
    if is_expected { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// The flags of open(2) in octal, as fdinfo shows them.
const O_ACCMODE: i32 = 0o3;
const O_RDONLY: i32 = 0;
const O_PATH: i32 = 0o10_000_000;

/// Returns the access that a descriptor of a process allows (proc_pid_fdinfo(5), flags); `None` for O_PATH or if it is
/// unknown.
pub(crate) fn descriptor_access(root: &Path, thread: &str, descriptor: i32) -> Option<Access> {
    let info = read(root, format!("{thread}/fdinfo"), &descriptor.to_string()).ok()?;
    let flags = i32::from_str_radix(status_field(&info, "flags")?, 8).ok()?;
    match flags & O_ACCMODE {
        _ if flags & O_PATH != 0 => None,
        O_RDONLY => Some(Access::ReadOnly),
        _ => Some(Access::ReadWrite),
    }
}

/// Returns whether a descriptor holds files that need not be open in any process: a Unix socket with queued descriptors
/// (proc_pid_fdinfo(5), scm_fds), or an io_uring with registered files.
pub(crate) fn holds_files(root: &Path, thread: &str, descriptor: &str) -> bool {
    let Ok(info) = read(root, format!("{thread}/fdinfo"), descriptor) else { return false };
    let number = |name| status_field(&info, name).and_then(|number| number.trim().parse::<u64>().ok());
    number("scm_fds").or_else(|| number("UserFiles")).is_some_and(|number| number > 0)
}

/// Returns the real, effective, saved and file system uid of a process (proc_pid_status(5), Uid); `None` for a zombie.
pub(crate) fn uids(root: &Path, pid: i32) -> Option<Vec<u32>> {
    let status = read(root, pid, "status").ok()?;
    if remaining_threads(&status) == Some(0) {
        return None;
    }
    status_field(&status, "Uid")?.split_ascii_whitespace().map(|uid| uid.parse().ok()).collect()
}

/// Returns the pids of a process in the pid namespaces below that of this /proc (proc_pid_status(5), NSpid).
pub(crate) fn inner_pids(root: &Path, pid: i32) -> Vec<i32> {
    let status = read(root, pid, "status").unwrap_or_default();
    let pids = status_field(&status, "NSpid").unwrap_or_default().split_ascii_whitespace().skip(1);
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

/// Returns whether a process is a zombie: it has ended with all its threads, but its parent has not waited for it.
pub(crate) fn is_zombie(root: &Path, pid: i32) -> bool {
    read(root, pid, "status").is_ok_and(|status| remaining_threads(&status) == Some(0))
}

/// Returns whether the leader of a process has ended, but not its other threads.
pub(crate) fn has_exited_leader(root: &Path, pid: i32) -> bool {
    read(root, pid, "status").is_ok_and(|status| remaining_threads(&status).is_some_and(|threads| threads > 0))
}

/// Returns the number of other threads of a process whose leader has ended; `None` if the leader has not.
fn remaining_threads(status: &[u8]) -> Option<u64> {
    let threads: u64 = status_field(status, "Threads").filter(|_| is_zombie_leader(status))?.parse().ok()?;
    // The leader counts as long as it is a zombie.
    Some(threads.saturating_sub(1))
}

/// Returns the thread that traces a thread (proc_pid_status(5), TracerPid).
pub(crate) fn tracer(root: &Path, thread: i32) -> Option<i32> {
    let status = read(root, thread, "status").ok()?;
    status_field(&status, "TracerPid")?.parse().ok().filter(|tracer| *tracer != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::directory;

    #[test]
    fn stat_fields_follow_a_name_with_parentheses_and_spaces() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let root = directory(&[("7/stat", &format!("7 (a) b) 1 2 3 (c)) {}\n", fields.join(" ")))]);
        assert_eq!((start_ticks(root.path(), 7), parent(root.path(), 7)), (Some(22), Some(4)));
        assert_eq!(start_ticks(root.path(), 8), None);
    }

    #[test]
    fn commands_are_joined_and_kernel_threads_get_brackets() {
        let cases = [("sh\0-c\0sleep 5\0\0", "sh\n", "sh -c sleep 5"), ("", "kworker/0:1\n", "[kworker/0:1]")];
        for (cmdline, comm, expected) in cases {
            let root = directory(&[("7/cmdline", cmdline), ("7/comm", comm)]);
            assert_eq!(command(root.path(), 7).unwrap(), expected.as_bytes());
            assert_eq!(command(root.path(), 8), None);
        }
    }

    #[test]
    fn the_user_after_the_leader_exited_is_that_of_a_thread() {
        let zombie = ("7/status", "State:\tZ (zombie)\nTgid:\t6\nUid:\t0\t0\t0\t0\n");
        let alone = directory(&[zombie]);
        assert_eq!((effective_uid(alone.path(), 7), process_of(alone.path(), 7)), (Some(0), Some(6)));
        let thread = ("7/task/8/status", "State:\tS (sleeping)\nUid:\t0\t1000\t0\t0\n");
        assert_eq!(effective_uid(directory(&[zombie, ("7/task/7/status", ""), thread]).path(), 7), Some(1000));
    }

    #[test]
    fn a_process_is_exiting_if_all_its_threads_are() {
        let stat = |state: char, flags: u32| format!("7 (a) {state} 1 7 7 0 -1 {flags} 0\n");
        let status = |own: &str, shared: &str| format!("SigPnd:\t{own}\nShdPnd:\t{shared}\n");
        let (alive, exits, zombie) = (stat('S', 0x40_0000), stat('R', 0x40_0004), stat('Z', 0x40_0004));
        let (none, kill, other) = ("0000000000000000", "0000000000000100", "0000000000004000");
        // A kernel thread has no memory either.
        let kernel = stat('I', 0x20_8040);
        for (leader, own, shared, expected) in [
            (&alive, none, none, false),
            (&alive, other, other, false),
            (&alive, kill, none, true),
            (&alive, none, kill, true),
            (&exits, none, none, true),
            (&zombie, none, kill, false),
            (&kernel, none, none, false),
        ] {
            let (stat, status) = (("7/task/7/stat", leader.as_str()), ("7/task/7/status", &*status(own, shared)));
            assert_eq!(is_exiting(directory(&[stat, status]).path(), 7), Some(expected), "{leader} {own} {shared}");
        }
        let leader = [("7/task/7/stat", zombie.as_str()), ("7/task/7/status", &*status(none, kill))];
        for (thread, own, expected) in [(&alive, none, false), (&alive, kill, true), (&exits, none, true)] {
            let files = [("7/task/8/stat", thread.as_str()), ("7/task/8/status", &*status(own, none))];
            assert_eq!(is_exiting(directory(&[leader, files].concat()).path(), 7), Some(expected), "{thread} {own}");
        }
        assert_eq!(is_exiting(directory(&leader[..1]).path(), 7), None, "status is not readable");
        assert_eq!(is_exiting(directory(&[]).path(), 7), None);
    }

    #[test]
    fn children_control_groups_and_id_maps_are_parsed() {
        let root = directory(&[
            ("7/task/7/children", "8 9 "),
            ("7/task/10/children", "11 "),
            ("7/cgroup", "4:memory:/a:b\n1:name=systemd:/system.slice/x.service\n0::/y\n"),
            ("7/uid_map", "         0       1000          1\n         1     100000      65536\n"),
        ]);
        assert_eq!(children(root.path(), 7), [8, 9, 11]);
        assert_eq!(control_groups(root.path(), "7"), ["/y", "/system.slice/x.service", "/a:b"]);
        let map = id_map(root.path(), 7, "uid_map").unwrap();
        assert_eq!(map[1], IdRange { inside: 1, outside: 100_000, count: 65_536 });
    }
}
