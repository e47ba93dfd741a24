//! System calls, and every `unsafe` block of the program.
//!
//! Each function makes one kind of call with typed arguments: `create`, `find_key`, `stat` or `remove` instead of
//! shmget and shmctl with flags. Results are return values. A failure is a [`SysError`]: the errno and the name of the
//! call. Constants and structures come from libc; `kernel` has those that libc lacks.
//!
//! No reference or slice to an attached segment is ever created. Other processes write the memory at any time, so
//! that a `&[u8]` would be undefined behavior, and touching a missing huge page raises SIGBUS. The kernel does the
//! copying instead: see [`Attachment`].
#![expect(unsafe_code, reason = "system calls without a safe wrapper")]
#![expect(clippy::disallowed_methods, reason = "only this module makes system calls directly")]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("shmadm supports only 64-bit Linux");

mod accounts;
mod attachment;
mod calls;
mod descriptor_path;
mod file_handle;
mod files;
mod filter;
mod inherited;
mod kernel;
mod mapped;
mod name_watch;
mod namespace;
mod notify;
mod object;
mod open_watch;
mod parallel;
mod process;
mod procmap;
mod seized;
mod signal_queue;
mod signals;
mod sysv;
mod tracee;
mod tracee_memory;
mod waker;

pub(crate) use accounts::{group_name, user_name};
pub(crate) use attachment::{Address, Attachment};
pub(crate) use calls::{PROBES, report_calls};
pub(crate) use descriptor_path::{NO_PROC, descriptor_path, through_descriptor};
pub(crate) use file_handle::file_handle;
pub(crate) use files::{
    SparseFile, next_data, open_nonblocking, position_and_size, seek_to, send_file, skip, widen_pipe,
};
pub(crate) use filter::HAS_SHM_CALLS;
pub(crate) use inherited::{Inherited, stdin_is_closed, stdout_is_closed};
pub(crate) use kernel::{IPC_INFO, SHM_HUGE_SHIFT, SHM_INFO, SHM_STAT, SHM_STAT_ANY};
pub(crate) use mapped::{Held, MappedFile, try_address_space};
pub(crate) use name_watch::{NameEvent, NameWatch};
pub(crate) use namespace::{
    enter, in_ipc_namespace, in_thread, is_ipc_namespace, mount_private_tmpfs, owning_user_namespace,
    parent_user_namespace, unshare,
};
pub(crate) use nix::errno::Errno;
pub(crate) use nix::sched::CloneFlags;
pub(crate) use nix::unistd::{read, write};
pub(crate) use notify::{Call, Listener, is_pending, listen, receive, respond_continue};
pub(crate) use object::{
    FileSystem, Opening, cache_state, check_directory_access, check_file_access, create_unnamed, each_name, errno_of,
    file_system, holds_write_lease, is_path_descriptor, link_target, link_unnamed, lock_file, mount_id, open_directory,
    open_directory_below, open_referred, open_subdirectory, refer_below, refer_through, refer_to, rename_entry,
    reserve, seals, stat_entry, stat_file, stat_link, stat_link_locally, take_write_lease, unlink_entry,
};
pub(crate) use open_watch::{FileWatch, OpenWatch};
pub(crate) use parallel::in_parallel;
pub(crate) use process::{
    FirstPriority, answer_and_close, close_inherited, compare_descriptors, compare_memory, exited_child, is_unreaped,
    open_pidfd, standard_input_and_output, take_descriptor, terminate, wait_for_exit,
};
pub(crate) use procmap::{file_mappings, segment_mappings};
pub(crate) use seized::Seized;
pub(crate) use signal_queue::{SignalOrigin, SignalQueue, forward_signal};
pub(crate) use signals::{
    WaitOutcome, Watch, block_signals, caught, poll_timeout, raise, survive_file_size_limit, without_signals,
};
pub(crate) use sysv::{
    CreateFlags, check_access, create, find_key, info, lock, remove, set, stat, stat_any, stat_index, usage,
};
pub(crate) use tracee::{
    CallState, Resume, Stop, TraceEvent, call_state, former_thread, interrupt, next_event, resume, seize,
};
pub(crate) use tracee_memory::{RawRecord, read_limits, read_numbers, read_record, read_string, read_usage};
pub(crate) use waker::Waker;

/// A system call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SysError {
    pub(crate) errno: Errno,
    /// The name of the call, such as `shmget`.
    pub(crate) call: &'static str,
}

impl SysError {
    /// Returns the error of the call that has just failed.
    fn last(call: &'static str) -> Self {
        Self { errno: Errno::last(), call }
    }

    /// Returns the result of a call; a negative one is its error.
    fn check(result: i32, call: &'static str) -> Result<i32, Self> {
        if result < 0 { Err(Self::last(call)) } else { Ok(result) }
    }
}
