//! Names of users and groups, byte for byte: nix's own look-up replaces bytes that are not UTF-8.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::ptr;

use nix::libc::{self, ERANGE};

/// Where the buffer for a look-up stops growing; an entry beyond it has no name for us.
const LARGEST_ENTRY: usize = 1 << 20;

/// Gives the name of a user id as bytes (getpwuid_r(3)); `None` if it has none.
pub(crate) fn user_name(uid: u32) -> Option<Vec<u8>> {
    look_up(|buffer, length| {
        let mut entry = MaybeUninit::<libc::passwd>::zeroed();
        let mut found = ptr::null_mut();
        // SAFETY: all four pointers are to live memory of ours, and `length` is the buffer's.
        let result = unsafe { libc::getpwuid_r(uid, entry.as_mut_ptr(), buffer, length, &raw mut found) };
        // SAFETY: a found entry is the one above, which the call has filled.
        (result, (!found.is_null()).then(|| unsafe { (*found).pw_name }))
    })
}

/// Gives the name of a group id as bytes (getgrgid_r(3)); `None` if it has none.
pub(crate) fn group_name(gid: u32) -> Option<Vec<u8>> {
    look_up(|buffer, length| {
        let mut entry = MaybeUninit::<libc::group>::zeroed();
        let mut found = ptr::null_mut();
        // SAFETY: all four pointers are to live memory of ours, and `length` is the buffer's.
        let result = unsafe { libc::getgrgid_r(gid, entry.as_mut_ptr(), buffer, length, &raw mut found) };
        // SAFETY: a found entry is the one above, which the call has filled.
        (result, (!found.is_null()).then(|| unsafe { (*found).gr_name }))
    })
}

/// Runs a look-up with a buffer that grows until the entry fits, and copies the name out of it.
fn look_up(mut ask: impl FnMut(*mut c_char, usize) -> (i32, Option<*mut c_char>)) -> Option<Vec<u8>> {
    let mut buffer: Vec<c_char> = vec![0; 1024];
    loop {
        match ask(buffer.as_mut_ptr(), buffer.len()) {
            (ERANGE, _) if buffer.len() < LARGEST_ENTRY => buffer.resize(buffer.len() * 4, 0),
            // SAFETY: the name is a C string within `buffer`, which is alive and unchanged.
            (0, Some(name)) if !name.is_null() => return Some(unsafe { CStr::from_ptr(name) }.to_bytes().to_vec()),
            _ => return None,
        }
    }
}
