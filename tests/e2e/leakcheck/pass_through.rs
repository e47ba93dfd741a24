//! What `leakcheck` passes on to the command, and where it writes its reports.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::actor::{Actor, Request};
use crate::leakcheck::{leakcheck, making};
use crate::oracle;
use crate::support::{NOBODY, Ran, Running, finish, run, shmadm, shmadm_as, wait_for};
use crate::terminal::{Terminal, WIDE};

/// Returns whether a pipe is full.
fn is_full(pipe: &impl std::os::fd::AsFd) -> bool {
    let mut descriptors = [nix::poll::PollFd::new(pipe.as_fd(), nix::poll::PollFlags::POLLOUT)];
    nix::poll::poll(&mut descriptors, 0_u8).unwrap() == 0
}

#[apply(test)]
fn passes_on_standard_streams_and_arguments() {
    let mut command = shmadm();
    command.args(["leakcheck", "--isolate", "always", "-q", "--", "sh", "-c"]);
    command.arg("cat; echo \"$0|$1|$2\"; echo wrong >&2").args(["a b", "--json", ""]);
    command.env("PATH", "/usr/bin:/bin").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"in\n").unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    let ran = ran.exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("in\na b|--json|\n", "wrong\n"));
}

#[apply(test)]
fn forwards_signals_that_a_process_sent() {
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGABRT, "ABRT"),
        (Signal::SIGPIPE, "PIPE"),
        (Signal::SIGXFSZ, "XFSZ"),
    ] {
        // Not `read`: a shell that is about to read handles a signal only after the read.
        // The child reports that it is ready: a shell that has only been forked would lose its parent's signal.
        let child = "sh -c 'echo ready; exec sleep infinity'";
        let script = format!("trap 'echo {name}; kill $!; exit 7' {name}; {child} & wait");
        let mut command = leakcheck(&["--isolate", "always", "-q"], &script);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), name);
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
}

#[apply(test)]
fn does_not_forward_terminal_signals_that_the_command_receives_anyway() {
    // In a separate session the command receives no terminal signals, so any signal it sees was forwarded.
    let script = "exec setsid sh -c 'trap \"echo key\" INT; trap \"echo sent\" USR1; echo ready; read line; read line'";
    let mut command = leakcheck(&["-q", "--isolate", "always"], script);
    command.stdin(Stdio::piped());
    let mut terminal = Terminal::start(command, WIDE, &[1]);
    terminal.wait_for("ready");
    terminal.type_in("\u{3}");
    // Of two pending signals, the one with the lower number is handled first. Sent repeatedly, because a shell that is
    // about to read a line handles a signal only after the read.
    wait_for("the shell to handle a signal", || {
        kill(Pid::from_raw(terminal.child().id().cast_signed()), Signal::SIGUSR1).unwrap();
        terminal.shows("sent")
    });
    drop(terminal.child().stdin.take());
    let (_, shown) = terminal.end();
    assert!(!shown.contains("key"), "{shown}");
}

#[apply(test)]
fn does_not_change_the_commands_signal_state() {
    let show = "grep ^Sig /proc/self/status";
    for state in ["", "trap '' PIPE; ", "trap '' USR1 CHLD HUP; "] {
        for blocked in ["", "env --block-signal=USR2 --block-signal=INT "] {
            let bare = format!("{state}exec {blocked}{show}");
            let program = env!("CARGO_BIN_EXE_shmadm");
            let checked = format!("{state}exec {blocked}{program} leakcheck -q --isolate always -- {show}");
            let states = [bare, checked].map(|script| {
                let mut command = Command::new("sh");
                command.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin");
                let ran: Ran = command.output().unwrap().into();
                ran.exits(0).stdout
            });
            let [bare, checked] = states;
            // Pending signals are not inherited state, and the queue is counted per user.
            let kept = |text: &str| -> Vec<String> {
                let lines = text.lines().filter(|line| !line.starts_with("SigQ") && !line.starts_with("SigPnd"));
                lines.map(ToOwned::to_owned).collect()
            };
            assert_eq!(kept(&bare).len(), 3, "{bare}");
            assert_eq!(kept(&checked), kept(&bare), "{state}{blocked}");
        }
    }
}

#[apply(test)]
fn closed_streams_stay_closed() {
    let program = env!("CARGO_BIN_EXE_shmadm");
    for closed in ["<&-", "<&- >&-", "2>&-"] {
        let seen = ["", &format!("{program} leakcheck -q --isolate always -- ")].map(|checked| {
            let directory = tempfile::tempdir().unwrap();
            let out = directory.path().join("out");
            let show = format!("for n in 0 1 2; do [ -e /proc/self/fd/$n ] && echo $n; done >>{}", out.display());
            let script = format!("exec {checked}sh -c '{show}' {closed}");
            let mut command = Command::new("sh");
            command.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
            std::fs::read_to_string(out).unwrap()
        });
        assert_eq!(seen[0], seen[1], "{closed}");
    }
}

