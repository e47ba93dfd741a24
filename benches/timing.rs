//! Pairs of commands, timed in turn.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The program as it is once it is installed.
pub(crate) const SHMADM: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/shmadm");

/// Installs the program: peers are, and what a linker has just written lies in memory in small pieces, of which each takes
/// a fault of its own.
pub(crate) fn install() {
    std::fs::copy(env!("CARGO_BIN_EXE_shmadm"), SHMADM).unwrap();
}

/// A command with a pipe's other end, if it has one.
pub(crate) struct Job {
    /// What is timed.
    pub(crate) command: Vec<String>,
    /// What feeds its standard input.
    pub(crate) feeder: Option<Vec<String>>,
    /// Where its output goes.
    pub(crate) output: Output,
    /// The user that runs it; ourselves if `None`.
    pub(crate) uid: Option<u32>,
}

/// Where output goes.
#[derive(Clone)]
pub(crate) enum Output {
    /// Away.
    Null,
    /// Through a pipe to a cat that throws it away.
    Pipe,
    /// Into a file that exists, and keeps its pages.
    File(String),
}

impl Job {
    /// Makes a job of a command whose output goes away.
    pub(crate) fn new(command: &[&str]) -> Self {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        Self { command, feeder: None, output: Output::Null, uid: None }
    }

    /// Tells whether the command is installed.
    pub(crate) fn is_there(&self) -> bool {
        let name = &self.command[0];
        name.contains('/')
            || std::env::var("PATH")
                .unwrap_or_default()
                .split(':')
                .any(|directory| std::path::Path::new(directory).join(name).is_file())
    }

    /// Runs it once.
    fn run(&self) -> Duration {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stderr(Stdio::null()).stdin(Stdio::null());
        // As from a shell: cargo's would have each library looked for in several places where it is not.
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
        // Our copies of the pipes' ends would keep the others waiting.
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

/// Prints the headings of the table.
pub(crate) fn headings() {
    println!("{:<46} {:>9} {:>9} {:>7}  aim", "what against what", "ms", "ms", "ratio");
}

/// Runs two jobs in turn and prints their medians, the median ratio, and what it should be at most.
pub(crate) fn compare(what: &str, ours: &Job, peer: &Job, pairs: usize, aim: Option<f64>) {
    if !peer.is_there() {
        println!("{what:<46} {} is not installed", peer.command[0]);
        return;
    }
    // Once without counting, for caches.
    ours.run();
    peer.run();
    let times: Vec<(f64, f64)> = (0..pairs).map(|_| (ours.run().as_secs_f64(), peer.run().as_secs_f64())).collect();
    let ours = median(times.iter().map(|(ours, _)| ours * 1e3).collect());
    let peer = median(times.iter().map(|(_, peer)| peer * 1e3).collect());
    let ratio = median(times.iter().map(|(ours, peer)| ours / peer).collect());
    let verdict = match aim {
        Some(aim) if ratio <= aim => format!("<= {aim} met"),
        Some(aim) => format!("<= {aim} MISSED"),
        None => "reported".to_owned(),
    };
    println!("{what:<46} {ours:>9.2} {peer:>9.2} {ratio:>7.3}  {verdict}");
}

/// Runs two jobs in turn and prints their medians, and how much longer the first takes in milliseconds, which should be at
/// most `aim`.
pub(crate) fn extra(what: &str, ours: &Job, bare: &Job, pairs: usize, aim: f64) {
    ours.run();
    bare.run();
    let times: Vec<(f64, f64)> = (0..pairs).map(|_| (ours.run().as_secs_f64(), bare.run().as_secs_f64())).collect();
    let extra = median(times.iter().map(|(ours, bare)| (ours - bare) * 1e3).collect());
    let ours = median(times.iter().map(|(ours, _)| ours * 1e3).collect());
    let bare = median(times.iter().map(|(_, bare)| bare * 1e3).collect());
    let verdict = if extra <= aim { "met" } else { "MISSED" };
    println!("{what:<46} {ours:>9.2} {bare:>9.2} {extra:>+7.2}  <= {aim} ms more {verdict}");
}

/// Gives the median.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
