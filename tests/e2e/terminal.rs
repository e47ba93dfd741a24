//! The program on its own terminal, with simulated input.
#![expect(unsafe_code, reason = "a controlling terminal is set between fork and exec")]
#![expect(clippy::disallowed_methods, reason = "tests prepare their own children")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::output::open_terminal;
use crate::support::{PATIENCE, Running, shmadm};

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
    pub(crate) fn start(mut command: Command, columns: u16, descriptors: &[i32]) -> Self {
        let (master, slave) = open_terminal(columns, 40);
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

    /// Returns the output so far.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// Waits for more output; returns whether there was any.
    fn read(&mut self) -> bool {
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
