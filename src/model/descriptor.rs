//! Paths that name open descriptors.

use std::path::Path;

use super::is_decimal;

/// Returns whether a path names an open descriptor, such as /dev/stdout, /dev/fd/3 or /proc/self/fd/3.
pub(crate) fn is_descriptor(path: &Path) -> bool {
    let parts: Vec<&str> = path.components().map(|part| part.as_os_str().to_str().unwrap_or_default()).collect();
    match parts.as_slice() {
        ["/", "dev", "stdin" | "stdout" | "stderr"] => true,
        ["/", "dev", "fd", number] => is_decimal(number),
        ["/", "proc", process, "fd", number] => {
            (is_decimal(process) || ["self", "thread-self"].contains(process)) && is_decimal(number)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_have_names_in_dev_and_in_proc() {
        let descriptors = "/dev/stdin /dev/stdout /dev/stderr /dev/fd/0 //dev/./fd/63 /proc/self/fd/1 /proc/1/fd/1 \
                           /proc/thread-self/fd/3";
        let files = "- dev/stdin /dev/null /dev/fd /dev/fd/x /dev/shm/fd/1 /dev/stdin/1 /proc/self/fd /proc/../fd/1 \
                     /proc/self/cwd/1 /dev/fd/../null /tmp/self/fd/1";
        for (paths, expected) in [(descriptors, true), (files, false)] {
            for path in paths.split(' ') {
                assert_eq!(is_descriptor(Path::new(path)), expected, "{path}");
            }
        }
    }
}
