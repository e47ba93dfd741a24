//! The system whose facts are read, with a cache of users, groups and processes.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Gid, SysconfVar, getegid, getgroups, sysconf};

use super::caller::Caller;
use super::directory::{DEV_SHM, ObjectDirectory};
use super::id_map::{IdMaps, to_caller, to_namespace};
use super::process::ProcessStatus;
use crate::model::{Scope, Stamp, escape_invalid_utf8};
use crate::procfs::{self, MountViews};
use crate::query::failure::QueryError;
use crate::query::product::Rules;
use crate::sys;

/// The inode number of the initial pid namespace (PROC_PID_INIT_INO of linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

/// Where POSIX objects are.
#[derive(Clone, Debug)]
pub(crate) enum ObjectsLocation {
    /// A directory of the caller's mount namespace; /dev/shm by default.
    Path(PathBuf),
    /// A directory of the mount namespace of a process.
    Process(i32, PathBuf),
    /// An IPC namespace was entered that no process names.
    Unknown,
}

/// A /proc, a clock, the user database and the directory of POSIX objects. Caches users, groups and processes.
#[derive(Debug)]
pub(crate) struct System {
    proc: PathBuf,
    /// The start time of the program, so that a whole report has the same current time.
    now: Stamp,
    objects_location: ObjectsLocation,
    /// The rules that recognize programs.
    rules: Rules,
    /// The id maps of the user namespace that was entered, if any.
    pub(in crate::query) ids: IdMaps,
    /// The process whose calls are explained, if it is not this one.
    pub(super) caller: Option<Caller>,
    pub(super) cache: Cache,
}

/// What was looked up.
#[derive(Debug, Default)]
pub(super) struct Cache {
    users: RefCell<BTreeMap<u32, Option<Arc<str>>>>,
    groups: RefCell<BTreeMap<u32, Option<Arc<str>>>>,
    statuses: RefCell<BTreeMap<i32, ProcessStatus>>,
    commands: RefCell<BTreeMap<i32, Option<Arc<str>>>>,
    names: RefCell<BTreeMap<i32, Option<Arc<[u8]>>>>,
    effective_uids: RefCell<BTreeMap<i32, Option<u32>>>,
    namespace: OnceCell<Option<u64>>,
    pub(super) unmapped_caller: OnceCell<bool>,
    proc_shows_own_pids: OnceCell<bool>,
    /// The container or unit to which the IPC namespace belongs.
    container: OnceCell<Option<Arc<str>>>,
    objects: OnceCell<ObjectDirectory>,
    /// The start of the oldest process of each user; `None` if that of a process is unknown.
    pub(super) oldest: OnceCell<Option<BTreeMap<u32, Stamp>>>,
    /// The pids of processes in pid namespaces below this one, each with that in this one.
    pub(super) inner_pids: OnceCell<Vec<(i32, i32)>>,
    swap_is_used: OnceCell<bool>,
    mount_views: OnceCell<MountViews>,
}

impl System {
    pub(crate) fn new() -> Self {
        Self::at(PathBuf::from("/proc"))
    }

