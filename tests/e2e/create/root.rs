//! `create` under conditions that only root can prepare: limits, other users and kernel.shm_rmid_forced.

use expect_test::expect;

use crate::actor::Actor;
use crate::fixtures::{created, sysctl, without_locked_memory};
use crate::holder::Holder;
use crate::oracle;
use crate::redact::Redaction;
use crate::sandbox::{with_empty_proc, with_file_over};
use crate::support::{NOBODY, Running, file, finish, run, shmadm, shmadm_as};

#[apply(test)]
#[requires(Root)]
fn at_the_limit_of_pages_names_the_limit_and_a_remedy() {
    let page = oracle::page_size();
    let mut creator = Actor::start();
    creator.create(0, 6 * page);
    sysctl("shmall", 10);
    let before = oracle::rows();
    Redaction::new().check(
        &run(["create", "--size", &(5 * page).to_string()]),
        &expect![[r#"
            [stderr]
            error: cannot create a segment of 20 KiB: No space left on device (ENOSPC, shmget)
            cause: 5 more pages would exceed the limit of 10 for all segments, with 6 in use (kernel.shmall): 6 in idle segments (all created by pid [PID], /proc/self/exe --actor)
            hint: list the largest segments first: `shmadm list --sort size --reverse`
            hint: raise the limit: `sysctl -w kernel.shmall=11`
            [exit code 1]
        "#]],
    );
    assert_eq!(oracle::rows(), before);
    created(&run(["create", "--size", &(4 * page).to_string()]).exits(0));
}

/// Returns the options of `prune --dry-run` with which a failed creation suggests to list the 2 orphans.
#[track_caller]
fn suggested_options() -> String {
    let ran = run(["create"]).exits(1).prints_nothing();
    let hint = ran.stderr.lines().find_map(|line| line.strip_prefix("hint: list the 2 orphans: `")).unwrap();
    let command = hint.strip_suffix('`').unwrap();
    command.strip_prefix("shmadm prune --dry-run").unwrap().trim().to_owned()
}

/// Returns the number of segments that `prune` would remove.
#[track_caller]
fn prunable(options: &str) -> usize {
    let ran = run(["prune", "--dry-run", "--json"].into_iter().chain(options.split_ascii_whitespace()));
    ran.exits(0).json()["removed"].as_array().unwrap().len()
}

#[apply(test)]
#[requires(Root)]
fn at_the_limit_of_ids_suggests_to_prune_the_orphans() {
    sysctl("shmmni", 2);
    run(["create", "-q"]).exits(0);
    let second = run(["create", "-q"]).exits(0).stdout;
    assert_eq!(suggested_options(), "--older-than 0s");
    assert_eq!((prunable(""), prunable(&suggested_options())), (0, 2));
    // One of another user needs another option.
    run(["rm", second.trim()]).exits(0);
    finish(shmadm_as(NOBODY).args(["create", "-q"])).exits(0);
    assert_eq!(suggested_options(), "--any-owner --older-than 0s");
    assert_eq!((prunable("--older-than 0s"), prunable(&suggested_options())), (1, 2));
}

/// Creates two segments in a namespace that permits none any more.
fn two_above_the_limit() {
    oracle::create(0, 4096, 0o600);
    oracle::create(0, 4096, 0o600);
    sysctl("shmmni", 0);
}

#[apply(test)]
#[requires(Root)]
fn at_the_limit_of_ids_suggests_a_higher_limit() {
    two_above_the_limit();
    let ran = run(["create"]).exits(1).says("cause: 2 segments exist, more than the limit of 0 (kernel.shmmni): ");
    ran.says("`sysctl -w kernel.shmmni=4`");
}

#[apply(test)]
#[requires(Root)]
fn the_suggested_limit_is_that_of_the_other_namespace() {
    two_above_the_limit();
    let other = std::process::Command::new("sleep").arg("infinity").spawn().map(Running).unwrap();
    let pid = other.0.id().to_string();
    let ran = run(["--ns", &pid, "create"]).exits(1);
    ran.says(&format!("`nsenter --ipc --target {pid} sysctl -w kernel.shmmni=4`"));
    // nsenter does not know the number of a namespace, but some process is in it.
    let here = oracle::namespace();
    crate::support::leave_namespace();
    for name in [here.to_string(), format!("ipc:[{here}]")] {
        let ran = run(["--ns", &name, "create"]).exits(1);
        ran.says(&format!("`nsenter --ipc --target {pid} sysctl -w kernel.shmmni=4`"));
    }
    // Only a bind mount keeps it alive.
    std::fs::write("/dev/shm/ns", "").unwrap();
    let mount = ["--bind", &format!("/proc/{pid}/ns/ipc"), "/dev/shm/ns"];
    assert!(std::process::Command::new("mount").args(mount).status().unwrap().success());
    drop(other);
    let ran = run(["--ns", &here.to_string(), "create"]).exits(1);
    ran.says("`nsenter --ipc=/dev/shm/ns sysctl -w kernel.shmmni=4`");
}

// Without a boot parameter, no kernel has more.
#[apply(test)]
#[requires(Root)]
fn no_limit_above_32768_is_suggested() {
    let fill = |count: usize| {
        for _ in 0..count {
            oracle::create(0, 1, 0o600);
        }
    };
    sysctl("shmmni", 20_000);
    fill(20_000);
    run(["create"]).exits(1).says("`sysctl -w kernel.shmmni=32768`");
    sysctl("shmmni", 32_768);
    fill(32_768 - 20_000);
    let ran = run(["create"]).exits(1).says("all 32768 segment ids of");
    assert!(!ran.stderr.contains("sysctl"), "{ran:?}");
}

#[apply(test)]
#[requires(Root)]
fn above_the_largest_size_names_the_limit_and_a_remedy() {
    sysctl("shmmax", 1 << 20);
    Redaction::new().check(
        &run(["create", "--size", "2M"]),
        &expect![[r#"
        [stderr]
        error: cannot create a segment of 2 MiB: Invalid argument (EINVAL, shmget)
        cause: the size exceeds the limit of 1 MiB for one segment (kernel.shmmax)
        hint: raise the limit: `sysctl -w kernel.shmmax=2097152`
        [exit code 1]
    "#]],
    );
    assert_eq!(oracle::rows(), []);
    created(&run(["create", "--size", "1M"]).exits(0));
}

#[apply(test)]
#[requires(Root)]
fn huge_pages_need_a_pool_and_permission() {
    let ran = run(["create", "--huge", "--size", "1T"]).exits(1).prints_nothing().says("(ENOMEM, shmget)");
    assert!(ran.stderr.contains(" required; free and not reserved in the pool: "), "{ran:?}");
    let ran = without_locked_memory(&["create", "--huge"]).exits(4).prints_nothing();
    assert!(ran.stderr.contains("(EPERM, shmget)") && ran.stderr.contains("vm.hugetlb_shm_group"), "{ran:?}");
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
#[requires(Root)]
fn gives_a_segment_to_any_user() {
    let options = ["--owner", "100000", "--group", "100001", "--mode", "660", "--fill", "9"];
    let row = created(&run(["create"].into_iter().chain(options)).exits(0));
    assert_eq!((row.get("uid"), row.get("gid"), row.get("perms")), ("100000", "100001", "660"));
    assert_eq!((row.get("cuid"), row.get("cgid")), ("0", "0"));
    assert_eq!(oracle::contents(row.get("shmid").parse().unwrap()), vec![9; oracle::page_size()]);
    let row = created(&finish(shmadm_as(NOBODY).args(["create", "--owner", "root"])).exits(0));
    assert_eq!((row.get("uid"), row.get("cuid")), ("0", &*NOBODY.to_string()));
}

#[apply(test)]
#[requires(Root)]
fn a_partial_failure_leaves_nothing() {
    for more in [&[][..], &["--fill", "1"], &["--hold"], &["--mode", "666", "--key", "1234"]] {
        let arguments = [&["create", "--lock"], more].concat();
        let ran = without_locked_memory(&arguments).exits(4).prints_nothing().says("(EPERM, shmctl SHM_LOCK)");
        assert!(ran.stderr.contains("error: cannot lock segment "), "{ran:?}");
        assert!(ran.stderr.contains("cause: this user may not lock memory (RLIMIT_MEMLOCK is 0)"), "{ran:?}");
        assert!(ran.stderr.contains("hint: show the limit in KiB: `ulimit -l`"), "{ran:?}");
        // The holder was killed; the segment is destroyed when it detaches.
        crate::support::wait_for("the segment to be destroyed", || oracle::rows().is_empty());
    }
    without_locked_memory(&["create", "--owner", "100000"]).exits(0);
}

#[apply(test)]
#[requires(Root)]
fn a_key_of_another_user_is_opened_and_not_changed() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let before = oracle::rows();
    let ran = finish(shmadm_as(NOBODY).args(["create", "--key", "1234"])).exits(0).says("opened existing segment");
    assert_eq!(ran.stdout, format!("{id}\n"));
    finish(shmadm_as(NOBODY).args(["create", "--key", "1234", "--exclusive"]))
        .exits(6)
        .says("(owner root) has this key");
    finish(shmadm_as(NOBODY).args(["create", "--key", "1234", "--hold"])).exits(4).prints_nothing();
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
#[requires(Root)]
fn a_segment_destroyed_on_exit_is_refused_without_hold() {
    sysctl("shm_rmid_forced", 1);
    for options in [&["create"][..], &["create", "--key", "0x4d2", "--fill", "1"], &["create", "--key", "random"]] {
        let ran = run(options).exits(5).prints_nothing();
        assert!(ran.stderr.contains("cause: kernel.shm_rmid_forced is 1"), "{ran:?}");
        let hint = format!("hint: keep a background holder attached: `shmadm {} --hold`", options.join(" "));
        assert!(ran.stderr.contains(&hint), "{ran:?}");
    }
    assert_eq!(run(["create", "--json"]).exits(5).json()["error"]["kind"], "refused");
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
#[requires(Root)]
fn a_holder_keeps_a_segment_destroyed_on_exit() {
    sysctl("shm_rmid_forced", 1);
    let ran = run(["create", "--key", "0x4d2", "--hold", "--fill", "3", "--mode", "660"]).exits(0);
    let row = created(&ran);
    assert_eq!((row.get("nattch"), row.get("perms")), ("1", "660"));
    let holder = Holder::reported(&ran);
    assert_eq!(oracle::contents(row.get("shmid").parse().unwrap()), vec![3; oracle::page_size()]);
    // An existing segment can be opened: it stays as it is.
    created(&run(["create", "--key", "0x4d2"]).exits(0));
    run(["detach", "0x4d2"]).exits(0).says("was destroyed at the last detach");
    assert!(!holder.is_running());
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
#[requires(Root)]
fn a_segment_is_filled_if_the_setting_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let empty = file(directory.path(), "empty", b"");
    let create = |more: &[&str]| {
        let mut command = shmadm();
        with_file_over(&mut command, &empty, c"/proc/sys/kernel/shm_rmid_forced");
        finish(command.args(["create", "--fill", "7"]).args(more))
    };
    create(&["--dry-run"]).exits(0);
    let row = created(&create(&[]).exits(0));
    assert_eq!(oracle::contents(row.get("shmid").parse().unwrap()), vec![7; oracle::page_size()]);
    sysctl("shm_rmid_forced", 1);
    let ran = create(&[]).exits(3).prints_nothing();
    ran.says(
        " no longer exists: another process removed it, or its last detach destroyed it (kernel.shm_rmid_forced)\n",
    );
    created(&create(&["--hold"]).exits(0));
    run(["detach", oracle::rows().last().unwrap().get("shmid")]).exits(0);
}

#[apply(test)]
#[requires(Root)]
fn without_proc_a_holder_is_neither_predicted_nor_suggested() {
    let without_proc = |arguments: &[&str]| {
        let mut command = shmadm();
        with_empty_proc(&mut command);
        finish(command.args(arguments))
    };
    let ran = without_proc(&["create", "--hold", "--dry-run"]).exits(1).prints_nothing();
    ran.says("error: would fail: cannot start a holder\n").says("cause: /proc is not mounted");
    without_proc(&["create", "--hold"]).exits(1).prints_nothing();
    let id = oracle::create(0, 4096, 0o600).to_string();
    for arguments in [&["write", &id, "text"][..], &["read", &id]] {
        let ran = without_proc(arguments).exits(5).says("could destroy it");
        let ran = ran.says("hint: mount the /proc of this pid namespace: `mount -t proc proc /proc`\n");
        assert!(!ran.stderr.contains("--background"), "{ran:?}");
    }
}
