//! Parses what `list --json` and other reports have written.
//!
//! In a record, null means unknown. A missing field was not requested, so a listing without the fields that a
//! comparison needs is rejected.

use std::collections::HashSet;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::target::parse_file;
use super::{
    FileStat, FileTime, FileType, Isolation, Mode, Object, ObjectKind, ObjectName, Posix, Scope, Stamp, State,
};

const SCHEMA: u64 = 1;
/// The fields without which two records cannot be compared.
const NEEDED: [&str; 13] =
    ["id", "key", "size", "mode", "uid", "gid", "cuid", "cgid", "cpid", "nattch", "dest", "locked", "ns"];

const NEEDED_OF_OBJECTS: [&str; 10] =
    ["object", "type", "name", "size", "allocated", "mode", "uid", "gid", "links", "btime"];

/// The segments to remove in a report of `leakcheck` (`leaked`) or of `prune --dry-run` (`removed`). Other JSON has
/// neither field.
#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a report")]
pub(crate) struct RemovalList {
    pub(crate) schema: u64,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) leaked: Option<Vec<Object>>,
    /// POSIX objects that a command created.
    pub(crate) leaked_objects: Vec<Value>,
    /// Segments that another job may have created.
    pub(crate) unattributed: Vec<Object>,
    /// POSIX objects that another job may have created.
    pub(crate) unattributed_objects: Vec<Value>,
    #[serde(deserialize_with = "of_both_kinds")]
    pub(crate) removed: Option<Vec<Object>>,
    pub(crate) dry_run: bool,
}

/// Parses records of segments and of POSIX objects.
fn of_both_kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Object>>, D::Error> {
    let records = Option::<Vec<Value>>::deserialize(deserializer)?;
    let parse = |record: Value| match record.get("object") {
        Some(_) => PosixRecord::deserialize(record).map_err(D::Error::custom)?.into_object().map_err(D::Error::custom),
        None => Object::deserialize(record).map_err(D::Error::custom),
    };
    records.map(|records| records.into_iter().map(parse).collect()).transpose()
}

/// The segments and the POSIX objects of a listing; `None` for those that it does not list.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) segments: Option<Vec<Object>>,
    pub(crate) objects: Option<Vec<Object>>,
}

/// The record of a POSIX object, as far as it says what the object is. Its users at that time are not kept.
#[derive(Deserialize)]
struct PosixRecord {
    object: String,
    #[serde(rename = "type")]
    file_type: FileType,
    name: Option<String>,
    /// Of a directory, both are null if some of it could not be read.
    size: Option<u64>,
    allocated: Option<u64>,
    rss: Option<u64>,
    swap: Option<u64>,
    mode: Mode,
    uid: u32,
    owner: Option<Arc<str>>,
    gid: u32,
    group: Option<Arc<str>>,
    links: u64,
    btime: Option<Stamp>,
    atime: Option<Stamp>,
    mtime: Option<Stamp>,
    ctime: Option<Stamp>,
    idle_seconds: Option<u64>,
    value: Option<u32>,
    waiters: Option<u32>,
    product: Option<Arc<str>>,
    maker: Option<i32>,
    state: Option<State>,
    mnt_ns: Option<u64>,
    container: Option<Arc<str>>,
}

impl PosixRecord {
    fn into_object(self) -> Result<Object, String> {
        let file = parse_file(&self.object).map_err(|_| format!("invalid object {:?}", self.object))?;
        let name = |text: String| ObjectName::reported(text.clone()).ok_or_else(|| format!("invalid name {text:?}"));
        let name = self.name.map(name).transpose()?;
        let time = |stamp: Option<Stamp>| FileTime::new(stamp.map_or(0, |stamp| stamp.0), 0);
        let stat = FileStat {
            file,
            uid: self.uid,
            gid: self.gid,
            links: self.links,
            size: self.size.unwrap_or_default(),
            allocated: self.allocated.unwrap_or_default(),
            btime: self.btime.map(|stamp| time(Some(stamp))),
            atime: time(self.atime),
            mtime: time(self.mtime),
            ctime: time(self.ctime),
            ..FileStat::REGULAR
        };
        let posix = Posix {
            value: self.value,
            waiters: self.waiters,
            maker: self.maker,
            mnt_ns: self.mnt_ns,
            is_partial: self.size.is_none(),
            ..Posix::new(stat, self.file_type, name)
        };
        Ok(Object {
            size: self.size.unwrap_or_default(),
            mode: self.mode,
            uid: self.uid,
            owner: self.owner,
            gid: self.gid,
            group: self.group,
            ctime: self.ctime,
            idle_seconds: self.idle_seconds,
            rss: self.rss,
            swap: self.swap,
            state: self.state,
            scope: Some(Scope::Tmpfs(file.device)),
            container: self.container,
            product: self.product,
            kind: ObjectKind::Posix(Box::new(posix)),
            ..Object::default()
        })
    }
}

/// Parses a listing of segments, of POSIX objects, or of both.
/// Fails if the text is not a listing, has another schema, lacks required fields or contains a segment twice.
pub(crate) fn parse_listing(text: &[u8]) -> Result<Listing, String> {
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
    let list = |name: &str| listing.get(name).and_then(Value::as_array);
    let (segments, objects) = (list("segments"), list("objects"));
    if segments.is_none() && objects.is_none() {
        return Err("it has neither \"segments\" nor \"objects\"".to_owned());
    }
    let segments = segments.map(|records| parse_segments(records)).transpose()?;
    let objects = objects.map(|records| parse_objects(records)).transpose()?;
    Ok(Listing { segments, objects })
}

fn parse_segments(records: &[Value]) -> Result<Vec<Object>, String> {
    check_fields("segments", records, &NEEDED)?;
    let objects = records.iter().map(Object::deserialize).collect::<Result<Vec<_>, _>>();
    let objects = objects.map_err(|error| error.to_string())?;
    let mut seen = HashSet::new();
    match objects.iter().find(|object| !seen.insert((object.scope, object.ident()))) {
        Some(object) => Err(format!("it contains {} twice", object.ident())),
        None => Ok(objects),
    }
}

fn parse_objects(records: &[Value]) -> Result<Vec<Object>, String> {
    check_fields("objects", records, &NEEDED_OF_OBJECTS)?;
    let parse = |record: &Value| {
        PosixRecord::deserialize(record).map_err(|error: serde_json::Error| error.to_string())?.into_object()
    };
    records.iter().map(parse).collect()
}

fn check_fields(list: &str, records: &[Value], needed: &[&str]) -> Result<(), String> {
    let lacks = |name: &&&str| records.iter().any(|record| record.get(name).is_none());
    let missing: Vec<&str> = needed.iter().filter(lacks).copied().collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("its {list} lack {}", missing.join(", "))) }
}
