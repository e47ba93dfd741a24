//! Direct queries to the kernel, independent of the program's code.
#![expect(unsafe_code, reason = "the oracle makes its own system calls")]
#![expect(clippy::disallowed_methods, reason = "the oracle makes its own system calls")]

use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::libc::{self, c_int, shmid_ds};
use nix::unistd::{Group, User};
use serde_json::{Value, json};

/// A row of /proc/sysvipc/shm, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row(pub(crate) Vec<String>);

impl Row {
    /// Returns a field by its column name.
    pub(crate) fn get(&self, name: &str) -> &str {
        const NAMES: [&str; 16] = [
            "key", "shmid", "perms", "size", "cpid", "lpid", "nattch", "uid", "gid", "cuid", "cgid", "atime", "dtime",
            "ctime", "rss", "swap",
        ];
        &self.0[NAMES.iter().position(|known| *known == name).unwrap()]
    }
}

pub(crate) fn rows() -> Vec<Row> {
    parse(&std::fs::read_to_string("/proc/sysvipc/shm").unwrap())
}

/// Parses the text after the last header line of /proc/sysvipc/shm.
pub(crate) fn parse(text: &str) -> Vec<Row> {
    let lines: Vec<&str> = text.lines().collect();
    let headings = lines.iter().rposition(|line| line.trim_start().starts_with("key ")).unwrap();
    lines[headings + 1..].iter().map(|line| Row(line.split_whitespace().map(ToOwned::to_owned).collect())).collect()
}

/// Returns a segment's row.
pub(crate) fn row(id: i32) -> Option<Row> {
    rows().into_iter().find(|row| row.get("shmid") == id.to_string())
}

/// Returns a segment's attach count.
pub(crate) fn nattch(id: i32) -> u64 {
    row(id).unwrap().get("nattch").parse().unwrap()
}

/// Creates a segment with shmget; key 0 is IPC_PRIVATE.
pub(crate) fn create(key: u32, size: usize, flags: c_int) -> i32 {
    // SAFETY: shmget takes no pointer.
    let id = unsafe { libc::shmget(key.cast_signed(), size, flags | libc::IPC_CREAT | libc::IPC_EXCL) };
    assert!(id >= 0, "shmget: {}", std::io::Error::last_os_error());
    id
}

/// Returns a segment's record (IPC_STAT); `None` if the call fails.
pub(crate) fn stat(id: i32) -> Option<shmid_ds> {
    // SAFETY: every field is an integer, for which zero is a value.
    let mut record: shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole record.
    let result = unsafe { libc::shmctl(id, libc::IPC_STAT, &raw mut record) };
    (result >= 0).then_some(record)
}

/// Removes a segment; returns whether it existed.
pub(crate) fn remove(id: i32) -> bool {
    // SAFETY: IPC_RMID ignores the pointer.
    unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) == 0 }
}

/// Removes every segment in the namespace.
pub(crate) fn remove_all() {
    for row in rows() {
        assert!(remove(row.get("shmid").parse().unwrap()));
    }
}

/// Widens permission bits to the field's type, which differs between architectures.
fn widened<T: From<u16>>(bits: u16) -> T {
    T::from(bits)
}

/// Changes the owner and mode of a segment.
pub(crate) fn set(id: i32, uid: u32, gid: u32, mode: u16) {
    let mut record = stat(id).unwrap();
    record.shm_perm.uid = uid;
    record.shm_perm.gid = gid;
    record.shm_perm.mode = widened(mode);
    // SAFETY: the pointer is to a whole record.
    let result = unsafe { libc::shmctl(id, libc::IPC_SET, &raw mut record) };
    assert_eq!(result, 0, "IPC_SET: {}", std::io::Error::last_os_error());
}

pub(crate) fn lock(id: i32) {
    // SAFETY: SHM_LOCK ignores the pointer.
    let result = unsafe { libc::shmctl(id, libc::SHM_LOCK, ptr::null_mut()) };
    assert_eq!(result, 0, "SHM_LOCK: {}", std::io::Error::last_os_error());
}

/// A segment attached to the test process itself.
#[derive(Debug)]
pub(crate) struct Attached {
    /// The address.
    address: *mut c_void,
    /// The size in bytes.
    size: usize,
}

