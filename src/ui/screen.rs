//! The whole screen of a terminal, for a program that draws it again and again and reads single keys.
//!
//! These control sequences are those of ECMA-48 and xterm, which every terminal emulator of today knows. The terminal
//! is restored when this is dropped, and before the message of a panic is printed.

use std::io::{self, IsTerminal, Stdin, Stdout, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};

use super::{Interrupted, Stream, Ui, is_dumb};
use crate::error::Error;
use crate::render::clip;

/// Switches to the alternate screen, and hides the cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
/// Resets colors, shows the cursor, and switches back.
const LEAVE: &[u8] = b"\x1b[m\x1b[?25h\x1b[?1049l";

/// Whether the terminal must be restored. A second LEAVE would move the cursor onto the message of a panic.
static IS_CHANGED: AtomicBool = AtomicBool::new(false);

/// The size of a terminal that does not know its own.
const DEFAULT_SIZE: (usize, usize) = (80, 24);

/// The rest of a control sequence that begins with ESC arrives within this time.
const REST_OF_SEQUENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 25_000_000 };

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Look {
    #[default]
    Plain,
    Bold,
    /// Black on white, or the reverse.
    Reverse,
}

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Character(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// F1 and further.
    Function(u8),
}

#[derive(Debug)]
pub(crate) struct Screen {
    stream: Stream,
    stdin: Stdin,
    /// The modes to restore.
    before: Termios,
    has_color: bool,
}

impl Ui {
    /// Omits all messages, or prints them again.
    pub(crate) fn mute(&mut self, is_muted: bool) {
        self.is_muted = is_muted;
    }

    /// Returns why no screen can be drawn, if so.
    pub(crate) fn why_not_drawable(&self) -> Option<&'static str> {
        if !io::stdin().is_terminal() || !self.is_terminal() {
            return Some("standard input or output is not a terminal");
        }
        is_dumb().then_some("TERM is dumb: the terminal cannot move its cursor")
    }

    /// Uses the whole terminal until the screen is dropped. Nothing else may be printed until then.
    pub(crate) fn open_screen(&mut self) -> Result<Screen, Error> {
        self.flush()?;
        Screen::open(self.out.stream.get_ref().interrupted, self.color_out)
    }
}

