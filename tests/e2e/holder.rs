//! Holders and other processes that outlive the program that started them, so that no test leaves one running.
#![expect(unsafe_code, reason = "a process is held by a descriptor, which requires system calls")]
#![expect(clippy::disallowed_methods, reason = "a process is held by a descriptor, which requires system calls")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getsid};
use serde_json::json;

use crate::fixtures::assert_fields;
use crate::oracle;
use crate::sandbox::without;
use crate::support::{Ran, finish, run, shmadm, wait_for};

/// A process identified by a pidfd, which pid reuse cannot change. It is killed on drop.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) pid: i32,
    /// The pidfd.
    pidfd: OwnedFd,
}

impl Holder {
    /// Opens a running process.
    pub(crate) fn new(pid: i32) -> Self {
        // SAFETY: pidfd_open takes two integers.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        assert!(descriptor >= 0, "pidfd_open of {pid}: {}", std::io::Error::last_os_error());
        // SAFETY: pidfd_open has just created this descriptor, and nothing else owns it.
        Self { pid, pidfd: unsafe { OwnedFd::from_raw_fd(i32::try_from(descriptor).unwrap()) } }
    }

    /// Attaches a segment in the background.
    #[track_caller]
    pub(crate) fn attached_to(id: i32) -> Self {
        Self::printed(&run(["attach", &id.to_string(), "--background"]).exits(0))
    }

    /// Opens the process whose pid `attach --background` printed as its only output.
    #[track_caller]
    pub(crate) fn printed(ran: &Ran) -> Self {
        let pid = ran.stdout.strip_suffix('\n').and_then(|line| line.parse().ok());
        Self::new(pid.unwrap_or_else(|| panic!("standard output is not only a pid: {ran:#?}")))
    }

    /// Opens the process that `create --hold` reported on standard error.
    #[track_caller]
    pub(crate) fn reported(ran: &Ran) -> Self {
        let pid = ran.stderr.lines().find_map(|line| line.strip_prefix("pid ")?.strip_suffix(" keeps it attached"));
        let pid = pid.and_then(|pid| pid.parse().ok());
        Self::new(pid.unwrap_or_else(|| panic!("standard error lacks the pid of a holder: {ran:#?}")))
    }

    /// Returns whether the process is running.
    pub(crate) fn is_running(&self) -> bool {
        let mut descriptors = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut descriptors, PollTimeout::ZERO).unwrap() == 0
    }

    pub(crate) fn signal(&self, signal: c_int) {
        let nothing: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: with a null siginfo the kernel uses that of kill(2); the other arguments are integers.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), signal, nothing, 0) };
    }

    /// Stops the process and waits until it has stopped.
    pub(crate) fn stop(&self) {
        self.signal(libc::SIGSTOP);
        wait_for("the process to stop", || self.read("status").contains("State:\tT"));
    }

    /// Kills the process and waits until it has exited.
    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
        wait_for("a killed process to exit", || !self.is_running());
    }

    /// Returns the path of one of its files in /proc.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join(file)
    }

    /// Reads one of its files in /proc.
    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.proc(file)).unwrap()
    }

    /// Reads one of its links in /proc.
    pub(crate) fn link(&self, file: &str) -> String {
        std::fs::read_link(self.proc(file)).unwrap().to_string_lossy().into_owned()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
    }
}

/// Returns the address and permissions of the only mapping of a segment in a process, from /proc/PID/maps.
#[track_caller]
pub(crate) fn mapping(pid: i32, id: i32) -> (String, String) {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let found: Vec<Vec<&str>> = maps
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.get(5).is_some_and(|path| path.starts_with("/SYSV")) && words[4] == id.to_string())
        .collect();
    assert_eq!(found.len(), 1, "mappings of segment {id} in {pid}: {found:?}");
    let (start, _) = found[0][0].split_once('-').unwrap();
    (format!("{:#x}", u64::from_str_radix(start, 16).unwrap()), found[0][1].to_owned())
}

