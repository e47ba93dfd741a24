//! The reports of `rm` and `prune`: what was removed, skipped and not removed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::files::{NAME_WIDTH, name};
use super::human::duration;
use super::segments::field;
use super::{Cell, Column};
use crate::error::{Error, Hint};
use crate::model::{Ident, Key, Object, Outcome, named};

#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    /// The object as the user named it.
    target: String,
    error: String,
    errno: Option<String>,
    code: u8,
    cause: Option<Box<str>>,
    hints: Vec<Hint>,
}

impl Failure {
    pub(crate) fn new(target: String, error: Error) -> Self {
        Self {
            target,
            error: error.to_string(),
            errno: error.source.map(|source| source.name()),
            code: error.kind.code(),
            cause: error.cause,
            hints: error.hints,
        }
    }
}

/// An object that was removed, or that a dry run would remove.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Removed {
    #[serde(flatten)]
    pub(crate) segment: Object,
    pub(crate) outcome: Outcome,
    /// Why it was selected; empty if the user named it.
    #[serde(skip)]
    pub(crate) why: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Skipped {
    pub(crate) segment: Object,
    pub(crate) reason: String,
}

impl Serialize for Skipped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Report<'a> {
            #[serde(flatten)]
            id: Ident,
            reason: &'a str,
            ns: Option<u64>,
        }
        let Self { segment, reason } = self;
        Report { id: segment.ident(), reason, ns: segment.ipc_namespace() }.serialize(serializer)
    }
}

/// What `rm` removed and failed to remove.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RemovalReport {
    pub(crate) dry_run: bool,
    pub(crate) removed: Vec<Removed>,
    pub(crate) failed: Vec<Failure>,
}

/// What `prune` removed, failed to remove and skipped.
#[derive(Debug, Default, Serialize)]
pub(crate) struct PruneReport {
    #[serde(flatten)]
    pub(crate) removal: RemovalReport,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) kept: Kept,
    pub(crate) freed: Freed,
}

named! {
    /// Why `prune` does not select an object.
    pub(crate) enum Keep {
        Young = "young",
        OtherOwner = "other_owner",
        Idle = "idle",
        Unknown = "unknown",
        Attached = "attached",
        /// By a filter other than those for the owner and the idle time.
        Excluded = "excluded",
        /// The following are for POSIX objects: in use by a process.
        InUse = "in_use",
        Unused = "unused",
        /// Its program keeps it between runs, or as long as others of its family are in use.
        Persistent = "persistent",
        /// A directory and everything below it.
        Directory = "directory",
        /// With several names.
        Linked = "linked",
    }
}

/// How many objects `prune` did not select, by the first reason.
#[derive(Debug, Default)]
pub(crate) struct Kept(BTreeMap<Keep, u64>);

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Keep::ALL.into_iter().map(|reason| (reason, self.count(reason))))
    }
}

/// Returns what marking a segment for destruction frees, and when.
pub(crate) fn effect_of_mark(segment: &Object) -> &'static str {
    match segment.key() {
        None | Some(Key::PRIVATE) => "its memory is freed at the last detach",
        Some(_) => "its key is freed now, the memory at the last detach",
    }
}

impl Kept {
    pub(crate) fn add(&mut self, reason: Keep) {
        *self.0.entry(reason).or_default() += 1;
    }

    fn count(&self, reason: Keep) -> u64 {
        self.0.get(&reason).copied().unwrap_or_default()
    }

    /// Describes them with the options that would select them; `None` if there are none. `least` is the idle time that
    /// was required, `owners` are the options that selected users; `users` are the processes that have the attached
    /// ones attached, and those that use POSIX objects.
    pub(crate) fn describe(&self, least: Duration, owners: &[&str], users: [&str; 2]) -> Option<String> {
        let least = if least < Duration::from_secs(1) { format!("{least:?}") } else { duration(least.as_secs()) };
        let is_one = |reason| self.count(reason) == 1;
        // The processes may have exited meanwhile.
        let by = |users: &str| if users.is_empty() { String::new() } else { format!(" by {users}") };
        let other_owner = match owners {
            [] => "of other users (--any-owner)".to_owned(),
            // Those of the caller can be among them.
            options => format!("of other owners (--any-owner instead of {})", options.join(" and ")),
        };
        let reasons = [
            (Keep::Young, format!("idle for less than {least} (--older-than 0s)")),
            (Keep::OtherOwner, other_owner),
            (Keep::Idle, "idle (--unattached)".to_owned()),
            (Keep::Unknown, "unknown (--unattached)".to_owned()),
            (Keep::Unused, "unused (--unattached)".to_owned()),
            (Keep::Attached, format!("attached{}", by(users[0]))),
            (Keep::InUse, format!("in use{}", by(users[1]))),
            (
                Keep::Persistent,
                if is_one(Keep::Persistent) { "needed by its program" } else { "needed by their programs" }.to_owned(),
            ),
            (Keep::Directory, if is_one(Keep::Directory) { "a directory" } else { "directories" }.to_owned()),
            (Keep::Linked, "with several names".to_owned()),
            (Keep::Excluded, "excluded by filters".to_owned()),
        ];
        let total: u64 = self.0.values().sum();
        let reasons = reasons.into_iter().map(|(reason, text)| (self.count(reason), text));
        let reasons = reasons.filter(|(count, _)| *count > 0).map(|(count, text)| format!("{count} {text}"));
        (total > 0).then(|| format!("kept {total}: {}", reasons.collect::<Vec<_>>().join(", ")))
    }
}

