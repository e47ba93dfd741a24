//! Names of users and groups as bytes. The lookup functions of nix replace invalid UTF-8.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::ptr;

use nix::libc::{self, ERANGE};

/// The largest buffer for a lookup. An entry that does not fit is treated as missing.
const LARGEST_ENTRY: usize = 1 << 20;

/// Returns the name of a user (getpwuid_r(3)).
pub(crate) fn user_name(uid: u32) -> Option<Vec<u8>> {
    look_up(|buffer, length| {
        let mut entry = MaybeUninit::<libc::passwd>::zeroed();
        let mut found = ptr::null_mut();
        // SAFETY: all four pointers are valid for the duration of the call, and `length` is the size of `buffer`.
        let result = unsafe { libc::getpwuid_r(uid, entry.as_mut_ptr(), buffer, length, &raw mut found) };
        // SAFETY: a non-null `found` points to `entry`, which the call has initialised.
        (result, (!found.is_null()).then(|| unsafe { (*found).pw_name }))
    })
}

/// Returns the name of a group (getgrgid_r(3)).
pub(crate) fn group_name(gid: u32) -> Option<Vec<u8>> {
    look_up(|buffer, length| {
        let mut entry = MaybeUninit::<libc::group>::zeroed();
        let mut found = ptr::null_mut();
        // SAFETY: all four pointers are valid for the duration of the call, and `length` is the size of `buffer`.
        let result = unsafe { libc::getgrgid_r(gid, entry.as_mut_ptr(), buffer, length, &raw mut found) };
        // SAFETY: a non-null `found` points to `entry`, which the call has initialised.
        (result, (!found.is_null()).then(|| unsafe { (*found).gr_name }))
    })
}

/// Calls a lookup function with a growing buffer until the entry fits, and copies the name.
fn look_up(mut call: impl FnMut(*mut c_char, usize) -> (i32, Option<*mut c_char>)) -> Option<Vec<u8>> {
    let mut buffer: Vec<c_char> = vec![0; 1024];
    loop {
        match call(buffer.as_mut_ptr(), buffer.len()) {
            (ERANGE, _) if buffer.len() < LARGEST_ENTRY => buffer.resize(buffer.len() * 4, 0),
            // SAFETY: the name is a C string in `buffer`, which is alive and unchanged.
            (0, Some(name)) if !name.is_null() => return Some(unsafe { CStr::from_ptr(name) }.to_bytes().to_vec()),
            _ => return None,
        }
    }
}
