//! The documents show the output that the program prints: their commands are run again.
//!
//! `SHMADM_REGENERATE=1 cargo test --locked --test e2e docs` updates the output in the documents.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{NOBODY, shmadm_as};

/// Ends the output of a command.
const MARK: &str = "~~ end of output ~~";
/// Begins a block of commands and output.
const FENCE: &str = "```console";

#[apply(test)]
#[requires(Root, Program(&["bash"]), Program(&["setsid"]), Program(&["python3"]))]
fn the_output_in_the_readme_is_current() {
    check("README.md");
}

#[apply(test)]
#[requires(Root, Program(&["bash"]), Program(&["grep"]), Program(&["setpriv"]), Program(&["sysctl"]))]
fn the_output_in_the_tutorial_is_current() {
    check("docs/tutorial.md");
}

#[apply(test)]
#[requires(Root, Program(&["bash"]), Program(&["mount"]))]
fn the_output_in_the_page_on_posix_objects_is_current() {
    check("docs/posix.md");
}

#[apply(test)]
#[requires(Root, Program(&["bash"]), Program(&["setsid"]), Program(&["python3"]))]
fn the_output_in_the_page_on_python_is_current() {
    check("docs/python.md");
}

#[apply(test)]
#[requires(Root, Program(&["bash"]), Program(&["grep"]), Program(&["setpriv"]), Program(&["sysctl"]))]
fn the_output_in_the_page_on_ci_is_current() {
    check("docs/ci.md");
}

#[apply(test)]
#[requires(Root, Program(&["bash"]), Program(&["perl"]), Program(&["setpriv"]), Program(&["sysctl"]), Program(&["ipcrm"]))]
fn the_output_in_the_page_on_errors_is_current() {
    check("docs/troubleshooting.md");
}

/// Runs the commands of a document and compares their output.
fn check(document: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let written = std::fs::read_to_string(&path).unwrap();
    let real = with_current_output(&written);
    if std::env::var_os("SHMADM_REGENERATE").is_some() {
        std::fs::write(&path, real).unwrap();
        return;
    }
    let (written, real): (Vec<_>, Vec<_>) = (written.lines().collect(), real.lines().collect());
    for (number, (shown, printed)) in written.iter().zip(&real).enumerate() {
        assert_eq!(
            without_variable_values(shown),
            without_variable_values(printed),
            "{document}, line {}: {shown:?}, {printed:?}",
            number + 1
        );
    }
    assert_eq!(written.len(), real.len(), "{document} shows more or fewer lines than are printed");
}

/// Returns a document with the current output.
fn with_current_output(document: &str) -> String {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in document.lines() {
        if line.starts_with("```") {
            inside = line == FENCE;
        }
        // Every line of a block is output, except for commands.
        if !inside || line == FENCE || line.starts_with("$ ") {
            lines.push((line, inside && line != FENCE));
        }
    }
    let typed = |line: &(&str, bool)| line.1.then(|| line.0.trim_start_matches("$ ").to_owned());
    let mut outputs = outputs(&lines.iter().filter_map(typed).collect::<Vec<_>>()).into_iter();
    let mut text = String::new();
    for (line, is_typed) in lines {
        text.push_str(line);
        text.push('\n');
        if is_typed {
            let output = outputs.next().unwrap();
            output.lines().for_each(|line| text.extend([line.trim_end(), "\n"]));
        }
    }
    text
}

/// Runs commands in one shell, and returns what each of them printed on both streams.
fn outputs(lines: &[String]) -> Vec<String> {
    assert!(!lines.is_empty(), "the document has no commands");
    // The next command may print the exit code.
    let step = |line: &String| format!("{line}\nstatus=$?; printf '%s\\n' '{MARK}'; (exit $status)\n");
    let script: String = lines.iter().map(step).collect();
    let program = shmadm_as(NOBODY);
    let mut path = Path::new(program.get_program()).parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .env_clear()
        .envs([("LC_ALL", "C.UTF-8"), ("TZ", "UTC")])
        .env("PATH", path)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let outputs: Vec<_> = text.split(&format!("{MARK}\n")).map(ToOwned::to_owned).collect();
    assert_eq!(outputs.len(), lines.len() + 1, "{text}");
    outputs
}

/// Replaces values that differ between runs: pids, addresses, times and random names, and the widths of their columns.
fn without_variable_values(line: &str) -> String {
    let mut level = String::new();
    let mut rest = line;
    while let Some(character) = rest.chars().next() {
        let digits = rest.len() - rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        let hexadecimal = rest
            .strip_prefix("0x")
            .map_or(0, |rest| rest.len() - rest.trim_start_matches(|digit: char| digit.is_ascii_hexdigit()).len());
        let is_seconds = rest[digits..].starts_with("s ") || &rest[digits..] == "s";
        let taken = match (hexadecimal, digits) {
            // The names of Python's shared memory are random.
            _ if level.ends_with("psm_") => {
                level.push('#');
                rest.find(|digit: char| !digit.is_ascii_hexdigit()).unwrap_or(rest.len())
            }
            // A key has eight digits, an address more.
            (1..=8, _) => {
                level.push_str(&rest[..hexadecimal + 2]);
                hexadecimal + 2
            }
            (9.., _) => {
                level.push('#');
                hexadecimal + 2
            }
            (0, 1..) if is_seconds => {
                level.push('#');
                digits
            }
            // One digit is an id or a count.
            (0, 2..) => {
                level.push('#');
                digits
            }
            _ => {
                level.push(character);
                character.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    level.split_whitespace().collect::<Vec<_>>().join(" ")
}
