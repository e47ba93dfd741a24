//! The launcher: this program executed anew, which gives a command of the user's the signals and streams that our caller left
//! us, and becomes that command.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::unistd::execvp;

use super::start_failed;
use crate::error::{Error, Kind};
use crate::query::{LAUNCHER_NAME, words};
use crate::sys::Inherited;

/// The exit code of a command that does not exist, as shells have it.
const NOT_FOUND: u8 = 127;
/// The exit code of a command that cannot be executed, as shells have it.
const NOT_EXECUTABLE: u8 = 126;

/// Starts a command, and gives its pid; nobody has waited for it yet.
///
/// # Errors
/// There is no process to be had. That the command does not exist is not known yet: the process ends with 127 then.
pub(super) fn launch(inherited: Inherited, command: &[OsString]) -> Result<i32, Error> {
    let child = Command::new("/proc/self/exe")
        .arg0(LAUNCHER_NAME)
        .args([inherited.blocked, inherited.ignored, inherited.closed].map(|set| format!("{set:x}")))
        .args(command)
        .spawn()
        .map_err(|error| start_failed("cannot start the command", &error))?;
    Ok(child.id().cast_signed())
}

/// Is the launcher: becomes the command. Comes back with an error and the exit code that it means.
pub(crate) fn become_command(arguments: impl IntoIterator<Item = OsString>) -> (Error, u8) {
    let mut arguments = arguments.into_iter();
    let mut set = || u64::from_str_radix(arguments.next()?.to_str()?, 16).ok();
    let sets = set().zip(set()).zip(set());
    let inherited = sets.map(|((blocked, ignored), closed)| Inherited { blocked, ignored, closed });
    let command: Result<Vec<CString>, _> = arguments.map(|word| CString::new(word.into_vec())).collect();
    let (Some(inherited), Ok(command)) = (inherited, command) else { return misused() };
    let Some(name) = command.first() else { return misused() };
    inherited.apply();
    let Err(errno) = execvp(name, &command);
    let word = name.to_string_lossy();
    let error = Error::new(Kind::Failed, format!("cannot run {word}")).system(words(errno, "execve")).target(word);
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
