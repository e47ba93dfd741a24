//! Signals and stops behave as without a tracer.

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixtures::{children, process_status};
use crate::leakcheck::{Daemon, is_alive};
use crate::support::{Running, finish, wait_for};
use crate::terminal::{Terminal, WIDE};
use crate::trace::{Traced, trace};

/// Returns whether a process is stopped, also by a tracer.
fn is_stopped(pid: i32) -> bool {
    process_status(pid, "State").starts_with(['T', 't'])
}

#[apply(test)]
fn the_command_receives_its_own_signals() {
    for (script, out) in [
        ("trap 'echo trapped' TRAP; kill -TRAP $$; echo after", "trapped\nafter\n"),
        ("trap 'echo usr' USR1; kill -USR1 $$", "usr\n"),
        ("trap 'echo real' 40; kill -40 $$; :", "real\n"),
    ] {
        let ran = finish(&mut trace(&[], script)).exits(0);
        assert_eq!(ran.stdout, out, "{script}");
    }
    finish(&mut trace(&[], "kill -TRAP $$")).exits(128 + 5);
}

#[apply(test)]
fn a_stopped_command_stays_stopped_until_it_is_continued() {
    let mut traced = Traced::start(&[]);
    let command = traced.command();
    // The kernel discards the other signals that stop, if the tests run in an orphaned process group.
    kill(Pid::from_raw(command), Signal::SIGSTOP).unwrap();
    // It also stops for a moment whenever the tracer looks at it.
    wait_for("the command to stay stopped", || (0..500).all(|_| is_stopped(command)));
    kill(Pid::from_raw(command), Signal::SIGCONT).unwrap();
    assert!(traced.actor.create(0, 4096) >= 0);
    traced.end();
}

#[apply(test)]
fn keys_of_the_terminal_reach_the_command_once() {
    let script = "trap 'echo interrupted; exit 3' INT; echo ready; while :; do read line; done";
    let mut command = trace(&[], script);
    command.stdin(Stdio::piped());
    let mut terminal = Terminal::start(command, WIDE, &[1, 2]);
    terminal.wait_for("ready");
    terminal.type_in("\u{3}");
    let (code, shown) = terminal.end();
    assert_eq!((code, shown.matches("interrupted").count()), (Some(3), 1), "{shown}");
}

#[apply(test)]
fn job_control_stops_and_continues_the_command() {
    let mut command = Command::new("sh");
    let script = "set -m; \"$0\" trace -- sh -c 'echo $$ ready; read x; echo got $x; exit 4'; echo stopped $?; read y; \
                  fg; echo ended $?";
    command.args(["-c", script, env!("CARGO_BIN_EXE_shmadm")]).env_clear().env("PATH", "/usr/bin:/bin");
    let mut terminal = Terminal::start(command, WIDE, &[0, 1, 2]);
    terminal.wait_for(" ready");
    let pid = terminal.text().split(' ').next().unwrap().trim().parse().unwrap();
    terminal.type_in("\u{1a}");
    terminal.wait_for("stopped 148");
    // Before it has stopped, it would read what is typed.
    wait_for("the command to stop", || is_stopped(pid));
    terminal.type_in("continue\n");
    // The shell prints the command that continues.
    terminal.wait_for("exit 4");
    terminal.type_in("line\n");
    terminal.wait_for("got line");
    terminal.wait_for("ended 4");
}

#[apply(test)]
fn after_the_command_signals_are_for_what_it_left_running() {
    let daemon = Daemon::new(&[]);
    let mut command = trace(&[], &format!("{} echo $!", daemon.start()));
    let mut running = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(running.0.stdout.take().unwrap()));
    let pid: i32 = lines.next().unwrap().unwrap().parse().unwrap();
    wait_for("the shell to exit", || children(running.pid().as_raw()).is_empty());
    kill(running.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert!(!is_alive(pid));
}
