//! Text of other processes and users forges no output.

use serde_json::json;

use crate::fixtures::{assert_fields, hostile_process};
use crate::oracle;
use crate::sandbox::with_file_over;
use crate::support::{Ran, Running, file, finish, run, shmadm};
use crate::terminal::on_terminal;

/// [`HOSTILE`](crate::fixtures::HOSTILE) as text, with invalid UTF-8 escaped.
const HOSTILE_TEXT: &str = "evil\n99 \"0x1\"\t'a\\b\u{1b}[2J\u{202e}xet\\xff,\r\u{9b};";

/// Asserts that a table has one line per segment, and no control sequences.
#[track_caller]
fn assert_harmless(text: &str) {
    assert_eq!(text.lines().count(), 1 + oracle::rows().len(), "{text:?}");
    let harmful = |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
    assert!(!text.contains(harmful), "{text:?}");
}

/// Starts a process with a hostile name, and returns its command line as text.
fn hostile_command() -> (Running, String) {
    (hostile_process(), format!("{HOSTILE_TEXT} demo writer --key 0x77 --interval 1h"))
}

#[apply(test)]
fn json_has_a_hostile_command_line_as_it_is() {
    let (_hostile, command) = hostile_command();
    let json = run(["list", "--json", "-o", "+CCOMMAND,LCOMMAND"]).exits(0).json();
    assert_fields(&json["segments"][0], json!({ "ccommand": command, "lcommand": command }));
}

#[apply(test)]
fn a_hostile_command_line_forges_no_row_of_a_table() {
    oracle::create(0, 4096, 0o600);
    let _hostile = hostile_process();
    assert_harmless(&run(["list", "-o", "+CCOMMAND"]).exits(0).stdout);
    assert_harmless(&run(["list", "-p"]).exits(0).stdout);
    assert_harmless(&on_terminal(shmadm().args(["list", "--color", "never"]), 200).exits(0).stdout);
}

#[apply(test)]
fn a_hostile_command_line_forges_no_line_of_stat_or_of_an_error() {
    let _hostile = hostile_process();
    let stat = run(["stat", "0x77"]).exits(0).stdout;
    assert!(stat.lines().all(|line| line.contains(": ")) && !stat.contains(['\x1b', '\r', '\u{9b}']), "{stat:?}");
    // Refusals name processes, too.
    let ran = run(["rm", "0x77"]).exits(5);
    assert!(!ran.stderr.contains(['\x1b', '\r', '\t', '\u{202e}', '\u{9b}']), "{ran:?}");
}

#[apply(test)]
fn tsv_escapes_a_hostile_command_line() {
    let (_hostile, command) = hostile_command();
    let tsv = run(["list", "-o", "ID,CCOMMAND,KEY", "--format", "tsv"]).exits(0).stdout;
    let escaped = command.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r");
    assert_eq!(tsv, format!("ID\tCCOMMAND\tKEY\n0\t{escaped}\t0x00000077\n"));
}

#[apply(test)]
fn csv_quotes_a_hostile_command_line() {
    let (_hostile, command) = hostile_command();
    let csv = run(["list", "-o", "CCOMMAND,KEY", "--format", "csv"]).exits(0).stdout;
    let quoted = format!("\"{}\",0x00000077\r\n", command.replace('"', "\"\""));
    assert!(csv.ends_with(&quoted), "RFC 4180: {csv:?}");
}

// Control sequences must have no effect on a terminal.
#[apply(test)]
fn csv_and_tsv_are_escaped_on_a_terminal() {
    let _hostile = hostile_process();
    for format in ["csv", "tsv"] {
        let arguments = ["list", "-o", "CCOMMAND,KEY", "--format", format];
        let shown = on_terminal(shmadm().args(arguments), 200).exits(0).stdout;
        assert!(!shown.contains(['\x1b', '\u{9b}', '\u{202e}']), "{shown:?}");
        assert!(shown.contains("\\x1b[2J\\u{202e}xet") && shown.trim_end().ends_with("0x00000077"), "{shown:?}");
    }
}

/// The user of a segment with a hostile name.
const UID: u32 = 54_321;
/// The name of the user; a name in /etc/passwd can contain neither newlines nor colons.
const NAME: &[u8] = b"e\tv\"il,\\\x1b[2J\xe2\x80\xae'\xff";
/// [`NAME`] as text, with invalid UTF-8 escaped.
const NAME_TEXT: &str = "e\tv\"il,\\\u{1b}[2J\u{202e}'\\xff";

/// Runs the program on segment 0, which belongs to a user with a hostile name; requires root.
#[track_caller]
fn with_hostile_owner(arguments: &[&str]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let passwd = [b"root:x:0:0::/:/bin/sh\n".as_slice(), NAME, b":x:54321:54321::/:/bin/sh\n"].concat();
    let passwd = file(directory.path(), "passwd", &passwd);
    if oracle::rows().is_empty() {
        oracle::set(oracle::create(0, 4096, 0o600), UID, 0, 0o600);
    }
    let mut command = shmadm();
    with_file_over(&mut command, &passwd, c"/etc/passwd");
    finish(command.args(arguments)).exits(0)
}

#[apply(test)]
#[requires(Root)]
fn json_has_a_hostile_user_name_as_it_is() {
    let json = with_hostile_owner(&["list", "--json"]).json();
    assert_fields(&json["segments"][0], json!({ "owner": NAME_TEXT, "uid": UID }));
}

#[apply(test)]
#[requires(Root)]
fn a_hostile_user_name_forges_no_row_of_a_table() {
    assert_harmless(&with_hostile_owner(&["list"]).stdout);
    assert_harmless(&with_hostile_owner(&["list", "-c"]).stdout);
}

#[apply(test)]
#[requires(Root)]
fn a_hostile_user_name_has_no_control_sequences_in_stat() {
    let stat = with_hostile_owner(&["stat", "0"]).stdout;
    assert!(!stat.contains(['\x1b', '\t', '\u{202e}']), "{stat:?}");
}

#[apply(test)]
#[requires(Root)]
fn tsv_escapes_a_hostile_user_name() {
    let tsv = with_hostile_owner(&["list", "-o", "OWNER,ID", "--format", "tsv"]).stdout;
    let escaped = NAME_TEXT.replace('\\', "\\\\").replace('\t', "\\t");
    assert_eq!(tsv, format!("OWNER\tID\n{escaped}\t0\n"));
}

#[apply(test)]
#[requires(Root)]
fn csv_quotes_a_hostile_user_name() {
    let csv = with_hostile_owner(&["list", "-o", "OWNER,ID", "--format", "csv"]).stdout;
    assert_eq!(csv, format!("OWNER,ID\r\n\"{}\",0\r\n", NAME_TEXT.replace('"', "\"\"")));
}
