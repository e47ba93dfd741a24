//! What /proc/PID says of a process.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::ProcError;

/// How much of a command line is read at most.
const LONGEST_COMMAND: usize = 4096;

/// Reads a file of /proc in few calls: these say that they are empty, which the library takes for very small.
fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut contents = Vec::with_capacity(LONGEST_COMMAND);
    fs::File::open(path)?.read_to_end(&mut contents)?;
    Ok(contents)
}

/// Gives the pids of the processes that this /proc shows.
///
/// # Errors
/// It cannot be listed.
pub(crate) fn pids(root: &Path) -> Result<impl Iterator<Item = i32>, ProcError> {
    let entries = fs::read_dir(root).map_err(|error| ProcError::read(root, error))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// Gives the children of a process, those of all its threads (proc_tid_children(5)).
///
/// One that starts or ends meanwhile may be missed; and so is everything where the kernel has no such file
/// (CONFIG_PROC_CHILDREN).
pub(crate) fn children(root: &Path, pid: i32) -> Vec<i32> {
    let mut children = Vec::new();
    let mut add = |process: &str| {
        let text = read(root.join(process).join("children")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        children.extend(text.split_ascii_whitespace().filter_map(|word| word.parse::<i32>().ok()));
    };
    add(&format!("{pid}/task/{pid}"));
    other_threads(root, pid).iter().for_each(|thread| add(thread));
    children
}

/// Gives the parent of a process (proc_pid_stat(5), field 4).
pub(crate) fn parent(root: &Path, pid: i32) -> Option<i32> {
    stat_field(root, pid, 4)
}

/// Gives the moment a process started, in clock ticks since boot (proc_pid_stat(5), field 22).
pub(crate) fn start_ticks(root: &Path, pid: i32) -> Option<u64> {
    stat_field(root, pid, 22)
}

/// Gives a field of a process's line, counted from 1; not one of the first two.
fn stat_field<T: std::str::FromStr>(root: &Path, pid: i32, field: usize) -> Option<T> {
    let stat = read(root.join(pid.to_string()).join("stat")).ok()?;
    // The name before may have spaces and parentheses of its own: the last one closes it.
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(field.checked_sub(3)?)?.parse().ok()
}

/// Gives the name of a process's leader (proc_pid_comm(5)), at most fifteen bytes of it.
///
/// # Errors
/// The process is gone, or closed to us.
pub(crate) fn name(root: &Path, pid: i32) -> Result<Vec<u8>, ProcError> {
    let path = root.join(pid.to_string()).join("comm");
    let mut name = read(&path).map_err(|error| ProcError::read(&path, error))?;
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    Ok(name)
}

/// Gives the command line of a process with spaces between its words, or its name in brackets if it has none.
pub(crate) fn command(root: &Path, pid: i32) -> Option<Vec<u8>> {
    command_line(root, pid).or_else(|| Some([b"[".as_slice(), &name(root, pid).ok()?, b"]"].concat()))
}

/// Gives the command line of a process with spaces between its words; one that has ended has none any more.
pub(crate) fn command_line(root: &Path, pid: i32) -> Option<Vec<u8>> {
    let line = |process: &str| read(root.join(process).join("cmdline")).ok();
    let mut command = line(&pid.to_string())?;
    if command.is_empty() {
        // A leader that has ended has no memory any more; its threads have.
        command = other_threads(root, pid).iter().find_map(|thread| line(thread)).unwrap_or(command);
    }
    command.truncate(LONGEST_COMMAND);
    // Programs that write over their command line pad it.
    while matches!(command.last(), Some(0 | b' ')) {
        command.pop();
    }
    for byte in &mut command {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    Some(command).filter(|command| !command.is_empty())
}

/// Returns the threads of a process other than its leader, as paths below the root such as `7/task/8`.
pub(crate) fn other_threads(root: &Path, pid: i32) -> Vec<String> {
    other_thread_ids(root, pid).into_iter().map(|thread| thread_path(pid, thread)).collect()
}

/// Returns the path of a thread below the root; as with the leader itself, `/proc/TID` works too, but is not listed.
pub(crate) fn thread_path(pid: i32, thread: i32) -> String {
    format!("{pid}/task/{thread}")
}

/// Returns the ids of the threads of a process other than its leader.
///
/// Most processes have none, which the directory's link count shows without listing it.
pub(crate) fn other_thread_ids(root: &Path, pid: i32) -> Vec<i32> {
    let path = root.join(format!("{pid}/task"));
    // Itself, its parent, and one for each thread.
    if fs::metadata(&path).map_or(0, |directory| directory.nlink()) <= 3 {
        return Vec::new();
    }
    let Ok(threads) = pids(&path) else { return Vec::new() };
    threads.filter(|thread| *thread != pid).collect()
}

/// Returns a process's effective user id (proc_pid_status(5), Uid); the owner of its directory can be root instead.
pub(crate) fn effective_uid(root: &Path, pid: i32) -> Option<u32> {
    let status = |process: &str| read(root.join(process).join("status")).ok();
    let mut of_process = status(&pid.to_string())?;
    if status_field(&of_process, "State").is_some_and(|state| state.starts_with('Z')) {
        // A leader that has exited keeps the user that it had; its threads may have changed theirs since.
        of_process = other_threads(root, pid).iter().find_map(|thread| status(thread)).unwrap_or(of_process);
    }
    status_field(&of_process, "Uid")?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Returns the process that a thread belongs to (proc_pid_status(5), Tgid).
pub(crate) fn process_of(root: &Path, thread: i32) -> Option<i32> {
    let status = read(root.join(format!("{thread}/status"))).ok()?;
    status_field(&status, "Tgid")?.parse().ok()
}

/// Returns the value of a line of a process's status.
fn status_field<'a>(status: &'a [u8], name: &str) -> Option<&'a str> {
    let mut lines = status.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
    std::str::from_utf8(value).ok().map(str::trim)
}

/// Returns the paths of the control groups (cgroups(7)) of a process or thread (`"4711"`, `"7/task/8"`), that of
/// version 2 or of systemd first.
pub(crate) fn control_groups(root: &Path, process: &str) -> Vec<String> {
    let text = read(root.join(process).join("cgroup")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut paths = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let place = if controllers.is_empty() || controllers == "name=systemd" { 0 } else { paths.len() };
        paths.insert(place, path.to_owned());
    }
    paths
}

/// A part of a user namespace's map of ids (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdRange {
    /// First id in the namespace.
    pub(crate) inside: u32,
    /// What it is where the map was read.
    pub(crate) outside: u32,
    /// How many follow each other.
    pub(crate) count: u32,
}

/// Reads a map of ids, `uid_map` or `gid_map`, of a process.
pub(crate) fn id_map(root: &Path, pid: i32, name: &str) -> Option<Vec<IdRange>> {
    let text = fs::read_to_string(root.join(format!("{pid}/{name}"))).ok()?;
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        let mut number = || numbers.next()?.ok();
        Some(IdRange { inside: number()?, outside: number()?, count: number()? })
    };
    text.lines().map(range).collect()
}

