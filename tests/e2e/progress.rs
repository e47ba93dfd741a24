//! Progress lines on a terminal, and that they are erased. One appears after a fixed time; to be independent of the
//! machine's speed, the tests stop the program until that time is over.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::libc;

use crate::oracle::{self, Attached};
use crate::support::{PATIENCE, noise, run, shmadm, wait_for};
use crate::terminal::{Terminal, open_terminal};
use crate::vanish::{Call, Stopped};

/// The width of the terminal.
const COLUMNS: u16 = 70;
/// Slightly more than the delay after which progress is shown.
const LONG: Duration = Duration::from_millis(1200);
/// A size that is processed in two pieces by one thread.
const TWO_PIECES: usize = 512 << 10;

#[apply(test)]
fn progress_is_erased_before_any_other_output() {
    let id = oracle::create(0, 1 << 30, 0o600);
    let (mut terminal, mut input) = writing(&[&id.to_string()]);
    while !terminal.shows("/s") {
        input.write_all(&[1; 4096]).unwrap();
    }
    drop(input);
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0));
    assert!(shown.contains("writing "), "{shown:?}");
    let lines = screen(&shown);
    assert!(lines.len() == 1 && lines[0].starts_with("wrote ") && lines[0].contains("to segment 0"), "{lines:?}");
}

#[apply(test)]
fn ctrl_c_erases_the_progress_and_detaches() {
    let id = oracle::create(0, 1 << 30, 0o600);
    let (mut terminal, mut input) = writing(&[&id.to_string()]);
    while !terminal.shows("/s") {
        input.write_all(&[1; 4096]).unwrap();
    }
    terminal.type_in("\u{3}");
    let (code, shown) = terminal.end();
    assert_eq!(code, None, "{shown:?}");
    assert!(screen(&shown).iter().all(|line| line == "^C"), "{shown:?}");
    assert_eq!(oracle::nattch(id), 0);
}

