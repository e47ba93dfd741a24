//! The filters that `list`, `who` and `prune` share, compared with an independent reading of /proc/sysvipc/shm.
#![expect(clippy::disallowed_methods, reason = "a test changes the users in a mount namespace of its own")]

use expect_test::expect;
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::getpid;
use serde_json::{Value, json};

use crate::actor::{Actor, ChildRequest};
use crate::fixtures::{assert_fields, ids};
use crate::oracle::{self, Attached, Row};
use crate::redact::Redaction;
use crate::support::{NOBODY, Ran, finish, run, shmadm, shmadm_as};

/// Users, of whom the last has no name.
const USERS: [(u32, &str); 5] =
    [(4001, "alice"), (4002, "name-of-more-than-ten"), (4003, "name-of-more-than-two"), (4004, "bob"), (4005, "4005")];

/// Files over those with the users and groups, in a mount namespace of this thread, which other tests use later.
struct Covered;

const COVERED: [&str; 2] = ["/etc/passwd", "/etc/group"];

impl Drop for Covered {
    fn drop(&mut self) {
        COVERED.iter().for_each(|path| umount(*path).unwrap());
    }
}

/// Adds the users and their groups, for this thread and the programs that it starts.
fn add_users() -> Covered {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let named = || USERS.iter().filter(|(id, name)| id.to_string() != *name);
    let passwd: String = named().map(|(id, name)| format!("{name}:x:{id}:{id}::/:/bin/sh\n")).collect();
    let group: String = named().map(|(id, name)| format!("{name}:x:{id}:\n")).collect();
    for (path, lines) in COVERED.into_iter().zip([passwd, group]) {
        let copy = directory.path().join("copy");
        std::fs::write(&copy, std::fs::read_to_string(path).unwrap() + &lines).unwrap();
        mount(Some(&copy), path, none, MsFlags::MS_BIND, none).unwrap();
        std::fs::remove_file(copy).unwrap();
    }
    Covered
}

/// Creates 264 segments of five users, with 0, 1 or 10 attachments; they remain attached while the returned value
/// exists.
fn many_segments() -> Vec<Attached> {
    let mut attached = Vec::new();
    for number in 0..244_u32 {
        let key = [0, number, 0xffff_ff00 + number, 0x4e54_5000 + number][number as usize % 4];
        let id = oracle::create(key, 1 + number as usize * 1000, 0o600);
        let (uid, gid) = (USERS[number as usize % 5].0, USERS[number as usize / 5 % 5].0);
        oracle::set(id, uid, gid, [0o666, 0o444, 0o600, 0o640, 0][number as usize / 3 % 5]);
        let count = [0, 1, 10, 0, 0, 0, 0][number as usize % 7];
        attached.extend((0..count).map(|_| Attached::new(id)));
    }
    for (uid, _) in USERS {
        for key in ["private", "random"] {
            for size in ["4096", "1M"] {
                finish(shmadm_as(uid).args(["create", "--key", key, "--size", size])).exits(0);
            }
        }
    }
    assert_eq!(oracle::rows().len(), 264);
    attached
}

fn number(row: &Row, field: &str) -> i64 {
    row.get(field).parse().unwrap()
}

fn mode(row: &Row) -> u32 {
    u32::from_str_radix(row.get("perms"), 8).unwrap() & 0o777
}

type Condition = fn(&Row) -> bool;

