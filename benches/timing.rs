//! Runs pairs of commands alternately and measures their time.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The path of the installed program.
pub(crate) const SHMADM: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/shmadm");

/// Installs the program by copying it: a file that the linker has just written is cached in small pieces, each of which
/// causes a page fault of its own. The other tools are installed, so this would be unfair.
pub(crate) fn install() {
    std::fs::copy(env!("CARGO_BIN_EXE_shmadm"), SHMADM).unwrap();
}

/// A command to measure, with its standard input and output.
pub(crate) struct Job {
    pub(crate) command: Vec<String>,
    /// The command whose output is piped to standard input.
    pub(crate) feeder: Option<Vec<String>>,
    pub(crate) output: Output,
    /// The user that runs it; the caller if `None`.
    pub(crate) uid: Option<u32>,
    /// What is done before each run. Its time is not measured.
    pub(crate) prepare: fn(),
}

#[derive(Clone)]
pub(crate) enum Output {
    /// To /dev/null.
    Null,
    /// To a pipe that `cat` reads and discards.
    Pipe,
    /// To an existing file, which is not truncated.
    File(String),
}

impl Job {
    /// Creates a job whose output is discarded.
    pub(crate) fn new(command: &[&str]) -> Self {
        let command = command.iter().map(|argument| (*argument).to_owned()).collect();
        Self { command, feeder: None, output: Output::Null, uid: None, prepare: || {} }
    }

    pub(crate) fn is_installed(&self) -> bool {
        let name = &self.command[0];
        name.contains('/')
            || std::env::var("PATH")
                .unwrap_or_default()
                .split(':')
                .any(|directory| std::path::Path::new(directory).join(name).is_file())
    }

    /// Runs the command once and returns the elapsed time.
    fn run(&self) -> Duration {
        (self.prepare)();
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stderr(Stdio::null()).stdin(Stdio::null());
        // Cargo sets LD_LIBRARY_PATH, which makes the loader search each library in more directories than from a shell.
        command.env_remove("LD_LIBRARY_PATH");
        if let Some(uid) = self.uid {
            std::os::unix::process::CommandExt::uid(&mut command, uid);
        }
        let mut feeder = self.feeder.as_ref().map(|feeder| {
            let mut child = Command::new(&feeder[0])
                .args(&feeder[1..])
                .stdout(Stdio::piped())
                .stdin(Stdio::null())
                .spawn()
                .unwrap();
            command.stdin(child.stdout.take().unwrap());
            child
        });
        let mut reader = None;
        match &self.output {
            Output::Null => drop(command.stdout(Stdio::null())),
            Output::File(path) => {
                let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
                command.stdout(file);
            }
            Output::Pipe => {
                let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
                command.stdout(cat.stdin.take().unwrap());
                reader = Some(cat);
            }
        }
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        // Closes our ends of the pipes; otherwise the other processes would wait for their end.
        drop(command);
        let status = child.wait().unwrap();
        if let Some(mut reader) = reader {
            reader.wait().unwrap();
        }
        let time = start.elapsed();
        if let Some(feeder) = &mut feeder {
            feeder.wait().unwrap();
        }
        assert!(status.success(), "{:?} failed: {status}", self.command);
        time
    }
}

/// Prints the header of the table.
pub(crate) fn headings() {
    println!("{:<46} {:>9} {:>9} {:>7}  target", "program : peer", "ms", "ms", "ratio");
}

/// Runs two jobs alternately; prints their medians, the median ratio, and whether it is at most `target`.
pub(crate) fn compare(what: &str, ours: &Job, peer: &Job, pairs: usize, target: Option<f64>) {
    if !peer.is_installed() {
        println!("{what:<46} {} is not installed", peer.command[0]);
        return;
    }
    // The first run only fills the caches.
    ours.run();
    peer.run();
    let times: Vec<(f64, f64)> = (0..pairs).map(|_| (ours.run().as_secs_f64(), peer.run().as_secs_f64())).collect();
    let ours = median(times.iter().map(|(ours, _)| ours * 1e3).collect());
    let peer = median(times.iter().map(|(_, peer)| peer * 1e3).collect());
    let ratio = median(times.iter().map(|(ours, peer)| ours / peer).collect());
    let verdict = match target {
        Some(target) if ratio <= target => format!("<= {target} passed"),
        Some(target) => format!("<= {target} FAILED"),
        None => "reported".to_owned(),
    };
    println!("{what:<46} {ours:>9.2} {peer:>9.2} {ratio:>7.3}  {verdict}");
}

/// Runs two jobs alternately; prints their medians, the median difference in milliseconds, and whether it is at most
/// `target`.
pub(crate) fn extra(what: &str, ours: &Job, bare: &Job, pairs: usize, target: f64) {
    ours.run();
    bare.run();
    let times: Vec<(f64, f64)> = (0..pairs).map(|_| (ours.run().as_secs_f64(), bare.run().as_secs_f64())).collect();
    let extra = median(times.iter().map(|(ours, bare)| (ours - bare) * 1e3).collect());
    let ours = median(times.iter().map(|(ours, _)| ours * 1e3).collect());
    let bare = median(times.iter().map(|(_, bare)| bare * 1e3).collect());
    let verdict = if extra <= target { "passed" } else { "FAILED" };
    println!("{what:<46} {ours:>9.2} {bare:>9.2} {extra:>+7.2}  <= {target} ms {verdict}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
