//! The columns of segments.

use serde::{Serialize, Serializer};

use super::files::{FILE, FILE_FIELDS};
use super::{Cell, Column};
use crate::model::{Needs, Object, ObjectKind, SegmentUsers, SysV};

/// Returns the cell of a field that only a System V segment has.
fn sysv<'a>(object: &'a Object, cell: impl FnOnce(&'a SysV) -> Cell<'a>) -> Cell<'a> {
    Cell::of(object.as_sysv(), cell)
}

/// Fields that the rows of several commands show.
pub(super) mod field {
    use super::{Cell, Object, sysv};

    /// Defines for each field the function from a row to its cell.
    macro_rules! fields {
        ($($name:ident = |$object:ident| $cell:expr;)+) => {
            $(pub(crate) fn $name(row: &impl AsRef<Object>) -> Cell<'_> {
                let $object = row.as_ref();
                $cell
            })+
        };
    }

    fields! {
        id = |object| sysv(object, |sysv| Cell::number(sysv.id.raw().cast_unsigned()));
        locked = |object| sysv(object, |sysv| Cell::Flag(sysv.locked));
        key = |object| sysv(object, |sysv| Cell::Key(sysv.key));
        owner = |object| Cell::Account(object.owner.as_deref(), object.uid);
        group = |object| Cell::Account(object.group.as_deref(), object.gid);
        mode = |object| Cell::Mode(object.mode);
        size = |object| Cell::bytes(object.size);
        rss = |object| Cell::of(object.rss, Cell::bytes);
        swap = |object| Cell::of(object.swap, Cell::bytes);
        nattch = |object| sysv(object, |sysv| Cell::Number(sysv.nattch));
        cpid = |object| sysv(object, |sysv| Cell::pid(sysv.cpid));
        state = |object| Cell::of(object.state, |state| Cell::Word(state.as_str()));
        idle = |object| Cell::of(object.idle_seconds, Cell::Seconds);
        namespace = |object| Cell::of(object.ipc_namespace(), Cell::Number);
        container = |object| Cell::text(object.container.as_ref());
        product = |object| Cell::text(object.product.as_ref());
    }
}

impl AsRef<Self> for Object {
    fn as_ref(&self) -> &Self {
        self
    }
}

type Show = for<'a> fn(&'a Object) -> Cell<'a>;

pub(super) const fn left(name: &'static str, json: &'static str, help: &'static str, cell: Show) -> Column<Object> {
    Column::left(name, cell).described(json, help)
}

pub(super) const fn right(name: &'static str, json: &'static str, help: &'static str, cell: Show) -> Column<Object> {
    Column::right(name, cell).described(json, help)
}

pub(super) const fn account(name: &'static str, json: &'static str, help: &'static str, cell: Show) -> Column<Object> {
    Column::account(name, cell).described(json, help)
}

