//! shmget(2) and shmctl(2), a function for each thing they do.

use std::mem::MaybeUninit;
use std::ptr;

use nix::libc::{self, c_int, shmid_ds};

use super::kernel::{IPC_INFO, SHM_HUGE_SHIFT, SHM_INFO, SHM_STAT, SHM_STAT_ANY, ShmInfo64, ShmUse};
use super::{On, SysError};
use crate::model::{Key, Mode, Segment, ShmId, Stamp};

/// How shmget shall make a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CreateFlags {
    /// Permission bits.
    pub(crate) mode: Mode,
    /// Huge pages, of the size with this logarithm, or of the system's default size.
    pub(crate) huge: Option<Option<u32>>,
    /// SHM_NORESERVE: promise no memory.
    pub(crate) no_reserve: bool,
}

impl CreateFlags {
    /// Returns the flags of shmget(2).
    pub(crate) fn to_kernel(self) -> c_int {
        let mut bits = c_int::from(self.mode.bits());
        if let Some(logarithm) = self.huge {
            bits |= libc::SHM_HUGETLB;
            bits |= (logarithm.unwrap_or(0) << SHM_HUGE_SHIFT).cast_signed();
        }
        if self.no_reserve {
            bits |= libc::SHM_NORESERVE;
        }
        bits
    }

    /// Takes them back out of the flags of shmget(2).
    pub(crate) fn from_kernel(bits: c_int) -> Self {
        let mode = Mode::from_kernel(bits.cast_unsigned());
        let logarithm = bits.cast_unsigned() >> SHM_HUGE_SHIFT;
        let huge = (bits & libc::SHM_HUGETLB != 0).then(|| Some(logarithm).filter(|logarithm| *logarithm != 0));
        Self { mode, huge, no_reserve: bits & libc::SHM_NORESERVE != 0 }
    }
}

/// Limits as IPC_INFO tells them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stats {
    /// Most segments.
    pub(crate) shmmni: u64,
    /// Largest segment in bytes.
    pub(crate) shmmax: u64,
    /// Most pages.
    pub(crate) shmall: u64,
    /// Smallest segment in bytes.
    pub(crate) shmmin: u64,
}

/// Creates a segment; with a key other than private, only if none has that key (IPC_EXCL).
///
/// # Errors
/// shmget(2): EEXIST, EINVAL, ENOSPC, ENOMEM, EPERM.
pub(crate) fn create(key: Key, size: u64, flags: CreateFlags) -> Result<ShmId, SysError> {
    shmget(key, size, flags.to_kernel() | libc::IPC_CREAT | libc::IPC_EXCL)
}

/// Finds the segment that a key names; asks for no permission. `size` above its own is EINVAL, 0 fits all.
///
/// # Errors
/// shmget(2): ENOENT if there is none, EINVAL if it is smaller.
pub(crate) fn find_key(key: Key, size: u64) -> Result<ShmId, SysError> {
    shmget(key, size, 0)
}

/// Calls shmget(2).
fn shmget(key: Key, size: u64, flags: c_int) -> Result<ShmId, SysError> {
    let on = On::Key(key);
    let size =
        usize::try_from(size).map_err(|_| SysError { errno: nix::errno::Errno::EINVAL, call: "shmget", target: on })?;
    // SAFETY: shmget takes no pointer.
    let id = unsafe { libc::shmget(key.to_kernel(), size, flags) };
    ShmId::new(id).ok_or_else(|| SysError::last("shmget", on))
}

/// Reads the record of a segment (IPC_STAT); wants the right to read it.
///
/// # Errors
/// shmctl(2): EINVAL or EIDRM if it is gone, EACCES without the right.
pub(crate) fn stat(id: ShmId) -> Result<Segment, SysError> {
    let (_, record) = read_record(id.raw(), libc::IPC_STAT, "shmctl IPC_STAT", On::Id(id))?;
    Ok(segment(id, &record))
}

