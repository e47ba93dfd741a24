//! Questions to the system. Nothing here changes anything, and nothing here prints.

mod diagnosis;
mod filter;
mod holders;
mod inventory;
mod limits;
mod liveness;
mod resolve;
mod rights;
mod system;

pub(crate) use diagnosis::{Attempt, attached_refusal, explain, with_words, words};
pub(crate) use filter::Filter;
pub(crate) use holders::{HOLDER_NAME, Holder, holders};
pub(crate) use inventory::{call_stat, each, inventory, segment};
pub(crate) use limits::{huge_page_size, limits, rmid_forced, usage};
pub(crate) use liveness::last_user_alone_lives;
pub(crate) use resolve::{key_of, resolve, segment_with_key};
pub(crate) use rights::may_control;
pub(crate) use system::System;
