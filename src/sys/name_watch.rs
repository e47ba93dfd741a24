//! Files that get a name in a directory, and the processes that give it to them (fanotify(7)).
//!
//! The kernel queues an event before the call that gives the name returns. Reading it opens a pidfd of the process,
//! unless it has been reaped. Requires CAP_SYS_ADMIN in the initial user namespace, and Linux 5.17.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::SysError;
use super::object::errno;

/// The size of `struct fanotify_event_metadata`.
const METADATA: usize = 24;
/// The bytes of a `struct fanotify_event_info_fid` before those of the file handle.
const FID_HEADER: usize = 20;

/// What an event reports.
#[derive(Debug)]
pub(crate) enum NameEvent {
    /// Events were lost.
    Lost,
    /// A file has got a name.
    Named {
        /// The process; `None` if it has been reaped or is not visible in this pid namespace.
        process: Option<(i32, OwnedFd)>,
        /// Whether the name is new (open, mkdir, linkat), and not only moved here.
        is_created: bool,
        /// The file's, as [`super::file_handle()`] returns it; `None` if the kernel reports none.
        handle: Option<Vec<u8>>,
    },
}

/// A directory in which new names of files and directories are reported.
#[derive(Debug)]
pub(crate) struct NameWatch(OwnedFd);

impl AsFd for NameWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl NameWatch {
    /// Starts to watch a directory.
    /// Fails with EPERM without privilege, EINVAL before Linux 5.17, ENOSYS in sandboxes.
    pub(crate) fn open(directory: BorrowedFd<'_>) -> Result<Self, SysError> {
        let how = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | libc::FAN_UNLIMITED_QUEUE;
        let reports = libc::FAN_REPORT_PIDFD | libc::FAN_REPORT_DFID_NAME_TARGET;
        // SAFETY: the call takes integers.
        let group = SysError::check(unsafe { libc::fanotify_init(how | reports, 0) }, "fanotify_init")?;
        // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
        let group = unsafe { OwnedFd::from_raw_fd(group) };
        let mask = libc::FAN_CREATE | libc::FAN_MOVED_TO | libc::FAN_ONDIR;
        let this = directory.as_raw_fd();
        // SAFETY: without a path, the call takes integers.
        let marked =
            unsafe { libc::fanotify_mark(group.as_raw_fd(), libc::FAN_MARK_ADD, mask, this, std::ptr::null()) };
        SysError::check(marked, "fanotify_mark").map(|_| Self(group))
    }

    /// Passes all events to `show` that have happened before the call, and possibly later ones.
    pub(crate) fn read(&self, mut show: impl FnMut(NameEvent)) -> Result<(), Errno> {
        // Not until the queue is empty, since other processes may fill it at any rate. The kernel counts the fixed part
        // of each event only.
        let mut queued = rustix::io::ioctl_fionread(self).map_err(errno)? / METADATA as u64;
        let mut buffer = [0; 4096];
        while queued > 0 {
            let length = match nix::unistd::read(self, &mut buffer) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            };
            let mut rest = &buffer[..length];
            while let Some((event, next)) = split(rest, 0) {
                (rest, queued) = (next, queued.saturating_sub(1));
                show(parse(event));
            }
        }
        Ok(())
    }
}

/// Returns a number in a record of the kernel's.
fn bytes<const N: usize>(record: &[u8], at: usize) -> Option<[u8; N]> {
    record.get(at..)?.first_chunk().copied()
}

/// Splits off a record whose length is stored at an offset: in four bytes at 0, in two bytes elsewhere.
fn split(records: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    let length = match at {
        0 => u32::from_ne_bytes(bytes(records, 0)?) as usize,
        at => u16::from_ne_bytes(bytes(records, at)?).into(),
    };
    if length == 0 { None } else { records.split_at_checked(length) }
}

/// Parses an event. Takes ownership of its pidfd.
fn parse(event: &[u8]) -> NameEvent {
    let mask = bytes(event, 8).map_or(libc::FAN_Q_OVERFLOW, u64::from_ne_bytes);
    if mask & libc::FAN_Q_OVERFLOW != 0 {
        return NameEvent::Lost;
    }
    let pid = bytes(event, 20).map_or(0, i32::from_ne_bytes);
    let (mut pidfd, mut handle) = (None, None);
    let mut records = event.get(METADATA..).unwrap_or_default();
    while let Some((record, next)) = split(records, 2) {
        records = next;
        match record[0] {
            libc::FAN_EVENT_INFO_TYPE_PIDFD => {
                let number = bytes(record, 4).map(i32::from_ne_bytes).filter(|number| *number >= 0);
                // SAFETY: the kernel has opened this descriptor for the event, and nothing else owns it.
                pidfd = number.map(|number| unsafe { OwnedFd::from_raw_fd(number) });
            }
            libc::FAN_EVENT_INFO_TYPE_FID => {
                let length = bytes(record, FID_HEADER - 8).map_or(0, u32::from_ne_bytes) as usize;
                handle = record.get(FID_HEADER..FID_HEADER + length).map(<[u8]>::to_vec);
            }
            _ => {}
        }
    }
    let process = pidfd.filter(|_| pid > 0).map(|pidfd| (pid, pidfd));
    NameEvent::Named { process, is_created: mask & libc::FAN_CREATE != 0, handle }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflow_is_reported_as_lost_events() {
        let mut event = [0; METADATA];
        event[0] = 24;
        event[8..16].copy_from_slice(&libc::FAN_Q_OVERFLOW.to_ne_bytes());
        assert!(matches!(parse(&event), NameEvent::Lost));
        event[8..16].copy_from_slice(&libc::FAN_MOVED_TO.to_ne_bytes());
        let NameEvent::Named { process: None, is_created: false, handle: None } = parse(&event) else { panic!() };
    }
}
