//! `check`: the results of a monitoring plugin, compared with the kernel's numbers and the guidelines for plugins.

mod unknown;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::Resource;
use serde_json::json;

use crate::actor::Actor;
use crate::fixtures::{assert_fields, sysctl, sysctl_value};
use crate::oracle::{self, Attached};
use crate::resources::{LONER, limited};
use crate::sandbox::without;
use crate::support::{NOBODY, Ran, finish, run, shmadm, shmadm_as};

/// SHM_INFO of linux/shm.h.
const SHM_INFO: u32 = 14;

/// A value of performance data.
#[derive(Debug, PartialEq)]
struct Performance {
    /// The name of the measure.
    label: String,
    /// The value with its unit.
    value: String,
    /// The warning and critical thresholds, the minimum and the maximum.
    rest: [String; 4],
}

/// Runs a check; returns the text before the bar, and the performance data after it, parsed by the guidelines' grammar.
#[track_caller]
fn check(arguments: &[&str], code: i32) -> (String, Vec<Performance>) {
    parsed(&run([&["check"], arguments].concat()).exits(code))
}

/// Parses the line that a check prints.
#[track_caller]
fn parsed(ran: &Ran) -> (String, Vec<Performance>) {
    assert_eq!(ran.stderr, "", "{ran:?}");
    let line = ran.stdout.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "one line: {line:?}");
    let (words, data) = line.split_once(" | ").unwrap();
    assert!(!data.contains('|'), "{line}");
    let read = |one: &str| {
        let (label, value) = one.strip_prefix('\'').unwrap().split_once("'=").unwrap();
        assert!(!label.is_empty() && !label.contains(['=', '\'']), "{one}");
        let mut fields = value.split(';').map(ToOwned::to_owned);
        let value = fields.next().unwrap();
        let number = value.trim_end_matches('B');
        assert!(!number.is_empty() && number.bytes().all(|byte| b"-0123456789.".contains(&byte)), "{one}");
        let rest: Vec<String> = fields.collect();
        assert!(rest.len() <= 4 && rest.last().is_none_or(|last| !last.is_empty()), "{one}");
        for range in rest.iter().take(2) {
            assert!(range.bytes().all(|byte| b"-0123456789.@~:".contains(&byte)), "{one}");
        }
        let rest = std::array::from_fn(|place| rest.get(place).cloned().unwrap_or_default());
        Performance { label: label.to_owned(), value, rest }
    };
    (words.to_owned(), data.split(' ').map(read).collect())
}

#[apply(test)]
fn by_default_segments_and_pages_are_compared_with_their_limits() {
    oracle::create(0, 4097, 0o600);
    oracle::create(0, 1, 0);
    let (words, data) = check(&[], 0);
    let (mni, all) = (sysctl_value("shmmni"), sysctl_value("shmall"));
    assert!(words.starts_with(&format!("SHM OK: 2 of {mni} segments ")), "{words}");
    assert!(words.contains(&format!(", 3 of {all} pages (0.00%)")), "{words}");
    assert_eq!([&*data[0].label, &*data[1].label], ["segments", "pages"]);
    assert_eq!([&*data[0].value, &*data[1].value], ["2", "3"]);
    for (data, limit) in data.iter().zip([mni, all]) {
        let exact = limit.parse::<u128>().unwrap();
        let share = |percent: u128| {
            let tenths = exact * percent / 10;
            let text = format!("{}.{}", tenths / 10, tenths % 10);
            text.trim_end_matches(".0").to_owned()
        };
        assert_eq!(data.rest, [share(80), share(90), "0".to_owned(), limit]);
    }
}

#[apply(test)]
#[requires(Root)]
fn segments_near_their_limit_are_a_warning_and_at_it_critical() {
    sysctl("shmmni", 10);
    for (made, code, word) in [(8, 0, "OK"), (9, 1, "WARNING"), (10, 2, "CRITICAL")] {
        while oracle::rows().len() < made {
            oracle::create(0, 4096, 0o600);
        }
        let (words, data) = check(&[], code);
        assert!(words.starts_with(&format!("SHM {word}: {made} of 10 segments ({made}0.00%")), "{words}");
        assert_eq!((&*data[0].value, data[0].rest.join(";")), (&*made.to_string(), "8;9;0;10".to_owned()));
        let report = run(["check", "--json"]).exits(code).json();
        assert_fields(&report, json!({ "status": word, "code": code }));
        let first = &report["checks"][0];
        assert_fields(first, json!({ "value": made, "limit": 10, "warning": "80%" }));
    }
}

#[apply(test)]
#[requires(Root)]
fn pages_near_their_limit_are_a_warning_and_at_it_critical() {
    sysctl("shmall", 10);
    oracle::create(0, 8 * 4096, 0o600);
    check(&[], 0);
    // A segment of one byte occupies a page.
    oracle::create(0, 1, 0o600);
    let (words, _) = check(&[], 1);
    let first = "SHM WARNING: 9 of 10 pages (90.00%) [warning 80%], 2 of ";
    assert!(words.starts_with(first), "the worst first: {words}");
    oracle::create(0, 1, 0o600);
    check(&[], 2);
    check(&["-w", "pages=9", "-c", "pages=100%"], 1);
    check(&["-c", "pages=9"], 2);
}

