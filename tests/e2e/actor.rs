//! Processes that execute a test's requests. An actor is the test program, executed again.
#![expect(unsafe_code, reason = "actors make the system calls under test")]
#![expect(clippy::disallowed_methods, reason = "actors are processes of their own")]

mod calls;
mod children;
mod mappings;
mod requests;

use std::ffi::c_void;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};

pub(crate) use mappings::filled_memfd;
use mappings::{forge, map, map_populated};
pub(crate) use requests::{CallRequest, ChildRequest, Line, Request};

use crate::dying::missing_page;
use crate::fixtures::process_status;
use crate::oracle;
use crate::support::{Running, wait_for};

/// The argument that starts the test program as an actor.
const ROLE: &str = "--actor";

/// An actor; dropping this ends it.
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

    /// Starts an actor whose process has a name.
    pub(crate) fn named(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join(name);
        std::os::unix::fs::symlink("/proc/self/exe", &program).unwrap();
        Self::spawn(&mut Command::new(program))
    }

    /// Starts an actor with a prepared command.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.arg(ROLE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut actor = Self { running: Running(child), stdin, stdout };
        actor.ask(Request::Hello);
        actor
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.running.0.id()).unwrap()
    }

    /// Sends a request and returns the answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: impl Line) -> String {
        self.send(&request);
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "the actor exited at {request}");
        answer.trim_end().to_owned()
    }

    /// Sends a request that may have no answer.
    pub(crate) fn send(&mut self, request: &impl Line) {
        writeln!(self.stdin.as_mut().unwrap(), "{request}").unwrap();
    }

    /// Sends a request and returns the answer as a number.
    #[track_caller]
    pub(crate) fn number(&mut self, request: impl Line) -> i32 {
        let line = request.to_string();
        let answer = self.ask(request);
        answer.parse().unwrap_or_else(|_| panic!("{line} was answered with {answer:?}"))
    }

    /// Creates a segment and returns its id; key 0 is IPC_PRIVATE.
    #[track_caller]
    pub(crate) fn create(&mut self, key: u32, size: usize) -> i32 {
        self.create_with(key, size, 0)
    }

    /// Creates a segment with flags of shmget(2) in addition to the mode 0600.
    #[track_caller]
    pub(crate) fn create_with(&mut self, key: u32, size: usize, flags: i32) -> i32 {
        let id = self.number(Request::Create { key, size, flags });
        assert!(id >= 0, "the actor cannot create a segment with key {key}");
        id
    }

    /// Attaches a segment and returns the address.
    #[track_caller]
    pub(crate) fn attach(&mut self, id: i32) -> String {
        let address = self.ask(Request::Attach { id });
        assert_ne!(address, format!("{:#x}", usize::MAX), "the actor cannot attach segment {id}");
        address
    }

    /// Detaches the segment that it attached last.
    #[track_caller]
    pub(crate) fn detach(&mut self) {
        assert_eq!(self.number(Request::Detach), 0);
    }

    #[track_caller]
    pub(crate) fn remove(&mut self, id: i32) {
        assert_eq!(self.number(Request::Remove { id }), 0);
    }

    /// Enters a new IPC namespace.
    #[track_caller]
    pub(crate) fn unshare(&mut self) {
        assert_eq!(self.ask(Request::Unshare), "0");
    }

    /// Enters a new user namespace, in which its uid is root's, and a new IPC namespace.
    #[track_caller]
    pub(crate) fn unshare_user(&mut self) {
        assert_eq!(self.ask(Request::UnshareUser), "0");
    }

    /// Enters the IPC namespace of a file.
    #[track_caller]
    pub(crate) fn enter(&mut self, path: impl Into<String>) {
        assert_eq!(self.ask(Request::Enter { path: path.into() }), "0");
    }

    /// Returns the inode number of its IPC namespace.
    #[track_caller]
    pub(crate) fn namespace(&mut self) -> u64 {
        self.ask(Request::Namespace).parse().unwrap()
    }

    /// Ends the actor's first thread, and continues in another.
    pub(crate) fn exit_leader(&mut self) {
        self.exit_leader_of(self.pid());
    }

    /// The same for an actor that another program has started.
    pub(crate) fn exit_leader_of(&mut self, pid: i32) {
        assert_eq!(self.ask(Request::ExitLeader), "0");
        wait_for("the leader to exit", || process_status(pid, "State").starts_with('Z'));
    }

    /// Ends the first thread that the actor has started, and waits until it has exited.
    pub(crate) fn end_thread(&mut self) {
        let tasks = format!("/proc/{}/task", self.pid());
        let count = || std::fs::read_dir(&tasks).unwrap().count();
        let before = count();
        assert_eq!(self.ask(Request::EndThread), "0");
        wait_for("the thread to exit", || count() < before);
    }

    /// Closes the actor's standard input.
    pub(crate) fn end_input(&mut self) {
        drop(self.stdin.take());
    }

    /// Closes the actor's standard input, waits for its exit, and returns its pid.
    pub(crate) fn leave(mut self) -> i32 {
        let pid = self.pid();
        drop(self.stdin.take());
        self.running.0.wait().unwrap();
        pid
    }
}

