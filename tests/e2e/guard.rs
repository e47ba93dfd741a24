//! The guard: an incomplete segment is removed if the command that needs it is killed, and no other segment is.
#![expect(unsafe_code, reason = "a process with a chosen pid requires a system call, and a union is read")]
#![expect(clippy::disallowed_methods, reason = "a process with a chosen pid requires a system call")]

mod unfinished;

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::ptrace;
use nix::sys::resource::Resource;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpgid};

use crate::actor::Actor;
use crate::fixtures::{dump_path, set_next_id};
use crate::holder::Holder;
use crate::oracle::{self, Row};
use crate::resources::{LONER, limited};
use crate::support::{Ran, finish, run, shmadm, shmadm_as, wait_for};
use crate::vanish::{Call, Stopped};

#[apply(test)]
fn removes_an_incomplete_segment_and_no_other() {
    let dump = Dump::new();
    let changes = |call: &Call| call.is_shmctl(libc::IPC_SET);
    let steps: [(Before, usize); 5] = [(requests, 0), (waits, 1), (attaches, 1), (changes, 1), (releases, 1)];
    for (step, (before, created)) in steps.into_iter().enumerate() {
        let others = dump.others();
        let stopped = Stopped::before(1, requests, &["restore", &dump.path]);
        let guard = started_by(stopped.pid());
        if step > 0 {
            stopped.calls_until(before);
        }
        wait_for("the segment", || oracle::rows().len() == others.len() + created);
        for row in oracle::rows().iter().filter(|row| !others.contains(row)) {
            assert_eq!((row.get("cpid"), row.get("key")), (guard.pid.to_string().as_str(), "1234"));
        }
        stopped.signal(Signal::SIGKILL);
        assert_eq!(stopped.go_on().signal, Some(libc::SIGKILL));
        wait_for("the end of the guard", || !guard.is_running());
        assert_eq!(oracle::rows(), others, "killed at step {step}");
        oracle::remove_all();
    }
}

