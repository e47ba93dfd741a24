//! The header line of rows.

use crate::oracle::{self, Attached};
use crate::support::{file, run};

#[apply(test)]
fn every_command_that_prints_rows_can_omit_the_headings() {
    let (id, before) = (oracle::create(1, 4096, 0o600).to_string(), tempfile::tempdir().unwrap());
    let _attached = Attached::new(id.parse().unwrap());
    let before = file(before.path(), "before.json", br#"{"schema":1,"segments":[]}"#).into_os_string();
    let before = before.to_str().unwrap();
    for command in [
        &["list"][..],
        &["stat", &id],
        &["who", &id],
        &["map", &id],
        &["prune", "--dry-run"],
        &["limits"],
        &["usage"],
        &["identify"],
        &["diff", before],
    ] {
        let rows = |options: &[&str]| run([command, &["--format", "tsv"], options].concat()).stdout;
        let (with, without) = (rows(&[]), rows(&["--no-headings"]));
        // What `usage` shows depends on other processes.
        let headings = with.lines().next().unwrap();
        assert_eq!(headings, headings.to_uppercase(), "{command:?}");
        assert_ne!(without.lines().next(), Some(headings), "{command:?}");
    }
}
