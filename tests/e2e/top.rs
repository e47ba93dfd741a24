//! `top`: what `usage` shows, again and again. Other processes of the machine change the sums meanwhile, so that what a
//! test created is looked for, and not the sums.

mod screen;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::actor::{Actor, Request};
use crate::fixtures::{assert_fields, process_status};
use crate::oracle::{self, Attached};
use crate::sandbox::ShownProcesses;
use crate::support::{PATIENCE, Running, finish, mount_tmpfs_on, run, shmadm};
use crate::terminal::{on_terminal, open_terminal};

const MIB: usize = 1 << 20;

/// Creates an object, larger than what others have here.
fn create_object(path: &str, size: usize) {
    std::fs::write(path, vec![1; size]).unwrap();
}

/// Returns the object of a report that a user would name so.
#[track_caller]
fn find(report: &Value, target: &str) -> Value {
    let largest = report["largest"].as_array().unwrap();
    let found = largest.iter().find(|object| object["target"] == target);
    found.unwrap_or_else(|| panic!("{target} is not in {report}")).clone()
}

#[apply(test)]
fn each_round_is_a_table_of_sources_and_one_of_the_largest_objects() {
    create_object("/dev/shm/psm_0123abcd", 64 * MIB);
    let shown = ShownProcesses::new(&[]);
    let mut command = shmadm();
    let text = finish(shown.to(command.args(["top", "--batch", "--rounds", "2", "--every", "0s"]))).exits(0).stdout;
    for heading in ["SOURCE ", "NAME "] {
        let headings = text.lines().filter(|line| line.starts_with(heading));
        assert_eq!(headings.clone().count(), 2, "{text}");
        assert!(headings.clone().all(|line| line.contains(" RSS  CHANGE/S ")), "{text}");
    }
    assert_eq!(text.lines().filter(|line| line.contains("Z: Shmem ")).count(), 2, "{text}");
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("/psm_0123abcd ")).collect();
    let words = |row: &str| row.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    let rows: Vec<_> = rows.into_iter().map(words).collect();
    assert!(rows.iter().all(|row| row.contains(&"64M".to_owned())), "{text}");
    assert!(rows.iter().all(|row| row.contains(&"python-shared-memory".to_owned())), "{text}");
    assert!(rows[0].contains(&"-".to_owned()) && rows[1].contains(&"0".to_owned()), "{text}");
}

#[apply(test)]
#[requires(Root)]
fn objects_of_each_kind_are_in_the_json_of_a_round() {
    create_object("/dev/shm/x", 70 * MIB);
    let id = oracle::create(0, 50 * MIB, 0o600);
    Attached::new(id).write(0, &vec![1; 50 * MIB]);
    let mut actor = Actor::start();
    create_object("/dev/shm/gone", 40 * MIB);
    let inode = std::fs::metadata("/dev/shm/gone").unwrap().ino();
    actor.ask(Request::OpenFile { path: "/dev/shm/gone".to_owned() });
    std::fs::remove_file("/dev/shm/gone").unwrap();
    actor.ask(Request::HoldMemfd { size: 60 * MIB, mapped: false });
    let shown = ShownProcesses::new(&[actor.pid()]);
    for by in ["source", "user"] {
        let mut command = shmadm();
        let report = finish(shown.to(command.args(["top", "--json", "--rounds", "1", "--by", by]))).exits(0).json();
        let expected = json!({ "source": "devshm", "ns": null, "rss": 70 * MIB, "size": 70 * MIB, "change": null });
        assert_fields(&find(&report, "/x"), expected);
        let segment = find(&report, &id.to_string());
        assert_fields(&segment, json!({ "source": "sysv", "rss": 50 * MIB, "size": 50 * MIB }));
        assert!(segment["ns"].is_u64(), "{segment}");
        let largest = report["largest"].as_array().unwrap();
        let sizes: Vec<_> = largest.iter().map(|object| object["rss"].as_u64().unwrap()).collect();
        assert!(sizes.is_sorted_by(|one, next| one >= next), "{sizes:?}");
        let memfd = |object: &&Value| object["source"] == "memfd" && object["rss"] == 60 * MIB;
        assert_eq!(largest.iter().filter(memfd).count(), 1, "{report}");
        let unlinked = largest.iter().find(|object| object["source"] == "unlinked").unwrap();
        assert!(unlinked["target"].as_str().unwrap().ends_with(&format!(":{inode}")), "{unlinked}");
        assert_fields(unlinked, json!({ "rss": 40 * MIB }));
        assert_eq!(report["groups"].as_array().unwrap().is_empty(), by == "source");
    }
}

#[apply(test)]
#[requires(Root)]
fn objects_of_other_mount_namespaces_are_shown_with_their_namespace() {
    let in_new_namespace = || {
        mount_tmpfs_on("/dev/shm", None);
        create_object("/dev/shm/psm_0123abcd", 64 * MIB);
        let mut actor = Actor::start();
        actor.ask(Request::OpenFile { path: "/dev/shm/psm_0123abcd".to_owned() });
        actor
    };
    let actor = std::thread::scope(|scope| scope.spawn(in_new_namespace).join().unwrap());
    create_object("/dev/shm/psm_0123abcd", 4096);
    let namespace = std::fs::metadata(format!("/proc/{}/ns/mnt", actor.pid())).unwrap().ino();
    for by in ["source", "process"] {
        let shown = ShownProcesses::new(&[actor.pid()]);
        let mut command = shmadm();
        let report = finish(shown.to(command.args(["top", "--json", "--rounds", "1", "--by", by]))).exits(0).json();
        let expected = json!({ "target": "/psm_0123abcd", "ns": namespace, "source": "container", "rss": 64 * MIB,
                               "product": "python-shared-memory" });
        assert_fields(&report["largest"][0], expected);
        assert_fields(&report["largest"][1], json!({ "target": "/psm_0123abcd", "ns": null, "source": "devshm" }));
    }
    let mut command = shmadm();
    command.arg("top");
    let mut top = screen::Top::of(command, Some(&[actor.pid()]), 100, 30);
    top.shows(&namespace.to_string());
    top.press("w");
    top.shows(&format!(" {} ", actor.pid()));
    top.press("q");
}

