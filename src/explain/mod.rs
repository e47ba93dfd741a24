//! Turns failed calls and queries into errors for the user: the cause, and hints that help.
//!
//! Causes of failed shared memory calls are only here. A caller names what it attempted ([`Attempt`]), and [`explain`]
//! looks at the limits, the segment and the caller's rights to find the cause.

mod access;
mod address;
mod attempt;
mod descriptor;
mod diagnosis;
mod failure;
mod files;
mod foreign;
mod huge;
mod key;
mod memory;
mod open;
mod refusal;
mod resolve;
mod space;

pub(crate) use access::{DENIED, OUTSIDE, WRITE_SEALS, explain_control, explain_lock_limit, owner_or_root, seal_cause};
pub(crate) use address::suggest_any_address;
pub(crate) use attempt::{Attempt, FileAttempt};
pub(crate) use diagnosis::{explain, gone, suggest_key};
pub(crate) use failure::{cannot_inspect, cannot_peek, holders, mount_proc, unmapped_id, without_proc};
pub(crate) use files::{
    NO_CHOWN, NO_WRITE, OPENED_THROUGH_PROC, cannot_create, cannot_map, cannot_open, denied_file_access, describe_use,
    describe_users, file_exists, file_in_use, missing_file, open_to_map, why_hidden, why_unknown, with_directory_cause,
    with_own_access_hint, with_protection, with_read_only_cause, with_size_cause,
};
pub(crate) use foreign::explain_call_of;
pub(crate) use huge::explain_missing_huge_page;
pub(crate) use memory::expected_attach_failure;
pub(crate) use refusal::{
    attached_by, attached_refusal, describe_attachers, describe_pid, describe_removed, describe_running,
};
pub(crate) use resolve::{cannot_look_up, find, ftok_key, in_no_directory, resolve, resolve_all};
pub(crate) use space::explain_full_directory;
