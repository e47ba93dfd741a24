//! `leakcheck` beside other jobs: what is the command's is told from what is not; and what is done with it later.

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::leakcheck::{actor, keys, leakcheck, making, reported};
use crate::oracle;
use crate::support::{NOBODY, finish, root_trial, run, run_with_input, shmadm, shmadm_as, trial, wait_for};

/// Gives the trials of this file.
pub(crate) fn trials() -> Vec<Trial> {
    [attributing(), removing(), tracing(), later()].into_iter().flatten().collect()
}

/// Gives the keys of all segments, in the order of the kernel's table.
fn all_keys() -> Vec<i32> {
    oracle::rows().iter().map(|row| row.get("key").parse().unwrap()).collect()
}

/// A shell command that waits until this process has done something, which the line says that it reads.
struct Meanwhile {
    /// The running leakcheck.
    child: std::process::Child,
    /// Where its report goes.
    directory: tempfile::TempDir,
}

impl Meanwhile {
    /// Starts a leakcheck whose command has done its work, and waits.
    fn start(options: &[&str], script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        let options = [options, &["--report", path.to_str().unwrap()]].concat();
        let script = format!("{script}; echo ready; read line");
        let mut command = leakcheck(&options, &script);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let mut answers = std::io::BufReader::new(child.stdout.as_mut().unwrap());
        std::io::BufRead::read_line(&mut answers, &mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, directory }
    }

    /// Lets it end, and gives its exit code and its report.
    fn end(mut self) -> (i32, Value) {
        drop(self.child.stdin.take());
        let code = self.child.wait().unwrap().code().unwrap();
        let report = std::fs::read(self.directory.path().join("report.json")).unwrap();
        (code, serde_json::from_slice(&report).unwrap())
    }
}

/// Whose a segment is.
fn attributing() -> Vec<Trial> {
    vec![
        trial("leakcheck::shared_what_was_there_before_and_what_the_living_make_is_not_blamed", || {
            oracle::create(1, 4096, 0o600);
            // Another job of the same user, which lives and does not descend from the command.
            let mut other = Actor::start();
            let meanwhile = Meanwhile::start(&["--isolate", "never", "--rm", "--strict"], "true");
            other.number("create 2 4096 0");
            let before = oracle::rows();
            // `read` at the end of its input is a failure of the command's.
            let (code, report) = meanwhile.end();
            assert_eq!((code, &report["leaked"], &report["unattributed"]), (1, &json!([]), &json!([])));
            assert_eq!((&report["isolation"], &report["exit_code"]), (&json!("none"), &json!(1)));
            assert_eq!(oracle::rows(), before);
        }),
        trial("leakcheck::shared_the_dead_of_other_jobs_are_unattributed", || {
            let run_beside = |options: &[&str], key: i32| {
                let options = [&["--isolate", "never"], options].concat();
                let meanwhile = Meanwhile::start(&options, "true");
                let mut other = Actor::start();
                other.number(&format!("create {key} 4096 0"));
                other.leave();
                meanwhile.end().1
            };
            let report = run_beside(&["--rm"], 1);
            assert_eq!((keys(&report["unattributed"]), &report["leaked"]), (vec![1], &json!([])));
            let told = &report["unattributed"][0];
            assert_eq!((&told["creator_command"], &told["outcome"]), (&Value::Null, &Value::Null));
            assert_eq!(all_keys(), [1], "what is not known to be the command's is kept");
            let report = run_beside(&["--rm", "--strict"], 2);
            assert_eq!(report["unattributed"][0]["outcome"], "destroyed");
            assert_eq!(all_keys(), [1]);
        }),
        trial("leakcheck::shared_what_is_unattributed_counts_unless_lenient", || {
            // The creator is a grandchild that is waited for by its parent: whether it is seen is chance, and either way
            // it counts.
            let script = format!("{}; true", making(&[1]));
            let (ran, report) = reported(&["--isolate", "never"], &script);
            ran.exits(65).says("warning: 1 segment ");
            let both = [keys(&report["leaked"]), keys(&report["unattributed"])].concat();
            assert_eq!(both, [1]);
            // One of another job, while the command succeeds.
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
                other.number("create 0 4096 0");
                other.leave();
                std::fs::write(&path, "\n").unwrap();
                crate::support::Ran::from(child.wait_with_output().unwrap())
            };
            unattributed(&[]).exits(65).says("unattributed: segment ").says("by another job of yours");
            unattributed(&["--lenient"]).exits(0).says("unattributed: segment ");
        }),
        trial(
            "leakcheck::shared_the_command_itself_and_orphans_that_it_leaves_are_known_however_briefly_they_lived",
            || {
                let lines = |keys: &[i32]| keys.iter().map(|key| format!("create {key} 4096 0\n")).collect::<String>();
                // The command itself.
                let directory = tempfile::tempdir().unwrap();
                let report = directory.path().join("report.json");
                let mut command = shmadm();
                command.args(["leakcheck", "--isolate", "never", "--report", report.to_str().unwrap(), "--"]);
                command.arg(std::env::current_exe().unwrap()).arg("--actor").stdin(std::process::Stdio::piped());
                let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
                std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines(&[1, 2]).as_bytes()).unwrap();
                assert_eq!(child.wait().unwrap().code(), Some(65));
                let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
                assert_eq!(keys(&report["leaked"]), [1, 2]);
                assert!(report["leaked"][1]["creator_command"].as_str().unwrap().ends_with(" --actor"), "{report}");
                // A grandchild whose parent is gone, and which the command waits for by a pipe alone.
                let script = format!("mkfifo $0; ( ( {}; echo >$0 ) & ); read line <$0; rm $0", making(&[3]));
                let pipe = directory.path().join("pipe");
                let mut command = leakcheck(&["--isolate", "never"], &script);
                finish(command.arg(&pipe)).exits(65).says("(key 0x00000003, 4 KiB");
            },
        ),
        root_trial("leakcheck::shared_other_users_are_never_blamed", || {
            let mut command = shmadm_as(NOBODY);
            command.args([
                "leakcheck",
                "--isolate",
                "never",
                "--rm",
                "--strict",
                "--",
                "sh",
                "-c",
                "echo ready; read line",
            ]);
            command
                .env("PATH", "/usr/bin:/bin")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line)
                .unwrap();
            let mut other = Actor::start();
            other.number("create 4 4096 0");
            other.leave();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\n").unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(0));
            assert_eq!(all_keys(), [4]);
        }),
    ]
}

