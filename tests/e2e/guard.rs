//! The guard of `restore`: what is not whole goes with whoever was making it, and nothing else does.

use std::os::unix::process::CommandExt;
use std::process::Stdio;

use libtest_mimic::Trial;
use nix::libc;
use nix::sys::resource::Resource;
use nix::sys::signal::{Signal, killpg};

use crate::actor::Actor;
use crate::holder::Holder;
use crate::oracle::{self, Row};
use crate::resources::{LONER, limited};
use crate::support::{finish, root_trial, run, shmadm, shmadm_as, trial, wait_for};
use crate::vanish::{Call, Stopped};

/// Gives the trials of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("guard::what_is_not_whole_goes_and_what_looks_like_it_stays", || {
            let dump = Dump::new();
            let told = |call: &Call| call.number == libc::SYS_write && call.arguments[2] == 4;
            let attaches = |call: &Call| call.number == libc::SYS_shmat;
            let changes = |call: &Call| call.is_shmctl(libc::IPC_SET);
            let before: [&dyn Fn(&Call) -> bool; 3] = [&told, &attaches, &changes];
            for (place, wanted) in before.into_iter().enumerate() {
                let others = dump.others();
                let stopped = Stopped::before(1, wanted, &["restore", &dump.path]);
                assert_eq!(oracle::rows().len(), others.len() + 1, "it is made before place {place}");
                let guard = guard_of(stopped.pid().as_raw()).unwrap();
                stopped.signal(Signal::SIGKILL);
                assert_eq!(stopped.go_on().signal, Some(libc::SIGKILL));
                wait_for("the end of the guard", || !guard.lives());
                assert_eq!(oracle::rows(), others, "killed at place {place}");
                oracle::remove_all();
            }
        }),
        trial("guard::the_holder_of_what_is_not_whole_ends", || {
            let dump = Dump::new();
            let attaches = |call: &Call| call.number == libc::SYS_shmat;
            let stopped = Stopped::before(1, attaches, &["restore", &dump.path, "--hold"]);
            let row = &oracle::rows()[0];
            assert_eq!(row.get("nattch"), "1");
            let holder = Holder::new(row.get("lpid").parse().unwrap());
            let guard = guard_of(stopped.pid().as_raw()).unwrap();
            stopped.signal(Signal::SIGKILL);
            stopped.go_on();
            wait_for("the end of the guard", || !guard.lives());
            wait_for("the end of the holder", || !holder.lives());
            assert_eq!(oracle::rows(), []);
        }),
        trial("guard::what_ends_the_whole_group_or_asks_politely_does_not_reach_it", || {
            let dump = Dump::new();
            let mut command = shmadm();
            command.args(["restore", &dump.path]).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
            let stopped = Stopped::command_before(1, |call| call.number == libc::SYS_shmat, command);
            let guard = guard_of(stopped.pid().as_raw()).unwrap();
            assert_eq!(group(guard.pid), guard.pid);
            wait_for("its handlers", || catches(guard.pid, Signal::SIGTERM));
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                guard.signal(signal);
            }
            killpg(stopped.pid(), Signal::SIGKILL).unwrap();
            assert_eq!(stopped.go_on().signal, Some(libc::SIGKILL));
            wait_for("the end of the guard", || !guard.lives());
            assert_eq!(oracle::rows(), []);
        }),
        trial("guard::without_one_there_is_nothing_missing", || {
            let dump = Dump::new();
            let stopped = Stopped::before(1, |call| call.number == libc::SYS_shmat, &["restore", &dump.path]);
            guard_of(stopped.pid().as_raw()).unwrap().kill();
            let ran = stopped.go_on().exits(0);
            assert_eq!(ran.stdout.trim(), oracle::rows()[0].get("shmid"));
            assert_eq!(oracle::rows()[0].get("perms"), "644");
        }),
        trial("guard::it_has_ended_when_restore_has", || {
            let dump = Dump::new();
            let stopped = Stopped::before(1, |call| call.number == libc::SYS_shmat, &["restore", &dump.path]);
            let guard = guard_of(stopped.pid().as_raw()).unwrap();
            stopped.go_on().exits(0);
            assert!(!guard.lives());
        }),
        root_trial("guard::where_no_process_is_to_be_had_that_is_told", || {
            let dump = Dump::new();
            let mut command = shmadm_as(LONER);
            let ran = finish(limited(&mut command, Resource::RLIMIT_NPROC, 1).args(["restore", &dump.path]));
            ran.exits(0).says("warning: cannot start a guard").says("if this command is killed, a segment stays");
        }),
        trial("guard::it_is_nothing_to_be_started_by_hand", || {
            let mut command = shmadm();
            finish(command.arg0("shmadm-guard").arg("by=1"))
                .exits(2)
                .says("shmadm-guard is started by `shmadm restore`");
        }),
    ]
}

/// A dump of a segment that is gone.
struct Dump {
    /// Where it is.
    path: String,
    /// The directory that it lies in.
    _directory: tempfile::TempDir,
}

impl Dump {
    /// Bytes of the segment.
    const SIZE: usize = 9000;

    /// Makes one with key 1234 and mode 0644, that everybody may read.
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let id = oracle::create(1234, Self::SIZE, 0o644);
        oracle::Attached::new(id).write(0, b"contents");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment.bin").to_string_lossy().into_owned();
        run(["dump", "0x4d2", "--output", &path]).exits(0);
        assert!(oracle::remove(id));
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for file in [&path, &format!("{path}.json")] {
            std::fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
        }
        Self { path, _directory: directory }
    }

    /// Makes segments that are like what is being restored but for who made them; gives all there are.
    fn others(&self) -> Vec<Row> {
        oracle::create(0, Self::SIZE, 0o600);
        let mut actor = Actor::start();
        actor.number(&format!("create 0 {} 600", Self::SIZE));
        oracle::rows()
    }
}

/// Finds the guard of a process; `None` if there is none.
pub(crate) fn guard_of(pid: i32) -> Option<Holder> {
    let begin = format!("shmadm-guard\0by={pid}\0").into_bytes();
    std::fs::read_dir("/proc").unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        let is_guard = std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.starts_with(&begin));
        is_guard.then(|| Holder::new(entry.file_name().to_str().unwrap().parse().unwrap()))
    })
}

/// Gives the process group that a process is in.
fn group(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// Tells whether a process has a handler for a signal.
fn catches(pid: i32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let set = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
    u64::from_str_radix(set, 16).unwrap() >> (signal as i32 - 1) & 1 == 1
}
