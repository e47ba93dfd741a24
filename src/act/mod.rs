//! Changes to the system. A failed call becomes the user's error here.

mod attach;
mod create;
mod destination;
mod detach;
mod file;
mod remove;
mod report;
mod set;

pub(crate) use attach::{Use, attach, detached};
pub(crate) use create::{Creation, Opened, Unfinished, create, create_with};
pub(crate) use destination::{is_root_or_caller, own_link_target};
pub(crate) use detach::detach;
pub(crate) use file::NewFile;
pub(crate) use remove::{Cleaned, Outcome, Removal, clean, remove};
pub(crate) use report::Report;
pub(crate) use set::{Change, set};

pub(crate) use crate::sys::{Address, Attachment};
