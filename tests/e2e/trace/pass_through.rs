//! What a traced command notices: nothing.

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use serde_json::json;

use crate::fixtures::assert_fields;
use crate::leakcheck::making;
use crate::support::{Ran, finish, shmadm};
use crate::trace::{calls, trace};

#[apply(test)]
fn the_exit_code_is_that_of_the_command() {
    for (script, code) in
        [("true", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -9 $$", 137), ("kill -40 $$", 168)]
    {
        let ran = finish(&mut trace(&[], script)).exits(code).prints_nothing();
        assert_eq!(ran.stderr, "", "{script}");
    }
    for (command, code, words) in [
        ("no-such-command", 127, "error: cannot run no-such-command: No such file or directory (ENOENT, execve)"),
        ("/etc/passwd", 126, "error: cannot run /etc/passwd: Permission denied (EACCES, execve)"),
    ] {
        finish(shmadm().args(["trace", "--", command]).env("PATH", "/usr/bin:/bin")).exits(code).says(words);
        let ran = finish(shmadm().args(["trace", "--json", "--", command]).env("PATH", "/usr/bin:/bin"));
        let ran = ran.exits(code).says(words);
        assert_fields(&ran.json()["error"], json!({ "kind": "failed", "call": "execve", "target": command }));
    }
    finish(shmadm().arg("trace")).exits(125);
}

#[apply(test)]
fn standard_streams_are_the_commands() {
    let mut command = trace(&[], &format!("cat; echo wrong >&2; {}", making(&[1])));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"in\n").unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    let ran = ran.exits(0);
    assert_eq!(ran.stdout, "in\n");
    assert!(ran.stderr.starts_with("wrong\n["), "{ran:?}");
    assert_eq!(calls(&ran), ["shmget(0x00000001, 4096, IPC_CREAT|IPC_EXCL|0600) = 0"]);
}

#[apply(test)]
fn the_signal_state_and_the_descriptors_are_those_of_the_caller() {
    let program = env!("CARGO_BIN_EXE_shmadm");
    let show = "sh -c 'grep -E \"^Sig(Blk|Ign|Cgt)\" /proc/self/status; ls /proc/self/fd'";
    for state in ["", "trap '' PIPE URG; ", "trap '' USR1 CHLD HUP; ", "exec <&-; "] {
        for blocked in ["", "env --block-signal=USR2 --block-signal=URG "] {
            let [bare, traced] = ["", &format!("{program} trace ")].map(|tracer| {
                let script = format!("{state}exec {blocked}{tracer}{show}");
                let mut command = Command::new("sh");
                command.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
                let ran: Ran = command.output().unwrap().into();
                ran.exits(0).stdout
            });
            assert_eq!(traced, bare, "{state}{blocked}");
        }
    }
}

#[apply(test)]
fn signals_that_a_process_sent_are_passed_on() {
    for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT"), (Signal::SIGUSR1, "USR1")] {
        let child = "sh -c 'echo ready; exec sleep infinity'";
        let script = format!("trap 'echo {name}; kill $!; exit 7' {name}; {child} & wait");
        let mut child = trace(&[], &script).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), name);
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
}
