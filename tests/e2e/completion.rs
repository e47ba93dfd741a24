//! Completion: what the program offers for a word, and what the scripts of the shells make of it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::fixtures::foreground;
use crate::objects::{create, file_id};
use crate::support::{NOBODY, finish, leave_namespace, run, shmadm, shmadm_as};
use crate::terminal::{Terminal, WIDE};

/// Returns the lines that a command prints for the scripts, for the last of these words.
#[track_caller]
fn lines(mut command: Command, words: &[&str]) -> Vec<String> {
    let ran = finish(command.args(["__complete", "shmadm"]).args(words)).exits(0);
    assert_eq!(ran.stderr, "");
    ran.stdout.lines().map(ToOwned::to_owned).collect()
}

/// Returns the offered values, without their descriptions.
#[track_caller]
fn offered(words: &[&str]) -> Vec<String> {
    offered_by(shmadm(), words)
}

#[track_caller]
fn offered_by(command: Command, words: &[&str]) -> Vec<String> {
    lines(command, words).iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[apply(test)]
fn segments_are_offered_by_id_and_key_with_size_owner_and_state() {
    run(["create", "--size", "64K", "--key", "0x4d2"]).exits(0);
    run(["create"]).exits(0);
    let owner = run(["list", "-o", "OWNER", "--no-headings"]).stdout.lines().next().unwrap().trim().to_owned();
    assert_eq!(
        lines(shmadm(), &["stat", ""]),
        [
            format!("0\t64 KiB, {owner}, orphan"),
            format!("0x000004d2\t64 KiB, {owner}, orphan"),
            format!("1\t4 KiB, {owner}, orphan"),
        ]
    );
    for (word, values) in [
        ("0x4", vec!["0x4d2"]),
        ("0x0", vec!["0x000004d2"]),
        ("key:", vec!["key:0x000004d2"]),
        ("id", vec!["id:0", "id:1"]),
    ] {
        assert_eq!(offered(&["who", word]), values);
    }
    assert_eq!(offered(&["stat", "--help"]), ["--help"]);
}

#[apply(test)]
#[requires(Root)]
fn only_segments_that_the_caller_may_use_are_offered() {
    for (mode, owner) in [("0600", "0"), ("0606", "0"), ("0604", "0"), ("0600", "65534"), ("0066", "65534")] {
        run(["create", "--mode", mode, "--owner", owner]).exits(0);
    }
    for (command, ids) in [
        ("rm", vec!["3", "4"]),
        ("set", vec!["3", "4"]),
        ("read", vec!["1", "2", "3"]),
        ("dump", vec!["1", "2", "3"]),
        ("write", vec!["1", "3"]),
        ("attach", vec!["1", "3"]),
        ("stat", vec!["0", "1", "2", "3", "4"]),
    ] {
        assert_eq!(offered_by(shmadm_as(NOBODY), &[command, ""]), ids, "{command}");
        assert_eq!(offered(&[command, ""]).len(), 5, "root may use all: {command}");
    }
    assert_eq!(offered_by(shmadm_as(NOBODY), &["attach", "--read-only", ""]), ["1", "2", "3"]);
    create("private", 4096);
    std::fs::set_permissions(create("public", 4096), std::fs::Permissions::from_mode(0o644)).unwrap();
    for (command, names) in
        [("rm", vec![]), ("read", vec!["/public"]), ("write", vec![]), ("stat", vec!["/private", "/public"])]
    {
        assert_eq!(offered_by(shmadm_as(NOBODY), &[command, "/p"]), names, "{command}");
    }
}

#[apply(test)]
fn detach_is_offered_what_holders_of_the_caller_keep_attached() {
    run(["create"]).exits(0);
    run(["create", "--hold"]).exits(0);
    let (_attached, _stdout, _line) = foreground(&["attach", "0"]);
    create("free", 4096);
    create("held", 4096);
    run(["attach", "--background", "/held"]).exits(0);
    assert_eq!(offered(&["detach", ""]), ["1", "/held"]);
    run(["detach", "1"]).exits(0);
    run(["detach", "/held"]).exits(0);
}

#[apply(test)]
fn objects_are_offered_by_name() {
    let path = create("psm_1", 4096);
    std::fs::write("/dev/shm/sem.lock", [0; 32]).unwrap();
    std::fs::create_dir("/dev/shm/directory").unwrap();
    create("two words", 4096);
    run(["create", "--key", "0x4d2"]).exits(0);
    let owner =
        run(["list", "--posix", "-o", "OWNER", "--no-headings"]).stdout.lines().next().unwrap().trim().to_owned();
    for command in ["rm", "stat", "who", "read", "write", "map", "dump", "attach", "set"] {
        assert_eq!(offered(&[command, ""]), ["0", "0x000004d2", "/psm_1", "sem:/lock"], "{command}");
    }
    assert_eq!(lines(shmadm(), &["rm", "/p"]), [format!("/psm_1\t4 KiB, {owner}, shm")]);
    let id = file_id(&path);
    for (word, value) in [("/dev/shm/p", "/dev/shm/psm_1"), ("sem:", "sem:/lock"), ("/sem", "/sem.lock"), (&id, &id)] {
        assert_eq!(offered(&["stat", word]), [value]);
    }
    assert_eq!(offered(&["create", "--key", "0x"]), ["0x000004d2"], "objects have no key");
}

#[apply(test)]
fn objects_are_those_of_the_given_directory() {
    create("here", 4096);
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    std::fs::write(directory.path().join("there"), "x").unwrap();
    let path = directory.path().to_str().unwrap();
    assert_eq!(offered(&["--dir", path, "rm", "/"]), ["/there"]);
    assert_eq!(offered(&["rm", "--dir", path, "/"]), ["/there"]);
    // It would name a file of another directory.
    assert_eq!(offered(&["rm", "--dir", path, "/dev/shm/"]), [""; 0]);
    assert_eq!(offered(&["--dir", "/nonexistent", "rm", "/"]), [""; 0]);
    assert_eq!(lines(shmadm(), &["--dir", "/dev"]), [":files"]);
    assert_eq!(lines(shmadm(), &["--dir=/dev"]), [":files\t--dir="]);
}

#[apply(test)]
#[requires(Root)]
fn segments_are_those_of_the_given_namespace() {
    run(["create", "--key", "0x77"]).exits(0);
    let (attached, _stdout, _line) = foreground(&["attach", "0"]);
    leave_namespace();
    let (pid, number) = (attached.pid().to_string(), std::fs::metadata("/proc/thread-self/ns/ipc").unwrap());
    assert_eq!(offered(&["stat", "0x"]), [""; 0]);
    for words in [&["--ns", &pid, "stat", "0x"], &["stat", "--ns", &pid, "0x"]] {
        assert_eq!(offered(words), ["0x00000077"]);
    }
    assert_eq!(offered(&["--ns", "4194304", "stat", "0x"]), [""; 0]);
    let number = std::os::unix::fs::MetadataExt::ino(&number).to_string();
    let (_here, _stdout, _line) = foreground(&["demo", "writer", "--interval", "1h"]);
    assert!(offered(&["--ns", ""]).contains(&number));
    assert_eq!(lines(shmadm(), &["--ns=/pro"]), [":files\t--ns="]);
}

#[apply(test)]
fn columns_are_offered_one_after_the_other() {
    for kind in [vec![], vec!["--posix"], vec!["--unlinked"]] {
        let list = [vec!["list"], kind].concat();
        let all = run([&list[..], &["--list-columns", "--no-headings", "--format", "tsv"]].concat()).exits(0).stdout;
        let columns: Vec<&str> = all.lines().map(|line| line.split('\t').next().unwrap()).collect();
        assert_eq!(offered(&[&list[..], &["-o", ""]].concat()), columns);
    }
    for (words, values) in [
        (vec!["list", "-o", "ID,SI"], vec!["ID,SIZE"]),
        (vec!["list", "-o", "+ccom"], vec!["+ccommand"]),
        (vec!["list", "--output=SIZE,S"], vec!["--output=SIZE,SWAP", "--output=SIZE,STATE"]),
        (vec!["ls", "--sort", "NATT"], vec!["NATTCH"]),
        (vec!["list", "--sort", "ID,"], vec![]),
        (vec!["list", "--sort", "NA"], vec!["NATTCH", "NAME"]),
        (vec!["list", "--sort", "comma"], vec!["commands", "command"]),
        (vec!["list", "--posix", "--sort", "N"], vec!["NAME"]),
        (vec!["list", "--unlinked", "-o", "+DE"], vec!["+DESCRIPTORS", "+DEV"]),
    ] {
        assert_eq!(offered(&words), values, "{words:?}");
    }
    assert_eq!(lines(shmadm(), &["list", "-o", "RS"]), ["RSS\tresident bytes"]);
    for (words, values) in [
        (vec!["usage", "-o", "S"], vec!["SOURCE", "SWAP", "SIZE", "SHARE"]),
        (vec!["usage", "--by", "process", "-o", "+P"], vec!["+PID"]),
        (vec!["usage", "--sort", "C"], vec!["COUNT"]),
        (vec!["usage", "--by=container", "--sort", "C"], vec!["CONTAINER", "COUNT"]),
    ] {
        assert_eq!(offered(&words), values, "{words:?}");
    }
}

#[apply(test)]
fn other_values_are_offered_where_they_apply() {
    let user = run(["create"]).exits(0);
    let owner = run(["list", "-o", "OWNER", "--no-headings"]).exits(0).stdout.trim().to_owned();
    assert_eq!(user.stdout, "0\n");
    assert_eq!(offered(&["list", "--owner", ""]), [owner]);
    assert!(offered(&["set", "0", "--owner", ""]).len() > 1, "all users");
    for (words, values) in [
        (vec!["create", "--group", "roo"], vec!["root"]),
        (vec!["--format=j"], vec!["--format=json"]),
        (vec!["stat", "0", "--color=al"], vec!["--color=always"]),
        (vec!["list", "--state", "or"], vec!["orphan"]),
        (vec!["check", "-w", "orphan"], vec!["orphans=", "orphan-bytes="]),
        (vec!["create", "--key", ""], vec!["private", "random"]),
        (vec!["list", "--key", ""], vec!["any", "private"]),
        (vec!["list", "--state", "idle,or"], vec!["idle,orphan"]),
        (vec!["dump", "0", "--output=/x"], vec![":files"]),
        (vec!["stat", "ftok:/x"], vec![":files"]),
        (vec!["wr"], vec!["write"]),
        (vec!["l"], vec!["list", "limits", "leakcheck"]),
        (vec!["help", "who"], vec!["who"]),
        (vec!["create", "--size", ""], vec![]),
    ] {
        assert_eq!(offered(&words), values, "{words:?}");
    }
    let options = offered(&["limits", ""]);
    assert!(options.iter().all(|word| word.starts_with("--")) && options.contains(&"--json".to_owned()), "{options:?}");
}

#[apply(test)]
fn the_command_that_is_run_is_left_to_the_shell() {
    for (words, index) in [
        (vec!["leakcheck", "--", ""], 3),
        (vec!["leakcheck", "ma"], 2),
        (vec!["leakcheck", "--rm", "make", "--js"], 3),
        (vec!["leakcheck", "--rm", "--", "ma"], 4),
        (vec!["-q", "leakcheck", "--", "make", "--json", "-"], 4),
        (vec!["trace", "--posix", "-o", "file", "--", "ma"], 6),
    ] {
        assert_eq!(lines(shmadm(), &words), [format!(":command\t{index}")], "{words:?}");
    }
}

/// Starts a shell in a new directory and completes command lines in it, in which the function `shmadm` prints its
/// arguments. `setup` are its commands at the start, with DIRECTORY for the one of the scripts.
fn complete_in(shell: &str, arguments: &[&str], setup: &str, cases: &[(&str, &str)]) -> String {
    run(["create", "--size", "64K", "--key", "0x4d2"]).exits(0);
    create("psm_1", 4096);
    create("sem.lock", 32);
    let home = tempfile::tempdir().unwrap();
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/completions");
    // The name of zsh's file; the others are given it.
    std::fs::write(home.path().join(".zshrc"), setup.replace("DIRECTORY", scripts)).unwrap();
    std::fs::create_dir_all(home.path().join("one/two")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_shmadm")).parent().unwrap();
    let mut command = Command::new(shell);
    command.args(arguments).current_dir(home.path()).env_clear().env("HOME", home.path()).env("LC_ALL", "C.UTF-8");
    command.env("PATH", format!("{}:/usr/bin:/bin", program.display())).env("INPUTRC", "/dev/null");
    let mut terminal = Terminal::start(command, WIDE, &[0, 1, 2]);
    terminal.wait_for("ready> ");
    for (typed, shown) in cases.iter().chain(&[("exit\r", "")]) {
        terminal.type_in(typed);
        terminal.wait_for(shown);
    }
    let (_, text) = terminal.end();
    for complaint in ["_arguments", "denied", "not found", "error"] {
        assert!(!text.contains(complaint), "{complaint:?} in {text}");
    }
    text
}

/// What is typed, and what is shown then.
const CASES: &[(&str, &str)] = &[
    ("shmadm stat 0x\t\r", "<stat><0x000004d2>"),
    ("shmadm rm /p\t\r", "<rm></psm_1>"),
    ("shmadm stat sem:\t\r", "<stat><sem:/lock>"),
    ("shmadm --format=j\t\r", "<--format=json>"),
    ("shmadm --ns \t\x15shmadm --ns ./o\t\r", "<--ns><./one"),
    ("shmadm list -o +ID,SI\t\r", "<+ID,SIZE>"),
    ("shmadm check -w orphan-\t9\r", "<-w><orphan-bytes=9>"),
    ("shmadm check --warning=dest\t9\r", "<--warning=dest=9>"),
    ("shmadm dump 0 --output o\tt\t\r", "<--output><one/two"),
    ("shmadm dump 0 --output=o\tt\t\r", "<--output=one/two"),
    ("shmadm stat ftok:o\tt\t\r", "<ftok:one/two"),
    ("shmadm leakcheck -- mkfif\t\r", "<--><mkfifo>"),
    ("shmadm leakcheck --rm mkfif\t\r", "<--rm><mkfifo>"),
    ("shmadm leakcheck --format=json -- mkfifo o\tt\t\r", "<--format=json><--><mkfifo><one/two"),
];

#[apply(test)]
#[requires(Program(&["bash"]))]
fn bash_completes() {
    let setup = "source DIRECTORY/shmadm.bash\nshmadm() { printf '<%s>' \"$@\"; echo; }\nPS1='ready> '\n\
                 mkdir bin sbin; touch bin/zzqa bin/zzqb sbin/zzqa; chmod +x bin/* sbin/*; PATH=$PATH:$PWD/bin:$PWD/sbin\n";
    let more = [
        // One of these commands is in two directories of PATH.
        ("shmadm leakcheck zzq\t\t", "zzqa  zzqb  \r\n"),
        ("\x15shmadm rm 0\t\t", "0           0x000004d2"),
        ("\x15shmadm diff o\tt\t\r", "<diff><one/two/>"),
        ("shmadm write 0 --input ~/o\t\r", "/one/>"),
    ];
    complete_in("bash", &["--noprofile", "--rcfile", ".zshrc", "-i"], setup, &[CASES, &more].concat());
}

#[apply(test)]
#[requires(Program(&["zsh"]))]
fn zsh_completes() {
    let setup = "fpath=(DIRECTORY $fpath)\nautoload -U compinit\ncompinit -u -D\n\
                 shmadm() { printf '<%s>' \"$@\"; echo; }\nPS1='ready> '\n";
    let more = [("shmadm rm 0\t", "64 KiB, "), ("\x15shmadm stat key:\t\r", "<key:0x000004d2>")];
    complete_in("zsh", &["-d", "-i"], setup, &[CASES, &more].concat());
}

#[apply(test)]
#[requires(Program(&["fish"]))]
fn fish_completes() {
    let setup = "source DIRECTORY/shmadm.fish\nfunction shmadm; printf '<%s>' $argv; echo; end\n\
                 function fish_prompt; echo 'ready> '; end\n";
    let more = [("shmadm rm 0\t", "64 KiB, "), ("\x15shmadm stat key:\t\r", "<key:0x000004d2>")];
    complete_in("fish", &["--no-config", "-C", "source .zshrc"], setup, &[CASES, &more].concat());
}
