//! Descriptors that are queued in a Unix socket.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use crate::support::Running;

/// Opens an object and sends the descriptor to a socket, so that no process has it open.
pub(crate) fn send_descriptor(path: String) -> (UnixDatagram, UnixDatagram) {
    send_file(&std::fs::File::open(path).unwrap())
}

/// Starts a process in whose socket the descriptor of an object is queued. No process has the object open.
pub(crate) fn queue_descriptor(path: String) -> Running {
    let (sender, receiver) = send_descriptor(path);
    let mut command = Command::new("sleep");
    command.arg("infinity").stdin(OwnedFd::from(receiver)).stdout(OwnedFd::from(sender));
    Running(command.spawn().unwrap())
}

/// Sends a file to a socket.
pub(crate) fn send_file(file: &std::fs::File) -> (UnixDatagram, UnixDatagram) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let (sender, receiver) = UnixDatagram::pair().unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights = [file.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&rights)));
    sendmsg(&sender, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
    (sender, receiver)
}
