//! The columns of POSIX objects.

use super::segments::{account, commands, field, left, pids, right, users};
use super::{Cell, Column};
use crate::model::{Needs, Object, ObjectKind, Posix};

/// Returns the cell of a field that only a file has.
pub(super) fn posix<'a>(object: &'a Object, cell: impl FnOnce(&'a Posix) -> Cell<'a>) -> Cell<'a> {
    Cell::of(object.as_posix(), cell)
}

pub(super) fn file_name(object: &Object) -> Cell<'_> {
    posix(object, |posix| posix.name.as_ref().map_or(Cell::Nameless(posix.file()), |name| Cell::Text(name.as_str())))
}

/// Returns the cell of an attribute of a file; null if the attributes are not known.
fn known<'a>(object: &'a Object, cell: impl FnOnce(&'a Posix) -> Cell<'a>) -> Cell<'a> {
    posix(object, |posix| attribute(object, || cell(posix)))
}

/// Returns the cell of an attribute of an object of either kind; null if the attributes are not known.
fn attribute<'a>(object: &'a Object, cell: impl FnOnce() -> Cell<'a>) -> Cell<'a> {
    if object.as_posix().is_some_and(|posix| posix.lacks_attributes) { Cell::Null } else { cell() }
}

/// Returns the cell of a size; null for a directory that could not be read to its end.
fn whole<'a>(object: &'a Object, cell: impl FnOnce() -> Cell<'a>) -> Cell<'a> {
    if object.as_posix().is_some_and(|posix| posix.is_partial) { Cell::Null } else { cell() }
}

/// Returns the cell of the number of processes that use a file.
fn number_of_users(object: &Object) -> Cell<'_> {
    Cell::of(users(object), |users| Cell::Number(users.len() as u64))
}

/// The width to which a narrow terminal shortens the name of an object, which can have 255 bytes.
pub(super) const NAME_WIDTH: usize = 16;

/// All columns of a POSIX object; those of the record come first.
pub(crate) static FILE: &[Column<Object>] = &[
    left("OBJECT", "object", "device and inode; obj:OBJECT names the object", |object| {
        posix(object, |posix| Cell::File(posix.file()))
    }),
    left("TYPE", "type", "shm, sem, dir, memfd or anonymous", |object| {
        posix(object, |posix| Cell::Word(posix.file_type.as_str()))
    }),
    left("NAME", "name", "name; null if it has none, where a table shows obj:OBJECT", file_name)
        .name_shortened_to(NAME_WIDTH),
    right("SIZE", "size", "size in bytes", |object| whole(object, || field::size(object))),
    right("ALLOCATED", "allocated", "resident and swapped bytes", |object| {
        whole(object, || known(object, |posix| Cell::bytes(posix.allocated)))
    }),
    right("RSS", "rss", "resident bytes", field::rss).needs(Needs::RESIDENT),
    right("SWAP", "swap", "swapped bytes", field::swap).needs(Needs::RESIDENT),
    left("MODE", "mode", "permission bits", |object| known(object, |_| field::mode(object))),
    right("UID", "uid", "owner's user id", |object| known(object, |_| Cell::number(object.uid))),
    account("OWNER", "owner", "owner's name", |object| known(object, |_| field::owner(object))).needs(Needs::NAMES),
    right("GID", "gid", "group's id", |object| known(object, |_| Cell::number(object.gid))),
    account("GROUP", "group", "group's name", |object| known(object, |_| field::group(object))).needs(Needs::NAMES),
    right("LINKS", "links", "number of names (hard links)", |object| {
        known(object, |posix| Cell::Number(posix.stat.links))
    }),
    right("USERS", "users", "number of processes that use it", number_of_users).needs(Needs::ATTACHERS),
    right("MAPPINGS", "mappings", "number of mappings", |object| {
        posix(object, |posix| Cell::of(posix.counted_users(), |users| Cell::Number(users.mappings)))
    })
    .needs(Needs::ATTACHERS),
    right("DESCRIPTORS", "descriptors", "number of open descriptors", |object| {
        posix(object, |posix| Cell::of(posix.counted_users(), |users| Cell::Number(users.descriptors)))
    })
    .needs(Needs::ATTACHERS),
    left("BTIME", "btime", "creation", |object| {
        posix(object, |posix| Cell::of(posix.stat.btime, |time| Cell::Time(time.stamp())))
    }),
    left("ATIME", "atime", "last read or mmap; often not updated", |object| {
        known(object, |posix| Cell::Time(posix.stat.atime.stamp()))
    }),
    left("MTIME", "mtime", "last write, or first store to a page after mapping it", |object| {
        known(object, |posix| Cell::Time(posix.stat.mtime.stamp()))
    }),
    left("CTIME", "ctime", "last write or change of attributes", |object| {
        known(object, |_| Cell::of(object.ctime, Cell::Time))
    }),
    right(
        "IDLE",
        "idle_seconds",
        "time since the latest of these times; stores to mapped pages leave no trace",
        field::idle,
    )
    .needs(Needs::ATTACHERS),
    right("VALUE", "value", "value of a named semaphore", |object| {
        posix(object, |posix| Cell::of(posix.value, Cell::number))
    })
    .needs(Needs::CONTENTS),
    right("WAITERS", "waiters", "processes that wait for a named semaphore, including killed ones", |object| {
        posix(object, |posix| Cell::of(posix.waiters, Cell::number))
    })
    .needs(Needs::CONTENTS),
    left("SEALS", "seals", "seals of a memfd", |object| {
        posix(object, |posix| {
            Cell::of(posix.seals.as_ref(), |seals| Cell::Texts(seals.iter().map(|seal| seal.as_str()).collect()))
        })
    })
    .needs(Needs::CONTENTS),
    left("PRODUCT", "product", "program that uses such names", field::product),
    right("MAKER", "maker", "pid of the creator, if the name contains it or an attached segment does", |object| {
        posix(object, |posix| Cell::pid(posix.maker))
    })
    .needs(Needs::STATE),
    left("STATE", "state", "unlinked, in-use, unknown, idle, kept, orphan or unused", field::state).needs(Needs::STATE),
    left("DEV", "dev", "device of the file system", |object| {
        posix(object, |posix| Cell::Device(posix.stat.file.device))
    }),
    right("INODE", "inode", "inode number", |object| posix(object, |posix| Cell::Number(posix.stat.file.inode))),
    right("MNT_NS", "mnt_ns", "mount namespace in which it has this name", |object| {
        posix(object, |posix| Cell::of(posix.mnt_ns, Cell::Number))
    }),
    left("CONTAINER", "container", "container or unit of the mount namespace", field::container)
        .needs(Needs::CONTAINER),
    // The record ends here.
    left("PIDS", "pids", "processes that use it", pids).needs(Needs::ATTACHERS).list_shortened_to(16),
    left("COMMANDS", "commands", "commands of these processes", commands).needs(Needs::ATTACHERS).shortened_to(8),
];

