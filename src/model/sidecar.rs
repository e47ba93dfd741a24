//! The record of a dump.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Object, Stamp};

/// The contents of FILE.json, which describes the segment that was dumped to FILE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sidecar {
    #[serde(skip_serializing)]
    pub(crate) schema: u8,
    pub(crate) segment: Object,
    pub(crate) page_size: u64,
    /// The size of the segment's pages if they are huge.
    pub(crate) huge_page_size: Option<u64>,
    pub(crate) created: Stamp,
    pub(crate) kernel: Option<String>,
    pub(crate) checksum: SidecarChecksum,
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
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SidecarChecksum {
    pub(crate) algorithm: String,
    /// The checksum in hexadecimal.
    pub(crate) value: String,
}
