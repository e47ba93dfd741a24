//! /proc hides the processes of other users (mount option hidepid).

use std::process::Command;

use serde_json::{Value, json};

use crate::actor::{Actor, Request};
use crate::namespaces::elsewhere;
use crate::oracle;
use crate::support::{NOBODY, Ran, finish, reachable_copy};

/// Runs the program as another user, with its own mount of /proc.
fn with_hidepid(level: u8, arguments: &[&str]) -> Ran {
    let script = format!(
        "mount -t proc -o hidepid={level} proc /proc && \
         exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$0\" \"$@\""
    );
    let mut command = Command::new("unshare");
    finish(command.args(["--mount", "sh", "-c", &script]).arg(reachable_copy()).args(arguments))
}

#[apply(test)]
#[requires(Root)]
fn with_all_ns_hidden_processes_are_a_warning() {
    oracle::create(1, 4096, 0o666);
    let _elsewhere = elsewhere();
    for (arguments, namespace, more) in [
        (&["list", "--all-ns", "--sysv"][..], "IPC", "more"),
        (&["who", "--all-ns"], "IPC", "more"),
        (&["prune", "--all-ns", "--dry-run", "--older-than", "0s"], "IPC", "more"),
        (&["metrics", "--all-ns"], "IPC", "more"),
        (&["list", "--all-ns", "--posix"], "mount", "more objects"),
    ] {
        let hidden = "processes that /proc hides (mount option hidepid)";
        with_hidepid(2, arguments)
            .exits(0)
            .says(&format!(
                "cannot determine the {namespace} namespace of {hidden}: there may be {more} than are shown"
            ))
            .says("hint: run as root: ");
    }
}

#[apply(test)]
#[requires(Root)]
fn a_hidden_namespace_or_process_is_not_reported_as_missing() {
    let (actor, number) = elsewhere();
    let (number, pid) = (number.to_string(), actor.pid().to_string());
    with_hidepid(2, &["--ns", &number, "list"]).exits(4).says(
        "cause: no visible process is in this namespace or has it mounted, and /proc hides processes \
         (mount option hidepid)\n",
    );
    let cause = "cause: /proc hides it (mount option hidepid): it belongs to another user or is not dumpable\n";
    for arguments in [["--ns", &*pid, "list"], ["who", "--pid", &pid], ["list", "--pid", &pid]] {
        with_hidepid(2, &arguments).exits(4).says(cause).says("hint: run as root: ");
    }
    // This process does not exist.
    with_hidepid(2, &["who", "--pid", "4194304"]).exits(3).says("error: cannot find process 4194304\n");
    for command in ["who", "list"] {
        with_hidepid(1, &[command, "--pid", &pid]).exits(4).says("cause: it is a process of user root; ");
    }
}

#[apply(test)]
#[requires(Root)]
fn usage_reports_that_processes_are_hidden() {
    let mut actor = Actor::start();
    actor.ask(Request::HoldMemfd { size: 1 << 20, mapped: false });
    let report = with_hidepid(2, &["usage", "--json"]).exits(0).json();
    let is_permission = |possible: &&Value| possible["reason"] == "permission";
    let permission = report["possible"].as_array().unwrap().iter().find(is_permission);
    assert_eq!(permission, Some(&json!({ "reason": "permission", "count": null })), "{report}");
    let table = with_hidepid(2, &["usage"]).exits(0).says("hint: run as root: ").stdout.clone();
    assert!(table.contains("processes that /proc hides (mount option hidepid)"), "{table}");
}