/// Options, each with what it means for a row of the kernel.
const CASES: &[(&[&str], Condition)] = &[
    (&[], |_| true),
    (&["--owner", "alice"], |row| row.get("uid") == "4001"),
    (&["--owner", "name-of-more-than-ten"], |row| row.get("uid") == "4002"),
    (&["--owner", "4005"], |row| row.get("uid") == "4005"),
    (&["--owner", "alice,name-of-more-than-two"], |row| ["4001", "4003"].contains(&row.get("uid"))),
    (&["--owner", "alice", "--owner", "bob"], |row| ["4001", "4004"].contains(&row.get("uid"))),
    (&["--owner", "name-of-more-than"], |_| false),
    (&["--group", "name-of-more-than-two"], |row| row.get("gid") == "4003"),
    (&["--group", "bob,4001", "--owner", "alice"], |row| {
        row.get("uid") == "4001" && ["4001", "4004"].contains(&row.get("gid"))
    }),
    (&["--creator", "root"], |row| row.get("cuid") == "0"),
    (&["--creator", "bob,4005"], |row| ["4004", "4005"].contains(&row.get("cuid"))),
    (&["--mine"], |row| row.get("uid") == "0" || row.get("cuid") == "0"),
    (&["--key", "private"], |row| row.get("key") == "0"),
    (&["--key", "any"], |row| row.get("key") != "0"),
    (&["--key", "any,private"], |_| true),
    (&["--key", "0xffffff02"], |row| row.get("key") == "-254"),
    (&["--key", "-254"], |row| row.get("key") == "-254"),
    (&["--key", "-254,1"], |row| ["-254", "1"].contains(&row.get("key"))),
    (&["--key=-254,0x4e545003", "--key", "1"], |row| ["-254", "1314148355", "1"].contains(&row.get("key"))),
    (&["--mode", "666"], |row| mode(row) == 0o666),
    (&["--mode", "0444,0"], |row| [0o444, 0].contains(&mode(row))),
    (&["--state", "in-use"], |row| number(row, "nattch") > 0),
    (&["--state", "in-use,idle,unknown"], |row| number(row, "nattch") > 0 || row.get("cuid") == "0"),
    (&["--min-size", "100001"], |row| number(row, "size") >= 100_001),
    (&["--max-size", "100001"], |row| number(row, "size") <= 100_001),
    (&["--min-size", "4K", "--max-size", "100001"], |row| (4096..=100_001).contains(&number(row, "size"))),
    (&["--older-than", "0s"], |row| row.get("nattch") == "0"),
    (&["--older-than", "1d"], |_| false),
    (&["--exclude", "0"], |row| row.get("shmid") != "0"),
    (&["--exclude", "id:1,0x4e545003", "--exclude", "999999"], |row| {
        row.get("shmid") != "1" && row.get("key") != "1314148355"
    }),
    (&["--owner", "alice", "--mode", "666", "--key", "any", "--max-size", "150K"], |row| {
        row.get("uid") == "4001" && mode(row) == 0o666 && row.get("key") != "0" && number(row, "size") <= 153_600
    }),
];

/// Returns the ids in a JSON report.
fn reported(ran: &Ran, list: &str) -> Vec<String> {
    let json = ran.json();
    json[list].as_array().unwrap_or_else(|| panic!("{ran:?}")).iter().map(|segment| segment["id"].to_string()).collect()
}

/// Returns the ids of the kernel's rows that meet a condition.
fn kernel(condition: impl Fn(&Row) -> bool) -> Vec<String> {
    oracle::rows().iter().filter(|row| condition(row)).map(|row| row.get("shmid").to_owned()).collect()
}

#[apply(test)]
#[requires(Root)]
fn each_command_selects_the_rows_of_the_kernel() {
    let _covered = add_users();
    let _attached = many_segments();
    for (options, condition) in CASES {
        if options.contains(&"name-of-more-than") {
            let ran = run([&["list"], *options].concat()).exits(2).prints_nothing();
            ran.says("invalid user \"name-of-more-than\": no such user");
            continue;
        }
        let list = run([&["list", "--json"], *options].concat()).exits(0);
        assert_eq!(reported(&list, "segments"), kernel(condition), "list {options:?}");
        let who = run([&["who", "--json"], *options].concat()).exits(0);
        assert_eq!(reported(&who, "segments"), kernel(condition), "who {options:?}");
        let has = |names: &[&str]| options.iter().any(|option| names.contains(option));
        let mut prune = vec!["prune", "--dry-run", "--json", "--unattached"];
        prune.extend((!has(&["--owner", "--mine"])).then_some("--any-owner"));
        prune.extend((!has(&["--older-than"])).then_some("--older-than=0s"));
        let prune = run([&prune, *options].concat()).exits(0);
        let unattached = kernel(|row| row.get("nattch") == "0" && condition(row));
        assert_eq!(reported(&prune, "removed"), unattached, "prune {options:?}");
    }
}

