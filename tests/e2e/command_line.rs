//! The command line as a whole: help, the place of global options, and what users of other programs type.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use serde_json::json;

use crate::fixtures::assert_fields;
use crate::oracle;
use crate::support::{NOBODY, file, finish, run, shmadm, shmadm_as};

#[apply(test)]
fn help_prints_what_the_option_prints() {
    assert_eq!(run(["help"]).exits(0).stdout, run(["--help"]).exits(0).stdout);
    let names = shmadm::COMMANDS.iter().flat_map(|command| [Some(command.name), command.alias]).flatten();
    for words in names.map(|name| vec![name]).chain([vec!["demo", "writer"], vec!["demo", "reader"]]) {
        let help = run([&["help"], &words[..]].concat());
        let option = finish(shmadm().args(&words).arg("--help"));
        assert!(help.stdout.contains("Usage: shmadm ") && help.stderr.is_empty(), "{words:?}: {help:?}");
        assert_eq!((help.code, help.stdout), (option.code, option.stdout), "{words:?}");
    }
    run(["help", "no-such-command"]).exits(2).prints_nothing().says("'no-such-command'");
}

#[apply(test)]
fn without_a_command_it_prints_the_grouped_help() {
    let ran = finish(&mut shmadm()).exits(0);
    let mut rest = ran.stdout.as_str();
    for (heading, commands) in shmadm::groups() {
        rest = rest.split_once(&format!("\n{heading}:\n")).unwrap_or_else(|| panic!("{ran:?}")).1;
        for command in commands {
            let line = format!("  {:<12} {}\n", command.name, command.summary());
            assert!(rest.contains(&line) && line.len() <= 80, "{line}: {ran:?}");
        }
    }
}

