//! Attaching and detaching: the kernel's attach counts, and what remains of a holder.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Trial;
use nix::libc::{self, c_int};
use nix::unistd::{Pid, getsid};
use serde_json::json;

use crate::holder::{Holder, mapping};
use crate::oracle;
use crate::support::{
    NOBODY, Ran, Running, finish, leave_namespace, root_trial, run, shmadm, shmadm_as, trial, wait_for,
};

/// An address in a free range on every architecture, but not page-aligned.
const UNALIGNED: &str = "0x200000123";

/// Starts `attach` in the foreground; returns the line that it prints once attached.
fn foreground(arguments: &[&str]) -> (Running, BufReader<std::process::ChildStdout>, String) {
    let mut running = Running(shmadm().args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    (running, stdout, line)
}

/// Sends SIGTERM to a child that has not been waited for.
fn signal(child: &Child, signal: c_int) {
    let signal = nix::sys::signal::Signal::try_from(signal).unwrap();
    nix::sys::signal::kill(pid_of(child), signal).unwrap();
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Returns the kernel's attach count of a segment.
fn nattch(id: i32) -> u64 {
    oracle::row(id).unwrap().get("nattch").parse().unwrap()
}

#[track_caller]
fn background(id: i32) -> Holder {
    Holder::printed(&run(["attach", &id.to_string(), "--background"]).exits(0))
}

pub(crate) fn trials() -> Vec<Trial> {
    [foreground_trials(), holder_trials(), detach_trials()].into_iter().flatten().collect()
}

/// In the foreground: the segment is attached while the command runs.
fn foreground_trials() -> Vec<Trial> {
    vec![
        trial("attach::reports_the_attachment_and_holds_it_until_a_signal", || {
            let id = oracle::create(0x4d2, 5000, 0o600);
            for (ending, code, by) in
                [(libc::SIGTERM, Some(0), None), (libc::SIGINT, Some(0), None), (libc::SIGHUP, None, Some(1))]
            {
                let (mut running, mut stdout, line) = foreground(&["attach", "0x4d2"]);
                let pid = running.0.id().cast_signed();
                let (address, rights) = mapping(pid, id);
                assert_eq!(line, format!("attached segment {id} at {address}, 5000 bytes, rw, pid {pid}\n"));
                assert_eq!(rights, "rw-s");
                assert_eq!(nattch(id), 1);
                signal(&running.0, ending);
                let status = running.0.wait().unwrap();
                assert_eq!((status.code(), status.signal()), (code, by), "after signal {ending}");
                assert_eq!(nattch(id), 0);
                let mut rest = String::new();
                stdout.read_to_string(&mut rest).unwrap();
                assert_eq!(rest, "");
            }
        }),
        trial("attach::reports_in_json_before_it_waits", || {
            let id = oracle::create(0, 4096, 0o600);
            let (running, _stdout, line) = foreground(&["attach", &id.to_string(), "--read-only", "--json"]);
            let pid = running.0.id();
            let (address, rights) = mapping(pid.cast_signed(), id);
            assert_eq!(rights, "r--s");
            let report: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(report["schema"], 1);
            let attachment = &report["attachment"];
            assert_eq!(
                [
                    &attachment["id"],
                    &attachment["pid"],
                    &attachment["address"],
                    &attachment["size"],
                    &attachment["access"]
                ],
                [&json!(id), &json!(pid), &json!(address), &json!(4096), &json!("ro")]
            );
        }),
        trial("attach::ends_after_its_duration", || {
            let id = oracle::create(0, 4096, 0o600);
            let ran = run(["attach", &id.to_string(), "--for", "30ms"]).exits(0).says("detached segment");
            assert!(ran.stdout.contains(", rw, pid "), "{ran:?}");
            let row = oracle::row(id).unwrap();
            assert_eq!(row.get("nattch"), "0");
            assert_ne!(row.get("dtime"), "0", "the segment was never attached: {row:?}");
            let held =
                Holder::printed(&run(["attach", &id.to_string(), "--background", "--for", "30ms", "--quiet"]).exits(0));
            wait_for("a holder to exit after its duration", || !held.lives());
            assert_eq!(nattch(id), 0);
            run(["attach", &id.to_string(), "--for", "30"]).exits(2).says("has no unit");
        }),
        trial("attach::attaches_at_a_given_address_or_explains_why_not", || {
            let id = oracle::create(0, 4096, 0o600);
            let id = id.to_string();
            for more in [None, Some("--background")] {
                let ran =
                    run(["attach", &id, "--address", UNALIGNED].into_iter().chain(more)).exits(1).prints_nothing();
                let ran =
                    ran.says("Invalid argument (EINVAL, shmat)").says(&format!("cause: {UNALIGNED} is not a multiple"));
                assert!(ran.stderr.contains("hint: attach it at 0x200000000: `shmadm attach "), "{ran:?}");
            }
            assert_eq!(oracle::rows()[0].get("atime"), "0", "no segment was attached");
            let error = run(["attach", &id, "--address", UNALIGNED, "--json"]).exits(1).json();
            assert_eq!(error["error"]["errno"], "EINVAL");
            assert_eq!(error["error"]["call"], "shmat");
            let (_running, _stdout, line) = foreground(&["attach", &id, "--address", UNALIGNED, "--round"]);
            assert!(line.contains(" at 0x200000000, "), "{line}");
            drop(_running);
            let (running, _stdout, _) = foreground(&["attach", &id, "--address", "0x200000000"]);
            assert_eq!(mapping(running.0.id().cast_signed(), 0).0, "0x200000000");
            run(["attach", &id, "--round"]).exits(2);
            run(["attach", &id, "--address", "0x200000000g"]).exits(2);
            // Root may map page zero, but a pointer to it is null.
            run(["attach", &id, "--address", "0x123", "--round", "--for", "1ms"])
                .exits(2)
                .prints_nothing()
                .says("invalid address 0x123: it rounds down to 0");
            run(["attach", &id, "--address", "0", "--for", "1ms"])
                .exits(2)
                .prints_nothing()
                .says("invalid address 0x0: 0 means");
        }),
        trial("attach::exec_needs_execute_permission", || {
            let id = oracle::create(0, 4096, 0o700);
            let (running, _stdout, _) = foreground(&["attach", &id.to_string(), "--exec"]);
            assert_eq!(mapping(running.0.id().cast_signed(), id).1, "rwxs");
        }),
        trial("attach::a_missing_segment_is_not_found", || {
            for more in [None, Some("--background"), Some("--json")] {
                let ran = run(["attach", "5"].into_iter().chain(more)).exits(3).says("EINVAL");
                assert_eq!(ran.stdout.is_empty(), more != Some("--json"), "{ran:?}");
            }
        }),
        root_trial("attach::another_users_private_segment_is_only_known_to_exist", || {
            let id = oracle::create(0x4d2, 4096, 0o600);
            let before = oracle::rows();
            for arguments in [
                &["read", "0x4d2"][..],
                &["read", "0x4d2", "--raw"],
                &["write", "0x4d2", "text"],
                &["attach", "0x4d2"],
                &["attach", "0x4d2", "--read-only", "--background"],
            ] {
                let ran = finish(shmadm_as(NOBODY).args(arguments)).exits(4).prints_nothing();
                let ran = ran.says(&format!("segment {id}")).says("Permission denied (EACCES, shmat)");
                let cause = "cause: mode 0600, owner root:root: user ";
                assert!(ran.stderr.contains(cause) && ran.stderr.contains(" (other) has no access\n"), "{ran:?}");
                assert!(ran.stderr.contains(&format!("hint: root can change the mode: `shmadm set {id}")), "{ran:?}");
                assert_eq!(oracle::rows(), before, "{arguments:?}");
            }
            let error = finish(shmadm_as(NOBODY).args(["read", "0x4d2", "--json"])).exits(4).json();
            assert_eq!((&error["error"]["kind"], &error["error"]["errno"]), (&json!("permission"), &json!("EACCES")));
            let expected = oracle::record(&before[0]);
            for command in [&["stat", "0x4d2", "--json"][..], &["list", "--json"]] {
                let report = finish(shmadm_as(NOBODY).args(command)).exits(0).json();
                for (name, value) in expected.as_object().unwrap() {
                    assert_eq!(&report["segments"][0][name], value, "{command:?}: {name}");
                }
            }
            finish(shmadm_as(NOBODY).args(["detach", "0x4d2"])).exits(3);
            assert_eq!(oracle::rows(), before);
        }),
        root_trial("attach::an_attachment_that_the_mode_forbids_is_explained", || {
            let id = oracle::create(0, 4096, 0o604);
            let name = id.to_string();
            let before = oracle::rows();
            for more in [None, Some("--background")] {
                let ran: Ran = finish(shmadm_as(NOBODY).args(["attach", &name]).args(more));
                let ran = ran.exits(4).prints_nothing().says("EACCES, shmat");
                assert!(ran.stderr.contains("cause: mode 0604, owner root:root: user "), "{ran:?}");
                assert_eq!(oracle::rows(), before);
            }
            let ran =
                Ran::from(shmadm_as(NOBODY).args(["attach", &name, "--read-only", "--for", "1ms"]).output().unwrap());
            ran.exits(0);
        }),
    ]
}

/// In the background: a holder keeps the segment attached.
fn holder_trials() -> Vec<Trial> {
    vec![
        trial("holder::inherits_nothing_from_its_caller_and_outlives_it", || {
            let id = oracle::create(0x4d2, 4096, 0o600);
            let directory = tempfile::tempdir().unwrap();
            let open = directory.path().join("open");
            // The caller leaves a descriptor open and ignores the signals that will end the holder.
            let mut caller = Command::new("/bin/sh");
            caller.args(["-c", "trap '' TERM HUP INT; exec 7>\"$1\"; \"$2\" attach 0x4d2 --background", "sh"]);
            caller.arg(&open).arg(env!("CARGO_BIN_EXE_shmadm")).stdin(Stdio::null()).current_dir(directory.path());
            let holder = Holder::printed(&finish(&mut caller).exits(0).says(&format!("attached segment {id} at 0x")));
            assert!(open.exists(), "the caller has the file open");
            assert!(holder.lives());
            assert_eq!(nattch(id), 1);
            assert_eq!(mapping(holder.pid, id).1, "rw-s");
            assert_eq!(holder.read("comm"), "shmadm-hold\n");
            assert_eq!(holder.link("cwd"), "/");
            let pid = Pid::from_raw(holder.pid);
            assert_eq!(getsid(Some(pid)), Ok(pid), "the holder leads its own session");
            // The holder uses a pipe for its own signals; the end inherited from the caller is closed during its start.
            wait_for("the holder to close inherited descriptors", || {
                let open: Vec<_> = std::fs::read_dir(holder.proc("fd")).unwrap().map(|fd| fd.unwrap().path()).collect();
                open.iter().all(|fd| {
                    let file = std::fs::read_link(fd).unwrap_or_default();
                    let standard = ["0", "1", "2"].iter().any(|number| fd.ends_with(number));
                    if standard { file.ends_with("dev/null") } else { file.to_string_lossy().starts_with("pipe:[") }
                })
            });
            assert_eq!(std::fs::read_dir(holder.proc("fd")).unwrap().count(), 5);
            let ran = run(["detach", "0x4d2", "--json"]).exits(0);
            let expected = json!({"schema":1,"id":id,"detached":[holder.pid],"nattch_before":1,"nattch_after":0});
            assert_eq!(ran.json(), expected);
            assert_eq!(nattch(id), 0, "detach returns after nattch has dropped");
            assert!(!holder.lives());
        }),
        trial("holder::a_killed_holder_leaves_nothing", || {
            let id = oracle::create(0, 4096, 0o600);
            let holder = background(id);
            assert_eq!(nattch(id), 1);
            holder.kill();
            wait_for("a killed holder to detach", || nattch(id) == 0);
            run(["detach", &id.to_string()]).exits(3).says("it is not attached");
        }),
        trial("holder::reports_in_json_and_honours_the_options", || {
            let id = oracle::create(0, 4096, 0o600);
            let arguments = ["attach", &id.to_string(), "--background", "--read-only", "--json"];
            let report = run(arguments.into_iter().chain(["--address", UNALIGNED, "--round"])).exits(0).json();
            let pid = i32::try_from(report["attachment"]["pid"].as_i64().unwrap()).unwrap();
            let holder = Holder::new(pid);
            assert_eq!(report["attachment"]["address"], "0x200000000");
            assert_eq!(report["attachment"]["access"], "ro");
            assert_eq!(mapping(holder.pid, id), ("0x200000000".to_owned(), "r--s".to_owned()));
        }),
        trial("holder::a_marked_segment_is_destroyed_with_its_last_holder", || {
            let id = oracle::create(0, 4096, 0o600);
            let _holder = background(id);
            assert!(oracle::remove(id), "marked");
            run(["detach", &id.to_string()]).exits(0).says("was destroyed at the last detach");
            assert_eq!(oracle::rows(), []);
        }),
    ]
}

/// Detaching ends holders, and no other process.
fn detach_trials() -> Vec<Trial> {
    vec![
        trial("detach::ends_all_holders_or_the_given_one", || {
            let (id, other) = (oracle::create(0, 4096, 0o600), oracle::create(0, 4096, 0o600));
            let holders = [background(id), background(id), background(id)];
            let elsewhere = background(other);
            let name = id.to_string();
            run(["detach", &name, "--pid", &holders[1].pid.to_string()]).exits(0).says("nattch 3 before, 2 after");
            assert_eq!(holders.each_ref().map(Holder::lives), [true, false, true]);
            // The holder of another segment does not count.
            run(["detach", &name, "--pid", &elsewhere.pid.to_string()])
                .exits(5)
                .prints_nothing()
                .says("is not a holder of it; the holders of user ")
                .says(&format!("hint: end all of them: `shmadm detach {name}`"));
            let report = run(["detach", &name, "--json"]).exits(0).json();
            let mut detached: Vec<i64> =
                report["detached"].as_array().unwrap().iter().map(|pid| pid.as_i64().unwrap()).collect();
            detached.sort_unstable();
            let mut expected = [i64::from(holders[0].pid), i64::from(holders[2].pid)];
            expected.sort_unstable();
            assert_eq!(detached, expected);
            assert_eq!((nattch(id), nattch(other)), (0, 1));
            assert!(elsewhere.lives());
        }),
        trial("detach::without_a_holder_names_the_attached_processes", || {
            let id = oracle::create(0, 4096, 0o600);
            let name = id.to_string();
            run(["detach", &name]).exits(3).prints_nothing();
            let error = run(["detach", &name, "--json"]).exits(3).json();
            assert_eq!(error["error"]["kind"], "not-found");
            let _attached = oracle::Attached::new(id);
            let before = oracle::rows();
            let ran = run(["detach", &name]).exits(5).prints_nothing().says("cannot detach");
            let me = format!("last user pid {}", std::process::id());
            assert!(ran.stderr.contains("cause: attached by ") && ran.stderr.contains(&me), "{ran:?}");
            run(["detach", &name, "--pid", &std::process::id().to_string()]).exits(5).says("is not a holder of it");
            assert_eq!(oracle::rows(), before);
            for pid in ["0", "-1", "x"] {
                run(["detach", &name, "--pid", pid]).exits(2);
            }
            // A foreground `attach` is ended by its user, not by this command.
            let (running, _stdout, _) = foreground(&["attach", &name]);
            run(["detach", &name]).exits(5);
            assert_eq!(mapping(running.0.id().cast_signed(), id).1, "rw-s");
        }),
        trial("detach::does_not_signal_a_process_that_only_has_the_name_of_a_holder", || {
            let id = oracle::create(0, 4096, 0o600);
            let name = id.to_string();
            let mut impostor = Command::new("/bin/sh");
            impostor.args(["-c", "printf shmadm-hold > /proc/$$/comm; read -r _; exit 7"]);
            let mut impostor = Running(impostor.stdin(Stdio::piped()).spawn().unwrap());
            let comm = format!("/proc/{}/comm", impostor.0.id());
            wait_for("the name", || std::fs::read_to_string(&comm).unwrap() == "shmadm-hold\n");
            run(["detach", &name]).exits(3);
            let attached = oracle::Attached::new(id);
            run(["detach", &name]).exits(5);
            run(["detach", &name, "--pid", &impostor.0.id().to_string()]).exits(5);
            drop(attached);
            let holder = background(id);
            run(["detach", &name]).exits(0);
            assert!(!holder.lives());
            drop(impostor.0.stdin.take());
            assert_eq!(impostor.0.wait().unwrap().code(), Some(7), "it exited by itself");
        }),
        trial("detach::ignores_holders_in_other_namespaces", || {
            let id = oracle::create(0x4d2, 4096, 0o600);
            let elsewhere = background(id);
            // From here on the test is in another namespace, where the same id and key denote another segment.
            leave_namespace();
            assert_eq!(oracle::create(0x4d2, 4096, 0o600), id);
            run(["detach", "0x4d2"]).exits(3);
            let attached = oracle::Attached::new(id);
            run(["detach", "0x4d2"]).exits(5);
            drop(attached);
            let here = background(id);
            run(["detach", "0x4d2"]).exits(0);
            assert!(!here.lives());
            assert!(elsewhere.lives());
        }),
        root_trial("detach::ignores_holders_of_other_users", || {
            let id = oracle::create(0, 4096, 0o666);
            let name = id.to_string();
            let ran = finish(shmadm_as(NOBODY).args(["attach", &name, "--background"])).exits(0);
            let theirs = Holder::printed(&ran);
            run(["detach", &name]).exits(5).says("no holder of user root has it attached");
            let ours = background(id);
            finish(shmadm_as(NOBODY).args(["detach", &name])).exits(0).says("nattch 2 before, 1 after");
            assert!(!theirs.lives());
            assert!(ours.lives());
            finish(shmadm_as(NOBODY).args(["detach", &name])).exits(5);
            assert!(ours.lives());
        }),
    ]
}
