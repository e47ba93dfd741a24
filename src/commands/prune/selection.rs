//! Which objects to remove, and why the others are kept.

use std::sync::Arc;

use super::PruneArgs;
use crate::commands::filters::is_attached_by;
use crate::error::Error;
use crate::model::{FileUsers, Object, SegmentUsers, State, first_names};
use crate::query::{Filter, System, add_attachers, add_attachers_at_once, state_now};
use crate::render::{Keep, Kept};

impl PruneArgs {
    /// Returns why to keep an object; `None` if it is to be removed.
    fn reason_to_keep(&self, system: &System, filter: &Filter, object: &Object) -> Option<Keep> {
        let others = Filter { owner: Vec::new(), mine: false, older_than: None, ..filter.clone() };
        let of_any_age = Filter { older_than: None, ..filter.clone() };
        if let Some(posix) = object.as_posix() {
            // Leases were requested only on objects that could be removed, so the state of others may be unknown.
            let in_any_state = [&others, &of_any_age, filter].map(Filter::in_any_state);
            let [others, of_any_age, aged] = in_any_state.map(|filter| filter.matches(system, object));
            return match object.state {
                _ if !others => Some(Keep::Excluded),
                _ if !of_any_age && is_in_other_state(system, filter, object) => Some(Keep::Excluded),
                _ if !of_any_age => Some(Keep::OtherOwner),
                _ if object.is_directory() => Some(Keep::Directory),
                _ if object.is_in_use() => Some(Keep::InUse),
                _ if posix.rule.keep => Some(Keep::Persistent),
                Some(State::Kept | State::Idle) if posix.is_kept() => Some(Keep::Persistent),
                _ if posix.stat.links > 1 => Some(Keep::Linked),
                _ if !aged => Some(Keep::Young),
                Some(state) if !filter.state.is_empty() && !filter.state.contains(&state) => Some(Keep::Excluded),
                Some(State::Orphan) => None,
                Some(State::Idle | State::Unused) if self.unattached => None,
                Some(State::Idle) => Some(Keep::Idle),
                Some(State::Unused) => Some(Keep::Unused),
                _ => Some(Keep::Unknown),
            };
        }
        match object.state {
            _ if !others.matches(system, object) => Some(Keep::Excluded),
            _ if !filter.pid.is_empty() && !is_attached_by(object, &filter.pid) => Some(Keep::Excluded),
            _ if !of_any_age.matches(system, object) => Some(Keep::OtherOwner),
            _ if object.is_in_use() => Some(Keep::Attached),
            Some(State::Idle) if !self.unattached => Some(Keep::Idle),
            Some(State::Unknown) if !self.unattached => Some(Keep::Unknown),
            None => Some(Keep::Unknown),
            _ if !filter.matches(system, object) => Some(Keep::Young),
            _ => None,
        }
    }
}

/// Returns whether the state filter excludes a POSIX object, even if it is unknown whether it is in use: no lease is
/// requested on objects of other users that are not to be removed.
fn is_in_other_state(system: &System, filter: &Filter, object: &Object) -> bool {
    let possible = match object.posix().in_use() {
        Some(_) => Vec::from_iter(object.state),
        None => {
            let mut unused = object.clone();
            unused.posix_mut().users = Some(Arc::new(FileUsers { lease: Some(true), ..FileUsers::default() }));
            vec![State::InUse, State::Unknown, state_now(system, &unused)]
        }
    };
    !filter.state.is_empty() && !possible.iter().any(|state| filter.state.contains(state))
}

/// The objects to remove, and what is known about the others.
#[derive(Default)]
pub(super) struct Selection {
    pub(super) selected: Vec<Object>,
    pub(super) kept: Kept,
    /// The kept ones that a process has attached or may still need.
    in_use: Vec<Object>,
    /// Whether one of them was detached during the search for its users, so all must be read again.
    pub(super) has_changed: bool,
    /// The POSIX objects that a process uses.
    files_in_use: Vec<Object>,
    /// The POSIX objects whose use cannot be determined.
    pub(super) undetermined: Vec<Object>,
}

impl Selection {
    pub(super) fn of(
        args: &PruneArgs,
        system: &System,
        filter: &Filter,
        mut objects: Vec<Object>,
    ) -> Result<Self, Error> {
        let mut this = Self::default();
        let add_attachers = if args.wait.is_zero() { add_attachers_at_once } else { add_attachers };
        if !filter.pid.is_empty() {
            add_attachers(system, &mut objects)?;
        }
        for object in objects {
            let Some(keep) = args.reason_to_keep(system, filter, &object) else {
                this.selected.push(object);
                continue;
            };
            // Whether it is in use cannot be determined.
            if keep == Keep::Unknown && object.as_posix().is_some_and(|posix| posix.in_use().is_none()) {
                this.undetermined.push(object);
                continue;
            }
            this.kept.add(keep);
            match keep {
                Keep::InUse => this.files_in_use.push(object),
                Keep::Attached | Keep::Idle if object.is_segment() => this.in_use.push(object),
                _ => {}
            }
        }
        let was_attached: Vec<bool> = this.in_use.iter().map(Object::is_in_use).collect();
        add_attachers(system, &mut this.in_use)?;
        this.has_changed = this.in_use.iter().zip(was_attached).any(|(object, was)| was && !object.is_in_use());
        Ok(this)
    }

    /// Returns the kept ones that a process uses or may still need.
    pub(super) fn all_in_use(&self) -> impl Iterator<Item = &Object> {
        self.in_use.iter().chain(&self.files_in_use)
    }

    /// Names the processes that have kept segments attached, and those that use kept POSIX objects.
    pub(super) fn describe_users(&self) -> [String; 2] {
        let attachers: Vec<&SegmentUsers> =
            self.in_use.iter().filter_map(|object| object.attachers.as_deref()).collect();
        let users = self.files_in_use.iter().filter_map(Object::file_users);
        let users = users.flat_map(|users| users.processes().map(|process| format!("pid {}", process[0].process())));
        let found = Self::join(users);
        let hidden = "processes that were not found";
        let has_no_user = |object: &Object| object.file_users().is_none_or(|users| users.list.is_empty());
        let users = match self.files_in_use.iter().any(has_no_user) {
            true if found.is_empty() => hidden.to_owned(),
            true => format!("{found} and by {hidden}"),
            false => found,
        };
        [Self::join(SegmentUsers::names_of(&attachers)), users]
    }

    fn join(all: impl IntoIterator<Item = String>) -> String {
        let mut names: Vec<String> = Vec::new();
        for name in all {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        first_names(MAX_NAMED, names).join(", ")
    }
}

/// Maximum number of processes in the summary.
const MAX_NAMED: usize = 4;
