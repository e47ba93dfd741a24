//! Who is attached, beside lsof, ipcs, nsenter and a search through the text of all maps.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use nix::libc;
use nix::sched::{CloneFlags, unshare};

use crate::oracle;
use crate::timing::{Job, SHMADM, compare};

/// The word by which this program is told to be a process with mappings, and how many forks of itself to make.
pub(crate) const CROWD: &str = "be-a-crowd";
/// The word by which this program is told to be a container: a namespace with segments.
pub(crate) const CONTAINER: &str = "be-a-container";
/// The word by which it is told to search the text of all maps, as one thread does.
pub(crate) const SEARCH: &str = "search-maps";

/// How many processes there are.
const PROCESSES: usize = 2000;
/// How many of them have the segment attached.
const ATTACHED: usize = 200;
/// How many mappings each has.
const MAPPINGS: usize = 100;
/// How many namespaces there are, and segments in each.
const NAMESPACES: usize = 100;
/// How many segments each namespace has.
const SEGMENTS: u32 = 10;

/// A process that lives as long as this.
struct Kept(Child);

impl Kept {
    /// Starts this program in a role, and waits until it is ready.
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new("/proc/self/exe");
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // The end of its input is the end of it and of all its forks.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Makes mappings, attaches the segment if there is one, and forks as often as told; ends with its input.
#[expect(unsafe_code, reason = "mappings and forks are what is measured")]
#[expect(clippy::disallowed_methods, reason = "mappings and forks are what is measured")]
pub(crate) fn be_a_crowd(count: usize, id: Option<i32>) {
    let exe = File::open("/proc/self/exe").unwrap();
    let own = std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    for number in 0..MAPPINGS.saturating_sub(own + usize::from(id.is_some())) {
        let offset = i64::try_from(number * 4096).unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&exe);
        // Neighbours that may do different things stay apart.
        let protection = if number % 2 == 0 { libc::PROT_READ } else { libc::PROT_NONE };
        // SAFETY: the kernel finds room of its own, and nothing touches it.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE, descriptor, offset) };
        assert_ne!(address, libc::MAP_FAILED);
    }
    let attached = id.map(|id| {
        // SAFETY: the kernel finds room of its own.
        unsafe { libc::shmat(id, std::ptr::null(), 0) }
    });
    assert!(attached.is_none_or(|address| address as isize != -1));
    let mut pids = Vec::new();
    for _ in 1..count {
        // SAFETY: there is one thread, and the child does nothing but wait.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            // SAFETY: these take integers alone.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            loop {
                // SAFETY: this takes nothing.
                unsafe { libc::pause() };
            }
        }
        pids.push(pid);
    }
    ready_until_end();
    for pid in pids {
        // SAFETY: the process is a child of ours that nobody has waited for.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    }
}

/// Is a namespace with segments, until its input ends.
#[expect(clippy::disallowed_methods, reason = "namespaces are what is measured")]
pub(crate) fn be_a_container() {
    unshare(CloneFlags::CLONE_NEWIPC).unwrap();
    for key in 1..=SEGMENTS {
        oracle::create(key, 4096, 0o600);
    }
    ready_until_end();
}

/// Says that all is ready, and waits for the end of the input.
#[expect(clippy::disallowed_methods, reason = "whoever waits for it reads a pipe")]
fn ready_until_end() {
    println!("ready");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
}

/// Reads the maps of all processes, one after the other, and searches the text, as is usually done.
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

/// Compares looking for those attached.
pub(crate) fn run(pairs: usize) {
    println!("-- {PROCESSES} processes of {MAPPINGS} mappings, {ATTACHED} of them attached");
    let id = oracle::create(0x5eed, 4096, 0o600).to_string();
    // Those attached come last, so that nothing is found before everything has been looked at.
    let crowd = Kept::start(&[CROWD, &(PROCESSES - ATTACHED).to_string()]);
    let attached = Kept::start(&[CROWD, &ATTACHED.to_string(), &id]);
    let everywhere = Job::new(&[SHMADM, "who", "--all", "--all-ns", "--json"]);
    let one = Job::new(&[SHMADM, "who", &id, "--json"]);
    let exe = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let search = Job::new(&[&exe, SEARCH, "SYSV00005eed"]);
    let lsof = Job::new(&["lsof", "-nP"]);
    compare("who ID : lsof -nP", &one, &lsof, pairs.min(7), Some(0.125));
    compare("who ID : searching all maps", &one, &search, pairs, Some(0.7));
    compare("who --all --all-ns : lsof -nP", &everywhere, &lsof, pairs.min(7), Some(0.125));
    compare("who --all --all-ns : searching all maps", &everywhere, &search, pairs, None);
    drop((attached, crowd));
    assert!(oracle::remove(id.parse().unwrap()));

    println!("-- a segment that its creator alone has attached");
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

/// Compares listing the segments of many namespaces.
pub(crate) fn namespaces(pairs: usize) {
    println!("-- {NAMESPACES} namespaces of {SEGMENTS} segments");
    let containers: Vec<Kept> = (0..NAMESPACES).map(|_| Kept::start(&[CONTAINER])).collect();
    let ours = Job::new(&[SHMADM, "list", "--all-ns"]);
    let line = "lsns -n -t ipc -o PID | while read pid; do nsenter --ipc=/proc/$pid/ns/ipc ipcs -m; done";
    let theirs = Job::new(&["sh", "-c", line]);
    if !["lsns", "nsenter", "ipcs"].iter().all(|tool| Job::new(&[tool]).is_there()) {
        println!("lsns, nsenter or ipcs is not installed");
        return;
    }
    compare("list --all-ns : lsns, nsenter … ipcs -m for each", &ours, &theirs, pairs.min(7), Some(0.1));
    drop(containers);
}
