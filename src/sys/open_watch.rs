//! Reports which files processes open (inotify(7)), regardless of the mount or the link through which they open them.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use rustix::fs::inotify;

use super::descriptor_path::{descriptor_path, through_descriptor};
use super::object::errno;
use super::signals::poll_timeout;
use super::{Errno, SysError};
use crate::model::FileId;

const FLAGS: inotify::CreateFlags = inotify::CreateFlags::CLOEXEC.union(inotify::CreateFlags::NONBLOCK);
const OPEN: inotify::WatchFlags = inotify::WatchFlags::OPEN;

/// The names in a directory that processes open.
#[derive(Debug)]
pub(crate) struct OpenWatch(OwnedFd);

impl OpenWatch {
    /// Starts to watch a directory (inotify(7)), regardless of the mount through which a process opens its files.
    pub(crate) fn new(directory: BorrowedFd<'_>) -> Result<Self, SysError> {
        let failed = |error| SysError { errno: errno(error), call: "inotify_init1" };
        let watch = inotify::init(FLAGS).map_err(failed)?;
        through_descriptor(directory, |path| inotify::add_watch(&watch, path, OPEN).map_err(errno))
            .map_err(|errno| SysError { errno, call: "inotify_add_watch" })?;
        Ok(Self(watch))
    }

    /// Adds the names that were opened since the last call; returns false if some were missed.
    pub(crate) fn read(&self, opened: &mut HashSet<OsString>) -> bool {
        each_event(&self.0, |event| {
            opened.extend(event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()));
        })
    }
}

impl AsFd for OpenWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Files whose opening is watched.
#[derive(Debug)]
pub(crate) struct FileWatch {
    inotify: OwnedFd,
    files: HashMap<i32, FileId>,
}

impl FileWatch {
    /// Starts to watch files that are open. Omits those that cannot be watched.
    pub(crate) fn on<'a>(files: impl IntoIterator<Item = (FileId, BorrowedFd<'a>)>) -> Result<Self, Errno> {
        let inotify = inotify::init(FLAGS).map_err(errno)?;
        let add = |(id, file)| Some((inotify::add_watch(&inotify, descriptor_path(file), OPEN).ok()?, id));
        let files = files.into_iter().filter_map(add).collect();
        Ok(Self { inotify, files })
    }

    /// Waits until a process opens one of the files, for at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        // If a signal ends the wait, less is known of the files.
        let _ = poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], poll_timeout(timeout));
    }

    /// Returns, for each file that is watched, whether a process has opened it. If events were missed, every file
    /// counts as opened.
    pub(crate) fn opened(&self) -> HashMap<FileId, bool> {
        let mut opened = HashSet::new();
        let is_complete = each_event(&self.inotify, |event| {
            opened.insert(event.wd());
        });
        self.files.iter().map(|(watch, file)| (*file, !is_complete || opened.contains(watch))).collect()
    }
}

/// Passes each event to `show`; returns false if some were missed.
fn each_event(inotify: &OwnedFd, mut show: impl FnMut(&inotify::Event<'_>)) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    loop {
        match reader.next() {
            Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => return false,
            Ok(event) => show(&event),
            Err(error) => return error == rustix::io::Errno::AGAIN,
        }
    }
}
