//! Children, threads and programs that a traced process starts are traced too.

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::actor::{CallRequest, ChildRequest, Request};
use crate::fixtures::all_keys;
use crate::leakcheck::{Daemon, create, is_alive, making};
use crate::sandbox::without;
use crate::support::{NOBODY, Ran, finish, shmadm, shmadm_as, wait_for};
use crate::trace::{Traced, calls, trace};

/// The line of a call that creates a page with a key.
fn creates(key: u32, id: i32) -> String {
    format!("shmget({key:#010x}, 4096, IPC_CREAT|IPC_EXCL|0600) = {id}")
}

#[apply(test)]
fn children_are_traced_however_they_are_started() {
    let mut traced = Traced::start(&[]);
    let command = traced.command();
    // clone3(2), and a child that is killed after its call.
    assert_eq!(traced.actor.number(ChildRequest::CreateAs { pid: 0, key: 1, size: 4096 }), 0);
    assert_eq!(traced.actor.number(ChildRequest::CreateAndDie { key: 2, size: 4096 }), -9);
    traced.actor.create(3, 4096);
    let lines = traced.end();
    assert!(lines[0].ends_with(&creates(1, 0)) && lines[1].ends_with(&creates(2, 1)), "{lines:?}");
    assert_eq!(lines[2], format!("[{command}] {}", creates(3, 2)));
    assert!(lines.iter().filter(|line| line.starts_with(&format!("[{command}]"))).count() == 1, "{lines:?}");
}

#[apply(test)]
fn many_short_children_are_traced() {
    let script = format!("i=0; while [ $i -lt 300 ]; do /bin/true; (:); i=$((i + 1)); done; {}", making(&[7]));
    let ran = finish(&mut trace(&[], &script)).exits(0);
    assert_eq!(calls(&ran), [creates(7, 0)]);
}

#[apply(test)]
fn the_calls_of_a_thread_name_it_and_its_process() {
    let mut traced = Traced::start(&[]);
    let command = traced.command();
    traced.actor.exit_leader_of(command);
    traced.actor.create(1, 4096);
    let line = traced.lines().remove(0);
    let thread = line.strip_prefix(&format!("[{command}:")).and_then(|rest| rest.split_once("] ")).unwrap();
    assert!(thread.0.parse::<i32>().unwrap() != command && thread.1 == creates(1, 0), "{line}");
    traced.end();
}

#[apply(test)]
fn a_thread_that_executes_a_program_continues_as_its_process() {
    let mut traced = Traced::start(&[]);
    for rounds in 0..20 {
        assert_eq!(traced.actor.number(ChildRequest::CreateUntilExec { rounds }), 0);
    }
    traced.actor.create(1, 4096);
    let lines = traced.end();
    assert!(lines.last().unwrap().contains("shmget(0x00000001, "), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("shmget(IPC_PRIVATE, 4096, 0600) = ")), "{lines:?}");
}

#[apply(test)]
fn the_trace_ends_with_the_last_process_and_the_code_of_the_command() {
    let mut daemon = Daemon::new(&[]);
    let mut command = trace(&[], &format!("{} exit 7", daemon.start()));
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    daemon.send(&create(1));
    wait_for("the answer", || daemon.answers() == "0\n");
    assert_eq!(child.try_wait().unwrap(), None);
    drop(daemon);
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(calls(&ran.exits(7)), [creates(1, 0)]);
}

#[apply(test)]
fn a_command_is_killed_with_its_tracer() {
    let traced = Traced::start(&[]);
    let command = traced.command();
    kill(Pid::from_raw(traced.tracer()), Signal::SIGKILL).unwrap();
    wait_for("the command to be killed", || !is_alive(command));
}

