//! Benchmarks of `trace` against no tracer and strace(1).

use nix::libc;

use crate::timing::{Job, SHMADM, compare};

/// The first argument of a process that attaches and detaches a segment repeatedly.
pub(crate) const ATTACHER: &str = "attach-repeatedly";
/// The calls of that process: shmat and shmdt alternately.
const CALLS: usize = 100_000;
/// A shell that starts 2,000 short processes.
const LOAD: &[&str] = &["sh", "-c", "i=0; while [ $i -lt 2000 ]; do /bin/true; i=$((i + 1)); done"];

/// Compares a load of short processes without shared memory, and a loop of calls on a segment.
pub(crate) fn run(pairs: usize) {
    println!("-- trace of 2,000 short processes");
    let ours = [SHMADM, "trace", "-o", "/dev/null", "--"];
    let strace = ["strace", "-f", "-e", "trace=%ipc", "-o", "/dev/null"];
    let filtered = ["strace", "-f", "--seccomp-bpf", "-e", "trace=%ipc", "-o", "/dev/null"];
    let load = |tracer: &[&str]| Job::new(&[tracer, LOAD].concat());
    compare("trace : bare", &load(&ours), &load(&[]), pairs, Some(1.5));
    compare("trace : strace", &load(&ours), &load(&strace), pairs, Some(1.0));
    compare("trace : strace --seccomp-bpf", &load(&ours), &load(&filtered), pairs, None);
    compare("strace : bare", &load(&strace), &load(&[]), pairs, None);
    compare("strace --seccomp-bpf : bare", &load(&filtered), &load(&[]), pairs, None);
    println!("-- trace of {CALLS} calls of shmat and shmdt");
    let program = std::env::current_exe().unwrap();
    let attacher = [program.to_str().unwrap(), ATTACHER];
    let attach = |tracer: &[&str]| Job::new(&[tracer, &attacher].concat());
    compare("trace : strace", &attach(&ours), &attach(&strace), pairs, Some(1.0));
    compare("trace : strace --seccomp-bpf", &attach(&ours), &attach(&filtered), pairs, Some(1.0));
    compare("trace --json : strace", &attach(&[&ours[..4], &["--json", "--"]].concat()), &attach(&strace), pairs, None);
    compare("trace : bare", &attach(&ours), &attach(&[]), pairs, None);
}

/// Runs as a process that attaches and detaches a segment repeatedly.
#[expect(unsafe_code, reason = "the calls to measure")]
#[expect(clippy::disallowed_methods, reason = "the calls to measure")]
pub(crate) fn attach_repeatedly() {
    // SAFETY: shmget takes no pointer.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) };
    for _ in 0..CALLS / 2 {
        // SAFETY: the kernel chooses an unused address.
        let address = unsafe { libc::shmat(id, std::ptr::null(), 0) };
        // SAFETY: nothing uses the attachment.
        assert_eq!(unsafe { libc::shmdt(address) }, 0);
    }
    // SAFETY: IPC_RMID ignores the pointer.
    unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
}