#[apply(test)]
fn each_measure_matches_the_kernel() {
    let attached = Attached::new(oracle::create(0, 4096, 0o600));
    let dest = oracle::create(0x4d2, 100, 0o600);
    let kept = Attached::new(dest);
    oracle::remove(dest);
    for size in ["4097", "1M", "1M"] {
        run(["create", "--size", size, "-q"]).exits(0);
    }
    oracle::create(0, 4096, 0o600);
    let bytes = 4097 + (2 << 20);
    let all = ["-w", "segments=99", "-w", "pages=9999", "-w", "orphans=99", "-w", "orphan-bytes=1G", "-w", "dest=99"];
    let (words, data) = check(&all, 0);
    let values: Vec<_> = data.iter().map(|one| (&*one.label, one.value.clone())).collect();
    let pages: u64 = oracle::rows().iter().map(|row| row.get("size").parse::<u64>().unwrap().div_ceil(4096)).sum();
    let expected = [
        ("segments", oracle::rows().len().to_string()),
        ("pages", pages.to_string()),
        ("orphans", "3".to_owned()),
        ("orphan-bytes", format!("{bytes}B")),
        ("dest", "1".to_owned()),
    ];
    assert_eq!(values, expected);
    assert_eq!(data[3].rest.join(";"), "1073741824;;0;", "bytes have no limit");
    assert!(words.contains(", 3 orphans, 2M in orphans (2101249 bytes), 1 segment marked for destruction"), "{words}");
    // Without orphans, the numbers come from another source.
    let (_, cheap) = check(&["-w", "segments=99", "-w", "pages=9999"], 0);
    assert_eq!(cheap[..], data[..2]);
    drop((attached, kept));
}

#[apply(test)]
fn a_range_alerts_outside_and_with_an_at_sign_inside() {
    for _ in 0..3 {
        oracle::create(0, 4096, 0o600);
    }
    for (range, alerts) in [
        ("3", false),
        ("2", true),
        ("3:", false),
        ("4:", true),
        ("~:3", false),
        ("~:2", true),
        ("1:3", false),
        ("4:5", true),
        ("@1:3", true),
        ("@4:", false),
        ("0%", true),
        ("100%", false),
        ("2.999", true),
        ("@~:", true),
        ("-1:3", false),
    ] {
        let rule = format!("segments={range}");
        let (words, data) = check(&["-w", &rule], i32::from(alerts));
        assert_eq!(words.contains(&format!("[warning {range}]")), alerts, "{words}");
        assert_eq!(data.len(), 1, "only the given measures are reported: {data:?}");
        check(&["--critical", &rule], if alerts { 2 } else { 0 });
        check(&["-w", &rule, "-c", "segments=99"], i32::from(alerts));
        check(&["-w", &rule, "-c", "segments=0"], 2);
    }
    // The worst measure decides.
    check(&["-w", "segments=99", "-w", "dest=1:", "-c", "orphans=99"], 1);
    check(&["-w", "segments=0", "-c", "dest=1:"], 2);
}

#[apply(test)]
fn verbosity_adds_ranges_and_then_lines() {
    let (words, _) = check(&["-v"], 0);
    assert!(words.contains("[warning 80%, critical 90%]"), "{words}");
    let long = run(["check", "-vv"]).exits(0).stdout;
    assert_eq!(long.lines().filter(|line| line.contains('|')).count(), 1, "{long}");
    assert!(long.contains(&format!("\nkernel.shmmni={}, ", sysctl_value("shmmni"))), "{long}");
}

#[apply(test)]
#[requires(Root)]
fn checks_the_given_namespace() {
    let mut actor = Actor::start();
    actor.unshare();
    actor.create(1234, 4096);
    let pid = actor.pid().to_string();
    check(&["-c", "segments=1:"], 2);
    check(&["-c", "segments=1:", "--ns", &pid], 0);
    let ran = run(["--ns", &pid, "check", "-c", "segments=1:"]).exits(0);
    assert_eq!(parsed(&ran).1[0].value, "1");
    let ran = finish(shmadm_as(NOBODY).args(["check", "--ns", &pid])).exits(3);
    assert!(ran.stdout.starts_with("SHM UNKNOWN: cannot enter the IPC namespace of process"), "{ran:?}");
}

#[apply(test)]
#[requires(Root)]
fn segments_that_the_user_may_not_read_count() {
    oracle::create(0x4d2, 4096, 0);
    let ran = finish(shmadm_as(NOBODY).args(["check", "-c", "segments=1:", "-w", "orphans=5"])).exits(0);
    assert_eq!(parsed(&ran).1[0].value, "1");
}

#[apply(test)]
fn a_closed_pipe_leaves_the_verdict() {
    for (rule, code) in [("segments=0", 0), ("segments=1:", 1)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = finish(shmadm().args(["check", "-w", rule]).stdout(writer)).exits(code);
        assert_eq!(ran.stderr, "");
    }
}

#[apply(test)]
fn without_the_kernels_sums_the_segments_are_counted() {
    oracle::create(0, 4097, 0o600);
    let mut command = shmadm();
    let denied = without(&mut command, libc::SYS_shmctl, Some(SHM_INFO), Errno::EPERM);
    let (_, data) = parsed(&finish(denied.arg("check")).exits(0));
    assert_eq!([&*data[0].value, &*data[1].value], ["1", "2"]);
}

#[apply(test)]
#[requires(Root)]
fn without_threads_the_result_is_unknown() {
    let mut command = shmadm_as(LONER);
    finish(limited(&mut command, Resource::RLIMIT_NPROC, 1).arg("check")).exits(3).says("cannot start a thread");
}

#[apply(test)]
fn a_pipe_instead_of_a_namespace_does_not_block() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pipe = pipe.to_str().unwrap();
    run(["check", "--ns", pipe]).exits(3);
    run(["list", "--ns", pipe]).exits(1).says("is not an IPC namespace");
}

#[apply(test)]
fn other_commands_keep_their_exit_codes() {
    run(["list", "--owner", "check"]).exits(2);
    run(["stat", "check"]).exits(2);
    run(["--help"]).exits(0);
    run(["--version"]).exits(0);
}