impl Screen {
    /// Starts to use the terminal that standard input and output are.
    #[expect(clippy::disallowed_methods, reason = "src/ui draws on standard output")]
    fn open(interrupted: Interrupted, has_color: bool) -> Result<Self, Error> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let before = tcgetattr(&stdin).map_err(failed)?;
        let modes = before.clone();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore(&modes, &mut Stream { stdout: io::stdout(), interrupted, failed: None });
            hook(panic);
        }));
        let stream = Stream { stdout, interrupted, failed: None };
        let mut screen = Self { stream, stdin, before, has_color };
        screen.enter()?;
        Ok(screen)
    }

    /// Prepares the terminal, at the start and after the program was stopped and continued.
    pub(crate) fn enter(&mut self) -> Result<(), Error> {
        let mut modes = self.before.clone();
        // Ctrl-C and Ctrl-Z still send signals.
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN);
        modes.input_modes.remove(InputModes::IXON | InputModes::ICRNL);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        IS_CHANGED.store(true, Ordering::SeqCst);
        tcsetattr(&self.stdin, OptionalActions::Now, &modes).map_err(failed)?;
        self.write(ENTER)
    }

    /// Restores the terminal.
    pub(crate) fn leave(&mut self) {
        restore(&self.before, &mut self.stream);
    }

    /// Returns the columns and rows.
    pub(crate) fn size(&self) -> (usize, usize) {
        let size = tcgetwinsize(&self.stream.stdout).map(|size| (size.ws_col.into(), size.ws_row.into()));
        size.ok().filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(DEFAULT_SIZE)
    }

    /// Draws all lines in one write, clipped to the screen.
    pub(crate) fn draw(&mut self, lines: &[(Look, String)]) -> Result<(), Error> {
        let (columns, rows) = self.size();
        let mut text = String::from("\x1b[H");
        for (number, (look, line)) in lines.iter().take(rows).enumerate() {
            if number > 0 {
                text.push_str("\r\n");
            }
            // Cleared first: after a character in the last column, that would be cleared too.
            text.push_str("\x1b[K");
            match look {
                Look::Bold if self.has_color => text.push_str("\x1b[1m"),
                Look::Reverse if self.has_color => text.push_str("\x1b[7m"),
                _ => {}
            }
            text.push_str(clip(line, columns));
            if self.has_color && *look != Look::Plain {
                text.push_str("\x1b[m");
            }
        }
        if lines.len() < rows {
            text.push_str("\r\n\x1b[J");
        }
        self.write(text.as_bytes())
    }

    /// Returns what becomes readable when a key is pressed.
    pub(crate) fn input(&self) -> BorrowedFd<'_> {
        self.stdin.as_fd()
    }

    /// Reads the keys that were pressed; `None` if the terminal was closed.
    pub(crate) fn keys(&mut self) -> Result<Option<Vec<Key>>, Error> {
        let mut bytes = self.read()?;
        let is_ready = || {
            let mut ready = [PollFd::new(&self.stdin, PollFlags::IN)];
            matches!(poll(&mut ready, Some(&REST_OF_SEQUENCE)), Ok(1..))
        };
        if bytes.ends_with(b"\x1b") && is_ready() {
            bytes.extend(self.read()?);
        }
        Ok((!bytes.is_empty()).then(|| keys(&String::from_utf8_lossy(&bytes))))
    }

    fn read(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; 256];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&self.stdin, &mut *bytes));
        let count = read.map_err(|errno| Error::io("cannot read the terminal", &errno.into(), "read"))?;
        bytes.truncate(count);
        Ok(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.stream.write_all(bytes);
        written.map_err(|error| match (self.stream.interrupted)() {
            Some(signal) => Error::interrupted(signal),
            None => Error::io("cannot write to the terminal", &error, "write"),
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Restores the terminal, unless another job has taken it over.
fn restore(modes: &Termios, stream: &mut Stream) {
    if IS_CHANGED.swap(false, Ordering::SeqCst) && is_foreground(&stream.stdout) {
        let _ = stream.write_all(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
    }
}

fn is_foreground(stdout: &Stdout) -> bool {
    // Where that is unknown, it is not the controlling terminal.
    tcgetpgrp(stdout).map_or(true, |group| group == rustix::process::getpgrp())
}

fn failed(errno: Errno) -> Error {
    Error::io("cannot change the modes of the terminal", &errno.into(), "tcsetattr")
}

/// The keys that send a control sequence, which begins with ESC.
const SEQUENCES: [(&str, Key); 22] = [
    ("[A", Key::Up),
    ("OA", Key::Up),
    ("[B", Key::Down),
    ("OB", Key::Down),
    ("[5~", Key::PageUp),
    ("[6~", Key::PageDown),
    ("[H", Key::Home),
    ("OH", Key::Home),
    ("[1~", Key::Home),
    ("[7~", Key::Home),
    ("[F", Key::End),
    ("OF", Key::End),
    ("[4~", Key::End),
    ("[8~", Key::End),
    // The others of the function keys have no meaning here. Those of the Linux console end after their second letter.
    ("OP", Key::Function(1)),
    ("[11~", Key::Function(1)),
    ("[[A", Key::Function(1)),
    ("OS", Key::Function(4)),
    ("[14~", Key::Function(4)),
    ("[[D", Key::Function(4)),
    ("[17~", Key::Function(6)),
    ("[21~", Key::Function(10)),
];

/// Returns the keys that sent a text; those without a meaning here are omitted.
fn keys(mut text: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    while let Some(first) = text.chars().next() {
        text = &text[first.len_utf8()..];
        match first {
            '\x1b' if text.starts_with(['[', 'O']) => {
                let known = SEQUENCES.iter().find(|(sequence, _)| text.starts_with(sequence));
                keys.extend(known.map(|(_, key)| *key));
                // It ends with a letter or ~.
                let start = if text.starts_with("[[") { 2 } else { 1 };
                let end = text[start..].find(|end: char| end.is_ascii_alphabetic() || end == '~');
                text = end.map_or("", |end| &text[start + end + 1..]);
            }
            '\x1b' => keys.push(Key::Escape),
            '\r' | '\n' => keys.push(Key::Enter),
            '\x7f' | '\x08' => keys.push(Key::Backspace),
            character if !character.is_control() => keys.push(Key::Character(character)),
            _ => {}
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_send_characters_and_sequences() {
        let character = Key::Character;
        assert_eq!(keys("qä\r\x7f"), [character('q'), character('ä'), Key::Enter, Key::Backspace]);
        assert_eq!(keys("\x1b[A\x1bOB\x1b[6~"), [Key::Up, Key::Down, Key::PageDown]);
        assert_eq!(keys("\x1b[15~\x1b[1;5Cx"), [character('x')], "F5 and Ctrl-Right have no meaning");
        assert_eq!(
            keys("\x1bOP\x1b[[A\x1b[11~x"),
            [Key::Function(1), Key::Function(1), Key::Function(1), character('x')]
        );
        assert_eq!(keys("\x1b"), [Key::Escape]);
        assert_eq!((keys("\x1b["), keys("\x01")), (vec![], vec![]));
    }
}
