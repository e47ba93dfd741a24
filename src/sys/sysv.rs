//! shmget(2) and shmctl(2): one function for each operation.
//!
//! A removed id and an id that never existed both return EINVAL. So does SHM_STAT_ANY for an empty slot.
//!
//! SHM_STAT_ANY takes an index into the kernel's table; all other commands take an id. Given an id, it ignores the
//! sequence number and returns the segment that now occupies the slot: the returned id must be compared. It requires
//! no read permission, and so replaces IPC_STAT for segments that the caller cannot read. The program never computes
//! an index from an id, since the relation depends on how the kernel was booted.
//!
//! IPC_RMID sets the key to 0 at once. Mappings keep the old key in their names, and the mark is never cleared.

use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_int, shmid_ds};

use super::SysError;
use super::kernel::{IPC_INFO, SHM_HUGE_SHIFT, SHM_INFO, SHM_STAT_ANY, ShmInfo64, ShmUse};
use crate::model::{Key, Mode, Object, ObjectKind, ShmId, Stamp, SysV};

/// How shmget(2) creates a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CreateFlags {
    pub(crate) mode: Mode,
    /// SHM_HUGETLB, with a page size in bytes or the system's default size.
    pub(crate) huge: Option<Option<u64>>,
    /// SHM_NORESERVE.
    pub(crate) no_reserve: bool,
}

impl CreateFlags {
    pub(crate) fn to_kernel(self) -> c_int {
        let mut bits = c_int::from(self.mode.bits());
        if let Some(size) = self.huge {
            bits |= libc::SHM_HUGETLB;
            bits |= (size.map_or(0, u64::trailing_zeros) << SHM_HUGE_SHIFT).cast_signed();
        }
        if self.no_reserve {
            bits |= libc::SHM_NORESERVE;
        }
        bits
    }

    pub(crate) fn from_kernel(bits: c_int) -> Self {
        let mode = Mode::from_kernel(bits.cast_unsigned());
        let logarithm = bits.cast_unsigned() >> SHM_HUGE_SHIFT;
        let huge = (bits & libc::SHM_HUGETLB != 0).then(|| (logarithm != 0).then(|| 1 << logarithm));
        Self { mode, huge, no_reserve: bits & libc::SHM_NORESERVE != 0 }
    }
}

/// Creates a segment. With a key other than IPC_PRIVATE, fails if the key is taken (IPC_EXCL).
pub(crate) fn create(key: Key, size: u64, flags: CreateFlags) -> Result<ShmId, SysError> {
    shmget(key, size, flags.to_kernel() | libc::IPC_CREAT | libc::IPC_EXCL)
}

/// Returns the id of the segment with a key. Requires no permission. A `size` of 0 matches every segment.
/// Fails as shmget(2): ENOENT if there is none, EINVAL if the segment is smaller than `size`.
pub(crate) fn find_key(key: Key, size: u64) -> Result<ShmId, SysError> {
    shmget(key, size, 0)
}

/// Checks that the caller may read and write the segment with a key. For an existing segment, shmget(2) compares the
/// mode bits of its argument with the caller's rights, and fails with EACCES.
pub(crate) fn check_access(key: Key) -> Result<(), SysError> {
    shmget(key, 0, 0o600).map(drop)
}

fn shmget(key: Key, size: u64, flags: c_int) -> Result<ShmId, SysError> {
    let size = usize::try_from(size).map_err(|_| SysError { errno: Errno::EINVAL, call: "shmget" })?;
    // SAFETY: shmget takes no pointer.
    let id = unsafe { libc::shmget(key.to_kernel(), size, flags) };
    ShmId::new(id).ok_or_else(|| SysError::last("shmget"))
}

/// Reads the record of a segment (IPC_STAT). Requires read permission.
pub(crate) fn stat(id: ShmId) -> Result<Object, SysError> {
    // By id, the call returns 0.
    read_record(id.raw(), libc::IPC_STAT, "shmctl IPC_STAT").map(|(_, record)| segment(id, &record))
}

/// Reads the record at an index of the kernel's table regardless of permissions (SHM_STAT_ANY, Linux 4.17).
/// Fails as shmctl(2): EINVAL for an empty slot; EPERM or ENOSYS in some sandboxes.
pub(crate) fn stat_index(index: i32) -> Result<Object, SysError> {
    read_record(index, SHM_STAT_ANY, "shmctl SHM_STAT_ANY").map(|(id, record)| segment(id, &record))
}

/// Reads the record of a segment regardless of permissions. Returns `None` if its slot holds another segment now.
pub(crate) fn stat_any(id: ShmId) -> Result<Option<Object>, SysError> {
    stat_index(id.raw()).map(|found| Some(found).filter(|found| found.sysv().id == id))
}

