//! The record of a dump.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use super::{FileStat, FileType, Mode, Object, ObjectKind, ObjectName, Posix, Stamp};

/// The contents of FILE.json, which describes the segment or POSIX object that was dumped to FILE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "a dump record")]
pub(crate) struct Sidecar {
    #[serde(skip_serializing)]
    pub(crate) schema: u8,
    /// Records of segments have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<DumpKind>,
    #[serde(flatten)]
    pub(crate) recorded: Recorded,
    pub(crate) page_size: u64,
    /// The size of the pages if they are huge.
    pub(crate) huge_page_size: Option<u64>,
    pub(crate) created: Stamp,
    pub(crate) kernel: Option<String>,
    pub(crate) checksum: SidecarChecksum,
}

/// What was dumped, if not a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DumpKind {
    Posix,
}

/// The record of a segment or POSIX object, as the field `segment` or `object`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Recorded {
    Segment(Object),
    Object(#[serde(deserialize_with = "file")] Object),
}

impl From<Object> for Recorded {
    fn from(object: Object) -> Self {
        if object.is_segment() { Self::Segment(object) } else { Self::Object(object) }
    }
}

/// The fields of a POSIX object's record from which it is recreated.
#[derive(Deserialize)]
#[serde(expecting = "a record of an object")]
struct RecordedFile {
    #[serde(deserialize_with = "Option::deserialize")]
    name: Option<String>,
    size: u64,
    allocated: u64,
    mode: Mode,
    uid: u32,
    gid: u32,
}

fn file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
    let RecordedFile { name, size, allocated, mode, uid, gid } = RecordedFile::deserialize(deserializer)?;
    // Invalid UTF-8 was replaced, so such a name is not known.
    let name = name.filter(|name| !name.contains("\\x")).map(|name| ObjectName::parse(name.as_bytes()));
    let name = name.transpose().map_err(serde::de::Error::custom)?;
    let posix = Posix::new(FileStat { allocated, ..FileStat::REGULAR }, FileType::Shm, name);
    Ok(Object { size, mode, uid, gid, kind: ObjectKind::Posix(Box::new(posix)), ..Object::default() })
}

impl Sidecar {
    /// Larger than any record: a larger file is something else, such as a device.
    pub(crate) const MAX_SIZE: u64 = 1 << 20;

    /// Returns the path of the record of the dump at `path`.
    pub(crate) fn path_for(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".json");
        PathBuf::from(name)
    }

    /// Returns what was dumped.
    pub(crate) fn object(&self) -> &Object {
        let (Recorded::Segment(object) | Recorded::Object(object)) = &self.recorded;
        object
    }

    /// Returns the resident and swapped bytes; `None` if they were not known.
    pub(crate) fn allocated(&self) -> Option<u64> {
        match &self.object().kind {
            ObjectKind::SysV(_) => {
                let Object { rss, swap, .. } = self.object();
                rss.zip(*swap).map(|(rss, swap)| rss.saturating_add(swap))
            }
            ObjectKind::Posix(posix) => Some(posix.allocated),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "a checksum")]
pub(crate) struct SidecarChecksum {
    pub(crate) algorithm: String,
    /// The checksum in hexadecimal.
    pub(crate) value: String,
}
