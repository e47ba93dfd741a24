//! Why the calls of a traced program on segments fail, from its point of view: its user, limits and namespace.

mod files;
mod namespaces;

use nix::libc;

use crate::actor::{Actor, CallRequest, Line};
use crate::fixtures::{describe_running, sysctl, this_process};
use crate::oracle;
use crate::pool::HUGE;
use crate::support::{NOBODY, Ran, finish, is_root, run};
use crate::trace::{performing, raw, trace};

/// SHM_STAT of linux/shm.h.
const SHM_STAT: i32 = 13;

fn shmget(key: u64, size: u64, flags: i32) -> CallRequest {
    raw(libc::SYS_shmget, [key, size, u64::from(flags.cast_unsigned())])
}

fn shmat(id: i32, address: u64, flags: i32) -> CallRequest {
    raw(libc::SYS_shmat, [u64::from(id.cast_unsigned()), address, u64::from(flags.cast_unsigned())])
}

fn shmctl(id: i32, command: i32) -> CallRequest {
    raw(libc::SYS_shmctl, [u64::from(id.cast_unsigned()), u64::from(command.cast_unsigned()), 0])
}

fn shmdt(address: u64) -> CallRequest {
    raw(libc::SYS_shmdt, [address, 0, 0])
}

/// Returns the causes and hints that were printed.
fn diagnoses(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter_map(|line| line.strip_prefix("       ")).collect()
}

/// Traces an actor that executes requests after a shell command, and returns the causes and hints.
#[track_caller]
fn explained_after(command: &str, requests: &[&dyn Line]) -> Vec<String> {
    let ran = finish(&mut trace(&[], &format!("{command}; {}", performing(requests)))).exits(0);
    diagnoses(&ran).into_iter().map(str::to_owned).collect()
}

#[track_caller]
fn explained(requests: &[&dyn Line]) -> Vec<String> {
    explained_after(":", requests)
}

/// The same for a call of user nobody, who has no capabilities and no other group; requires root.
#[track_caller]
fn explained_to_nobody(requests: &[&dyn Line]) -> Vec<String> {
    explained_to_nobody_after(":", requests)
}

#[track_caller]
fn explained_to_nobody_after(command: &str, requests: &[&dyn Line]) -> Vec<String> {
    let id = u64::from(NOBODY);
    let become_nobody = [
        raw(libc::SYS_setgroups, [0, 0, 0]),
        raw(libc::SYS_setresgid, [id, id, id]),
        raw(libc::SYS_setresuid, [id, id, id]),
    ];
    let become_nobody = become_nobody.iter().map(|request| request as &dyn Line);
    explained_after(command, &become_nobody.chain(requests.iter().copied()).collect::<Vec<_>>())
}

#[apply(test)]
fn a_smaller_segment_with_the_key_has_a_creator() {
    let id = oracle::create(0x4d2, 16 << 10, 0o600);
    let cause = format!("cause: segment {id} has this key and is only 16 KiB; it was created by ");
    let stat = format!("hint: inspect it: `shmadm stat {id}`");
    let expected = [&*format!("{cause}{}", this_process()), &*stat];
    assert_eq!(explained(&[&shmget(0x4d2, 65536, libc::IPC_CREAT | 0o666)]), expected);
    assert_eq!(explained(&[&shmget(0x4d2, 65536, 0)]), expected);
    oracle::remove(id);
    let mut creator = Actor::start();
    let id = creator.create(0x4d2, 16 << 10);
    let stat = format!("hint: inspect it: `shmadm stat {id}`");
    let running = describe_running(creator.pid());
    let cause = format!("cause: segment {id} has this key and is only 16 KiB; it was created by ");
    assert_eq!(explained(&[&shmget(0x4d2, 65536, 0)]), [format!("{cause}{running}"), stat.clone()]);
    let exited = format!("{cause}pid {}, which has exited", creator.leave());
    let remove = format!("hint: remove it if it is a leftover: `shmadm rm {id}`");
    assert_eq!(explained(&[&shmget(0x4d2, 65536, 0)]), [exited, stat, remove]);
}

#[apply(test)]
fn an_existing_key_has_an_owner_and_a_creator() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let lines = explained(&[&shmget(0x4d2, 4096, libc::IPC_CREAT | libc::IPC_EXCL | 0o600)]);
    let owner = run(["stat", "0x4d2", "--json"]).json()["segments"][0]["owner"].to_string();
    let cause = format!("cause: segment {id} (owner {}) has this key; it was created by ", owner.trim_matches('"'));
    assert_eq!(lines, [format!("{cause}{}", this_process()), format!("hint: inspect it: `shmadm stat {id}`")]);
}