#[apply(test)]
fn inherits_nothing_from_its_caller_and_outlives_it() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let directory = tempfile::tempdir().unwrap();
    let open = directory.path().join("open");
    // The caller leaves a descriptor open and ignores the signals that will end the holder.
    let mut caller = Command::new("/bin/sh");
    caller.args(["-c", "trap '' TERM HUP INT; exec 7>\"$1\"; \"$2\" attach 0x4d2 --background", "sh"]);
    caller.arg(&open).arg(env!("CARGO_BIN_EXE_shmadm")).stdin(Stdio::null()).current_dir(directory.path());
    let holder = Holder::printed(&finish(&mut caller).exits(0).says(&format!("attached segment {id} at 0x")));
    assert!(open.exists(), "the caller has the file open");
    assert!(holder.is_running());
    assert_eq!(oracle::nattch(id), 1);
    assert_eq!(mapping(holder.pid, id).1, "rw-s");
    assert_eq!(holder.read("comm"), "shmadm-hold\n");
    assert_eq!(holder.link("cwd"), "/");
    let pid = Pid::from_raw(holder.pid);
    assert_eq!(getsid(Some(pid)), Ok(pid), "the holder leads its own session");
    // The holder uses a pipe for its own signals; the end inherited from the caller is closed during its start.
    wait_for("the holder to close inherited descriptors", || {
        let open: Vec<_> = std::fs::read_dir(holder.proc("fd")).unwrap().map(|fd| fd.unwrap().path()).collect();
        open.iter().all(|fd| {
            let file = std::fs::read_link(fd).unwrap_or_default();
            let standard = ["0", "1", "2"].iter().any(|number| fd.ends_with(number));
            if standard { file.ends_with("dev/null") } else { file.to_string_lossy().starts_with("pipe:[") }
        })
    });
    assert_eq!(std::fs::read_dir(holder.proc("fd")).unwrap().count(), 5);
    let ran = run(["detach", "0x4d2", "--json"]).exits(0);
    let expected = json!({"schema":1,"id":id,"detached":[holder.pid],"nattch_before":1,"nattch_after":0});
    assert_eq!(ran.json(), expected);
    assert_eq!(oracle::nattch(id), 0, "detach returns after nattch has dropped");
    assert!(!holder.is_running());
}

#[apply(test)]
fn a_killed_holder_leaves_nothing() {
    let id = oracle::create(0, 4096, 0o600);
    let holder = Holder::attached_to(id);
    assert_eq!(oracle::nattch(id), 1);
    holder.kill();
    wait_for("a killed holder to detach", || oracle::nattch(id) == 0);
    run(["detach", &id.to_string()]).exits(3).says("it is not attached");
}

#[apply(test)]
fn reports_in_json_and_honors_the_options() {
    let id = oracle::create(0, 4096, 0o600);
    let arguments = ["attach", &id.to_string(), "--background", "--read-only", "--json"];
    let report = run(arguments.into_iter().chain(["--address", "0x200000123", "--round"])).exits(0).json();
    let pid = i32::try_from(report["attachment"]["pid"].as_i64().unwrap()).unwrap();
    let holder = Holder::new(pid);
    assert_fields(&report["attachment"], json!({ "address": "0x200000000", "access": "ro" }));
    assert_eq!(mapping(holder.pid, id), ("0x200000000".to_owned(), "r--s".to_owned()));
}

#[apply(test)]
fn a_marked_segment_is_destroyed_with_its_last_holder() {
    let id = oracle::create(0, 4096, 0o600);
    let _holder = Holder::attached_to(id);
    assert!(oracle::remove(id), "marked");
    run(["detach", &id.to_string()]).exits(0).says("was destroyed at the last detach");
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn is_found_where_prctl_is_denied() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let denied =
        |arguments: &[&str]| finish(without(&mut shmadm(), libc::SYS_prctl, None, Errno::EPERM).args(arguments));
    let holder = Holder::printed(&denied(&["attach", "0x4d2", "--background"]).exits(0));
    run(["detach", "0x4d2"]).exits(0);
    assert!(!holder.is_running());
    assert_eq!(oracle::nattch(id), 0);
}

#[apply(test)]
fn a_guard_that_cannot_be_ended_removes_the_segment() {
    for arguments in [&["create", "--fill", "1"][..], &["create", "--hold"]] {
        let ran = finish(without(&mut shmadm(), libc::SYS_kill, None, Errno::EPERM).args(arguments));
        ran.exits(4)
            .prints_nothing()
            .says("cannot keep the segment: its guard cannot be terminated")
            .says("(EPERM, kill)");
        wait_for("its removal", || oracle::rows().is_empty());
    }
}
