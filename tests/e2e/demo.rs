//! `demo`: its output, what remains afterwards, and other programs as either half.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::fixtures::assert_fields;
use crate::holder::Holder;
use crate::oracle::{self, Attached};
use crate::support::{NOBODY, Running, finish, run, shmadm, shmadm_as, wait_for};

/// A short interval.
const FAST: [&str; 4] = ["--rounds", "2", "--interval", "20ms"];
/// An interval in which both halves attach before the first one finishes, even on a busy machine.
const ORDERLY: [&str; 4] = ["--rounds", "1", "--interval", "2s"];
/// The keys of every event.
const KEYS: [&str; 10] = ["schema", "event", "step", "role", "pid", "call", "result", "value", "text", "segment"];

#[apply(test)]
fn reports_each_step_and_leaves_nothing() {
    let ran = run(["demo"].iter().chain(&ORDERLY)).exits(0);
    assert_eq!(ran.stderr, "", "{ran:?}");
    let mut rest = ran.stdout.as_str();
    for report in [
        "1. create",
        "shmget(0x000004d2, 4096, IPC_CREAT|IPC_EXCL|0600) = ",
        "nattch 0",
        "2. attach",
        "shmat(",
        "nattch 2",
        "3. use",
        "4. detach",
        "shmdt(0x",
        "nattch 0",
        "kernel.shm_rmid_forced",
        "5. destroy",
        "IPC_RMID, NULL) = 0",
        "-1 EINVAL",
    ] {
        rest = rest.split_once(report).unwrap_or_else(|| panic!("lacks {report:?} or has it too early: {ran:#?}")).1;
    }
    assert!(ran.stdout.contains("SHM_RDONLY"), "the reader only reads: {ran:?}");
    let words = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(" Its creator (cpid) is a helper process of the demo, "), "{words}");
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn json_events_are_one_per_line() {
    let ran = run(["demo", "--json"].iter().chain(&ORDERLY)).exits(0);
    let events: Vec<Value> = ran.stdout.lines().map(event).collect();
    let with = |name: &str, value: &str| events.iter().filter(|event| event[name] == value).collect::<Vec<_>>();
    for step in ["create", "attach", "use", "detach", "destroy"] {
        assert!(!with("step", step).is_empty(), "no event of {step}: {ran:#?}");
    }
    let writes: Vec<_> = with("event", "use").into_iter().filter(|event| event["role"] == "writer").collect();
    let reads: Vec<_> = with("event", "use").into_iter().filter(|event| event["role"] == "reader").collect();
    assert_eq!((writes.len(), reads.len()), (1, 1));
    let values: Vec<_> = writes.iter().map(|event| &event["value"]).collect();
    for read in reads {
        // The read may have come early, while the memory was still zero.
        assert!(read["value"] == 0 || values.contains(&&read["value"]), "{read}");
    }
    let mut pids: Vec<_> = events.iter().map(|event| event["pid"].as_i64().unwrap()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 3, "a demo, a writer and a reader are three processes");
    for (shown, nattch) in with("event", "stat").iter().zip([0, 2, 0]) {
        let segment = &shown["segment"];
        assert_fields(segment, json!({ "key": "0x000004d2", "nattch": nattch }));
    }
    assert_eq!(with("event", "stat").len(), 3);
    let call = |name: &str| {
        with("event", "call").iter().filter(|event| event["call"].as_str().unwrap().starts_with(name)).count()
    };
    assert_eq!((call("shmat("), call("shmdt("), call("shmctl(")), (2, 2, 2), "{ran:#?}");
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn an_existing_segment_with_the_default_key_is_not_touched() {
    oracle::create(1234, 4096, 0o600);
    let before = oracle::rows();
    let ran = run(["demo"].iter().chain(&FAST)).exits(0);
    assert!(ran.stdout.contains("-1 EEXIST") && ran.stdout.contains("A segment with key"), "{ran:#?}");
    assert_eq!(oracle::rows(), before, "the segment is unchanged, and the demo's is removed");
}

#[apply(test)]
fn a_given_key_that_exists_is_refused() {
    oracle::create(1234, 4096, 0o600);
    let before = oracle::rows();
    let ran = run(["demo", "--key", "1234"].iter().chain(&FAST)).exits(6).prints_nothing();
    assert!(ran.stderr.contains("0x000004d2"), "{ran:?}");
    assert_eq!(oracle::rows(), before);
    run(["demo", "--key", "0x77"].iter().chain(&FAST)).exits(0);
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn a_random_key_or_no_rounds_is_a_usage_error() {
    run(["demo", "--key", "random"]).exits(2).prints_nothing();
    run(["demo", "--rounds", "0"]).exits(2).prints_nothing();
}

#[apply(test)]
fn global_options_are_accepted_anywhere() {
    for arguments in [["demo", "--json", "writer"], ["--json", "demo", "writer"], ["demo", "writer", "--json"]] {
        let ran = run(arguments.iter().chain(&FAST)).exits(0);
        assert!(ran.stdout.lines().all(|line| line.starts_with("{\"schema\":1,")), "{ran:?}");
    }
    for own in [["--rounds", "1"], ["--key", "7"], ["--interval", "1ms"]] {
        run(["demo"].iter().chain(&own).chain(&["writer"]))
            .exits(2)
            .prints_nothing()
            .says("must follow the word `writer` or `reader`");
    }
    run(["demo", "--keep", "reader"]).exits(2).prints_nothing();
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn keep_keeps_the_segment() {
    let ran = run(["demo", "--keep"].iter().chain(&FAST)).exits(0);
    let rows = oracle::rows();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.get("key"), row.get("nattch"), row.get("size"), row.get("perms")), ("1234", "0", "4096", "600"));
    assert!(ran.stdout.contains(&format!("shmadm rm {}", row.get("shmid"))), "{ran:?}");
    let contents = oracle::contents(row.get("shmid").parse().unwrap());
    assert!((0..=999).contains(&integer(&contents)));
}

#[apply(test)]
#[requires(Root)]
fn keep_is_refused_where_the_segment_would_be_destroyed() {
    crate::fixtures::sysctl("shm_rmid_forced", 1);
    run(["demo", "--keep"].iter().chain(&FAST)).exits(5).prints_nothing().says("kernel.shm_rmid_forced is 1");
    run(["demo"].iter().chain(&FAST)).exits(0);
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn signals_leave_neither_segment_nor_process() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGALRM, Signal::SIGUSR1] {
        interrupt(signal);
    }
}

