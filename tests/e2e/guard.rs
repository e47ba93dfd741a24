//! The guard of `restore`: what is not whole goes with whoever was making it, and nothing else does.
#![expect(unsafe_code, reason = "a process that has a certain pid takes a system call")]
#![expect(clippy::disallowed_methods, reason = "a process that has a certain pid takes a system call")]

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use libtest_mimic::Trial;
use nix::libc;
use nix::sys::resource::Resource;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::actor::Actor;
use crate::holder::Holder;
use crate::oracle::{self, Row};
use crate::resources::{LONER, limited};
use crate::support::{Running, finish, root_trial, run, shmadm, shmadm_as, trial, wait_for};
use crate::vanish::{Call, Stopped};

/// Gives the trials of this file.
pub(crate) fn trials() -> Vec<Trial> {
    killed().into_iter().chain(helpless()).collect()
}

/// Whoever is making a segment is killed.
fn killed() -> Vec<Trial> {
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
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGALRM, libc::SIGRTMIN()] {
                guard.signal(signal);
            }
            killpg(stopped.pid(), Signal::SIGKILL).unwrap();
            assert_eq!(stopped.go_on().signal, Some(libc::SIGKILL));
            wait_for("the end of the guard", || !guard.lives());
            assert_eq!(oracle::rows(), []);
        }),
        root_trial("guard::what_another_process_made_that_got_the_pid_stays", || {
            // One that lives may have made it; and one that has ended, what has another key.
            for (key, stays, gone) in [(1234, true, false), (libc::IPC_PRIVATE, false, false), (1234, false, true)] {
                // As if the maker was killed before it told the id, and the guard came to itself late.
                let maker = Actor::start();
                let pid = Pid::from_raw(maker.pid());
                let guard = watching(pid);
                drop(maker);
                let double = Double::of(pid, key, stays);
                let rows = oracle::rows();
                assert_eq!((rows.len(), rows[0].get("cpid")), (1, pid.to_string().as_str()));
                let_act(guard);
                // Of the last one it is as certain as it can be.
                assert_eq!(oracle::rows(), if gone { vec![] } else { rows });
                drop(double);
                oracle::remove_all();
            }
        }),
        trial("guard::what_its_maker_made_before_stays", || {
            let mut maker = Actor::start();
            maker.number(&format!("create 1234 {} 0", Dump::SIZE));
            let guard = watching(Pid::from_raw(maker.pid()));
            let rows = oracle::rows();
            drop(maker);
            let_act(guard);
            assert_eq!(oracle::rows(), rows);
        }),
    ]
}

/// The guard is hindered itself.
fn helpless() -> Vec<Trial> {
    vec![
        trial("guard::one_that_is_stopped_holds_nothing_up", || {
            let dump = Dump::new();
            let stopped = Stopped::before(1, |call| call.number == libc::SYS_shmat, &["restore", &dump.path]);
            let guard = guard_of(stopped.pid().as_raw()).unwrap();
            stop(&guard);
            let ran = stopped.go_on().exits(0);
            assert_eq!(ran.stdout.trim(), oracle::rows()[0].get("shmid"));
            guard.signal(libc::SIGCONT);
            wait_for("the end of the guard", || !guard.lives());
            assert_eq!(oracle::rows().len(), 1);
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
            assert_eq!(std::fs::read_to_string(guard.proc("comm")).unwrap(), "shmadm-guard\n");
            stopped.go_on().exits(0);
            assert!(!guard.lives());
        }),
        root_trial("guard::where_no_process_is_to_be_had_that_is_told", || {
            let dump = Dump::new();
            let mut command = shmadm_as(LONER);
            let ran = finish(limited(&mut command, Resource::RLIMIT_NPROC, 1).args(["restore", &dump.path]));
            ran.exits(0)
                .says("warning: cannot start a guard")
                .says("Resource temporarily unavailable (EAGAIN, clone)")
                .says("if this command is killed");
        }),
        trial("guard::where_no_pipe_is_to_be_had_that_is_told", || {
            let dump = Dump::new();
            // How many it takes to come so far is not ours to know; with one more of them it restores all the same.
            let told = (4..8).find_map(|most| {
                let mut command = shmadm();
                let ran = finish(limited(&mut command, Resource::RLIMIT_NOFILE, most).args(["restore", &dump.path]));
                (ran.code == Some(0) && ran.stderr.contains("cannot start a guard")).then_some(ran)
            });
            told.unwrap().says("(EMFILE, pipe2)");
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

/// Starts a guard for a maker of a segment like [`Dump`]'s, and returns once it is at work.
fn watching(maker: Pid) -> Running {
    let task = [format!("by={maker}"), "key=0x4d2".to_owned(), format!("size={}", Dump::SIZE)];
    let mut command = shmadm();
    command.arg0("shmadm-guard").args(task).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut guard = Running(command.spawn().unwrap());
    guard.0.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    guard
}

/// Lets a guard know that its maker is gone, and waits until it has done its part.
fn let_act(mut guard: Running) {
    drop(guard.0.stdin.take());
    assert!(guard.0.wait().unwrap().success());
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

/// Stops a process.
fn stop(process: &Holder) {
    process.signal(libc::SIGSTOP);
    let status = || std::fs::read_to_string(process.proc("status")).unwrap();
    wait_for("its stop", || status().contains("State:\tT"));
}

/// Gives the process group that a process is in.
fn group(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// A process with the pid that another one had, which has made a segment with the size and mode of [`Dump`]'s.
struct Double(Option<Pid>);

impl Double {
    /// Makes it (clone3(2)); it waits for its end if it shall stay, and has ended else.
    fn of(pid: Pid, key: i32, stays: bool) -> Self {
        let number = pid.as_raw();
        let set_tid = (&raw const number).addr() as u64;
        // SAFETY: every field is an integer, for which zero is a value.
        let mut wanted: libc::clone_args = unsafe { std::mem::zeroed() };
        wanted.exit_signal = libc::SIGCHLD as u64;
        (wanted.set_tid, wanted.set_tid_size) = (set_tid, 1);
        // SAFETY: the pointers are to live memory of the size that is told; memory is not shared with the child.
        match unsafe { libc::syscall(libc::SYS_clone3, &raw const wanted, size_of::<libc::clone_args>()) } {
            0 => {
                // SAFETY: of a program with several threads a child may call the kernel alone, and does; nobody in it uses
                // a descriptor, and those of this program's pipes would keep others waiting.
                unsafe { libc::syscall(libc::SYS_close_range, 0_u32, u32::MAX, 0_u32) };
                // SAFETY: shmget takes no pointer.
                unsafe { libc::shmget(key, Dump::SIZE, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
                if stays {
                    // SAFETY: as above; signals that are handled come to nobody here.
                    unsafe { libc::pause() };
                }
                // SAFETY: as above.
                unsafe { libc::_exit(0) }
            }
            made => assert_eq!(made, i64::from(number), "clone3: {}", std::io::Error::last_os_error()),
        }
        wait_for("its segment", || !oracle::rows().is_empty());
        if !stays {
            waitpid(pid, None).unwrap();
        }
        // The number of one that was waited for may be a stranger's by now.
        Self(stays.then_some(pid))
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            kill(pid, Signal::SIGKILL).unwrap();
            waitpid(pid, None).unwrap();
        }
    }
}
