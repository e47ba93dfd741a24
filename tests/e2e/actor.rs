//! Processes that execute a test's instructions, one line each. An actor is the test program, executed again.
#![expect(unsafe_code, reason = "actors make the system calls under test")]
#![expect(clippy::disallowed_methods, reason = "actors are processes of their own")]

use std::ffi::c_void;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use nix::libc;
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::support::{Running, mount_tmpfs, wait_for};

/// The argument that starts the test program as an actor.
const ROLE: &str = "--actor";

/// An actor that reads lines; dropping this ends it.
#[derive(Debug)]
pub(crate) struct Actor {
    running: Running,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Actor {
    /// Starts an actor in the namespaces of this thread.
    pub(crate) fn start() -> Self {
        Self::spawn(&mut Command::new("/proc/self/exe"))
    }

    /// Starts an actor with a prepared command.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.arg(ROLE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut actor = Self { running: Running(child), stdin, stdout };
        actor.say("hello");
        actor
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.running.0.id()).unwrap()
    }

    /// Sends a line and returns the answer.
    #[track_caller]
    pub(crate) fn say(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer(line)
    }

    /// Sends a line that may have no answer.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for an answer.
    #[track_caller]
    fn answer(&mut self, line: &str) -> String {
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "the actor exited at {line:?}");
        answer.trim_end().to_owned()
    }

    /// Sends a line and returns the answer as a number.
    #[track_caller]
    pub(crate) fn number(&mut self, line: &str) -> i32 {
        let answer = self.say(line);
        answer.parse().unwrap_or_else(|_| panic!("{line:?} was answered with {answer:?}"))
    }

    /// Ends the actor's first thread, and continues in another.
    pub(crate) fn exit_leader(&mut self) {
        assert_eq!(self.say("leader-exit"), "0");
        wait_for("the leader to exit", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('Z')
        });
    }

    /// Ends the first thread that the actor has started, and waits until it has exited.
    pub(crate) fn end_thread(&mut self) {
        let tasks = format!("/proc/{}/task", self.pid());
        let count = || std::fs::read_dir(&tasks).unwrap().count();
        let before = count();
        assert_eq!(self.say("end-thread"), "0");
        wait_for("the thread to exit", || count() < before);
    }

    /// Closes the actor's standard input.
    pub(crate) fn end_input(&mut self) {
        drop(self.stdin.take());
    }

    /// Lets the actor exit, and waits for it.
    pub(crate) fn leave(mut self) -> i32 {
        let pid = self.pid();
        drop(self.stdin.take());
        self.running.0.wait().unwrap();
        pid
    }
}

/// Runs as an actor and does not return, if the program was started as one.
pub(crate) fn act_if_told() -> bool {
    if std::env::args().nth(1).as_deref() != Some(ROLE) {
        return false;
    }
    Performer::default().perform();
    true
}

