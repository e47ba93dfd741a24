//! The IPC namespaces of all processes and bind mounts, and the containers to which they belong.
//!
//! Threads of one process can be in different namespaces, so each thread is visited. A bind mount keeps a namespace
//! alive without a process; it is found in the mount namespace of any process. A namespace kept alive only by an
//! attachment or an open descriptor is not found.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;

use super::system::System;
use crate::procfs;
use crate::query::failure::QueryError;
use crate::sys;

/// The number of threads, or of bind mounts, recorded for a namespace, through any of which it can be entered.
const MAX_MEMBERS: usize = 4;
/// The number of digits of a container's id that are shown, as container tools do.
const SHORT_ID: usize = 12;

#[derive(Clone, Debug, Default)]
pub(crate) struct Namespace {
    pub(crate) number: u64,
    /// A process that is in it, or has a thread in it; `None` if only a bind mount keeps it alive.
    pub(crate) pid: Option<i32>,
    pub(crate) container: Option<Arc<str>>,
    /// Threads in it, as paths below /proc.
    members: Vec<String>,
    /// Its mount points.
    mounts: Vec<PathBuf>,
}

/// All visible IPC namespaces.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Sorted by number.
    pub(crate) namespaces: Vec<Namespace>,
    /// The number of processes whose namespace the caller is not permitted to read; `None` if /proc hides some.
    pub(crate) inaccessible: Option<u64>,
}

impl Namespace {
    /// Returns an argument for `--ns`: the pid, a thread's namespace file if only a thread is in it, or the number if
    /// no process is in it.
    pub(crate) fn ns_argument(&self) -> String {
        self.members.first().map_or_else(|| self.number.to_string(), |member| Self::name_of(member))
    }

    /// Returns a name for nsenter(1) that outlasts this process: a pid, a thread's namespace file or a mount point.
    pub(crate) fn lasting_name(&self) -> Option<OsString> {
        let own = std::process::id().to_string();
        let is_other = |member: &&String| member.split('/').next() != Some(&own);
        let mounted = || {
            let mount = self.mounts.first()?;
            let seen_here = mount.strip_prefix(format!("/proc/{own}/root")).map(|path| Path::new("/").join(path));
            Some(seen_here.unwrap_or_else(|_| mount.clone()).into())
        };
        self.members.iter().find(is_other).map(|member| Self::name_of(member).into()).or_else(mounted)
    }

    /// Returns the pid of a process, or the namespace file of a thread.
    fn name_of(member: &str) -> String {
        if member.contains('/') { format!("/proc/{member}/ns/ipc") } else { member.to_owned() }
    }