#[apply(test)]
#[requires(Root)]
fn cpid_selects_by_the_creating_process() {
    let mut actors = [Actor::start(), Actor::start()];
    let made = [actors[0].create(1, 4096), actors[1].create(2, 4096)].map(|id| id.to_string());
    oracle::create(3, 4096, 0o600);
    let [first, second] = [actors[0].pid(), actors[1].pid()].map(|pid| pid.to_string());
    let list = |pids: &str| reported(&run(["list", "--json", "--cpid", pids]).exits(0), "segments");
    assert_eq!(list(&first), made[..1]);
    assert_eq!(list(&format!("{first},{second}")), made);
    assert_eq!(list("1"), Vec::<String>::new());
}

#[apply(test)]
fn an_invalid_value_is_a_usage_error_with_the_reason() {
    for (option, value, reason) in [
        ("--owner", "no such user", "invalid user \"no such user\": no such user"),
        ("--group", "no such group", "invalid group \"no such group\": no such group"),
        ("--creator", "root,no-such-user", "invalid user \"no-such-user\": no such user"),
        ("--key", "random", "invalid --key \"random\": expected any, private, a key (0x4d2, 1234) or ftok:PATH"),
        ("--key", "1234,12abc", "invalid --key \"12abc\": expected an integer"),
        ("--state", "lost", "invalid --state \"lost\""),
        ("--mode", "888", "invalid --mode \"888\": expected an octal mode"),
        ("--older-than", "10", "invalid --older-than \"10\": missing unit"),
        ("--min-size", "1E", "invalid --min-size \"1E\": "),
        ("--max-size", "-1", "invalid --max-size \"-1\": "),
        ("--cpid", "0", "invalid --cpid \"0\": a pid is 1 to 2147483647"),
        ("--pid", "12abc", "invalid --pid \"12abc\": expected a decimal integer"),
        ("--exclude", "12abc", "invalid --exclude \"12abc\": expected an id (65538)"),
    ] {
        for command in ["list", "who", "prune"] {
            run([command, &format!("{option}={value}")]).exits(2).prints_nothing().says(&format!("error: {reason}"));
        }
    }
}

