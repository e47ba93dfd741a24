//! Reads facts from the system. Nothing here changes the system or prints, and errors are typed, not worded.
//!
//! A module names only modules before it in this order: failure, name_pattern, product, host, state, inventory, limits,
//! filter, tally, swap, users, postgres, family, objects, leases, posix_usage, identify, shmem.

mod failure;
mod family;
mod filter;
mod host;
mod identify;
mod inventory;
mod leases;
mod limits;
mod name_pattern;
mod objects;
mod posix_usage;
mod postgres;
mod product;
mod shmem;
mod state;
mod swap;
mod tally;
mod users;

pub(crate) use failure::QueryError;
pub(crate) use filter::{DEFAULT_MIN_IDLE, Filter, KeyFilter, Pattern};
pub(crate) use host::*;
pub(crate) use identify::{add_products, add_servers, identify};
pub(crate) use inventory::{as_semaphore, call_stat, each, find_by_key, inventory, key_exists, lookup};
pub(crate) use leases::{add_reasons, needed_by, probe, reasons_not_found, with_all_users};
pub(crate) use limits::{limits, memory_errnos, rmid_forced, size_errno};
pub(crate) use objects::{
    OpenError, add_users, anonymous_objects, memfd_name, open_file, posix_objects, posix_objects_by_id,
    posix_objects_in, refer_to_file, unlinked_objects, unlinked_objects_in, with_users,
};
pub(crate) use posix_usage::{posix_usage, posix_usage_in};
pub(crate) use product::Rules;
pub(crate) use shmem::{ShmemSurvey, charged_to_control_groups, survey_shmem};
pub(crate) use state::{
    commands, creator_and_last_user, creator_and_last_user_now, last_user_preventing_orphan, state_now,
};
pub(crate) use swap::Swap;
pub(crate) use tally::{add_to_owner, count, tally, tally_by_owner, usage};
pub(crate) use users::*;