/// Gives the number of the IPC namespace that a process (`"4711"`, `"7/task/8"`, `"thread-self"`) is in.
pub(crate) fn namespace_of(root: &Path, process: &str) -> Option<u64> {
    fs::metadata(root.join(process).join("ns/ipc")).ok().map(|file| file.ino())
}

/// Returns the value of a line of /proc/self/status, such as `CapEff`.
pub(crate) fn status_line(root: &Path, name: &str) -> Option<String> {
    status_field(&read(root.join("self/status")).ok()?, name).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a /proc with process 7 in it.
    fn root(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("7")).unwrap();
        for (name, contents) in files {
            fs::write(root.path().join("7").join(name), contents).unwrap();
        }
        root
    }

    #[test]
    fn names_with_parentheses_and_spaces_do_not_move_the_fields() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) b) 1 2 3 (c)) {}\n", fields.join(" "));
        let root = root(&[("stat", stat.as_bytes())]);
        assert_eq!((start_ticks(root.path(), 7), parent(root.path(), 7)), (Some(22), Some(4)));
        assert_eq!((start_ticks(root.path(), 8), parent(root.path(), 8)), (None, None));
    }

    #[test]
    fn commands_have_spaces_and_kernel_threads_have_brackets() {
        let with = root(&[("cmdline", b"sh\0-c\0sleep 5\0\0"), ("comm", b"sh\n")]);
        assert_eq!(command(with.path(), 7).unwrap(), b"sh -c sleep 5");
        let without = root(&[("cmdline", b""), ("comm", b"kworker/0:1\n")]);
        assert_eq!(command(without.path(), 7).unwrap(), b"[kworker/0:1]");
        assert_eq!(command(without.path(), 8), None);
    }

    #[test]
    fn the_user_of_a_process_with_an_exited_leader_is_that_of_its_threads() {
        let root = root(&[("status", b"State:\tZ (zombie)\nUid:\t0\t0\t0\t0\n")]);
        assert_eq!(effective_uid(root.path(), 7), Some(0), "no thread remains");
        for thread in ["7", "8"] {
            fs::create_dir_all(root.path().join("7/task").join(thread)).unwrap();
        }
        fs::write(root.path().join("7/task/8/status"), "State:\tS (sleeping)\nUid:\t0\t1000\t0\t0\n").unwrap();
        assert_eq!(effective_uid(root.path(), 7), Some(1000));
    }

    #[test]
    fn children_are_those_of_every_thread() {
        let root = root(&[]);
        for (thread, children) in [("7", "8 9 "), ("10", "11 ")] {
            let directory = root.path().join("7/task").join(thread);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("children"), children).unwrap();
        }
        assert_eq!(children(root.path(), 7), [8, 9, 11]);
        assert_eq!(children(root.path(), 8), [] as [i32; 0]);
    }

    #[test]
    fn only_numbers_are_pids() {
        let root = root(&[]);
        fs::create_dir(root.path().join("sys")).unwrap();
        assert_eq!(pids(root.path()).unwrap().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn users_groups_and_maps_of_ids_are_read() {
        let cgroup = b"4:memory:/a:b\n1:name=systemd:/system.slice/x.service\n0::/y\n";
        let root = root(&[
            ("status", b"Name:\tx\nTgid:\t6\nUid:\t1000\t0\t1000\t1000\n"),
            ("cgroup", cgroup),
            ("uid_map", b"         0       1000          1\n         1     100000      65536\n"),
        ]);
        assert_eq!(effective_uid(root.path(), 7), Some(0));
        assert_eq!(effective_uid(root.path(), 8), None);
        assert_eq!((process_of(root.path(), 7), process_of(root.path(), 8)), (Some(6), None));
        assert_eq!(control_groups(root.path(), "7"), ["/y", "/system.slice/x.service", "/a:b"]);
        let map = id_map(root.path(), 7, "uid_map").unwrap();
        assert_eq!(map[1], IdRange { inside: 1, outside: 100_000, count: 65_536 });
        assert_eq!(id_map(root.path(), 7, "gid_map"), None);
    }
}
