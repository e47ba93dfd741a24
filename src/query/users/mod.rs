//! The processes that use an object.

mod attachers;
mod descriptors;
mod exiting;
mod found_files;
mod holders;
mod matcher;
mod objects;
mod origin;
mod peek;
mod scan;
mod threads;

pub(crate) use attachers::{
    add_attachers, add_attachers_and_find_strays, add_attachers_at_once, add_page_sizes, not_inspectable,
    removed_among, removed_with_key, retain_attached_by, with_attachers,
};
pub(crate) use descriptors::some_are_in_flight;
pub(crate) use exiting::{exiting_processes, wait_for_exiting_users};
pub(crate) use found_files::{ObjectScan, OpenFileSystem, UnlinkedFacts, UnlinkedFile};
pub(crate) use holders::{HOLDER_NAME, Holder, HoldersError, holders, retain_held};
pub(crate) use objects::{ObjectSearch, scan_objects};
pub(super) use peek::refer_via_user;
pub(crate) use peek::{PeekError, backing, huge_page_size_at, open_via_attacher};