#[apply(test)]
fn the_writer_works_with_any_reader() {
    for (mode, before) in [(0o600, 0), (0o666, 999), (0o640, 5)] {
        let id = oracle::create(1234, oracle::page_size(), mode);
        Attached::new(id).write(0, &i32::to_ne_bytes(before));
        let mut reader = Actor::start();
        reader.attach(id);
        let ran = run(["demo", "writer", "--json"].iter().chain(&FAST)).exits(0);
        let events: Vec<Value> = ran.stdout.lines().map(event).collect();
        let last = events.iter().rfind(|event| event["event"] == "use").unwrap();
        let row = oracle::row(id).unwrap_or_else(|| panic!("it was not the writer's to remove"));
        assert_eq!((row.get("nattch"), row.get("perms")), ("1", format!("{mode:o}").as_str()));
        let contents = Attached::new(id).bytes();
        assert!((0..=999).contains(&integer(&contents)), "{mode:o}");
        assert_eq!(last["value"], integer(&contents));
        assert!(contents[4..].iter().all(|byte| *byte == 0));
        drop(reader);
        oracle::remove(id);
    }
}

#[apply(test)]
fn the_writer_refuses_a_segment_of_another_size() {
    for size in [1, 4, oracle::page_size() - 1, oracle::page_size() + 1, 2 * oracle::page_size()] {
        let id = oracle::create(1234, size, 0o600);
        let before = oracle::rows();
        let cause = format!("its size is {size}, not one page");
        run(["demo", "writer"].iter().chain(&FAST)).exits(5).says(&cause).says("hint: ");
        assert_eq!(oracle::rows(), before, "it was attached");
        // The reader accepts any segment that can hold an integer.
        if size >= 4 {
            run(["demo", "reader"].iter().chain(&FAST)).exits(0);
        }
        oracle::remove(id);
    }
}

