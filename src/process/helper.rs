//! What helper processes share: how they are started, and how they answer.

use std::ffi::{CStr, OsStr};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;

use crate::error::{Error, Kind, program};
use crate::explain::without_proc;
use crate::sys;

const THIS_PROGRAM: &str = "/proc/self/exe";

/// Returns a command that executes this program again under a name.
pub(super) fn this_program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(THIS_PROGRAM);
    command.arg0(name);
    command
}

/// Fails if no helper can be started, because /proc is not mounted.
pub(crate) fn check_helpers(message: &str) -> Result<(), Error> {
    std::fs::metadata(THIS_PROGRAM).map(drop).map_err(|error| start_failed(message, &error))
}

/// Returns a command that starts a helper in the background.
pub(super) fn helper(name: &CStr) -> Command {
    let mut command = this_program(OsStr::from_bytes(name.to_bytes()));
    command.current_dir("/").stderr(Stdio::null());
    command
}

/// Detaches this process from its caller: it takes the helper's name, keeps none of the caller's descriptors,
/// and starts a session, so that neither Ctrl-C nor a signal to the caller's process group reaches it.
/// Fails if it cannot take the name.
pub(super) fn become_helper(name: &CStr) -> nix::Result<()> {
    sys::close_inherited();
    // A sandbox can deny prctl(2); then the name is written to /proc.
    let named = nix::sys::prctl::set_name(name)
        .or_else(|errno| std::fs::write("/proc/self/comm", name.to_bytes()).map_err(|_| errno));
    // setsid(2) fails only for a process group leader, which a process that was started by `helper` is not.
    let _ = nix::unistd::setsid();
    named
}

/// Formats a helper's answer: the numbers that its call returned, or the errno.
pub(super) fn format_answer<const N: usize>(answer: Result<[u64; N], Errno>) -> String {
    match answer {
        Ok(numbers) => format!("ok{}\n", numbers.map(|number| format!(" {number}")).concat()),
        Err(errno) => format!("failed {}\n", errno as i32),
    }
}

/// Reads an answer; `None` if the helper has exited instead.
pub(super) fn read_answer<const N: usize>(from: impl Read) -> Option<Result<[u64; N], Errno>> {
    let mut line = String::new();
    BufReader::new(from).read_line(&mut line).ok()?;
    let mut words = line.strip_suffix('\n')?.split(' ');
    match words.next()? {
        "ok" => {
            let numbers: Result<Vec<u64>, _> = words.map(str::parse).collect();
            numbers.ok()?.try_into().ok().map(Ok)
        }
        "failed" => Some(Err(Errno::from_raw(words.next()?.parse().ok()?))),
        _ => None,
    }
}

pub(super) fn exited(message: &str, child: &mut Child) -> Error {
    let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    Error::new(Kind::Failed, format!("{message}: {status}"))
}

pub(super) fn start_failed(message: impl Into<String>, error: &std::io::Error) -> Error {
    let (call, cause, (hint, command)) = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) if Path::new(THIS_PROGRAM).exists() => {
            ("open", "/dev/null does not exist", ("create it", program("mknod -m 666 /dev/null c 1 3").sudo()))
        }
        Some(Errno::ENOENT) => {
            let error = Error::io(message, error, "execve");
            return without_proc(error, "/proc/self/exe is needed to execute this program again");
        }
        Some(Errno::EAGAIN) => (
            "clone",
            "the limit on processes of this user or control group is reached",
            (
                "show the limit of the user (that of a control group is pids.max below /sys/fs/cgroup)",
                program("ulimit -u"),
            ),
        ),
        // The pipe to the helper cannot be created.
        Some(Errno::EMFILE) => {
            ("pipe2", "this process has reached its limit on open files", ("show the limit", program("ulimit -n")))
        }
        Some(Errno::ENFILE) => (
            "pipe2",
            "the system has reached its limit on open files",
            ("show usage and limit", program("sysctl fs.file-nr")),
        ),
        _ => return Error::io(message, error, "execve"),
    };
    Error::io(message, error, call).cause(cause).hint(hint, command)
}
