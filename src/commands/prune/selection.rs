//! Which objects to remove, and why the others are kept.

use super::PruneArgs;
use crate::error::Error;
use crate::model::{Object, State};
use crate::query::{Filter, System, add_attachers};
use crate::render::Kept;

impl PruneArgs {
    /// Returns why to keep an object; `None` if it is to be removed.
    fn reason_to_keep(&self, system: &System, filter: &Filter, object: &Object) -> Option<Keep> {
        let others = Filter { owner: Vec::new(), mine: false, older_than: None, ..filter.clone() };
        let of_any_age = Filter { older_than: None, ..filter.clone() };
        match object.state {
            _ if !others.matches(system, object) => Some(Keep::Excluded),
            // No process has it attached.
            _ if !filter.pid.is_empty() && !object.is_in_use() => Some(Keep::Excluded),
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

/// Why an object is not selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// By a filter other than those for the owner and the idle time.
    Excluded,
    OtherOwner,
    Attached,
    Idle,
    Unknown,
    Young,
}

/// The objects to remove, and what is known about the others.
pub(super) struct Selection {
    pub(super) selected: Vec<Object>,
    pub(super) kept: Kept,
    /// The kept ones that a process has attached or may still need.
    pub(super) in_use: Vec<Object>,
}

impl Selection {
    pub(super) fn of(args: &PruneArgs, system: &System, filter: &Filter, objects: Vec<Object>) -> Result<Self, Error> {
        let mut this = Self { selected: Vec::new(), kept: Kept::default(), in_use: Vec::new() };
        for object in objects {
            let Some(keep) = args.reason_to_keep(system, filter, &object) else {
                this.selected.push(object);
                continue;
            };
            *match keep {
                Keep::Excluded => &mut this.kept.excluded,
                Keep::OtherOwner => &mut this.kept.other_owner,
                Keep::Attached => &mut this.kept.attached,
                Keep::Idle => &mut this.kept.idle,
                Keep::Unknown => &mut this.kept.unknown,
                Keep::Young => &mut this.kept.young,
            } += 1;
            if matches!(keep, Keep::Attached | Keep::Idle) {
                this.in_use.push(object);
            }
        }
        add_attachers(system, &mut this.in_use)?;
        Ok(this)
    }

    /// Names the processes that have kept objects attached.
    pub(super) fn describe_attachers(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for attachers in self.in_use.iter().filter_map(|object| object.attachers.as_deref()) {
            for name in attachers.names() {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let more = names.len().saturating_sub(MAX_NAMED);
        names.truncate(MAX_NAMED);
        names.extend((more > 0).then(|| format!("{more} more")));
        names.join(", ")
    }
}

/// Maximum number of processes in the summary.
const MAX_NAMED: usize = 4;