#[apply(test)]
fn a_key_that_does_not_exist_may_be_an_id() {
    let id = oracle::create(0, 4096, 0o600);
    assert_eq!(
        explained(&[&shmget(0x4d2, 0, 0)]),
        ["cause: no segment in this IPC namespace has this key", "hint: list the segments: `shmadm list`"]
    );
    let second = oracle::create(0, 4096, 0o600);
    let key = u64::try_from(second).unwrap();
    let hint = format!("hint: a segment with id {second} exists: shmat takes an id, shmget a key");
    assert_eq!(explained(&[&shmget(key, 0, 0)]), ["cause: no segment in this IPC namespace has this key", &*hint]);
    oracle::remove(id);
}

#[apply(test)]
fn an_id_that_does_not_exist_may_be_a_key() {
    let cause = "cause: no segment in this IPC namespace has this id: it was removed or never existed";
    let list = "hint: list the segments: `shmadm list`";
    for request in [shmat(77, 0, 0), shmctl(77, libc::IPC_RMID), shmctl(77, libc::IPC_STAT)] {
        assert_eq!(explained(&[&request]), [cause, list], "{request}");
    }
    oracle::create(77, 4096, 0o600);
    let hint = "hint: a segment with key 77 (0x4d) exists: shmget returns its id";
    assert_eq!(explained(&[&shmat(77, 0, 0)]), [cause, hint]);
    let removed = oracle::create(0, 4096, 0o600);
    oracle::remove(removed);
    assert_eq!(explained(&[&shmat(removed, 0, 0)]), [cause, list]);
}

#[apply(test)]
fn the_results_of_failed_calls_are_recognized() {
    let expected = ["cause: -1 is not an id; shmget returns it when it fails"];
    assert_eq!(explained(&[&shmat(-1, 0, 0)]), expected);
    assert_eq!(explained(&[&shmctl(-1, libc::IPC_RMID)]), expected);
    assert_eq!(explained(&[&shmat(-7, 0, 0)]), ["cause: -7 is not an id: ids are not negative"]);
    assert_eq!(explained(&[&shmdt(0)]), ["cause: the address is NULL, where nothing is attached"]);
    assert_eq!(explained(&[&shmdt(u64::MAX)]), ["cause: shmat returns this address when it fails"]);
}

#[apply(test)]
#[requires(Root)]
fn another_users_mode_is_explained_to_the_traced_user() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let mode = "mode 0600, owner root:root: user nobody (other) has no access";
    let stat = format!("hint: inspect it: `shmadm stat {id}`");
    let give = format!("hint: give it to user nobody: `shmadm set {id} --owner nobody`");
    assert_eq!(
        explained_to_nobody(&[&shmget(0x4d2, 4096, libc::IPC_CREAT | 0o666)]),
        [
            &*format!(
                "cause: segment {id} has this key, and the flags 0666 request read and write access to it; {mode}"
            ),
            &*stat,
            &*give
        ]
    );
    let denied = format!("cause: {mode}");
    assert_eq!(explained_to_nobody(&[&shmat(id, 0, 0)]), [&*denied, &*stat, &*give]);
    assert_eq!(explained_to_nobody(&[&shmat(id, 0, libc::SHM_RDONLY)]), [&*denied, &*stat, &*give]);
    assert_eq!(explained_to_nobody(&[&shmctl(id, libc::IPC_STAT)]), [&*denied, &*stat, &*give]);
    assert_eq!(explained_to_nobody(&[&shmctl(0, SHM_STAT)]), [&*denied, &*stat, &*give]);
    let exec = format!("{denied}; SHM_EXEC also requires execute permission");
    let give_with_mode = format!("hint: give it to user nobody: `shmadm set {id} --owner nobody --mode 0700`");
    assert_eq!(explained_to_nobody(&[&shmat(id, 0, libc::SHM_EXEC)]), [&*exec, &*stat, &*give_with_mode]);
    oracle::set(id, NOBODY, 0, 0o700);
    assert_eq!(explained_to_nobody(&[&shmat(id, 0, libc::SHM_EXEC)]), [""; 0], "the hint helps");
    oracle::set(id, 0, NOBODY, 0o600);
    let group = "cause: mode 0600, owner root:nogroup: user nobody (in the group) has no access";
    let set = format!("hint: give the group nogroup this access: `shmadm set {id} --mode 0640`");
    assert_eq!(explained_to_nobody(&[&shmctl(id, libc::IPC_STAT)]), [group, &*stat, &*set]);
    oracle::set(id, NOBODY, NOBODY, 0o400);
    let owner = "cause: mode 0400, owner nobody:nogroup: user nobody (owner or creator) has read access only";
    let set = format!("hint: change the mode: `shmadm set {id} --mode 0600`");
    assert_eq!(explained_to_nobody(&[&shmat(id, 0, 0)]), [owner, &*stat, &*set]);
}

