//! The kernel denies access: shmctl by seccomp(2), /proc/sysvipc/shm by a mount over it.
#![expect(unsafe_code, reason = "only pre_exec can put a child into a sandbox")]
#![expect(clippy::disallowed_methods, reason = "tests prepare their own children")]

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, sock_filter, sock_fprog};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

use crate::actor::Actor;
use crate::fixtures::{assert_is_row, file_names, stable_fields, sysctl, without_former_key};
use crate::oracle::{self, Attached};
use crate::support::{file, finish, shmadm};

/// The errnos with which a sandbox denies a system call.
const DENIALS: [Errno; 2] = [Errno::EPERM, Errno::ENOSYS];

#[apply(test)]
fn without_shmctl_proc_provides_every_listing() {
    let _segments = segments();
    for errno in DENIALS {
        let list = |options: &[&str]| finish(without_shmctl(shmadm(), errno).args(["list", "--json"]).args(options));
        agrees(&list(&[]).exits(0).json(), |_| {});
        let chosen = ["id", "key", "size", "nattch"];
        agrees(&list(&["-o", "ID,KEY,SIZE,NATTCH"]).exits(0).json(), |record| {
            record.as_object_mut().unwrap().retain(|key, _| chosen.contains(&key.as_str()));
        });
    }
}

#[apply(test)]
fn without_shmctl_proc_provides_every_record() {
    let (id, _attached) = segments();
    for errno in DENIALS {
        let stat = |name: &str| finish(without_shmctl(shmadm(), errno).args(["stat", name, "--json"]));
        let row = oracle::row(id.parse().unwrap()).unwrap();
        assert_is_row(&without_former_key(&stat(&id).exits(0).json()["segments"][0]), &row);
        assert_is_row(&without_former_key(&stat("0x4d2").exits(0).json()["segments"][0]), &row);
        assert_eq!(stat("77").exits(3).json()["error"]["kind"], "not-found");
    }
}

#[apply(test)]
fn without_shmctl_proc_provides_the_limits() {
    let _segments = segments();
    let limits = finish(shmadm().args(["limits", "--json"])).exits(0).json();
    for errno in DENIALS {
        let denied = finish(without_shmctl(shmadm(), errno).args(["limits", "--json"])).exits(0).json();
        assert_eq!(denied, limits, "{errno}");
    }
}

#[apply(test)]
#[requires(Root)]
fn without_shmctl_the_limit_of_ids_is_still_named() {
    oracle::create(0, 1, 0o600);
    sysctl("shmmni", 1);
    for arguments in [&["create"][..], &["create", "--dry-run"]] {
        finish(without_shmctl(shmadm(), Errno::EPERM).args(arguments)).exits(1).says("the only segment id of");
    }
}

#[apply(test)]
fn without_shmctl_a_removal_fails_and_names_the_call() {
    let (id, _attached) = segments();
    let before = oracle::rows();
    for (errno, code) in DENIALS.into_iter().zip([4, 1]) {
        let ran = finish(without_shmctl(shmadm(), errno).args(["rm", &id]));
        ran.exits(code).says("shmctl").prints_nothing();
        assert_eq!(oracle::rows(), before);
    }
}

#[apply(test)]
#[requires(Root)]
fn without_proc_shmctl_provides_everything_but_resident_sizes() {
    let (id, _attached) = segments();
    let directory = tempfile::tempdir().unwrap();
    let empty = file(directory.path(), "empty", b"");
    let garbage = file(directory.path(), "garbage", b"no\nsuch table\n");
    for hidden in [empty.as_path(), garbage.as_path()] {
        let without_proc = || {
            let mut command = shmadm();
            with_file_over(&mut command, hidden, c"/proc/sysvipc/shm");
            command
        };
        let json = finish(without_proc().args(["list", "--json"])).exits(0).json();
        let unknown = |record: &mut Value| {
            record["rss"] = Value::Null;
            record["swap"] = Value::Null;
        };
        agrees(&json, unknown);
        let json = finish(without_proc().args(["stat", &id, "--json"])).exits(0).json();
        let mut record = oracle::record(&oracle::row(id.parse().unwrap()).unwrap());
        unknown(&mut record);
        assert_eq!(stable_fields(&without_former_key(&json["segments"][0])), record);
        for arguments in [&["list"][..], &["stat", &id], &["limits"], &["read", &id], &["stat", "0x4d2"]] {
            finish(without_proc().args(arguments)).exits(0);
        }
        finish(without_proc().args(["list", "--sort", "rss"])).exits(0);
        let metrics = finish(without_proc().args(["metrics"])).exits(0).stdout;
        assert!(metrics.contains("\nshmadm_sysv_size_bytes{"), "{metrics}");
        assert!(!metrics.contains("resident") && !metrics.contains("swapped"), "an unknown sum is not 0: {metrics}");
    }
}