    /// Opens the namespace through any of its recorded threads, or of its bind mounts if no process is in it.
    pub(crate) fn open(&self, system: &System) -> io::Result<File> {
        let mut last = ErrorKind::NotFound.into();
        for member in &self.members {
            match procfs::open_namespace(system.proc(), member, Some(self.number)) {
                Ok(file) => return Ok(file),
                Err(error) => last = error,
            }
        }
        // If its last process has exited meanwhile, the namespace has usually ended.
        for mount in self.mounts.iter().filter(|_| self.pid.is_none()) {
            match self.open_mount(system, mount) {
                Ok(file) => return Ok(file),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Opens a mount point. The user of a container can have put any other file there, such as a FIFO or a link to a
    /// device, so the file is identified before it is opened.
    fn open_mount(&self, system: &System, mount: &Path) -> io::Result<File> {
        let hidden = || io::Error::other("another mount or file hides the mount point, or it was unmounted");
        // `PID/root`, below /proc.
        let root: PathBuf = mount.iter().take(system.proc().iter().count() + 2).collect();
        let found = match sys::refer_to(AT_FDCWD, mount.as_os_str()) {
            // Unless the process that shows the mount has exited.
            Err(Errno::ENOENT) if root.exists() => return Err(hidden()),
            found => File::from(found?),
        };
        let (file, own) = (found.metadata()?, std::fs::metadata(system.proc().join("self/ns/ipc"))?);
        if (file.dev(), file.ino()) != (own.dev(), self.number) {
            return Err(hidden());
        }
        File::open(system.proc().join(format!("self/fd/{}", found.as_raw_fd())))
    }
}

pub(crate) fn census(system: &System) -> Result<Census, QueryError> {
    let proc = system.proc();
    let mut found: HashMap<u64, Namespace> = HashMap::new();
    let mut inaccessible = 0;
    let mut visit = |pid: i32, member: String| match std::fs::metadata(proc.join(&member).join("ns/ipc")) {
        Ok(file) => {
            let number = file.ino();
            let new = || Namespace { number, pid: Some(pid), ..Namespace::default() };
            let namespace = found.entry(number).or_insert_with(new);
            if namespace.members.len() < MAX_MEMBERS {
                namespace.members.push(member);
            }
            true
        }
        Err(error) => error.kind() != ErrorKind::PermissionDenied,
    };
    for pid in procfs::pids(proc).map_err(QueryError::Namespaces)? {
        if !visit(pid, pid.to_string()) {
            inaccessible += 1;
            continue;
        }
        for thread in procfs::other_threads(proc, pid) {
            visit(pid, thread);
        }
    }
    for (pid, _) in &system.mount_views()?.distinct {
        for (number, point) in procfs::mounted_namespaces(proc, *pid).unwrap_or_default() {
            let unused = || Namespace { number, ..Namespace::default() };
            let mounts = &mut found.entry(number).or_insert_with(unused).mounts;
            if mounts.len() < MAX_MEMBERS {
                mounts.push(proc.join(format!("{pid}/root")).join(point.strip_prefix("/").unwrap_or(&point)));
            }
        }
    }
    let mut namespaces: Vec<Namespace> = found.into_values().collect();
    namespaces.sort_by_key(|namespace| namespace.number);
    let host = procfs::namespace_of(proc, "1");
    for namespace in &mut namespaces {
        // The namespace of process 1 is the host's, even if other processes are in it too.
        if Some(namespace.number) != host {
            // A thread-group leader that has exited is shown in the root control group: ask the thread.
            namespace.container = namespace.members.first().and_then(|member| container_of(proc, member));
        }
    }
    Ok(Census { namespaces, inaccessible: system.inaccessible(inaccessible) })
}

/// Returns the container or unit of this IPC namespace, judged by a process in it; cached.
pub(in crate::query) fn container(system: &System) -> Option<Arc<str>> {
    system.container(|| {
        let number = system.namespace()?;
        census(system).ok()?.namespaces.into_iter().find(|namespace| namespace.number == number)?.container
    })
}

/// Returns the container or unit of a process.
pub(crate) fn container_of_process(system: &System, pid: i32) -> Option<Arc<str>> {
    container_of(system.proc(), &pid.to_string())
}

/// Returns the container or unit of a process or thread by its control group's path.
pub(super) fn container_of(proc: &Path, process: &str) -> Option<Arc<str>> {
    procfs::control_groups(proc, process).iter().find_map(|path| container_in(path)).map(Into::into)
}

/// Finds a container's id or name, or else a systemd unit's name, in a control group's path.
fn container_in(path: &str) -> Option<String> {
    let parts = || path.split('/').rev().filter(|part| !part.is_empty() && *part != "..");
    let container = parts().find_map(|part| {
        let scope = part.strip_suffix(".scope");
        let name = scope.unwrap_or(part);
        // CRI-O and Podman also run a conmon for each container.
        if let Some(id) = id_in(name).filter(|_| !name.contains("conmon")) {
            return Some(id[..SHORT_ID].to_owned());
        }
        let machine = || scope?.strip_prefix("machine-");
        name.strip_prefix("lxc.payload.").or_else(machine).map(|name| name.replace("\\x2d", "-"))
    });
    let unit = || parts().find(|part| part.ends_with(".service") || part.ends_with(".scope")).map(ToOwned::to_owned);
    container.or_else(unit)
}

/// The prefixes with which container runtimes name control groups.
const RUNTIMES: &[&str] = &["docker-", "libpod-", "cri-containerd-", "containerd-", "nerdctl-", "crio-"];

/// Finds a container's id in the name of a control group: 64 hexadecimal digits, or at least 32 after the prefix of a
/// runtime. Other programs also use 32 digits, for example systemd for its invocation and machine ids.
fn id_in(name: &str) -> Option<&str> {
    let by_runtime = RUNTIMES.iter().find_map(|prefix| name.strip_prefix(prefix));
    let (id, digits) = by_runtime.map_or((name.rsplit('-').next()?, 64), |id| (id, 32));
    (id.len() >= digits && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::directory;

    #[test]
    fn containers_and_units_are_recognized_in_control_group_paths() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for (path, expected) in [
            (format!("/system.slice/docker-{id}.scope"), Some("0123456789ab")),
            (format!("/docker/{id}"), Some("0123456789ab")),
            (format!("/machine.slice/libpod-{id}.scope/container"), Some("0123456789ab")),
            (format!("/kubepods.slice/kubepods-pod1_2.slice/cri-containerd-{id}.scope"), Some("0123456789ab")),
            (format!("/kubepods/burstable/pod12/{id}"), Some("0123456789ab")),
            (format!("/../cri-containerd-{id}.scope"), Some("0123456789ab")),
            ("/lxc.payload.web/system.slice/postgresql.service".to_owned(), Some("web")),
            ("/machine.slice/machine-debian\\x2d12.scope/init.scope".to_owned(), Some("debian-12")),
            ("/system.slice/postgresql.service".to_owned(), Some("postgresql.service")),
            ("/system.slice/machine-learning.service".to_owned(), Some("machine-learning.service")),
            (format!("/machine.slice/libpod-conmon-{id}.scope"), Some(&*format!("libpod-conmon-{id}.scope"))),
            ("/user.slice/user-1000.slice/session-3.scope".to_owned(), Some("session-3.scope")),
            (format!("/docker/{}", &id[..32]), None),
            (format!("/user.slice/{}/x.service", &id[..32]), Some("x.service")),
            (format!("/machine.slice/job-{}.scope", &id[..32]), Some(&*format!("job-{}.scope", &id[..32]))),
            (format!("/system.slice/docker-{}.scope", &id[..32]), Some("0123456789ab")),
            ("/".to_owned(), None),
            ("/../..".to_owned(), None),
        ] {
            assert_eq!(container_in(&path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_thread_that_has_exited_or_left_the_namespace_is_skipped() {
        // 5 has exited, 6 is in another namespace.
        let proc = directory(&[("6/ns/ipc", ""), ("7/ns/ipc", "")]);
        let number = procfs::namespace_of(proc.path(), "7").unwrap();
        let system = System::at(proc.path().to_owned());
        let of = |members: &[&str]| {
            let members = members.iter().map(|member| (*member).to_owned()).collect();
            Namespace { number, pid: Some(7), members, ..Namespace::default() }
        };
        assert_eq!(of(&["5", "6", "7"]).open(&system).unwrap().metadata().unwrap().ino(), number);
        assert_eq!(of(&["5", "6"]).open(&system).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_container_is_read_from_a_thread_and_never_for_the_host_namespace() {
        let unit = "0::/system.slice/x.service\n";
        let proc = directory(&[
            ("1/ns/ipc", ""),
            ("1/cgroup", unit),
            // The leader has exited, so only the thread has a namespace and the right control group.
            ("7/cgroup", "0::/\n"),
            ("7/task/7/cgroup", "0::/\n"),
            ("7/task/8/ns/ipc", ""),
            ("7/task/8/cgroup", unit),
            // A process that is exiting.
            ("9/cgroup", "0::/\n"),
        ]);
        let Census { namespaces, inaccessible } = census(&System::at(proc.path().to_owned())).unwrap();
        let mut containers: Vec<_> = namespaces.into_iter().map(|found| (found.pid, found.container)).collect();
        containers.sort_unstable();
        assert_eq!((containers, inaccessible), (vec![(Some(1), None), (Some(7), Some("x.service".into()))], Some(0)));
    }
}
