//! `top` on a terminal: what is on the screen, and that the terminal is restored.

use std::process::Command;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{MIB, create_object};
use crate::actor::{Actor, Request};
use crate::oracle::Attached;
use crate::sandbox::ShownProcesses;
use crate::support::{PATIENCE, finish, shmadm};
use crate::terminal::Terminal;

/// Switches to the alternate screen.
const ENTER: &str = "\x1b[?1049h";
/// Shows the cursor, and switches back.
const LEAVE: &str = "\x1b[m\x1b[?25h\x1b[?1049l";

/// The program on a terminal.
pub(super) struct Top {
    terminal: Terminal,
    _shown: Option<ShownProcesses>,
    columns: usize,
    rows: usize,
    /// The output before the terminal had this size.
    outdated: usize,
}

impl Top {
    fn start(arguments: &[&str], columns: u16, rows: u16) -> Self {
        let mut command = shmadm();
        command.arg("top").args(arguments);
        Self::of(command, Some(&[]), columns, rows)
    }

    /// Starts a command that sees only some processes, or all: what others use is on the screen too.
    pub(super) fn of(mut command: Command, pids: Option<&[i32]>, columns: u16, rows: u16) -> Self {
        let shown = pids.map(ShownProcesses::new);
        if let Some(shown) = &shown {
            shown.to(&mut command);
        }
        let terminal = Terminal::start_on(command, (columns, rows), &[0, 1, 2]);
        Self { terminal, _shown: shown, columns: columns.into(), rows: rows.into(), outdated: 0 }
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        self.outdated = self.terminal.text().len();
        self.terminal.resize(columns, rows);
        (self.columns, self.rows) = (columns.into(), rows.into());
    }

    /// Returns the lines of the screen; none before it is drawn.
    fn screen(&self) -> Vec<String> {
        let text = self.terminal.text();
        let Some((_, text)) = text[self.outdated..].rsplit_once(ENTER) else { return Vec::new() };
        displayed(text, self.columns, self.rows)
    }

    /// Waits until the screen meets a condition.
    #[track_caller]
    fn wait(&mut self, what: &str, condition: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            // The last line is drawn last.
            if screen.last().is_some_and(|line| !line.is_empty()) && condition(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "timed out while waiting for {what}: {screen:#?}");
            assert!(self.terminal.read(), "ended without {what}: {screen:#?} {}", self.terminal.text());
        }
    }

    /// Waits until a line of the screen contains a text.
    #[track_caller]
    pub(super) fn shows(&mut self, text: &str) -> Vec<String> {
        self.wait(text, |screen| screen.iter().any(|line| line.contains(text)))
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.terminal.type_in(keys);
    }

    fn pid(&mut self) -> Pid {
        Pid::from_raw(self.terminal.child().id().cast_signed())
    }
}

/// Returns what a terminal displays; fails if a line is wider than the terminal.
#[track_caller]
fn displayed(text: &str, columns: usize, rows: usize) -> Vec<String> {
    let mut screen = vec![String::new(); rows];
    let (mut row, mut rest) = (0, text);
    while let Some(character) = rest.chars().next() {
        if character == '\x1b' {
            // The last sequence may be incomplete.
            let Some(sequence) = rest.strip_prefix("\x1b[") else { break };
            let Some(end) = sequence.find(|end: char| end.is_ascii_alphabetic()) else { break };
            match &sequence[..=end] {
                "H" => row = 0,
                "K" => screen[row].clear(),
                "J" => screen[row..].iter_mut().for_each(String::clear),
                // Every line begins with K, so that no line is overwritten in part.
                other => assert!(other.ends_with(['h', 'l', 'm']), "{other:?}"),
            }
            rest = &sequence[end + 1..];
            continue;
        }
        match character {
            '\n' => row += 1,
            '\r' => {}
            _ => {
                assert!(character.width().is_some(), "{character:?} in {text:?}");
                screen[row].push(character);
                assert!(screen[row].width() <= columns, "wider than {columns}: {:?}", screen[row]);
            }
        }
        rest = &rest[character.len_utf8()..];
    }
    screen
}