#[apply(test)]
fn children_from_before_are_not_waited_for() {
    let program = env!("CARGO_BIN_EXE_shmadm");
    let script = format!("sleep infinity >/dev/null 2>&1 & echo $!; exec {program} trace -- true");
    let mut command = std::process::Command::new("sh");
    let ran: Ran = command.args(["-c", &script]).output().unwrap().into();
    kill(Pid::from_raw(ran.stdout.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    ran.exits(0);
}

#[apply(test)]
fn without_a_filter_each_call_is_a_stop() {
    let mut traced = Traced::prepared(&[], |command| {
        without(command, libc::SYS_seccomp, None, Errno::EPERM);
    });
    traced.actor.create(1, 4096);
    assert_eq!(traced.actor.number(ChildRequest::CreateAs { pid: 0, key: 2, size: 4096 }), 0);
    let lines = traced.end();
    assert!(lines[0].ends_with(&creates(1, 0)) && lines[1].ends_with(&creates(2, 1)), "{lines:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[apply(test)]
fn a_command_that_may_not_be_traced_does_not_run() {
    let mut command = shmadm();
    command.args(["trace", "--", "echo", "ran"]).env("PATH", "/usr/bin:/bin");
    let ran = finish(without(&mut command, libc::SYS_ptrace, None, Errno::EPERM)).exits(125).prints_nothing();
    assert_eq!(
        ran.stderr,
        "error: cannot trace the command: Operation not permitted (EPERM, ptrace PTRACE_SEIZE)\n\
         cause: denied by a security module or a seccomp filter\n"
    );
}

#[apply(test)]
fn a_command_that_is_traced_already_names_its_tracer() {
    let program = env!("CARGO_BIN_EXE_shmadm");
    let ran = finish(&mut trace(&[], &format!("echo $PPID; exec {program} trace -- echo ran"))).exits(125);
    let tracer = ran.stdout.clone();
    assert_eq!(tracer.lines().count(), 1, "the command does not run");
    ran.says(&format!("cause: pid {} ({program} trace ", tracer.trim()))
        .says(") is already tracing shmadm and what it starts\n")
        .says("hint: a process has at most one tracer: run shmadm outside of the other one\n");
}

#[apply(test)]
fn a_call_that_a_sandbox_denies_is_shown() {
    let mut command = shmadm();
    command.args(["trace", "--", "sh", "-c", &making(&[1])]).env("PATH", "/usr/bin:/bin");
    let ran = finish(without(&mut command, libc::SYS_shmget, None, Errno::EACCES)).exits(0);
    let call = "shmget(0x00000001, 4096, IPC_CREAT|IPC_EXCL|0600) = -1 EACCES (Permission denied)";
    assert_eq!(calls(&ran), [call]);
    assert_eq!(all_keys(), [] as [u32; 0]);
}

/// Traces perl, which calls shmget, installs a filter with an action for further calls of it, and calls it again.
fn filtered_by_itself(options: &[&str], before: &str, action: u32) -> Ran {
    let [prctl, shmget] = [libc::SYS_prctl, libc::SYS_shmget];
    let [no_new_privs, install] = [libc::PR_SET_NO_NEW_PRIVS, libc::PR_SET_SECCOMP];
    // The instructions load the number of the call, compare it, and take the action or allow the call.
    let script = format!(
        "{before} $filter = pack('(SCCL)4', 0x20, 0, 0, 0, 0x15, 0, 1, {shmget}, 6, 0, 0, {action}, 6, 0, 0, 0x7fff0000); \
         $program = pack('S x6 P', 4, $filter); \
         syscall({prctl}, {no_new_privs}, 1, 0, 0, 0); shmget(1, 1, 0); \
         syscall({prctl}, {install}, 2, $program) and die; shmget(0, 1, 0600);"
    );
    let mut command = shmadm();
    command.arg("trace").args(options).args(["--", "perl", "-e", &script]);
    finish(command.env("PATH", "/usr/bin:/bin"))
}

/// The first of these calls.
const MISSING: &str = "shmget(0x00000001, 1, 0000) = -1 ENOENT (No such file or directory)";

#[apply(test)]
#[requires(Program(&["perl"]))]
fn a_call_that_the_command_itself_denies_is_shown() {
    let ran = filtered_by_itself(&[], "", libc::SECCOMP_RET_ERRNO | libc::EACCES.cast_unsigned()).exits(0);
    let denied = "shmget(IPC_PRIVATE, 1, 0600) = -1 EACCES (Permission denied)";
    assert_eq!(calls(&ran), [MISSING, denied]);
    ran.says("cause: denied by a security module or a seccomp filter\n");
}

#[apply(test)]
#[requires(Program(&["perl"]))]
fn a_call_for_which_a_filter_raises_a_signal_has_no_result() {
    let handler = "$SIG{SYS} = sub { exit 3 };";
    for (before, action, code) in
        [(handler, libc::SECCOMP_RET_TRAP, 3), ("", libc::SECCOMP_RET_KILL_PROCESS, 128 + libc::SIGSYS)]
    {
        let ran = filtered_by_itself(&["--summary"], before, action).exits(code);
        let made = calls(&ran);
        assert_eq!(made[..2], [MISSING, "shmget(IPC_PRIVATE, 1, 0600) = ?"]);
        assert!(made[2].ends_with("2 calls, 1 failed (shmget 2)"), "{made:?}");
    }
}

#[apply(test)]
#[requires(Root)]
fn calls_that_a_filter_hands_to_another_process_are_shown() {
    // leakcheck --trace installs a filter that notifies it of each shmget.
    let program = env!("CARGO_BIN_EXE_shmadm");
    let leakcheck = ["leakcheck", "--trace", "--isolate", "never"];
    let mut outside = shmadm();
    outside.args(leakcheck).args(["--", program, "trace", "--", "sh", "-c", &making(&[1])]);
    let mut inside = shmadm();
    inside.args(["trace", "--", program]).args(leakcheck).args(["--", "sh", "-c", &making(&[2])]);
    for (mut command, line) in [(outside, creates(1, 0)), (inside, creates(2, 1))] {
        let ran = finish(command.env("PATH", "/usr/bin:/bin"));
        assert!(calls(&ran).contains(&line) && ran.stderr.contains("created by pid"), "{ran:?}");
    }
}

#[apply(test)]
#[requires(Root)]
fn an_unprivileged_user_traces_too() {
    let mut command = shmadm_as(NOBODY);
    command.args(["trace", "--", "sh", "-c", "grep NoNewPrivs /proc/self/status; exec ipcmk -M 4096"]);
    let ran = finish(command.env("PATH", "/usr/bin:/bin")).exits(0);
    assert!(ran.stdout.starts_with("NoNewPrivs:\t1\n"), "{ran:?}");
    assert!(calls(&ran)[0].starts_with("shmget(0x"), "{ran:?}");
    let ran = finish(&mut trace(&[], "grep NoNewPrivs /proc/self/status")).exits(0);
    assert_eq!(ran.stdout, "NoNewPrivs:\t0\n", "with CAP_SYS_ADMIN, setuid programs have effect");
}

#[cfg(target_arch = "x86_64")]
#[apply(test)]
fn calls_of_other_architectures_are_named_once_and_not_decoded() {
    let mut command = trace(
        &[],
        &crate::trace::performing(&[
            &CallRequest::Compat { number: 395, first: 0, second: 4096, third: 0o600 },
            &CallRequest::Compat { number: 117, first: 23, second: 0, third: 4096 },
            &Request::Create { key: 5, size: 4096, flags: 0 },
        ]),
    );
    let ran = finish(&mut command).exits(0);
    let supported = ran.stderr.contains("makes 32-bit system calls, which are not decoded");
    assert_eq!(ran.stderr.matches("32-bit").count(), usize::from(supported), "{ran:?}");
    assert_eq!(calls(&ran).len(), 1);
}