/// All columns of a segment; those of the record come first.
pub(crate) static SEGMENT: &[Column<Object>] = &[
    right("ID", "id", "id (shmid)", field::id),
    left("KEY", "key", "key; 0x00000000 if private or marked for destruction", field::key),
    right("SIZE", "size", "requested size in bytes", field::size),
    left("MODE", "mode", "permission bits", field::mode),
    right("UID", "uid", "owner's user id", |object| Cell::number(object.uid)),
    account("OWNER", "owner", "owner's name", field::owner).needs(Needs::NAMES),
    right("GID", "gid", "owner's group id", |object| Cell::number(object.gid)),
    account("GROUP", "group", "owner's group", field::group).needs(Needs::NAMES),
    right("CUID", "cuid", "creator's user id", |object| sysv(object, |sysv| Cell::number(sysv.cuid))),
    account("CREATOR", "creator", "creator's name", |object| {
        sysv(object, |sysv| Cell::Account(sysv.creator.as_deref(), sysv.cuid))
    })
    .needs(Needs::NAMES),
    right("CGID", "cgid", "creator's group id", |object| sysv(object, |sysv| Cell::number(sysv.cgid))),
    account("CREATOR_GROUP", "creator_group", "creator's group", |object| {
        sysv(object, |sysv| Cell::Account(sysv.creator_group.as_deref(), sysv.cgid))
    })
    .needs(Needs::NAMES),
    right("CPID", "cpid", "creator's pid", field::cpid),
    right("LPID", "lpid", "last user: the process of the last attach or detach", |object| {
        sysv(object, |sysv| Cell::pid(sysv.lpid))
    }),
    right("NATTCH", "nattch", "number of attachments (mappings)", field::nattch),
    left("ATIME", "atime", "last attach", |object| sysv(object, |sysv| Cell::of(sysv.atime, Cell::Time))),
    left("DTIME", "dtime", "last detach", |object| sysv(object, |sysv| Cell::of(sysv.dtime, Cell::Time))),
    left("CTIME", "ctime", "creation, or last change of owner or mode", |object| Cell::of(object.ctime, Cell::Time)),
    right("IDLE", "idle_seconds", "time since the last attach, detach or change", field::idle),
    left("DEST", "dest", "marked for destruction", |object| sysv(object, |sysv| Cell::Flag(sysv.dest))),
    left("LOCKED", "locked", "locked in memory", |object| sysv(object, |sysv| Cell::Flag(sysv.locked))),
    right("RSS", "rss", "resident bytes", field::rss).needs(Needs::RESIDENT),
    right("SWAP", "swap", "swapped bytes", field::swap).needs(Needs::RESIDENT),
    left("STATE", "state", "in-use, dest, idle, orphan or unknown", field::state).needs(Needs::STATE),
    right("NS", "ns", "IPC namespace number", field::namespace).needs(Needs::NAMESPACE),
    // The record ends here.
    left("CCOMMAND", "ccommand", "command of the creator, while it is running", |object| {
        sysv(object, |sysv| Cell::text(sysv.creator_command.as_ref()))
    })
    .needs(Needs::COMMANDS)
    .shortened_to(8),
    left("LCOMMAND", "lcommand", "command of the last user, while it is running", |object| {
        sysv(object, |sysv| Cell::text(sysv.last_command.as_ref()))
    })
    .needs(Needs::COMMANDS)
    .shortened_to(16),
    left("PIDS", "pids", "processes that have it attached", pids)
        .needs(Needs::ATTACHERS)
        .list_shortened_to(12)
        .preferred_to_others(16),
    left("COMMANDS", "commands", "commands of these processes", commands)
        .needs(Needs::ATTACHERS)
        .shortened_to(8)
        .preferred_to_others(20),
    left("FORMER_KEY", "former_key", "key before the segment was marked for destruction", |object| {
        Cell::of(object.former_key(), Cell::Key)
    })
    .needs(Needs::ATTACHERS),
    right("PAGE_SIZE", "page_size", "page size, if a visible process has it attached", |object| {
        Cell::of(object.page_size, Cell::bytes)
    })
    .needs(Needs::PAGE_SIZE),
    left("PRODUCT", "product", "program that it belongs to, as identify shows it", field::product)
        .needs(Needs::PRODUCT),
    left("CONTAINER", "container", "container or unit of the namespace", field::container).needs(Needs::CONTAINER),
];

/// Returns each process that uses an object, with its command; `None` if they are not known.
pub(super) fn users(object: &Object) -> Option<Vec<(i32, Option<&str>)>> {
    match &object.kind {
        ObjectKind::SysV(_) => {
            let users = object.attachers.as_deref().and_then(SegmentUsers::known)?;
            Some(users.map(|user| (user.pid, user.command.as_deref())).collect())
        }
        ObjectKind::Posix(posix) => {
            let users = posix.counted_users()?.processes().filter_map(|process| process.first());
            Some(users.map(|user| (user.pid, user.command.as_deref())).collect())
        }
    }
}

pub(super) fn pids(object: &Object) -> Cell<'_> {
    Cell::of(users(object), |users| Cell::Pids(users.into_iter().map(|(pid, _)| pid).collect()))
}

