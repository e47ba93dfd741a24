//! Safety at critical moments: inspecting destroys nothing, failures leave nothing behind, and signals are handled.
#![expect(unsafe_code, reason = "only pre_exec can prepare a child")]
#![expect(clippy::disallowed_methods, reason = "tests prepare their own children")]

use std::io::{BufRead, BufReader, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::Resource;
use nix::sys::signal::{SigSet, Signal, kill};

use crate::fixtures::{children, sysctl};
use crate::holder::Holder;
use crate::oracle;
use crate::resources::limited;
use crate::support::{Running, finish, run, shmadm, wait_for};

/// How long a pipe must not have grown before it counts as idle.
const STILL: Duration = Duration::from_millis(100);
/// A demo that runs until it is ended.
const ENDLESS: [&str; 6] = ["demo", "--rounds", "1000000", "--interval", "0s", "--json"];

#[apply(test)]
fn a_signal_ends_a_demo_with_no_reader() {
    interrupt_demo(0);
}

#[apply(test)]
fn a_signal_ends_a_demo_with_one_half_stopped() {
    interrupt_demo(1);
}

#[apply(test)]
fn a_signal_ends_a_demo_with_both_halves_stopped() {
    interrupt_demo(2);
}

#[apply(test)]
fn a_signal_ends_read_every_with_no_reader() {
    let id = oracle::create(0, 4096, 0o600);
    let name = id.to_string();
    for form in [&[][..], &["--json"], &["--raw"]] {
        let unread = Unread::new();
        let mut child = unread.start(&[&["read", &name, "--every", "0s"], form].concat());
        unread.wait_until_full();
        let status = end(&mut child, Signal::SIGTERM);
        assert_eq!(status.signal(), Some(libc::SIGTERM), "{form:?}: {status}");
        assert_eq!(oracle::nattch(id), 0, "{form:?}");
    }
}

#[apply(test)]
fn a_signal_ends_a_writer_with_no_reader_and_removes_its_segment() {
    let unread = Unread::new();
    let mut child = unread.start(&["demo", "writer", "--interval", "0s"]);
    unread.wait_until_full();
    assert_eq!(oracle::rows().len(), 1);
    let status = end(&mut child, Signal::SIGTERM);
    assert_eq!(status.signal(), Some(libc::SIGTERM), "{status}");
    assert_eq!(oracle::rows(), [], "the creator removes it");
}

#[apply(test)]
fn a_blocked_signal_still_ends_an_attachment() {
    let id = oracle::create(0, 4096, 0o600);
    let mut command = shmadm();
    command.args(["attach", &id.to_string()]).stdout(Stdio::piped()).stderr(Stdio::null());
    // SAFETY: between fork and exec only the mask is set, which takes no lock and no memory.
    unsafe {
        command.pre_exec(|| SigSet::from(Signal::SIGTERM).thread_block().map_err(Into::into));
    }
    let mut child = Running(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("attached segment "), "{line:?}");
    let status = end(&mut child, Signal::SIGTERM);
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(oracle::nattch(id), 0);
}

#[apply(test)]
#[requires(Root)]
fn a_demo_half_destroys_no_segment_of_others() {
    // Its creator, this process, keeps running, so the setting destroys nothing yet.
    oracle::create(0x77, 4096, 0o600);
    sysctl("shm_rmid_forced", 1);
    let before = oracle::rows();
    for role in ["reader", "writer"] {
        run(["demo", role, "--key", "0x77", "--rounds", "1"]).exits(5).says("kernel.shm_rmid_forced");
        assert_eq!(oracle::rows(), before, "{role}");
    }
}

#[apply(test)]
#[requires(Root)]
fn an_existing_key_is_reported_before_creation_errors() {
    oracle::create(0x4d2, 4096, 0o600);
    sysctl("shm_rmid_forced", 1);
    let before = oracle::rows();
    run(["create", "--key", "0x4d2", "--exclusive"]).exits(6).prints_nothing();
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn without_descriptors_a_holder_is_not_ruled_out() {
    let id = oracle::create(0, 4096, 0o600);
    let name = id.to_string();
    let holder = Holder::attached_to(id);
    let mut command = shmadm();
    let few = limited(&mut command, Resource::RLIMIT_NOFILE, 4);
    finish(few.args(["detach", &name])).exits(1).prints_nothing().says("EMFILE");
    assert!(holder.is_running());
    assert_eq!(oracle::nattch(id), 1);
    run(["detach", &name]).exits(0);
    assert!(!holder.is_running());
}

/// A pipe for a program's output that no process reads.
struct Unread {
    /// The read end.
    reader: PipeReader,
    /// The write end, which shows whether the pipe is full.
    writer: PipeWriter,
}

impl Unread {
    fn new() -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        Self { reader, writer }
    }

    /// Starts the program with its standard output on this pipe.
    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = shmadm();
        command.args(arguments).stdout(self.writer.try_clone().unwrap()).stderr(Stdio::null());
        Running(command.spawn().unwrap())
    }

    /// Waits until the pipe is full and its writer blocks.
    #[track_caller]
    fn wait_until_full(&self) {
        let mut before = None;
        wait_for("a full pipe", || {
            let mut writable = [PollFd::new(self.writer.as_fd(), PollFlags::POLLOUT)];
            if poll(&mut writable, PollTimeout::ZERO).unwrap() != 0 {
                return false;
            }
            let now = Some(rustix::io::ioctl_fionread(&self.reader).unwrap());
            let still = now == before;
            before = now;
            if !still {
                std::thread::sleep(STILL);
            }
            still
        });
    }
}

/// Sends a child process a signal and returns how it ended.
#[track_caller]
fn end(child: &mut Running, signal: Signal) -> ExitStatus {
    kill(child.pid(), signal).unwrap();
    let mut ended = None;
    wait_for("the child to exit", || {
        ended = child.0.try_wait().unwrap();
        ended.is_some()
    });
    ended.unwrap()
}

/// Ends a demo with no reader and N of its halves stopped, and checks what remains.
fn interrupt_demo(stopped: usize) {
    let unread = Unread::new();
    let mut child = unread.start(&ENDLESS);
    unread.wait_until_full();
    assert_eq!(oracle::rows().len(), 1);
    // The first child is the guard.
    let halves: Vec<Holder> = children(child.pid().as_raw()).into_iter().skip(1).map(Holder::new).collect();
    assert_eq!(halves.len(), 2);
    for half in &halves[..stopped] {
        half.stop();
    }
    let status = end(&mut child, Signal::SIGTERM);
    assert_eq!(status.signal(), Some(libc::SIGTERM), "{status}");
    assert_eq!(oracle::rows(), []);
    assert!(!halves.iter().any(Holder::is_running), "a process was left running");
}
