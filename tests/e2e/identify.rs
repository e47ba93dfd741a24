//! `identify`: which programs segments and objects belong to.

use std::fs::File;

use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::fixtures::assert_fields;
use crate::objects::create;
use crate::oracle;
use crate::support::{file, finish, mount_tmpfs_on, run, run_with_input, shmadm};

/// Identifies targets, or everything.
fn identify(targets: &[&str]) -> Value {
    run([&["identify", "--json"], targets].concat()).exits(0).json()["identities"].clone()
}

#[apply(test)]
fn a_name_shows_that_a_program_is_likely() {
    create("psm_1a2b3c4d", 4096);
    create("libpod_lock", 4096);
    create("mine", 4096);
    let found = identify(&["/psm_1a2b3c4d", "/libpod_lock", "/mine"]);
    assert_fields(
        &found[0],
        json!({ "target": "/psm_1a2b3c4d", "product": "python-shared-memory", "evidence": ["name"], "confidence": "likely",
                "maker": null, "keep": false, "cleanup": null }),
    );
    assert_fields(&found[1], json!({ "product": "podman", "keep": true, "cleanup": "podman system renumber" }));
    assert_eq!(found.as_array().unwrap().len(), 2, "no rule applies to the third");
    let table = run(["identify"]).exits(0).stdout;
    assert!(table.lines().any(|line| line.starts_with("/mine ")), "{table}");
}

#[apply(test)]
fn the_pid_in_a_name_is_that_of_the_creator() {
    let mut running = Actor::start();
    let name = format!("torch_{}_1_0", running.pid());
    create(&name, 4096);
    running.ask(crate::actor::Request::OpenFile { path: format!("/dev/shm/{name}") });
    let expected = json!({ "product": "pytorch", "maker": running.pid(), "maker_running": true });
    assert_fields(&identify(&[])[0], expected);
    create("torch_4194304_1_0", 4096);
    let expected = json!({ "product": "pytorch", "maker": 4_194_304, "maker_running": false });
    assert_fields(&identify(&["/torch_4194304_1_0"])[0], expected);
}

#[apply(test)]
fn only_a_key_is_a_guess() {
    let id = oracle::create(0x4e54_5031, 96, 0o600);
    oracle::create(0x4d2, 96, 0o600);
    let found = identify(&[]);
    let expected = json!({ "target": id.to_string(), "product": "ntp", "evidence": ["key"], "confidence": "guess",
                           "maker": oracle::row(id).unwrap().get("cpid").parse::<i32>().unwrap() });
    assert_fields(&found[0], expected);
    assert_eq!(found.as_array().unwrap().len(), 1);
}

#[apply(test)]
#[requires(Root)]
fn contents_are_certain_evidence() {
    let id = oracle::create(0x52e2c1, 8192, 0o600);
    let mut actor = Actor::start();
    actor.attach(id);
    oracle::Attached::new(id).write(0, &crate::objects::family::segment_header(4711, 1234));
    let found = &identify(&[&id.to_string()])[0];
    assert_fields(found, json!({ "product": "postgresql", "evidence": ["content"], "confidence": "certain" }));
    assert_eq!(found["what"], "main shared memory of the server, with /PostgreSQL.1234");
    std::fs::write("/dev/shm/PostgreSQL.1234", 0x9a50_3d32_u32.to_ne_bytes()).unwrap();
    std::fs::write("/dev/shm/PostgreSQL.1", "forged").unwrap();
    let found = identify(&["/PostgreSQL.1234", "/PostgreSQL.1"]);
    assert_fields(&found[0], json!({ "evidence": ["content", "name"], "confidence": "certain" }));
    assert_fields(&found[1], json!({ "evidence": ["name"], "confidence": "likely" }));
}

