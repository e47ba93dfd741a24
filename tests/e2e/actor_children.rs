//! What an actor does with children: processes with a certain pid, or that die at a certain moment.
#![expect(unsafe_code, reason = "children are forked, and make the system calls that trials are about")]
#![expect(clippy::disallowed_methods, reason = "actors are processes of their own")]

use std::ffi::c_void;

use nix::errno::Errno;
use nix::libc;

/// Bytes of stack for a process that shares its parent's memory.
const STACK: usize = 64 << 10;

/// Does what a line says; `None` if it is not about children.
pub(crate) fn answer(words: &[&str]) -> Option<String> {
    let number = |place: usize| words[place].parse::<i32>().unwrap();
    let answer = match words[0] {
        "create-as" => {
            let (pid, key, size) = (number(1), number(2), usize::try_from(number(3)).unwrap());
            let create = move || {
                // SAFETY: shmget takes no pointer.
                let id = unsafe { libc::shmget(key, size, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
                i32::from(id < 0)
            };
            // It has exited and been reaped when the answer comes: its pid is free again.
            child_with_pid(pid, create).map_or_else(|errno| format!("{errno:?}"), |pid| reap(pid).to_string())
        }
        "wait-as" => {
            let wait = || {
                // SAFETY: this takes nothing.
                unsafe { libc::pause() }
            };
            child_with_pid(number(1), wait).map_or_else(|errno| format!("{errno:?}"), |pid| pid.to_string())
        }
        "create-and-die" => {
            let (key, size) = (number(1), usize::try_from(number(2)).unwrap());
            let create = move || {
                // SAFETY: shmget takes no pointer.
                unsafe { libc::shmget(key, size, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
                // SAFETY: this takes integers, and `std::process::id` is this process's.
                unsafe { libc::kill(std::process::id().cast_signed(), libc::SIGKILL) }
            };
            child_with_pid(0, create).map_or_else(|errno| format!("{errno:?}"), |pid| reap(pid).to_string())
        }
        "reap" => reap(number(1)).to_string(),
        "open-as" => {
            let (pid, key) = (number(1), number(2));
            let open = move || {
                // SAFETY: shmget takes no pointer.
                let id = unsafe { libc::shmget(key, 0, libc::IPC_CREAT | 0o600) };
                i32::from(id < 0)
            };
            child_with_pid(pid, open).map_or_else(|errno| format!("{errno:?}"), |pid| reap(pid).to_string())
        }
        "open-or-create" => {
            // SAFETY: shmget takes no pointer.
            unsafe { libc::shmget(number(1), usize::try_from(number(2)).unwrap(), libc::IPC_CREAT | 0o600) }.to_string()
        }
        "fork-without-leader" => {
            let (key, size) = (number(1), usize::try_from(number(2)).unwrap());
            let work = move || create_without_leader(key, size);
            child_with_pid(0, work).map_or_else(|errno| format!("{errno:?}"), |pid| pid.to_string())
        }
        "exec-beside-create" => {
            let rounds = number(1);
            child_with_pid(0, move || create_until_exec(rounds))
                .map_or_else(|errno| format!("{errno:?}"), |pid| reap(pid).to_string())
        }
        "create-traced" => {
            let (key, size) = (number(1), usize::try_from(number(2)).unwrap());
            let create = move || {
                // SAFETY: the request takes nothing.
                unsafe { libc::ptrace(libc::PTRACE_TRACEME) };
                // SAFETY: shmget takes no pointer.
                let id = unsafe { libc::shmget(key, size, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
                i32::from(id < 0)
            };
            child_with_pid(0, create).map_or_else(|errno| format!("{errno:?}"), |pid| reap(pid).to_string())
        }
        "fork" => fork(false).to_string(),
        "clone-vm" => fork(true).to_string(),
        _ => return None,
    };
    Some(answer)
}

/// Forks a child with a certain pid, or any if that is 0 (clone3(2)), that runs `work` and exits with its result. It is killed
/// with this process.
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

/// Has this thread exit, and another one of the process create a segment after that and stay.
fn create_without_leader(key: i32, size: usize) -> i32 {
    let leader = format!("/proc/self/task/{}/stat", std::process::id());
    let create = move || {
        let exited = || std::fs::read_to_string(&leader).is_ok_and(|stat| stat.contains(") Z "));
        crate::support::wait_for("the first thread's exit", exited);
        // SAFETY: shmget takes no pointer.
        unsafe { libc::shmget(key, size, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
        loop {
            std::thread::park();
        }
    };
    std::thread::Builder::new().spawn(create).unwrap();
    // SAFETY: exit(2) ends only this thread, which owns nothing that the other one uses.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}

/// Creates and removes segments until another thread of this process executes a program, which it does after some rounds.
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

/// Makes a child that waits until this process has exited; it has a copy of the memory, or shares it.
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
