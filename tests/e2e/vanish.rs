//! Races between a check and a call: the program is stopped right before a system call, and the state changes.
#![expect(unsafe_code, reason = "the program is traced from its start, and a union is read")]

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;

use crate::fixtures::{assert_fields, created, set_next_id};
use crate::holder::Holder;
use crate::oracle::{self, Row};
use crate::support::{Ran, run, shmadm, wait_for};

/// A system call that the program is about to make.
pub(crate) struct Call {
    pub(crate) number: c_long,
    pub(crate) arguments: [u64; 6],
}

impl Call {
    /// Returns whether this is shmctl with a command.
    pub(crate) fn is_shmctl(&self, command: c_int) -> bool {
        // Some libraries add IPC_64, which selects the newer form of the record.
        self.number == libc::SYS_shmctl && self.arguments[1] & !0x100 == u64::from(command.cast_unsigned())
    }

    /// Returns whether this is shmget that creates a segment.
    fn makes(&self) -> bool {
        self.number == libc::SYS_shmget && self.arguments[2] & u64::from(libc::IPC_CREAT.cast_unsigned()) != 0
    }
}

/// The program, stopped right before a system call.
pub(crate) struct Stopped(Child);

impl Stopped {
    /// Starts the program and stops it before the nth call of a kind.
    #[track_caller]
    pub(crate) fn before(nth: usize, wanted: impl Fn(&Call) -> bool, arguments: &[&str]) -> Self {
        let mut command = shmadm();
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::command_before(nth, wanted, command)
    }

    /// Like [`Stopped::before`], with a prepared command.
    #[track_caller]
    pub(crate) fn command_before(nth: usize, wanted: impl Fn(&Call) -> bool, command: Command) -> Self {
        let this = Self::traced(command);
        for seen in 0..nth {
            while !wanted(&this.next_call().unwrap_or_else(|| panic!("it ended after {seen} of {nth} calls"))) {}
        }
        this
    }

    /// Starts the program and stops it before its nth call of any kind; `None` if it makes fewer.
    pub(crate) fn before_call(nth: usize, arguments: &[&str]) -> Option<Self> {
        let mut command = shmadm();
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let this = Self::traced(command);
        (0..nth).try_for_each(|_| this.next_call().map(drop))?;
        Some(this)
    }

    /// Counts the system calls that the program makes.
    pub(crate) fn count_calls(arguments: &[&str]) -> usize {
        let mut command = shmadm();
        command.args(arguments);
        Self::count_calls_of(command)
    }

    pub(crate) fn count_calls_of(mut command: Command) -> usize {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let this = Self::traced(command);
        std::iter::from_fn(|| this.next_call()).count()
    }

    /// Starts the program, stopped right after execve(2).
    fn traced(mut command: Command) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a process can be traced from its first call only if it asks")]
        // SAFETY: ptrace(2) is all that is called between fork and exec.
        unsafe {
            command.pre_exec(|| ptrace::traceme().map_err(Into::into));
        }
        let this = Self(command.spawn().unwrap());
        let pid = this.pid();
        assert!(matches!(waitpid(pid, None), Ok(WaitStatus::Stopped(_, Signal::SIGTRAP))), "no stop at exec");
        ptrace::setoptions(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL).unwrap();
        this
    }

    /// Continues to the next call; returns `None` if the program has exited.
    fn next_call(&self) -> Option<Call> {
        let mut signal = None;
        loop {
            ptrace::syscall(self.pid(), signal.take()).unwrap();
            match waitpid(self.pid(), None).unwrap() {
                WaitStatus::PtraceSyscall(_) => {}
                WaitStatus::Exited(..) => return None,
                // A child process of the program has exited.
                WaitStatus::Stopped(_, Signal::SIGCHLD) => signal = Some(Signal::SIGCHLD),
                other => panic!("unexpected wait status {other:?}"),
            }
            if let Some(call) = self.call() {
                return Some(call);
            }
        }
    }

    /// Continues to the end; returns every call up to the first of a kind.
    #[track_caller]
    pub(crate) fn calls_until(&self, wanted: impl Fn(&Call) -> bool) -> Vec<Call> {
        let mut calls = Vec::new();
        loop {
            let call = self.next_call().unwrap_or_else(|| panic!("it ended before that call"));
            let found = wanted(&call);
            calls.push(call);
            if found {
                return calls;
            }
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    /// Returns the call that the program is stopped before; `None` if it is stopped after one.
    fn call(&self) -> Option<Call> {
        let info = ptrace::syscall_info(self.pid()).unwrap();
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return None;
        }
        // SAFETY: `op` says that this is the union's member that the kernel filled.
        let entry = unsafe { info.u.entry };
        Some(Call { number: entry.nr.try_into().unwrap(), arguments: entry.args })
    }

    /// Sends a signal, which is delivered when the program continues.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Continues to the end.
    pub(crate) fn go_on(self) -> Ran {
        // A killed process cannot be continued.
        assert!(matches!(ptrace::detach(self.pid(), None), Ok(()) | Err(Errno::ESRCH)));
        self.0.wait_with_output().unwrap().into()
    }
}

