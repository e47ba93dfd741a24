//! `list`, `stat` and `who` of POSIX objects.

use expect_test::expect;
use serde_json::{Value, json};

use super::{create, file_id};
use crate::actor::{Actor, Request};
use crate::fixtures::assert_fields;
use crate::in_flight::send_descriptor;
use crate::oracle;
use crate::redact::Redaction;
use crate::sandbox::{ShownProcesses, with_file_over};
use crate::support::{file, finish, mount_tmpfs_on, run, shmadm};
use crate::vanish::Stopped;

pub(super) fn objects(report: &Value) -> Vec<&Value> {
    report["objects"].as_array().unwrap().iter().collect()
}

#[apply(test)]
fn json_has_segments_and_objects() {
    assert_eq!(run(["list", "--json"]).exits(0).stdout, "{\"schema\":1,\"segments\":[],\"objects\":[]}\n");
    let id = oracle::create(0x4d2, 4096, 0o600);
    let path = create("x", 8192);
    std::fs::write(&path, [1; 4096]).unwrap();
    let report = run(["list", "--json"]).exits(0).json();
    assert_eq!(report["segments"][0]["id"], id);
    let expected = json!({
        "object": file_id(&path).strip_prefix("obj:").unwrap(), "type": "shm", "name": "/x", "size": 4096,
        "allocated": 4096, "rss": 4096, "swap": 0, "mode": "0600", "links": 1, "users": 0, "mappings": 0,
        "descriptors": 0, "value": null, "waiters": null, "seals": null, "product": null, "maker": null,
    });
    assert_fields(objects(&report)[0], expected);
    let only = run(["list", "--json", "--posix"]).exits(0).json();
    assert_eq!((only.get("segments"), objects(&only).len()), (None, 1));
    let only = run(["list", "--json", "--sysv"]).exits(0).json();
    assert_eq!(only.get("objects"), None);
}

#[apply(test)]
fn csv_tsv_and_columns_are_those_of_segments_unless_posix_is_given() {
    create("x", 8192);
    assert_eq!(run(["list", "--format", "tsv", "--no-headings"]).exits(0).stdout, "");
    assert_eq!(run(["list", "-o", "ID", "--json"]).exits(0).stdout, "{\"schema\":1,\"segments\":[]}\n");
    assert_eq!(
        run(["list", "--posix", "-o", "NAME,SIZE", "--format", "tsv"]).exits(0).stdout,
        "NAME\tSIZE\n/x\t8192\n"
    );
    let header = run(["list", "--posix", "--format", "csv"]).exits(0).stdout;
    assert!(
        header.starts_with("OBJECT,TYPE,NAME,SIZE,ALLOCATED,RSS,SWAP,MODE,UID,OWNER,GID,GROUP,LINKS,USERS,"),
        "{header}"
    );
    run(["list", "--posix", "-o", "KEY"]).exits(2).says("invalid column \"KEY\"");
}

