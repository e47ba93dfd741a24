//! Paths that name open descriptors.

use std::path::Path;

/// Returns whether a path names an open descriptor, such as /dev/stdout, /dev/fd/3 or /proc/self/fd/3.
pub(crate) fn is_descriptor(path: &Path) -> bool {
    let parts: Vec<&str> = path.components().map(|part| part.as_os_str().to_str().unwrap_or_default()).collect();
    match parts.as_slice() {
        ["/", "dev", "stdin" | "stdout" | "stderr"] => true,
        ["/", "dev", "fd", number] => is_number(number),
        ["/", "proc", process, "fd", number] => {
            (is_number(process) || ["self", "thread-self"].contains(process)) && is_number(number)
        }
        _ => false,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn descriptors_have_names_in_dev_and_in_proc() {
        for path in ["/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd/0", "//dev/./fd/63"] {
            assert!(is_descriptor(Path::new(path)), "{path}");
        }
        for path in ["/proc/self/fd/1", "/proc/1/fd/1", "/proc/thread-self/fd/3"] {
            assert!(is_descriptor(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn other_paths_name_files() {
        for path in ["", "-", "dev/stdin", "/dev/null", "/dev/fd", "/dev/fd/x", "/dev/shm/fd/1", "/dev/stdin/1"] {
            assert!(!is_descriptor(Path::new(path)), "{path}");
        }
        for path in ["/proc/self/fd", "/proc/../fd/1", "/proc/self/cwd/1", "/dev/fd/../null", "/tmp/self/fd/1"] {
            assert!(!is_descriptor(Path::new(path)), "{path}");
        }
        assert!(!is_descriptor(Path::new(OsStr::from_bytes(b"/dev/\xff/fd/0"))));
    }
}
