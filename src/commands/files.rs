//! Files that the user names.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::usage_error;
use crate::act::{is_unnamed, own_link_target};
use crate::contents::refer_through;
use crate::error::{Error, Kind, again};
use crate::model::{is_descriptor, path_text};

/// Adds a hint with the target of a symbolic link to the error for a file that could not be written, if the caller owns
/// the link. `option` takes the file.
pub(super) fn with_link_target(error: Error, option: &str, path: &Path) -> Error {
    match own_link_target(path) {
        Some(target) => {
            let command = again(option).arg(path_argument(&target)).without(&[path]);
            error.hint("name the target of the symbolic link", command)
        }
        None => error,
    }
}

/// Adds a hint like [`with_link_target`], for `--output`, where `-` means standard output.
pub(super) fn with_output_target(error: Error, path: &Path) -> Error {
    let is_stdout = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path == Path::new(name));
    if !is_stdout && !is_unnamed(path) {
        return with_link_target(error, "--output", path);
    }
    let command = again("--output -").without(&[path]).without(&["json", "format"]);
    error.hint("write to standard output", command)
}

/// Returns whether a FILE stands for standard input or output.
pub(super) fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Returns whether a FILE cannot be read again under this name: standard input, another descriptor of this process, or
/// a pipe.
pub(super) fn is_read_once(path: &Path) -> bool {
    is_descriptor(path) || !path.is_file()
}

/// Refuses `-` (standard output), because the command that is run writes there.
pub(super) fn check_not_dash(option: &str, path: &Path) -> Result<(), Error> {
    if !is_dash(path) {
        return Ok(());
    }
    Err(usage_error(format!("{option} - would be mixed with the command's own output"))
        .hint("write a file of that name", again(&format!("{option} ./-"))))
}

/// Returns the error for a file that cannot be read.
pub(super) fn unreadable(name: &str, error: &io::Error, call: &'static str) -> Error {
    let failed = Error::io(format!("cannot read {name}"), error, call).target(name);
    match error.kind() {
        io::ErrorKind::PermissionDenied => failed.cause("the file or one of its parent directories denies you access"),
        _ => failed,
    }
}

/// Maximum size of a file: at half a kilobyte per segment, enough for two million segments.
const MAX_FILE_SIZE: u64 = 1 << 30;

/// Returns the name of an input, for messages.
pub(super) fn input_name(path: &Path) -> String {
    if is_dash(path) { "standard input".to_owned() } else { path_text(path) }
}

/// Reads a file that `accept` accepts, or standard input; returns its name and contents.
pub(super) fn read_whole(path: &Path, accept: impl Fn(&File) -> Result<(), Error>) -> Result<(String, Vec<u8>), Error> {
    let name = input_name(path);
    let failed = |error: io::Error, call| unreadable(&name, &error, call);
    let source: Box<dyn Read> = if is_dash(path) {
        Box::new(io::stdin())
    } else {
        // Before it is opened, which would wait for the writer of a FIFO.
        let referred = refer_through(path).map_err(|errno| failed(errno.into(), "open"))?;
        accept(&referred.into())?;
        let file = File::open(path).map_err(|error| failed(error, "open"))?;
        accept(&file)?;
        Box::new(file)
    };
    let mut text = Vec::new();
    source.take(MAX_FILE_SIZE).read_to_end(&mut text).map_err(|error| failed(error, "read"))?;
    if text.len() as u64 == MAX_FILE_SIZE {
        return Err(
            Error::new(Kind::Failed, format!("cannot read {name}: the file must be smaller than 1 GiB")).target(&*name)
        );
    }
    Ok((name, text))
}

/// Returns a path as an argument: what begins with - would be an option.
pub(super) fn path_argument(path: &Path) -> OsString {
    let is_option = path.as_os_str().as_encoded_bytes().starts_with(b"-");
    if is_option { Path::new(".").join(path).into_os_string() } else { path.into() }
}
