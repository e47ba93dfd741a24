//! The launcher: this program executed anew, which gives a command of the user's the signals that our caller left us, and
//! becomes that command.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::unistd::execvp;

use crate::error::{Error, Kind};
use crate::query::{LAUNCHER_NAME, words};
use crate::sys::SignalState;

/// The exit code of a command that does not exist, as shells have it.
const NOT_FOUND: u8 = 127;
/// The exit code of a command that cannot be executed, as shells have it.
const NOT_EXECUTABLE: u8 = 126;

/// Starts a command, and gives its pid; nobody has waited for it yet.
///
/// # Errors
/// There is no process to be had. That the command does not exist is not known yet: the process ends with 127 then.
pub(super) fn launch(signals: SignalState, command: &[OsString]) -> Result<i32, Error> {
    let child = Command::new("/proc/self/exe")
        .arg0(LAUNCHER_NAME)
        .args([signals.blocked, signals.ignored].map(|set| format!("{set:x}")))
        .args(command)
        .spawn()
        .map_err(|error| Error::io("cannot start the command", &error, "execve"))?;
    Ok(child.id().cast_signed())
}

/// Is the launcher: becomes the command. Comes back with an error and the exit code that it means.
pub(crate) fn become_command(arguments: impl IntoIterator<Item = OsString>) -> (Error, u8) {
    let mut arguments = arguments.into_iter();
    let mut set = || u64::from_str_radix(arguments.next()?.to_str()?, 16).ok();
    let signals = set().zip(set()).map(|(blocked, ignored)| SignalState { blocked, ignored });
    let command: Result<Vec<CString>, _> = arguments.map(|word| CString::new(word.into_vec())).collect();
    let (Some(signals), Ok(command)) = (signals, command) else { return misused() };
    let Some(name) = command.first() else { return misused() };
    signals.apply();
    let Err(errno) = execvp(name, &command);
    let code = if errno == Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTABLE };
    let name = name.to_string_lossy();
    (Error::new(Kind::Failed, format!("cannot run {name}")).system(words(errno, "execve")).target(name), code)
}

/// Makes the error of a launcher that was started by somebody else.
fn misused() -> (Error, u8) {
    (Error::new(Kind::Usage, "shmadm-run is started by `shmadm leakcheck` alone"), NOT_EXECUTABLE)
}