/// Reads the record at a place of the kernel's table, whatever its permissions (SHM_STAT_ANY, Linux 4.17).
///
/// # Errors
/// shmctl(2): EINVAL for an empty place and on older kernels alike; EPERM or ENOSYS in some sandboxes.
pub(crate) fn stat_index(index: i32) -> Result<Segment, SysError> {
    stat_place(index, SHM_STAT_ANY, "shmctl SHM_STAT_ANY")
}

/// Reads the record of a segment whatever its permissions are (SHM_STAT_ANY, Linux 4.17).
///
/// The call goes by the id's place in the table alone, and gives whatever segment is there: `None` if it is another.
///
/// # Errors
/// shmctl(2): EINVAL for an empty place and on older kernels alike; EPERM or ENOSYS in some sandboxes.
pub(crate) fn stat_any(id: ShmId) -> Result<Option<Segment>, SysError> {
    stat_index(id.raw()).map(|found| Some(found).filter(|found| found.id == id))
}

/// Reads the record at a place of the kernel's table if the caller may read that segment (SHM_STAT).
///
/// # Errors
/// shmctl(2): EINVAL for an empty place, EACCES without the right.
pub(crate) fn stat_index_readable(index: i32) -> Result<Segment, SysError> {
    stat_place(index, SHM_STAT, "shmctl SHM_STAT")
}

/// Reads a record by index; the call returns the id that stands there.
fn stat_place(index: i32, command: c_int, call: &'static str) -> Result<Segment, SysError> {
    let (id, record) = read_record(index, command, call, On::Index(index))?;
    let id = ShmId::new(id).ok_or_else(|| SysError::last(call, On::Index(index)))?;
    Ok(segment(id, &record))
}

/// Calls shmctl(2) with a command that fills a `shmid_ds`.
fn read_record(number: i32, command: c_int, call: &'static str, on: On) -> Result<(i32, shmid_ds), SysError> {
    let mut record = MaybeUninit::<shmid_ds>::zeroed();
    // SAFETY: the buffer is a whole `shmid_ds`, which is what these commands write.
    let result = unsafe { libc::shmctl(number, command, record.as_mut_ptr()) };
    if result < 0 {
        return Err(SysError::last(call, on));
    }
    // SAFETY: it was zeroed, and every field is an integer, for which any bits are a value.
    Ok((result, unsafe { record.assume_init() }))
}

/// Turns the kernel's record into ours.
fn segment(id: ShmId, record: &shmid_ds) -> Segment {
    let perm = &record.shm_perm;
    #[cfg(not(target_env = "musl"))]
    let key = perm.__key;
    #[cfg(target_env = "musl")]
    #[expect(deprecated, reason = "its name in this version of the crate, which will change")]
    let key = perm.__ipc_perm_key;
    let mode = u32::from(perm.mode);
    let pid = |pid: i32| (pid != 0).then_some(pid);
    Segment {
        id,
        key: Key::from_kernel(key),
        size: record.shm_segsz as u64,
        mode: Mode::from_kernel(mode),
        uid: perm.uid,
        owner: None,
        gid: perm.gid,
        group: None,
        cuid: perm.cuid,
        creator: None,
        cgid: perm.cgid,
        creator_group: None,
        cpid: pid(record.shm_cpid),
        lpid: pid(record.shm_lpid),
        nattch: record.shm_nattch,
        atime: Stamp::from_kernel(record.shm_atime),
        dtime: Stamp::from_kernel(record.shm_dtime),
        ctime: Stamp::from_kernel(record.shm_ctime),
        idle_seconds: None,
        dest: Mode::marks(mode),
        locked: Mode::locks(mode),
        rss: None,
        swap: None,
        state: None,
        ns: None,
        creator_command: None,
        last_command: None,
        attachers: None,
        container: None,
    }
}

/// Changes owner, group and mode at once (IPC_SET); moves ctime.
///
/// # Errors
/// shmctl(2): EINVAL or EIDRM if it is gone, EPERM without the right.
pub(crate) fn set(id: ShmId, uid: u32, gid: u32, mode: Mode) -> Result<(), SysError> {
    // SAFETY: every field of `shmid_ds` is an integer, for which zero is a value.
    let mut record: shmid_ds = unsafe { MaybeUninit::zeroed().assume_init() };
    record.shm_perm.uid = uid;
    record.shm_perm.gid = gid;
    record.shm_perm.mode = widened(mode.bits());
    // SAFETY: the pointer is to a whole `shmid_ds` that lives through the call; IPC_SET only reads it.
    let result = unsafe { libc::shmctl(id.raw(), libc::IPC_SET, &raw mut record) };
    if result < 0 { Err(SysError::last("shmctl IPC_SET", On::Id(id))) } else { Ok(()) }
}