    pub(crate) fn at(proc: PathBuf) -> Self {
        Self {
            proc,
            now: Stamp(clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |time| time.tv_sec())),
            objects_location: ObjectsLocation::Path(PathBuf::from(DEV_SHM)),
            rules: Rules::default(),
            ids: IdMaps::default(),
            caller: None,
            cache: Cache::default(),
        }
    }

    /// Converts ids by these maps, because a user namespace was entered.
    #[must_use]
    pub(crate) fn with_id_maps(mut self, ids: IdMaps) -> Self {
        self.ids = ids;
        self
    }

    /// Returns a new `System` with the same id maps: for another namespace, or when time has passed. The caller is this
    /// process.
    #[must_use]
    pub(crate) fn renewed(&self) -> Self {
        Self::at(self.proc.clone()).with_id_maps(self.ids.clone()).with_objects_in(self.objects_location.clone())
    }

    /// Returns a new `System` whose caller is a stopped thread of another process; `None` if /proc does not show it.
    pub(crate) fn of_caller(&self, pid: i32, thread: i32) -> Option<Self> {
        let caller = Caller::read(&self.proc, pid, thread).filter(|_| self.proc_shows_own_pids())?;
        Some(Self { caller: Some(caller), ..self.renewed() })
    }

    /// Returns the pid of the caller if that is not this process.
    pub(crate) fn other_caller(&self) -> Option<i32> {
        self.caller.as_ref().map(|caller| caller.pid)
    }

    /// Returns the calling thread as a path below /proc.
    pub(crate) fn caller_thread(&self) -> &str {
        self.caller.as_ref().map_or("thread-self", |caller| &caller.thread)
    }

    /// Returns whether no other user namespace was entered.
    pub(crate) fn is_in_own_user_namespace(&self) -> bool {
        self.ids.users.is_empty() && self.ids.groups.is_empty()
    }

    /// Records that this thread has entered another IPC namespace; cached processes and users remain valid.
    pub(crate) fn set_namespace(&mut self, number: u64, container: Option<Arc<str>>) {
        self.cache.namespace = OnceCell::from(Some(number));
        self.cache.container = OnceCell::from(container);
    }

    /// Uses another directory for POSIX objects than the caller's /dev/shm.
    #[must_use]
    pub(crate) fn with_objects_in(mut self, location: ObjectsLocation) -> Self {
        self.objects_location = location;
        self
    }

    /// Uses additional rules for programs, which nothing that removes objects may do.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    pub(in crate::query) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Returns whether the directory of POSIX objects is not the caller's /dev/shm.
    pub(crate) fn has_chosen_objects(&self) -> bool {
        !matches!(&self.objects_location, ObjectsLocation::Path(path) if path == Path::new(DEV_SHM))
    }

    /// Returns whether the directory of POSIX objects is the same one in the caller's mount namespace.
    pub(crate) fn shares_objects(&self) -> bool {
        let device = |directory: &ObjectDirectory| directory.device;
        self.objects_process().is_none_or(|(_, path)| {
            self.open_objects(path).as_ref().map(device).ok() == self.objects().map(device).ok()
        })
    }

    /// Returns the directory of POSIX objects, opened once.
    pub(crate) fn objects(&self) -> Result<&ObjectDirectory, QueryError> {
        if let Some(directory) = self.cache.objects.get() {
            return Ok(directory);
        }
        let directory = match &self.objects_location {
            ObjectsLocation::Path(path) => self.open_objects(path)?,
            ObjectsLocation::Process(pid, path) => ObjectDirectory::of_process(&self.proc, *pid, path)?,
            ObjectsLocation::Unknown => return Err(QueryError::NoObjectDirectory),
        };
        Ok(self.cache.objects.get_or_init(|| directory))
    }

    /// Returns the process whose directory of POSIX objects is used, and the directory's path there.
    pub(crate) fn objects_process(&self) -> Option<(i32, &Path)> {
        match &self.objects_location {
            ObjectsLocation::Process(pid, path) => Some((*pid, path)),
            _ => None,
        }
    }

    /// Opens a directory of POSIX objects of the caller's mount namespace.
    pub(super) fn open_objects(&self, path: &Path) -> Result<ObjectDirectory, QueryError> {
        let own = procfs::mount_namespace_of(&self.proc, "thread-self");
        // Processes of other pid namespaces can have created files in it.
        ObjectDirectory::open(path, own, !self.is_in_initial_pid_namespace())
    }

    /// Returns what the processes see of the mounts, read once.
    pub(super) fn mount_views(&self) -> Result<&MountViews, QueryError> {
        if let Some(views) = self.cache.mount_views.get() {
            return Ok(views);
        }
        let views = MountViews::read(&self.proc).map_err(QueryError::Namespaces)?;
        Ok(self.cache.mount_views.get_or_init(|| views))
    }

    /// Returns whether any page of the machine is in swap, or that is unknown.
    pub(in crate::query) fn swap_is_used(&self) -> bool {
        *self.cache.swap_is_used.get_or_init(|| {
            let size = |name| procfs::meminfo(&self.proc, name);
            size("SwapTotal:").is_none_or(|total| size("SwapFree:") != Some(total))
        })
    }

    pub(crate) fn proc(&self) -> &Path {
        &self.proc
    }

    pub(crate) fn now(&self) -> Stamp {
        self.now
    }

    /// Returns the effective uid of a process in the caller's user namespace; `None` if it has exited. Cached.
    pub(crate) fn effective_uid(&self, pid: i32) -> Option<u32> {
        cached(&self.cache.effective_uids, pid, || self.effective_uid_now(pid))
    }

    /// Returns the effective uid of a process now; not cached.
    pub(crate) fn effective_uid_now(&self, pid: i32) -> Option<u32> {
        // With hidepid=1 only the directory is readable. The kernel makes the effective user its owner.
        let owner = || Some(std::fs::metadata(self.proc.join(pid.to_string())).ok()?.uid());
        procfs::effective_uid(&self.proc, pid).or_else(owner).map(|uid| to_caller(&self.ids.users, uid))
    }

    pub(crate) fn is_in_group(&self, gid: u32) -> bool {
        let Some(gid) = to_namespace(&self.ids.groups, gid) else { return false };
        match &self.caller {
            Some(caller) => caller.is_in_group(gid),
            None => {
                let gid = Gid::from_raw(gid);
                getegid() == gid || getgroups().is_ok_and(|groups| groups.contains(&gid))
            }
        }
    }

    #[expect(clippy::unused_self, reason = "a fact of the system like the others")]
    pub(crate) fn page_size(&self) -> u64 {
        sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
    }

    pub(crate) fn kernel_release(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.proc.join("sys/kernel/osrelease")).ok()?;
        Some(text.trim().to_owned())
    }

    pub(crate) fn user_name(&self, uid: u32) -> Option<Arc<str>> {
        cached(&self.cache.users, uid, || sys::user_name(uid).map(|name| escape_invalid_utf8(&name).into()))
    }

    pub(crate) fn group_name(&self, gid: u32) -> Option<Arc<str>> {
        cached(&self.cache.groups, gid, || sys::group_name(gid).map(|name| escape_invalid_utf8(&name).into()))
    }

    /// Returns a user's name, or the uid if there is none.
    pub(crate) fn user(&self, uid: u32) -> String {
        self.user_name(uid).map_or_else(|| uid.to_string(), |name| name.to_string())
    }

    /// Returns a group's name, or the gid if there is none.
    pub(crate) fn group(&self, gid: u32) -> String {
        self.group_name(gid).map_or_else(|| gid.to_string(), |name| name.to_string())
    }

    /// Returns whether a process is running; cached.
    pub(crate) fn process_status(&self, pid: i32) -> ProcessStatus {
        cached(&self.cache.statuses, pid, || self.process_status_now(pid))
    }

    /// Returns whether a process is running now; not cached.
    pub(crate) fn process_status_now(&self, pid: i32) -> ProcessStatus {
        ProcessStatus::ask(Some(self.proc.as_path()).filter(|_| self.proc_shows_own_pids()), pid)
    }

    /// Returns whether a process is exiting, so its attachments end soon: see [`procfs::is_exiting`]. `None` if that is
    /// unknown; not cached.
    pub(crate) fn is_exiting(&self, pid: i32) -> Option<bool> {
        procfs::is_exiting(&self.proc, pid).filter(|_| self.proc_shows_own_pids())
    }

    /// Returns the command line of a process; cached.
    pub(crate) fn command(&self, pid: i32) -> Option<Arc<str>> {
        cached(&self.cache.commands, pid, || {
            let command = procfs::command(&self.proc, pid).filter(|_| self.proc_shows_own_pids())?;
            Some(escape_invalid_utf8(&command).into())
        })
    }

    /// Returns the name of a process (proc_pid_comm(5)); cached.
    pub(in crate::query) fn process_name(&self, pid: i32) -> Option<Arc<[u8]>> {
        cached(&self.cache.names, pid, || procfs::name(&self.proc, pid).ok().map(Into::into))
    }

    /// Returns the number of this thread's IPC namespace; `None` without /proc.
    pub(crate) fn namespace(&self) -> Option<u64> {
        *self.cache.namespace.get_or_init(|| procfs::namespace_of(&self.proc, "thread-self"))
    }

    /// Returns the number of the IPC namespace of a process.
    pub(crate) fn namespace_of(&self, pid: i32) -> Option<u64> {
        procfs::namespace_of(&self.proc, &pid.to_string()).filter(|_| self.proc_shows_own_pids())
    }

    /// Returns the scope of the segments that this thread sees.
    pub(crate) fn scope(&self) -> Option<Scope> {
        self.namespace().map(Scope::Ipc)
    }

    /// Returns the container or unit of this IPC namespace, which `find` looks up; cached.
    pub(super) fn container(&self, find: impl FnOnce() -> Option<Arc<str>>) -> Option<Arc<str>> {
        self.cache.container.get_or_init(find).clone()
    }

    /// Returns the default huge page size in bytes; `None` if the kernel has no huge pages.
    pub(crate) fn huge_page_size(&self) -> Option<u64> {
        procfs::meminfo(&self.proc, "Hugepagesize:")
    }

    /// Returns whether /proc belongs to this pid namespace. The /proc of another one shows this process with another
    /// pid, or not at all.
    pub(crate) fn proc_shows_own_pids(&self) -> bool {
        let own = || std::fs::read_link(self.proc.join("self")).ok()?.to_str()?.parse::<u32>().ok();
        *self.cache.proc_shows_own_pids.get_or_init(|| own() == Some(std::process::id()))
    }

    /// Returns whether /proc hides processes (mount option hidepid): process 1 always exists.
    pub(crate) fn hides_processes(&self) -> bool {
        !self.proc.join("1").exists()
    }

    /// Returns the number of processes that the caller may not inspect, of which `count` were found; `None` if /proc
    /// hides others.
    pub(crate) fn inaccessible(&self, count: u64) -> Option<u64> {
        (!self.hides_processes()).then_some(count)
    }

    /// Returns why /proc does not show a process that is running, as a clause.
    pub(crate) fn why_hidden(&self, pid: i32) -> Option<&'static str> {
        let is_missing = self.proc_shows_own_pids() && !self.proc.join(pid.to_string()).exists();
        (is_missing && self.process_status_now(pid).is_running())
            .then_some("/proc hides it (mount option hidepid): it belongs to another user or is not dumpable")
    }

    /// Returns why /proc does not show the processes of this pid namespace, as a predicate; `None` if it shows them.
    pub(crate) fn proc_problem(&self) -> Option<&'static str> {
        match self.proc_shows_own_pids() {
            true => None,
            false if self.has_proc() => Some("belongs to another pid namespace"),
            false => Some("is not mounted"),
        }
    }

    /// Returns whether there is a /proc, of any pid namespace.
    pub(crate) fn has_proc(&self) -> bool {
        std::fs::symlink_metadata(self.proc.join("self")).is_ok()
    }

    /// Returns whether this is the initial pid namespace, in which every process is visible.
    pub(in crate::query) fn is_in_initial_pid_namespace(&self) -> bool {
        std::fs::metadata(self.proc.join("self/ns/pid")).is_ok_and(|file| file.ino() == INITIAL_PID_NAMESPACE)
    }
}

/// Returns the value of a key in a cache, which `find` looks up the first time.
fn cached<K: Ord, V: Clone>(cache: &RefCell<BTreeMap<K, V>>, key: K, find: impl FnOnce() -> V) -> V {
    cache.borrow_mut().entry(key).or_insert_with(find).clone()
}