fn is_shmat(call: &Call) -> bool {
    call.number == libc::SYS_shmat
}

fn is_stat(call: &Call) -> bool {
    call.is_shmctl(libc::IPC_STAT)
}

/// Returns whether a call starts a process.
fn starts_process(call: &Call) -> bool {
    call.number == libc::SYS_clone || call.number == libc::SYS_clone3
}

/// Removes a segment and creates another with its key; returns the new row.
fn replace(id: i32, key: u32) -> Row {
    assert!(oracle::remove(id));
    let next = oracle::create(key, 4096, 0o600);
    assert_ne!(next, id);
    oracle::row(next).unwrap()
}

#[apply(test)]
fn a_removal_before_set_or_rm_affects_no_other_segment() {
    for (arguments, command) in [
        (&["rm", "0x4d2"][..], libc::IPC_RMID),
        (&["rm", "--force", "0x4d2"], libc::IPC_RMID),
        (&["set", "0x4d2", "--mode", "666"], libc::IPC_SET),
        (&["set", "0x4d2", "--lock"], libc::SHM_LOCK),
        (&["set", "0x4d2", "--unlock"], libc::SHM_UNLOCK),
    ] {
        let id = oracle::create(0x4d2, 4096, 0o600);
        let stopped = Stopped::before(1, |call| call.is_shmctl(command), arguments);
        let next = replace(id, 0x4d2);
        let ran = stopped.go_on().exits(3).prints_nothing().says("(EINVAL, shmctl ");
        assert!(ran.stderr.contains(&format!("segment {id}")), "{ran:?}");
        assert!(ran.stderr.contains("cause: no segment in this IPC namespace has this id"), "{ran:?}");
        assert_eq!(oracle::rows(), std::slice::from_ref(&next), "{arguments:?}");
        oracle::remove(next.get("shmid").parse().unwrap());
    }
}

#[apply(test)]
#[requires(Root)]
fn a_change_before_set_is_kept() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let stopped = Stopped::before(2, is_stat, &["set", "0x4d2", "--owner", "1"]);
    oracle::set(id, 0, 2, 0o640);
    stopped.go_on().exits(0);
    let row = oracle::row(id).unwrap();
    assert_eq!((row.get("uid"), row.get("gid"), row.get("perms")), ("1", "2", "640"));
}

#[apply(test)]
#[requires(Root)]
fn a_failed_creation_removes_no_segment_that_has_its_id() {
    let stopped = Stopped::before(2, is_stat, &["create", "--lock"]);
    let id: i32 = oracle::rows()[0].get("shmid").parse().unwrap();
    assert!(oracle::remove(id));
    set_next_id(id);
    assert_eq!(oracle::create(0x4d2, 4096, 0o600), id);
    let before = oracle::rows();
    stopped.go_on().exits(5).prints_nothing().says("another segment has this id now");
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn a_removal_before_rm_is_ignored_on_request() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let arguments = ["rm", "0x4d2", "--ignore-missing", "--json"];
    let stopped = Stopped::before(1, |call| call.is_shmctl(libc::IPC_RMID), &arguments);
    let next = replace(id, 0x4d2);
    assert_eq!(stopped.go_on().exits(0).json()["removed"], serde_json::json!([]));
    assert_eq!(oracle::rows(), [next]);
}

