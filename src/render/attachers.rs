//! The report of `who`: one row for each attached process or mapping, and the JSON.

use std::io::{self, Write};
use std::sync::Arc;

use super::{Align, Cell, Column, JsonObject};
use crate::model::{Access, Attacher, Attachers, ShmId};

/// The attachments of one segment.
#[derive(Clone, Debug)]
pub(crate) struct Attachments {
    pub(crate) id: ShmId,
    /// The segment's IPC namespace; `None` if no process is left in it.
    pub(crate) ns: Option<u64>,
    /// The kernel's attachment count; `None` if the namespace cannot be entered.
    pub(crate) nattch: Option<u64>,
    /// The container or unit of the namespace.
    pub(crate) container: Option<Arc<str>>,
    pub(crate) attachers: Arc<Attachers>,
}

/// A row: one mapping, or all mappings of one process.
#[derive(Clone, Debug)]
pub(crate) struct AttacherRow {
    id: ShmId,
    ns: Option<u64>,
    container: Option<Arc<str>>,
    /// The number of mappings in this row.
    attaches: u64,
    /// `rw` if any of the mappings is writable.
    access: Access,
    /// The first mapping.
    attacher: Attacher,
}

impl Attachments {
    /// Returns one row for each mapping.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = AttacherRow> + '_ {
        self.attachers.list.iter().map(|attacher| self.row(std::slice::from_ref(attacher), attacher))
    }

    /// Returns one row for each process.
    pub(crate) fn processes(&self) -> impl Iterator<Item = AttacherRow> + '_ {
        self.attachers.processes().map(|process| self.row(process, &process[0]))
    }

    /// Merges mappings of one process into a row.
    fn row(&self, mappings: &[Attacher], first: &Attacher) -> AttacherRow {
        let writes = mappings.iter().any(|mapping| mapping.access == Access::ReadWrite);
        AttacherRow {
            id: self.id,
            ns: self.ns,
            container: self.container.clone(),
            attaches: mappings.len() as u64,
            access: if writes { Access::ReadWrite } else { Access::ReadOnly },
            attacher: Attacher { certain: mappings.iter().all(|mapping| mapping.certain), ..first.clone() },
        }
    }
}

/// The columns of `who`.
pub(crate) static ATTACHERS: &[Column<AttacherRow>] = &[
    Column::plain("ID", "id", Align::Right, "id of the segment", |row| {
        Cell::Number(u64::from(row.id.raw().cast_unsigned()))
    }),
    Column::plain("PID", "pid", Align::Right, "process", |row| Cell::pid(Some(row.attacher.pid))),
    Column::plain("UID", "uid", Align::Right, "effective user id of the process", |row| {
        Cell::of(row.attacher.uid, |uid| Cell::Number(uid.into()))
    }),
    Column::plain("USER", "user", Align::Left, "user of the process", |row| match row.attacher.uid {
        Some(uid) => Cell::Account(row.attacher.user.as_deref(), uid),
        None => Cell::Null,
    }),
    Column::plain("ATTACHES", "attaches", Align::Right, "number of attachments (mappings)", |row| {
        Cell::Number(row.attaches)
    }),
    Column::plain("ACCESS", "access", Align::Left, "rw or ro", |row| Cell::Word(row.access.as_str())),
    Column {
        least: Some(8),
        ..Column::plain("COMMAND", "command", Align::Left, "command line", |row| {
            Cell::of(row.attacher.command.as_deref(), Cell::Text)
        })
    },
    Column::plain("ADDRESS", "address", Align::Right, "address of the mapping", |row| {
        Cell::Address(row.attacher.address)
    }),
    Column::plain("SIZE", "size", Align::Right, "size of the mapping in bytes", |row| Cell::bytes(row.attacher.size)),
    Column::plain("NS", "ns", Align::Right, "IPC namespace of the process", |row| {
        Cell::of(row.attacher.ns, Cell::Number)
    }),
    Column::plain("CERTAIN", "certain", Align::Left, "whether the mapping is certainly of this segment", |row| {
        Cell::Flag(row.attacher.certain)
    }),
    Column::plain("SHARED_WITH", "shared_with", Align::Left, "processes that share this memory (CLONE_VM)", |row| {
        Cell::of(row.attacher.shared_with.clone(), Cell::Pids)
    }),
    Column::plain("SEGMENT_NS", "segment_ns", Align::Right, "IPC namespace of the segment", |row| {
        Cell::of(row.ns, Cell::Number)
    }),
    Column::plain("CONTAINER", "container", Align::Left, "container or unit of the namespace", |row| {
        Cell::of(row.container.as_deref(), Cell::Text)
    }),
];

