//! Processes that are held while they exit.
//!
//! A killed process passes these states: SIGKILL is pending; it has released its memory, unless another process holds
//! it, and closes its files; it is a zombie.
#![expect(unsafe_code, reason = "userfaultfd(2) and process_vm_readv(2) have no safe wrappers")]
#![expect(clippy::disallowed_methods, reason = "the kernel reads memory that is kept missing")]

use std::fs::{File, read_to_string};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, gettid};

use crate::actor::{Actor, Request};
use crate::support::wait_for;

/// A process for which SIGKILL is pending, and which still has its memory. Dropping this lets it exit.
pub(crate) struct Killed {
    pid: i32,
    actor: Option<Actor>,
}

impl Killed {
    pub(crate) fn hold(actor: Actor) -> Self {
        let mut this = Self::hold_child(actor.pid());
        this.actor = Some(actor);
        this
    }

    /// Holds a process that the test need not reap.
    pub(crate) fn hold_child(pid: i32) -> Self {
        let this = Self { pid, actor: None };
        ptrace::seize(this.thread(), Options::PTRACE_O_TRACEEXIT).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let status = waitpid(this.thread(), Some(WaitPidFlag::__WALL)).unwrap();
        assert!(matches!(status, WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXIT)), "{status:?}");
        this
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns the thread that is held: the last one, if the leader has exited.
    fn thread(&self) -> Pid {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap();
        let threads = tasks.map(|entry| entry.unwrap().file_name().into_string().unwrap().parse().unwrap());
        Pid::from_raw(threads.max().unwrap())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        ptrace::detach(self.thread(), None).unwrap();
        drop(self.actor.take());
    }
}

/// Creates an actor that is held after it has released its memory; requires root.
///
/// When it closes its standard error, it waits for the lock of that pipe, which is held by a thread that writes to it
/// from a page that userfaultfd(2) keeps missing.
pub(crate) struct Blockade {
    /// Closing it provides the page.
    fault: OwnedFd,
    writer: JoinHandle<()>,
    pub(crate) actor: Actor,
}

impl Blockade {
    pub(crate) fn new() -> Self {
        let (reader, mut pipe) = std::io::pipe().unwrap();
        // With a description of its own, which its exit closes.
        let end = File::options().write(true).open(format!("/proc/self/fd/{}", pipe.as_raw_fd())).unwrap();
        let actor = Actor::spawn(Command::new("/proc/self/exe").stderr(end));
        let (fault, page) = missing_page();
        let writer = wait_for_page(move || {
            // SAFETY: the page stays mapped, and only the kernel reads it.
            let page = unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(page), 4096) };
            pipe.write_all(page).unwrap();
            drop(reader);
        });
        Self { fault, writer, actor }
    }

    /// Kills the actor. If `keep_memory`, another process still holds its memory, and with it its attachments.
    pub(crate) fn kill(mut self, keep_memory: bool) -> Unmapped {
        let pid = self.actor.pid();
        let memory = keep_memory.then(|| {
            let answer = self.actor.ask(Request::MissingPage);
            let (file, page) = answer.split_once(' ').unwrap();
            let page = page.parse().unwrap();
            (copy_of(pid, file.parse().unwrap()), wait_for_page(move || read_byte(pid, page)))
        });
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let status = || read_to_string(format!("/proc/{pid}/status")).unwrap();
        wait_for("the memory to be released", || !status().contains("VmSize:"));
        wait_for("the process to wait for the pipe", || status().contains("State:\tD"));
        Unmapped { held: Some(self), memory }
    }
}

/// A killed actor that has released its memory. Dropping this lets it exit.
pub(crate) struct Unmapped {
    held: Option<Blockade>,
    /// What keeps a page of the memory missing, and the thread that reads that page.
    memory: Option<(OwnedFd, JoinHandle<()>)>,
}

impl Unmapped {
    pub(crate) fn pid(&self) -> i32 {
        self.held.as_ref().unwrap().actor.pid()
    }
}

impl Drop for Unmapped {
    fn drop(&mut self) {
        // The actor has closed its own descriptor.
        if let Some((fault, reader)) = self.memory.take() {
            drop(fault);
            reader.join().unwrap();
        }
        let Blockade { fault, writer, actor } = self.held.take().unwrap();
        drop(fault);
        writer.join().unwrap();
        drop(actor);
    }
}

/// Runs a call in a new thread, and waits until the kernel waits for a missing page in it.
fn wait_for_page(call: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        sender.send(gettid()).unwrap();
        call();
    });
    let wchan = format!("/proc/self/task/{}/wchan", receiver.recv().unwrap());
    wait_for("the page to be missed", || read_to_string(&wchan).unwrap() == "handle_userfault");
    thread
}

/// Reads a byte of a process with process_vm_readv(2), which holds its memory meanwhile.
fn read_byte(pid: i32, address: usize) {
    let mut byte = 0_u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: 1 };
    // SAFETY: the local range is one live byte.
    unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
}

/// Copies a descriptor of a process.
fn copy_of(pid: i32, descriptor: i32) -> OwnedFd {
    // SAFETY: the call takes integers.
    let process = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).unwrap();
    // SAFETY: the call takes integers.
    let copy = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, descriptor, 0) }).unwrap();
    // SAFETY: the descriptors are new.
    let [_, copy] = [process, copy].map(|new| unsafe { OwnedFd::from_raw_fd(i32::try_from(new).unwrap()) });
    copy
}

/// Maps a page that is missing until the descriptor is closed; returns it and the address.
pub(crate) fn missing_page() -> (OwnedFd, usize) {
    // linux/userfaultfd.h
    const UFFD_API: u64 = 0xaa;
    const UFFDIO_API: libc::Ioctl = nix::request_code_readwrite!(0xaa, 0x3f, size_of::<[u64; 3]>());
    const UFFDIO_REGISTER: libc::Ioctl = nix::request_code_readwrite!(0xaa, 0, size_of::<[u64; 4]>());
    const UFFDIO_REGISTER_MODE_MISSING: u64 = 1;
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the kernel chooses an unused address.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, flags, -1, 0) }.expose_provenance();
    // SAFETY: the call takes an integer.
    let file = Errno::result(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) }).unwrap();
    // SAFETY: the descriptor is new.
    let file = unsafe { OwnedFd::from_raw_fd(i32::try_from(file).unwrap()) };
    let mut version = [UFFD_API, 0, 0];
    // SAFETY: the pointer is to a complete `struct uffdio_api`.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), UFFDIO_API, version.as_mut_ptr()) }).unwrap();
    let mut range = [page as u64, 4096, UFFDIO_REGISTER_MODE_MISSING, 0];
    // SAFETY: the pointer is to a complete `struct uffdio_register`.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), UFFDIO_REGISTER, range.as_mut_ptr()) }).unwrap();
    (file, page)
}
