//! The JSON file that accompanies a dump: metadata and checksum.

use std::io::{self, Write};

use super::{Cell, JsonObject, RECORD, SEGMENT, column};
use crate::model::Sidecar;

pub(crate) fn write_sidecar(out: &mut impl Write, sidecar: &Sidecar) -> io::Result<()> {
    let record = column::by_names(SEGMENT, RECORD);
    let mut object = JsonObject::schema(out)?;
    object.object("segment", &record, &sidecar.segment)?;
    object.number("page_size", sidecar.page_size)?;
    object.optional("huge_page_size", sidecar.huge_page_size)?;
    Cell::Time(sidecar.created).write_json(object.field("created")?)?;
    object.text("kernel", sidecar.kernel.as_deref())?;
    let mut sum = JsonObject::open(object.field("checksum")?)?;
    sum.text("algorithm", sidecar.checksum.algorithm.as_str())?;
    sum.text("value", sidecar.checksum.value.as_str())?;
    sum.close()?;
    object.end()
}
