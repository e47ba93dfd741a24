//! Questions to the system. Nothing here changes anything, and nothing here prints.

mod attachers;
mod diagnosis;
mod filter;
mod holders;
mod huge;
mod ids;
mod inventory;
mod judge;
mod limits;
mod liveness;
mod namespaces;
mod origin;
mod peek;
mod processes;
mod refusal;
mod resolve;
mod rights;
mod swap;
mod system;

pub(crate) use attachers::{add_attachers, add_attachers_and_find_strays};
pub(crate) use diagnosis::{Attempt, explain, with_words, words};
pub(crate) use filter::Filter;
pub(crate) use holders::{HOLDER_NAME, Holder, holders};
pub(crate) use huge::{huge_page_size, no_huge_page};
pub(crate) use ids::IdMaps;
pub(crate) use inventory::{call_stat, each, inventory, segment};
pub(crate) use limits::{limits, rmid_forced, usage};
pub(crate) use liveness::{last_user_alone_lives, state_now};
pub(crate) use namespaces::{Census, Namespace, census};
pub(crate) use peek::{attached_file, backing, huge_page_behind};
pub(crate) use refusal::{attached_refusal, name_attachers};
pub(crate) use resolve::{key_of, resolve, segment_with_key};
pub(crate) use rights::{looks_into_all, may_control};
pub(crate) use swap::Swap;
pub(crate) use system::System;
