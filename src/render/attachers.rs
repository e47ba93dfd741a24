//! Who has segments attached: rows of processes or of mappings, and the JSON of `who`.

use std::io::{self, Write};
use std::sync::Arc;

use super::{Align, Cell, Column, Object};
use crate::model::{Access, Attacher, Attachers, ShmId};

/// What `who` tells of one segment.
#[derive(Clone, Debug)]
pub(crate) struct Attachments {
    /// The segment.
    pub(crate) id: ShmId,
    /// The IPC namespace that it is in; `None` if that has no process any more.
    pub(crate) ns: Option<u64>,
    /// How many attachments the kernel counts; `None` where the namespace cannot be asked.
    pub(crate) nattch: Option<u64>,
    /// The container or unit to which the namespace belongs.
    pub(crate) container: Option<Arc<str>>,
    /// Who has it attached.
    pub(crate) attachers: Arc<Attachers>,
}

/// A row: a mapping, or all mappings of a process.
#[derive(Clone, Debug)]
pub(crate) struct AttacherRow {
    /// The segment.
    id: ShmId,
    /// Its namespace.
    ns: Option<u64>,
    /// The container or unit to which that belongs.
    container: Option<Arc<str>>,
    /// How many mappings this row is about.
    attaches: u64,
    /// What may be done with the memory.
    access: Access,
    /// The first of them.
    attacher: Attacher,
}

impl Attachments {
    /// Gives a row for each mapping.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = AttacherRow> + '_ {
        self.attachers.list.iter().map(|attacher| self.row(std::slice::from_ref(attacher), attacher))
    }

    /// Gives a row for each process.
    pub(crate) fn processes(&self) -> impl Iterator<Item = AttacherRow> + '_ {
        self.attachers.processes().map(|process| self.row(process, &process[0]))
    }

    /// Makes a row of some mappings of a process.
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

/// The columns of attachments.
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
    Column::plain("ACCESS", "access", Align::Left, "rw or ro", |row| Cell::Word(row.access.word())),
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

/// A row a process.
pub(crate) const BY_PROCESS: &[&str] = &["ID", "PID", "USER", "ATTACHES", "ACCESS", "COMMAND"];
/// A row a mapping.
pub(crate) const BY_MAPPING: &[&str] = &["ID", "PID", "USER", "ADDRESS", "SIZE", "ACCESS", "CERTAIN", "COMMAND"];
/// What stands before these where there are several namespaces.
pub(crate) const WHERE: &[&str] = &["SEGMENT_NS", "CONTAINER"];
/// CSV and TSV: frozen, columns may only be added behind.
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
/// The keys of an attachment in JSON, in their order.
const JSON: &[&str] = &["PID", "UID", "USER", "COMMAND", "ADDRESS", "SIZE", "ACCESS", "NS", "CERTAIN", "SHARED_WITH"];

/// Writes the report of `who` as JSON.
///
/// # Errors
/// The writer's.
pub(crate) fn write_who_json(out: &mut impl Write, segments: &[Attachments]) -> io::Result<()> {
    let mut object = Object::schema(out)?;
    object.list("segments", segments, |out, segment| {
        let mut object = Object::open(out)?;
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

/// Writes the fields that tell who has a segment attached.
///
/// # Errors
/// The writer's.
pub(super) fn write_attachments<W: Write>(object: &mut Object<'_, W>, segment: &Attachments) -> io::Result<()> {
    let columns = super::column::by_names(ATTACHERS, JSON);
    object.list("attachments", segment.mappings(), |out, row| {
        let mut object = Object::open(out)?;
        object.row(&columns, &row)?;
        object.close()
    })?;
    object.list("hidden", &segment.attachers.hidden, |out, (reason, count)| {
        let mut object = Object::open(out)?;
        object.text("reason", reason.word())?;
        object.number("count", *count)?;
        object.close()
    })
}

#[cfg(test)]
mod tests {
    use super::super::column::by_names;
    use super::*;

    #[test]
    fn every_view_names_columns_that_exist() {
        for view in [BY_PROCESS, BY_MAPPING, WHERE, ATTACHER_RECORD, JSON] {
            assert_eq!(by_names(ATTACHERS, view).len(), view.len(), "{view:?}");
        }
    }

    #[test]
    fn the_keys_are_the_contract_s() {
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