impl Attached {
    pub(crate) fn new(id: i32) -> Self {
        // SAFETY: the kernel chooses an unused address.
        let address = unsafe { libc::shmat(id, ptr::null(), 0) };
        assert_ne!(address as isize, -1, "shmat: {}", std::io::Error::last_os_error());
        let size = stat(id).unwrap().shm_segsz;
        // Other tests fork at any time, and their children would inherit the attachment until they call execve.
        let excluded = [page_size(), 2 << 20, 1 << 30].into_iter().any(|page| {
            let length = size.next_multiple_of(page);
            // SAFETY: the range is the whole mapping, whose contents do not change. A huge page
            // cannot be split: a length that ends within one is refused.
            unsafe { libc::madvise(address, length, libc::MADV_DONTFORK) == 0 }
        });
        assert!(excluded, "madvise: {}", std::io::Error::last_os_error());
        Self { address, size }
    }

    /// Copies the contents.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0_u8; self.size];
        // SAFETY: both ranges are `size` bytes long, and no other process writes during the copy.
        unsafe { ptr::copy_nonoverlapping(self.address.cast::<u8>(), bytes.as_mut_ptr(), self.size) };
        bytes
    }

    /// Writes bytes at an offset.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.size);
        // SAFETY: the range is within the mapping, as just checked.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.address.cast::<u8>().wrapping_add(offset), bytes.len())
        };
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: shmat returned the address.
        unsafe { libc::shmdt(self.address) };
    }
}

/// Returns a segment's contents.
pub(crate) fn contents(id: i32) -> Vec<u8> {
    Attached::new(id).bytes()
}

/// Returns the record expected for a row, without IDLE, which changes, and STATE, which a row lacks.
pub(crate) fn record(row: &Row) -> Value {
    let number = |name: &str| row.get(name).parse::<u64>().unwrap();
    let id = |name: &str| row.get(name).parse::<u32>().unwrap();
    let pid = |name: &str| Some(number(name)).filter(|pid| *pid != 0);
    let user = |name: &str| User::from_uid(id(name).into()).unwrap().map(|user| user.name);
    let group = |name: &str| Group::from_gid(id(name).into()).unwrap().map(|group| group.name);
    let time = |name: &str| match row.get(name).parse::<i64>().unwrap() {
        0 => None,
        seconds => Some(jiff::Timestamp::from_second(seconds).unwrap().to_string()),
    };
    let mode = u32::from_str_radix(row.get("perms"), 8).unwrap();
    json!({
        "id": number("shmid"), "key": format!("0x{:08x}", row.get("key").parse::<i32>().unwrap()),
        "size": number("size"), "mode": format!("{:04o}", mode & 0o777),
        "uid": id("uid"), "owner": user("uid"), "gid": id("gid"), "group": group("gid"),
        "cuid": id("cuid"), "creator": user("cuid"), "cgid": id("cgid"), "creator_group": group("cgid"),
        "cpid": pid("cpid"), "lpid": pid("lpid"), "nattch": number("nattch"),
        "atime": time("atime"), "dtime": time("dtime"), "ctime": time("ctime"),
        "dest": mode & 0o1000 != 0, "locked": mode & 0o2000 != 0, "rss": number("rss"), "swap": number("swap"),
        "ns": namespace(),
    })
}

/// Returns the number of this test's IPC namespace.
pub(crate) fn namespace() -> u64 {
    std::fs::metadata("/proc/thread-self/ns/ipc").unwrap().ino()
}

/// Returns the time since the last attach, detach or change of a row.
pub(crate) fn idle(row: &Row) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let latest = ["atime", "dtime", "ctime"].map(|name| row.get(name).parse::<i64>().unwrap()).into_iter().max();
    now - latest.unwrap()
}

pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf takes no pointer.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap()
}

/// Returns a file's key, computed as ftok(3) does.
pub(crate) fn ftok(path: &Path, proj: u8) -> u32 {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the pointer is to a string that ends and lives through the call.
    let key = unsafe { libc::ftok(path.as_ptr(), c_int::from(proj)) };
    assert_ne!(key, -1, "ftok: {}", std::io::Error::last_os_error());
    key.cast_unsigned()
}
