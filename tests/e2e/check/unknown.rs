//! Results that `check` reports as UNKNOWN.

use std::fs::File;

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::oracle;
use crate::sandbox::{with_empty_proc, with_file_over, without};
use crate::support::{Ran, finish, run, shmadm};

/// Asserts that a run reports UNKNOWN as the guidelines require.
#[track_caller]
fn is_unknown(ran: Ran) -> Ran {
    let ran = ran.exits(3);
    let line = ran.stdout.strip_suffix('\n').unwrap_or_else(|| panic!("{ran:?}"));
    assert!(line.starts_with("SHM UNKNOWN: ") && line.len() > 20, "{ran:?}");
    assert!(!line.contains(['\n', '|']), "one line, and no performance data: {ran:?}");
    assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    ran
}

#[apply(test)]
#[requires(Root)]
fn possible_orphans_are_unknown() {
    // Its creator is outside the pid namespace in which `check` runs.
    oracle::create(1, 4096, 0o600);
    let inside = |rules: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_shmadm")]).args(rules);
        Ran::from(command.env_clear().env("PATH", "/usr/bin:/bin").output().unwrap())
    };
    for rule in ["orphans=0", "orphan-bytes=4095"] {
        let ran = inside(&["check", "-w", rule]).exits(3);
        assert!(ran.stdout.starts_with("SHM UNKNOWN: cannot determine whether 1 segment is an orphan"), "{ran:?}");
    }
    // What cannot make the status worse is a warning.
    for (rules, code, status) in [
        (["-c", "segments=0", "-w", "orphans=0"], 2, "CRITICAL"),
        (["-c", "segments=0", "-c", "orphans=0"], 2, "CRITICAL"),
        (["-w", "segments=0", "-w", "orphans=0"], 1, "WARNING"),
        (["-w", "segments=0", "-c", "orphans=0"], 3, "UNKNOWN"),
    ] {
        let ran = inside(&[&["check"], &rules[..]].concat()).exits(code);
        assert!(ran.stdout.starts_with(&format!("SHM {status}: ")), "{ran:?}");
        ran.says("cannot determine whether 1 segment is an orphan");
    }
    // The result is the same whether or not the segment is an orphan.
    inside(&["check", "-w", "orphans=1", "-c", "orphan-bytes=4096"]).exits(0);
    // Any number of orphans between none and all is possible, too.
    oracle::create(2, 4096, 0o600);
    oracle::create(3, 4096, 0o600);
    for (rule, code) in [
        ("orphans=@1:2", 3),
        ("orphans=1:2", 3),
        ("orphans=@0.5:1.5", 3),
        ("orphan-bytes=@4096:8191", 3),
        ("orphans=@1.2:1.8", 0),
        ("orphans=@4:5", 0),
        ("orphans=@0:3", 2),
        ("orphans=4:", 2),
    ] {
        inside(&["check", "-c", rule]).exits(code);
    }
    oracle::remove(1);
    oracle::remove(2);
    let metrics = inside(&["metrics"]).exits(0).stdout;
    let values =
        |name: &str| metrics.lines().any(|line| line.starts_with(&format!("{name}{{")) && line.ends_with(" 1"));
    assert!(values("shmadm_sysv_unknown") && !values("shmadm_sysv_orphans"), "{metrics}");
}

#[apply(test)]
fn a_usage_error_is_unknown() {
    for arguments in [
        &["check", "-w", "80%"][..],
        &["check", "-w", "segments"],
        &["check", "-w"],
        &["check", "-w", "segments=20:10"],
        &["check", "-w", "a|b=1"],
        &["check", "-w", "a\nb=1"],
        &["check", "-c", "segment=1"],
        &["check", "-c", "SEGMENTS=1"],
        &["check", "-c", "=80%"],
        &["check", "-c", "segments="],
        &["check", "-c", "segments==1"],
        &["check", "-c", "orphans=1G"],
        &["check", "-c", "orphan-bytes=80%"],
        &["check", "-c", "segments=1", "-c", "segments=2"],
        // The start, 10, exceeds the end only once the limit is known.
        &["check", "-c", "segments=10:0.000001%"],
        &["check", "--no-such-option"],
        &["check", "nonsense"],
        &["check", "-t", "0"],
        &["check", "-t", ""],
        &["check", "-t", "0s"],
        &["check", "--timeout=-1"],
        &["check", "--timeout", "1.5"],
        &["check", "--timeout", "soon"],
        &["check", "--format", "csv"],
        &["--no-such-option", "check"],
        &["--format", "tsv", "check"],
        &["--ns", "", "check"],
        &["--ns", "2147483647", "check"],
        &["check", "--ns=/dev/null"],
        &["check", "--color", "blue"],
    ] {
        is_unknown(run(arguments));
        let ran = run([arguments, &["--json"]].concat()).exits(3);
        if arguments.last() != Some(&"-w") && !arguments.contains(&"--format") {
            assert!(ran.json()["error"]["message"].is_string(), "{arguments:?}: {ran:?}");
        }
    }
}

#[apply(test)]
fn help_and_version_are_unknown() {
    for option in ["--help", "-h"] {
        let ran = run(["check", option]).exits(3);
        assert!(ran.stdout.contains("Usage: shmadm check") && ran.stderr.is_empty(), "{ran:?}");
    }
    for option in ["--version", "-V"] {
        let ran = run(["check", option]).exits(3);
        assert!(ran.stdout.contains(env!("CARGO_PKG_VERSION")) && ran.stderr.is_empty(), "{ran:?}");
    }
}

#[apply(test)]
#[requires(Root)]
fn without_an_answer_of_the_kernel_the_result_is_unknown() {
    let mut command = shmadm();
    let denied = without(&mut command, libc::SYS_shmctl, None, Errno::EPERM);
    with_empty_proc(denied);
    let ran = is_unknown(finish(denied.args(["check"])));
    assert!(ran.stdout.contains("EPERM, shmctl"), "{ran:?}");
}

#[apply(test)]
fn a_full_disk_is_unknown() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    finish(shmadm().args(["check"]).stdout(full)).exits(3).says("cannot write to standard output");
    let full = File::options().write(true).open("/dev/full").unwrap();
    finish(shmadm().args(["check", "--nonsense"]).stdout(full)).exits(3).says("--nonsense");
}

#[apply(test)]
#[requires(Root)]
fn a_check_ends_at_its_timeout() {
    // Opening a pipe that no process writes blocks.
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let mut command = shmadm();
    with_file_over(&mut command, &pipe, c"/proc/sys/kernel/shm_rmid_forced");
    let ran = is_unknown(finish(command.args(["check", "--timeout", "100ms"])));
    assert!(ran.stdout.contains("timed out after 100ms"), "{ran:?}");
}
