//! Memory of a traced process (process_vm_readv(2)).

use std::io::IoSliceMut;
use std::mem::MaybeUninit;

use nix::errno::Errno;
use nix::libc::shmid_ds;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use super::kernel::{ShmInfo64, ShmUse};
use super::sysv::key_of;
use crate::model::Key;

/// The longest path (PATH_MAX in linux/limits.h), with its NUL.
const MAX_PATH: usize = 4096;
/// A read that crosses no multiple of this crosses no page.
const PAGE: usize = 4096;

/// `struct shmid_ds` as a program has written it or the kernel has filled it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawRecord {
    pub(crate) key: Key,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) cuid: u32,
    pub(crate) cgid: u32,
    /// The permission bits, SHM_DEST and SHM_LOCKED.
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) cpid: i32,
    pub(crate) lpid: i32,
    pub(crate) nattch: u64,
    /// In seconds since 1970, as are the following.
    pub(crate) atime: i64,
    pub(crate) dtime: i64,
    pub(crate) ctime: i64,
}

/// Reads bytes; as many as there are before an unmapped page.
fn read_bytes(thread: i32, address: u64, bytes: &mut [u8]) -> Result<usize, Errno> {
    let base = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    let from = RemoteIoVec { base, len: bytes.len() };
    process_vm_readv(Pid::from_raw(thread), &mut [IoSliceMut::new(bytes)], &[from])
}

/// Reads a string that ends with NUL, at most as long as a path can be.
/// Fails as process_vm_readv(2): EFAULT if a byte before the NUL cannot be read.
pub(crate) fn read_string(thread: i32, address: u64) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    while text.len() < MAX_PATH {
        let next = address.checked_add(text.len() as u64).ok_or(Errno::EFAULT)?;
        let offset = usize::try_from(next).map_err(|_| Errno::EFAULT)? % PAGE;
        let mut chunk = vec![0; (PAGE - offset).min(MAX_PATH - text.len())];
        let read = read_bytes(thread, next, &mut chunk)?;
        let chunk = &chunk[..read];
        match chunk.iter().position(|byte| *byte == 0) {
            Some(end) => {
                text.extend_from_slice(&chunk[..end]);
                return Ok(text);
            }
            None if read == 0 => return Err(Errno::EFAULT),
            None => text.extend_from_slice(chunk),
        }
    }
    Ok(text)
}

/// Reads numbers of 64 bits.
pub(crate) fn read_numbers<const N: usize>(thread: i32, address: u64) -> Result<[u64; N], Errno> {
    read_structure(thread, address)
}

/// Reads a structure. Fails with EFAULT if a part of it cannot be read.
fn read_structure<T: Integers>(thread: i32, address: u64) -> Result<T, Errno> {
    let mut structure = MaybeUninit::<T>::zeroed();
    // SAFETY: the bytes are those of the structure, all of which are initialized.
    let bytes = unsafe { std::slice::from_raw_parts_mut(structure.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    let read = read_bytes(thread, address, bytes)?;
    if read < size_of::<T>() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: every field is an integer, for which all bytes are valid.
    Ok(unsafe { structure.assume_init() })
}

/// A structure or array with integers only, for which all bytes are valid.
trait Integers {}
impl<const N: usize> Integers for [u64; N] {}
impl Integers for shmid_ds {}
impl Integers for ShmInfo64 {}
impl Integers for ShmUse {}

pub(crate) fn read_record(thread: i32, address: u64) -> Result<RawRecord, Errno> {
    let record: shmid_ds = read_structure(thread, address)?;
    let perm = &record.shm_perm;
    Ok(RawRecord {
        key: key_of(&record),
        uid: perm.uid,
        gid: perm.gid,
        cuid: perm.cuid,
        cgid: perm.cgid,
        mode: u32::from(perm.mode),
        size: record.shm_segsz as u64,
        cpid: record.shm_cpid,
        lpid: record.shm_lpid,
        nattch: record.shm_nattch,
        atime: record.shm_atime,
        dtime: record.shm_dtime,
        ctime: record.shm_ctime,
    })
}

/// Reads what IPC_INFO has returned, with the names of the fields.
pub(crate) fn read_limits(thread: i32, address: u64) -> Result<[(&'static str, u64); 5], Errno> {
    let info: ShmInfo64 = read_structure(thread, address)?;
    Ok(info.fields())
}

/// Reads what SHM_INFO has returned, with the names of the fields.
pub(crate) fn read_usage(thread: i32, address: u64) -> Result<[(&'static str, u64); 6], Errno> {
    let used: ShmUse = read_structure(thread, address)?;
    Ok(used.fields())
}