pub(super) fn commands(object: &Object) -> Cell<'_> {
    Cell::of(users(object), |users| Cell::Texts(users.into_iter().filter_map(|(_, command)| command).collect()))
}

const FIELDS: usize = 25;

/// Returns the columns of the record of JSON, CSV and TSV; new fields may only be appended. In JSON, `all_ns` adds the
/// container to them.
pub(crate) fn record(all_ns: bool) -> Vec<&'static str> {
    let fields = SEGMENT[..FIELDS].iter().map(|column| column.name);
    fields.chain(all_ns.then_some("CONTAINER")).collect()
}

pub(crate) const DEFAULT: &[&str] =
    &["ID", "KEY", "OWNER", "MODE", "SIZE", "RSS", "NATTCH", "STATE", "LOCKED", "IDLE", "CPID", "CCOMMAND"];
/// The columns that the default table omits if no segment has them.
pub(crate) const OPTIONAL: &[&str] = &["LOCKED"];
/// Columns that the default table omits, in this order, if the terminal is too narrow.
pub(crate) const DROP_ORDER: &[&str] = &["CCOMMAND", "CPID", "MODE", "RSS", "IDLE", "OWNER", "CONTAINER"];
/// The view of times (`-t`).
pub(crate) const TIMES: &[&str] = &["ID", "KEY", "OWNER", "ATIME", "DTIME", "CTIME", "IDLE"];
/// The view of processes (`-p`).
pub(crate) const PIDS: &[&str] = &["ID", "KEY", "OWNER", "CPID", "LPID", "CCOMMAND", "LCOMMAND"];
/// The view of creators (`-c`).
pub(crate) const CREATORS: &[&str] = &["ID", "KEY", "MODE", "CREATOR", "CREATOR_GROUP", "OWNER", "GROUP"];
/// Columns that these views omit, in this order, if the terminal is too narrow for several of them.
pub(crate) const VIEWS_DROP_ORDER: &[&str] =
    &["CREATOR_GROUP", "GROUP", "LCOMMAND", "CCOMMAND", "IDLE", "CREATOR", "MODE", "OWNER", "LPID"];

/// In JSON, an object is its record.
impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = match &self.kind {
            ObjectKind::SysV(_) => &SEGMENT[..FIELDS],
            ObjectKind::Posix(_) => &FILE[..FILE_FIELDS],
        };
        let fields = record.iter().map(|column| (column.json, (column.cell)(self)));
        serializer.collect_map(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;

    #[test]
    fn every_view_names_existing_columns() {
        fn check<R>(registry: &'static [Column<R>], views: &[&[&str]]) {
            for view in views {
                assert_eq!(by_names(registry, view).len(), view.len(), "{view:?}");
            }
        }
        check(SEGMENT, &[&record(true), DEFAULT, DROP_ORDER, TIMES, PIDS, CREATORS, VIEWS_DROP_ORDER]);
        check(ATTACHERS, &[BY_PROCESS, BY_PROCESS_SIZE, BY_MAPPING, NAMESPACE_COLUMNS]);
        check(DIFFERENCE, &[DIFFERENCE_DEFAULT, DIFFERENCE_ALL_NS, DIFFERENCE_DROP_ORDER]);
        check(PRUNE, &[PRUNE_DEFAULT, PRUNE_DROP_ORDER]);
        check(FILE, &[FILE_DEFAULT, FILE_UNLINKED, &file_record()]);
        check(FILE_USERS, &[USERS_BY_PROCESS, USERS_BY_PROCESS_SIZE, USERS_BY_USE]);
        let is_column = |name: &&str| [FILE, BOTH, NAMESPACE].iter().any(|it| !by_names(it, &[*name]).is_empty());
        assert!(FILE_DROP_ORDER.iter().all(is_column), "{FILE_DROP_ORDER:?}");
        assert_eq!(file_record().last(), Some(&"CONTAINER"), "the record ends there");
    }
}
