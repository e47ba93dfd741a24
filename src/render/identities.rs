//! The report of `identify`.

use super::{Cell, Column};
use crate::model::{Identification, Object, State};

pub(crate) struct IdentityRow {
    target: String,
    identity: Option<Identification>,
    evidence: String,
    state: Option<State>,
}

impl IdentityRow {
    pub(crate) fn new(identity: Option<Identification>, object: &Object) -> Self {
        let evidence = identity.iter().flat_map(|identity| &identity.evidence);
        let evidence = evidence.map(|evidence| evidence.as_str()).collect::<Vec<_>>().join(",");
        Self { target: object.ident().argument(), identity, evidence, state: object.state }
    }
}

fn of<'a>(row: &'a IdentityRow, text: fn(&'a Identification) -> Option<&'a str>) -> Cell<'a> {
    Cell::of(row.identity.as_ref().and_then(text), Cell::Text)
}

pub(crate) static IDENTITIES: &[Column<IdentityRow>] = &[
    Column::left("TARGET", |row: &IdentityRow| Cell::Text(&row.target)).name_shortened_to(14),
    Column::left("PRODUCT", |row| of(row, |identity| Some(&identity.product))).name_shortened_to(14),
    Column::left("WHAT", |row| of(row, |identity| identity.what.as_deref())).shortened_to(12),
    Column::left("EVIDENCE", |row: &IdentityRow| match row.evidence.as_str() {
        "" => Cell::Null,
        evidence => Cell::Text(evidence),
    }),
    Column::right("MAKER", |row| Cell::pid(row.identity.as_ref().and_then(|identity| identity.maker))),
    Column::left("STATE", |row| Cell::of(row.state, |state| Cell::Word(state.as_str()))),
    Column::left("CLEANUP", |row| of(row, |identity| identity.cleanup.as_deref())).shortened_to(12),
];