/// What `--rm` does.
fn removing() -> Vec<Trial> {
    vec![trial("leakcheck::rm_removes_what_was_left_and_still_fails", || {
        oracle::create(1, 4096, 0o600);
        let script = format!("printf 'create 2 4096 0\\ncreate 3 4096 0\\n' | exec {}", actor());
        let (ran, report) = reported(&["--isolate", "never", "--rm", "--strict"], &script);
        let ran = ran.exits(65);
        let both = report["leaked"].as_array().unwrap().iter().chain(report["unattributed"].as_array().unwrap());
        let outcomes: Vec<_> = both.map(|leak| (leak["outcome"].clone(), leak["reason"].clone())).collect();
        assert_eq!(outcomes, [(json!("destroyed"), Value::Null), (json!("destroyed"), Value::Null)]);
        assert_eq!(ran.stderr.matches("; removed\n").count(), 2, "{ran:?}");
        assert_eq!(all_keys(), [1]);
    })]
}

/// What `--trace` knows.
fn tracing() -> Vec<Trial> {
    vec![
        root_trial("leakcheck::traced_every_creator_is_named_and_nobody_else_is_blamed", || {
            let script: Vec<String> = (1..=20).map(|key| making(&[key])).collect();
            let directory = tempfile::tempdir().unwrap();
            let meanwhile = Meanwhile::start(&["--isolate", "never", "--trace", "--rm"], &script.join("; "));
            let mut other = Actor::start();
            other.number("create 99 4096 0");
            other.leave();
            let (code, report) = meanwhile.end();
            assert_eq!((code, &report["unattributed"]), (1, &json!([])));
            assert_eq!(keys(&report["leaked"]), (1..=20).collect::<Vec<_>>());
            let mut pids: Vec<i64> = Vec::new();
            for leak in report["leaked"].as_array().unwrap() {
                assert!(leak["creator_command"].as_str().unwrap().ends_with(" --actor"), "{leak}");
                assert_eq!(leak["outcome"], "destroyed");
                pids.push(leak["cpid"].as_i64().unwrap());
            }
            pids.dedup();
            assert_eq!(pids.len(), 20);
            assert_eq!(all_keys(), [99], "another job's dead are not the command's");
            drop(directory);
        }),
        trial("leakcheck::traced_in_a_namespace_of_its_own_as_any_user", || {
            let (ran, report) = reported(&["--isolate", "always", "--trace"], &making(&[1, 2]));
            ran.exits(65);
            assert_eq!(keys(&report["leaked"]), [1, 2]);
            assert!(report["leaked"][0]["creator_command"].as_str().unwrap().ends_with(" --actor"), "{report}");
        }),
        root_trial("leakcheck::a_trace_without_the_right_to_it_is_refused_and_nothing_runs", || {
            let mut command = shmadm_as(NOBODY);
            command
                .args(["leakcheck", "--isolate", "never", "--trace", "--", "echo", "ran"])
                .env("PATH", "/usr/bin:/bin");
            let ran = finish(&mut command).exits(125).says("(EACCES, seccomp)").says("no_new_privs").prints_nothing();
            assert!(ran.stderr.contains("hint: `shmadm leakcheck --isolate always --trace"), "{ran:?}");
        }),
        root_trial("leakcheck::traced_processes_go_on_when_the_supervisor_is_killed", || {
            let mut traced = Traced::start();
            assert_eq!(traced.actor.say("create 1 4096 0"), "0");
            let standby = traced.standby();
            traced.kill_supervisor();
            // It is the command that answers now, and not the supervisor.
            assert_eq!(traced.actor.say("create 2 4096 0"), "1");
            assert_eq!(all_keys(), [1, 2]);
            traced.actor.end_input();
            wait_for("the end of the standby", || !is_alive(standby));
        }),
        root_trial("leakcheck::traced_processes_go_on_when_the_standby_is_killed", || {
            let mut traced = Traced::start();
            traced.actor.say("create 1 4096 0");
            for key in 2..5 {
                let standby = traced.standby();
                kill(Pid::from_raw(standby), Signal::SIGKILL).unwrap();
                assert_eq!(traced.actor.say(&format!("create {key} 4096 0")), (key - 1).to_string());
                wait_for("another standby", || traced.standby() != standby && traced.standby() != 0);
            }
            let standby = traced.standby();
            let report = traced.end();
            assert_eq!(keys(&report["leaked"]), [1, 2, 3, 4]);
            assert!(!is_alive(standby), "it is gone before its supervisor is");
        }),
        root_trial("leakcheck::traced_processes_that_are_left_behind_go_on", || {
            let directory = tempfile::tempdir().unwrap();
            let pipe = directory.path().join("lines");
            nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
            let mut lines = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
            let answers = directory.path().join("answers");
            let script = format!("{} <{} >{} 2>&1 & echo $!", actor(), pipe.display(), answers.display());
            let ran = finish(&mut leakcheck(&["--isolate", "never", "--trace"], &script)).exits(0);
            std::io::Write::write_all(&mut lines, b"create 1 4096 0\n").unwrap();
            wait_for("the answer", || std::fs::read_to_string(&answers).is_ok_and(|text| text == "0\n"));
            assert_eq!(all_keys(), [1]);
            drop(lines);
            let pid: i32 = ran.stdout.trim().parse().unwrap();
            wait_for("the daemon's end", || !is_alive(pid));
        }),
    ]
}

