//! Calls in other IPC and user namespaces.

use std::os::unix::fs::PermissionsExt;

use super::{diagnoses, shmget};
use crate::actor::{Line, Request};
use crate::oracle::{self, Attached};
use crate::support::{NOBODY, finish, shmadm, shmadm_as};
use crate::trace::{performing, trace};

#[apply(test)]
#[requires(Root, Program(&["unshare"]), Program(&["perl"]))]
fn a_namespace_that_cannot_be_entered_is_not_guessed_about() {
    let _segment = oracle::create(5, 4096, 0o666);
    let calls = "print readlink '/proc/self/ns/ipc'; \
                 shmget(5, 0, 0); shmget(0, 0, 0600); shmget(5, 4096, 01600); shmget(5, 8192, 0)";
    let mut command = shmadm_as(NOBODY);
    command.args(["trace", "--", "unshare", "--user", "--map-root-user", "--ipc", "perl", "-e", calls]);
    let ran = finish(command.env("PATH", "/usr/bin:/bin"));
    let list = format!("hint: list the segments: `shmadm --ns '{}' list`", ran.stdout);
    assert_eq!(
        diagnoses(&ran),
        [
            "cause: no segment in this IPC namespace has this key",
            &*list,
            "cause: the size is 0; the minimum is 1 byte",
            "cause: unknown: the caller's IPC namespace cannot be entered from here: this requires CAP_SYS_ADMIN",
            &*list
        ]
    );
}

#[apply(test)]
#[requires(Root, Program(&["perl"]))]
fn no_command_is_printed_for_a_process_that_proc_hides() {
    // /proc/PID/ns of a program that its user cannot read is root's.
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let perl = directory.path().join("perl");
    std::fs::copy("/usr/bin/perl", &perl).unwrap();
    for path in [directory.path(), &perl] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o711)).unwrap();
    }
    let _segment = oracle::create(5, 4096, 0o600);
    let mut command = shmadm_as(NOBODY);
    let calls = "shmget(6, 0, 0); shmget(5, 4096, 0600)";
    let ran = finish(command.arg("trace").arg("--").arg(&perl).args(["-e", calls]));
    let cause = "cause: unknown: the caller's IPC namespace cannot be entered from here: /proc does not show it to you";
    assert_eq!(diagnoses(&ran), ["cause: no segment in this IPC namespace has this key", cause]);
}

#[apply(test)]
#[requires(Root, Program(&["unshare"]), Program(&["perl"]))]
fn capabilities_count_in_the_user_namespace_of_the_segment() {
    let id = oracle::create(0, 4096, 0o600);
    let calls = format!("shmctl({id}, 0, 0); shmread({id}, $data, 0, 1)");
    let mut command = shmadm();
    command.args(["trace", "--", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.args(["unshare", "--user", "--map-root-user", "perl", "-e", &calls]).env("PATH", "/usr/bin:/bin");
    let ran = finish(&mut command);
    let causes: Vec<_> = diagnoses(&ran).into_iter().filter(|line| line.starts_with("cause: ")).collect();
    assert_eq!(
        causes,
        [
            "cause: user nobody is neither the owner (root) nor the creator (root), and CAP_SYS_ADMIN has no effect because \
             the IPC namespace belongs to another user namespace; the owner and root can do this outside your user \
             namespace",
            "cause: mode 0600, owner root:root: user nobody (other) has no access, and CAP_IPC_OWNER has no effect because \
             the IPC namespace belongs to another user namespace"
        ]
    );
    // In a namespace of its own they count.
    let mut command = shmadm();
    let options = ["trace", "--", "unshare", "--user", "--map-root-user", "--ipc", "perl", "-e"];
    let ran =
        finish(command.args(options).arg("shmget(7, 9, 01000); shmread(0, $data, 0, 1)").env("PATH", "/usr/bin:/bin"));
    assert_eq!(diagnoses(&ran), [] as [&str; 0], "{ran:#?}");
}

#[apply(test)]
#[requires(Root)]
fn a_call_in_another_ipc_namespace_is_explained_there() {
    // A segment with the same id and key is here.
    let id = oracle::create(0x4d2, 1 << 20, 0o600);
    let _attached = Attached::new(id);
    let requests: &[&dyn Line] = &[
        &Request::Unshare,
        &shmget(0x4d2, 0, 0),
        &Request::Create { key: 0x4d2, size: 4096, flags: 0 },
        &shmget(0x4d2, 8192, 0),
        &Request::Namespace,
    ];
    let script = performing(requests);
    let ran = finish(&mut trace(&[], script.strip_suffix(" >/dev/null").unwrap())).exits(0);
    let pid = ran.stderr.split(['[', ']']).nth(1).unwrap();
    // A command with the number works as long as any process is in the namespace.
    let namespace = format!("ipc:[{}]", ran.stdout.lines().last().unwrap());
    let lines = diagnoses(&ran);
    assert_eq!(
        lines[..2],
        [
            "cause: no segment in this IPC namespace has this key; shmadm's own IPC namespace has a segment with \
             this key",
            &*format!("hint: list the segments: `shmadm --ns '{namespace}' list`")
        ]
    );
    let cause = format!("cause: segment 0 has this key and is only 4 KiB; it was created by pid {pid} (");
    assert!(lines[2].starts_with(&cause), "{ran:#?}");
    assert_eq!(lines[3..], [&*format!("hint: inspect it: `shmadm --ns '{namespace}' stat 0`")]);
}