#[apply(test)]
fn rules_of_the_user_come_first() {
    create("psm_1a2b3c4d", 4096);
    let directory = tempfile::tempdir().unwrap();
    let rule = b"[[product]]\nid = \"ours\"\npattern = \"psm_.*\"\nsource = \"the wiki\"\ncleanup = \"ours clean\"\n";
    let rules = file(directory.path(), "rules.toml", rule);
    let rules = rules.to_str().unwrap();
    let found = &identify(&["--rules", rules])[0];
    assert_fields(found, json!({ "product": "ours", "cleanup": "ours clean", "source": "the wiki", "what": null }));
    // No pid is this large.
    let path = create("torch_4194305_1_1", 4096);
    assert_eq!(identify(&["/torch_4194305_1_1"])[0]["maker"], Value::Null);
    std::fs::remove_file(path).unwrap();
    // Either of two patterns may match.
    std::fs::write(rules, "[[product]]\nid = \"ours\"\npattern = \"other|psm_.*\"\nsource = \"\"\n").unwrap();
    assert_eq!(identify(&["--rules", rules])[0]["product"], "ours");
    std::fs::write(rules, "[[product]]\nid = \"ours\"\nsource = \"\"\nkeys = [\"x\"]\n").unwrap();
    run(["identify", "--rules", rules]).exits(1).says("rules.toml: ours: invalid key \"x\"\n");
    for (rule, problem) in [
        ("id = \"\"\nsource = \"\"\npattern = \"x\"\n", "line 2: empty `id`\n"),
        (
            "id = \"ours\"\nsource = \"\"\npattern = \"x(?<foo>.)\"\n",
            "ours: unknown group \"foo\": expected pid, unit or lock\n",
        ),
        ("id = \"ours\"\nsource = \"\"\n", "ours: expected a pattern, users or keys\n"),
    ] {
        std::fs::write(rules, format!("[[product]]\n{rule}")).unwrap();
        run(["identify", "--rules", rules]).exits(1).says(&format!("rules.toml: {problem}"));
    }
    std::fs::write(rules, "[[product]]\nname = 5\n").unwrap();
    run(["identify", "--rules", rules]).exits(1).says("rules.toml: line 2: unknown field `name`");
    std::fs::write(rules, "[[products]]\nid = \"ours\"\nsource = \"\"\n").unwrap();
    run(["identify", "--rules", rules]).exits(1).says("rules.toml: line 1: unknown field `products`");
}

#[apply(test)]
fn a_hint_that_requires_the_same_input_says_so() {
    create("mine", 4096);
    let purpose = "determine the state of 1 object";
    for rules in ["-", "/dev/stdin", "/proc/self/fd/0"] {
        let input = b"[[product]]\nid = 'ours'\npattern = 'our-.*'\nsource = ''\n";
        let hint =
            format!("hint: run it again with the same input to {purpose}: `shmadm identify --rules - --probe`\n");
        run_with_input(["identify", "--rules", rules], input).exits(0).says(&hint);
    }
    run(["identify"]).exits(0).says(&format!("hint: {purpose}: `shmadm identify --probe`\n"));
}

#[apply(test)]
fn states_follow_the_rules_of_the_user_but_removals_do_not() {
    let maker = Actor::start();
    let directory = tempfile::tempdir().unwrap();
    let text = "[[product]]
id = 'kept'
pattern = 'cache-.*'
keep = true
cleanup = 'cache clean'
source = ''

[[product]]
id = 'hexadecimal'
pattern = 'hex-(?<pid>[0-9a-f]+)'
base = 16
source = ''

[[product]]
id = 'locked'
pattern = '(?<unit>job-[0-9]+)(?<lock>-lock)?'
together = true
source = ''
";
    let rules = file(directory.path(), "rules.toml", text.as_bytes());
    let rules = rules.to_str().unwrap();
    let running = format!("hex-{:x}", maker.pid());
    for name in ["cache-1", "hex-400000", &running, "job-1", "job-2", "job-2-lock"] {
        create(name, 4096);
    }
    let lock = File::create("/dev/shm/job-1-lock").unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let states = |targets: &[&str]| {
        let table = run([&["identify", "--probe", "--rules", rules], targets].concat()).exits(0).stdout;
        let state = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let rows = table.lines().skip(1).map(state);
        let mut rows: Vec<String> = rows.map(|row| format!("{} {} {}", row[0], row[1], row[5])).collect();
        rows.sort_unstable();
        rows
    };
    let mut expected = [
        "/cache-1 kept kept".to_owned(),
        "/hex-400000 hexadecimal orphan".to_owned(),
        format!("/{running} hexadecimal idle"),
        "/job-1 locked idle".to_owned(),
        "/job-1-lock locked in-use".to_owned(),
        "/job-2 locked orphan".to_owned(),
        "/job-2-lock locked orphan".to_owned(),
    ];
    expected.sort_unstable();
    assert_eq!(states(&[]), expected);
    assert_eq!(states(&["/job-2"]), ["/job-2 locked orphan"]);
    drop(lock);
    run(["prune", "--posix", "--older-than", "0s", "--yes"]).exits(0).says("nothing to prune\n");
    run(["rm", "/cache-1"]).exits(0);
    std::fs::write(rules, "[[product]]\nid = 'ours'\nsource = ''\npattern = 'x'\nbase = 1\n").unwrap();
    run(["identify", "--rules", rules]).exits(1).says("rules.toml: ours: invalid base 1\n");
}