#[apply(test)]
#[requires(Root)]
fn the_table_shows_both_kinds_together() {
    let mut actor = Actor::start();
    actor.create(0x4d2, 4096);
    drop(actor);
    create("x", 8192);
    create("sem.lock", 32);
    let redaction = Redaction::new();
    redaction.check(
        &run(["list"]),
        &expect![[r#"
            NAME       KEY         OWNER  MODE  SIZE  RSS  USERS  STATE    IDLE  COMMAND
            0          0x000004d2  root   0600    4K   0B      0  orphan     [IDLE]s  -
            sem:/lock  -           root   0600   32B   0B      0  unknown    [IDLE]s  -
            /x         -           root   0600    8K   0B      0  unknown    [IDLE]s  -
            [stderr]
            hint: determine the state of 2 objects: `shmadm list --probe`
        "#]],
    );
}

#[apply(test)]
fn states_show_use_products_and_makers() {
    let mut actor = Actor::start();
    actor.ask(Request::MapFile { path: create("used", 4096) });
    create("libpod_lock", 4096);
    create(&format!("torch_{}_1_2", actor.pid()), 4096);
    create("torch_4194304_1_2", 4096);
    let report = run(["list", "--posix", "--probe", "--json"]).exits(0).json();
    let state =
        |name: &str| objects(&report).into_iter().find(|object| object["name"] == name).unwrap()["state"].clone();
    assert_eq!(state("/used"), "in-use");
    assert_eq!(state("/libpod_lock"), "kept");
    assert_eq!(state(&format!("/torch_{}_1_2", actor.pid())), "idle");
    assert_eq!(state("/torch_4194304_1_2"), "orphan");
}

#[apply(test)]
#[requires(Root)]
fn unlinked_objects_are_listed_and_their_memory_is_reported() {
    let path = create("gone", 1 << 20);
    std::fs::write(&path, vec![1; 1 << 20]).unwrap();
    let name = file_id(&path);
    let mut actor = Actor::start();
    actor.ask(Request::MapFile { path: path.clone() });
    std::fs::remove_file(path).unwrap();
    run(["list", "--posix"]).exits(0).says("1 MiB").says("shmadm list --unlinked");
    let report = run(["list", "--unlinked", "--json"]).exits(0).json();
    let [object] = objects(&report)[..] else { panic!("{report}") };
    let expected =
        json!({ "name": null, "size": 1 << 20, "allocated": 1 << 20, "state": "unlinked", "links": 0, "users": 1 });
    assert_fields(object, expected);
    assert_eq!(format!("obj:{}", object["object"].as_str().unwrap()), name);
    // With swap in use, the file itself shows what of it is resident.
    let directory = tempfile::tempdir().unwrap();
    let swapping = file(directory.path(), "meminfo", b"MemTotal: 9 kB\nSwapTotal: 9 kB\nSwapFree: 8 kB\n");
    let mut command = shmadm();
    with_file_over(&mut command, &swapping, c"/proc/meminfo");
    let report = finish(command.args(["list", "--unlinked", "--json"])).exits(0).json();
    assert_fields(objects(&report)[0], json!({ "rss": 1 << 20, "swap": 0 }));
    let table = run(["list", "--unlinked"]).exits(0).stdout;
    assert!(table.contains(name.strip_prefix("obj:").unwrap()) && table.contains(&actor.pid().to_string()), "{table}");
    let reason = "it has no name; its memory is freed when the last process closes and unmaps it";
    run(["rm", &name]).exits(5).says(reason).says(&format!("mapped by pid {}", actor.pid()));
    drop(actor);
    assert!(objects(&run(["list", "--unlinked", "--json"]).exits(0).json()).is_empty());
}

#[apply(test)]
fn a_semaphore_shows_its_value_and_waiters() {
    let mut contents = [0_u8; 32];
    contents[0] = 3;
    contents[4] = 2;
    contents[8] = 0x80;
    std::fs::write(create("sem.lock", 32), contents).unwrap();
    let report = run(["stat", "sem:/lock", "--json"]).exits(0).json();
    assert_fields(&report["objects"][0], json!({ "type": "sem", "name": "sem:/lock", "value": 3, "waiters": 2 }));
    // musl, which adds no prefix: the sign bit shows waiters.
    contents[3] = 0x80;
    contents[8] = 0;
    std::fs::write(create("bare", 32), contents).unwrap();
    let report = run(["stat", "sem:/bare", "--json"]).exits(0).json();
    assert_fields(&report["objects"][0], json!({ "type": "sem", "value": 3, "waiters": 2 }));
    // Of another size, it has no value.
    create("sem.trap", 0);
    let report = run(["stat", "sem:/trap", "--json"]).exits(0).json();
    assert_fields(&report["objects"][0], json!({ "type": "sem", "value": null, "waiters": null }));
}

#[apply(test)]
fn who_shows_each_process_and_how_it_uses_an_object() {
    let path = create("x", 4096);
    let (mut mapped, mut open) = (Actor::start(), Actor::start());
    mapped.ask(Request::MapFile { path: path.clone() });
    open.ask(Request::OpenFile { path: path.clone() });
    let report = run(["who", "/x", "--json"]).exits(0).json();
    let object = &report["objects"][0];
    assert_fields(object, json!({ "name": "/x", "in_use": true, "found": 2, "hidden": [] }));
    let how =
        |pid: i32| object["users"].as_array().unwrap().iter().find(|user| user["pid"] == pid).unwrap()["how"].clone();
    assert_eq!((how(mapped.pid()), how(open.pid())), (json!("mapped"), json!("open")));
    let table = run(["who", "/x"]).exits(0).stdout;
    assert!(table.lines().next().unwrap().split_whitespace().eq(["NAME", "PID", "USER", "HOW", "ACCESS", "COMMAND"]));
    drop((mapped, open));
    let report = run(["who", "/x", "--json"]).exits(0).json();
    assert_fields(&report["objects"][0], json!({ "in_use": false, "found": 0, "users": [] }));
}

#[apply(test)]
fn the_columns_of_csv_depend_on_what_is_named() {
    let columns = |line: &str| {
        let ran = run(line.split(' ').chain(["--format", "csv"])).exits(0);
        ran.stdout.split(',').take(4).collect::<Vec<_>>().join(",")
    };
    let (of_segments, of_objects) = ("ID,PID,USER,ATTACHES", "NAME,PID,USER,HOW");
    create("x", 4096);
    for line in ["who", "who --all", "who --all /x", "who --owner 0"] {
        assert_eq!(columns(line), of_segments, "{line}, without segments");
    }
    let id = oracle::create(0x4d2, 4096, 0o600).to_string();
    for line in ["who", "who --all", &format!("who {id}"), &format!("who --all {id} /x")] {
        assert_eq!(columns(line), of_segments, "{line}");
    }
    for line in ["who /x", "who --name x*", "who --type shm"] {
        assert_eq!(columns(line), of_objects, "{line}");
    }
    assert_eq!(columns(&format!("who {}", file_id("/dev/shm/x"))), of_objects);
    assert_eq!(columns("who /x --name y"), of_objects, "of no object");
    assert_eq!(columns("stat /x"), "OBJECT,TYPE,NAME,SIZE");
    assert_eq!(columns("stat 0x4d2"), "ID,KEY,SIZE,MODE");
    for (command, name) in [("who", "/x"), ("stat", "/x"), ("who", "/missing"), ("stat", "/missing")] {
        for format in ["csv", "tsv"] {
            let ran = run([command, "0x4d2", name, "--format", format]).exits(2).prints_nothing();
            ran.says("error: csv and tsv show segments or POSIX objects, not both\n");
        }
        run([command, "0x4d2", "/x"]).exits(0);
    }
}

#[apply(test)]
fn stat_shows_every_field_of_an_object() {
    create("psm_1a2b3c4d", 8192);
    let text = run(["stat", "/psm_1a2b3c4d"]).exits(0).stdout;
    for line in ["Name: /psm_1a2b3c4d", "Type: shm", "Size: 8192 (8K)", "Product: python-shared-memory (by its name)"] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[apply(test)]
fn limits_show_the_file_system_and_what_unlinked_objects_hold() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=1M,nr_inodes=100"));
    std::fs::write(create("x", 0), vec![1; 64 << 10]).unwrap();
    let path = create("gone", 0);
    std::fs::write(&path, vec![1; 128 << 10]).unwrap();
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: path.clone() });
    std::fs::remove_file(path).unwrap();
    let report = run(["limits", "--json"]).exits(0).json();
    let expected = json!({
        "mount": "/dev/shm", "size": 1 << 20, "used": 192 << 10, "inodes": 100, "inodes_used": 3, "unlinked": 128 << 10,
        "huge": false,
    });
    assert_fields(&report["posix"], expected);
    let text = run(["limits"]).exits(0).stdout;
    assert!(text.lines().any(|line| line.starts_with("POSIX_UNLINKED") && line.contains("128K")), "{text}");
}

