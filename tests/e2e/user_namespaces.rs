//! Commands in a user namespace that does not map every uid and gid.
#![expect(unsafe_code, reason = "only pre_exec can move a child to a namespace before it is the program")]
#![expect(clippy::disallowed_methods, reason = "tests prepare their own children")]

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, getpid, setgid, setgroups, setuid};

use crate::objects::create;
use crate::oracle;
use crate::support::{Ran, finish, reachable_copy, run};

/// The first uid that is mapped; inside the namespace it is 0.
const FIRST: u32 = 100_000;

#[apply(test)]
#[requires(Root)]
fn an_unmapped_owner_or_group_is_not_overwritten() {
    let id = oracle::create(0, 4096, 0o660);
    let name = id.to_string();
    run(["set", &name, "--owner", &FIRST.to_string(), "--group", "5"]).exits(0);
    let before = oracle::row(id).unwrap();
    within(&["set", &name, "--mode", "640"])
        .exits(5)
        .prints_nothing()
        .says("its group is not mapped in this user namespace")
        .says("--group");
    within(&["set", &name, "--mode", "640", "--owner", "3"]).exits(5);
    // Without a mapping for the overflow ids, the error is the same.
    within_numbers(10, &["set", &name, "--mode", "640", "--owner", "3"])
        .exits(5)
        .says("its group is not mapped in this user namespace");
    assert_eq!(oracle::row(id).unwrap(), before);
    // Changing only the lock requires neither.
    within(&["set", &name, "--unlock"]).exits(0);
    within(&["set", &name, "--mode", "640", "--group", "7"]).exits(0);
    let row = oracle::row(id).unwrap();
    let group = (FIRST + 7).to_string();
    assert_eq!((row.get("uid"), row.get("gid"), row.get("perms")), (&*FIRST.to_string(), &*group, "640"));
}

#[apply(test)]
#[requires(Root)]
fn a_user_who_may_not_change_a_segment_gets_no_hint_to_set_its_owner() {
    let id = oracle::create(0, 4096, 0o660);
    let cause = "cause: user root is neither the owner (nobody) nor the creator (nobody)";
    within(&["set", &id.to_string(), "--mode", "640"]).exits(4).says("permission denied\n").says(cause);
    within(&["rm", &id.to_string()]).exits(4).says(cause);
}

#[apply(test)]
#[requires(Root)]
fn a_user_without_a_mapping_is_not_said_to_be_the_owner() {
    oracle::create(0x5, 4096, 0o600);
    let without_map = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=2000", "--regid=2000", "--clear-groups", "unshare", "--user"]).arg(reachable_copy());
        finish(command.args(arguments)).exits(4)
    };
    let note = "(ids that are not mapped in this user namespace appear as nobody)";
    let ran = without_map(&["rm", "0x5"])
        .says(&format!("cause: the caller is neither the owner nor the creator {note}, and CAP_SYS_ADMIN "))
        .says("; the owner and root can do this outside your user namespace\n");
    assert!(!ran.stderr.contains("hint: "), "{ran:?}");
    let unknown = "owner nobody:nogroup: which permissions user nobody has is unknown, since this user namespace does \
                   not map these ids\n";
    oracle::create(0x6, 4096, 0o640);
    for key in ["0x5", "0x6"] {
        without_map(&["read", key]).says(unknown);
    }
}

#[apply(test)]
#[requires(Root)]
fn huge_pages_require_privilege_in_the_initial_user_namespace() {
    let cause = "cause: huge pages require CAP_IPC_LOCK in the initial user namespace or membership in the group \
                 vm.hugetlb_shm_group";
    for (arguments, message) in
        [(&["create", "--huge"][..], "(EPERM, shmget)"), (&["create", "--huge", "-n"], "would fail: ")]
    {
        let ran = within(arguments).exits(4).says(message);
        let line = ran.stderr.lines().find(|line| line.starts_with("cause: ")).unwrap();
        let more = line.strip_prefix(cause).unwrap_or_else(|| panic!("{ran:?}"));
        // The pool of the machine may be empty, which is another cause.
        assert!(more.is_empty() || more.starts_with("; 1 huge page of "), "{ran:?}");
    }
}

#[apply(test)]
#[requires(Root)]
fn locking_beyond_the_limit_requires_privilege_in_the_initial_user_namespace() {
    let cause = "cause: locking 1 MiB would exceed RLIMIT_MEMLOCK (64 KiB for each user), and the caller lacks \
                 CAP_IPC_LOCK";
    for (unshare, place) in [("", ""), ("unshare --user --map-root-user", " in the initial user namespace")] {
        let script = format!("ulimit -l 64; exec setpriv --reuid=1 --regid=1 --clear-groups {unshare} \"$@\"");
        let create = |options: &[&str]| {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &script, "sh"]).arg(reachable_copy()).args(["create", "--lock", "--size", "1M"]);
            finish(shell.args(options)).exits(1).says(&format!("{cause}{place}\n"))
        };
        create(&[]).says("(ENOMEM, shmctl SHM_LOCK)");
        create(&["-n"]).says("error: would fail: cannot lock the new segment\n");
    }
}

#[apply(test)]
#[requires(Root)]
fn an_unmapped_uid_or_gid_is_refused() {
    let id = oracle::create(0, 4096, 0o660);
    let name = id.to_string();
    run(["set", &name, "--owner", &FIRST.to_string(), "--group", &FIRST.to_string()]).exits(0);
    let before = oracle::rows();
    for option in ["--owner", "--group"] {
        within(&["set", &name, option, "70000"]).exits(1).prints_nothing().says("70000 in this user namespace");
        within(&["create", option, "70000"]).exits(1).prints_nothing().says("70000 in this user namespace");
        within(&["create", "-n", option, "70000"]).exits(1).prints_nothing().says("would fail: cannot use ");
    }
    assert_eq!(oracle::rows(), before);
    within(&["set", &name, "--owner", "60000"]).exits(0);
    assert_eq!(oracle::row(id).unwrap().get("uid"), (FIRST + 60_000).to_string());
}

