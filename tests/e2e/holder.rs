//! Holders and other processes that outlive the program which started them, so that no trial leaves one behind.
#![expect(unsafe_code, reason = "a process is held by a descriptor, which takes system calls")]
#![expect(clippy::disallowed_methods, reason = "a process is held by a descriptor, which takes system calls")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::libc::{self, c_int};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::support::{Ran, wait_for};

/// A process by descriptor: no reuse of its number can make it another. It is killed in the end.
#[derive(Debug)]
pub(crate) struct Holder {
    /// Its pid.
    pub(crate) pid: i32,
    /// It.
    pidfd: OwnedFd,
}

impl Holder {
    /// Takes hold of a process that lives.
    pub(crate) fn new(pid: i32) -> Self {
        // SAFETY: pidfd_open takes two integers.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        assert!(descriptor >= 0, "pidfd_open of {pid}: {}", std::io::Error::last_os_error());
        // SAFETY: the kernel has just made this descriptor for us.
        Self { pid, pidfd: unsafe { OwnedFd::from_raw_fd(i32::try_from(descriptor).unwrap()) } }
    }

    /// Takes hold of the process whose pid a run of `attach --background` printed, alone on its line.
    #[track_caller]
    pub(crate) fn printed(ran: &Ran) -> Self {
        let pid = ran.stdout.strip_suffix('\n').and_then(|line| line.parse().ok());
        Self::new(pid.unwrap_or_else(|| panic!("standard output is no pid alone: {ran:#?}")))
    }

    /// Tells whether it lives.
    pub(crate) fn lives(&self) -> bool {
        let mut descriptors = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut descriptors, PollTimeout::ZERO).unwrap() == 0
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: c_int) {
        let nothing: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: a null siginfo asks for the one that kill(2) would send; the other arguments are integers.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), signal, nothing, 0) };
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
        wait_for("the end of a killed process", || !self.lives());
    }

    /// Gives a file of its in /proc.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join(file)
    }

    /// Reads a file of its in /proc.
    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.proc(file)).unwrap()
    }

    /// Reads a link of its in /proc.
    pub(crate) fn link(&self, file: &str) -> String {
        std::fs::read_link(self.proc(file)).unwrap().to_string_lossy().into_owned()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
    }
}

/// Gives the address and the rights of the one mapping of a segment in a process, as /proc/PID/maps has them.
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