#[apply(test)]
fn a_report_goes_to_a_file_or_stream_writable_only_by_the_caller() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mode = |name: &str| std::os::unix::fs::PermissionsExt::mode(&path(name).metadata().unwrap().permissions());
    let check = |options: &str, rest: &str| {
        let program = env!("CARGO_BIN_EXE_shmadm");
        let script = format!("umask 027; {program} leakcheck -q --isolate always {options} -- echo it ran {rest}");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin").current_dir(&directory);
        Ran::from(command.stdin(Stdio::null()).output().unwrap())
    };
    check("--report new", "").exits(0);
    assert_eq!(mode("new") & 0o777, 0o640);
    std::fs::write(path("new"), "old").unwrap();
    std::fs::set_permissions(path("new"), std::os::unix::fs::PermissionsExt::from_mode(0o606)).unwrap();
    check("--report new", "").exits(0);
    assert_eq!(mode("new") & 0o777, 0o640);
    let is_report = |text: &str| text.starts_with("{\"schema\":1,\"command\":[\"echo\"");
    assert!(is_report(&std::fs::read_to_string(path("new")).unwrap()));
    for stream in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let ran = check(&format!("--report {stream}"), "").exits(0);
        assert!(ran.stdout.strip_prefix("it ran\n").is_some_and(is_report), "{stream}: {ran:?}");
        // Appended to what the command has written.
        check(&format!("--report {stream}"), ">kept; echo after >>kept").exits(0);
        let kept = std::fs::read_to_string(path("kept")).unwrap();
        let kept = kept.strip_prefix("it ran\n").and_then(|rest| rest.strip_suffix("after\n"));
        assert!(kept.is_some_and(is_report), "{stream}: {kept:?}");
    }
    // There are regular files below /dev, too.
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    for _ in 0..2 {
        check(&format!("--report {}/report", shm.path().display()), "").exits(0);
    }
    let report = std::fs::read_to_string(shm.path().join("report")).unwrap();
    assert_eq!((is_report(&report), report.lines().count()), (true, 1));
    check("--report /dev/null", "").exits(0);
    let mut command = leakcheck(&["-q", "--isolate", "never", "--report", "/dev/full"], "exit 1");
    finish(&mut command).exits(1).says("cannot write /dev/full: No space left on device (ENOSPC, write)");
    assert!(check("--report /dev/stderr", "").exits(0).stderr.starts_with('{'));
    nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    check("--report pipe", "").exits(125).says("cannot write pipe");
    let reader = std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().spawn_scoped(scope, || std::fs::read_to_string(path("pipe"))).unwrap();
        wait_for("a reader", || check("--report pipe", "").code == Some(0));
        reader.join().unwrap().unwrap()
    });
    assert!(is_report(&reader));
}

#[apply(test)]
fn an_unread_report_does_not_block_forever() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Open but never read, and the report is larger than the pipe.
    let open = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let keys: Vec<u32> = (1..=600).collect();
    let mut command = leakcheck(&["--isolate", "always", "-q", "--report", pipe.to_str().unwrap()], &making(&keys));
    let mut running = Running(command.stderr(Stdio::null()).spawn().unwrap());
    let child = &mut running.0;
    let mut ended = None;
    wait_for("leakcheck to exit", || {
        ended = child.try_wait().unwrap();
        // Signals that arrive while the command is running are forwarded to it.
        if ended.is_none() && is_full(&open) {
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
        }
        ended.is_some()
    });
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended.unwrap()), Some(libc::SIGTERM));
}

#[apply(test)]
fn an_inherited_timer_fires_in_the_command() {
    let mut command = leakcheck(&["--isolate", "always", "-q"], "read line");
    // SAFETY: between fork and exec this makes one system call and nothing else.
    #[expect(unsafe_code, reason = "only pre_exec can set a timer for a child")]
    #[expect(clippy::disallowed_methods, reason = "tests prepare their own children")]
    unsafe {
        command.pre_exec(|| {
            nix::unistd::alarm::set(1);
            Ok(())
        });
    }
    let mut child = Running(command.stdin(Stdio::piped()).spawn().unwrap());
    // Keeps the pipe open during the wait.
    let _input = child.0.stdin.take();
    let mut ended = None;
    wait_for("leakcheck to exit", || {
        ended = child.0.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(128 + libc::SIGALRM));
}

#[apply(test)]
#[requires(Root)]
fn a_directory_without_search_permission_has_no_commands() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let run_as_nobody = |command: &str| {
        finish(shmadm_as(NOBODY).args(["leakcheck", "--isolate", "always", "--", command]).env("PATH", &path))
    };
    run_as_nobody("no-such-command").exits(127).says("not found in PATH");
    run_as_nobody("true").exits(0);
}

#[apply(test)]
fn a_report_over_the_file_size_limit_is_an_error_not_a_signal() {
    let directory = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_shmadm");
    let script = format!("ulimit -f 0; exec {program} leakcheck --isolate always --report r -- mkdir ran");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin").current_dir(&directory);
    Ran::from(command.output().unwrap()).exits(125).says("(EFBIG, write)");
    let names: Vec<_> = directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["ran"], "no part of the report remains");
}

#[apply(test)]
fn ns_runs_the_command_there_and_creates_no_namespace() {
    let mut actor = Actor::start();
    actor.ask(Request::Unshare);
    actor.create(9, 4096);
    let pid = actor.pid().to_string();
    let ran = run(["--ns", &pid, "leakcheck", "--isolate", "always", "--", "true"]);
    // Without root, namespaces of other users cannot be entered.
    if nix::unistd::geteuid().is_root() {
        ran.exits(125).says("--ns and --isolate always cannot be combined");
        let mut command = shmadm();
        command.args(["--ns", &pid, "leakcheck", "-q", "--", "cat", "/proc/sysvipc/shm"]);
        let ran = finish(command.env("PATH", "/usr/bin:/bin")).exits(0);
        let keys: Vec<String> = oracle::parse(&ran.stdout).iter().map(|row| row.get("key").to_owned()).collect();
        assert_eq!(keys, ["9"], "the command runs in that namespace, not in a new one");
    } else {
        ran.exits(125);
    }
}