#[apply(test)]
fn a_removal_before_attach_attaches_no_other_segment() {
    for arguments in [
        &["read", "0x4d2"][..],
        &["read", "0x4d2", "--raw"],
        &["write", "0x4d2", "text"],
        &["attach", "0x4d2", "--for", "1ms"],
    ] {
        let id = oracle::create(0x4d2, 4096, 0o600);
        let stopped = Stopped::before(1, is_shmat, arguments);
        let next = replace(id, 0x4d2);
        stopped.go_on().exits(3).prints_nothing().says(&format!("segment {id}")).says("(EINVAL, shmat)");
        assert_eq!(oracle::rows(), std::slice::from_ref(&next), "{arguments:?}");
        oracle::remove(next.get("shmid").parse().unwrap());
    }
}

#[apply(test)]
fn a_removal_before_the_holder_attaches_is_reported() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let stopped = Stopped::before(1, starts_process, &["attach", "0x4d2", "--background"]);
    let next = replace(id, 0x4d2);
    stopped.go_on().exits(3).prints_nothing().says("(EINVAL, shmat)");
    assert_eq!(oracle::rows(), [next]);
}

#[apply(test)]
fn an_attachment_before_the_last_check_is_detected() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let stopped = Stopped::before(2, is_stat, &["rm", "0x4d2"]);
    let _attached = oracle::Attached::new(id);
    let before = oracle::rows();
    stopped.go_on().exits(5).says("cause: attached by ");
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn an_attachment_after_the_last_check_is_reported() {
    // No system call removes a segment only if it is unattached, so the user must at least be informed.
    let id = oracle::create(0x4d2, 4096, 0o600);
    let stopped = Stopped::before(1, |call| call.is_shmctl(libc::IPC_RMID), &["rm", "0x4d2", "--json"]);
    let attached = oracle::Attached::new(id);
    let ran = stopped.go_on().exits(0).says("for destruction: its key is freed now");
    assert_eq!(ran.json()["removed"][0]["outcome"], "marked");
    assert_eq!(oracle::row(id).unwrap().get("perms"), "1600");
    drop(attached);
}

#[apply(test)]
fn a_change_before_the_last_check_is_detected() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let made = oracle::row(id).unwrap();
    let stopped = Stopped::before(2, is_stat, &["rm", "0x4d2"]);
    // The change time has a resolution of one second.
    wait_for("the next second", || {
        oracle::set(id, made.get("uid").parse().unwrap(), made.get("gid").parse().unwrap(), 0o640);
        oracle::row(id).unwrap().get("ctime") != made.get("ctime")
    });
    let before = oracle::rows();
    stopped.go_on().exits(5).says("it has changed since the lookup");
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn a_removal_before_the_last_check_is_not_found() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let stopped = Stopped::before(2, is_stat, &["rm", "0x4d2"]);
    let next = replace(id, 0x4d2);
    stopped.go_on().exits(3);
    assert_eq!(oracle::rows(), [next]);
}

#[apply(test)]
fn a_key_that_disappears_while_it_is_opened_is_created() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let get = |call: &Call| call.number == libc::SYS_shmget;
    let stopped = Stopped::before(2, get, &["create", "--key", "1234"]);
    assert!(oracle::remove(id));
    let row = created(&stopped.go_on().exits(0).says("created segment"));
    assert_ne!(row.get("shmid"), id.to_string());
    assert_eq!(oracle::rows().len(), 1);
}

