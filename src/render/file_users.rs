//! The report of `who` for POSIX objects: one row for each process, or for each mapping and descriptor.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::files::NAME_WIDTH;
use super::{Cell, Column};
use crate::model::{Access, FileId, FileUser, FileUsers, HiddenBy, Ident, Object, ObjectName};

/// An object whose users were searched for.
#[derive(Clone, Debug)]
pub(crate) struct UsedFile {
    pub(crate) ident: Ident,
    file: FileId,
    name: Option<ObjectName>,
    pub(crate) size: u64,
    pub(crate) users: Arc<FileUsers>,
}

impl UsedFile {
    /// Returns the users of an object: some processes, or all if `pids` is empty.
    pub(crate) fn of(object: &Object, pids: &[i32]) -> Self {
        let posix = object.posix();
        let mut users = posix.users.clone().unwrap_or_default();
        if !pids.is_empty() {
            Arc::make_mut(&mut users).list.retain(|user| pids.contains(&user.pid));
        }
        Self { ident: object.ident(), file: posix.file(), name: posix.name.clone(), size: object.size, users }
    }

    /// Returns a row for each process, or for each mapping and descriptor.
    pub(crate) fn rows(&self, each: bool) -> Vec<FileUserRow> {
        let name = self.ident.argument();
        let row = |user: &FileUser, access, size| FileUserRow { name: name.clone(), access, size, user: user.clone() };
        if each {
            return self.users.list.iter().map(|user| row(user, user.access, user.size)).collect();
        }
        let most = |process: &[FileUser]| process.iter().filter_map(|user| user.access).max();
        self.users.processes().map(|process| row(&process[0], most(process), Some(self.size))).collect()
    }
}

impl Serialize for UsedFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Report<'a> {
            object: FileId,
            name: Option<&'a ObjectName>,
            in_use: Option<bool>,
            found: usize,
            users: &'a [FileUser],
            hidden: Vec<Hidden>,
        }
        #[derive(Serialize)]
        struct Hidden {
            reason: HiddenBy,
            count: Option<u64>,
        }
        let users = &self.users;
        let mut hidden: Vec<_> = users.hidden.iter().map(|&reason| Hidden { reason, count: None }).collect();
        if users.list.is_empty() && users.in_use() == Some(true) {
            // At least one process uses it.
            match &mut *hidden {
                [one] | [one @ Hidden { reason: HiddenBy::InFlight, .. }, ..] => one.count = Some(1),
                _ => hidden.push(Hidden { reason: HiddenBy::Unknown, count: Some(1) }),
            }
        }
        Report {
            object: self.file,
            name: self.name.as_ref(),
            in_use: users.in_use(),
            found: users.processes().count(),
            users: &users.list,
            hidden,
        }
        .serialize(serializer)
    }
}

/// A process that uses an object.
#[derive(Clone, Debug)]
pub(crate) struct FileUserRow {
    name: String,
    /// The most access of all its mappings and descriptors.
    access: Option<Access>,
    /// The size of the mapping, or of the object; `None` for a descriptor.
    size: Option<u64>,
    user: FileUser,
}

/// The columns of `who` for POSIX objects.
pub(crate) static FILE_USERS: &[Column<FileUserRow>] = &[
    Column::left("NAME", |row: &FileUserRow| Cell::Text(&row.name)).name_shortened_to(NAME_WIDTH),
    Column::right("PID", |row| Cell::pid(Some(row.user.pid))),
    Column::account("USER", |row| Cell::of(row.user.uid, |uid| Cell::Account(row.user.user.as_deref(), uid))),
    Column::left("HOW", |row| Cell::Word(row.user.how.as_str())),
    Column::left("ACCESS", |row| Cell::of(row.access, |access| Cell::Word(access.as_str()))),
    Column::left("COMMAND", |row: &FileUserRow| Cell::text(row.user.command.as_ref())).shortened_to(8),
    Column::right("FD", |row| Cell::pid(row.user.fd)),
    Column::right("ADDRESS", |row| Cell::of(row.user.address, Cell::Address)),
    Column::right("SIZE", |row| Cell::of(row.size, Cell::bytes)),
    Column::right("UID", |row| Cell::of(row.user.uid, Cell::number)),
    Column::right("NS", |row| Cell::of(row.user.ns, Cell::Number)),
    Column::right("MNT_NS", |row| Cell::of(row.user.mnt_ns, Cell::Number)),
];

/// The default view: one row for each process.
pub(crate) const USERS_BY_PROCESS: &[&str] = &["NAME", "PID", "USER", "HOW", "ACCESS", "COMMAND"];
/// The same with the size of the objects.
pub(crate) const USERS_BY_PROCESS_SIZE: &[&str] = &["NAME", "PID", "USER", "HOW", "ACCESS", "SIZE", "COMMAND"];
/// The view with one row for each mapping and descriptor.
pub(crate) const USERS_BY_USE: &[&str] = &["NAME", "PID", "USER", "HOW", "FD", "ADDRESS", "SIZE", "ACCESS", "COMMAND"];