#[apply(test)]
fn the_writer_refuses_a_page_with_other_contents() {
    let last = oracle::page_size() - 1;
    for (offset, bytes, cause) in [
        (0, &(-1_i32).to_ne_bytes()[..], "the integer at offset 0 is -1"),
        (0, &1000_i32.to_ne_bytes(), "the integer at offset 0 is 1000"),
        (4, b"not yours", "byte 4 is 0x6e"),
        (last, &[1], &format!("byte {last} is 0x01")),
    ] {
        let id = oracle::create(1234, oracle::page_size(), 0o600);
        Attached::new(id).write(offset, bytes);
        let before = oracle::contents(id);
        run(["demo", "writer"].iter().chain(&FAST)).exits(5).says(cause).says("hint: ");
        assert_eq!(oracle::contents(id), before, "{cause}");
        assert_eq!(oracle::nattch(id), 0, "{cause}");
        run(["demo", "reader"].iter().chain(&FAST)).exits(0);
        oracle::remove(id);
    }
}

#[apply(test)]
#[requires(Root)]
fn the_writer_refuses_a_page_that_another_user_has_attached() {
    let id = oracle::create(1234, oracle::page_size(), 0o666);
    let mut other = Actor::spawn(Command::new("/proc/self/exe").uid(NOBODY).gid(NOBODY));
    other.attach(id);
    let ran = run(["demo", "writer"].iter().chain(&FAST)).exits(5);
    ran.says(&format!("cause: attached by pid {} (nobody, ", other.pid())).says("hint: ");
    assert_eq!(integer(&oracle::contents(id)), 0);
}

#[apply(test)]
fn the_hints_of_a_refused_writer_work() {
    oracle::create(1234, 2 * oracle::page_size(), 0o600);
    let before = oracle::rows();
    for (options, kept) in [
        (&["--rounds", "1", "--interval", "20ms"][..], "--rounds 1 --interval 20ms"),
        (&["--key", "0x4d2", "--interval", "0s", "--rounds", "2", "--json"], "--interval 0s --rounds 2 --json"),
    ] {
        let ran = run(["demo", "writer"].iter().chain(options)).exits(5);
        let start = format!("`shmadm demo writer {kept} --key 0x");
        let hint = ran.stderr.split_once(&start).unwrap_or_else(|| panic!("{ran:?}")).1;
        let line = format!("demo writer {kept} --key 0x{}", hint.split_once('`').unwrap().0);
        run(line.split(' ')).exits(0);
        assert_eq!(oracle::rows(), before);
    }
}

#[apply(test)]
fn the_reader_works_with_any_writer() {
    let id = oracle::create(1234, 4096, 0o640);
    Attached::new(id).write(0, &523_i32.to_ne_bytes());
    let ran = run(["demo", "reader", "--json"].iter().chain(&FAST)).exits(0);
    let values: Vec<i64> = ran.stdout.lines().map(event).filter_map(|event| event["value"].as_i64()).collect();
    assert_eq!(values, [523, 523]);
    let ran = run(["demo", "reader"].iter().chain(&FAST)).exits(0);
    assert_eq!(ran.stdout.matches("is 523").count(), 2, "{ran:?}");
    let row = oracle::row(id).unwrap_or_else(|| panic!("it was not the reader's to remove"));
    assert_eq!((row.get("nattch"), row.get("perms")), ("0", "640"));
    assert_eq!(integer(&oracle::contents(id)), 523);
}

#[apply(test)]
#[requires(Root)]
fn other_users_read_and_write_as_the_mode_permits() {
    let id = oracle::create(1234, 4096, 0o644);
    Attached::new(id).write(0, &77_i32.to_ne_bytes());
    let ran = finish(shmadm_as(NOBODY).args(["demo", "reader"]).args(FAST)).exits(0);
    assert_eq!(ran.stdout.matches("is 77").count(), 2, "{ran:?}");
    finish(shmadm_as(NOBODY).args(["demo", "writer"]).args(FAST)).exits(4).says("EACCES");
    oracle::set(id, 0, 0, 0o666);
    finish(shmadm_as(NOBODY).args(["demo", "writer"]).args(FAST)).exits(0);
    assert!(oracle::row(id).is_some());
}

