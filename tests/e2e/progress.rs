//! How far long work has come, on a terminal that is left clean. What shows depends on time, and never on how fast a
//! machine is: the trials hold the work up until its second is over.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::libc;

use crate::oracle::{self, Attached};
use crate::output::open_terminal;
use crate::support::{PATIENCE, noise, run, shmadm, trial, wait_for};
use crate::terminal::Terminal;
use crate::vanish::{Call, Stopped};

/// Columns of the terminal.
const COLUMNS: u16 = 70;
/// The time after which a bar shows, and a bit.
const LONG: Duration = Duration::from_millis(1200);
/// Bytes of a segment that is worked on in two pieces, in one thread.
const TWO_PIECES: usize = 512 << 10;

/// Gives the trials of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("progress::writing_shows_a_bar_that_is_gone_before_anything_is_said", || {
            let id = oracle::create(0, 1 << 30, 0o600);
            let (mut terminal, mut input) = writing(&[&id.to_string()]);
            while !terminal.shows("B/s") {
                input.write_all(&[1; 4096]).unwrap();
            }
            drop(input);
            let (code, shown) = terminal.end();
            assert_eq!(code, Some(0));
            assert!(shown.contains("writing "), "{shown:?}");
            let lines = screen(&shown);
            assert!(
                lines.len() == 1 && lines[0].starts_with("wrote ") && lines[0].ends_with("of segment 0"),
                "{lines:?}"
            );
        }),
        trial("progress::ctrl_c_leaves_the_terminal_clean_and_nothing_attached", || {
            let id = oracle::create(0, 1 << 30, 0o600);
            let (mut terminal, mut input) = writing(&[&id.to_string()]);
            while !terminal.shows("B/s") {
                input.write_all(&[1; 4096]).unwrap();
            }
            terminal.type_in("\u{3}");
            let (code, shown) = terminal.end();
            assert_eq!(code, None, "{shown:?}");
            assert!(screen(&shown).iter().all(|line| line == "^C"), "{shown:?}");
            assert_eq!(oracle::row(id).unwrap().get("nattch"), "0");
        }),
        trial("progress::neither_who_wants_quiet_nor_a_file_gets_a_bar", || {
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
            let told = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
            assert!(told.starts_with("wrote ") && told.lines().count() == 1, "{told:?}");
        }),
        trial("progress::reading_shows_one_on_standard_error_alone", || {
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
            while !terminal.shows("B/s") {
                assert!(begin.elapsed() < PATIENCE, "no bar");
                output.by_ref().take(4096).read_to_end(&mut read).unwrap();
            }
            output.read_to_end(&mut read).unwrap();
            assert!(read == [7; 64 << 20]);
            let (code, shown) = terminal.end();
            assert!(shown.contains("reading ") && shown.contains("/64.00 MiB"), "{shown:?}");
            assert_eq!((code, screen(&shown)), (Some(0), Vec::new()));
        }),
        trial("progress::dump_and_restore_show_what_they_are_at", || {
            let id = oracle::create(1234, TWO_PIECES, 0o600);
            Attached::new(id).write(0, &noise(TWO_PIECES, 1));
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("dump").to_string_lossy().into_owned();
            let dump = ["dump", "0x4d2", "--output", &path];
            let (shown, said) = held_up(1, &dump);
            assert!(shown.contains("dumping [") && shown.contains("/512.00 KiB"), "{shown:?}");
            assert!(
                said.len() <= 4 && said.concat().starts_with("dumped segment 0 (key 0x000004d2, 512 KiB)"),
                "{said:?}"
            );
            oracle::remove(id);
            for (nth, doing) in [(1, "verifying ["), (3, "restoring [")] {
                let (shown, said) = held_up(nth, &["restore", &path]);
                assert!(shown.contains(doing), "{shown:?}");
                assert!(said.concat().starts_with("restored segment "), "{said:?}");
                oracle::remove_all();
            }
            let (shown, _) = held_up(1, &["restore", &path, "--quiet"]);
            assert_eq!(shown, "");
        }),
        trial("progress::short_work_shows_nothing", || {
            let id = oracle::create(1234, 4096, 0o600).to_string();
            let (code, shown) = Terminal::run(&["write", &id, "--fill", "1"], COLUMNS).end();
            assert_eq!((code, shown.as_str()), (Some(0), "wrote 4096 bytes at offset 0 of segment 0\r\n"));
            assert_eq!(run(["rm", &id]).exits(0).stderr.lines().count(), 1);
        }),
    ]
}

/// Starts to write what comes on a pipe, with standard error on a terminal.
fn writing(arguments: &[&str]) -> (Terminal, std::process::ChildStdin) {
    let mut command = shmadm();
    command.arg("write").args(arguments).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut terminal = Terminal::start(command, COLUMNS, &[2]);
    let input = terminal.child().stdin.take().unwrap();
    (terminal, input)
}

/// Runs the program with standard error on a terminal, holds it up before it reads a piece for the nth time, and gives
/// what was shown, and the lines that are left.
fn held_up(nth: usize, arguments: &[&str]) -> (String, Vec<String>) {
    let (master, slave) = open_terminal(COLUMNS, 40);
    let begin = Instant::now();
    let mut command = shmadm();
    command.args(arguments).env("TERM", "xterm").stdout(Stdio::null()).stderr(slave);
    let piece = |call: &Call| call.number == libc::SYS_pread64 && call.arguments[2] == (TWO_PIECES / 2) as u64;
    let piped = |call: &Call| call.number == libc::SYS_read && call.arguments[2] == 64 << 10;
    let stopped = Stopped::command_before(nth, |call| piece(call) || piped(call), command);
    // Work that began at the latest now has been at it for long enough then.
    wait_for("the second to be over", || begin.elapsed() > LONG);
    let ran = stopped.go_on().exits(0);
    assert_eq!(ran.stderr, "");
    let shown = all_of(master);
    let lines = screen(&shown);
    (shown, lines)
}

/// Reads a terminal whose other side nobody has any more.
fn all_of(mut master: File) -> String {
    let mut shown = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = master.read(&mut bytes) {
        shown.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8(shown).unwrap()
}

/// Gives the lines that are left on the screen, as far as a bar takes a terminal: its lines are not wrapped.
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
                    other => panic!("no terminal was taught {other:?}: {shown:?}"),
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
