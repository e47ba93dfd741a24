//! Machine output, byte for byte: JSON, CSV, TSV, OpenMetrics and the reports for CI.
//!
//! Each snapshot is what the program prints today, with placeholders only for what differs from run to run
//! ([`Redaction`]). CONTRIBUTING.md says how to rewrite them.

mod contents;
mod diff;
mod errors;
mod leakcheck;
mod lifecycle;
mod listing;
mod listing_rows;
mod metrics;
mod removal;
mod watching;

use std::path::PathBuf;

use expect_test::Expect;

use crate::actor::Actor;
use crate::holder::Holder;
use crate::redact::Redaction;
use crate::support::{Ran, finish, shmadm};

/// Runs the program in the test's IPC namespace and compares what it prints with snapshots.
struct Machine {
    /// What to replace.
    redaction: Redaction,
    /// A directory for files, `DIR` in command lines and in snapshots.
    directory: tempfile::TempDir,
}

impl Machine {
    /// Prepares snapshots in the current IPC namespace.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut redaction = Redaction::new();
        redaction.hide(directory.path().to_string_lossy(), "DIR");
        Self { redaction, directory }
    }

    /// Starts an actor whose pid snapshots show by this name.
    fn actor(&mut self, name: &'static str) -> Actor {
        let actor = Actor::start();
        self.redaction.name(actor.pid(), name);
        actor
    }

    /// Returns the path of a file in the directory.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the arguments of a command line, in which `DIR` is the directory.
    fn arguments(&self, line: &str) -> Vec<String> {
        let directory = self.directory.path().to_string_lossy();
        line.split(' ').map(|word| word.replace("DIR", &directory)).collect()
    }

    /// Runs a command line and compares its output and exit code with a snapshot.
    fn snapshot(&self, line: &str, expected: Expect) {
        self.compare(&finish(shmadm().args(self.arguments(line))), &expected);
    }

    /// Runs a command line that leaves a holder of a segment, and compares its output with a snapshot.
    fn snapshot_with_holder(&mut self, line: &str, expected: &Expect) -> Holder {
        let before = holders();
        let ran = finish(shmadm().args(self.arguments(line)));
        // Before the comparison, so that the holder ends whatever the report says.
        let holder = Holder::new(*holders().iter().find(|pid| !before.contains(pid)).unwrap());
        self.redaction.name(holder.pid, "HOLDER");
        self.compare(&ran, expected);
        holder
    }

    /// Compares what a command printed, and an exit code other than 0, with a snapshot.
    fn compare(&self, ran: &Ran, expected: &Expect) {
        let end = match (ran.code, ran.stdout.ends_with('\n') || ran.stdout.is_empty()) {
            (Some(0), true) => String::new(),
            (Some(0), false) => "[no newline at the end]\n".to_owned(),
            (Some(code), _) => format!("[exit code {code}]\n"),
            (None, _) => panic!("{ran:#?}"),
        };
        expected.assert_eq(&(self.redaction.redact(&ran.stdout) + &end));
    }

    /// Compares a file in the directory with a snapshot.
    fn compare_file(&self, name: &str, expected: &Expect) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        expected.assert_eq(&self.redaction.redact(&text));
    }
}

/// Returns the pids of holders in the test's IPC namespace.
fn holders() -> Vec<i32> {
    let here = std::fs::read_link("/proc/thread-self/ns/ipc").unwrap();
    let is_holder = |pid: &i32| {
        std::fs::read_link(format!("/proc/{pid}/ns/ipc")).is_ok_and(|namespace| namespace == here)
            && std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"shmadm-hold"))
    };
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).filter(is_holder).collect()
}