/// Returns the names in the lower table, with the mark of the selected one.
fn names(screen: &[String]) -> Vec<&str> {
    let rows = screen.iter().skip_while(|line| !line.starts_with("  NAME")).skip(1);
    let rows = rows.take_while(|line| line.starts_with(['>', ' ']));
    rows.filter_map(|line| Some(line[..line[2..].find(' ')? + 2].trim_start())).collect()
}

#[apply(test)]
fn a_small_screen_shows_the_sum_the_sources_and_the_largest_object() {
    create_object("/dev/shm/psm_0123abcd", 64 * MIB);
    let mut top = Top::start(&["--every", "100ms"], 60, 15);
    let screen = top.shows("/psm_0123abcd");
    assert!(screen[0].starts_with("Shmem "), "{screen:#?}");
    assert!(screen[1].starts_with("every "), "{screen:#?}");
    assert!(screen[2].starts_with("SOURCE  "), "{screen:#?}");
    for row in ["tmpfs /dev/shm", "not accounted for"] {
        assert!(screen.iter().any(|line| line.starts_with(row)), "{screen:#?}");
    }
    let heading = screen.iter().position(|line| line.starts_with("  NAME")).unwrap();
    assert!(screen[heading + 1].starts_with("  /psm_0123abcd"), "{screen:#?}");
    assert!(screen[14].starts_with("q quit"), "{screen:#?}");
    create_object("/dev/shm/larger", 80 * MIB);
    top.wait("the new object first", |screen| screen[heading + 1].starts_with("  /larger"));
    create_object(&format!("/dev/shm/{}", "long".repeat(50)), 90 * MIB);
    let is_long = |line: &String| line.starts_with("  /longlong") && line.contains(" 90M ");
    top.wait("the size of an object with a long name", |screen| is_long(&screen[heading + 1]));
    top.wait("a spark line", |screen| screen[0].ends_with('█') || screen[0].contains("█▇"));
    top.press("q");
    assert_eq!(top.terminal.end().0, Some(0));
}

#[apply(test)]
fn a_small_screen_cuts_no_words_of_the_status_and_the_help() {
    // A scan takes longer than that, which the status explains where it can.
    let mut top = Top::start(&["--every", "0s"], 60, 15);
    top.shows("every ");
    top.press("p");
    let is_whole = |line: &str| line.starts_with("paused; every ") && line.ends_with("; sorted by rss");
    top.wait("a whole status", |screen| is_whole(&screen[1]));
    top.press("?");
    let help = top.shows("Escape     clear the selection and the filter");
    for end in ["; Enter ends the input", " source, instance,", " the selected segment", " a segment or object"] {
        assert!(help.iter().any(|line| line.ends_with(end)), "{help:#?}");
    }
    top.press("q");
    assert_eq!(top.terminal.end().0, Some(0));
}

#[apply(test)]
fn the_screen_follows_the_size_of_the_terminal() {
    create_object("/dev/shm/psm_0123abcd", 64 * MIB);
    (0..30).for_each(|number| create_object(&format!("/dev/shm/object-{number}"), 4096));
    let mut top = Top::start(&["--every", "10s"], 60, 15);
    assert!(names(&top.shows("/psm_0123abcd")).len() < 15);
    top.resize(120, 50);
    top.shows("python-shared-memory");
    top.wait("more rows", |screen| names(screen).len() > 30);
    // With more rows than before, or all names again, the screen is full.
    top.resize(60, 15);
    top.press("/-\r\x1b[F");
    let is_last_selected = |screen: &[String]| names(screen).last().is_some_and(|name| name.starts_with('>'));
    let few = names(&top.wait("the last row", is_last_selected)).len();
    top.resize(60, 25);
    top.wait("more rows before it", |screen| names(screen).len() >= few + 5);
    top.press("\x1b");
    for (columns, rows) in [(20, 5), (3, 2), (1, 1)] {
        top.resize(columns, rows);
        top.wait("a small screen", |_| true);
    }
    top.resize(60, 15);
    top.shows("/psm_0123abcd");
    top.press("q");
    assert_eq!(top.terminal.end().0, Some(0));
}

