//! The report of `diff`.

use std::io::{self, Write};

use super::segments::RECORD;
use super::{Align, Cell, Column, JsonObject, SEGMENT, column, write_string};
use crate::model::{Change, Changed, Difference, Object};

/// A segment that differs between the two listings.
#[derive(Debug)]
pub(crate) struct DifferenceRow {
    /// `created`, `removed` or `changed`.
    change: &'static str,
    /// Its latest known record.
    segment: Object,
    /// The changed attributes, such as `mode 0600 -> 0640`.
    details: Vec<String>,
}

/// The columns of `diff`. CSV and TSV print all of them; new columns may only be appended.
pub(crate) static DIFFERENCE: &[Column<DifferenceRow>] = &[
    Column::plain("CHANGE", "change", Align::Left, "created, removed or changed", |row| Cell::Word(row.change)),
    Column::plain("ID", "id", Align::Right, "id", |row| {
        Cell::Number(u64::from(row.segment.sysv().id.raw().cast_unsigned()))
    }),
    Column::plain("KEY", "key", Align::Left, "key", |row| Cell::Key(row.segment.sysv().key)),
    Column::plain("OWNER", "owner", Align::Left, "owner", |row| {
        Cell::Account(row.segment.owner.as_deref(), row.segment.uid)
    }),
    Column::plain("MODE", "mode", Align::Left, "permission bits", |row| Cell::Mode(row.segment.mode)),
    Column::plain("SIZE", "size", Align::Right, "requested size", |row| Cell::bytes(row.segment.size)),
    Column::plain("NATTCH", "nattch", Align::Right, "attachments", |row| Cell::Number(row.segment.sysv().nattch)),
    Column::plain("CPID", "cpid", Align::Right, "creator", |row| Cell::pid(row.segment.sysv().cpid)),
    Column {
        least: Some(20),
        ..Column::plain("WHAT", "what", Align::Left, "changed attributes", |row| {
            Cell::Texts(row.details.iter().map(String::as_str).collect())
        })
    },
    Column::plain("NS", "ns", Align::Right, "IPC namespace", |row| Cell::of(row.segment.ipc_namespace(), Cell::Number)),
];

/// The columns of the default table if all segments are in one namespace.
pub(crate) const DIFFERENCE_DEFAULT: &[&str] = &["CHANGE", "ID", "KEY", "OWNER", "MODE", "SIZE", "NATTCH", "WHAT"];

/// Columns that the default table omits, in this order, if the terminal is too narrow.
pub(crate) const DIFFERENCE_DROP_ORDER: &[&str] = &["CPID", "MODE", "NATTCH", "SIZE", "OWNER", "NS"];

/// Returns one row for each segment: created, removed, then changed.
pub(crate) fn difference_rows(difference: Difference) -> Vec<DifferenceRow> {
    let row = |change| move |segment| DifferenceRow { change, segment, details: Vec::new() };
    let created = difference.created.into_iter().map(row("created"));
    let removed = difference.removed.into_iter().map(row("removed"));
    let changed = difference.changed.into_iter().map(|changed| {
        let details = details(&changed);
        DifferenceRow { change: "changed", segment: changed.after, details }
    });
    created.chain(removed).chain(changed).collect()
}

/// Describes each changed attribute, with the old and the new value if it has values.
fn details(changed: &Changed) -> Vec<String> {
    let Changed { before, after, changes } = changed;
    let name = |name: &Option<std::sync::Arc<str>>, number: u32| {
        name.as_ref().map_or_else(|| number.to_string(), ToString::to_string)
    };
    let detail = |change: &Change| {
        let attribute = change.as_str();
        match change {
            Change::Attached | Change::Detached => {
                format!("{attribute} {} -> {}", before.sysv().nattch, after.sysv().nattch)
            }
            Change::Owner => {
                format!("{attribute} {} -> {}", name(&before.owner, before.uid), name(&after.owner, after.uid))
            }
            Change::Group => {
                format!("{attribute} {} -> {}", name(&before.group, before.gid), name(&after.group, after.gid))
            }
            Change::Mode => format!("{attribute} {} -> {}", before.mode, after.mode),
            Change::Key => format!("{attribute} {} -> {}", before.sysv().key, after.sysv().key),
            Change::Marked | Change::Unmarked | Change::Locked | Change::Unlocked => attribute.to_owned(),
        }
    };
    changes.iter().map(detail).collect()
}