#[apply(test)]
fn a_key_that_appears_during_creation_is_opened_or_refused() {
    for (options, code) in [(&[][..], 0), (&["--exclusive"], 6), (&["--fill", "1"], 5), (&["--size", "8192"], 1)] {
        let arguments = [&["create", "--key", "1234"], options].concat();
        // With --fill, the guard creates the segment.
        let fills = options.contains(&"--fill");
        let asks_guard = |call: &Call| call.number == libc::SYS_write && call.arguments[0] > 2;
        let creates = |call: &Call| if fills { asks_guard(call) } else { call.makes() };
        let stopped = Stopped::before(1, creates, &arguments);
        let id = oracle::create(0x4d2, 4096, 0o640);
        let before = oracle::rows();
        let ran = stopped.go_on().exits(code);
        assert_eq!(ran.stdout, if code == 0 { format!("{id}\n") } else { String::new() });
        assert_eq!(ran.stderr.contains("opened existing segment"), code == 0, "{ran:?}");
        assert_eq!(oracle::rows(), before, "{options:?}");
        oracle::remove(id);
    }
}

#[apply(test)]
fn an_interrupted_creation_leaves_nothing() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGALRM, Signal::SIGUSR1, Signal::SIGUSR2] {
        for (filling, arguments) in
            [(true, &["create", "--key", "1234", "--fill", "1"][..]), (false, &["create", "--key", "1234"])]
        {
            let before: fn(&Call) -> bool = if filling { is_shmat } else { Call::makes };
            let stopped = Stopped::before(1, before, arguments);
            assert_eq!(oracle::rows().len(), usize::from(filling), "it is created, but not complete");
            kill(stopped.pid(), signal).unwrap();
            let ran = stopped.go_on().prints_nothing();
            assert_eq!((ran.code, ran.signal), (None, Some(signal as i32)), "{ran:?}");
            assert_eq!(oracle::rows(), [], "{arguments:?}");
        }
    }
}

#[apply(test)]
fn an_incomplete_segment_is_private() {
    let stopped = Stopped::before(1, is_shmat, &["create", "--fill", "1", "--mode", "666"]);
    assert_eq!(oracle::rows()[0].get("perms"), "600");
    assert_eq!(created(&stopped.go_on().exits(0)).get("perms"), "666");
    // Nor is a segment accessible that cannot be locked and is removed again.
    let stopped = Stopped::before(1, |call| call.is_shmctl(libc::SHM_LOCK), &["create", "--lock", "--mode", "666"]);
    assert_eq!(oracle::rows()[1].get("perms"), "600");
    assert_eq!(created(&stopped.go_on().exits(0)).get("perms"), "2666");
}

#[apply(test)]
fn a_holder_that_cannot_be_reported_is_ended() {
    let id = oracle::create(0, 4096, 0o600);
    let name = id.to_string();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // The signal is noticed once the holder has answered.
        let stopped = Stopped::before(1, starts_process, &["attach", &name, "--background"]);
        stopped.signal(signal);
        let ran = stopped.go_on();
        assert_eq!((ran.signal, ran.stdout.as_str()), (Some(signal as i32), ""), "{ran:?}");
        wait_for("the holder to exit", || oracle::nattch(id) == 0);
    }
}

#[apply(test)]
fn a_holder_that_exits_before_it_is_asked_has_detached() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let holder = Holder::printed(&run(["attach", "0x4d2", "--background"]).exits(0));
    let asks = |call: &Call| call.number == libc::SYS_pidfd_send_signal;
    let stopped = Stopped::before(1, asks, &["detach", "0x4d2", "--json"]);
    holder.kill();
    wait_for("a killed holder to detach", || oracle::nattch(id) == 0);
    let report = stopped.go_on().exits(0).json();
    assert_fields(&report, json!({ "nattch_before": 1, "nattch_after": 0 }));
}

#[apply(test)]
fn a_segment_marked_during_detach_is_reported() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let holder = Holder::printed(&run(["attach", "0x4d2", "--background"]).exits(0));
    let asks = |call: &Call| call.number == libc::SYS_pidfd_send_signal;
    let stopped = Stopped::before(1, asks, &["detach", "0x4d2"]);
    let next = replace(id, 0x4d2);
    stopped.go_on().exits(0).says("nattch 1 before, 0 after").says("was destroyed at the last detach");
    assert!(!holder.is_running());
    assert_eq!(oracle::rows(), [next]);
}
