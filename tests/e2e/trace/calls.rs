//! How calls are decoded. The expected lines are what strace(1) shows, in the words of this program.

use nix::libc;

use crate::actor::{CallRequest, Request};
use crate::oracle;
use crate::trace::{calls, performing, raw, trace, traced};

#[apply(test)]
fn arguments_of_shmget_are_symbolic() {
    let get = |key, size, flags: i32| raw(libc::SYS_shmget, [key, size, u64::from(flags.cast_unsigned())]);
    assert_eq!(
        traced(
            &[],
            &[
                &get(0x4d2, 65536, libc::IPC_CREAT | 0o666),
                &get(0x4d2, 65537, 0),
                &get(0x4d2, 1, libc::IPC_CREAT | libc::IPC_EXCL),
                &get(0xffff_fffe, 1, 0o60),
                &get(0, 4096, libc::SHM_NORESERVE | 0x4000_0000),
                &get(0, 0, libc::SHM_HUGETLB | 21 << 26 | 0x8000),
            ]
        ),
        [
            "shmget(0x000004d2, 65536, IPC_CREAT|0666) = 0",
            "shmget(0x000004d2, 65537, 0000) = -1 EINVAL (Invalid argument)",
            "shmget(0x000004d2, 1, IPC_CREAT|IPC_EXCL) = -1 EEXIST (File exists)",
            "shmget(0xfffffffe, 1, 0060) = -1 ENOENT (No such file or directory)",
            "shmget(IPC_PRIVATE, 4096, SHM_NORESERVE|16<<SHM_HUGE_SHIFT) = 1",
            "shmget(IPC_PRIVATE, 0, SHM_HUGETLB|0x8000|21<<SHM_HUGE_SHIFT) = -1 EINVAL (Invalid argument)",
        ]
    );
}

#[apply(test)]
fn arguments_of_shmat_and_shmdt_are_symbolic() {
    let id = oracle::create(0, 4096, 0o600);
    let at = |address, flags| raw(libc::SYS_shmat, [u64::try_from(id).unwrap(), address, flags]);
    let lines = traced(
        &[],
        &[
            &Request::AttachReadOnly { id },
            &Request::Detach,
            &at(0x1234, 0),
            &at(1, 0o170_000 | 0x1_0000),
            &raw(libc::SYS_shmat, [u64::from(u32::MAX), 0, 0]),
            &raw(libc::SYS_shmdt, [0x1000, 0, 0]),
        ],
    );
    let [attached, _stat, detached, rest @ ..] = lines.as_slice() else { panic!("{lines:?}") };
    let address = attached.strip_prefix(&format!("shmat({id}, NULL, SHM_RDONLY) = 0x")).unwrap();
    assert_eq!(detached, &format!("shmdt(0x{address}) = 0"));
    assert_eq!(
        rest,
        [
            &format!("shmat({id}, 0x1234, 0) = -1 EINVAL (Invalid argument)"),
            &format!("shmat({id}, 0x1, SHM_RDONLY|SHM_RND|SHM_REMAP|SHM_EXEC|0x10000) = -1 EINVAL (Invalid argument)"),
            "shmat(-1, NULL, 0) = -1 EINVAL (Invalid argument)",
            "shmdt(0x1000) = -1 EINVAL (Invalid argument)",
        ]
    );
}

#[apply(test)]
fn every_command_of_shmctl_is_named_with_its_structure() {
    let id = oracle::create(0x4d2, 5000, 0o640);
    let request = |command| CallRequest::Control { id, command };
    let commands = [libc::IPC_STAT, libc::IPC_SET, 13, 15, 14, 3, 99];
    let requests: Vec<_> = commands.map(request).into();
    let requests: Vec<&dyn crate::actor::Line> = requests.iter().map(|request| request as _).collect();
    let ran = crate::support::finish(&mut trace(&[], &performing(&requests)));
    let lines = calls(&ran);
    let row = oracle::row(id).unwrap();
    let uid = nix::unistd::geteuid();
    let stamp = |seconds: &str| jiff(seconds.parse().unwrap());
    let record = format!(
        "{{key=0x000004d2, uid={uid}, gid={gid}, cuid={uid}, cgid={gid}, mode=0640, size=5000, cpid={cpid}, lpid=0, \
         nattch=0, atime=0, dtime=0, ctime=",
        gid = nix::unistd::getegid(),
        cpid = row.get("cpid"),
    );
    let ends = |line: &str, call: &str, end: &str| {
        assert!(line.starts_with(&format!("shmctl({id}, {call}, {record}")) && line.ends_with(end), "{line}");
    };
    ends(&lines[0], "IPC_STAT", "Z}) = 0");
    // The record that IPC_SET gets was read by the actor before.
    ends(&lines[1], "IPC_STAT", "Z}) = 0");
    ends(&lines[2], "IPC_SET", "Z}) = 0");
    let changed = format!("ctime={}}}) = {id}", stamp(row.get("ctime")));
    ends(&lines[3], "SHM_STAT", &changed);
    ends(&lines[4], "SHM_STAT_ANY", &changed);
    let usage = "{used_ids=1, shm_tot=2, shm_rss=0, shm_swp=0, swap_attempts=0, swap_successes=0}";
    assert_eq!(lines[5], format!("shmctl({id}, SHM_INFO, {usage}) = 0"));
    assert!(lines[6].starts_with(&format!("shmctl({id}, IPC_INFO, {{shmmax=")), "{}", lines[6]);
    assert!(lines[7].starts_with(&format!("shmctl({id}, 0x63, 0x7f")), "{}", lines[7]);
    assert!(lines[7].ends_with(" = -1 EINVAL (Invalid argument)"), "{}", lines[7]);
    assert_eq!(lines.len(), 8);
    let remove: &[&dyn crate::actor::Line] = &[&Request::Remove { id }, &Request::Remove { id }];
    assert_eq!(
        traced(&[], remove),
        [
            format!("shmctl({id}, IPC_RMID, NULL) = 0"),
            format!("shmctl({id}, IPC_RMID, NULL) = -1 EINVAL (Invalid argument)"),
        ]
    );
}

/// Formats seconds as the program does.
fn jiff(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}