#[apply(test)]
#[requires(Root)]
fn namespace_root_gets_a_hint_to_ask_outside() {
    let id = oracle::create(0, 4096, 0o600);
    let ran = within(&["rm", &id.to_string()])
        .exits(4)
        .says("CAP_SYS_ADMIN has no effect because the IPC namespace belongs to another user namespace")
        .says("; the owner and root can do this outside your user namespace");
    assert!(!ran.stderr.contains("hint: "), "no command of the owner inside helps: {ran:?}");
    assert!(oracle::row(id).is_some());
}

#[apply(test)]
#[requires(Root)]
fn namespace_root_cannot_force_the_removal_of_an_object_of_an_unmapped_owner() {
    let path = create("pub", 4096);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let reasons =
        ["only its owner, the owner of the directory and a privileged user", "; CAP_FOWNER has no effect on it"];
    for options in [&["rm", "/pub"][..], &["rm", "/pub", "--force"], &["rm", "/pub", "-n"], &["rm", "/pub", "-fn"]] {
        let ran = within(options).exits(4).says("cannot remove object /pub");
        let ran =
            ran.says(reasons[0]).says(reasons[1]).says("; the owner and root can do this outside your user namespace");
        assert!(!ran.stderr.contains("hint: "), "{ran:?}");
    }
    assert!(std::fs::exists(&path).unwrap());
    // With a mapping of its owner and group, the capability counts.
    chown(&path, Some(FIRST + 5), Some(FIRST)).unwrap();
    within(&["rm", "/pub"]).exits(0);
}

#[apply(test)]
#[requires(Root)]
fn an_object_of_an_unmapped_owner_is_not_that_of_the_overflow_id() {
    let path = create("pub", 4096);
    within(&["create", "/pub", "--owner", "65534"])
        .exits(5)
        .prints_nothing()
        .says("cannot apply --owner: object /pub already exists")
        .says("cause: --owner may differ from its owner: ids that are not mapped appear as 65534\n")
        .says("hint: change the existing object: `shmadm set /pub --owner 65534`\n");
    within(&["create", "/pub", "--owner", "0"]).exits(5).says("cause: --owner root differs from its owner, ");
    chown(&path, Some(FIRST), None).unwrap();
    within(&["create", "/pub", "--owner", "0"]).exits(0).says("opened existing object /pub");
}

#[apply(test)]
#[requires(Root)]
fn root_of_a_user_namespace_gets_no_hint_to_run_as_root() {
    oracle::create(0x4d2, 4096, 0o600);
    run(["attach", "0x4d2", "--background"]).exits(0);
    let ran = within(&["list", "--all-ns"]).exits(0);
    let ran = ran.says("warning: cannot determine the IPC namespace of ").says(": there may be more than are shown\n");
    assert!(!ran.stderr.contains("hint: "), "{ran:?}");
    let ran = within(&["rm", "0x4d2"]).exits(5);
    let ran = ran.says("; the owner and root can do this outside your user namespace\n");
    assert!(!ran.stderr.contains("or root can remove it"), "{ran:?}");
    // The command that raises the limit would fail.
    std::fs::write("/proc/sys/kernel/shmmni", "1").unwrap();
    let ran = within(&["create"]).exits(1).says("kernel.shmmni");
    assert!(!ran.stderr.contains("hint: raise"), "{ran:?}");
    // With one mapped id, setuid programs stay unprivileged.
    let arguments = ["--reuid=1", "--regid=1", "--clear-groups", "unshare", "--user", "--map-current-user"];
    let mut command = Command::new("setpriv");
    let ran = finish(command.args(arguments).arg(reachable_copy()).args(["rm", "-f", "0x4d2"])).exits(4);
    let ran = ran.says("; the owner and root can do this outside your user namespace\n");
    assert!(!ran.stderr.contains("sudo"), "{ran:?}");
    run(["detach", "0x4d2"]).exits(0);
}

/// Runs the program as root of a user namespace with 65536 ids, in the test's IPC namespace.
fn within(arguments: &[&str]) -> Ran {
    within_numbers(1 << 16, arguments)
}

/// Runs the program as root of a user namespace with N ids.
fn within_numbers(count: u32, arguments: &[&str]) -> Ran {
    let (mut pid_of_child, mut pid_writer) = std::io::pipe().unwrap();
    let (mut go_reader, mut go_writer) = std::io::pipe().unwrap();
    let mut command = Command::new(reachable_copy());
    let enter = move || {
        unshare(CloneFlags::CLONE_NEWUSER)?;
        pid_writer.write_all(&getpid().as_raw().to_ne_bytes())?;
        go_reader.read_exact(&mut [0])?;
        setgroups(&[])?;
        setgid(Gid::from_raw(0))?;
        setuid(Uid::from_raw(0))?;
        Ok(())
    };
    // SAFETY: between fork and exec there are only system calls, and no allocation.
    unsafe { command.args(arguments).pre_exec(enter) };
    // `spawn` waits for exec, which waits for the maps to be written.
    let mapper = std::thread::spawn(move || {
        let mut pid = [0; 4];
        pid_of_child.read_exact(&mut pid).unwrap();
        for map in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{}/{map}", i32::from_ne_bytes(pid)), format!("0 {FIRST} {count}")).unwrap();
        }
        go_writer.write_all(&[0]).unwrap();
    });
    let ran = finish(&mut command);
    mapper.join().unwrap();
    ran
}