/// Writes a difference as JSON.
pub(crate) fn write_difference_json(out: &mut impl Write, difference: &Difference) -> io::Result<()> {
    let record = column::by_names(SEGMENT, RECORD);
    let write_record = |out: &mut _, segment: &Object| {
        let mut object = JsonObject::open(out)?;
        object.row(&record, segment)?;
        object.close()
    };
    let mut object = JsonObject::schema(out)?;
    object.list("created", &difference.created, write_record)?;
    object.list("removed", &difference.removed, write_record)?;
    object.list("changed", &difference.changed, |out, changed| {
        let mut object = JsonObject::open(out)?;
        object.list("changes", &changed.changes, |out, change| write_string(out, change.as_str()))?;
        object.object("before", &record, &changed.before)?;
        object.object("after", &record, &changed.after)?;
        object.close()
    })?;
    object.end()
}

#[cfg(test)]
mod tests {
    use super::super::{Format, TableStyle, TimeStyle, write_rows};
    use super::*;
    use crate::model::{Stamp, parse_listing};

    /// Returns a difference with a created, a removed and a changed segment; all attributes have changed.
    fn difference() -> Difference {
        let record = r#"{"id":0,"key":"0x000004d2","size":4096,"mode":"0600","uid":0,"owner":"root","gid":0,
            "group":"root","cuid":0,"creator":"root","cgid":0,"creator_group":"root","cpid":7,"lpid":null,"nattch":0,
            "atime":null,"dtime":null,"ctime":null,"idle_seconds":null,"dest":false,"locked":false,"rss":null,
            "swap":null,"state":null,"ns":1}"#;
        let listing = |records: [String; 2]| {
            let text = format!("{{\"schema\":1,\"segments\":[{}]}}", records.join(","));
            parse_listing(text.as_bytes()).unwrap()
        };
        let changed = record
            .replace("\"uid\":0,\"owner\":\"root\"", "\"uid\":70000,\"owner\":null")
            .replace("\"gid\":0,\n            \"group\":\"root\"", "\"gid\":5,\"group\":\"a\\tb\"")
            .replace("0600", "0640")
            .replace("0x000004d2", "0x00000000")
            .replace("\"nattch\":0", "\"nattch\":2")
            .replace("\"dest\":false,\"locked\":false", "\"dest\":true,\"locked\":true");
        let before = listing([record.to_owned(), record.replace("\"id\":0", "\"id\":1")]);
        let after = listing([changed, record.replace("\"id\":0", "\"id\":2")]);
        Difference::between(before, after)
    }

    #[test]
    fn rows_show_old_and_new_values() {
        let columns: Vec<_> = DIFFERENCE.iter().collect();
        let style = TableStyle {
            headings: true,
            bytes: false,
            time: TimeStyle::default(),
            now: Stamp(0),
            width: None,
            terminal: false,
            color: false,
            droppable: &[],
        };
        let mut out = Vec::new();
        write_rows(&mut out, Format::Tsv, "differences", &columns, difference_rows(difference()), &style).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "CHANGE\tID\tKEY\tOWNER\tMODE\tSIZE\tNATTCH\tCPID\tWHAT\tNS\n\
             created\t2\t0x000004d2\troot\t0600\t4096\t0\t7\t\t1\n\
             removed\t1\t0x000004d2\troot\t0600\t4096\t0\t7\t\t1\n\
             changed\t0\t0x00000000\t\t0640\t4096\t2\t7\tattached 0 -> 2; owner root -> 70000; group root -> a\\tb; \
             mode 0600 -> 0640; key 0x000004d2 -> 0x00000000; marked; locked\t1\n"
        );
    }

    #[test]
    fn json_has_both_records_and_the_changes() {
        let mut out = Vec::new();
        write_difference_json(&mut out, &difference()).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&report["created"][0]["id"], &report["removed"][0]["id"]), (&2.into(), &1.into()));
        let changed = &report["changed"][0];
        assert_eq!(
            changed["changes"],
            serde_json::json!(["attached", "owner", "group", "mode", "key", "marked", "locked"])
        );
        assert_eq!((&changed["before"]["mode"], &changed["after"]["mode"]), (&"0600".into(), &"0640".into()));
        assert_eq!(changed["after"].as_object().unwrap().len(), RECORD.len());
        let mut out = Vec::new();
        write_difference_json(&mut out, &Difference::default()).unwrap();
        assert_eq!(out, b"{\"schema\":1,\"created\":[],\"removed\":[],\"changed\":[]}\n");
    }

    #[test]
    fn every_view_names_existing_columns() {
        for view in [DIFFERENCE_DEFAULT, DIFFERENCE_DROP_ORDER] {
            assert_eq!(column::by_names(DIFFERENCE, view).len(), view.len());
        }
    }
}
