//! IPC namespaces that only a bind mount keeps alive.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::fixtures::assert_fields;
use crate::namespaces::{all_ns, elsewhere, unique_key};
use crate::oracle;
use crate::support::{NOBODY, Running, finish, run, shmadm_as};

/// Creates a segment in an IPC namespace that has no process afterwards, but a bind mount in a new mount namespace.
/// `hide` is executed there. Returns the process in that mount namespace and the number of the IPC namespace.
fn mounted(key: u32, hide: &str) -> (Running, u64) {
    let (mut actor, number) = elsewhere();
    actor.create(key, 4096);
    // The kernel escapes the space in mountinfo.
    let script = format!(
        "mount -t tmpfs none /mnt && touch '/mnt/a b' && mount --bind /proc/{}/ns/ipc '/mnt/a b' && {hide} && \
         echo ready && read line",
        actor.pid()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut keeper = Running(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(keeper.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    actor.leave();
    (keeper, number)
}

#[apply(test)]
#[requires(Root, Program(&["unshare"]))]
fn a_namespace_without_a_process_is_listed_and_entered_by_number() {
    let key = unique_key();
    let (_keeper, number) = mounted(key, "true");
    let text = format!("{key:#x}");
    let rows = all_ns(&["list", "--all-ns", "--key", &text, "--json"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_fields(&rows[0], json!({ "ns": number, "container": null }));
    let metrics = run(["metrics", "--all-ns"]).exits(0).stdout;
    assert!(metrics.contains(&format!("{{ns=\"{number}\"}}")), "{metrics}");
    for place in [number.to_string(), format!("ipc:[{number}]")] {
        run(["--ns", &place, "limits"]).exits(0);
        assert_eq!(run(["--ns", &place, "list", "--json"]).exits(0).json()["segments"][0]["ns"], number);
    }
    run(["prune", "--all-ns", "--key", &text, "--older-than", "0s", "--yes"]).exits(0);
    assert_eq!(all_ns(&["list", "--all-ns", "--key", &text, "--json"]), Vec::<serde_json::Value>::new());
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
#[requires(Root, Program(&["unshare"]))]
fn a_hidden_mount_point_is_reported_and_not_opened() {
    // Opening the FIFO, or the device that the link leads to, would block or have effects.
    for hide in ["mount -t tmpfs none /mnt && mkfifo '/mnt/a b'", "mount -t tmpfs none /mnt"] {
        let key = unique_key();
        let (_keeper, number) = mounted(key, hide);
        let ran = run(["list", "--all-ns", "--key", &format!("{key:#x}"), "--json"]).exits(0);
        let ran = ran.says(&format!("segments omitted: cannot enter the IPC namespace {number}")).says("(bind mount)");
        assert_eq!(ran.json()["segments"], json!([]));
        run(["--ns", &number.to_string(), "list"]).exits(1).says("hides the mount point");
    }
}

#[apply(test)]
#[requires(Root, Program(&["unshare"]))]
fn an_inaccessible_process_may_have_it_mounted() {
    let (_keeper, number) = mounted(unique_key(), "true");
    let ran = finish(shmadm_as(NOBODY).args(["--ns", &number.to_string(), "list"])).exits(4);
    ran.says("or has it mounted, and you are not permitted to inspect");
}
