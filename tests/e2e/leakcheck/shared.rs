//! `leakcheck` without isolation: segments of the command are distinguished from those of other jobs.

use serde_json::{Value, json};

use crate::actor::Actor;
use crate::fixtures::{all_keys, assert_fields, children, set_next_id};
use crate::leakcheck::attribution::wait_until_observed;
use crate::leakcheck::{Daemon, actor, create, keys, leakcheck, making, piped, reported};
use crate::oracle;
use crate::support::{NOBODY, finish, reachable_copy, shmadm, shmadm_as, wait_for};

/// A leakcheck whose command waits on a pipe until the test ends it.
pub(crate) struct Meanwhile {
    child: std::process::Child,
    /// The path of the report.
    directory: tempfile::TempDir,
}

impl Meanwhile {
    /// Starts a leakcheck whose command does its work and then waits.
    pub(crate) fn start(options: &[&str], script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        let options = [options, &["--report", path.to_str().unwrap()]].concat();
        let script = format!("{script}; echo ready; read line");
        Self::waiting(leakcheck(&options, &script), directory)
    }

    /// Starts a shell that begins a job and then becomes leakcheck, whose command waits.
    pub(crate) fn becoming(job: &str, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let report = directory.path().join("report.json");
        let script = format!(
            "{job} exec {} leakcheck --isolate never {} --report {} -- sh -c 'echo ready; read line'",
            env!("CARGO_BIN_EXE_shmadm"),
            options.join(" "),
            report.display()
        );
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin");
        Self::waiting(command, directory)
    }

    /// Starts a command and waits until it is ready.
    fn waiting(mut command: std::process::Command, directory: tempfile::TempDir) -> Self {
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let mut answers = std::io::BufReader::new(child.stdout.as_mut().unwrap());
        std::io::BufRead::read_line(&mut answers, &mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, directory }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits until an actor has been reparented to leakcheck, and returns its pid.
    fn only_orphan(&self) -> i32 {
        let is_actor =
            |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"\0--actor\0"));
        let mut orphan = None;
        wait_for("an orphan", || {
            orphan = children(self.pid()).into_iter().find(is_actor);
            orphan.is_some()
        });
        orphan.unwrap()
    }

    /// Ends the command with success; returns the exit code and the report.
    pub(crate) fn end_well(mut self) -> (i32, Value) {
        std::io::Write::write_all(self.child.stdin.as_mut().unwrap(), b"\n").unwrap();
        self.end()
    }

    /// Ends the command with a failure; returns the exit code and the report.
    pub(crate) fn end(mut self) -> (i32, Value) {
        drop(self.child.stdin.take());
        let code = self.child.wait().unwrap().code().unwrap();
        let report = std::fs::read(self.directory.path().join("report.json")).unwrap();
        (code, serde_json::from_slice(&report).unwrap())
    }
}

#[apply(test)]
fn earlier_segments_and_those_of_running_processes_are_not_leaks() {
    oracle::create(1, 4096, 0o600);
    // Another job of the same user, which is running and does not descend from the command.
    let mut other = Actor::start();
    let meanwhile = Meanwhile::start(&["--isolate", "never", "--rm", "--strict"], "true");
    other.create(2, 4096);
    let before = oracle::rows();
    // `read` fails at the end of its input, and so does the command.
    let (code, report) = meanwhile.end();
    assert_eq!((code, &report["leaked"], &report["unattributed"]), (1, &json!([]), &json!([])));
    assert_fields(&report, json!({ "isolation": "none", "exit_code": 1 }));
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn segments_of_exited_jobs_are_unattributed() {
    let run_beside = |options: &[&str], key: u32| {
        let options = [&["--isolate", "never"], options].concat();
        let meanwhile = Meanwhile::start(&options, "true");
        let mut other = Actor::start();
        other.create(key, 4096);
        other.leave();
        meanwhile.end().1
    };
    let report = run_beside(&["--rm"], 1);
    assert_eq!((keys(&report["unattributed"]), &report["leaked"]), (vec![1], &json!([])));
    let shown = &report["unattributed"][0];
    assert_fields(shown, json!({ "creator_command": null, "outcome": null }));
    assert_eq!(all_keys(), [1], "unattributed segments are kept");
    let report = run_beside(&["--rm", "--strict"], 2);
    assert_eq!(report["unattributed"][0]["outcome"], "destroyed");
    assert_eq!(all_keys(), [1]);
}

#[apply(test)]
fn unattributed_segments_count_unless_lenient() {
    // The creator is a grandchild whose parent waits for it. Whether leakcheck observes it is chance; it counts
    // either way.
    let script = format!("{}; true", making(&[1]));
    let (ran, report) = reported(&["--isolate", "never"], &script);
    ran.exits(65).says("warning: 1 ");
    let both = [keys(&report["leaked"]), keys(&report["unattributed"])].concat();
    assert_eq!(both, [1]);
    // A segment of another job, while the command succeeds.
    let unattributed = |options: &[&str]| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script = format!("echo >{0}; read line <{0}", path.display());
        let options = [&["--isolate", "never"], options].concat();
        let mut command = leakcheck(&options, &script);
        let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        std::fs::read(&path).unwrap();
        let mut other = Actor::start();
        other.create(0, 4096);
        other.leave();
        std::fs::write(&path, "\n").unwrap();
        crate::support::Ran::from(child.wait_with_output().unwrap())
    };
    unattributed(&[])
        .exits(65)
        .says("unattributed: segment ")
        .says("another of your jobs")
        .says("hint: observe every creator: `shmadm leakcheck --isolate never --trace -- sh -c ");
    unattributed(&["--lenient"]).exits(0).says("unattributed: segment ");
}