/// Tells whether a process lives, one that has ended and was not waited for excepted.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.starts_with(" Z"))
}

/// A traced leakcheck of an actor.
struct Traced {
    /// The actor, which is not the process that was started, but its child.
    actor: Actor,
    /// Where the report goes.
    directory: tempfile::TempDir,
}

impl Traced {
    /// Starts it.
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let report = directory.path().join("report.json");
        let mut command = shmadm();
        command.args(["leakcheck", "-q", "--isolate", "never", "--trace", "--report", report.to_str().unwrap(), "--"]);
        command.arg(std::env::current_exe().unwrap());
        Self { actor: Actor::spawn(&mut command), directory }
    }

    /// Gives the pid of the standby; 0 if there is none just now.
    fn standby(&self) -> i32 {
        let supervisor = self.actor.pid();
        let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
        let is_standby = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"shmadm-trace"))
        };
        children.split_whitespace().map(|pid| pid.parse().unwrap()).find(is_standby).unwrap_or(0)
    }

    /// Kills the supervisor.
    fn kill_supervisor(&self) {
        let pid = self.actor.pid();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        wait_for("the supervisor's end", || !is_alive(pid));
    }

    /// Has the command end, and gives the report.
    fn end(self) -> Value {
        let Self { actor, directory } = self;
        actor.leave();
        serde_json::from_slice(&std::fs::read(directory.path().join("report.json")).unwrap()).unwrap()
    }
}