#[apply(test)]
#[requires(Root)]
fn only_the_owner_may_change_and_remove_a_segment() {
    let id = oracle::create(0, 4096, 0o666);
    let lacks = |capability: &str| {
        let cause = "cause: user nobody is neither the owner (root) nor the creator (root)";
        [format!("{cause}, and {capability} is missing"), format!("hint: inspect it: `shmadm stat {id}`")]
    };
    assert_eq!(explained_to_nobody(&[&shmctl(id, libc::IPC_RMID)]), lacks("CAP_SYS_ADMIN"));
    let set = CallRequest::Control { id, command: libc::IPC_SET };
    assert_eq!(explained_to_nobody(&[&set]), lacks("CAP_SYS_ADMIN"));
    assert_eq!(explained_to_nobody(&[&shmctl(id, libc::SHM_LOCK)]), lacks("CAP_IPC_LOCK"));
    assert_eq!(oracle::rows().len(), 1);
}

#[apply(test)]
#[requires(Root)]
fn the_limit_on_locked_memory_is_that_of_the_traced_process() {
    let id = oracle::create(0, 1 << 20, 0o600);
    oracle::set(id, NOBODY, NOBODY, 0o600);
    let lock = shmctl(id, libc::SHM_LOCK);
    assert_eq!(
        explained_to_nobody_after("ulimit -l 64", &[&lock]),
        ["cause: locking 1 MiB would exceed RLIMIT_MEMLOCK (64 KiB for each user), and the caller lacks CAP_IPC_LOCK"]
    );
    let lines = explained_to_nobody_after("ulimit -l 0", &[&lock]);
    assert_eq!(lines[0], "cause: the process may not lock memory (RLIMIT_MEMLOCK is 0)");
}

#[apply(test)]
#[requires(Root)]
fn huge_pages_require_a_privilege_and_a_pool() {
    let flags = libc::IPC_CREAT | libc::SHM_HUGETLB | 0o600;
    // The pool can be empty too.
    let lines = explained_to_nobody(&[&shmget(0, HUGE as u64, flags)]);
    let denied = "cause: huge pages require CAP_IPC_LOCK or membership in the group vm.hugetlb_shm_group (root)";
    assert!(lines[0].starts_with(denied), "{lines:?}");
    assert_eq!(lines[1], "hint: show that group: `sysctl vm.hugetlb_shm_group`");
    let lines = explained(&[&shmget(0, 1 << 60, flags)]);
    assert!(lines[0].contains(" required; free and not reserved in the pool: "), "{lines:?}");
    assert!(lines[0].contains("; the enlarged pool would exceed the memory of the machine, "), "{lines:?}");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let lines = explained(&[&shmget(0, 4096, flags | 12 << 26)]);
    assert!(lines[0].starts_with("cause: huge pages of this size are not supported by this kernel"), "{lines:?}");
}

#[apply(test)]
#[requires(Root)]
fn the_limits_of_the_namespace_are_named() {
    let create = |size| shmget(0, size, libc::IPC_CREAT | 0o600);
    assert_eq!(explained(&[&create(0)]), ["cause: the size is 0; the minimum is 1 byte"]);
    sysctl("shmmax", 4096);
    assert_eq!(
        explained(&[&create(8192)]),
        [
            "cause: the size exceeds the limit of 4 KiB for one segment (kernel.shmmax)",
            "hint: raise the limit: `sysctl -w kernel.shmmax=8192`"
        ]
    );
    sysctl("shmall", 0);
    assert_eq!(
        explained(&[&create(4096)]),
        [
            "cause: 1 more page would exceed the limit of 0 for all segments, with 0 in use (kernel.shmall)",
            "hint: list the largest segments first: `shmadm list --sort size --reverse`",
            "hint: raise the limit: `sysctl -w kernel.shmall=1`"
        ]
    );
    sysctl("shmall", 100);
    sysctl("shmmni", 1);
    let mut creator = Actor::start();
    creator.create(0, 4096);
    creator.leave();
    // The orphan is root's, and so is the user of the hint.
    assert_eq!(
        explained_to_nobody(&[&create(4096)]),
        [
            "cause: the only segment id of this IPC namespace is in use (kernel.shmmni): 1 orphan (created by user root)",
            "hint: list the orphan: `shmadm prune --dry-run --older-than 0s`",
            "hint: raise the limit: `sysctl -w kernel.shmmni=2`"
        ]
    );
}