#[apply(test)]
fn no_progress_with_quiet_or_without_a_terminal() {
    let id = oracle::create(0, 1 << 30, 0o600).to_string();
    let (terminal, mut input) = writing(&[&id, "--quiet"]);
    let held_up = |input: &mut dyn Write| {
        let begin = Instant::now();
        while begin.elapsed() < LONG {
            input.write_all(&[1; 64]).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    held_up(&mut input);
    drop(input);
    assert_eq!(terminal.end(), (Some(0), String::new()));
    let mut child = shmadm();
    child.args(["write", &id]).env("TERM", "xterm").stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    held_up(&mut input);
    drop(input);
    let report = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(report.starts_with("wrote ") && report.lines().count() == 1, "{report:?}");
}

#[apply(test)]
fn reading_shows_progress_only_on_standard_error() {
    let id = oracle::create(0, 64 << 20, 0o600);
    Attached::new(id).write(0, &[7; 64 << 20]);
    let mut command = shmadm();
    command.args(["read", &id.to_string(), "--raw"]).stdout(Stdio::piped());
    let begin = Instant::now();
    let mut terminal = Terminal::start(command, COLUMNS, &[2]);
    let mut output = terminal.child().stdout.take().unwrap();
    let mut read = Vec::new();
    output.by_ref().take(4096).read_to_end(&mut read).unwrap();
    wait_for("the second to be over", || begin.elapsed() > LONG);
    while !terminal.shows("/s") {
        assert!(begin.elapsed() < PATIENCE, "no progress");
        output.by_ref().take(4096).read_to_end(&mut read).unwrap();
    }
    output.read_to_end(&mut read).unwrap();
    assert!(read == [7; 64 << 20]);
    let (code, shown) = terminal.end();
    assert!(shown.contains("reading ") && shown.contains("/64M"), "{shown:?}");
    assert_eq!((code, screen(&shown)), (Some(0), Vec::new()));
}

#[apply(test)]
fn dump_and_restore_show_their_phase() {
    let id = oracle::create(1234, TWO_PIECES, 0o600);
    Attached::new(id).write(0, &noise(TWO_PIECES, 1));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dump").to_string_lossy().into_owned();
    let dump = ["dump", "0x4d2", "--output", &path];
    let (shown, said) = held_up(1, &dump);
    assert!(shown.contains("dumping [") && shown.contains("/512K"), "{shown:?}");
    assert!(said.len() <= 4 && said.concat().starts_with("dumped segment 0 (key 0x000004d2, 512 KiB)"), "{said:?}");
    oracle::remove(id);
    for (nth, doing) in [(1, "verifying ["), (3, "restoring [")] {
        let (shown, said) = held_up(nth, &["restore", &path]);
        assert!(shown.contains(doing), "{shown:?}");
        assert!(said.concat().starts_with("restored segment "), "{said:?}");
        oracle::remove_all();
    }
    let (shown, _) = held_up(1, &["restore", &path, "--quiet"]);
    assert_eq!(shown, "");
}

#[apply(test)]
fn short_work_shows_nothing() {
    // Its creator exits: rm notes one that is running.
    let id = run(["create"]).exits(0).stdout.trim().to_owned();
    let (code, shown) = Terminal::run(&["write", &id, "--fill", "1"], COLUMNS).end();
    assert_eq!((code, shown.as_str()), (Some(0), "wrote 4096 bytes to segment 0 at offset 0\r\n"));
    assert_eq!(run(["rm", &id]).exits(0).stderr.lines().count(), 1);
}

/// Starts a write of a pipe's contents, with standard error on a terminal.
fn writing(arguments: &[&str]) -> (Terminal, std::process::ChildStdin) {
    let mut command = shmadm();
    command.arg("write").args(arguments).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut terminal = Terminal::start(command, COLUMNS, &[2]);
    let input = terminal.child().stdin.take().unwrap();
    (terminal, input)
}

/// Runs the program with standard error on a terminal and stops it before the nth read of a piece; returns all that
/// was shown, and the lines that remain.
fn held_up(nth: usize, arguments: &[&str]) -> (String, Vec<String>) {
    let (master, slave) = open_terminal(COLUMNS, 40);
    let begin = Instant::now();
    let mut command = shmadm();
    command.args(arguments).env("TERM", "xterm").stdout(Stdio::null()).stderr(slave);
    let piece = |call: &Call| call.number == libc::SYS_pread64 && call.arguments[2] == (TWO_PIECES / 2) as u64;
    let copied = |call: &Call| call.number == libc::SYS_process_vm_readv;
    let stopped = Stopped::command_before(nth, |call| piece(call) || copied(call), command);
    // The work began before this point, so it has then lasted long enough.
    wait_for("the second to be over", || begin.elapsed() > LONG);
    let ran = stopped.go_on().exits(0);
    assert_eq!(ran.stderr, "");
    let shown = all_of(master);
    let lines = screen(&shown);
    (shown, lines)
}

/// Reads the rest from a terminal whose other side is closed.
fn all_of(mut master: File) -> String {
    let mut shown = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = master.read(&mut bytes) {
        shown.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8(shown).unwrap()
}

/// Returns the lines that remain on the screen of a simple terminal; a progress line does not wrap.
fn screen(shown: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut row = 0;
    let mut column = 0;
    let mut rest = shown;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                column = 0;
                if lines.len() <= row {
                    lines.push(String::new());
                }
            }
            '\u{1b}' => {
                let end = rest.find(|letter: char| letter.is_ascii_alphabetic()).unwrap();
                let number: usize = rest[1..end].parse().unwrap_or(1);
                match &rest[end..=end] {
                    "K" => lines[row].clear(),
                    "A" => row = row.saturating_sub(number),
                    "m" => {}
                    other => panic!("unsupported control sequence {other:?}: {shown:?}"),
                }
                rest = &rest[end + 1..];
            }
            other => {
                let line: &mut String = &mut lines[row];
                while line.chars().count() <= column {
                    line.push(' ');
                }
                *line = line.chars().enumerate().map(|(at, old)| if at == column { other } else { old }).collect();
                column += 1;
            }
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}