#[apply(test)]
fn names_are_filtered_sorted_and_selected() {
    for (name, mib) in [("Apple", 10), ("apricot", 30), ("banana", 20)] {
        create_object(&format!("/dev/shm/{name}"), mib * MIB);
    }
    let mut top = Top::start(&["--every", "50ms"], 80, 24);
    top.shows("/banana");
    top.press("/ap");
    top.shows("/ap_");
    top.press("\r");
    top.wait("the filter", |screen| names(screen) == ["/apricot", "/Apple"]);
    top.shows("filter ap");
    top.press("\x1b[B\x1b[B");
    top.wait("a selection", |screen| names(screen) == ["/apricot", "> /Apple"]);
    top.press("sss");
    // The selected row stays the same one.
    top.shows("sorted by name");
    top.wait("the order of names", |screen| names(screen) == ["> /Apple", "/apricot"]);
    top.press("\x1b");
    top.shows("/banana");
    for help in ["?", "\x1bOP"] {
        top.press(help);
        top.shows("show this page");
        top.press("x");
        top.shows("/banana");
    }
    top.press("p");
    top.shows("paused; ");
    top.press("b");
    top.shows("INSTANCE ");
    top.press(" ");
    top.wait("no pause", |screen| screen[1].starts_with("every "));
    top.press("\x1b[21~");
    assert_eq!(top.terminal.end().0, Some(0));
}

#[apply(test)]
fn the_users_of_a_segment_or_object_are_shown() {
    let mut actor = Actor::start();
    let id = actor.create(0, 256 * MIB);
    actor.attach(id);
    Attached::new(id).write(0, &vec![1; 256 * MIB]);
    // Those of other processes are on the screen, too: ShownProcesses hides the attachments.
    let [used, unused] = ["used", "unused"].map(|name| format!("/{name}-{}", actor.pid()));
    [&used, &unused].into_iter().for_each(|name| create_object(&format!("/dev/shm{name}"), 4096));
    actor.ask(Request::OpenFile { path: format!("/dev/shm{used}") });
    let pid = format!(" {} ", actor.pid());
    let mut command = shmadm();
    command.arg("top");
    let mut top = Top::of(command, None, 100, 30);
    top.shows(&used);
    // Without a selection, it is the first.
    top.press("w");
    top.shows(&format!("Users of segment {id}"));
    top.shows(&pid);
    top.press("x");
    top.press(&format!("/{used}\r\x1b[B"));
    top.wait("the selection", |screen| names(screen) == [format!("> {used}")]);
    top.press("w");
    top.shows(&format!("Users of object {used}"));
    top.shows(&pid);
    top.press("x\x1b");
    top.press(&format!("/{unused}\r"));
    top.wait("the filter", |screen| names(screen) == [unused.as_str()]);
    top.press("w");
    top.shows("no process");
    top.press("q");
    assert_eq!(top.terminal.end().0, Some(0));
}

#[apply(test)]
#[requires(Root)]
fn the_number_of_users_that_do_not_fit_is_shown() {
    let path = "/dev/shm/used";
    create_object(path, 64 * MIB);
    let mut actors: Vec<_> = (0..8).map(|_| Actor::start()).collect();
    actors.iter_mut().for_each(|actor| drop(actor.ask(Request::OpenFile { path: path.to_owned() })));
    let pids: Vec<i32> = actors.iter().map(Actor::pid).collect();
    let mut command = shmadm();
    command.arg("top");
    let mut top = Top::of(command, Some(&pids), 100, 10);
    top.shows("/used");
    top.press("//used\r");
    top.wait("the filter", |screen| names(screen) == ["/used"]);
    top.press("w");
    let screen = top.shows("4 more");
    let rows = screen.iter().filter(|line| actors.iter().any(|actor| line.contains(&format!(" {} ", actor.pid()))));
    assert_eq!((rows.count(), screen[8].as_str()), (4, "4 more"), "{screen:#?}");
    top.press("q");
    assert_eq!(top.terminal.end().0, Some(0));
}