#[apply(test)]
fn filters_apply_to_objects() {
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: create("psm_1a2b3c4d", 4096) });
    create("torch_1_2_3", 8192);
    create("sem.lock", 32);
    for (filter, expected) in [
        (&["--name", "psm_*"][..], "/psm_1a2b3c4d\n"),
        (&["--name", "/torch*,psm_*"], "/psm_1a2b3c4d\n/torch_1_2_3\n"),
        (&["--type", "sem"], "sem:/lock\n"),
        (&["--product", "pytorch"], "/torch_1_2_3\n"),
        (&["--min-size", "8K"], "/torch_1_2_3\n"),
        (&["--pid", &actor.pid().to_string()], "/psm_1a2b3c4d\n"),
        (&["--exclude", "/torch_1_2_3,sem:/lock"], "/psm_1a2b3c4d\n"),
        // An object in use has no idle time.
        (&["--older-than", "0s"], "/torch_1_2_3\nsem:/lock\n"),
        (&["--key", "any"], ""),
        (&["--owner", "0,1"], "/psm_1a2b3c4d\n/torch_1_2_3\nsem:/lock\n"),
    ] {
        let list = ["list", "--posix", "-o", "NAME", "--sort", "NAME", "--no-headings", "--format", "tsv"];
        if filter[0] == "--owner" && !crate::support::is_root() {
            continue;
        }
        assert_eq!(run([&list[..], filter].concat()).exits(0).stdout, expected, "{filter:?}");
    }
}