#[apply(test)]
#[requires(Root)]
fn without_both_it_fails_and_names_both() {
    let _attached = segments();
    let directory = tempfile::tempdir().unwrap();
    let empty = file(directory.path(), "empty", b"");
    for arguments in [&["list"][..], &["stat", "0"], &["list", "-o", "id"]] {
        let mut command = without_shmctl(shmadm(), Errno::EPERM);
        with_file_over(&mut command, &empty, c"/proc/sysvipc/shm");
        let ran = finish(command.args(arguments)).prints_nothing().says("error: ");
        assert!(matches!(ran.code, Some(1 | 4)), "{ran:?}");
    }
}

/// Creates some segments, the last with key 1234; returns its id and keeps one attached.
fn segments() -> (String, Attached) {
    oracle::create(0, 1, 0o600);
    oracle::create(0xffff_ffff, 5000, 0);
    let dest = oracle::create(0x77, 4096, 0o640);
    let attached = Attached::new(dest);
    attached.write(0, b"resident");
    oracle::remove(dest);
    oracle::remove(oracle::create(0, 1, 0));
    (oracle::create(1234, 4096, 0o604).to_string(), attached)
}

/// Compares a listing with the kernel's, after `change` has adapted the expected records.
#[track_caller]
fn agrees(json: &Value, change: impl Fn(&mut Value)) {
    let listed: Vec<_> = json["segments"].as_array().unwrap().iter().map(stable_fields).collect();
    let mut expected: Vec<_> = oracle::rows().iter().map(oracle::record).collect();
    expected.iter_mut().for_each(change);
    assert_eq!(listed, expected);
}

/// Mounts a file over another in a private mount namespace of the command; requires root.
pub(crate) fn with_file_over(command: &mut Command, shown: &Path, hidden: &'static CStr) {
    let shown = CString::new(shown.as_os_str().as_bytes()).unwrap();
    let cover = move || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none = None::<&CStr>;
        // The mounts do not propagate.
        mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some(shown.as_c_str()), hidden, none, MsFlags::MS_BIND, none)?;
        Ok(())
    };
    // SAFETY: between fork and exec this makes three system calls, and allocates nothing.
    unsafe { command.pre_exec(cover) };
}

/// A /proc that shows only some processes, so that a scan of all processes is complete. Not even root can always
/// inspect all processes of a machine.
pub(crate) struct ShownProcesses {
    /// The directory that is mounted over /proc, and that on which /proc itself is mounted.
    directories: [CString; 2],
    _directory: tempfile::TempDir,
    /// The process that is shown as the first one.
    _first: Actor,
}

impl ShownProcesses {
    /// Shows some processes, and as the first one a process that does nothing.
    pub(crate) fn new(pids: &[i32]) -> Self {
        let first = Actor::start();
        let directory = tempfile::tempdir().unwrap();
        let [shown, proc] = ["shown", "proc"].map(|name| directory.path().join(name));
        [&shown, &proc].into_iter().for_each(|path| std::fs::create_dir(path).unwrap());
        let show = |target: &str, name: &str| symlink(proc.join(target), shown.join(name)).unwrap();
        let is_process = |name: &str| name.starts_with(|first: char| first.is_ascii_digit());
        file_names("/proc".as_ref()).iter().filter(|name| !is_process(name)).for_each(|name| show(name, name));
        pids.iter().map(i32::to_string).for_each(|pid| show(&pid, &pid));
        show(&first.pid().to_string(), "1");
        let directories = [shown, proc].map(|path| CString::new(path.as_os_str().as_bytes()).unwrap());
        Self { directories, _directory: directory, _first: first }
    }

