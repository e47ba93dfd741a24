//! Changes to segments and POSIX objects, and new files. `explain` turns failed calls into errors.

mod aside;
mod attach;
mod conflict;
mod create;
mod create_file;
mod destination;
mod detach;
mod existing;
mod file;
mod needed_file;
mod plan;
mod remove;
mod remove_failure;
mod remove_file;
mod report;
mod set;
mod set_file;

pub(crate) use aside::{aside_name, restore_aside};
pub(crate) use attach::{Lifetime, attach, detach_checked, hold, release};
pub(crate) use conflict::Requested;
pub(crate) use create::{Creation, Opened, PendingSegment, create, create_here, create_with};
pub(crate) use create_file::{NewObject, create_file};
pub(crate) use destination::{is_root_or_caller, is_unnamed, own_link_target};
pub(crate) use detach::detach;
pub(crate) use existing::denied_access;
pub(crate) use file::NewFile;
pub(crate) use plan::{Plan, plan, would_fail};
pub(crate) use remove::{Cleaned, Removal, Removed, UseEvidence, clean, remove};
pub(crate) use remove_failure::Failure;
pub(crate) use remove_file::{AT_ONCE, clean_files, find_listed};
pub(crate) use report::{Log, Report};
pub(crate) use set::{Change, set};

pub(crate) use crate::sys::{Address, Attachment, OpenWatch};
