//! `metrics`: the exported values, compared with the kernel's table.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use nix::libc;
use nix::sys::signal::Signal;

use crate::actor::Actor;
use crate::fixtures::{file_names, sysctl, sysctl_value};
use crate::oracle::{self, Attached};
use crate::support::{NOBODY, finish, is_root, mount_tmpfs, reachable_copy, run, shmadm, shmadm_as};
use crate::vanish::Stopped;

/// Values as written, by name and labels.
type Values = BTreeMap<String, f64>;

/// Parses metrics by the rules that both parsers share; every metric must be described before its first value.
#[track_caller]
fn parsed(text: &str) -> Values {
    let mut values = Values::new();
    let mut described: BTreeMap<String, [bool; 3]> = BTreeMap::new();
    let text = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end: {text}"));
    for line in text.lines() {
        if let Some(description) = line.strip_prefix("# ") {
            let [kind, name, rest] = description.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
            let known = described.entry(name.to_owned()).or_default();
            match kind {
                "HELP" => known[0] = !rest.is_empty(),
                "TYPE" => known[1] = rest == "gauge",
                "UNIT" => known[2] = name.ends_with(&format!("_{rest}")),
                other => panic!("{other}: {line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let [help, kind, unit] = described[name];
        assert!(help && kind && unit == name.ends_with("_bytes"), "{name} is not described: {text}");
        assert!(values.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} occurs twice");
    }
    values
}

/// Runs the program and parses the metrics that it prints.
#[track_caller]
fn metrics(arguments: &[&str]) -> Values {
    let ran = run([&["metrics"], arguments].concat()).exits(0);
    assert_eq!(ran.stderr, "");
    parsed(&ran.stdout)
}

/// Returns the value of a series.
#[track_caller]
fn value(values: &Values, name: &str, labels: &str) -> f64 {
    let series = format!("shmadm_sysv_{name}{{{labels}}}");
    *values.get(&series).unwrap_or_else(|| panic!("no {series} in {values:#?}"))
}

/// Returns the labels of an owner in this test's namespace.
fn of(owner: &str) -> String {
    format!("ns=\"{}\",owner=\"{owner}\"", oracle::namespace())
}

/// Returns the label for the user who runs the tests.
fn me() -> String {
    let uid = nix::unistd::geteuid();
    nix::unistd::User::from_uid(uid).unwrap().map_or_else(|| uid.to_string(), |user| user.name)
}

/// Asserts that the sums of an owner match the kernel's rows.
#[track_caller]
fn agrees(values: &Values, owner: &str, uid: u32) {
    let rows: Vec<_> = oracle::rows().into_iter().filter(|row| row.get("uid") == uid.to_string()).collect();
    let sum = |field: &str| rows.iter().map(|row| row.get(field).parse::<f64>().unwrap()).sum::<f64>();
    let pages = rows.iter().map(|row| (row.get("size").parse::<f64>().unwrap() / 4096.0).ceil()).sum::<f64>();
    let dest = rows.iter().filter(|row| u32::from_str_radix(row.get("perms"), 8).unwrap() & 0o1000 != 0).count();
    #[expect(clippy::cast_precision_loss, reason = "a test has few segments")]
    for (name, expected) in [
        ("segments", rows.len() as f64),
        ("pages", pages),
        ("size_bytes", sum("size")),
        ("resident_bytes", sum("rss")),
        ("swapped_bytes", sum("swap")),
        ("dest", dest as f64),
        ("attachments", sum("nattch")),
    ] {
        assert_eq!(value(values, name, &of(owner)), expected, "{name} of {owner}");
    }
}

#[apply(test)]
fn the_sums_match_the_kernel() {
    oracle::create(0x4d2, 3 * 4096 + 1, 0);
    oracle::create(0, 1 << 44, 0o600 | libc::SHM_NORESERVE);
    let dest = oracle::create(0x8000_0000, 100, 0o600);
    let attached = [Attached::new(dest), Attached::new(dest)];
    oracle::remove(dest);
    attached[0].write(0, b"x");
    for size in ["4097", "1M"] {
        run(["create", "--size", size, "-q"]).exits(0);
    }
    let values = metrics(&[]);
    agrees(&values, &me(), nix::unistd::geteuid().as_raw());
    assert_eq!(value(&values, "orphans", &of(&me())), 2.0);
    assert_eq!(value(&values, "orphan_bytes", &of(&me())), f64::from((1 << 20) + 4097));
    for (name, file) in [
        ("limit_segments", "shmmni"),
        ("limit_pages", "shmall"),
        ("limit_segment_size_bytes", "shmmax"),
        ("rmid_forced", "shm_rmid_forced"),
    ] {
        let ns = format!("ns=\"{}\"", oracle::namespace());
        assert_eq!(value(&values, name, &ns), sysctl_value(file).parse::<f64>().unwrap(), "{name}");
    }
    assert_eq!(values[&format!("shmadm_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))], 1.0);
    assert_eq!(values["shmadm_sysv_page_size_bytes"], 4096.0);
    // Segments never become labels: each would be a permanent series.
    assert!(!values.keys().any(|series| series.contains("key=") || series.contains("id=")), "{values:#?}");
}

#[apply(test)]
fn root_has_values_before_the_first_segment() {
    let values = metrics(&[]);
    agrees(&values, "root", 0);
    assert_eq!(value(&values, "segments", &of("root")), 0.0);
    assert_eq!(value(&values, "orphan_bytes", &of("root")), 0.0);
}

#[apply(test)]
#[requires(Root)]
fn owners_have_separate_values_and_may_have_no_name() {
    for (number, owner) in [0, 0, NOBODY, 4_000_000_000].into_iter().enumerate() {
        let id = oracle::create(0, 4096 * (number + 1), 0o600);
        oracle::set(id, owner, 0, 0o600);
    }
    let values = metrics(&[]);
    for (name, uid) in [("root", 0), ("nobody", NOBODY), ("4000000000", 4_000_000_000)] {
        agrees(&values, name, uid);
    }
    let ran = finish(shmadm_as(NOBODY).arg("metrics")).exits(0);
    assert_eq!(parsed(&ran.stdout), values, "no privilege is required");
}

#[apply(test)]
fn a_closed_pipe_is_not_an_error_and_a_full_disk_is() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(finish(shmadm().arg("metrics").stdout(writer)).exits(0).stderr, "");
    let full = File::options().write(true).open("/dev/full").unwrap();
    finish(shmadm().arg("metrics").stdout(full)).exits(1).says("cannot write to standard output");
}

#[apply(test)]
fn there_is_one_format() {
    for form in ["json", "csv", "tsv"] {
        let ran = run(["metrics", "--format", form]).exits(2);
        assert!(!ran.stdout.contains("# HELP"), "{ran:?}");
    }
    run(["metrics", "--json"]).exits(2).says("`shmadm limits --json`");
}

#[apply(test)]
fn output_replaces_the_file_atomically_and_is_world_readable() {
    oracle::create(0, 4096, 0o600);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shmadm.prom");
    let write = |umask: &str| {
        let line = format!("umask {umask}; exec \"$0\" metrics --output \"$1\"");
        let mut command = Command::new("sh");
        command.args(["-c", &line, env!("CARGO_BIN_EXE_shmadm")]).arg(&path);
        finish(&mut command).exits(0).prints_nothing().says("wrote metrics to ")
    };
    write("077");
    let first = std::fs::metadata(&path).unwrap();
    assert_eq!(first.mode() & 0o7777, 0o644);
    agrees(&parsed(&std::fs::read_to_string(&path).unwrap()), &me(), nix::unistd::geteuid().as_raw());
    // An open reader continues with the old contents.
    let mut reader = File::open(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    oracle::create(0, 4096, 0o600);
    write("000");
    let second = std::fs::metadata(&path).unwrap();
    assert_ne!(second.ino(), first.ino());
    assert_eq!(second.mode() & 0o7777, 0o644);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(value(&parsed(&text), "segments", &of(&me())), 1.0);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(value(&parsed(&text), "segments", &of(&me())), 2.0);
    assert_eq!(file_names(directory.path()), ["shmadm.prom"]);
    let ran = run(["metrics", "--output", "-"]).exits(0);
    assert_eq!(parsed(&ran.stdout), parsed(&text));
}

#[apply(test)]
fn output_does_not_replace_what_is_not_a_regular_file() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    symlink("/dev/null", &link).unwrap();
    for (path, says) in [
        (Path::new("/dev/null"), "it is not a regular file"),
        (&link, "it is a symbolic link"),
        (directory.path(), "it is a directory"),
        (&directory.path().join("missing/"), "its name is that of a directory"),
        (&directory.path().join("missing/.."), "its name is that of a directory"),
    ] {
        let ran = finish(shmadm().args(["metrics", "-o"]).arg(path)).exits(5).prints_nothing().says(says);
        assert!(!ran.stderr.contains("hint: "), "{ran:?}");
    }
    let missing = directory.path().join("missing/shmadm.prom");
    finish(shmadm().args(["metrics", "-o"]).arg(missing)).exits(1).says("(ENOENT, open)");
    assert_eq!(file_names(directory.path()), ["link"]);
    assert!(std::fs::symlink_metadata(link).unwrap().is_symlink());
}

#[apply(test)]
fn output_to_a_pipe_suggests_standard_output() {
    oracle::create(1, 4096, 0o600);
    for path in ["/dev/fd/3", "/proc/self/fd/3"] {
        for (command, hint) in
            [(&["metrics"][..], "shmadm metrics --output -"), (&["dump", "0x1"], "shmadm dump 0x1 --output -")]
        {
            let ran = finish(
                Command::new("/bin/sh")
                    .args(["-c", "exec \"$@\" 3>&1", "sh"])
                    .arg(reachable_copy())
                    .args(command)
                    .args(["-o", path]),
            );
            let ran = ran.exits(5).prints_nothing().says("it is a symbolic link\n");
            let hints: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("hint: ")).collect();
            assert_eq!(hints, [format!("hint: write to standard output: `{hint}`")], "{ran:?}");
        }
    }
}

#[apply(test)]
#[requires(Root)]
fn output_without_write_permission_is_an_error() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = directory.path().join("shmadm.prom");
    finish(shmadm_as(NOBODY).args(["metrics", "-o"]).arg(&path)).exits(4).says("(EACCES, open)");
    assert_eq!(file_names(directory.path()), Vec::<String>::new());
}

#[apply(test)]
#[requires(Root)]
fn a_full_disk_keeps_the_previous_file() {
    // Enough space for one file, not for a second one.
    mount_tmpfs(Some("size=8k"));
    run(["metrics", "-o", "/mnt/shmadm.prom"]).exits(0);
    let before = std::fs::read_to_string("/mnt/shmadm.prom").unwrap();
    run(["metrics", "-o", "/mnt/shmadm.prom"]).exits(1).says("(ENOSPC, write)").prints_nothing();
    assert_eq!(std::fs::read_to_string("/mnt/shmadm.prom").unwrap(), before);
    assert_eq!(file_names(Path::new("/mnt")), ["shmadm.prom"]);
}

#[apply(test)]
fn an_interrupted_write_keeps_the_previous_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shmadm.prom").to_string_lossy().into_owned();
    std::fs::write(&path, "earlier").unwrap();
    let stopped = Stopped::before(1, |call| call.number == libc::SYS_fchmod, &["metrics", "--output", &path]);
    stopped.signal(Signal::SIGTERM);
    assert_eq!(stopped.go_on().signal, Some(libc::SIGTERM));
    assert_eq!(file_names(directory.path()), ["shmadm.prom"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "earlier");
}

#[apply(test)]
#[requires(Root)]
fn metrics_of_another_namespace_and_of_all_agree_with_the_kernel() {
    sysctl("shmmni", 77);
    oracle::create(0, 100, 0o600);
    let mut actors: Vec<(Actor, u64)> = (1..4_i32)
        .map(|count| {
            let mut actor = Actor::start();
            actor.unshare();
            let ns = actor.namespace();
            (0..count).for_each(|id| assert_eq!(actor.create(0, 4096), id));
            (actor, ns)
        })
        .collect();
    actors[1].0.attach(0);
    let all = parsed(&run(["metrics", "--all-ns"]).exits(0).stdout);
    let here = oracle::namespace();
    agrees(&all, "root", 0);
    assert_eq!(value(&all, "limit_segments", &format!("ns=\"{here}\"")), 77.0);
    for (count, (actor, ns)) in (1..4_i32).zip(&actors) {
        let labels = format!("ns=\"{ns}\",owner=\"root\"");
        assert_eq!(value(&all, "segments", &labels), f64::from(count));
        assert_eq!(value(&all, "pages", &labels), f64::from(count));
        assert_eq!(value(&all, "attachments", &labels), f64::from(count == 2));
        assert_eq!(value(&all, "limit_segments", &format!("ns=\"{ns}\"")), 4096.0);
        assert!(all.keys().any(|series| series.starts_with(&format!("shmadm_sysv_namespace_info{{ns=\"{ns}\","))));
        let alone = metrics(&["--ns", &actor.pid().to_string()]);
        assert_eq!(value(&alone, "segments", &labels), f64::from(count));
        assert!(!alone.keys().any(|series| series.contains(&here.to_string())), "{alone:#?}");
    }
    run(["metrics", "--all-ns", "--ns", "1"]).exits(2).says("cannot be combined");
}

#[apply(test)]
#[requires(Root)]
fn metrics_of_an_owned_user_namespace_come_through_a_child() {
    let mut command = Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::uid(&mut command, NOBODY).current_dir("/");
    let mut actor = Actor::spawn(&mut command);
    actor.unshare_user();
    let ns: u64 = actor.namespace();
    actor.create(0, 5000);
    let ran = finish(shmadm_as(NOBODY).args(["metrics", "--all-ns"])).exits(0);
    let values = parsed(&ran.says("cannot determine the IPC namespace of").stdout);
    let labels = format!("ns=\"{ns}\",owner=\"nobody\"");
    assert_eq!((value(&values, "segments", &labels), value(&values, "pages", &labels)), (1.0, 2.0));
    assert_eq!(value(&values, "limit_segments", &format!("ns=\"{ns}\"")), 4096.0);
}

#[apply(test)]
fn metrics_without_privilege_cover_the_callers_namespace() {
    oracle::create(0, 4096, 0o600);
    let ran = run(["metrics", "--all-ns"]).exits(0);
    agrees(&parsed(&ran.stdout), &me(), nix::unistd::geteuid().as_raw());
    assert!(is_root() || ran.stderr.contains("warning: "), "{ran:?}");
}
