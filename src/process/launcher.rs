//! The launcher: this program, executed again, which restores the signal dispositions and standard streams that
//! shmadm inherited, and executes the user's command.
//!
//! The process exists before the command does, so that the supervisor can open its pidfd before it can create a
//! segment.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::execvp;

use super::helper::{start_failed, this_program};
use crate::error::{Error, Kind};
use crate::leaks::LAUNCHER_NAME;
use crate::model::{escape_invalid_utf8, named};
use crate::procfs;
use crate::query::System;
use crate::sys::{self, Inherited};

/// The exit code for a command that does not exist, as in shells.
const NOT_FOUND: u8 = 127;
/// The exit code for a command that cannot be executed, as in shells.
const NOT_EXECUTABLE: u8 = 126;

/// A launcher that waits. It exits without having executed the command if this is dropped or this process is killed.
#[derive(Debug)]
pub(super) struct Launched {
    /// Not reaped before the caller does so.
    pub(super) pid: i32,
    pipe: PipeWriter,
}

impl Launched {
    /// Releases the launcher, which executes the command. Returns its pid.
    pub(super) fn release(mut self) -> i32 {
        // Fails if the launcher has been killed.
        let _ = self.pipe.write_all(&[0]);
        self.pid
    }
}

/// Returns the signal dispositions and standard streams that this process inherited. It must not have changed them yet.
pub(super) fn inherited(system: &System) -> Inherited {
    let set =
        |name| procfs::status_line(system.proc(), "self", name).and_then(|set| u64::from_str_radix(&set, 16).ok());
    Inherited::new(set("SigBlk").unwrap_or(0), set("SigIgn").unwrap_or(0))
}

named! {
    /// Which calls the launcher and the command report to a tracer.
    pub(crate) enum Reports {
        None = "none",
        Segments = "segments",
        SegmentsAndFiles = "segments-and-files",
    }
}

named! {
    /// How the launcher reports that it cannot execute the command.
    pub(crate) enum FailureFormat {
        /// On standard error.
        Text = "text",
        /// On standard output too.
        Json = "json",
    }
}

/// Starts a launcher. A command that does not exist is reported later, by exit code 127.
pub(super) fn launch(
    inherited: Inherited,
    reports: Reports,
    format: FailureFormat,
    command: &[OsString],
) -> Result<Launched, Error> {
    let failed = |error| start_failed("cannot start the command", &error);
    let (released, pipe) = std::io::pipe().map_err(failed)?;
    fcntl(&released, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| failed(errno.into()))?;
    let child = this_program(LAUNCHER_NAME)
        .arg(released.as_raw_fd().to_string())
        .args([reports.as_str(), format.as_str()])
        .args([inherited.blocked, inherited.ignored, inherited.closed].map(|set| format!("{set:x}")))
        .args(command)
        .spawn()
        .map_err(failed)?;
    Ok(Launched { pid: child.id().cast_signed(), pipe })
}

/// Runs as the launcher: waits until the command may start, and executes it. Returns only on failure, with the error,
/// how to report it, and the exit code.
pub(crate) fn launcher_main(arguments: impl IntoIterator<Item = OsString>) -> (Error, FailureFormat, u8) {
    let mut arguments = arguments.into_iter();
    let released = arguments.next().and_then(|number| sys::take_descriptor(number.to_str()?.parse().ok()?));
    let reports = arguments.next().and_then(|word| Reports::from_name(word.to_str()?));
    let format = arguments.next().and_then(|word| FailureFormat::from_name(word.to_str()?));
    let mut set = || u64::from_str_radix(arguments.next()?.to_str()?, 16).ok();
    let mut inherited = || Some(Inherited { blocked: set()?, ignored: set()?, closed: set()? });
    let inherited = inherited();
    let command: Result<Vec<CString>, _> = arguments.map(|argument| CString::new(argument.into_vec())).collect();
    let arguments = (released, reports, format, inherited, command);
    let (Some(released), Some(reports), Some(format), Some(inherited), Ok(command)) = arguments else {
        return misused();
    };
    let Some(name) = command.first() else { return misused() };
    let shown = escape_invalid_utf8(name.to_bytes());
    let error = Error::new(Kind::Failed, format!("cannot run {shown}")).target(&*shown);
    // Wait until the supervisor observes this process.
    if File::from(released).read_exact(&mut [0]).is_err() {
        return (error.cause("shmadm has exited"), format, NOT_EXECUTABLE);
    }
    if reports != Reports::None {
        // Without the filter, the tracer stops at each call.
        let _ = sys::report_calls(reports == Reports::SegmentsAndFiles);
    }
    inherited.apply();
    let Err(errno) = execvp(name, &command);
    let error = error.os(errno, "execve");
    let (error, code) = match errno {
        Errno::ENOENT => (error, NOT_FOUND),
        _ if !is_found(name) => (error.cause("not found in PATH; one of its directories is not searchable"), NOT_FOUND),
        Errno::EACCES => (error.cause(why_denied(name)), NOT_EXECUTABLE),
        _ => (error, NOT_EXECUTABLE),
    };
    (error, format, code)
}

/// Returns whether a command exists, although it cannot be executed. For a command that does not exist, execvp(3)
/// fails with EACCES if a directory of PATH is not searchable; shells report "not found".
fn is_found(name: &CStr) -> bool {
    name.to_bytes().contains(&b'/') || candidates(name).iter().any(|file| file.is_file())
}

/// Returns the files that a command can be: the one that it names, or those of this name in PATH.
fn candidates(name: &CStr) -> Vec<PathBuf> {
    let name = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
    let is_path = name.as_os_str().as_bytes().contains(&b'/');
    let path = if is_path { OsString::new() } else { std::env::var_os("PATH").unwrap_or_default() };
    std::env::split_paths(&path).map(|directory| directory.join(&name)).collect()
}

/// Returns why a command cannot be executed (EACCES).
fn why_denied(name: &CStr) -> String {
    let found = candidates(name).iter().find_map(|file| file.metadata().ok());
    match found {
        Some(file) if file.is_dir() => "it is a directory".to_owned(),
        Some(file) if file.mode() & 0o111 == 0 => {
            format!("the file is not executable (mode {:04o})", file.mode() & 0o7777)
        }
        _ => "its mode, or that of its interpreter or of a directory above one of these, denies you access, or its \
              file system is mounted with noexec"
            .to_owned(),
    }
}

fn misused() -> (Error, FailureFormat, u8) {
    let error = Error::new(Kind::Usage, "shmadm-run is started only by `shmadm leakcheck` and `shmadm trace`");
    (error, FailureFormat::Text, NOT_EXECUTABLE)
}
