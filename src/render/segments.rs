//! The columns of segments.

use super::{Align, Cell, Column};
use crate::model::{Attachers, Needs, Object};

const fn column(
    name: &'static str,
    json: &'static str,
    align: Align,
    needs: Needs,
    help: &'static str,
    cell: for<'a> fn(&'a Object) -> Cell<'a>,
) -> Column<Object> {
    Column { name, json, align, least: None, help, needs, cell }
}

/// For columns that every listing reads anyway.
const INEXPENSIVE: Needs = Needs::empty();

/// All columns of a segment; those of [`RECORD`] come first, in its order.
pub(crate) static SEGMENT: &[Column<Object>] = &[
    column("ID", "id", Align::Right, INEXPENSIVE, "id (shmid)", |segment| {
        Cell::Number(u64::from(segment.sysv().id.raw().cast_unsigned()))
    }),
    column("KEY", "key", Align::Left, INEXPENSIVE, "key; 0x00000000 if private or removed", |segment| {
        Cell::Key(segment.sysv().key)
    }),
    column("SIZE", "size", Align::Right, INEXPENSIVE, "requested size in bytes", |segment| Cell::bytes(segment.size)),
    column("MODE", "mode", Align::Left, INEXPENSIVE, "permission bits", |segment| Cell::Mode(segment.mode)),
    column("UID", "uid", Align::Right, INEXPENSIVE, "owner's user id", |segment| Cell::Number(segment.uid.into())),
    column("OWNER", "owner", Align::Left, Needs::NAMES, "owner", |segment| {
        Cell::Account(segment.owner.as_deref(), segment.uid)
    }),
    column("GID", "gid", Align::Right, INEXPENSIVE, "owner's group id", |segment| Cell::Number(segment.gid.into())),
    column("GROUP", "group", Align::Left, Needs::NAMES, "owner's group", |segment| {
        Cell::Account(segment.group.as_deref(), segment.gid)
    }),
    column("CUID", "cuid", Align::Right, INEXPENSIVE, "creator's user id", |segment| {
        Cell::Number(segment.sysv().cuid.into())
    }),
    column("CREATOR", "creator", Align::Left, Needs::NAMES, "creator", |segment| {
        Cell::Account(segment.sysv().creator.as_deref(), segment.sysv().cuid)
    }),
    column("CGID", "cgid", Align::Right, INEXPENSIVE, "creator's group id", |segment| {
        Cell::Number(segment.sysv().cgid.into())
    }),
    column("CREATOR_GROUP", "creator_group", Align::Left, Needs::NAMES, "creator's group", |segment| {
        Cell::Account(segment.sysv().creator_group.as_deref(), segment.sysv().cgid)
    }),
    column("CPID", "cpid", Align::Right, INEXPENSIVE, "creator", |segment| Cell::pid(segment.sysv().cpid)),
    column(
        "LPID",
        "lpid",
        Align::Right,
        INEXPENSIVE,
        "last user: the process of the last attach or detach",
        |segment| Cell::pid(segment.sysv().lpid),
    ),
    column("NATTCH", "nattch", Align::Right, INEXPENSIVE, "number of attachments (mappings)", |segment| {
        Cell::Number(segment.sysv().nattch)
    }),
    column("ATIME", "atime", Align::Left, INEXPENSIVE, "last attach", |segment| {
        Cell::of(segment.sysv().atime, Cell::Time)
    }),
    column("DTIME", "dtime", Align::Left, INEXPENSIVE, "last detach", |segment| {
        Cell::of(segment.sysv().dtime, Cell::Time)
    }),
    column("CTIME", "ctime", Align::Left, INEXPENSIVE, "creation, or last change of owner or mode", |segment| {
        Cell::of(segment.ctime, Cell::Time)
    }),
    column(
        "IDLE",
        "idle_seconds",
        Align::Right,
        INEXPENSIVE,
        "time since the last attach, detach or change",
        |segment| Cell::of(segment.idle_seconds, Cell::Seconds),
    ),
    column("DEST", "dest", Align::Left, INEXPENSIVE, "marked for destruction", |segment| {
        Cell::Flag(segment.sysv().dest)
    }),
    column("LOCKED", "locked", Align::Left, INEXPENSIVE, "locked in memory", |segment| {
        Cell::Flag(segment.sysv().locked)
    }),
    column("RSS", "rss", Align::Right, Needs::RESIDENT, "resident bytes", |segment| Cell::of(segment.rss, Cell::bytes)),
    column("SWAP", "swap", Align::Right, Needs::RESIDENT, "swapped bytes", |segment| {
        Cell::of(segment.swap, Cell::bytes)
    }),
    column("STATE", "state", Align::Left, Needs::STATE, "in-use, dest, idle, orphan or unknown", |segment| {
        Cell::of(segment.state, |state| Cell::Word(state.as_str()))
    }),
    column("NS", "ns", Align::Right, Needs::NAMESPACE, "IPC namespace number", |segment| {
        Cell::of(segment.ipc_namespace(), Cell::Number)
    }),
    Column {
        least: Some(8),
        ..column(
            "CCOMMAND",
            "ccommand",
            Align::Left,
            Needs::COMMANDS,
            "command of the creator, while it is running",
            |segment| Cell::of(segment.sysv().creator_command.as_deref(), Cell::Text),
        )
    },
    Column {
        least: Some(8),
        ..column(
            "LCOMMAND",
            "lcommand",
            Align::Left,
            Needs::COMMANDS,
            "command of the last user, while it is running",
            |segment| Cell::of(segment.sysv().last_command.as_deref(), Cell::Text),
        )
    },
    column("PIDS", "pids", Align::Left, Needs::ATTACHERS, "processes that have it attached", |segment| {
        Cell::of(segment.attachers.as_deref().and_then(Attachers::known), |known| {
            Cell::Pids(known.map(|attacher| attacher.pid).collect())
        })
    }),
    Column {
        least: Some(8),
        ..column("COMMANDS", "commands", Align::Left, Needs::ATTACHERS, "commands of these processes", |segment| {
            Cell::of(segment.attachers.as_deref().and_then(Attachers::known), |known| {
                Cell::Texts(known.filter_map(|attacher| attacher.command.as_deref()).collect())
            })
        })
    },
    column("CONTAINER", "container", Align::Left, Needs::CONTAINER, "container or unit of the namespace", |segment| {
        Cell::of(segment.container.as_deref(), Cell::Text)
    }),
];

