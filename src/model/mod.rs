//! Plain types without I/O: id, key, mode, size, state, segment, target and others.

mod call;
mod descriptor;
mod difference;
mod duration;
mod extent;
mod family;
mod ident;
mod identity;
mod key;
mod leak;
mod limits;
mod listing;
mod mapping;
mod measure;
mod mode;
mod name;
mod named;
mod namespace;
mod needs;
mod number;
mod object;
mod posix;
mod seal;
mod shmem;
mod sidecar;
mod size;
mod stamp;
mod state;
mod tally;
mod target;
mod text;
mod threshold;

pub(crate) use call::{Argument, Arguments, Call, CallName, CallResult, Flags, serialize_arguments};
pub(crate) use descriptor::is_descriptor;
pub(crate) use difference::{Change, Changed, Difference};
pub(crate) use duration::parse_duration;
pub(crate) use extent::{Extent, Residence};
pub(crate) use family::{Claim, Family, Rule};
pub(crate) use ident::{Ident, Scope, ShmId};
pub(crate) use identity::{Confidence, Evidence, Identification};
pub(crate) use key::Key;
pub(crate) use leak::{Isolation, Leak, LeakCheck, LeakOutcome, Leaks, sum_of_objects};
pub(crate) use limits::{HugePages, Limits, PosixUsage, Usage};
pub(crate) use listing::{Listing, RemovalList, parse_listing};
pub(crate) use mapping::{
    Access, DELETED, Hidden, HiddenBy, Mapping, NewAttachment, SEGMENT_NAME, SegmentUser, SegmentUsers,
};
pub(crate) use measure::{Measure, Severity};
pub(crate) use mode::Mode;
pub(crate) use name::ObjectName;
pub(crate) use named::named;
pub(crate) use namespace::NamespaceName;
pub(crate) use needs::Needs;
pub(crate) use number::{is_decimal, parse_byte, parse_count, parse_hex, parse_integer, parse_pid};
pub(crate) use object::{Identity, Object, ObjectKind, SysV};
pub(crate) use posix::{
    Device, FileId, FileMapping, FileStat, FileTime, FileType, FileUser, FileUsers, How, InodeType, Posix,
    SEMAPHORE_SIZE,
};
pub(crate) use seal::Seal;
pub(crate) use shmem::{
    Holding, HugeMemory, Instance, InstanceUsage, Memory, Possible, Source, SourceUsage, Unseen, by_source, grouped,
};
pub(crate) use sidecar::{DumpKind, Recorded, Sidecar, SidecarChecksum};
pub(crate) use size::{Size, TotalSize, parse_size};
pub(crate) use stamp::Stamp;
pub(crate) use state::{Outcome, State};
pub(crate) use tally::Tally;
pub(crate) use target::{Ftok, KeySpec, Name, Target};
pub(crate) use text::{
    TextDecoder, counted, describe_process, enumerate, escape_invalid_utf8, first_names, is_dangerous, path_text,
};
pub(crate) use threshold::Threshold;
