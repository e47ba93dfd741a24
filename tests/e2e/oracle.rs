//! The kernel as the trials ask it themselves, with nothing of the program in between.
#![expect(unsafe_code, reason = "the oracle makes its own system calls")]
#![expect(clippy::disallowed_methods, reason = "the oracle makes its own system calls")]

use std::ffi::c_void;
use std::ptr;

use nix::libc::{self, c_int, shmid_ds};

/// A row of /proc/sysvipc/shm, as the words that stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row(pub(crate) Vec<String>);

impl Row {
    /// Gives a field by the name in the headings.
    pub(crate) fn get(&self, name: &str) -> &str {
        const NAMES: [&str; 16] = [
            "key", "shmid", "perms", "size", "cpid", "lpid", "nattch", "uid", "gid", "cuid", "cgid", "atime", "dtime",
            "ctime", "rss", "swap",
        ];
        &self.0[NAMES.iter().position(|known| *known == name).unwrap()]
    }
}

/// Reads /proc/sysvipc/shm.
pub(crate) fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    text.lines().skip(1).map(|line| Row(line.split_whitespace().map(ToOwned::to_owned).collect())).collect()
}

/// Finds a segment's row.
pub(crate) fn row(id: i32) -> Option<Row> {
    rows().into_iter().find(|row| row.get("shmid") == id.to_string())
}

/// Makes a segment with shmget; key 0 is IPC_PRIVATE.
pub(crate) fn create(key: u32, size: usize, flags: c_int) -> i32 {
    // SAFETY: shmget takes no pointer.
    let id = unsafe { libc::shmget(key.cast_signed(), size, flags | libc::IPC_CREAT | libc::IPC_EXCL) };
    assert!(id >= 0, "shmget: {}", std::io::Error::last_os_error());
    id
}

/// Reads a record; `None` if the call fails.
pub(crate) fn stat(id: i32) -> Option<shmid_ds> {
    // SAFETY: every field is an integer, for which zero is a value.
    let mut record: shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole record.
    let result = unsafe { libc::shmctl(id, libc::IPC_STAT, &raw mut record) };
    (result >= 0).then_some(record)
}

/// Removes a segment; gives whether there was one.
pub(crate) fn remove(id: i32) -> bool {
    // SAFETY: IPC_RMID ignores the pointer.
    unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) == 0 }
}

/// Changes owner and mode of a segment.
pub(crate) fn set(id: i32, uid: u32, gid: u32, mode: u16) {
    let mut record = stat(id).unwrap();
    record.shm_perm.uid = uid;
    record.shm_perm.gid = gid;
    record.shm_perm.mode = mode;
    // SAFETY: the pointer is to a whole record.
    let result = unsafe { libc::shmctl(id, libc::IPC_SET, &raw mut record) };
    assert_eq!(result, 0, "IPC_SET: {}", std::io::Error::last_os_error());
}

/// Locks a segment in memory.
pub(crate) fn lock(id: i32) {
    // SAFETY: SHM_LOCK ignores the pointer.
    let result = unsafe { libc::shmctl(id, libc::SHM_LOCK, ptr::null_mut()) };
    assert_eq!(result, 0, "SHM_LOCK: {}", std::io::Error::last_os_error());
}

/// A segment attached to the trial itself.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Where.
    address: *mut c_void,
    /// How many bytes.
    size: usize,
}

impl Attached {
    /// Attaches a segment.
    pub(crate) fn new(id: i32) -> Self {
        // SAFETY: the kernel finds room of its own.
        let address = unsafe { libc::shmat(id, ptr::null(), 0) };
        assert_ne!(address as isize, -1, "shmat: {}", std::io::Error::last_os_error());
        Self { address, size: stat(id).unwrap().shm_segsz }
    }

    /// Copies the contents out.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0_u8; self.size];
        // SAFETY: both ranges are `size` bytes long, and the trial lets nobody else write meanwhile.
        unsafe { ptr::copy_nonoverlapping(self.address.cast::<u8>(), bytes.as_mut_ptr(), self.size) };
        bytes
    }

    /// Writes bytes at an offset.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.size);
        // SAFETY: the range is within the mapping, as has just been checked.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.address.cast::<u8>().add(offset), bytes.len()) };
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: the address is the one that shmat gave.
        unsafe { libc::shmdt(self.address) };
    }
}

/// Reads a segment's contents.
pub(crate) fn contents(id: i32) -> Vec<u8> {
    Attached::new(id).bytes()
}
