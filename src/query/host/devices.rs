//! The devices on which the kernel keeps segments.

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::huge::huge_page_sizes;
use crate::model::Device;
use crate::sys::SysError;

/// Returns the devices on which the kernel keeps segments: its internal tmpfs, and one for each huge page size. The
/// files of memfd_create(2) are on the same devices.
pub(in crate::query) fn segment_devices() -> Result<Vec<Device>, SysError> {
    // The device of ordinary pages always exists; without it no mapping can be recognized.
    memfd_create(c"shmadm", MFdFlags::MFD_CLOEXEC).map_err(|errno| SysError { errno, call: "memfd_create" })?;
    let sizes = huge_page_sizes().into_iter().map(Some);
    Ok(std::iter::once(None).chain(sizes).filter_map(device_of_pages).collect())
}

/// Returns the page size of the segments on a device; `ordinary` is that of pages that are not huge.
pub(in crate::query) fn page_size_on(device: Device, ordinary: u64) -> Option<u64> {
    if device_of_pages(None) == Some(device) {
        return Some(ordinary);
    }
    huge_page_sizes().into_iter().find(|size| device_of_pages(Some(*size)) == Some(device))
}

/// Returns the device of segments with this huge page size, or of those with ordinary pages.
fn device_of_pages(huge: Option<u64>) -> Option<Device> {
    let size = huge.map_or(MFdFlags::empty(), |size| {
        MFdFlags::MFD_HUGETLB | MFdFlags::from_bits_retain(size.trailing_zeros() << nix::libc::MFD_HUGE_SHIFT)
    });
    let file = memfd_create(c"shmadm", MFdFlags::MFD_CLOEXEC | size).ok()?;
    let device = nix::sys::stat::fstat(file).ok()?.st_dev;
    let part = |number: u64| u32::try_from(number).ok();
    Some(Device(part(nix::sys::stat::major(device))?, part(nix::sys::stat::minor(device))?))
}
