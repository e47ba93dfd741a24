//! Names of users and groups as bytes. The lookup functions of nix replace invalid UTF-8.

use std::ffi::{CStr, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;

use nix::libc::{self, ERANGE};

/// The largest buffer for a lookup. An entry that does not fit is treated as missing.
const LARGEST_ENTRY: usize = 1 << 20;

/// Returns the name of a user (getpwuid_r(3)).
pub(crate) fn user_name(uid: u32) -> Option<Vec<u8>> {
    look_up(uid, libc::getpwuid_r, |entry| entry.pw_name)
}

/// Returns the name of a group (getgrgid_r(3)).
pub(crate) fn group_name(gid: u32) -> Option<Vec<u8>> {
    look_up(gid, libc::getgrgid_r, |entry| entry.gr_name)
}

/// A function that stores an entry, and the strings to which it points in a buffer.
type LookUp<T> = unsafe extern "C" fn(u32, *mut T, *mut c_char, usize, *mut *mut T) -> c_int;

/// Calls a lookup function with a growing buffer until the entry fits, and copies the name.
fn look_up<T>(id: u32, call: LookUp<T>, name: fn(&T) -> *mut c_char) -> Option<Vec<u8>> {
    let (mut entry, mut found) = (MaybeUninit::<T>::zeroed(), ptr::null_mut());
    let mut buffer: Vec<c_char> = vec![0; 1024];
    loop {
        // SAFETY: all pointers are valid for the duration of the call, and the length is that of the buffer.
        match unsafe { call(id, entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found) } {
            ERANGE if buffer.len() < LARGEST_ENTRY => buffer.resize(buffer.len() * 4, 0),
            0 if !found.is_null() => {
                // SAFETY: a non-null `found` points to `entry`, which the call has initialized.
                let name = name(unsafe { &*found });
                // SAFETY: the name is a C string in `buffer`, which is alive and unchanged.
                return (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes().to_vec());
            }
            _ => return None,
        }
    }
}
