//! Processes that do what a trial tells them, a line at a time: the test program itself, executed anew.
#![expect(unsafe_code, reason = "actors make the system calls that trials are about")]
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

use crate::support::{Running, mount_tmpfs};

/// The word by which the test program knows that it is an actor.
const ROLE: &str = "--actor";

/// An actor that waits for lines; it ends with this.
#[derive(Debug)]
pub(crate) struct Actor {
    /// The process.
    running: Running,
    /// Its lines.
    stdin: Option<ChildStdin>,
    /// Its answers.
    stdout: BufReader<ChildStdout>,
}

impl Actor {
    /// Starts one in the namespaces of this thread.
    pub(crate) fn start() -> Self {
        Self::spawn(&mut Command::new("/proc/self/exe"))
    }

    /// Starts one by a command that was prepared for it.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.arg(ROLE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut actor = Self { running: Running(child), stdin, stdout };
        actor.say("hello");
        actor
    }

    /// Gives its pid.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.running.0.id()).unwrap()
    }

    /// Tells it something, and gives its answer.
    #[track_caller]
    pub(crate) fn say(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer(line)
    }

    /// Tells it something to which there may be no answer.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for its answer.
    #[track_caller]
    fn answer(&mut self, line: &str) -> String {
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "the actor ended over {line:?}");
        answer.trim_end().to_owned()
    }

    /// Tells it something, and gives its answer as a number.
    #[track_caller]
    pub(crate) fn number(&mut self, line: &str) -> i32 {
        let answer = self.say(line);
        answer.parse().unwrap_or_else(|_| panic!("{line:?} gave {answer:?}"))
    }

    /// Says nothing more to it.
    pub(crate) fn end_input(&mut self) {
        drop(self.stdin.take());
    }

    /// Has it end by itself, and waits until it is gone.
    pub(crate) fn leave(mut self) -> i32 {
        let pid = self.pid();
        drop(self.stdin.take());
        self.running.0.wait().unwrap();
        pid
    }
}

/// Is an actor, if the program was started as one; does not return then.
pub(crate) fn act_if_told() -> bool {
    if std::env::args().nth(1).as_deref() != Some(ROLE) {
        return false;
    }
    Performer::default().perform();
    true
}

/// What an actor has done so far; a thread can hand it to another one, and exit.
#[derive(Default)]
struct Performer {
    /// The address and size of each attachment, the oldest first.
    attached: Vec<(usize, usize)>,
    /// Threads that run until their channel is closed.
    threads: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl Performer {
    /// Reads lines and does what they say, until there are no more.
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

    /// Continues in another thread, and ends this one, which must be the leader.
    fn hand_over(self) {
        std::thread::spawn(|| {
            say("0");
            self.perform();
            std::process::exit(0);
        });
        // SAFETY: exit(2) ends this thread only, which owns nothing that the other one uses.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }

    /// Does what a line says; returns the answer.
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
                // As whoever makes a container without being root: he is root in it, and nobody else is anybody.
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
                // Version 3 of the header, this thread, and two times three sets of nothing.
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
            other => crate::actor_children::answer(words).unwrap_or_else(|| panic!("an actor cannot {other}")),
        }
    }
}

/// Answers.
#[expect(clippy::print_stdout, reason = "an actor's answers")]
fn say(answer: &str) {
    println!("{answer}");
}

/// Gives 0, or the errno's name.
fn outcome(result: nix::Result<()>) -> String {
    result.map_or_else(|errno| format!("{errno:?}"), |()| "0".to_owned())
}

/// Maps a page of a file, shared.
fn map(file: i32) -> String {
    // SAFETY: the kernel finds room of its own.
    let address = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file, 0)
    };
    format!("{address:p}")
}

/// Maps a file that shows as one of the root, on a file system of our own; gives its inode number.
fn forge(name: &str) -> u64 {
    mount_tmpfs(None);
    let path = format!("/mnt/{name}");
    std::fs::write(&path, [0; 4096]).unwrap();
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    map(file.as_raw_fd());
    // With its mount gone from the tree, the file's path begins there.
    umount2("/mnt", MntFlags::MNT_DETACH).unwrap();
    std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap())
}
