//! The program on its own terminal, with simulated input.
#![expect(unsafe_code, reason = "no wrapper makes a terminal the controlling one, or sets its size")]
#![expect(clippy::disallowed_methods, reason = "tests prepare their own children")]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{Termios, tcgetattr};

use crate::support::{PATIENCE, Ran, Running, shmadm};

/// A width in which nothing is cut.
pub(crate) const WIDE: u16 = 200;

/// A program on a terminal.
pub(crate) struct Terminal {
    running: Running,
    /// The user's side.
    master: File,
    /// The output so far.
    shown: Vec<u8>,
}

impl Terminal {
    /// Runs the program on a terminal with N columns.
    pub(crate) fn run(arguments: &[&str], columns: u16) -> Self {
        Self::run_without(arguments, columns, -1)
    }

    /// Like [`Terminal::run`], with one of the three standard descriptors redirected.
    pub(crate) fn run_without(arguments: &[&str], columns: u16, descriptor: i32) -> Self {
        let mut command = shmadm();
        command.args(arguments).stderr(Stdio::null());
        let there: Vec<i32> = (0..3).filter(|number| *number != descriptor).collect();
        Self::start(command, columns, &there)
    }

    /// Runs a command with these of the three standard descriptors on a terminal.
    pub(crate) fn start(command: Command, columns: u16, descriptors: &[i32]) -> Self {
        Self::start_on(command, (columns, 40), descriptors)
    }

    /// Like [`Terminal::start`], with a number of rows.
    pub(crate) fn start_on(mut command: Command, (columns, rows): (u16, u16), descriptors: &[i32]) -> Self {
        let (master, slave) = open_terminal(columns, rows);
        command.env("TERM", "xterm");
        for descriptor in descriptors {
            let end = slave.try_clone().unwrap();
            match descriptor {
                0 => command.stdin(end),
                1 => command.stdout(end),
                _ => command.stderr(end),
            };
        }
        let one = descriptors[0];
        let control = move || {
            nix::unistd::setsid()?;
            // It becomes the controlling terminal of the session, so that Ctrl-C sends a signal.
            // SAFETY: this request takes a number.
            Errno::result(unsafe { libc::ioctl(one, libc::TIOCSCTTY, 0) })?;
            Ok(())
        };
        // SAFETY: between fork and exec this makes two system calls and nothing else.
        unsafe { command.pre_exec(control) };
        let running = Running(command.spawn().unwrap());
        drop(command);
        drop(slave);
        Self { running, master, shown: Vec::new() }
    }

    /// Waits until a text is shown.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        while !self.text().contains(text) {
            assert!(self.read(), "the program ended without {text:?}: {}", self.text());
        }
    }

    pub(crate) fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for the program to exit; returns the exit code, if no signal ended it, and the whole output.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        while self.read() {}
        (self.running.0.wait().unwrap().code(), self.text())
    }

    /// Returns whether a text was shown so far, without waiting.
    pub(crate) fn shows(&mut self, text: &str) -> bool {
        let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::ZERO).unwrap() > 0 {
            self.read();
        }
        self.text().contains(text)
    }

    /// Borrows the program's other descriptors.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.running.0
    }

    /// Changes the size, of which the kernel informs the program (SIGWINCH).
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        set_size(&self.master, columns, rows);
    }

    /// Returns the modes of the terminal.
    pub(crate) fn modes(&self) -> Termios {
        tcgetattr(&self.master).unwrap()
    }

    /// Returns the output so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// Waits for more output; returns whether there was any.
    pub(crate) fn read(&mut self) -> bool {
        let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(PATIENCE).unwrap();
        assert!(poll(&mut ready, timeout).unwrap() > 0, "timed out: {}", self.text());
        let mut bytes = [0; 4096];
        match self.master.read(&mut bytes) {
            Ok(count @ 1..) => {
                self.shown.extend_from_slice(&bytes[..count]);
                true
            }
            // EIO: no process has the other side open.
            Ok(0) | Err(_) => false,
        }
    }
}

/// Runs a command with its standard output on a terminal; returns the output with plain line ends.
pub(crate) fn on_terminal(command: &mut Command, columns: u16) -> Ran {
    on_terminal_of(command, columns, 40)
}

/// Like [`on_terminal`], with a number of rows; 0 for a terminal that knows only its columns.
pub(crate) fn on_terminal_of(command: &mut Command, columns: u16, rows: u16) -> Ran {
    let (mut master, slave) = open_terminal(columns, rows);
    let child = command.stdout(slave).stderr(Stdio::piped()).spawn().unwrap();
    // The terminal closes when no process has it open, so the command must close it too.
    command.stdout(Stdio::null());
    let mut printed = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match master.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => printed.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
                break;
            }
        }
    }
    let mut ran = Ran::from(child.wait_with_output().unwrap());
    ran.stdout = String::from_utf8(printed).unwrap().replace("\r\n", "\n");
    ran
}

/// Creates a terminal; returns the user's side and the program's side.
pub(crate) fn open_terminal(columns: u16, rows: u16) -> (File, File) {
    // Opened close-on-exec: a child of another test would otherwise inherit it and keep it open.
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(ptsname_r(&master).unwrap());
    let master = File::from(OwnedFd::from(master));
    set_size(&master, columns, rows);
    (master, slave.unwrap())
}

fn set_size(master: &File, columns: u16, rows: u16) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the pointer is to a whole record, which the call reads.
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(result, 0, "TIOCSWINSZ: {}", std::io::Error::last_os_error());
}
