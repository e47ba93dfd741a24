//! What `list --json` and other reports have written, read again.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::{Segment, ShmId};

/// The version of JSON that is read, and written.
const SCHEMA: u64 = 1;
/// Fields of a record without which it cannot be compared with another one.
const NEEDED: [&str; 13] =
    ["id", "key", "size", "mode", "uid", "gid", "cuid", "cgid", "cpid", "nattch", "dest", "locked", "ns"];

/// A listing as a whole.
#[derive(Deserialize)]
struct Whole {
    /// Its version.
    schema: u64,
    /// Its records.
    segments: Vec<Segment>,
}

/// Segments that a report lists to be removed: one of `leakcheck`, or of `prune --dry-run --json`; of what else is JSON,
/// neither.
#[derive(Debug, Deserialize)]
#[serde(expecting = "a report")]
pub(crate) struct RemovalList {
    /// The form's version.
    #[serde(default)]
    pub(crate) schema: u64,
    /// How the command was isolated.
    #[serde(default)]
    pub(crate) isolation: Option<String>,
    /// What a command left behind.
    #[serde(default)]
    pub(crate) leaked: Option<Vec<Segment>>,
    /// What may be another job's.
    #[serde(default)]
    pub(crate) unattributed: Vec<Segment>,
    /// What would be removed.
    #[serde(default)]
    pub(crate) removed: Option<Vec<Segment>>,
    /// Whether that was said only.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// Reads a listing.
///
/// # Errors
/// The text is none, is of another version, lacks what a comparison takes, or has a segment twice; it is said which.
pub(crate) fn parse_listing(text: &[u8]) -> Result<Vec<Segment>, String> {
    let whole: Whole = match serde_json::from_slice(text) {
        Ok(whole) => whole,
        Err(error) => return Err(problem(text, &error)),
    };
    if whole.schema != SCHEMA {
        return Err(other_schema(&Value::from(whole.schema)));
    }
    let mut seen: BTreeSet<(Option<u64>, i32)> = BTreeSet::new();
    for segment in &whole.segments {
        // A negative id is one that no kernel gives.
        let id = ShmId::new(segment.id.raw()).ok_or_else(|| format!("it has an id that is none: {}", segment.id))?;
        if !seen.insert((segment.ns, id.raw())) {
            return Err(format!("it has segment {id} twice: it is no listing of one moment"));
        }
    }
    Ok(whole.segments)
}

/// Says what is wrong with a text that is no listing. It is read once more, for the one who has to mend it.
fn problem(text: &[u8], error: &serde_json::Error) -> String {
    if text.trim_ascii().is_empty() {
        return "it is empty".to_owned();
    }
    let value: Value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(error) => return format!("it is no JSON: {error}"),
    };
    match value.get("schema") {
        None => return "it is JSON, but no listing of ours: it has no \"schema\"".to_owned(),
        Some(schema) if *schema != SCHEMA => return other_schema(schema),
        Some(_) => {}
    }
    if let Some(message) = value.pointer("/error/message").and_then(Value::as_str) {
        return format!("it is the report of a failure, and no listing: {message}");
    }
    let Some(segments) = value.get("segments").and_then(Value::as_array) else {
        return "it is no listing: it has no \"segments\"".to_owned();
    };
    let lacks = |name: &&&str| segments.iter().any(|segment| segment.get(name).is_none());
    let missing: Vec<&str> = NEEDED.iter().filter(lacks).copied().collect();
    if missing.is_empty() {
        return error.to_string();
    }
    format!("its segments lack {}", missing.join(", "))
}

/// Says that another version cannot be read.
fn other_schema(schema: &Value) -> String {
    format!("its \"schema\" is {schema}, and only {SCHEMA} can be read here")
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::State;
    use super::*;

    /// A record as it is written.
    const RECORD: &str = r#"{"id":5,"key":"0x000004d2","size":4096,"mode":"0600","uid":0,"owner":"root","gid":0,
        "group":"root","cuid":0,"creator":"root","cgid":0,"creator_group":"root","cpid":4711,"lpid":null,"nattch":0,
        "atime":null,"dtime":null,"ctime":"2026-11-23T07:59:58Z","idle_seconds":1,"dest":false,"locked":false,
        "rss":0,"swap":0,"state":"orphan","ns":4026531839}"#;

    /// Gives a segment with an id.
    pub(in super::super) fn segment(id: i32) -> Segment {
        let mut segment: Segment = serde_json::from_str(RECORD).unwrap();
        segment.id = ShmId::new(id).unwrap();
        segment
    }

    /// Gives a listing of records.
    fn listing(records: &[&str]) -> String {
        format!("{{\"schema\":1,\"segments\":[{}]}}", records.join(","))
    }

    #[test]
    fn a_listing_is_read_whole_and_what_is_added_to_it_is_let_through() {
        let more = RECORD.replacen('{', "{\"id_of_tomorrow\":7,", 1).replace("\"id\":5", "\"id\":6");
        let text = listing(&[RECORD, &more]).replacen('{', "{\"later\":{},", 1);
        let segments = parse_listing(text.as_bytes()).unwrap();
        assert_eq!(segments, [segment(5), segment(6)]);
        assert_eq!(segments[0].state, Some(State::Orphan));
        assert_eq!(parse_listing(b" {\"schema\":1,\"segments\":[]}\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_listing_is_said_to_be_what_it_is() {
        let without = |name: &str, value: &str| listing(&[&RECORD.replace(&format!("\"{name}\":{value},"), "")]);
        for (text, says) in [
            (String::new(), "it is empty"),
            (" \n".to_owned(), "it is empty"),
            ("ID  KEY".to_owned(), "it is no JSON"),
            (listing(&[])[..10].to_owned(), "it is no JSON"),
            (listing(&[]).repeat(2), "it is no JSON"),
            ("[]".to_owned(), "no \"schema\""),
            ("{\"segments\":[]}".to_owned(), "no \"schema\""),
            ("{\"schema\":2,\"segments\":[]}".to_owned(), "its \"schema\" is 2"),
            ("{\"schema\":2}".to_owned(), "its \"schema\" is 2"),
            ("{\"schema\":\"1\",\"segments\":[]}".to_owned(), "its \"schema\" is \"1\""),
            ("{\"schema\":1}".to_owned(), "no \"segments\""),
            ("{\"schema\":1,\"segments\":{}}".to_owned(), "no \"segments\""),
            (
                "{\"schema\":1,\"error\":{\"message\":\"no room\"}}".to_owned(),
                "report of a failure, and no listing: no room",
            ),
            (listing(&["{\"id\":5,\"key\":\"0x00000001\"}"]), "lack size, mode, uid, gid, cuid, cgid, cpid, nattch"),
            // Unknown is null; a field that is not there was not asked for.
            (without("cpid", "4711"), "lack cpid"),
            (listing(&[&RECORD.replace(",\"ns\":4026531839", "")]), "lack ns"),
            (listing(&[RECORD, RECORD]), "has segment 5 twice"),
            (listing(&[&RECORD.replace("\"id\":5", "\"id\":-5")]), "-5"),
            (listing(&[&RECORD.replace("\"id\":5", "\"id\":\"5\"")]), "invalid type"),
            (listing(&[&RECORD.replace("0x000004d2", "0x1000004d2")]), "32 bits"),
        ] {
            let problem = parse_listing(text.as_bytes()).unwrap_err();
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }
}