#[apply(test)]
fn memory_that_cannot_be_reserved_is_explained() {
    if std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap().trim() == "0" {
        let lines = explained(&[&shmget(0, 1 << 50, libc::IPC_CREAT | 0o600)]);
        assert!(lines[0].starts_with("cause: the size exceeds memory and swap: "), "{lines:?}");
        assert_eq!(lines[1..], ["hint: with SHM_NORESERVE, shmget reserves no memory"]);
    }
}

#[apply(test)]
fn an_address_is_unaligned_or_occupied() {
    let id = oracle::create(0, 4096, 0o600);
    assert_eq!(
        explained(&[&shmat(id, 0x2_0000_0123, 0)]),
        ["cause: 0x200000123 is not a multiple of 4096 (SHMLBA)", "hint: SHM_RND rounds it down to 0x200000000"]
    );
    let at = 0x2_0000_0000;
    let overlaps = format!("cause: the range overlaps a mapping of segment {id} at 0x200000000-0x200001000");
    assert_eq!(explained(&[&shmat(id, at, 0), &shmat(id, at, 0)]), [&*overlaps]);
    assert_eq!(explained(&[&shmat(id, at, 0), &shmat(id, at + 0x123, libc::SHM_RND)]), [&*overlaps]);
    let outside = "cause: the range is outside of the address space of a process";
    assert_eq!(explained(&[&shmat(id, 0xf << 60, 0)]), [outside]);
    let null = "cause: SHM_REMAP requires an address, but the address is NULL";
    assert_eq!(explained(&[&shmat(id, 0, libc::SHM_REMAP)]), [null]);
}

#[apply(test)]
fn the_address_space_is_exhausted() {
    let id = oracle::create(0, 1 << 30, libc::SHM_NORESERVE | 0o600);
    let lines = explained_after("ulimit -v 500000", &[&shmat(id, 0, 0)]);
    assert!(lines[0].starts_with("cause: 1 GiB more would exceed RLIMIT_AS: "), "{lines:?}");
    assert!(lines[0].ends_with(" MiB of 500000 KiB are in use"), "{lines:?}");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    // The kernel refuses mappings above the limit, not at it.
    let lines = explained(&[&CallRequest::ExhaustMappings, &shmat(id, 0, 0), &shmat(id, 0, 0)]);
    assert!(lines[0].starts_with("cause: the process has "), "{lines:?}");
    let limit = format!(" mappings, and the limit is {} (vm.max_map_count)", most.trim());
    assert!(lines[0].ends_with(&limit), "{lines:?}");
    // In the user namespace of the tests without root, no command raises it.
    let hint = lines.get(1).filter(|line| line.starts_with("hint: raise the limit: `"));
    assert_eq!(hint.is_some(), is_root(), "{lines:?}");
}

#[apply(test)]
fn shmdt_requires_the_first_address_of_an_attachment() {
    let id = oracle::create(0, 8192, 0o600);
    let nothing = ["cause: nothing is mapped at this address: it was already detached or never attached"];
    assert_eq!(explained(&[&shmdt(0x2_0000_0000)]), nothing);
    assert_eq!(explained(&[&shmat(id, 0x2_0000_0000, 0), &shmdt(0x2_0000_0000), &shmdt(0x2_0000_0000)]), nothing);
    assert_eq!(
        explained(&[&shmat(id, 0x2_0000_0000, 0), &shmdt(0x2_0000_1000)]),
        [&*format!("cause: the attachment of segment {id} begins at 0x200000000; shmdt requires its first address")]
    );
    assert_eq!(
        explained(&[&shmdt(0x2_0000_0001)]),
        ["cause: 0x200000001 is not a multiple of 4096, unlike any address that shmat returns"]
    );
    let mmap = CallRequest::MapAt { address: 0x2_0000_0000 };
    assert_eq!(
        explained(&[&mmap, &shmdt(0x2_0000_0000)]),
        ["cause: a mapping of anonymous memory is at this address, which is not an attachment"]
    );
}

#[apply(test)]
fn commands_and_structures_are_checked() {
    let id = oracle::create(0, 4096, 0o600);
    assert_eq!(explained(&[&shmctl(id, 99)]), ["cause: 0x63 is not a command of shmctl"]);
    assert_eq!(
        explained(&[&shmctl(id + 5, SHM_STAT)]),
        ["cause: no segment has this index: the command takes an index of the kernel's table, not an id"]
    );
    assert_eq!(
        explained(&[&shmctl(id, libc::IPC_STAT)]),
        ["cause: the address of the structure is not in the memory of the process"]
    );
}