#[apply(test)]
fn names_of_known_programs_are_recognized() {
    for (name, expected) in [
        ("app.running", "sysrepo\t"),
        ("sr_ietf-interfaces.operational", "sysrepo\t"),
        ("tt_h2d_4194304_1", "tt-metal\t4194304"),
        ("tt_d2h_4194304_1_2", "tt-metal\t4194304"),
        ("jack_default_0", "jack\t"),
        ("jack_x", "jack\t"),
        ("sglang_loads_x", "sglang\t"),
        // Pid 0 is not that of a process.
        ("torch_0_1_2", "pytorch\t"),
    ] {
        create(name, 32);
        let options = ["list", "--posix", "--name", &format!("/{name}"), "--format", "tsv", "-o", "PRODUCT,MAKER"];
        let listed = run([&options[..], &["--no-headings"]].concat()).exits(0).stdout;
        assert_eq!(listed, format!("{expected}\n"), "{name}");
    }
    run(["rm", "/app.running"]).exits(5).says("sysrepo keeps it between runs\n");
}

#[apply(test)]
fn the_segments_of_a_database_are_recognized_by_its_processes() {
    for (key, name) in [(1, "oracle"), (2, "ora_pmon_x")] {
        let mut process = Actor::named(name);
        let id = oracle::create(key, 4096, 0o600);
        process.attach(id);
        assert_fields(&identify(&[&id.to_string()])[0], json!({ "product": "oracle", "evidence": ["users"] }));
    }
}

#[apply(test)]
fn a_segment_of_postgresql_without_its_header_can_be_of_any_kind() {
    let mut process = Actor::named("postgres");
    let id = oracle::create(1, 4096, 0o600);
    process.attach(id);
    let what = "shared memory of a database server";
    assert_fields(
        &identify(&[&id.to_string()])[0],
        json!({ "product": "postgresql", "evidence": ["users"], "what": what }),
    );
}

#[apply(test)]
#[requires(Root)]
fn usage_and_top_show_the_program_of_a_segment() {
    // top lists the twenty largest of the machine, by resident memory.
    const SIZE: usize = 64 << 20;
    let id = oracle::create(0x52e2c1, SIZE, 0o600);
    let mut actor = Actor::start();
    actor.attach(id);
    let attached = oracle::Attached::new(id);
    (0..SIZE).step_by(4096).for_each(|offset| attached.write(offset, &[1]));
    attached.write(0, &crate::objects::family::segment_header(4711, 1234));
    drop(attached);
    let groups = run(["usage", "--by", "product", "--json"]).exits(0).json()["groups"].clone();
    let group = groups.as_array().unwrap().iter().find(|group| group["name"] == "postgresql");
    // The machine may have others.
    assert!(group.unwrap()["size"].as_u64().unwrap() >= SIZE as u64, "{groups}");
    let top = run(["top", "--rounds", "1", "--json"]).exits(0).json();
    let largest = top["largest"].as_array().unwrap().iter();
    let target = id.to_string();
    let is_it = |object: &&Value| object["source"] == "sysv" && object["target"] == target.as_str();
    let products: Vec<&Value> = largest.filter(is_it).map(|object| &object["product"]).collect();
    assert!(products.contains(&&json!("postgresql")), "{products:?}");
}

#[apply(test)]
fn a_directory_is_identified_by_its_name() {
    std::fs::create_dir("/dev/shm/ols").unwrap();
    let expected = json!({ "target": "/ols", "product": "openlitespeed", "evidence": ["name"] });
    assert_fields(&identify(&[])[0], expected.clone());
    assert_fields(&identify(&["/ols"])[0], expected);
    let ran = run(["rm", "/ols"]).exits(1).says("cause: openlitespeed keeps it between runs\n");
    assert!(!ran.stderr.contains("rm -r"), "{ran:?}");
}

