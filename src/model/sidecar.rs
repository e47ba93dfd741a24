//! What is kept beside a dump.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Segment, Stamp};

/// The file beside a dump, in which its segment is described.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Sidecar {
    /// The version of this form.
    pub(crate) schema: u8,
    /// The segment as it was.
    pub(crate) segment: Segment,
    /// Bytes in an ordinary page where it was dumped.
    pub(crate) page_size: u64,
    /// Bytes in a page of the segment, if these are huge.
    pub(crate) huge_page_size: Option<u64>,
    /// When it was dumped.
    pub(crate) created: Stamp,
    /// The release of the kernel there.
    pub(crate) kernel: Option<String>,
    /// The checksum of the contents.
    pub(crate) checksum: Sum,
}

impl Sidecar {
    /// Gives the name of the file beside a dump.
    pub(crate) fn beside(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".json");
        PathBuf::from(name)
    }
}

/// A checksum.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Sum {
    /// How it was made.
    pub(crate) algorithm: String,
    /// It, in hexadecimal.
    pub(crate) value: String,
}