    /// Adds a process whose mappings cannot be read for a reason that nothing explains.
    pub(crate) fn add_process_that_cannot_be_read(&self) {
        let shown = Path::new(OsStr::from_bytes(self.directories[0].as_bytes()));
        std::fs::create_dir_all(shown.join("4194304/maps")).unwrap();
    }

    /// Shows them to a command, in a private mount namespace; requires root.
    pub(crate) fn to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let [shown, proc] = self.directories.clone();
        let cover = move || {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let none = None::<&CStr>;
            mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            mount(Some(c"/proc"), proc.as_c_str(), none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
            mount(Some(shown.as_c_str()), c"/proc", none, MsFlags::MS_BIND, none)?;
            Ok(())
        };
        // SAFETY: between fork and exec this makes five system calls, and allocates nothing.
        unsafe { command.pre_exec(cover) }
    }
}

/// Hides /proc in a private mount namespace of the command; requires root.
pub(crate) fn with_empty_proc(command: &mut Command) {
    let cover = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none = None::<&CStr>;
        mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(none, c"/proc", Some(c"tmpfs"), MsFlags::empty(), none)?;
        Ok(())
    };
    // SAFETY: between fork and exec this makes three system calls, and allocates nothing.
    unsafe { command.pre_exec(cover) };
}

/// Causes every shmctl of a command to fail with an errno.
fn without_shmctl(mut command: Command, errno: Errno) -> Command {
    without(&mut command, libc::SYS_shmctl, None, errno);
    command
}

/// Causes a system call of a command to fail with an errno, optionally only for one value of the second argument.
pub(crate) fn without(command: &mut Command, call: c_long, second: Option<u32>, errno: Errno) -> &mut Command {
    let number = u32::try_from(call).unwrap();
    let refusal = libc::SECCOMP_RET_ERRNO | (errno as c_int).cast_unsigned();
    let deny = move || {
        let statement =
            |code: u32, k: u32, jt: u8, jf: u8| sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
        let (load, equal) = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
        let give = libc::BPF_RET | libc::BPF_K;
        // Without a value for the second argument, its comparison is skipped.
        let mut filter = [
            // The number is the first word of `struct seccomp_data`.
            statement(load, 0, 0, 0),
            statement(equal, number, if second.is_some() { 0 } else { 2 }, 3),
            // The second argument, at offset 24 of `struct seccomp_data`.
            statement(load, 24, 0, 0),
            statement(equal, second.unwrap_or(0), 0, 1),
            statement(give, refusal, 0, 0),
            statement(give, libc::SECCOMP_RET_ALLOW, 0, 0),
        ];
        let program = sock_fprog { len: 6, filter: filter.as_mut_ptr() };
        // SAFETY: prctl takes only integers here.
        let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        Errno::result(result).map_err(io::Error::from)?;
        // SAFETY: the program and its statements live through the call, which copies them.
        let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        Errno::result(result).map_err(io::Error::from)?;
        Ok(())
    };
    // SAFETY: between fork and exec this makes two system calls, and allocates nothing.
    unsafe { command.pre_exec(deny) }
}

/// Puts the children of a command, but not the command itself, into a new pid namespace.
pub(crate) fn with_new_pid_namespace(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec this makes one system call and nothing else.
    unsafe { command.pre_exec(|| unshare(CloneFlags::CLONE_NEWPID).map_err(Into::into)) }
}

/// Drops capabilities of a command (linux/capability.h), whose user is root.
pub(crate) fn without_capabilities<'a>(command: &'a mut Command, numbers: &'static [c_int]) -> &'a mut Command {
    let drop = move || {
        for number in numbers {
            // SAFETY: prctl takes only integers here.
            Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, *number) })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec this makes system calls and nothing else.
    unsafe { command.pre_exec(drop) }
}

/// Drops every capability of a command.
pub(crate) fn with_no_capabilities(command: &mut Command) -> &mut Command {
    // SECBIT_NOROOT: the following exec gives uid 0 no capabilities.
    let set = || {
        // SAFETY: prctl takes only integers here.
        Errno::result(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, 1) })?;
        Ok(())
    };
    // SAFETY: between fork and exec this makes a system call and nothing else.
    unsafe { command.pre_exec(set) }
}