#[apply(test)]
fn global_options_are_accepted_before_and_after_the_command() {
    let namespace = "/proc/self/ns/ipc";
    for line in [
        vec!["--json", "--ns", namespace, "-q", "--color", "never", "list"],
        vec!["list", "--json", "--ns", namespace, "-q", "--color", "never"],
        vec!["--ns", namespace, "list", "--format", "json"],
    ] {
        // The objects of an IPC namespace are not known.
        let ran =
            run(&line).exits(0).says("warning: objects omitted: cannot find the POSIX objects of this IPC namespace\n");
        assert_eq!(ran.stdout, "{\"schema\":1,\"segments\":[],\"objects\":null}\n", "{line:?}");
    }
    for (command, report) in
        [("who", json!({ "segments": [], "objects": null })), ("identify", json!({ "identities": [] }))]
    {
        let ran = run(["--ns", namespace, command, "--json"]).exits(0).says("warning: objects omitted: cannot find ");
        assert_fields(&ran.json(), report);
    }
    let ran = run(["--ns", namespace, "list", "--all-ns", "--json"]).exits(2);
    assert_eq!(ran.json()["error"]["kind"], "usage");
    run(["demo", "--color", "never", "writer", "--json", "--format", "table"]).exits(2).says("cannot be combined");
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn a_directory_that_cannot_be_used_is_an_error_of_each_command() {
    for line in ["list", "list --sysv", "who", "limits", "metrics", "prune --yes", "prune --sysv --yes", "stat 0"] {
        let ran = finish(shmadm().args(["--dir", "/missing"]).args(line.split(' '))).exits(3).prints_nothing();
        ran.says("error: cannot list /missing: No such file or directory (ENOENT, open)\n");
        let ran = finish(shmadm().args(line.split(' ')).args(["--dir", "/etc"])).exits(1).prints_nothing();
        ran.says("error: cannot use /etc: neither a tmpfs nor a hugetlbfs is mounted there\n");
    }
}

#[apply(test)]
fn help_names_the_exit_codes() {
    let standard = "Exit codes: 0 success, 1 failure, 2 usage error,\n3 not found, 4 permission denied,\n";
    assert!(run(["--help"]).exits(0).stdout.contains(standard));
    for command in shmadm::COMMANDS {
        let expected = match command.name {
            "diff" => "Exit codes: 0 same, 1 different, 2 failure",
            "check" | "leakcheck" | "trace" => "Exit codes:\n",
            _ => standard,
        };
        let help = run(["help", command.name]).stdout;
        assert!(help.contains(expected), "{help}");
    }
}

#[apply(test)]
fn json_is_not_an_option_of_a_command_that_refuses_it() {
    for (name, offers) in [("leakcheck", false), ("metrics", false), ("completions", false), ("list", true)] {
        let help = run(["help", name]).exits(0).stdout;
        assert_eq!(help.contains("  --json  ") && help.contains("  --format "), offers, "{help}");
    }
    let hint = "hint: print JSON: `shmadm create --json`\n";
    run(["create", "--format", "csv"]).exits(2).says(hint);
    for line in ["metrics", "completions bash", "leakcheck true"] {
        let ran = run(["--format", "csv"].into_iter().chain(line.split(' ')));
        assert!(!ran.stderr.contains("hint:"), "{ran:?}");
    }
}

#[apply(test)]
fn a_format_can_be_repeated() {
    for line in ["--json --json list", "--json list --json --format json", "list --format csv --format csv"] {
        run(line.split(' ')).exits(0);
    }
    for line in ["list --format csv --format tsv", "--json list --format csv"] {
        run(line.split(' ')).exits(2).says("cannot be combined");
    }
}

#[apply(test)]
fn csv_is_an_error_of_each_command_without_rows() {
    for (line, code) in [
        (vec!["create"], 2),
        (vec!["metrics"], 2),
        (vec!["completions", "bash"], 2),
        (vec!["check"], 3),
        (vec!["leakcheck", "--", "true"], 125),
    ] {
        let ran = finish(shmadm().args(["--format", "csv"]).args(&line)).exits(code);
        assert!(ran.stderr.starts_with("error: csv and tsv are for commands that print rows: list, "), "{ran:?}");
        run([&["--format", "tsv"], &line[..]].concat()).exits(code);
    }
    for line in [vec!["list"], vec!["stat", "5"], vec!["limits"], vec!["who"], vec!["prune", "-n"]] {
        let ran = run([&["--format", "csv"], &line[..]].concat());
        assert!(!ran.stderr.contains("csv and tsv"), "{line:?}: {ran:?}");
    }
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn words_of_other_programs_get_a_hint() {
    for (line, instead) in [
        ("delete 5 6", "rm 5 6"),
        ("remove 5", "rm 5"),
        ("delete -m 0", "rm 0"),
        ("remove -M 1", "rm key:1"),
        ("destroy 5", "rm 5"),
        ("cat /x --text", "read /x --text"),
        ("clean", "prune"),
        ("clean -n", "prune -n"),
        ("help clean", "help prune"),
        ("show 5", "stat 5"),
        ("show -m", "list"),
        ("info", "list"),
        ("info -i 0", "stat 0"),
        ("-m", "list"),
        ("-m 0", "stat 0"),
        ("-mtp", "list -t -p"),
        ("-m -o ID", "list -o ID"),
        ("-i 5", "stat 5"),
        ("-m -i 0 --json", "stat 0 --json"),
        ("-mi 0", "stat 0"),
        ("-mi0", "stat 0"),
        ("-a", "list"),
        ("-a -m", "list"),
        ("-l", "limits"),
        ("-m -l", "limits"),
        ("-m -u", "limits"),
        ("-u --json", "limits --json"),
        ("-M 4096", "create --size 4096"),
        ("-M4096", "create --size 4096"),
        ("-M 4096 -p 0644", "create --size 4096 --mode 0644"),
        ("list -m -t", "list -t"),
        ("list -mp", "list -p"),
        ("list -u -m", "limits"),
        ("list -i0", "stat 0"),
        ("--json list -m -i 0", "stat --json 0"),
        ("ls -i 5", "stat 5"),
        ("list remove 5", "rm 5"),
        ("stat -m 0", "stat 0"),
        ("stat 5 -m", "stat 5"),
        ("stat -m -i 0", "stat 0"),
        ("who -m 0", "who 0"),
        ("who -i 0", "who 0"),
        ("limits -l", "limits"),
        ("limits -m -u", "limits"),
        ("prune -m -n", "prune -n"),
        ("prune -a", "prune"),
        ("rm -m 5", "rm 5"),
        ("rm -i 5", "rm 5"),
        ("rm -865219304", "rm key:-865219304"),
        ("rm -f 5 -865219304 --json", "rm -f 5 key:-865219304 --json"),
        ("rm -M -865219304", "rm key:-865219304"),
        ("stat -8 -9", "stat key:-8 key:-9"),
        ("write -8 -9", "write key:-8 -9"),
        ("read -8 --offset 5", "read key:-8 --offset 5"),
        ("rm -m 5 -8", "rm 5 key:-8"),
        // A plain number is an id, another segment.
        ("rm -M 5", "rm key:5"),
        ("rm -M 5 -f", "rm key:5 -f"),
        ("rm -M 01", "rm key:01"),
        ("rm -M5 -n", "rm key:5 -n"),
        ("rm -nM 5", "rm -n key:5"),
        ("rm --shmem-key=5", "rm key:5"),
        ("rm -M 0x4d2 -n", "rm key:0x4d2 -n"),
        ("rm -M 0x4d2 -m 0", "rm key:0x4d2 0"),
        ("rm -m 0 -M 5 -n", "rm 0 key:5 -n"),
        ("--ns 1 rm -M 1234 -f", "rm --ns 1 key:1234 -f"),
        ("rm -a", "prune"),
        ("rm -a shm", "prune"),
        ("rm --all", "prune"),
        ("-M", "list --posix"),
        ("-M --json", "list --posix --json"),
        ("list -M", "list --posix"),
        // -M KEY is that of ipcrm.
        ("list -M 0x5", "stat key:0x5"),
        ("list -M5 -J", "stat key:5 --json"),
        ("stat -M 5", "stat key:5"),
        ("who -M 5", "who key:5"),
        ("-M 0x1000", "create --size 0x1000"),
        ("-J", "list --json"),
        ("-mJ", "list --json"),
        ("-m -i 5 -J", "stat 5 --json"),
        ("-l -J", "limits --json"),
        ("-m --raw", "list --format=tsv"),
        ("list --raw -r", "list --format=tsv -r"),
        ("stat -r 5", "stat --format=tsv 5"),
        ("limits -r", "limits --format=tsv"),
        ("who -J", "who --json"),
        ("info -l", "limits"),
        ("show --all", "list"),
        ("help delete", "help rm"),
        ("help remove", "help rm"),
        ("help show", "help stat"),
        ("stat -l", "limits"),
        ("stat -u", "limits"),
        ("stat -a", "list"),
        ("who -l", "limits"),
        ("who -u", "limits"),
        ("read -i 0", "read 0"),
        ("read -m 0 --text", "read 0 --text"),
        ("attach -i 0", "attach 0"),
        ("detach -m 0", "detach 0"),
        ("map -i 0", "map 0"),
        ("dump -i 0 file", "dump 0 file"),
        ("set -m 0 --mode 600", "set 0 --mode 600"),
        ("write -m 0 x", "write 0 x"),
        ("create -m", "create"),
        ("create -M 4096", "create --size 4096"),
        ("create -M 4096 -p 0644", "create --size 4096 --mode 0644"),
    ] {
        let hint = format!("run this instead: `shmadm {instead}`");
        let ran = run(line.split(' ')).exits(2).says("error: ").says(&format!("hint: {hint}\n"));
        assert!(!ran.stderr.contains("tip:"), "{ran:?}");
        if line.contains("--json") {
            assert_eq!(ran.json()["error"]["hints"][0], hint);
        }
    }
    for line in ["delete", "destroy", "remove --json", "--format json delete", "rm -m", "rm -M"] {
        run(line.split(' ')).exits(2).says("hint: see how segments and objects are removed: `shmadm help rm`\n");
    }
    let ran = run(["cat"]).exits(2).says("hint: see how contents are read: `shmadm help read`\n");
    assert!(!ran.stderr.contains("tip:"), "{ran:?}");
    let without_equivalent = [
        // A number could be an id or a key.
        "rm -M 5 6",
        "rm -M 0",
        "rm -m 0x4d2",
        "rm -a msg",
        "rm -mx 5",
        "-i 0x4d2",
        "-q -s",
        "list -m -l -t",
        "create -m 0",
        "set 5 -m",
        "create -M",
        "read 5 --offset -8",
        "list -8",
        "rm -8x",
        // These letters select message queues and semaphores there.
        "rm -q 3 -m 5",
        "rm -m 5 -q 3",
        "rm -nq 3 -m 5",
        "rm -m 5 -Q 3",
        "rm -m 5 -s 3",
        "rm -q -8",
        "rm -a -q",
        "delete -q 3",
        "show -q -i 3",
        "list -q -i 3",
        "-q -i 3",
        "-s -i 3",
    ];
    for line in without_equivalent {
        let ran = run(line.split(' ')).exits(2);
        assert!(!ran.stderr.contains("hint:"), "{line}: {ran:?}");
    }
    run(["rm", "--", "-8"]).exits(2).says("invalid segment \"-8\": for a negative key, use key:-8\n");
}

#[apply(test)]
fn no_argument_of_any_command_forges_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = shmadm::program();
    program.build();
    let mut tried = 0;
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        let longs = command.get_arguments().filter_map(|argument| argument.get_long());
        for option in longs.map(|long| format!("--{long}=")).chain([String::new(), "--".to_owned(), "-".to_owned()]) {
            let hostile = format!("{option}x\nerror: y\x1b[31m\u{9b}");
            let ran = finish(shmadm().current_dir(&directory).args([command.get_name(), &hostile]));
            let forged = |text: &str| text.chars().any(|char| char.is_control() && char != '\n');
            assert!(!forged(&ran.stderr) && !forged(&ran.stdout), "{ran:#?}");
            let errors = ran.stderr.lines().filter(|line| line.starts_with("error:")).count();
            assert!(errors <= 1, "{hostile:?}: {ran:#?}");
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried}");
}

#[apply(test)]
fn invalid_utf8_in_arguments_is_shown_as_bytes() {
    use std::os::unix::ffi::OsStrExt;

    let name = std::ffi::OsStr::from_bytes(b"a\xff");
    let id = oracle::create(0x4d2, 4096, 0o600).to_string();
    for (arguments, message) in [
        (vec![name], "unrecognized subcommand 'a\\xff'"),
        (vec!["stat".as_ref(), name], "invalid segment \"a\\xff\": invalid UTF-8"),
        (vec!["--ns".as_ref(), name, "list".as_ref()], "invalid namespace \"a\\xff\": "),
        (vec!["write".as_ref(), id.as_ref(), "--type=u8".as_ref(), name], "invalid number \"a\\xff\": "),
    ] {
        let report = run(arguments.into_iter().chain(["--json".as_ref()])).exits(2).says(message).json();
        assert!(report["error"]["message"].as_str().unwrap().starts_with(message), "{report}");
    }
    let mut command = shmadm();
    command.args(["leakcheck".as_ref(), name]).env("PATH", "/usr/bin:/bin");
    finish(&mut command).exits(127).says("error: cannot run a\\xff: No such file or directory");
}

#[apply(test)]
fn the_name_of_the_program_forges_nothing() {
    for arguments in [&["--help"][..], &["list", "--no-such-option"], &["help", "list"]] {
        let ran = finish(shmadm().arg0("evil\x1b[31m\nerror: x").args(arguments));
        assert!(!ran.stdout.contains("evil") && !ran.stderr.contains("evil"), "{ran:?}");
    }
}

#[apply(test)]
fn an_invalid_value_is_named_first() {
    for (line, message) in [
        (
            "stat 12abc",
            "invalid segment \"12abc\": expected an id (65538), a key (0x4d2, key:1234), ftok:PATH, /NAME, sem:/NAME or obj:MAJ:MIN:INODE\n",
        ),
        (
            "rm 1 12abc",
            "invalid segment \"12abc\": expected an id (65538), a key (0x4d2, key:1234), ftok:PATH, /NAME, sem:/NAME or obj:MAJ:MIN:INODE\n",
        ),
        ("create --size x", "invalid --size \"x\": expected a size such as 4096, 64K or 1GiB\n"),
        ("stat ", "invalid segment \"\": the value is empty (an unset variable?): "),
        ("detach 0 --pid 0", "invalid --pid \"0\": a pid is 1 to 2147483647\n"),
        ("read 0 --type u8 --count 0", "invalid --count \"0\": expected at least 1\n"),
        ("read 0 --every 1s --rounds 0", "invalid --rounds \"0\": expected at least 1\n"),
        ("create foo", "invalid name \"foo\": expected /NAME; a segment has a key (--key), not a name\n"),
        ("create 5", "invalid name \"5\": expected /NAME; a segment has a key (--key), not a name\n"),
        ("create --huge 2M", "invalid name \"2M\": expected /NAME; give a size as --size=2M or --huge=2M\n"),
        ("restore file --name foo", "invalid --name \"foo\": expected /NAME or sem:/NAME\n"),
        (
            "list --state orphn",
            "invalid --state \"orphn\"\n  [possible values: in-use, dest, idle, unknown, orphan, unlinked, kept, unused]\n",
        ),
        ("list --format jsn", "invalid --format \"jsn\"\n  [possible values: table, json, csv, tsv]\n\n  tip: "),
    ] {
        let ran = run(line.split(' ')).exits(2).prints_nothing();
        assert!(ran.stderr.starts_with(&format!("error: {message}")), "{ran:?}");
        assert!(ran.stderr.contains("--help"), "{ran:?}");
        let colored = finish(shmadm().args(["--color", "always"]).args(line.split(' '))).exits(2);
        let first = message.lines().next().unwrap();
        assert!(colored.stderr.contains(first) && colored.stderr.contains("\u{1b}["), "{colored:?}");
    }
}

#[apply(test)]
#[requires(Root)]
fn a_file_that_the_caller_may_not_read_has_that_cause() {
    let id = oracle::create(0, 4096, 0o666).to_string();
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let secret = file(directory.path(), "secret.json", b"{}").to_string_lossy().into_owned();
    std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    for command in [
        &["diff", &secret][..],
        &["rm", "--from", &secret],
        &["restore", &secret],
        &["identify", "--rules", &secret],
        &["write", &id, "--input", &secret],
    ] {
        let ran = finish(shmadm_as(NOBODY).args(command)).exits(if command[0] == "diff" { 2 } else { 4 });
        ran.says("(EACCES, open)\ncause: the file or one of its parent directories denies you access\n");
    }
}
