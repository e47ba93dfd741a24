//! Benchmarks of `who` and `list --all-ns` against lsof, fuser, ipcs, nsenter and a text search in all maps files.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use nix::libc;
use nix::sched::{CloneFlags, unshare};

use crate::oracle;
use crate::timing::{Job, SHMADM, compare};

/// Role argument: run as a process with mappings and a number of forks.
pub(crate) const MAPPERS: &str = "run-mappers";
/// Role argument: run as a process with two attachments of each of many segments.
pub(crate) const HOARDER: &str = "run-hoarder";
/// Role argument: run as a container, an IPC namespace with segments.
pub(crate) const CONTAINER: &str = "run-container";
/// Role argument: search the text of all maps files, in one thread.
pub(crate) const SEARCH: &str = "search-maps";

const PROCESSES: usize = 2000;
/// How many of the processes have the segment attached.
const ATTACHED: usize = 200;
/// Mappings per process.
const MAPPINGS: usize = 100;
/// Descriptors per process, where objects are searched for.
const DESCRIPTORS: usize = 100;
/// Segments that one process has attached twice.
const HOARDED: u32 = 4096;
const NAMESPACES: usize = 100;
/// Segments per namespace.
const SEGMENTS: u32 = 10;

/// A helper process that ends when this is dropped.
struct Helper(Child);

impl Helper {
    /// Starts this program in a role and waits until it is ready.
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new("/proc/self/exe");
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // The helper and its forks end at the end of their standard input.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Creates mappings, attaches a segment or opens and maps an object, and forks; ends at the end of standard input.
///
/// `used` is the id of a segment, the path of an object, or `-` for descriptors as with an object, but without one.
#[expect(unsafe_code, reason = "mappings and forks are what is measured")]
#[expect(clippy::disallowed_methods, reason = "mappings and forks are what is measured")]
pub(crate) fn run_mappers(count: usize, used: Option<&str>) {
    let map = |file: &File, number: usize, protection, flags| {
        let offset = i64::try_from(number * 4096).unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(file);
        // SAFETY: the kernel chooses a free address, and nothing accesses the mapping.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, descriptor, offset) };
        assert_ne!(address, libc::MAP_FAILED);
    };
    let exe = File::open("/proc/self/exe").unwrap();
    let own = std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    for number in 0..MAPPINGS.saturating_sub(own + usize::from(used.is_some())) {
        // Adjacent mappings with different protection are not merged.
        map(&exe, number, if number % 2 == 0 { libc::PROT_READ } else { libc::PROT_NONE }, libc::MAP_PRIVATE);
    }
    let id = used.and_then(|used| used.parse().ok());
    let mut descriptors = Vec::new();
    if let Some(id) = id {
        // SAFETY: the kernel chooses a free address.
        let address = unsafe { libc::shmat(id, std::ptr::null(), 0) };
        assert_ne!(address as isize, -1);
    } else if let Some(path) = used {
        descriptors.extend((0..DESCRIPTORS - 4).map(|_| exe.try_clone().unwrap()));
        if path != "-" {
            let object = File::options().read(true).write(true).open(path).unwrap();
            map(&object, 0, libc::PROT_READ, libc::MAP_SHARED);
            descriptors.push(object);
        }
    }
    let mut pids = Vec::new();
    for _ in 1..count {
        // SAFETY: there is one thread, and the child only waits.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            // SAFETY: all arguments are integers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            loop {
                // SAFETY: pause takes no arguments.
                unsafe { libc::pause() };
            }
        }
        pids.push(pid);
    }
    ready_until_end();
    for pid in pids {
        // SAFETY: the process is a child that has not been waited for, so its pid is not reused.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        // SAFETY: a null pointer means that no status is stored.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    }
}

/// Creates a namespace with segments, and waits for the end of standard input.
#[expect(clippy::disallowed_methods, reason = "namespaces are what is measured")]
pub(crate) fn run_container() {
    unshare(CloneFlags::CLONE_NEWIPC).unwrap();
    for key in 1..=SEGMENTS {
        oracle::create(key, 4096, 0o600);
    }
    ready_until_end();
}

/// Creates segments and attaches each twice; they are destroyed when this process exits.
pub(crate) fn run_hoarder() {
    let hoard = |_| {
        let id = oracle::create(0, 4096, 0o600);
        let attached = [oracle::Attached::new(id), oracle::Attached::new(id)];
        assert!(oracle::remove(id));
        attached
    };
    let attached: Vec<_> = (0..HOARDED).map(hoard).collect();
    ready_until_end();
    drop(attached);
}

/// Prints `ready` and waits for the end of standard input.
#[expect(clippy::disallowed_methods, reason = "the parent reads the pipe")]
fn ready_until_end() {
    println!("ready");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
}

/// Searches the text of the maps file of each process, as scripts usually do.
pub(crate) fn search_maps(text: &str) {
    let mut found = 0;
    let mut maps = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(mut file) = File::open(path.join("maps"))
        {
            maps.clear();
            let _ = file.read_to_end(&mut maps);
            found += usize::from(memchr::memmem::find(&maps, text.as_bytes()).is_some());
        }
    }
    println!("{found}");
}

