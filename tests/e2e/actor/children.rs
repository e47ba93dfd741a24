//! Children of an actor: processes with a certain pid, or that die at a certain moment.
#![expect(unsafe_code, reason = "children are forked, and make the system calls under test")]
#![expect(clippy::disallowed_methods, reason = "actors are processes of their own")]

use std::ffi::c_void;
use std::io::{PipeWriter, Read, Write};

use nix::errno::Errno;
use nix::libc;

use super::ChildRequest;

/// Bytes of stack for a process that shares its parent's memory.
const STACK: usize = 64 << 10;

/// Executes a request and returns the answer.
pub(super) fn answer(request: &ChildRequest) -> String {
    let result = match *request {
        ChildRequest::CreateAs { pid, key, size } => run_child(pid, || create(key, size)),
        ChildRequest::OpenAs { pid, key } => run_child(pid, || shmget(key, 0, libc::IPC_CREAT)),
        ChildRequest::CreateFileAs { pid, ref path } => {
            run_child(pid, || i32::from(std::fs::File::create_new(path).is_err()))
        }
        ChildRequest::StartAs { pid } => child_with_pid(pid, || {
            // SAFETY: pause(2) takes nothing.
            unsafe { libc::pause() }
        }),
        ChildRequest::CreateAndDie { key, size } => run_child(0, || {
            create(key, size);
            // SAFETY: kill(2) takes integers, and `std::process::id` is this process's.
            unsafe { libc::kill(std::process::id().cast_signed(), libc::SIGKILL) }
        }),
        ChildRequest::CreateTraced { key, size } => run_child(0, || {
            // SAFETY: the request takes nothing.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME) };
            create(key, size)
        }),
        ChildRequest::CreateWithoutLeader { key, size } => create_without_leader(key, size),
        ChildRequest::CreateUntilExec { rounds } => run_child(0, || create_until_exec(rounds)),
        ChildRequest::Reap { pid } => Ok(reap(pid)),
        ChildRequest::Fork => Ok(fork(false)),
        ChildRequest::CloneVm => Ok(fork(true)),
    };
    result.map_or_else(|errno| format!("{errno:?}"), |number| number.to_string())
}

/// Creates a segment; returns the exit code of a child that does so.
fn create(key: u32, size: usize) -> i32 {
    shmget(key, size, libc::IPC_CREAT | libc::IPC_EXCL)
}

/// Returns 0, or 1 if the call fails.
fn shmget(key: u32, size: usize, flags: i32) -> i32 {
    // SAFETY: shmget takes no pointer.
    i32::from(unsafe { libc::shmget(key.cast_signed(), size, flags | 0o600) } < 0)
}

/// Waits for a child that runs `work`; once this returns, its pid is free again.
fn run_child(pid: i32, work: impl Fn() -> i32) -> nix::Result<i32> {
    child_with_pid(pid, work).map(reap)
}

/// Forks a child that runs `work` and exits with its result. It gets the pid (clone3(2)), unless that is 0. It is
/// killed with this process.
fn child_with_pid(pid: i32, work: impl Fn() -> i32) -> nix::Result<i32> {
    // SAFETY: every field is an integer, for which zero is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if pid != 0 {
        (arguments.set_tid, arguments.set_tid_size) = ((&raw const pid).addr() as u64, 1);
    }
    // SAFETY: the pointers are to live memory of the size that is passed; memory is not shared with the child.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) } {
        0 => {
            // SAFETY: this takes integers only.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let result = work();
            // SAFETY: an actor has one thread, so that its child may do as it likes.
            unsafe { libc::_exit(result) }
        }
        child => Errno::result(child).map(|child| i32::try_from(child).unwrap()),
    }
}

/// Starts a child whose second thread creates a segment after the first has exited, and waits until that call returned.
fn create_without_leader(key: u32, size: usize) -> nix::Result<i32> {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let child = child_with_pid(0, || exit_and_create(key, size, &writer))?;
    drop(writer);
    reader.read_exact(&mut [0]).unwrap();
    Ok(child)
}

/// Exits this thread; another thread of the process creates a segment after that, writes a byte and waits.
fn exit_and_create(key: u32, size: usize, created: &PipeWriter) -> i32 {
    let mut created = created.try_clone().unwrap();
    let leader = format!("/proc/self/task/{}/stat", std::process::id());
    let create = move || {
        let exited = || std::fs::read_to_string(&leader).is_ok_and(|stat| stat.contains(") Z "));
        crate::support::wait_for("the first thread's exit", exited);
        create(key, size);
        created.write_all(&[0]).unwrap();
        loop {
            std::thread::park();
        }
    };
    std::thread::Builder::new().spawn(create).unwrap();
    // SAFETY: exit(2) ends only this thread, which owns nothing that the other one uses.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}

/// Creates and removes segments until another thread of this process calls execve(2), after some rounds.
fn create_until_exec(rounds: i32) -> i32 {
    let (sender, receiver) = std::sync::mpsc::channel();
    let exec = move || {
        // The sender ends with this process.
        let _ = receiver.recv();
        nix::unistd::execv(c"/bin/true", &[c"true"])
    };
    std::thread::Builder::new().spawn(exec).unwrap();
    for round in 0.. {
        // SAFETY: shmget takes no pointer.
        let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) };
        // SAFETY: IPC_RMID ignores the pointer.
        unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
        if round == rounds {
            sender.send(()).unwrap();
        }
    }
    unreachable!()
}

/// Waits for a child, and returns its exit code, or the negative number of the signal that killed it.
fn reap(pid: i32) -> i32 {
    match nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap() {
        nix::sys::wait::WaitStatus::Exited(_, code) => code,
        nix::sys::wait::WaitStatus::Signaled(_, signal, _) => -(signal as i32),
        other => panic!("{other:?}"),
    }
}

/// Starts a child that waits until this process has exited; it has a copy of the memory, or shares it.
fn fork(share: bool) -> i32 {
    extern "C" fn wait(parent: *mut c_void) -> i32 {
        // SAFETY: this takes only integers, and uses no memory that another process changes.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        // SAFETY: this takes nothing.
        let now = unsafe { libc::getppid() };
        // A parent that exited before the call above causes no signal.
        while usize::try_from(now) == Ok(parent.addr()) {
            // SAFETY: this takes nothing.
            unsafe { libc::pause() };
        }
        0
    }
    let stack = Box::leak(vec![0_u8; STACK].into_boxed_slice());
    let top = stack.as_mut_ptr().wrapping_add(STACK & !15);
    let flags = libc::SIGCHLD | if share { libc::CLONE_VM } else { 0 };
    let parent = std::ptr::without_provenance_mut(usize::try_from(std::process::id()).unwrap());
    // SAFETY: the stack is the child's, and is never freed; `wait` uses no other memory, and `parent` is a number.
    unsafe { libc::clone(wait, top.cast(), flags, parent) }
}