#[apply(test)]
fn a_key_in_decimal_to_exclude_is_not_taken_for_an_id() {
    let redaction = Redaction::new();
    let id = oracle::create(1234, 4096, 0o600);
    redaction.check(
        &run(["prune", "--unattached", "--older-than", "0s", "--yes", "--exclude", "1234"]),
        &expect![[r#"
            [stderr]
            error: cannot exclude segment 1234: none of the segments has this id
            hint: a segment with key 1234 (0x4d2) exists: write key:1234
            [exit code 3]
        "#]],
    );
    assert_eq!(ids(), [id]);
    redaction.check(
        &run(["list", "--sysv", "-o", "ID,KEY", "--exclude", "7,1234"]),
        &expect![[r#"
        ID  KEY
         0  0x000004d2
        [stderr]
        warning: cannot exclude segment 1234: none of the segments has this id
        hint: a segment with key 1234 (0x4d2) exists: write key:1234
    "#]],
    );
    run(["list", "--json", "--exclude", "1234"]).exits(0).says("write key:1234");
    redaction.check(
        &run(["who", "--exclude", "1234"]),
        &expect![[r#"
        ID  PID  USER  ATTACHES  ACCESS  COMMAND
        [stderr]
        warning: cannot exclude segment 1234: none of the segments has this id
        hint: a segment with key 1234 (0x4d2) exists: write key:1234
    "#]],
    );
    for excluded in ["key:1234", "0x4d2", "id:1234", "7"] {
        let ran = run(["list", "--exclude", excluded]).exits(0);
        assert_eq!(ran.stderr, "", "{excluded}");
    }
}

#[apply(test)]
fn an_invalid_key_is_reported_with_what_the_command_accepts() {
    for (command, expected) in [
        ("create", "private, random, a key (0x4d2, 1234) or ftok:PATH"),
        ("list", "any, private, a key (0x4d2, 1234) or ftok:PATH"),
        ("demo", "a key (0x4d2, 1234) or ftok:PATH"),
    ] {
        run([command, "--key", "id:0"]).exits(2).says(&format!("error: invalid --key \"id:0\": expected {expected}\n"));
    }
}

#[apply(test)]
fn prune_warns_that_it_never_removes_what_a_process_has_attached() {
    let id = oracle::create(1, 4096, 0o600);
    let mut actor = Actor::start();
    actor.attach(id);
    let pid = actor.pid().to_string();
    let ran = run(["prune", "--unattached", "--older-than", "0s", "--yes", "--pid", &pid]).exits(0);
    ran.says("prune never removes attached segments");
    assert_eq!(ids(), [id]);
}

#[apply(test)]
fn prune_counts_as_excluded_what_the_process_has_not_attached() {
    let (actors, [first, ..]) = attached();
    oracle::create(4, 4096, 0o600);
    let pid = actors[0].pid().to_string();
    let ran = run(["prune", "--dry-run", "--json", "--exclude", &first.to_string(), "--pid", &pid]).exits(0);
    assert_fields(&ran.json()["kept"], json!({ "attached": 1, "excluded": 3 }));
    for kind in [&["--sysv"][..], &["--posix"], &[]] {
        let arguments = [&["prune", "--dry-run", "--json", "--pid", "4194304"], kind].concat();
        let ran = run(arguments).exits(3).says("error: cannot find process 4194304\n");
        assert_fields(&ran.json()["failed"][0], json!({ "target": "4194304", "code": 3 }));
    }
}

/// Starts an actor with two segments attached, one of them twice, and a segment that only another one has attached.
fn attached() -> ([Actor; 2], [i32; 3]) {
    let mut actors = [Actor::start(), Actor::start()];
    let ids = [actors[0].create(1, 5000), actors[0].create(2, 8192), actors[1].create(3, 4096)];
    for id in [ids[0], ids[0], ids[1]] {
        actors[0].attach(id);
    }
    for id in [ids[1], ids[2]] {
        actors[1].attach(id);
    }
    (actors, ids)
}

#[apply(test)]
#[requires(Root)]
fn list_selects_what_a_process_has_attached() {
    let (actors, made) = attached();
    let [first, second] = [actors[0].pid(), actors[1].pid()];
    let list = |pids: &str| reported(&run(["list", "--json", "--pid", pids]).exits(0), "segments");
    let names = made.map(|id| id.to_string());
    assert_eq!(list(&first.to_string()), names[..2]);
    assert_eq!(list(&second.to_string()), names[1..]);
    assert_eq!(list(&format!("{first},{second}")), names);
    assert_eq!(list(&getpid().to_string()), Vec::<String>::new());
    // The column has all processes.
    let json = run(["list", "--json", "-o", "id,pids", "--pid", &second.to_string()]).exits(0).json();
    let both = [first.min(second), first.max(second)];
    assert_eq!(json["segments"], json!([{ "id": made[1], "pids": both }, { "id": made[2], "pids": [second] }]));
}

#[apply(test)]
fn who_shows_what_a_process_has_attached_with_sizes_and_a_total() {
    let (actors, made) = attached();
    let pid = actors[0].pid().to_string();
    let ran = run(["who", "--pid", &pid]).exits(0).says("total: 2 segments (13192 bytes)");
    let words: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["ID", "PID", "USER", "ATTACHES", "ACCESS", "SIZE", "COMMAND"]);
    let [first, second, _] = made.map(|id| id.to_string());
    let rows: Vec<_> = words[1..].iter().map(|row| [row[0], row[1], row[3], row[5]]).collect();
    assert_eq!(rows, [[&*first, &*pid, "2", "4.9K"], [&*second, &*pid, "1", "8K"]]);
    // A segment must match all filters, and be one of those that are named.
    run(["who", &second, "--pid", &pid]).exits(0).says("total: 1 segment (8 KiB)");
    run(["who", "--pid", &pid, "--min-size", "1M"]).exits(0).says("total: 0 segments (0 bytes)");
}

#[apply(test)]
fn who_reports_only_the_attachments_of_the_process_in_json() {
    let (actors, made) = attached();
    let report = run(["who", "--json", "--pid", &actors[1].pid().to_string()]).exits(0).json();
    let segments = report["segments"].as_array().unwrap();
    let summary = |segment: &Value| {
        let pids: Vec<_> = segment["attachments"].as_array().unwrap().iter().map(|one| one["pid"].clone()).collect();
        (segment["id"].clone(), segment["nattch"].clone(), segment["found"].clone(), pids)
    };
    let pid = json!(actors[1].pid());
    let expected =
        [(json!(made[1]), json!(2), json!(1), vec![pid.clone()]), (json!(made[2]), json!(1), json!(1), vec![pid])];
    assert_eq!(segments.iter().map(summary).collect::<Vec<_>>(), expected);
    assert!(segments.iter().all(|segment| segment["hidden"] == json!([])), "{report}");
}

#[apply(test)]
fn a_process_that_shares_its_memory_has_the_same_segments_attached() {
    let mut actor = Actor::start();
    let id = actor.create(1, 4096);
    actor.attach(id);
    let twin = actor.number(ChildRequest::CloneVm).to_string();
    assert_eq!(reported(&run(["who", "--json", "--pid", &twin]).exits(0), "segments"), [id.to_string()]);
}

#[apply(test)]
fn a_missing_process_is_reported_and_does_not_hide_the_others() {
    let (actors, made) = attached();
    let missing = finish(std::process::Command::new("sh").args(["-c", "echo $$"])).stdout.trim().to_owned();
    let pids = format!("{missing},{}", actors[1].pid());
    for command in ["list", "who"] {
        let ran = run([command, "--json", "--pid", &pids]).exits(3).says(&format!("cannot find process {missing}"));
        assert_eq!(reported(&ran, "segments"), made[1..].iter().map(ToString::to_string).collect::<Vec<_>>());
    }
}

#[apply(test)]
#[requires(Root)]
fn a_process_of_another_user_is_a_permission_error() {
    let (actors, _) = attached();
    let pid = actors[0].pid().to_string();
    let ran = finish(shmadm_as(NOBODY).args(["who", "--pid", &pid])).exits(4);
    let cause = "cause: it is a process of user root; to inspect it, you need CAP_SYS_PTRACE in its user namespace\n";
    let ran = ran.says(&format!("cannot inspect process {pid}: ")).says(&format!("sudo shmadm who --pid {pid}"));
    assert!(!ran.says(cause).prints_nothing().stderr.contains("total"));
    finish(shmadm_as(NOBODY).args(["list", "--pid", &pid])).exits(4).says(cause);
    let ran = finish(shmadm_as(NOBODY).args(["who", "--json", "--pid", &pid])).exits(4);
    assert_eq!(ran.json()["error"]["kind"], "permission");
}

#[apply(test)]
#[requires(Root)]
fn a_process_of_another_namespace_is_found_with_all_namespaces() {
    let mut actor = Actor::start();
    actor.unshare();
    let id = actor.create(1, 4096);
    actor.attach(id);
    let pid = actor.pid().to_string();
    let ran = run(["who", "--pid", &pid]).exits(0).says(&format!("process {pid} is in another IPC namespace"));
    ran.says(&format!("`shmadm who --pid {pid} --all-ns`")).says("total: 0 segments");
    for command in ["who", "list"] {
        let ran = finish(shmadm().args([command, "--json", "--all-ns", "--pid", &pid])).exits(0);
        assert_eq!(ran.json()["segments"][0]["ns"], actor.namespace());
        assert_eq!(reported(&ran, "segments"), [id.to_string()]);
    }
}