/// The default view: one row for each process.
pub(crate) const BY_PROCESS: &[&str] = &["ID", "PID", "USER", "ATTACHES", "ACCESS", "COMMAND"];
/// The view with one row for each mapping.
pub(crate) const BY_MAPPING: &[&str] = &["ID", "PID", "USER", "ADDRESS", "SIZE", "ACCESS", "CERTAIN", "COMMAND"];
/// The columns that come first with `--all-ns`.
pub(crate) const NAMESPACE_COLUMNS: &[&str] = &["SEGMENT_NS", "CONTAINER"];
/// The columns of CSV and TSV; new ones may only be appended.
pub(crate) const ATTACHER_RECORD: &[&str] = &[
    "ID",
    "PID",
    "USER",
    "ATTACHES",
    "ACCESS",
    "COMMAND",
    "ADDRESS",
    "SIZE",
    "UID",
    "NS",
    "CERTAIN",
    "SHARED_WITH",
    "SEGMENT_NS",
];
/// The columns of an attachment in JSON.
const JSON: &[&str] = &["PID", "UID", "USER", "COMMAND", "ADDRESS", "SIZE", "ACCESS", "NS", "CERTAIN", "SHARED_WITH"];

/// Writes the report of `who` as JSON.
pub(crate) fn write_who_json(out: &mut impl Write, segments: &[Attachments]) -> io::Result<()> {
    let mut object = JsonObject::schema(out)?;
    object.list("segments", segments, |out, segment| {
        let mut object = JsonObject::open(out)?;
        object.number("id", segment.id.raw())?;
        object.optional("ns", segment.ns)?;
        object.optional("nattch", segment.nattch)?;
        object.number("found", segment.attachers.found())?;
        write_attachments(&mut object, segment)?;
        object.text("container", segment.container.as_deref())?;
        object.close()
    })?;
    object.end()
}

/// Writes the fields `attachments` and `hidden`.
pub(super) fn write_attachments<W: Write>(object: &mut JsonObject<'_, W>, segment: &Attachments) -> io::Result<()> {
    let columns = super::column::by_names(ATTACHERS, JSON);
    object.list("attachments", segment.mappings(), |out, row| {
        let mut object = JsonObject::open(out)?;
        object.row(&columns, &row)?;
        object.close()
    })?;
    object.list("hidden", &segment.attachers.hidden, |out, (reason, count)| {
        let mut object = JsonObject::open(out)?;
        object.text("reason", reason.as_str())?;
        object.number("count", *count)?;
        object.close()
    })
}

#[cfg(test)]
mod tests {
    use super::super::column::by_names;
    use super::*;

    #[test]
    fn every_view_names_existing_columns() {
        for view in [BY_PROCESS, BY_MAPPING, NAMESPACE_COLUMNS, ATTACHER_RECORD, JSON] {
            assert_eq!(by_names(ATTACHERS, view).len(), view.len(), "{view:?}");
        }
    }

    #[test]
    fn json_keys_are_stable() {
        let attacher = Attacher {
            pid: 1,
            uid: None,
            user: None,
            command: None,
            address: 0x7f00_0000_0000,
            size: 4096,
            access: Access::ReadOnly,
            ns: None,
            certain: true,
            counts: true,
            shared_with: Some(Vec::new()),
        };
        let attachers = Attachers { list: vec![attacher], hidden: vec![(crate::model::HiddenBy::InFlight, 2)] };
        let id = ShmId::new(5).unwrap();
        let segment = Attachments { id, ns: Some(7), nattch: Some(3), container: None, attachers: Arc::new(attachers) };
        let mut out = Vec::new();
        write_who_json(&mut out, &[segment]).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"schema\":1,\"segments\":[{\"id\":5,\"ns\":7,\"nattch\":3,\"found\":1,\"attachments\":[{\"pid\":1,\
             \"uid\":null,\"user\":null,\"command\":null,\"address\":\"0x7f0000000000\",\"size\":4096,\
             \"access\":\"ro\",\"ns\":null,\"certain\":true,\"shared_with\":[]}],\
             \"hidden\":[{\"reason\":\"in-flight\",\"count\":2}],\"container\":null}]}\n"
        );
    }
}
