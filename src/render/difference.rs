//! The report of `diff`.

use super::segments::field;
use super::{Cell, Column};
use crate::model::{Change, Changed, Difference, Object};

/// An object that differs between the two listings.
#[derive(Debug)]
pub(crate) struct DifferenceRow {
    /// `created`, `removed` or `changed`.
    change: &'static str,
    /// Its latest known record.
    object: Object,
    /// The changed attributes, such as `mode 0600 -> 0640`.
    details: Vec<String>,
}

impl AsRef<Object> for DifferenceRow {
    fn as_ref(&self) -> &Object {
        &self.object
    }
}

/// The columns of `diff`. CSV and TSV print all of them; new columns may only be appended.
pub(crate) static DIFFERENCE: &[Column<DifferenceRow>] = &[
    Column::left("CHANGE", |row| Cell::Word(row.change)),
    Column::right("ID", field::id),
    Column::left("KEY", field::key),
    Column::left("OWNER", field::owner),
    Column::left("MODE", field::mode),
    Column::right("SIZE", field::size),
    Column::right("NATTCH", field::nattch),
    Column::right("CPID", field::cpid),
    Column::left("WHAT", |row: &DifferenceRow| Cell::Texts(row.details.iter().map(String::as_str).collect()))
        .shortened_to(20),
    Column::right("NS", field::namespace),
];

/// The columns of the default table if all segments are in one namespace.
pub(crate) const DIFFERENCE_DEFAULT: &[&str] = &["CHANGE", "ID", "KEY", "OWNER", "MODE", "SIZE", "NATTCH", "WHAT"];

/// Columns that the default table omits, in this order, if the terminal is too narrow.
pub(crate) const DIFFERENCE_DROP_ORDER: &[&str] = &["CPID", "MODE", "NATTCH", "SIZE", "OWNER", "NS"];

/// Returns one row for each object: created, removed, then changed.
pub(crate) fn difference_rows(difference: Difference) -> Vec<DifferenceRow> {
    let row = |change| move |object| DifferenceRow { change, object, details: Vec::new() };
    let created = difference.created.into_iter().map(row("created"));
    let removed = difference.removed.into_iter().map(row("removed"));
    let changed = difference.changed.into_iter().map(|changed| {
        let details = details(&changed);
        DifferenceRow { change: "changed", object: changed.after, details }
    });
    created.chain(removed).chain(changed).collect()
}

/// Describes each changed attribute, with the old and the new value if it has values.
fn details(changed: &Changed) -> Vec<String> {
    let Changed { before, after, changes } = changed;
    let detail = |change: &Change| {
        let values: fn(&Object) -> String = match change {
            Change::Attached | Change::Detached => |object| field::nattch(object).to_string(),
            Change::Owner => |object| object.owner.as_deref().map_or_else(|| object.uid.to_string(), str::to_owned),
            Change::Group => |object| object.group.as_deref().map_or_else(|| object.gid.to_string(), str::to_owned),
            Change::Mode => |object| object.mode.to_string(),
            Change::Key => |object| field::key(object).to_string(),
            Change::Marked | Change::Unmarked | Change::Locked | Change::Unlocked => return change.as_str().to_owned(),
        };
        format!("{} {} -> {}", change.as_str(), values(before), values(after))
    };
    changes.iter().map(detail).collect()
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
}