/// Runs as an actor and does not return, if the program was started as one.
pub(crate) fn run_actor_role() -> bool {
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
    /// Executes requests until the end of the input.
    fn perform(mut self) {
        let mut line = String::new();
        // Not `lines`, which would keep standard input locked after this thread has exited.
        while std::io::stdin().read_line(&mut line).unwrap() > 0 {
            let text = line.trim_end_matches('\n');
            let answer = match (text.parse(), text.parse(), text.parse()) {
                (Ok(Request::ExitLeader), ..) => return self.hand_over(),
                (Ok(request), ..) => self.answer(request),
                (_, Ok(request), _) => children::answer(&request),
                (.., Ok(request)) => calls::answer(&request),
                (Err(problem), ..) => panic!("{problem}"),
            };
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

    /// Executes a request and returns the answer.
    fn answer(&mut self, request: Request) -> String {
        match request {
            Request::Hello => "ready".to_owned(),
            Request::Create { key, size, flags } => {
                let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600 | flags;
                // SAFETY: shmget takes no pointer.
                unsafe { libc::shmget(key.cast_signed(), size, flags) }.to_string()
            }
            Request::OpenOrCreate { key, size } => {
                // SAFETY: shmget takes no pointer.
                unsafe { libc::shmget(key.cast_signed(), size, libc::IPC_CREAT | 0o600) }.to_string()
            }
            Request::FirstId => oracle::rows()[0].get("shmid").to_owned(),
            Request::Attach { id } => self.attach(id, 0, 0),
            Request::AttachReadOnly { id } => self.attach(id, 0, libc::SHM_RDONLY),
            Request::AttachAt { id, address } => self.attach(id, address, 0),
            Request::Detach => {
                let address = std::ptr::with_exposed_provenance(self.attached.pop().unwrap().0);
                // SAFETY: the address is the one that shmat gave, and nothing uses it any more.
                unsafe { libc::shmdt(address) }.to_string()
            }
            Request::Remove { id } => {
                // SAFETY: IPC_RMID ignores the pointer.
                unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }.to_string()
            }
            Request::SplitMapping => {
                let address = std::ptr::with_exposed_provenance_mut::<c_void>(self.attached[0].0);
                // SAFETY: the page is the second of an attachment, which nothing uses.
                unsafe { libc::mprotect(address.wrapping_byte_add(4096), 4096, libc::PROT_READ) }.to_string()
            }
            Request::MissingPage => {
                let (file, page) = missing_page();
                format!("{} {page}", file.into_raw_fd())
            }
            Request::Unshare => outcome(unshare(CloneFlags::CLONE_NEWIPC)),
            Request::UnshareUser => {
                // As an unprivileged user creates a container: this uid is mapped to root, and no other uid is mapped.
                let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
                let result = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWIPC);
                std::fs::write("/proc/self/setgroups", "deny").unwrap();
                std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).unwrap();
                std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).unwrap();
                outcome(result)
            }
            Request::Namespace => {
                std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/self/ns/ipc").unwrap()).to_string()
            }
            Request::Enter { path } => outcome(setns(std::fs::File::open(path).unwrap(), CloneFlags::CLONE_NEWIPC)),
            Request::UnshareInThread => {
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
            Request::StartThread => {
                let (sender, receiver) = std::sync::mpsc::channel();
                let thread = std::thread::spawn(move || {
                    let _ = receiver.recv();
                });
                self.threads.push((sender, thread));
                "0".to_owned()
            }
            Request::EndThread => {
                let (sender, thread) = self.threads.remove(0);
                drop(sender);
                thread.join().unwrap();
                "0".to_owned()
            }
            Request::SetUid { uid } => {
                // SAFETY: the call takes an integer; unlike the C library's, it changes this thread only.
                unsafe { libc::syscall(libc::SYS_setuid, uid) }.to_string()
            }
            Request::MapFile { path } => {
                let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
                map(file.as_raw_fd())
            }
            Request::OpenFile { path } => {
                std::fs::File::options().read(true).write(true).open(path).unwrap().into_raw_fd().to_string()
            }
            Request::LeaseFile { path } => {
                // The kernel sends SIGIO when another process opens the file.
                // SAFETY: no handler runs for an ignored signal.
                unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
                let file = std::fs::File::open(path).unwrap().into_raw_fd();
                // SAFETY: F_SETLEASE takes an integer.
                unsafe { libc::fcntl(file, libc::F_SETLEASE, libc::F_WRLCK) }.to_string()
            }
            Request::CloseFile { descriptor } => outcome(nix::unistd::close(descriptor)),
            Request::DropCapabilities => {
                // Version 3 of the header, this thread, and two halves of three empty sets.
                let (header, sets) = ([0x2008_0522_u32, 0], [0_u32; 6]);
                // SAFETY: both pointers are to live memory of the size that this version has.
                unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }.to_string()
            }
            Request::MapForged { name } => forge(&name).to_string(),
            Request::MapMemfd { name } => {
                let name = std::ffi::CString::new(name).unwrap();
                let file = nix::sys::memfd::memfd_create(name.as_c_str(), nix::sys::memfd::MFdFlags::empty()).unwrap();
                nix::unistd::ftruncate(&file, 4096).unwrap();
                map(file.into_raw_fd())
            }
            Request::HoldMemfd { size, mapped } => {
                let file = filled_memfd(size);
                if mapped { map_populated(size, file.as_raw_fd()) } else { file.into_raw_fd().to_string() }
            }
            Request::MapAnonymous { size } => map_populated(size, -1),
            Request::ExitLeader => unreachable!("it has no answer of this thread"),
        }
    }

    /// Attaches a segment, at an address unless that is 0, and returns the address.
    fn attach(&mut self, id: i32, address: usize, flags: i32) -> String {
        // SAFETY: without SHM_REMAP the kernel replaces no mapping.
        let address = unsafe { libc::shmat(id, std::ptr::without_provenance(address), flags) };
        // SAFETY: every field is an integer, for which zero is a value.
        let mut record: libc::shmid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a whole record.
        unsafe { libc::shmctl(id, libc::IPC_STAT, &raw mut record) };
        self.attached.push((address.expose_provenance(), record.shm_segsz));
        format!("{address:p}")
    }
}

/// Writes an answer.
#[expect(clippy::print_stdout, reason = "an actor's answers")]
fn say(answer: &str) {
    println!("{answer}");
}

/// Returns "0", or the name of the errno.
fn outcome(result: nix::Result<()>) -> String {
    result.map_or_else(|errno| format!("{errno:?}"), |()| "0".to_owned())
}
