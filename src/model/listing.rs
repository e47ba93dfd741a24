//! Parses what `list --json` and other reports have written.
//!
//! In a record, null means unknown. A missing field was not asked for, so that a listing without the fields that a
//! comparison needs is refused.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use super::{Isolation, Object};

/// The version of the JSON output.
const SCHEMA: u64 = 1;
/// The fields without which two records cannot be compared.
const NEEDED: [&str; 13] =
    ["id", "key", "size", "mode", "uid", "gid", "cuid", "cgid", "cpid", "nattch", "dest", "locked", "ns"];

/// The segments to remove in a report of `leakcheck` (`leaked`) or of `prune --dry-run` (`removed`). Other JSON has
/// neither field.
#[derive(Debug, Deserialize)]
#[serde(expecting = "a report")]
pub(crate) struct RemovalList {
    #[serde(default)]
    pub(crate) schema: u64,
    #[serde(default)]
    pub(crate) isolation: Option<Isolation>,
    #[serde(default)]
    pub(crate) leaked: Option<Vec<Object>>,
    /// Segments that another job may have created.
    #[serde(default)]
    pub(crate) unattributed: Vec<Object>,
    #[serde(default)]
    pub(crate) removed: Option<Vec<Object>>,
    #[serde(default)]
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

#[cfg(test)]
mod tests {
    use super::super::{Ident, State};
    use super::*;

    const RECORD: &str = r#"{"id":5,"key":"0x000004d2","size":4096,"mode":"0600","uid":0,"owner":"root","gid":0,
        "group":"root","cuid":0,"creator":"root","cgid":0,"creator_group":"root","cpid":4711,"lpid":null,"nattch":0,
        "atime":null,"dtime":null,"ctime":"2026-11-23T07:59:58Z","idle_seconds":1,"dest":false,"locked":false,
        "rss":0,"swap":0,"state":"orphan","ns":4026531839}"#;

    fn listing(records: &[&str]) -> String {
        format!("{{\"schema\":1,\"segments\":[{}]}}", records.join(","))
    }

    #[test]
    fn unknown_fields_of_a_listing_are_ignored() {
        let more = RECORD.replacen('{', "{\"id_of_tomorrow\":7,", 1).replace("\"id\":5", "\"id\":6");
        let text = listing(&[RECORD, &more]).replacen('{', "{\"later\":{},", 1);
        let segments = parse_listing(text.as_bytes()).unwrap();
        assert_eq!(segments.iter().map(Object::ident).map(Ident::argument).collect::<Vec<_>>(), ["5", "6"]);
        assert_eq!((segments[0].state, segments[1].sysv().cpid), (Some(State::Orphan), Some(4711)));
    }

    #[test]
    fn errors_describe_why_a_text_is_not_a_listing() {
        let with = |from: &str, to: &str| listing(&[&RECORD.replace(from, to)]);
        for (text, says) in [
            (listing(&[])[..10].to_owned(), "it is not valid JSON"),
            (listing(&[]).repeat(2), "it is not valid JSON"),
            ("[]".to_owned(), "no \"schema\""),
            ("{\"schema\":2}".to_owned(), "its \"schema\" is 2"),
            ("{\"schema\":\"1\",\"segments\":[]}".to_owned(), "its \"schema\" is \"1\""),
            ("{\"schema\":1,\"segments\":{}}".to_owned(), "no \"segments\""),
            // Unknown values are null, so a missing field was not asked for.
            (with("\"cpid\":4711,", ""), "lack cpid"),
            (with(",\"ns\":4026531839", ""), "lack ns"),
            (listing(&[RECORD, RECORD]), "contains segment 5 twice"),
            (with("\"id\":5", "\"id\":-5"), "-5"),
            (with("\"id\":5", "\"id\":\"5\""), "invalid type"),
            (with("0x000004d2", "0x1000004d2"), "32 bits"),
        ] {
            let problem = parse_listing(text.as_bytes()).unwrap_err();
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }
}
