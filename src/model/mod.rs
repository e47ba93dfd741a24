//! Plain types of the field, without any input or output.

mod difference;
mod duration;
mod extent;
mod key;
mod limits;
mod listing;
mod mapping;
mod mode;
mod needs;
mod number;
mod segment;
mod sidecar;
mod size;
mod stamp;
mod state;
mod target;
mod text;

pub(crate) use difference::{Change, Changed, Difference};
pub(crate) use duration::parse_duration;
pub(crate) use extent::{Extent, Residence};
pub(crate) use key::Key;
pub(crate) use limits::{Limits, Usage};
pub(crate) use listing::parse_listing;
pub(crate) use mapping::{Attacher, Attachers, HiddenBy, Mapping, SEGMENT_NAME};
pub(crate) use mode::Mode;
pub(crate) use needs::Needs;
pub(crate) use number::{parse_byte, parse_hex, parse_whole};
pub(crate) use segment::{Access, Attached, Segment, ShmId};
pub(crate) use sidecar::{Sidecar, Sum};
pub(crate) use size::{Size, parse_size};
pub(crate) use stamp::Stamp;
pub(crate) use state::State;
pub(crate) use target::{Ftok, KeySpec, Name, Target};
pub(crate) use text::lossless;