#[apply(test)]
fn the_command_and_observed_orphans_are_creators() {
    // The command itself.
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.json");
    let mut command = shmadm();
    command.args(["leakcheck", "--isolate", "never", "--report", report.to_str().unwrap(), "--"]);
    command.arg(std::env::current_exe().unwrap()).arg("--actor").stdin(std::process::Stdio::piped());
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let requests = format!("{}\n{}\n", create(1), create(2));
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), requests.as_bytes()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(65));
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(keys(&report["leaked"]), [1, 2]);
    assert!(report["leaked"][1]["creator_command"].as_str().unwrap().ends_with(" --actor"), "{report}");
    // A process that is reparented to leakcheck creates a segment and exits at once.
    let mut daemon = Daemon::new(&[]);
    let meanwhile = Meanwhile::start(&["--isolate", "never"], &format!("( {} )", daemon.start()));
    let orphan = meanwhile.only_orphan();
    wait_until_observed(meanwhile.pid(), orphan);
    daemon.send(&create(3));
    daemon.end(orphan);
    let (_, report) = meanwhile.end();
    assert_eq!((keys(&report["leaked"]), &report["unattributed"]), (vec![3], &json!([])));
}

#[apply(test)]
fn earlier_children_are_not_attributed_to_the_command() {
    // The shell starts another job and becomes leakcheck: the job is then a child of leakcheck, but not the
    // command's.
    let mut daemon = Daemon::new(&[]);
    let meanwhile = Meanwhile::becoming(&daemon.start(), &["--rm", "--strict"]);
    daemon.send(&create(7));
    wait_for("the other job's segment", || all_keys() == [7]);
    let (code, report) = meanwhile.end_well();
    assert_eq!((code, &report["leaked"], &report["unattributed"]), (0, &json!([]), &json!([])));
    assert_eq!(all_keys(), [7]);
}

#[apply(test)]
fn orphans_of_earlier_children_are_not_attributed_to_the_command() {
    // An earlier job starts another process while the command runs, and exits: leakcheck inherits the orphan.
    let daemon = Daemon::new(&[create(7)]);
    let directory = tempfile::tempdir().unwrap();
    let go = directory.path().join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let job = format!("{{ read go <{}; {} }} &", go.display(), daemon.start());
    let meanwhile = Meanwhile::becoming(&job, &["--rm"]);
    std::fs::write(go, "\n").unwrap();
    wait_for("the orphan's segment", || all_keys() == [7]);
    assert_eq!(meanwhile.end_well().1["leaked"], json!([]));
    assert_eq!(all_keys(), [7]);
}

#[apply(test)]
#[requires(Root)]
fn a_reused_id_is_another_segment() {
    let id = oracle::create(1, 4096, 0o600);
    let meanwhile = Meanwhile::start(&["--isolate", "never"], "true");
    assert!(oracle::remove(id));
    set_next_id(id);
    let mut other = Actor::start();
    assert_eq!(other.create(2, 4096), id);
    other.leave();
    assert_eq!(keys(&meanwhile.end().1["unattributed"]), [2]);
}

#[apply(test)]
#[requires(Root)]
fn segments_created_as_another_user_are_reported_as_omitted() {
    let program = reachable_copy();
    let maker = format!("setpriv --reuid 65534 --clear-groups {} -q create --key 1", program.display());
    let ran = finish(&mut leakcheck(&["--isolate", "never", "--rm", "--strict"], &maker));
    if ran.code == Some(0) {
        // Its creator was not observed.
        let ran = ran.says("warning: 1 new segment of other users not reported");
        assert!(ran.stderr.contains("--trace"), "{ran:?}");
        assert_eq!(all_keys(), [1]);
    } else {
        ran.exits(65).says("(key 0x00000001, 4 KiB");
    }
}

#[apply(test)]
#[requires(Root)]
fn segments_of_other_users_are_never_leaks() {
    let mut command = shmadm_as(NOBODY);
    command.args(["leakcheck", "--isolate", "never", "--rm", "--strict", "--", "sh", "-c", "echo ready; read line"]);
    command.env("PATH", "/usr/bin:/bin").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line).unwrap();
    let mut other = Actor::start();
    other.create(4, 4096);
    other.leave();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(all_keys(), [4]);
}

#[apply(test)]
fn rm_removes_the_leaks_and_still_fails() {
    oracle::create(1, 4096, 0o600);
    let script = piped(&[create(2), create(3)], &format!("exec {}", actor()));
    let (ran, report) = reported(&["--isolate", "never", "--rm", "--strict"], &script);
    let ran = ran.exits(65);
    let both = report["leaked"].as_array().unwrap().iter().chain(report["unattributed"].as_array().unwrap());
    let outcomes: Vec<_> = both.map(|leak| (leak["outcome"].clone(), leak["reason"].clone())).collect();
    assert_eq!(outcomes, [(json!("destroyed"), Value::Null), (json!("destroyed"), Value::Null)]);
    assert_eq!(ran.stderr.matches("; removed\n").count(), 2, "{ran:?}");
    assert_eq!(all_keys(), [1]);
}
