//! How users name an IPC namespace.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The largest pid (PID_MAX_LIMIT in linux/threads.h). The numbers of namespaces are far above it.
const PID_MAX_LIMIT: i32 = 4_194_304;

/// An IPC namespace as named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamespaceName {
    /// The namespace of a process.
    Pid(i32),
    /// The namespace with this number.
    Number(u64),
    /// The namespace behind a file.
    Path(PathBuf),
}

impl NamespaceName {
    /// Parses `PID`, `ipc:[NUMBER]`, `NUMBER` or a path; `None` if it is none of these. A number above the largest pid
    /// is that of a namespace.
    pub(crate) fn parse(argument: &OsStr) -> Option<Self> {
        if argument.as_bytes().contains(&b'/') {
            return Some(Self::Path(PathBuf::from(argument)));
        }
        let text = argument.to_str()?;
        let bracketed = text.strip_prefix("ipc:[").and_then(|rest| rest.strip_suffix(']'));
        let number = bracketed.unwrap_or(text);
        // A sign or a leading zero would be accepted below.
        let number: u64 =
            number.starts_with(|first: char| matches!(first, '1'..='9')).then(|| number.parse().ok())??;
        Some(match i32::try_from(number) {
            Ok(pid) if bracketed.is_none() && pid <= PID_MAX_LIMIT => Self::Pid(pid),
            _ => Self::Number(number),
        })
    }
}