/// What comes first in the default table with the objects of all namespaces.
pub(crate) static NAMESPACE: &[Column<Object>] = &[
    Column::right("NS", |object: &Object| match &object.kind {
        ObjectKind::SysV(_) => field::namespace(object),
        ObjectKind::Posix(posix) => Cell::of(posix.mnt_ns, Cell::Number),
    })
    .needs(Needs::NAMESPACE),
    Column::left("CONTAINER", field::container).needs(Needs::CONTAINER),
];

/// Returns what identifies an object of either kind: the id of a segment, the name of a POSIX object.
pub(super) fn name(object: &impl AsRef<Object>) -> Cell<'_> {
    match &object.as_ref().kind {
        ObjectKind::SysV(_) => field::id(object),
        ObjectKind::Posix(_) => file_name(object.as_ref()),
    }
}

/// The default table of `list`, with both kinds of objects.
pub(crate) static BOTH: &[Column<Object>] = &[
    Column::left("NAME", name).name_shortened_to(NAME_WIDTH),
    Column::left("KEY", field::key),
    Column::account("OWNER", |object| attribute(object, || field::owner(object))).needs(Needs::NAMES),
    Column::left("MODE", |object| attribute(object, || field::mode(object))),
    Column::right("SIZE", |object| whole(object, || field::size(object))),
    Column::right("RSS", field::rss).needs(Needs::RESIDENT),
    Column::right("USERS", |object| match &object.kind {
        ObjectKind::SysV(_) => field::nattch(object),
        ObjectKind::Posix(_) => number_of_users(object),
    }),
    Column::left("STATE", field::state).needs(Needs::STATE),
    Column::right("IDLE", field::idle),
    Column::left("LOCKED", field::locked),
    Column::left("COMMAND", |object: &Object| match &object.kind {
        ObjectKind::SysV(sysv) => Cell::text(sysv.creator_command.as_ref()),
        ObjectKind::Posix(_) => field::product(object),
    })
    .needs(Needs::COMMANDS)
    .shortened_to(8),
];

/// The default table with `--unlinked`.
pub(crate) const FILE_UNLINKED: &[&str] = &["OBJECT", "OWNER", "SIZE", "RSS", "USERS", "PIDS", "COMMANDS"];

/// Columns that the tables with objects omit, in this order, if the terminal is too narrow.
pub(crate) const FILE_DROP_ORDER: &[&str] = &["PRODUCT", "COMMAND", "MODE", "RSS", "IDLE", "OWNER", "CONTAINER", "KEY"];

/// The number of fields in the record.
pub(super) const FILE_FIELDS: usize = 31;

/// The default table with `--posix`.
pub(crate) const FILE_DEFAULT: &[&str] = &["NAME", "OWNER", "MODE", "SIZE", "RSS", "USERS", "STATE", "IDLE", "PRODUCT"];

/// The record of JSON, CSV and TSV; new fields may only be appended.
pub(crate) fn file_record() -> Vec<&'static str> {
    FILE[..FILE_FIELDS].iter().map(|column| column.name).collect()
}
