//! The examples of every command's help, as a shell runs them.

use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::harness::isolated;
use crate::oracle;
use crate::support::{Ran, run};

/// Returns a test of each example.
pub(crate) fn tests() -> Vec<Trial> {
    let examples = shmadm::COMMANDS
        .iter()
        .flat_map(|command| command.manual.examples.iter().map(|(line, _)| (command.name, *line)));
    examples
        .enumerate()
        .map(|(number, (name, line))| isolated(&format!("examples::{name}_{number}"), move || runs(name, line)))
        .collect()
}

/// Runs one example in an empty directory, with the segment and the object that the examples name.
fn runs(name: &str, line: &str) {
    // These two create their own segments, and the demo's writer refuses one with other contents.
    if name != "create" && name != "demo" {
        let id = oracle::create(0x4d2, 4096, 0o600);
        oracle::Attached::new(id).write(0, b"hello\n");
        std::fs::write("/dev/shm/psm_1a2b3c4d", [0; 4096]).unwrap();
    }
    // It requires a terminal, and runs until it is ended.
    let is_screen = name == "top" && !line.contains("--rounds");
    let line = if is_screen { format!("{line} --batch --rounds 1") } else { line.to_owned() };
    let directory = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_shmadm")).parent().unwrap();
    let ran: Ran = Command::new("sh")
        .args(["-ec", &line])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
        .current_dir(&directory)
        .stdin(Stdio::null())
        .output()
        .unwrap()
        .into();
    // An example may have started holders.
    for row in oracle::rows() {
        run(["detach", row.get("shmid")]);
    }
    ran.exits(0);
}