/// What `rm --from` does with a report.
fn later() -> Vec<Trial> {
    vec![
        trial("rm::from_a_report_removes_what_is_still_the_same", || {
            oracle::create(1, 4096, 0o600);
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("report.json");
            let report = path.to_str().unwrap();
            let mut command = shmadm();
            command.args(["leakcheck", "--isolate", "never", "--report", report, "--"]);
            let mut made = Actor::spawn(command.arg(std::env::current_exe().unwrap()));
            let ids: Vec<i32> = (2..=6).map(|key| made.number(&format!("create {key} 4096 0"))).collect();
            made.leave();
            // One is changed, one used, one attached, one gone.
            oracle::set(ids[0], 1234, 0, 0o600);
            run(["read", &ids[1].to_string(), "--allow-allocation"]).exits(0);
            let mut user = Actor::start();
            user.say(&format!("attach {}", ids[2]));
            oracle::remove(ids[3]);
            let before = oracle::rows();
            let ran = run(["rm", "--from", report, "--dry-run"]).exits(1);
            assert!(ran.stdout.starts_with(&format!("would remove segment {} (key 0x00000006", ids[4])), "{ran:?}");
            assert_eq!(oracle::rows(), before, "a dry run changes nothing");
            let ran = run(["rm", "--from", report, "--json"]).exits(1);
            let ran = ran.says(&format!("refused to remove segment {}: it changed since it was looked at", ids[0]));
            let ran = ran.says(&format!("refused to remove segment {}: it was used since it was listed", ids[1]));
            let told = ran.says(&format!("refused to remove segment {}: it is in use", ids[2])).json();
            assert_eq!((told["removed"].as_array().unwrap().len(), &told["removed"][0]["id"]), (1, &json!(ids[4])));
            assert_eq!(
                told["failed"].as_array().unwrap().iter().map(|one| one["code"].clone()).collect::<Vec<_>>(),
                [5, 5, 5, 3]
            );
            assert_eq!(all_keys(), [1, 2, 3, 4]);
            // By id it goes all the same.
            run(["rm", &ids[1].to_string()]).exits(0);
        }),
        trial("rm::from_a_dry_run_of_prune_and_from_standard_input", || {
            for key in [1, 2] {
                let mut actor = Actor::start();
                actor.number(&format!("create {key} 4096 0"));
                actor.leave();
            }
            oracle::create(3, 4096, 0o600);
            let list = run(["prune", "--dry-run", "--json", "--older-than", "0s"]).exits(0).stdout;
            let ran = run_with_input(["rm", "--from", "-"], list.as_bytes()).exits(0);
            assert_eq!(ran.stderr.matches("removed segment").count(), 2, "{ran:?}");
            assert_eq!(all_keys(), [3]);
            run_with_input(["rm", "--from", "-"], list.as_bytes()).exits(3);
            run_with_input(["rm", "--from", "-", "--ignore-missing"], list.as_bytes()).exits(0);
        }),
        trial("rm::from_a_report_of_another_namespace_removes_nothing_here", || {
            // Isolated, under the id that a segment has here.
            let (_, report) = reported(&["--isolate", "always"], &making(&[1]));
            let here = oracle::create(1, 4096, 0o600);
            assert_eq!(report["leaked"][0]["id"], here);
            let text = report.to_string();
            let ran = run_with_input(["rm", "--from", "-"], text.as_bytes());
            // Whether that namespace is gone can be told by those alone who see all processes.
            assert!(matches!(ran.code, Some(3 | 5)) && ran.stderr.contains("IPC namespace"), "{ran:?}");
            let mut actor = Actor::start();
            actor.say("unshare");
            let mut elsewhere = report.clone();
            elsewhere["leaked"][0]["ns"] = json!(actor.say("namespace").parse::<u64>().unwrap());
            let ran =
                run_with_input(["rm", "--from", "-", "--ignore-missing"], elsewhere.to_string().as_bytes()).exits(5);
            assert!(ran.stderr.contains("hint: `shmadm --ns ipc:["), "{ran:?}");
            assert_eq!(all_keys(), [1]);
        }),
        trial("rm::from_what_is_no_list_removes_nothing", || {
            oracle::create(1, 4096, 0o600);
            let record = run(["list", "--json"]).exits(0).json()["segments"][0].clone();
            for text in [
                String::new(),
                "[]".to_owned(),
                "{}".to_owned(),
                json!({"schema": 1}).to_string(),
                json!({"schema": 2, "leaked": [record]}).to_string(),
                json!({"leaked": [record]}).to_string(),
                json!({"schema": 1, "removed": [record]}).to_string(),
                json!({"schema": 1, "dry_run": false, "removed": [record]}).to_string(),
                json!({"schema": 1, "dry_run": true, "removed": [record], "leaked": [record]}).to_string(),
                json!({"schema": 1, "segments": [record]}).to_string(),
                json!({"schema": 1, "leaked": [{"id": 0}]}).to_string(),
                json!({"schema": 1, "leaked": [record]}).to_string() + "x",
            ] {
                run_with_input(["rm", "--from", "-"], text.as_bytes()).exits(2).says("for a list").prints_nothing();
            }
            // What is not known to be the command's is not in the list.
            let text = json!({"schema": 1, "leaked": [], "unattributed": [record]}).to_string();
            run_with_input(["rm", "--from", "-"], text.as_bytes()).exits(0).says("not looked at: 1 ");
            run(["rm", "--from", "/none"]).exits(1).says("cannot read /none");
            run(["rm", "--from", "-", "1"]).exits(2);
            run(["rm"]).exits(2);
            assert_eq!(all_keys(), [1]);
            // Twice the same is one.
            let text = json!({"schema": 1, "leaked": [record, record]}).to_string();
            run_with_input(["rm", "--from", "-"], text.as_bytes()).exits(0);
            assert_eq!(all_keys(), [] as [i32; 0]);
        }),
    ]
}