#[apply(test)]
fn ends_the_holder_of_an_incomplete_segment() {
    let dump = Dump::new();
    let stopped = Stopped::before(1, attaches, &["restore", &dump.path, "--hold"]);
    let row = &oracle::rows()[0];
    assert_eq!(row.get("nattch"), "1");
    let holder = Holder::new(row.get("lpid").parse().unwrap());
    let guard = started_by(stopped.pid());
    stopped.signal(Signal::SIGKILL);
    stopped.go_on();
    wait_for("the end of the guard", || !guard.is_running());
    wait_for("the end of the holder", || !holder.is_running());
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn the_guard_survives_signals_and_the_death_of_the_process_group() {
    let dump = Dump::new();
    let mut command = shmadm();
    command.args(["restore", &dump.path]).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let stopped = Stopped::command_before(1, attaches, command);
    let guard = started_by(stopped.pid());
    let pid = Pid::from_raw(guard.pid);
    assert_eq!(getpgid(Some(pid)), Ok(pid));
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGALRM, libc::SIGRTMIN()] {
        guard.signal(signal);
    }
    killpg(stopped.pid(), Signal::SIGKILL).unwrap();
    assert_eq!(stopped.go_on().signal, Some(libc::SIGKILL));
    wait_for("the end of the guard", || !guard.is_running());
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
#[requires(Root)]
fn the_guard_leaves_a_segment_of_a_process_that_reused_its_clients_pid() {
    // While the guard is stopped, another process gets the pid, creates a segment as restore would, and exits.
    let dump = Dump::new();
    for (before, key) in [(requests as Before, 1234), (attaches, libc::IPC_PRIVATE)] {
        let stopped = Stopped::before(1, before, &["restore", &dump.path]);
        let client = stopped.pid();
        let created = oracle::rows();
        let guard = started_by(client);
        let held = Held::new(&guard);
        stopped.signal(Signal::SIGKILL);
        assert_eq!(stopped.go_on().signal, Some(libc::SIGKILL));
        reuse(client, key);
        let mut rows = oracle::rows();
        rows.retain(|row| !created.contains(row));
        assert_eq!((rows.len(), rows[0].get("cpid")), (1, client.to_string().as_str()));
        drop(held);
        wait_for("the end of the guard", || !guard.is_running());
        assert_eq!(oracle::rows(), rows);
        oracle::remove_all();
    }
}

#[apply(test)]
#[requires(Root)]
fn the_guard_leaves_a_segment_that_reuses_the_id() {
    let dump = Dump::new();
    let stopped = Stopped::before(1, attaches, &["restore", &dump.path]);
    let guard = started_by(stopped.pid());
    let id: i32 = oracle::rows()[0].get("shmid").parse().unwrap();
    assert!(oracle::remove(id));
    set_next_id(id);
    assert_eq!(oracle::create(1234, Dump::SIZE, 0o600), id);
    let rows = oracle::rows();
    stopped.signal(Signal::SIGKILL);
    stopped.go_on();
    wait_for("the end of the guard", || !guard.is_running());
    assert_eq!(oracle::rows(), rows);
}

#[apply(test)]
fn the_guard_delays_nothing_when_it_is_stopped() {
    let dump = Dump::new();
    let stopped = Stopped::before(1, attaches, &["restore", &dump.path]);
    let guard = started_by(stopped.pid());
    guard.stop();
    let ran = stopped.go_on().exits(0);
    assert_eq!(ran.stdout.trim(), oracle::rows()[0].get("shmid"));
    guard.signal(libc::SIGCONT);
    wait_for("the end of the guard", || !guard.is_running());
    assert_eq!(oracle::rows().len(), 1);
}

#[apply(test)]
fn a_guard_stopped_before_it_creates_the_segment_does_not_outlast_an_interrupt() {
    let dump = Dump::new();
    let stopped = Stopped::before(1, requests, &["restore", &dump.path]);
    let guard = started_by(stopped.pid());
    guard.stop();
    stopped.calls_until(waits);
    stopped.signal(Signal::SIGTERM);
    assert_eq!(stopped.go_on().signal, Some(libc::SIGTERM));
    guard.signal(libc::SIGCONT);
    wait_for("the end of the guard", || !guard.is_running());
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn the_guard_is_not_needed_once_it_has_created_the_segment() {
    let dump = Dump::new();
    let stopped = Stopped::before(1, attaches, &["restore", &dump.path]);
    started_by(stopped.pid()).kill();
    let ran = stopped.go_on().exits(0);
    assert_eq!(ran.stdout.trim(), oracle::rows()[0].get("shmid"));
    assert_eq!(oracle::rows()[0].get("perms"), "644");
}

#[apply(test)]
fn a_guard_killed_before_it_answers_is_an_error() {
    let dump = Dump::new();
    for created in [0, 1] {
        let stopped = Stopped::before(1, requests, &["restore", &dump.path]);
        let guard = started_by(stopped.pid());
        let held = Held::new(&guard);
        if created == 1 {
            stopped.calls_until(waits);
            held.go_on_to(libc::SYS_write);
        }
        assert_eq!(oracle::rows().len(), created);
        guard.kill();
        drop(held);
        let ran = stopped.go_on().exits(1).prints_nothing();
        assert!(ran.stderr.contains("the guard exited before it answered: signal: 9 (SIGKILL)"), "{ran:?}");
        assert!(
            ran.stderr.contains("hint: show the segment, if there is one: `shmadm list --key 0x000004d2`"),
            "{ran:?}"
        );
        // No process knows whether it is there, so none may remove it.
        assert_eq!(oracle::rows().len(), created);
    }
}

#[apply(test)]
fn the_guard_exits_with_restore() {
    let dump = Dump::new();
    let stopped = Stopped::before(1, attaches, &["restore", &dump.path]);
    let guard = started_by(stopped.pid());
    assert_eq!(guard.read("comm"), "shmadm-guard\n");
    stopped.go_on().exits(0);
    assert!(!guard.is_running());
}

#[apply(test)]
#[requires(Root)]
fn restore_warns_when_the_process_cannot_be_created() {
    let dump = Dump::new();
    let mut command = shmadm_as(LONER);
    let ran = finish(limited(&mut command, Resource::RLIMIT_NPROC, 1).args(["restore", &dump.path]));
    ran.exits(0)
        .says("warning: cannot start a guard")
        .says("Resource temporarily unavailable (EAGAIN, clone)")
        .says("if this command is killed");
}

#[apply(test)]
fn restore_warns_when_the_pipes_cannot_be_created() {
    let dump = Dump::new();
    // With some limit, restore has enough descriptors for itself but not for the pipes.
    let warned = (4..9).find_map(|most| {
        let mut command = shmadm();
        let ran = finish(limited(&mut command, Resource::RLIMIT_NOFILE, most).args(["restore", &dump.path]));
        (ran.code == Some(0) && ran.stderr.contains("cannot start a guard")).then_some(ran)
    });
    warned.unwrap().says("(EMFILE, pipe2)");
}

#[apply(test)]
fn the_guard_cannot_be_started_by_hand() {
    for input in ["", "by=1", "1234 9000", "1234 9000 384"] {
        let mut command = shmadm();
        command.arg0("shmadm-guard").stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut guard = command.spawn().unwrap();
        guard.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let ran = Ran::from(guard.wait_with_output().unwrap());
        ran.exits(2).says("shmadm-guard is started only by shmadm itself");
    }
    assert_eq!(oracle::rows(), []);
}

/// Recognizes the call before which `restore` is stopped.
type Before = fn(&Call) -> bool;

/// Returns whether a call asks the guard for the segment of a [`Dump`].
fn requests(call: &Call) -> bool {
    let line = format!("1234 {} {}\n", Dump::SIZE, 0o600 | libc::SHM_NORESERVE);
    call.number == libc::SYS_write && call.arguments[2] == line.len() as u64
}

/// Returns whether a call waits for the guard's answer.
fn waits(call: &Call) -> bool {
    call.number == libc::SYS_poll || call.number == libc::SYS_ppoll
}

/// Returns whether a call attaches the segment.
fn attaches(call: &Call) -> bool {
    call.number == libc::SYS_shmat
}

/// Returns whether a call releases the guard.
fn releases(call: &Call) -> bool {
    call.number == libc::SYS_kill
}

/// A dump of a removed segment.
struct Dump {
    /// The path of the contents.
    path: String,
    /// The directory of the dump.
    _directory: tempfile::TempDir,
}

impl Dump {
    /// The size of the segment.
    const SIZE: usize = 9000;

    /// Creates a dump with key 1234 and mode 0644 that every user may read.
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let id = oracle::create(1234, Self::SIZE, 0o644);
        oracle::Attached::new(id).write(0, b"contents");
        let directory = tempfile::tempdir().unwrap();
        let path = dump_path(directory.path());
        run(["dump", "0x4d2", "--output", &path]).exits(0);
        assert!(oracle::remove(id));
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for file in [&path, &format!("{path}.json")] {
            std::fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
        }
        Self { path, _directory: directory }
    }

    /// Creates segments that differ from the restored one only in their creator; returns all segments.
    fn others(&self) -> Vec<Row> {
        oracle::create(0, Self::SIZE, 0o600);
        let mut actor = Actor::start();
        actor.create(0, Self::SIZE);
        oracle::rows()
    }
}

/// Waits for the guard of a process: until shortly after the call that started it has returned, it has no command line.
fn started_by(client: Pid) -> Holder {
    let mut guard = None;
    wait_for("the guard", || {
        guard = guard_of(client);
        guard.is_some()
    });
    guard.unwrap()
}

/// Finds the guard of a process; `None` if there is none.
pub(crate) fn guard_of(client: Pid) -> Option<Holder> {
    let parent = format!("\nPPid:\t{client}\n");
    std::fs::read_dir("/proc").unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        let is_guard = std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == b"shmadm-guard\0")
            && std::fs::read_to_string(entry.path().join("status")).is_ok_and(|status| status.contains(&parent));
        is_guard.then(|| Holder::new(entry.file_name().to_str().unwrap().parse().unwrap()))
    })
}