/// Widens permission bits to the field's type, which is not the same on every architecture.
fn widened<T: From<u16>>(bits: u16) -> T {
    T::from(bits)
}

/// Removes a segment, or marks it for destruction while it is attached (IPC_RMID).
///
/// # Errors
/// shmctl(2): EINVAL or EIDRM if it is gone, EPERM without the right.
pub(crate) fn remove(id: ShmId) -> Result<(), SysError> {
    control(id, libc::IPC_RMID, "shmctl IPC_RMID")
}

/// Locks a segment's pages in memory as they come (SHM_LOCK).
///
/// # Errors
/// shmctl(2): EPERM without the right, ENOMEM over RLIMIT_MEMLOCK, EINVAL or EIDRM if it is gone.
pub(crate) fn lock(id: ShmId) -> Result<(), SysError> {
    control(id, libc::SHM_LOCK, "shmctl SHM_LOCK")
}

/// Lets a segment's pages be swapped again (SHM_UNLOCK).
///
/// # Errors
/// shmctl(2): EPERM without the right, EINVAL or EIDRM if it is gone.
pub(crate) fn unlock(id: ShmId) -> Result<(), SysError> {
    control(id, libc::SHM_UNLOCK, "shmctl SHM_UNLOCK")
}

/// Calls shmctl(2) with a command that has no argument.
fn control(id: ShmId, command: c_int, call: &'static str) -> Result<(), SysError> {
    // SAFETY: these commands ignore the pointer.
    let result = unsafe { libc::shmctl(id.raw(), command, ptr::null_mut()) };
    if result < 0 { Err(SysError::last(call, On::Id(id))) } else { Ok(()) }
}

/// Gives the highest place in use of the kernel's table; 0 also when the table is empty.
///
/// # Errors
/// shmctl(2): EPERM or ENOSYS in some sandboxes.
pub(crate) fn highest_index() -> Result<i32, SysError> {
    read_info().map(|(highest, _)| highest)
}

/// Reads the limits of the IPC namespace (IPC_INFO).
///
/// # Errors
/// shmctl(2): EPERM or ENOSYS in some sandboxes.
pub(crate) fn info() -> Result<Stats, SysError> {
    let (_, info) = read_info()?;
    Ok(Stats { shmmni: info.shmmni, shmmax: info.shmmax, shmall: info.shmall, shmmin: info.shmmin })
}

/// Calls shmctl(2) with IPC_INFO.
fn read_info() -> Result<(i32, ShmInfo64), SysError> {
    let mut info = ShmInfo64::default();
    // SAFETY: IPC_INFO writes a `struct shminfo64`, which `ShmInfo64` mirrors, through the pointer.
    let highest = unsafe { libc::shmctl(0, IPC_INFO, (&raw mut info).cast()) };
    if highest < 0 { Err(SysError::last("shmctl IPC_INFO", On::Nothing)) } else { Ok((highest, info)) }
}

/// Counts segments, pages, resident and swapped pages (SHM_INFO); the kernel walks all segments for it.
///
/// # Errors
/// shmctl(2): EPERM or ENOSYS in some sandboxes.
pub(crate) fn usage() -> Result<(u64, u64, u64, u64), SysError> {
    let mut used = ShmUse::default();
    // SAFETY: SHM_INFO writes a `struct shm_info`, which `ShmUse` mirrors, through the pointer.
    let result = unsafe { libc::shmctl(0, SHM_INFO, (&raw mut used).cast()) };
    if result < 0 {
        return Err(SysError::last("shmctl SHM_INFO", On::Nothing));
    }
    Ok((u64::from(used.used_ids.cast_unsigned()), used.shm_tot, used.shm_rss, used.shm_swp))
}