/// A running `top --json`, whose rounds are read one by one.
struct Rounds {
    running: Running,
    _shown: ShownProcesses,
    output: BufReader<std::process::ChildStdout>,
}

impl Rounds {
    fn start(arguments: &[&str]) -> Self {
        let mut command = shmadm();
        command.args(["top", "--json"]).args(arguments).stdout(Stdio::piped());
        let shown = ShownProcesses::new(&[]);
        let mut running = Running(shown.to(&mut command).spawn().unwrap());
        let output = BufReader::new(running.0.stdout.take().unwrap());
        Self { running, _shown: shown, output }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

#[apply(test)]
fn changes_are_bytes_per_second_since_the_previous_round() {
    let start = Instant::now();
    let mut rounds = Rounds::start(&["--every", "100ms"]);
    let first = rounds.next();
    assert_fields(&first, json!({ "schema": 1, "round": 1, "change": null }));
    create_object("/dev/shm/x", 64 * MIB);
    let mut previous = first;
    let changed = loop {
        let round = rounds.next();
        if round["largest"].as_array().unwrap().iter().any(|object| object["target"] == "/x" && object["rss"] != 0) {
            break round;
        }
        previous = round;
        assert!(start.elapsed() < PATIENCE, "{previous}");
    };
    assert_eq!(changed["round"].as_u64().unwrap(), previous["round"].as_u64().unwrap() + 1);
    // It may be found while it grows.
    let object = find(&changed, "/x");
    let (rss, change) = (object["rss"].as_i64().unwrap(), object["change"].as_i64().unwrap());
    let interval = rss * 1000 / change;
    let elapsed = i64::try_from(start.elapsed().as_millis()).unwrap();
    assert!((100..=elapsed).contains(&interval), "{rss} bytes, {change} per second, after {elapsed} ms");
    let rounds_before = u32::try_from(changed["round"].as_u64().unwrap() - 1).unwrap();
    assert!(start.elapsed() >= rounds_before * Duration::from_millis(100), "{changed}");
    let [source, source_before] = [&changed, &previous].map(|round| &round["sources"][0]);
    assert_eq!((&source["source"], &source_before["source"]), (&json!("devshm"), &json!("devshm")));
    let growth = source["rss"].as_i64().unwrap() - source_before["rss"].as_i64().unwrap();
    let expected = growth * 1000 / source["change"].as_i64().unwrap();
    assert!((expected - interval).abs() <= 1, "{source} {object}");
    loop {
        let round = rounds.next();
        if find(&round, "/x")["change"] == 0 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{round}");
    }
}

#[apply(test)]
fn scanning_takes_at_most_a_fifth_of_the_time() {
    let start = Instant::now();
    let mut rounds = Rounds::start(&["--every", "0s", "--rounds", "5"]);
    let mut scans = Duration::ZERO;
    for _ in 0..5 {
        let report = rounds.next();
        let (scan, every) = (report["scan"].as_f64().unwrap(), report["every"].as_f64().unwrap());
        assert!(every >= 4.999 * scan, "{scan} {every}");
        assert!(start.elapsed() >= 5 * scans, "{scans:?} after {:?}", start.elapsed());
        scans += Duration::from_secs_f64(scan);
    }
    assert!(rounds.running.0.wait().unwrap().success());
    let text = run(["top", "--batch", "--every", "0s", "--rounds", "1"]).exits(0).stdout;
    assert!(text.contains(" instead of 0ms: a scan takes "), "{text}");
}

/// Returns the resident memory of a process in kilobytes.
fn resident(pid: nix::unistd::Pid) -> u64 {
    process_status(pid.as_raw(), "VmRSS").trim_end_matches(" kB").parse().unwrap()
}

#[apply(test)]
#[requires(Root)]
fn memory_does_not_grow_from_round_to_round() {
    (0..1000).for_each(|number| create_object(&format!("/dev/shm/{number}"), 1));
    let mut rounds = Rounds::start(&["--every", "0s", "--rounds", "61"]);
    (0..20).for_each(|_| drop(rounds.next()));
    let early = resident(rounds.running.pid());
    (20..60).for_each(|_| drop(rounds.next()));
    let late = resident(rounds.running.pid());
    assert!(late < early + 1024, "{early} kB, later {late} kB");
}

#[apply(test)]
fn without_a_terminal_a_format_is_required() {
    run(["top"]).exits(2).prints_nothing().says("requires a terminal\ncause: ").says("`shmadm top --batch`");
    let (_user, program) = open_terminal(80, 24);
    let ran = on_terminal(shmadm().arg("top").env("TERM", "dumb").stdin(program), 80).exits(2);
    ran.says("requires a terminal\ncause: TERM is dumb: ").says("`shmadm top --batch`");
    run(["top", "--batch", "--every", "1"]).exits(2).says("missing unit");
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    run(["top", "--batch", "--dir", directory.path().to_str().unwrap()]).exits(2).says("cannot be used");
    run(["top", "--batch", "--format", "csv"]).exits(2).says("csv and tsv are for");
}
