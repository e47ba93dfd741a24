//! The launcher: this program executed anew, which gives a command of the user's the signals and streams that our caller left
//! us, and becomes that command.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{PipeWriter, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::execvp;

use super::start_failed;
use crate::error::{Error, Kind};
use crate::query::LAUNCHER_NAME;
use crate::sys::{self, Inherited};

/// The exit code of a command that does not exist, as shells have it.
const NOT_FOUND: u8 = 127;
/// The exit code of a command that cannot be executed, as shells have it.
const NOT_EXECUTABLE: u8 = 126;

/// A command that has its process, and is executed once this is dropped; also by the kernel, should this process be killed.
#[derive(Debug)]
pub(super) struct Launched {
    /// The pid. The process is not waited for before the caller does so.
    pub(super) pid: i32,
    /// The launcher waits for the end of this pipe.
    _hold: PipeWriter,
}

/// Starts the process of a command.
///
/// # Errors
/// No process can be started. A command that does not exist shows later: its process exits with 127.
pub(super) fn launch(inherited: Inherited, command: &[OsString]) -> Result<Launched, Error> {
    let failed = |error| start_failed("cannot start the command", &error);
    let (released, hold) = std::io::pipe().map_err(failed)?;
    fcntl(&released, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| failed(errno.into()))?;
    let child = Command::new("/proc/self/exe")
        .arg0(LAUNCHER_NAME)
        .arg(released.as_raw_fd().to_string())
        .args([inherited.blocked, inherited.ignored, inherited.closed].map(|set| format!("{set:x}")))
        .args(command)
        .spawn()
        .map_err(failed)?;
    Ok(Launched { pid: child.id().cast_signed(), _hold: hold })
}

/// Runs as the launcher: waits until the command may start, and becomes it. Returns only with an error, and the exit code for
/// it.
pub(crate) fn become_command(arguments: impl IntoIterator<Item = OsString>) -> (Error, u8) {
    let mut arguments = arguments.into_iter();
    let released = arguments.next().and_then(|number| sys::take_descriptor(number.to_str()?.parse().ok()?));
    let mut set = || u64::from_str_radix(arguments.next()?.to_str()?, 16).ok();
    let sets = set().zip(set()).zip(set());
    let inherited = sets.map(|((blocked, ignored), closed)| Inherited { blocked, ignored, closed });
    let command: Result<Vec<CString>, _> = arguments.map(|word| CString::new(word.into_vec())).collect();
    let (Some(released), Some(inherited), Ok(command)) = (released, inherited, command) else { return misused() };
    let Some(name) = command.first() else { return misused() };
    // Until the supervisor observes this process. Its end releases the command as well.
    let _ = File::from(released).read(&mut [0]);
    inherited.apply();
    let Err(errno) = execvp(name, &command);
    let word = name.to_string_lossy();
    let error = Error::new(Kind::Failed, format!("cannot run {word}")).os(errno, "execve").target(word);
    match errno {
        Errno::ENOENT => (error, NOT_FOUND),
        _ if !is_found(name) => {
            (error.cause("it is in no directory of PATH, of which one may not be searched"), NOT_FOUND)
        }
        _ => (error, NOT_EXECUTABLE),
    }
}

/// Tells whether a command is there, though it cannot be executed. A directory of PATH that may not be searched makes
/// execvp(3) say EACCES of commands that are nowhere, which shells do not believe.
fn is_found(name: &CStr) -> bool {
    let name = OsStr::from_bytes(name.to_bytes());
    let path = std::env::var_os("PATH").unwrap_or_default();
    name.as_bytes().contains(&b'/') || std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

/// Makes the error of a launcher that was started by somebody else.
fn misused() -> (Error, u8) {
    (Error::new(Kind::Usage, "shmadm-run is started by `shmadm leakcheck` alone"), NOT_EXECUTABLE)
}
