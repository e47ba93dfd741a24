//! THE syscall layer: every `unsafe` of the program, each with the reason why it is sound.
//!
//! Calls are typed and take one shape each; a failure is an errno with the call's name and its target. Memory of a
//! segment is never borrowed: other processes write it while we look, so the kernel does the copying.
#![expect(unsafe_code, reason = "system calls that no safe wrapper has")]
#![expect(clippy::disallowed_methods, reason = "this is the layer that the rest is sent to")]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("shmadm knows the System V structures of 64-bit Linux alone");

mod accounts;
mod attachment;
mod file_handle;
mod files;
mod inbox;
mod inherited;
mod kernel;
mod namespace;
mod notify;
mod process;
mod procmap;
mod seized;
mod signals;
mod sysv;

use crate::model::{Key, ShmId};

pub(crate) use accounts::{group_name, user_name};
pub(crate) use attachment::{Attachment, Place};
pub(crate) use file_handle::file_handle;
pub(crate) use files::{
    SparseFile, is_at_end, move_to, next_data, open_at_once, place_in_file, read, skip, splice, widen_pipe, write,
};
pub(crate) use inbox::{Arrival, Inbox, pass_on};
pub(crate) use inherited::{Inherited, stdin_is_closed, stdout_is_closed};
pub(crate) use namespace::{
    enter_ipc, enter_user, in_ipc_namespace, is_ipc, leave_ipc, leave_user, leave_user_and_ipc, owner_of,
};
pub(crate) use nix::errno::Errno;
pub(crate) use notify::{CAN_LISTEN, Call, Listener, let_go_on, listen, receive, still_waits};
pub(crate) use process::{
    answer_and_let_go, ask_to_end, close_inherited, compare_memory, exited_child, is_unreaped, open_pidfd, set_name,
    standard_input_and_output, take_descriptor, wait_ended,
};
pub(crate) use procmap::segment_mappings;
pub(crate) use seized::Seized;
pub(crate) use signals::{Wake, Watch, block_signals, caught, raise};
pub(crate) use sysv::{
    CreateFlags, create, find_key, highest_index, info, lock, remove, set, stat, stat_any, stat_index,
    stat_index_readable, unlock, usage,
};

/// A system call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SysError {
    /// Why.
    pub(crate) errno: Errno,
    /// The call's name.
    pub(crate) call: &'static str,
    /// What it was made on.
    pub(crate) target: On,
}

/// What a call was made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// A segment.
    Id(ShmId),
    /// A key.
    Key(Key),
    /// A place in the kernel's table of segments.
    Index(i32),
    /// A process.
    Pid(i32),
    /// Nothing in particular.
    Nothing,
}

impl SysError {
    /// Takes the errno of the call that has just failed.
    fn last(call: &'static str, target: On) -> Self {
        Self { errno: Errno::last(), call, target }
    }
}