/// Totals over the destroyed objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Freed {
    pub(crate) segments: u64,
    /// The number of POSIX objects.
    pub(crate) objects: u64,
    /// Sum of the requested sizes, which can exceed the memory that was used.
    pub(crate) size: u128,
    /// `None` if that of an object is unknown.
    pub(crate) rss: Option<u128>,
    pub(crate) swap: Option<u128>,
}

impl Default for Freed {
    fn default() -> Self {
        Self { segments: 0, objects: 0, size: 0, rss: Some(0), swap: Some(0) }
    }
}

impl Freed {
    /// Adds an object; one that is only marked for destruction frees nothing yet.
    fn add(&mut self, removed: &Removed) {
        if removed.outcome == Outcome::Destroyed {
            *if removed.segment.is_segment() { &mut self.segments } else { &mut self.objects } += 1;
            self.size += u128::from(removed.segment.size);
            let sum = |total: Option<u128>, bytes: Option<u64>| Some(total? + u128::from(bytes?));
            self.rss = sum(self.rss, removed.segment.rss);
            self.swap = sum(self.swap, removed.segment.swap);
        }
    }
}

impl PruneReport {
    pub(crate) fn add(&mut self, removed: Removed) {
        self.freed.add(&removed);
        self.removal.removed.push(removed);
    }

    /// Returns the rows. In a table, a dry run says what would happen; the words of CSV and TSV are frozen.
    pub(crate) fn rows(&self, is_table: bool) -> Vec<PruneRow> {
        let outcome = |removed: &Removed| match removed.outcome {
            Outcome::Destroyed if is_table && self.removal.dry_run => "would destroy",
            outcome => outcome.as_str(),
        };
        let row =
            |object: &Object, outcome, why: &str| PruneRow { object: object.clone(), outcome, why: why.to_owned() };
        let removed = self.removal.removed.iter();
        let skipped = self.skipped.iter().map(|skipped| row(&skipped.segment, "skipped", &skipped.reason));
        removed.map(|removed| row(&removed.segment, outcome(removed), &removed.why)).chain(skipped).collect()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct PruneRow {
    object: Object,
    outcome: &'static str,
    why: String,
}

impl AsRef<Object> for PruneRow {
    fn as_ref(&self) -> &Object {
        &self.object
    }
}

/// The columns of `prune`. CSV and TSV print all of them; new columns may only be appended.
pub(crate) static PRUNE: &[Column<PruneRow>] = &[
    Column::right("ID", field::id),
    Column::left("KEY", field::key),
    Column::account("OWNER", field::owner),
    Column::right("SIZE", field::size),
    Column::right("RSS", field::rss),
    Column::right("SWAP", field::swap),
    Column::left("STATE", field::state),
    Column::right("IDLE", field::idle),
    Column::left("OUTCOME", |row| Cell::Word(row.outcome)),
    Column::left("WHY", |row: &PruneRow| Cell::Text(&row.why)).reason_shortened_to(30),
    Column::right("NS", field::namespace),
    Column::left("CONTAINER", field::container),
    Column::left("NAME", name).name_shortened_to(NAME_WIDTH),
];

/// The columns that identify both kinds in the table.
pub(crate) const PRUNE_BOTH: &[&str] =
    &["NAME", "KEY", "OWNER", "SIZE", "RSS", "SWAP", "STATE", "IDLE", "OUTCOME", "WHY"];

pub(crate) const PRUNE_DEFAULT: &[&str] =
    &["ID", "KEY", "OWNER", "SIZE", "RSS", "SWAP", "STATE", "IDLE", "OUTCOME", "WHY"];

/// Columns that the default table omits, in this order, if the terminal is too narrow.
pub(crate) const PRUNE_DROP_ORDER: &[&str] = &["SWAP", "OUTCOME", "CONTAINER", "STATE", "OWNER", "RSS", "IDLE", "KEY"];
