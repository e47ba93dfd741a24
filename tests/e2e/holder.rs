//! Holders and other processes that outlive the program that started them, so that no test leaves one running.
#![expect(unsafe_code, reason = "a process is held by a descriptor, which requires system calls")]
#![expect(clippy::disallowed_methods, reason = "a process is held by a descriptor, which requires system calls")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::libc::{self, c_int};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::support::{Ran, wait_for};

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

    /// Opens the process whose pid `attach --background` printed as its only output.
    #[track_caller]
    pub(crate) fn printed(ran: &Ran) -> Self {
        let pid = ran.stdout.strip_suffix('\n').and_then(|line| line.parse().ok());
        Self::new(pid.unwrap_or_else(|| panic!("standard output is no pid alone: {ran:#?}")))
    }

    /// Returns whether the process is running.
    pub(crate) fn lives(&self) -> bool {
        let mut descriptors = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut descriptors, PollTimeout::ZERO).unwrap() == 0
    }

    pub(crate) fn signal(&self, signal: c_int) {
        let nothing: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: with a null siginfo the kernel uses that of kill(2); the other arguments are integers.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), signal, nothing, 0) };
    }

    /// Kills the process and waits until it has exited.
    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
        wait_for("a killed process to exit", || !self.lives());
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