#[apply(test)]
fn a_file_with_the_name_of_a_programs_directory_is_not_the_programs() {
    create("ols", 32);
    create("joblib_memmapping_folder_4194304_x", 32);
    std::fs::create_dir("/dev/shm/psm_1a2b3c4d").unwrap();
    std::fs::create_dir("/dev/shm/torch_4194304_1_1").unwrap();
    assert_eq!(identify(&[]), json!([]));
    let states = run(["list", "--posix", "--probe", "--format", "tsv", "-o", "STATE", "--no-headings"]).exits(0).stdout;
    assert_eq!(states, "unused\n".repeat(4));
    run(["rm", "/ols"]).exits(0);
    // A rule of the user is for files and directories, unless its pattern ends in a slash.
    let directory = tempfile::tempdir().unwrap();
    let products = |patterns: [&str; 2]| -> Vec<String> {
        let rule = |pattern| format!("[[product]]\nid = \"{pattern}\"\nsource = \"\"\npattern = '{pattern}'\n");
        let rules = file(directory.path(), "rules.toml", patterns.map(rule).concat().as_bytes());
        let found =
            identify(&["--rules", rules.to_str().unwrap(), "/joblib_memmapping_folder_4194304_x", "/psm_1a2b3c4d"]);
        found.as_array().unwrap().iter().map(|one| one["product"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(products([".*", "psm.*/"]), [".*", ".*"]);
    assert_eq!(products([".*/", "joblib.*"]), ["joblib.*", ".*/"]);
}

#[apply(test)]
#[requires(Root)]
fn files_of_dpdk_are_on_hugetlbfs() {
    create("foomap_3", 32);
    assert_eq!(identify(&[]), json!([]));
    mount_tmpfs_on("/mnt", None);
    let (none, options) = (None::<&str>, Some("pagesize=2M"));
    if nix::mount::mount(none, "/mnt", Some("hugetlbfs"), nix::mount::MsFlags::empty(), options).is_err() {
        return;
    }
    File::create("/mnt/foomap_3").unwrap();
    assert_eq!(identify(&["--dir", "/mnt"])[0]["product"], "dpdk");
    let listed = run(["--dir", "/mnt", "list", "--posix", "--json"]).exits(0).json();
    assert_eq!(listed["objects"][0]["product"], "dpdk");
}

#[apply(test)]
fn on_a_narrow_terminal_a_target_stays_a_name() {
    create("psm_1a2b3c4d", 4096);
    create("libpod_rootless_lock_1000", 4096);
    let table = finish(shmadm().envs([("COLUMNS", "60"), ("LC_ALL", "C")]).arg("identify")).exits(0).stdout;
    assert!(table.lines().all(|line| line.len() <= 60), "{table}");
    let mut targets: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    targets.sort_unstable();
    assert_eq!(targets, ["/libpod...k_1000", "/psm_1a2b3c4d"]);
}

#[apply(test)]
fn the_image_of_an_x11_client_is_marked_for_destruction() {
    let mut server = Actor::named("Xvfb");
    let id = oracle::create(0, 4096, 0o600);
    server.attach(id);
    assert_eq!(identify(&[&id.to_string()]), json!([]));
    oracle::remove(id);
    assert_fields(&identify(&[&id.to_string()])[0], json!({ "product": "x11-mit-shm", "evidence": ["users"] }));
    let listed = run(["list", "-o", "id,product", "--format", "tsv"]).exits(0).stdout;
    assert_eq!(listed, format!("ID\tPRODUCT\n{id}\tx11-mit-shm\n"));
}

#[apply(test)]
#[requires(Root)]
fn the_command_of_a_program_is_for_its_own_objects_that_are_not_in_use() {
    let cleanup = || {
        identify(&["/fastdds_1", "/PostgreSQL.1"])
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["cleanup"].clone())
            .collect::<Vec<_>>()
    };
    create("PostgreSQL.1", 4096);
    let path = create("fastdds_1", 4096);
    assert_eq!(cleanup(), [json!("fastdds shm clean"), Value::Null], "the second is forged");
    let fields = run(["stat", "--probe", "/fastdds_1"]).exits(0).stdout;
    assert!(fields.contains("Clean-up command: fastdds shm clean\n"), "{fields}");
    let would_remove = run(["prune", "--unattached", "--older-than", "0s", "-n", "--format", "csv"]).exits(0).stdout;
    assert_eq!(would_remove.matches("; its program cleans up with `fastdds shm clean`").count(), 1, "{would_remove}");
    assert!(!would_remove.contains("pg_ctl"), "{would_remove}");
    std::fs::write("/dev/shm/PostgreSQL.1", 0x9a50_3d32_u32.to_ne_bytes()).unwrap();
    let mut actor = Actor::start();
    actor.ask(crate::actor::Request::OpenFile { path });
    assert_eq!(cleanup(), [Value::Null, json!("pg_ctl start")], "the first is in use");
    let fields = run(["stat", "/fastdds_1"]).exits(0).stdout;
    assert!(!fields.contains("Clean-up"), "{fields}");
}
