//! The report of `who`: one row for each attached process or mapping, and the JSON.

use std::sync::Arc;

use serde::Serialize;

use super::{Cell, Column, Failure, UsedFile};
use crate::model::{Access, Ident, Key, Object, SegmentUser, SegmentUsers};

/// A segment whose users were searched for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct UsedSegment {
    #[serde(flatten)]
    pub(crate) id: Ident,
    /// The object's IPC namespace; `None` if no process is left in it.
    pub(crate) ns: Option<u64>,
    /// The kernel's attachment count; `None` if the namespace cannot be entered.
    pub(crate) nattch: Option<u64>,
    /// The object's size in bytes; 0 if it is not known.
    #[serde(skip)]
    pub(crate) size: u64,
    found: u64,
    #[serde(flatten)]
    pub(crate) attachers: Arc<SegmentUsers>,
    pub(crate) container: Option<Arc<str>>,
    /// The key before it was marked for destruction.
    pub(crate) former_key: Option<Key>,
}

#[derive(Debug, Serialize)]
pub(crate) struct WhoReport<'a> {
    pub(crate) segments: &'a [UsedSegment],
    /// `None` if they could not be looked for.
    pub(crate) objects: Option<&'a [UsedFile]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed: Vec<Failure>,
}

/// A row: one mapping, or all mappings of one process.
#[derive(Clone, Debug)]
pub(crate) struct AttacherRow {
    id: Ident,
    ns: Option<u64>,
    container: Option<Arc<str>>,
    attaches: u64,
    /// `rw` if any of the mappings is writable.
    access: Access,
    /// The size of the mapping, or of the object.
    size: u64,
    attacher: SegmentUser,
}

impl UsedSegment {
    /// Returns the attachments of an object whose attachers were searched for.
    pub(crate) fn of(object: &Object) -> Self {
        let attachers = object.attachers.clone().unwrap_or_default();
        Self {
            ns: object.ipc_namespace(),
            nattch: Some(object.sysv().nattch),
            size: object.size,
            container: object.container.clone(),
            former_key: object.former_key(),
            ..Self::elsewhere(object.ident(), attachers)
        }
    }

    /// Returns the attachments of an object of a namespace in which no process is left.
    pub(crate) fn elsewhere(id: Ident, attachers: Arc<SegmentUsers>) -> Self {
        Self {
            id,
            ns: None,
            nattch: None,
            size: 0,
            found: attachers.found(),
            attachers,
            container: None,
            former_key: None,
        }
    }

    pub(crate) fn mappings(&self) -> impl Iterator<Item = AttacherRow> + '_ {
        self.attachers.list.iter().map(|attacher| self.row(std::slice::from_ref(attacher), attacher.size))
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = AttacherRow> + '_ {
        self.attachers.processes().map(|process| self.row(process, self.size))
    }

    /// Merges mappings of one process into a row.
    fn row(&self, mappings: &[SegmentUser], size: u64) -> AttacherRow {
        let writes = mappings.iter().any(|mapping| mapping.access == Access::ReadWrite);
        AttacherRow {
            id: self.id.clone(),
            ns: self.ns,
            container: self.container.clone(),
            attaches: mappings.len() as u64,
            access: if writes { Access::ReadWrite } else { Access::ReadOnly },
            size,
            attacher: SegmentUser { certain: mappings.iter().all(|mapping| mapping.certain), ..mappings[0].clone() },
        }
    }
}

/// The columns of `who`. CSV and TSV print all but CONTAINER; new ones are inserted before it.
pub(crate) static ATTACHERS: &[Column<AttacherRow>] = &[
    Column::right("ID", |row| match &row.id {
        Ident::Id(id) => Cell::number(id.raw().cast_unsigned()),
        Ident::Name(_) | Ident::File(_) => Cell::Null,
    }),
    Column::right("PID", |row| Cell::pid(Some(row.attacher.pid))),
    Column::account("USER", |row| Cell::of(row.attacher.uid, |uid| Cell::Account(row.attacher.user.as_deref(), uid))),
    Column::right("ATTACHES", |row| Cell::Number(row.attaches)),
    Column::left("ACCESS", |row| Cell::Word(row.access.as_str())),
    Column::left("COMMAND", |row: &AttacherRow| Cell::text(row.attacher.command.as_ref())).shortened_to(8),
    Column::right("ADDRESS", |row| Cell::Address(row.attacher.address)),
    Column::right("SIZE", |row| Cell::bytes(row.size)),
    Column::right("UID", |row| Cell::of(row.attacher.uid, Cell::number)),
    Column::right("NS", |row| Cell::of(row.attacher.ns, Cell::Number)),
    Column::left("CERTAIN", |row| Cell::Flag(row.attacher.certain)),
    Column::left("SHARED_WITH", |row| Cell::of(row.attacher.shared_with.clone(), Cell::Pids)),
    Column::right("SEGMENT_NS", |row| Cell::of(row.ns, Cell::Number)),
    Column::left("CONTAINER", |row| Cell::text(row.container.as_ref())),
];

pub(crate) const BY_PROCESS: &[&str] = &["ID", "PID", "USER", "ATTACHES", "ACCESS", "COMMAND"];
/// The same with the size of the segments.
pub(crate) const BY_PROCESS_SIZE: &[&str] = &["ID", "PID", "USER", "ATTACHES", "ACCESS", "SIZE", "COMMAND"];
pub(crate) const BY_MAPPING: &[&str] = &["ID", "PID", "USER", "ADDRESS", "SIZE", "ACCESS", "CERTAIN", "COMMAND"];
/// The columns that come first with `--all-ns`.
pub(crate) const NAMESPACE_COLUMNS: &[&str] = &["SEGMENT_NS", "CONTAINER"];