/// An actor's state; a thread can hand it to another thread and exit.
#[derive(Default)]
struct Performer {
    /// The address and size of each attachment, oldest first.
    attached: Vec<(usize, usize)>,
    /// Threads that run until their channel closes.
    threads: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl Performer {
    /// Reads lines and executes them until the end of the input.
    fn perform(mut self) {
        let mut line = String::new();
        // Not `lines`, which would keep standard input locked after this thread has exited.
        while std::io::stdin().read_line(&mut line).unwrap() > 0 {
            let words: Vec<&str> = line.trim_end_matches('\n').split(' ').collect();
            if words == ["leader-exit"] {
                return self.hand_over();
            }
            let answer = self.answer(&words);
            say(&answer);
            line.clear();
        }
    }

    /// Continues in another thread and exits this one, which must be the leader.
    fn hand_over(self) {
        std::thread::spawn(|| {
            say("0");
            self.perform();
            std::process::exit(0);
        });
        // SAFETY: exit(2) ends only this thread, which owns nothing that the other one uses.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }

    /// Executes a line and returns the answer.
    fn answer(&mut self, words: &[&str]) -> String {
        let number = |place: usize| words[place].parse::<i32>().unwrap();
        match words[0] {
            "hello" => "ready".to_owned(),
            "create" => {
                let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600 | number(3);
                // SAFETY: shmget takes no pointer.
                unsafe { libc::shmget(number(1), usize::try_from(number(2)).unwrap(), flags) }.to_string()
            }
            "find-id" => crate::oracle::rows()[0].get("shmid").to_owned(),
            "attach" => {
                let flags = if words.get(2) == Some(&"ro") { libc::SHM_RDONLY } else { 0 };
                let wanted = words.get(2).and_then(|word| usize::from_str_radix(word.strip_prefix("0x")?, 16).ok());
                let wanted = std::ptr::without_provenance(wanted.unwrap_or(0));
                // SAFETY: without SHM_REMAP the kernel replaces no mapping.
                let address = unsafe { libc::shmat(number(1), wanted, flags) };
                // SAFETY: every field is an integer, for which zero is a value.
                let mut record: libc::shmid_ds = unsafe { std::mem::zeroed() };
                // SAFETY: the pointer is to a whole record.
                unsafe { libc::shmctl(number(1), libc::IPC_STAT, &raw mut record) };
                self.attached.push((address.expose_provenance(), record.shm_segsz));
                format!("{address:p}")
            }
            "detach" => {
                let address = std::ptr::with_exposed_provenance(self.attached.pop().unwrap().0);
                // SAFETY: the address is the one that shmat gave, and nothing uses it any more.
                unsafe { libc::shmdt(address) }.to_string()
            }
            "remove" => {
                // SAFETY: IPC_RMID ignores the pointer.
                unsafe { libc::shmctl(number(1), libc::IPC_RMID, std::ptr::null_mut()) }.to_string()
            }
            "split" => {
                let address = std::ptr::with_exposed_provenance_mut::<c_void>(self.attached[0].0);
                // SAFETY: the page is the second of an attachment, which nothing uses.
                unsafe { libc::mprotect(address.wrapping_byte_add(4096), 4096, libc::PROT_READ) }.to_string()
            }
            "unshare" => outcome(unshare(CloneFlags::CLONE_NEWIPC)),
            "unshare-user" => {
                // As an unprivileged user creates a container: this uid is mapped to root, and no other uid is mapped.
                let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
                let result = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWIPC);
                std::fs::write("/proc/self/setgroups", "deny").unwrap();
                std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).unwrap();
                std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).unwrap();
                outcome(result)
            }
            "namespace" => {
                std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/self/ns/ipc").unwrap()).to_string()
            }
            "enter" => outcome(setns(std::fs::File::open(words[1]).unwrap(), CloneFlags::CLONE_NEWIPC)),
            "thread-unshare" => {
                let (sender, receiver) = std::sync::mpsc::channel();
                std::thread::Builder::new()
                    .spawn(move || {
                        sender.send(outcome(unshare(CloneFlags::CLONE_NEWIPC))).unwrap();
                        loop {
                            std::thread::park();
                        }
                    })
                    .unwrap();
                receiver.recv().unwrap()
            }
            "thread" => {
                let (sender, receiver) = std::sync::mpsc::channel();
                let thread = std::thread::spawn(move || {
                    let _ = receiver.recv();
                });
                self.threads.push((sender, thread));
                "0".to_owned()
            }
            "end-thread" => {
                let (sender, thread) = self.threads.remove(0);
                drop(sender);
                thread.join().unwrap();
                "0".to_owned()
            }
            "become" => {
                // SAFETY: the call takes an integer; unlike the C library's, it changes this thread only.
                unsafe { libc::syscall(libc::SYS_setuid, number(1)) }.to_string()
            }
            "map" => {
                let file = std::fs::File::options().read(true).write(true).open(words[1]).unwrap();
                map(file.as_raw_fd())
            }
            "drop-rights" => {
                // Version 3 of the header, this thread, and two times three empty sets.
                let (header, sets) = ([0x2008_0522_u32, 0], [0_u32; 6]);
                // SAFETY: both pointers are to live memory of the size that this version has.
                unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }.to_string()
            }
            "forge" => forge(words[1]).to_string(),
            "memfd" => {
                let name = std::ffi::CString::new(words[1]).unwrap();
                let file = nix::sys::memfd::memfd_create(name.as_c_str(), nix::sys::memfd::MFdFlags::empty()).unwrap();
                nix::unistd::ftruncate(&file, 4096).unwrap();
                map(file.into_raw_fd())
            }
            other => crate::actor_children::answer(words).unwrap_or_else(|| panic!("an actor does not know {other:?}")),
        }
    }
}

/// Answers.
#[expect(clippy::print_stdout, reason = "an actor's answers")]
fn say(answer: &str) {
    println!("{answer}");
}

/// Returns "0", or the name of the errno.
fn outcome(result: nix::Result<()>) -> String {
    result.map_or_else(|errno| format!("{errno:?}"), |()| "0".to_owned())
}

/// Maps a page of a file, shared.
fn map(file: i32) -> String {
    // SAFETY: the kernel chooses an unused address.
    let address = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file, 0)
    };
    format!("{address:p}")
}

/// Maps a file that appears as one of the root directory, on a private file system; returns its inode number.
fn forge(name: &str) -> u64 {
    mount_tmpfs(None);
    let path = format!("/mnt/{name}");
    std::fs::write(&path, [0; 4096]).unwrap();
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    map(file.as_raw_fd());
    // Once its mount is detached, the file's path starts there.
    umount2("/mnt", MntFlags::MNT_DETACH).unwrap();
    std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap())
}