#[apply(test)]
fn a_listing_of_both_kinds_is_sorted_by_each_of_its_columns() {
    for name in ["y", "torch_4194304_1_2", "x"] {
        create(name, 4096);
    }
    let mut actor = Actor::start();
    let (free, attached) = (oracle::create(0, 4096, 0o600), oracle::create(0, 4096, 0o600));
    actor.ask(Request::Attach { id: attached });
    actor.ask(Request::OpenFile { path: "/dev/shm/y".into() });
    let sorted = |column: &str| {
        let ran = run(["list", "--sort", column, "--no-headings"]).exits(0);
        ran.stdout.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (free, attached) = (free.to_string(), attached.to_string());
    assert_eq!(sorted("name"), [&*free, &*attached, "/torch_4194304_1_2", "/x", "/y"]);
    let by_users = sorted("USERS");
    assert!(by_users[3..].iter().all(|name| [&*attached, "/y"].contains(&&**name)), "{by_users:?}");
    // Only programs that are running or known have a command.
    assert!(["/x", "/y"].iter().all(|name| sorted("command")[3..].contains(&(*name).to_owned())));
    assert_eq!(sorted("key").len(), 5);
    run(["list", "--sysv", "--sort", "NAME"]).exits(2).says("invalid column \"NAME\"");
}

#[apply(test)]
fn the_number_of_unlinked_objects_is_reported_if_all_were_found() {
    let mut actor = Actor::start();
    create("named", 4096);
    for (name, size) in [("one", 4096), ("two", 8192)] {
        let path = create(name, 0);
        std::fs::write(&path, vec![1; size]).unwrap();
        actor.ask(Request::OpenFile { path: path.clone() });
        std::fs::remove_file(path).unwrap();
        let (count, bytes) =
            if name == "one" { ("1 unlinked object holds", 4) } else { ("2 unlinked objects hold", 12) };
        run(["list"]).exits(0).says(&format!("{count} {bytes} KiB: `shmadm list --unlinked`\n"));
    }
    std::fs::remove_file("/dev/shm/named").unwrap();
    // Without a named object, no process is inspected.
    let ran = run(["list"]).exits(0);
    assert!(ran.stderr.starts_with("unlinked objects hold 12 KiB: "), "{ran:#?}");
}

#[apply(test)]
fn a_narrow_table_shortens_the_pids_of_an_unlinked_object() {
    let path = create("gone", 4096);
    let mut actors: Vec<Actor> = (0..12).map(|_| Actor::start()).collect();
    for actor in &mut actors {
        actor.ask(Request::OpenFile { path: path.clone() });
    }
    std::fs::remove_file(path).unwrap();
    let table = finish(shmadm().args(["list", "--unlinked"]).env("COLUMNS", "80")).exits(0).stdout;
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(table.contains(&format!(" {},", actors[0].pid())), "{table}");
}

#[apply(test)]
#[requires(Root)]
fn one_scan_of_the_processes_answers_for_all_named_objects() {
    let mut actor = Actor::start();
    let unlinked = (0..15).map(|number| {
        let path = create(&format!("gone{number}"), 4096);
        let name = file_id(&path);
        actor.ask(Request::OpenFile { path: path.clone() });
        std::fs::remove_file(path).unwrap();
        name
    });
    let mut names: Vec<String> = unlinked.collect();
    for number in 0..15 {
        create(&format!("x{number}"), 4096);
        names.push(format!("/x{number}"));
    }
    // Others come and go.
    let shown = ShownProcesses::new(&[actor.pid()]);
    let stat = |names: &[String]| {
        let mut command = shmadm();
        shown.to(&mut command).args(["stat", "--json"]).args(names);
        Stopped::count_calls_of(command)
    };
    let (one, all) = (stat(&names[..1]), stat(&names));
    assert!(all < 2 * one + 20 * names.len(), "{one} calls for one object, {all} for {}", names.len());
    let arguments = [vec!["stat", "--json"], names.iter().map(String::as_str).collect()].concat();
    let report = run(arguments).exits(0).json();
    let users: Vec<_> = objects(&report).iter().map(|object| object["users"].as_i64().unwrap()).collect();
    assert_eq!(users, [[1; 15], [0; 15]].concat());
}

#[apply(test)]
#[requires(Root)]
fn who_and_stat_say_that_descriptors_are_in_flight_if_no_process_has_an_object_open() {
    let sockets = send_descriptor(create("x", 4096));
    let ran = run(["who", "/x", "--json"]).exits(0).says("is in use, but no process that uses it was found: ");
    let report = ran.json();
    assert_fields(&report["objects"][0], json!({ "in_use": true, "found": 0, "users": [] }));
    assert_eq!(report["objects"][0]["hidden"][0], json!({ "reason": "in-flight", "count": 1 }), "{report}");
    let fields = run(["stat", "/x", "--probe"]).exits(0).stdout;
    assert!(fields.contains("Users may be missing: a Unix socket has descriptors queued"), "{fields}");
    drop(sockets);
    let report = run(["who", "/x", "--json"]).exits(0).json();
    assert_fields(&report["objects"][0], json!({ "in_use": false }));
    assert_ne!(report["objects"][0]["hidden"][0]["reason"], "in-flight", "{report}");
}