/// A guard stopped by a tracer. Unlike after SIGSTOP, it stays stopped when its creator exits: the kernel continues
/// stopped process groups as they become orphaned. Dropping this continues it.
struct Held(Pid);

impl Held {
    /// Stops a guard at any point.
    fn new(guard: &Holder) -> Self {
        let pid = Pid::from_raw(guard.pid);
        ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD).unwrap();
        ptrace::interrupt(pid).unwrap();
        assert!(matches!(waitpid(pid, None), Ok(WaitStatus::PtraceEvent(..))));
        Self(pid)
    }

    /// Continues until it is about to make a call.
    fn go_on_to(&self, number: c_long) {
        loop {
            ptrace::syscall(self.0, None).unwrap();
            assert!(matches!(waitpid(self.0, None), Ok(WaitStatus::PtraceSyscall(_))), "it ended before that call");
            let info = ptrace::syscall_info(self.0).unwrap();
            // SAFETY: `op` says that this is the union's member that the kernel filled.
            if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY && unsafe { info.u.entry }.nr == number.cast_unsigned() {
                return;
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // When it was killed, its creator is notified only after its tracer.
        if ptrace::detach(self.0, None).is_err() {
            assert!(matches!(waitpid(self.0, None), Ok(WaitStatus::Signaled(..))));
        }
    }
}

/// Creates a segment of the size and mode of [`Dump`]'s from a process with a reused pid (clone3(2)); returns
/// once it has exited.
fn reuse(pid: Pid, key: i32) {
    let number = pid.as_raw();
    let set_tid = (&raw const number).addr() as u64;
    // SAFETY: every field is an integer, for which zero is a value.
    let mut wanted: libc::clone_args = unsafe { std::mem::zeroed() };
    wanted.exit_signal = libc::SIGCHLD as u64;
    (wanted.set_tid, wanted.set_tid_size) = (set_tid, 1);
    wait_for("the pid to be free", || {
        // SAFETY: the pointers are to live memory of the given size; memory is not shared with the child.
        match unsafe { libc::syscall(libc::SYS_clone3, &raw const wanted, size_of::<libc::clone_args>()) } {
            0 => {
                // SAFETY: a child of a program with several threads may only make system calls, and does; it uses no
                // descriptor, and open ends of this program's pipes would keep other processes waiting.
                unsafe { libc::syscall(libc::SYS_close_range, 0_u32, u32::MAX, 0_u32) };
                // SAFETY: shmget takes no pointer.
                let id = unsafe { libc::shmget(key, Dump::SIZE, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
                // SAFETY: as above.
                unsafe { libc::_exit(i32::from(id < 0)) }
            }
            -1 => assert_eq!(Errno::last(), Errno::EEXIST, "clone3"),
            made => assert_eq!(made, i64::from(number)),
        }
        waitpid(pid, None) == Ok(WaitStatus::Exited(pid, 0))
    });
}