/// Calls shmctl(2) with a command that fills a `shmid_ds`. Returns the result too: by index, the segment's id.
fn read_record(number: i32, command: c_int, call: &'static str) -> Result<(ShmId, shmid_ds), SysError> {
    let mut record = zeroed_record();
    // SAFETY: the pointer is to a complete `shmid_ds`, which is what these commands write.
    let result = unsafe { libc::shmctl(number, command, &raw mut record) };
    Ok((ShmId::new(result).ok_or_else(|| SysError::last(call))?, record))
}

fn zeroed_record() -> shmid_ds {
    // SAFETY: every field is an integer, for which zero is valid.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

pub(super) fn key_of(record: &shmid_ds) -> Key {
    #[cfg(not(target_env = "musl"))]
    let key = record.shm_perm.__key;
    #[cfg(target_env = "musl")]
    #[expect(deprecated, reason = "the field's name in this version of libc")]
    let key = record.shm_perm.__ipc_perm_key;
    Key::from_kernel(key)
}

fn segment(id: ShmId, record: &shmid_ds) -> Object {
    let perm = &record.shm_perm;
    let mode = u32::from(perm.mode);
    let pid = |pid: i32| (pid != 0).then_some(pid);
    Object {
        size: record.shm_segsz as u64,
        mode: Mode::from_kernel(mode),
        uid: perm.uid,
        gid: perm.gid,
        ctime: Stamp::from_kernel(record.shm_ctime),
        kind: ObjectKind::SysV(SysV {
            id,
            key: key_of(record),
            cuid: perm.cuid,
            cgid: perm.cgid,
            cpid: pid(record.shm_cpid),
            lpid: pid(record.shm_lpid),
            nattch: record.shm_nattch,
            atime: Stamp::from_kernel(record.shm_atime),
            dtime: Stamp::from_kernel(record.shm_dtime),
            dest: Mode::is_marked(mode),
            locked: Mode::is_locked(mode),
            ..SysV::default()
        }),
        ..Object::default()
    }
}

/// Changes owner, group and mode together (IPC_SET). Updates ctime.
pub(crate) fn set(id: ShmId, uid: u32, gid: u32, mode: Mode) -> Result<(), SysError> {
    let mut record = zeroed_record();
    record.shm_perm.uid = uid;
    record.shm_perm.gid = gid;
    record.shm_perm.mode = to_mode_field(mode.bits());
    // SAFETY: the pointer is to a complete `shmid_ds` that lives through the call; IPC_SET only reads it.
    let result = unsafe { libc::shmctl(id.raw(), libc::IPC_SET, &raw mut record) };
    SysError::check(result, "shmctl IPC_SET").map(drop)
}

/// Converts permission bits to the type of `ipc_perm.mode`, which differs between architectures.
fn to_mode_field<T: From<u16>>(bits: u16) -> T {
    T::from(bits)
}

/// Removes a segment, or marks it for destruction if it is attached (IPC_RMID).
pub(crate) fn remove(id: ShmId) -> Result<(), SysError> {
    control(id, libc::IPC_RMID, "shmctl IPC_RMID")
}

/// Locks the pages of a segment in memory as they are allocated, or unlocks them (SHM_LOCK, SHM_UNLOCK).
pub(crate) fn lock(id: ShmId, locked: bool) -> Result<(), SysError> {
    match locked {
        true => control(id, libc::SHM_LOCK, "shmctl SHM_LOCK"),
        false => control(id, libc::SHM_UNLOCK, "shmctl SHM_UNLOCK"),
    }
}

fn control(id: ShmId, command: c_int, call: &'static str) -> Result<(), SysError> {
    // SAFETY: these commands ignore the pointer.
    let result = unsafe { libc::shmctl(id.raw(), command, ptr::null_mut()) };
    SysError::check(result, call).map(drop)
}

/// Returns the limits of the IPC namespace, and the highest index in use in the kernel's table (IPC_INFO), which is 0
/// as well if the table is empty.
pub(crate) fn info() -> Result<(ShmInfo64, i32), SysError> {
    let mut info = ShmInfo64::default();
    // SAFETY: IPC_INFO writes a `struct shminfo64`, which `ShmInfo64` mirrors, through the pointer.
    let highest = unsafe { libc::shmctl(0, IPC_INFO, (&raw mut info).cast()) };
    SysError::check(highest, "shmctl IPC_INFO").map(|highest| (info, highest))
}

/// Returns the number of segments, pages, resident pages and swapped pages (SHM_INFO). The kernel walks all segments
/// for this.
pub(crate) fn usage() -> Result<(u64, u64, u64, u64), SysError> {
    let mut used = ShmUse::default();
    // SAFETY: SHM_INFO writes a `struct shm_info`, which `ShmUse` mirrors, through the pointer.
    let result = unsafe { libc::shmctl(0, SHM_INFO, (&raw mut used).cast()) };
    SysError::check(result, "shmctl SHM_INFO")?;
    Ok((u64::from(used.used_ids.cast_unsigned()), used.shm_tot, used.shm_rss, used.shm_swp))
}