/// The record of JSON, CSV and TSV; new fields may only be appended.
pub(crate) const RECORD: &[&str] = &[
    "ID",
    "KEY",
    "SIZE",
    "MODE",
    "UID",
    "OWNER",
    "GID",
    "GROUP",
    "CUID",
    "CREATOR",
    "CGID",
    "CREATOR_GROUP",
    "CPID",
    "LPID",
    "NATTCH",
    "ATIME",
    "DTIME",
    "CTIME",
    "IDLE",
    "DEST",
    "LOCKED",
    "RSS",
    "SWAP",
    "STATE",
    "NS",
];
/// The JSON record with `--all-ns`.
pub(crate) const RECORD_ALL_NS: &[&str] = &{
    let mut names = ["CONTAINER"; RECORD.len() + 1];
    let mut index = 0;
    while index < RECORD.len() {
        names[index] = RECORD[index];
        index += 1;
    }
    names
};
/// The default table.
pub(crate) const DEFAULT: &[&str] =
    &["ID", "KEY", "OWNER", "MODE", "SIZE", "RSS", "NATTCH", "STATE", "IDLE", "CPID", "CCOMMAND"];
/// The default table with `--all-ns`.
pub(crate) const DEFAULT_ALL_NS: &[&str] =
    &["NS", "CONTAINER", "ID", "KEY", "OWNER", "MODE", "SIZE", "RSS", "NATTCH", "STATE", "IDLE", "CPID", "CCOMMAND"];
/// Columns that the default table omits, in this order, if the terminal is too narrow.
pub(crate) const DROP_ORDER: &[&str] = &["CCOMMAND", "CPID", "MODE", "RSS", "IDLE", "OWNER", "CONTAINER"];
/// The view of times (`-t`).
pub(crate) const TIMES: &[&str] = &["ID", "KEY", "OWNER", "ATIME", "DTIME", "CTIME", "IDLE"];
/// The view of processes (`-p`).
pub(crate) const PIDS: &[&str] = &["ID", "KEY", "OWNER", "CPID", "LPID", "CCOMMAND", "LCOMMAND"];
/// The view of creators (`-c`).
pub(crate) const CREATORS: &[&str] = &["ID", "KEY", "MODE", "CREATOR", "CREATOR_GROUP", "OWNER", "GROUP"];

#[cfg(test)]
mod tests {
    use super::super::column::by_names;
    use super::*;

    #[test]
    fn every_view_names_existing_columns_and_names_are_unique() {
        for view in [RECORD, DEFAULT, DEFAULT_ALL_NS, DROP_ORDER, TIMES, PIDS, CREATORS] {
            assert_eq!(by_names(SEGMENT, view).len(), view.len(), "{view:?}");
        }
        let mut names: Vec<_> = SEGMENT.iter().map(|column| column.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SEGMENT.len());
    }

    #[test]
    fn the_record_is_stable() {
        let keys: Vec<_> = by_names(SEGMENT, RECORD).iter().map(|column| column.json).collect();
        assert_eq!(
            keys.join(" "),
            "id key size mode uid owner gid group cuid creator cgid creator_group cpid lpid nattch atime dtime ctime \
             idle_seconds dest locked rss swap state ns"
        );
    }
}