#[apply(test)]
fn a_terminal_without_colors_and_unicode_is_usable() {
    create_object("/dev/shm/x", 64 * MIB);
    let mut command = shmadm();
    command.args(["top", "--every", "50ms"]).env("NO_COLOR", "1").env("LC_ALL", "C");
    let mut top = Top::of(command, Some(&[]), 60, 15);
    top.shows("/x ");
    top.press("\x1b[B");
    top.shows("> /x ");
    top.press("q");
    let (code, text) = top.terminal.end();
    assert_eq!(code, Some(0));
    assert!(text.is_ascii(), "{text:?}");
    let text = text.replace(LEAVE, "");
    assert!(!text.contains("\x1b[1m") && !text.contains("\x1b[7m") && !text.contains("\x1b[m"), "{text:?}");
}

#[apply(test)]
fn the_terminal_is_restored_however_the_program_ends() {
    let before = Terminal::start_on(Command::new("true"), (60, 15), &[0, 1, 2]).modes();
    create_object("/dev/shm/x", 64 * MIB);
    for (how, code) in [("q", Some(0)), ("\x03", None), ("\x1c", None)] {
        let mut top = Top::start(&[], 60, 15);
        top.shows("/x ");
        assert_ne!(top.terminal.modes(), before);
        top.press(how);
        check_restored(top, &before, code);
    }
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGABRT, Signal::SIGPROF] {
        let mut top = Top::start(&[], 60, 15);
        top.shows("/x ");
        kill(top.pid(), signal).unwrap();
        check_restored(top, &before, None);
    }
    let top = Top::start(&["--rounds", "2", "--every", "0s"], 60, 15);
    check_restored(top, &before, Some(0));
}

/// Waits for the end, and checks the modes and the screen of the terminal.
#[track_caller]
fn check_restored(mut top: Top, before: &nix::sys::termios::Termios, code: Option<i32>) {
    while top.terminal.read() {}
    assert_eq!(top.terminal.modes(), *before);
    let (ended, text) = top.terminal.end();
    assert_eq!(ended, code);
    assert!(text.ends_with(LEAVE), "{text:?}");
}

#[apply(test)]
#[requires(Program(&["sh"]))]
fn a_shell_stops_and_continues_it() {
    create_object("/dev/shm/x", 64 * MIB);
    let mut command = Command::new("sh");
    command
        .args(["-c", "set -m; \"$0\" top; echo stopped $?; read line; fg; echo ended $?"])
        .arg(env!("CARGO_BIN_EXE_shmadm"));
    let mut top = Top::of(command, Some(&[]), 60, 15);
    let before = top.terminal.modes();
    top.shows("/x ");
    top.press("\x1a");
    top.terminal.wait_for("stopped 148");
    let text = top.terminal.text();
    let (drawn, after) = text.rsplit_once(LEAVE).unwrap();
    assert!(drawn.contains("/x ") && !after.contains("/x "), "{text:?}");
    assert_eq!(top.terminal.modes(), before);
    top.outdated = text.len();
    top.press("\n");
    top.shows("/x ");
    top.press("q");
    top.terminal.wait_for("ended 0");
    let modes = top.terminal.modes();
    assert_eq!(modes, before);
}

#[apply(test)]
fn a_screen_requires_a_terminal_for_input_and_output() {
    for descriptor in [0, 1] {
        let mut command = shmadm();
        command.arg("top").stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let others: Vec<i32> = (0..2).filter(|number| *number != descriptor).collect();
        assert_eq!(Terminal::start(command, 60, &others).end().0, Some(2));
    }
    let mut command = shmadm();
    finish(command.args(["top", "--json", "--rounds", "1"])).exits(0).json();
}