#[apply(test)]
fn the_half_that_starts_first_creates_and_removes() {
    for role in ["writer", "reader"] {
        let mut command = shmadm();
        let child = Running(command.args(["demo", role, "--interval", "5ms"]).stdout(Stdio::null()).spawn().unwrap());
        wait_for("the segment to be attached", || oracle::rows().iter().any(|row| row.get("nattch") == "1"));
        let row = &oracle::rows()[0];
        assert_eq!((row.get("key"), row.get("size"), row.get("perms")), ("1234", "4096", "600"));
        // The other half opens it and does not remove it.
        let other = if role == "writer" { "reader" } else { "writer" };
        run(["demo", other].iter().chain(&FAST)).exits(0);
        assert_eq!(oracle::rows()[0].get("shmid"), row.get("shmid"));
        assert_eq!(oracle::rows().len(), 1);
        let mut child = child;
        kill(child.pid(), Signal::SIGINT).unwrap();
        assert_eq!(child.0.wait().unwrap().code(), Some(0), "Ctrl-C is the normal end");
        assert_eq!(oracle::rows(), []);
    }
}

#[apply(test)]
fn a_process_keeps_the_segment_of_a_demo_that_ended() {
    for demo in [&["demo", "--rounds", "100000"][..], &["demo", "writer"]] {
        let mut demo = Running(shmadm().args(demo).stdout(Stdio::null()).spawn().unwrap());
        wait_for("the segment to be attached", || oracle::rows().iter().any(|row| row.get("nattch") != "0"));
        let holder = Holder::new(run(["attach", "0x4d2", "--background"]).exits(0).stdout.trim().parse().unwrap());
        kill(demo.pid(), Signal::SIGINT).unwrap();
        demo.0.wait().unwrap();
        let row = &oracle::rows()[0];
        assert_eq!((row.get("nattch"), row.get("key")), ("1", "0"), "marked, and attached by the holder");
        assert!(holder.is_running());
        drop(holder);
        wait_for("the end of the segment", || oracle::rows().is_empty());
    }
}

/// Reads the integer at offset 0.
fn integer(contents: &[u8]) -> i32 {
    i32::from_ne_bytes(contents[..4].try_into().unwrap())
}

/// Parses an event and checks that it has exactly the expected keys.
#[track_caller]
fn event(line: &str) -> Value {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let object = event.as_object().unwrap();
    assert!(KEYS.iter().all(|key| object.contains_key(*key)) && object.len() == KEYS.len(), "{line}");
    assert_eq!(event["schema"], 1);
    assert!(["call", "use", "stat", "note"].iter().any(|kind| event["event"] == *kind), "{line}");
    assert!(["demo", "writer", "reader"].iter().any(|role| event["role"] == *role), "{line}");
    event
}

/// Sends a signal to the demo only, not to its halves, once it has reported the first use.
fn interrupt(signal: Signal) {
    let mut command = shmadm();
    command.args(["demo", "--json", "--rounds", "100000", "--interval", "10ms"]).stdout(Stdio::piped());
    let mut child = Running(command.stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut pids = Vec::new();
    for line in lines.by_ref() {
        let event = event(&line.unwrap());
        if event["role"] != "demo" {
            pids.push(i32::try_from(event["pid"].as_i64().unwrap()).unwrap());
        }
        if event["event"] == "use" {
            break;
        }
    }
    assert_eq!(oracle::rows().len(), 1);
    kill(child.pid(), signal).unwrap();
    // Until the end, so that none of them is left waiting.
    lines.for_each(|line| drop(line.unwrap()));
    let ran = std::os::unix::process::ExitStatusExt::signal(&child.0.wait().unwrap());
    assert_eq!(ran, Some(signal as i32), "a waiting shell must see it");
    assert_eq!(oracle::rows(), []);
    for pid in pids {
        assert_eq!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH), "pid {pid} was left behind by {signal}");
    }
}