/// Compares finding the attached processes.
pub(crate) fn run(pairs: usize) {
    println!("-- {PROCESSES} processes of {MAPPINGS} mappings, {ATTACHED} of them attached");
    let id = oracle::create(0x5eed, 4096, 0o600).to_string();
    // The attached processes have the highest pids, so a scan cannot stop early.
    let others = Helper::start(&[MAPPERS, &(PROCESSES - ATTACHED).to_string()]);
    let attached = Helper::start(&[MAPPERS, &ATTACHED.to_string(), &id]);
    let all = Job::new(&[SHMADM, "who", "--all", "--all-ns", "--json"]);
    let one = Job::new(&[SHMADM, "who", &id, "--json"]);
    let exe = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let search = Job::new(&[&exe, SEARCH, "SYSV00005eed"]);
    let lsof = Job::new(&["lsof", "-nP"]);
    compare("who ID : lsof -nP", &one, &lsof, pairs.min(7), Some(0.125));
    compare("who ID : text search in all maps", &one, &search, pairs, Some(0.7));
    compare("who --all --all-ns : lsof -nP", &all, &lsof, pairs.min(7), Some(0.125));
    compare("who --all --all-ns : text search in all maps", &all, &search, pairs, None);
    let here = Job::new(&[SHMADM, "who", "--all", "--json"]);
    compare("who --all : text search in all maps", &here, &search, pairs, Some(0.3));
    drop((attached, others));
    assert!(oracle::remove(id.parse().unwrap()));

    println!("-- {HOARDED} segments attached twice by one process");
    let hoarder = Helper::start(&[HOARDER]);
    let who = Job::new(&[SHMADM, "who"]);
    let json = Job::new(&[SHMADM, "who", "--json"]);
    // What who prints, as text: each attachment, and the record of each segment.
    let text = Job::new(&["sh", "-c", "grep SYSV /proc/*/maps; cat /proc/sysvipc/shm"]);
    compare("who : grep SYSV /proc/*/maps; cat /proc/sysvipc/shm", &who, &text, pairs, Some(3.0));
    compare("who --json : the same", &json, &text, pairs, None);
    // grep reads up to the first match, and fails for processes that it may not read. Reading all mappings and records
    // takes the kernel three times as long.
    let grep = Job::new(&["sh", "-c", "grep -l SYSV /proc/*/maps || true"]);
    compare("who : grep -l SYSV /proc/*/maps", &who, &grep, pairs, None);
    let list = Job::new(&[SHMADM, "list", "-o", "+PIDS"]);
    compare("list -o +PIDS : grep -l SYSV /proc/*/maps", &list, &grep, pairs, None);
    drop(hoarder);

    println!("-- a segment that only its creator has attached");
    let id = oracle::create(0x5eed, 4096, 0o600);
    let attached = oracle::Attached::new(id);
    let id = id.to_string();
    compare(
        "who ID : ipcs -m -i ID",
        &Job::new(&[SHMADM, "who", &id]),
        &Job::new(&["ipcs", "-m", "-i", &id]),
        pairs * 10,
        Some(2.0),
    );
    drop(attached);
    assert!(oracle::remove(id.parse().unwrap()));
}

/// Compares finding the users of an object.
pub(crate) fn objects(pairs: usize) {
    println!(
        "-- {PROCESSES} processes of {MAPPINGS} mappings and {DESCRIPTORS} descriptors, {ATTACHED} of them use an object"
    );
    let path = "/dev/shm/object";
    std::fs::write(path, [0; 4096]).unwrap();
    let others = Helper::start(&[MAPPERS, &(PROCESSES - ATTACHED).to_string(), "-"]);
    let users = Helper::start(&[MAPPERS, &ATTACHED.to_string(), path]);
    let who = Job::new(&[SHMADM, "who", "/object"]);
    compare("who /NAME : fuser -v FILE", &who, &Job::new(&["fuser", "-v", path]), pairs, Some(0.7));
    // lsof fails if it cannot inspect something.
    let lsof = Job::new(&["sh", "-c", &format!("lsof -nP {path} || true")]);
    compare("who /NAME : lsof FILE", &who, &lsof, pairs, Some(0.2));
    compare("usage : smem", &Job::new(&[SHMADM, "usage"]), &Job::new(&["smem"]), pairs.min(3), Some(0.1));
    drop((others, users));
    std::fs::remove_file(path).unwrap();
}

/// Compares listing the segments of many namespaces.
pub(crate) fn namespaces(pairs: usize) {
    println!("-- {NAMESPACES} namespaces of {SEGMENTS} segments");
    let containers: Vec<Helper> = (0..NAMESPACES).map(|_| Helper::start(&[CONTAINER])).collect();
    let ours = Job::new(&[SHMADM, "list", "--all-ns"]);
    let line = "lsns -n -t ipc -o PID | while read pid; do nsenter --ipc=/proc/$pid/ns/ipc ipcs -m; done";
    let peer = Job::new(&["sh", "-c", line]);
    if !["lsns", "nsenter", "ipcs"].iter().all(|tool| Job::new(&[tool]).is_installed()) {
        println!("lsns, nsenter or ipcs is not installed");
        return;
    }
    compare("list --all-ns : lsns, nsenter … ipcs -m for each", &ours, &peer, pairs.min(7), Some(0.1));
    drop(containers);
}
