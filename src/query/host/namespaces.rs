//! The IPC namespaces of all processes, and the containers to which they belong.
//!
//! Threads of one process can be in different namespaces, so each thread is visited. A namespace kept alive only by an
//! attachment or an open descriptor has no process and is not found.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::system::System;
use crate::procfs;
use crate::query::failure::QueryError;

/// The number of threads recorded for a namespace, through any of which it can be entered.
const MAX_MEMBERS: usize = 4;
/// The number of digits of a container's id that are shown, as container tools do.
const SHORT_ID: usize = 12;

#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    pub(crate) number: u64,
    /// A process that is in it, or has a thread in it.
    pub(crate) pid: i32,
    pub(crate) container: Option<Arc<str>>,
    /// Threads in it, as paths below /proc.
    members: Vec<String>,
}

/// All visible IPC namespaces.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Sorted by number.
    pub(crate) namespaces: Vec<Namespace>,
    /// The number of processes whose namespace the caller is not permitted to read.
    pub(crate) inaccessible: u64,
}

impl Namespace {
    /// Returns an argument for `--ns`: the pid, or a thread's namespace file if only a thread is in it.
    pub(crate) fn ns_argument(&self) -> String {
        match self.members.first() {
            Some(member) if *member != self.pid.to_string() => format!("/proc/{member}/ns/ipc"),
            _ => self.pid.to_string(),
        }
    }

    /// Opens the namespace through any of its recorded threads.
    pub(crate) fn open(&self, system: &System) -> std::io::Result<File> {
        let mut last = ErrorKind::NotFound.into();
        for member in &self.members {
            match procfs::open_namespace(system.proc(), member, Some(self.number)) {
                Ok(file) => return Ok(file),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

pub(crate) fn census(system: &System) -> Result<Census, QueryError> {
    let proc = system.proc();
    let mut found: HashMap<u64, Namespace> = HashMap::new();
    let mut inaccessible = 0;
    let mut visit = |pid: i32, member: String| match std::fs::metadata(proc.join(&member).join("ns/ipc")) {
        Ok(file) => {
            let namespace = found.entry(file.ino()).or_insert_with(|| Namespace {
                number: file.ino(),
                pid,
                container: None,
                members: Vec::new(),
            });
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
    Ok(Census { namespaces, inaccessible })
}

/// Returns the container or unit of this IPC namespace, judged by a process in it; cached.
pub(in crate::query) fn container(system: &System) -> Option<Arc<str>> {
    system.container(|| {
        let number = system.namespace()?;
        census(system).ok()?.namespaces.into_iter().find(|namespace| namespace.number == number)?.container
    })
}

/// Returns the container or unit of a process or thread by its control group's path.
fn container_of(proc: &Path, process: &str) -> Option<Arc<str>> {
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
    fn containers_and_units_are_recognised_in_control_group_paths() {
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
            Namespace { number, pid: 7, container: None, members }
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
            // The leader has exited, so that only the thread has a namespace and the right control group.
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
        assert_eq!((containers, inaccessible), (vec![(1, None), (7, Some("x.service".into()))], 0));
    }
}
