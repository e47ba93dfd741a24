//! Parses what `list --json` and other reports have written.
//!
//! In a record, null means unknown. A missing field was not asked for, so that a listing without the fields that a
//! comparison needs is refused.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use super::{Isolation, Object};

const SCHEMA: u64 = 1;
/// The fields without which two records cannot be compared.
const NEEDED: [&str; 13] =
    ["id", "key", "size", "mode", "uid", "gid", "cuid", "cgid", "cpid", "nattch", "dest", "locked", "ns"];

/// The segments to remove in a report of `leakcheck` (`leaked`) or of `prune --dry-run` (`removed`). Other JSON has
/// neither field.
#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a report")]
pub(crate) struct RemovalList {
    pub(crate) schema: u64,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) leaked: Option<Vec<Object>>,
    /// Segments that another job may have created.
    pub(crate) unattributed: Vec<Object>,
    pub(crate) removed: Option<Vec<Object>>,
    pub(crate) dry_run: bool,
}

/// Parses a listing of segments.
/// Fails if the text is not a listing, has another schema, lacks required fields or contains a segment twice.
pub(crate) fn parse_listing(text: &[u8]) -> Result<Vec<Object>, String> {
    if text.trim_ascii().is_empty() {
        return Err("it is empty".to_owned());
    }
    // Not parsed to objects at once: the errors of serde are less specific.
    let listing: Value = serde_json::from_slice(text).map_err(|error| format!("it is not valid JSON: {error}"))?;
    let schema = listing.get("schema").ok_or("it is not JSON output of shmadm: it has no \"schema\"")?;
    if *schema != SCHEMA {
        return Err(format!("its \"schema\" is {schema}, but this version of shmadm reads only {SCHEMA}"));
    }
    if let Some(message) = listing.pointer("/error/message").and_then(Value::as_str) {
        return Err(format!("it is the report of a failure, not a listing: {message}"));
    }
    let segments = listing.get("segments").and_then(Value::as_array);
    let segments = segments.ok_or("it is not a listing: it has no \"segments\"")?;
    let lacks = |name: &&&str| segments.iter().any(|segment| segment.get(name).is_none());
    let missing: Vec<&str> = NEEDED.iter().filter(lacks).copied().collect();
    if !missing.is_empty() {
        return Err(format!("its segments lack {}", missing.join(", ")));
    }
    let objects = segments.iter().map(Object::deserialize).collect::<Result<Vec<_>, _>>();
    let objects = objects.map_err(|error| error.to_string())?;
    let mut seen = HashSet::new();
    match objects.iter().find(|object| !seen.insert((object.scope, object.ident()))) {
        Some(object) => Err(format!("it contains {} twice", object.ident())),
        None => Ok(objects),
    }
}
