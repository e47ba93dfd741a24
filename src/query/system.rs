//! The system whose facts are read, with a cache of users, groups and processes.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Gid, Group, SysconfVar, Uid, User, getegid, geteuid, getgroups, sysconf};

use super::huge::huge_page_pools;
use super::ids::{IdMaps, to_caller, to_namespace};
use super::liveness::ProcessStatus;
use super::namespaces::{Namespace, census};
use super::processes::segment_devices;
use crate::error::{Error, Kind};
use crate::model::{Needs, Segment, Stamp, escape_invalid_utf8};
use crate::procfs;
use crate::sys;

/// The inode number of the initial pid namespace (PROC_PID_INIT_INO of linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

/// A /proc, a clock and the user database. Each user, group and process is looked up once.
#[derive(Debug)]
pub(crate) struct System {
    /// Where /proc is mounted.
    proc: PathBuf,
    /// The start time of the program, so that a whole report has the same current time.
    now: Stamp,
    users: RefCell<BTreeMap<u32, Option<Arc<str>>>>,
    groups: RefCell<BTreeMap<u32, Option<Arc<str>>>>,
    statuses: RefCell<BTreeMap<i32, ProcessStatus>>,
    commands: RefCell<BTreeMap<i32, Option<Arc<str>>>>,
    /// The number of this thread's IPC namespace.
    namespace: OnceCell<Option<u64>>,
    /// The devices on which the kernel keeps segments.
    devices: OnceCell<Result<Vec<(u32, u32)>, Errno>>,
    /// Huge page sizes with the number of pages in each pool.
    pools: OnceCell<Vec<(u64, u64)>>,
    proc_shows_own_pids: OnceCell<bool>,
    /// The container or unit to which the IPC namespace belongs.
    container: OnceCell<Option<Arc<str>>>,
    /// The id maps of the user namespace that was entered, if any.
    pub(super) ids: IdMaps,
}

impl System {
    pub(crate) fn new() -> Self {
        Self::at(PathBuf::from("/proc"))
    }

    /// Creates a system with another /proc.
    pub(crate) fn at(proc: PathBuf) -> Self {
        Self {
            proc,
            now: Stamp(clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |time| time.tv_sec())),
            users: RefCell::default(),
            groups: RefCell::default(),
            statuses: RefCell::default(),
            commands: RefCell::default(),
            namespace: OnceCell::new(),
            devices: OnceCell::new(),
            pools: OnceCell::new(),
            proc_shows_own_pids: OnceCell::new(),
            container: OnceCell::new(),
            ids: IdMaps::default(),
        }
    }

    /// Converts ids by these maps, because a user namespace was entered.
    #[must_use]
    pub(crate) fn with_id_maps(mut self, ids: IdMaps) -> Self {
        self.ids = ids;
        self
    }

    /// Records that this thread has entered another IPC namespace; cached processes and users remain valid.
    pub(crate) fn set_namespace(&mut self, namespace: &Namespace) {
        self.namespace = OnceCell::from(Some(namespace.number));
        self.container = OnceCell::from(namespace.container.clone());
    }

    /// Returns where /proc is mounted.
    pub(crate) fn proc(&self) -> &Path {
        &self.proc
    }

    /// Returns the start time of the program.
    pub(crate) fn now(&self) -> Stamp {
        self.now
    }

    /// Returns the caller's effective uid in the caller's user namespace.
    pub(crate) fn uid(&self) -> u32 {
        to_caller(&self.ids.users, geteuid().as_raw())
    }

    pub(crate) fn is_in_group(&self, gid: u32) -> bool {
        let Some(gid) = to_namespace(&self.ids.groups, gid).map(Gid::from_raw) else { return false };
        getegid() == gid || getgroups().is_ok_and(|groups| groups.contains(&gid))
    }

    /// Returns the page size in bytes.
    #[expect(clippy::unused_self, reason = "a fact of the system like the others")]
    pub(crate) fn page_size(&self) -> u64 {
        sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
    }

    pub(crate) fn kernel_release(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.proc.join("sys/kernel/osrelease")).ok()?;
        Some(text.trim().to_owned())
    }

    pub(crate) fn user_name(&self, uid: u32) -> Option<Arc<str>> {
        let mut users = self.users.borrow_mut();
        users.entry(uid).or_insert_with(|| sys::user_name(uid).map(|name| escape_invalid_utf8(&name).into())).clone()
    }

    pub(crate) fn group_name(&self, gid: u32) -> Option<Arc<str>> {
        let mut groups = self.groups.borrow_mut();
        groups.entry(gid).or_insert_with(|| sys::group_name(gid).map(|name| escape_invalid_utf8(&name).into())).clone()
    }

    /// Returns a user's name, or the uid if there is none.
    pub(crate) fn user(&self, uid: u32) -> String {
        self.user_name(uid).map_or_else(|| uid.to_string(), |name| name.to_string())
    }

    /// Returns a group's name, or the gid if there is none.
    pub(crate) fn group(&self, gid: u32) -> String {
        self.group_name(gid).map_or_else(|| gid.to_string(), |name| name.to_string())
    }

    /// Returns the uid of a user given by name or uid.
    ///
    /// # Errors
    /// There is no such user.
    pub(crate) fn find_user(&self, text: &str) -> Result<u32, Error> {
        find_account(text, "user", || User::from_name(text).ok().flatten().map(|user| user.uid.as_raw()))
    }

    /// Returns the gid of a group given by name or gid.
    ///
    /// # Errors
    /// There is no such group.
    pub(crate) fn find_group(&self, text: &str) -> Result<u32, Error> {
        find_account(text, "group", || Group::from_name(text).ok().flatten().map(|group| group.gid.as_raw()))
    }

    /// Returns whether a process is running; cached.
    pub(super) fn process_status(&self, pid: i32) -> ProcessStatus {
        *self.statuses.borrow_mut().entry(pid).or_insert_with(|| ProcessStatus::query(self, pid))
    }

    /// Returns the command line of a process; cached.
    pub(crate) fn command(&self, pid: i32) -> Option<Arc<str>> {
        let mut commands = self.commands.borrow_mut();
        commands
            .entry(pid)
            .or_insert_with(|| {
                let own = self.proc_shows_own_pids();
                procfs::command(&self.proc, pid).filter(|_| own).map(|command| escape_invalid_utf8(&command).into())
            })
            .clone()
    }

    /// Returns the number of this thread's IPC namespace; `None` without /proc.
    pub(crate) fn namespace(&self) -> Option<u64> {
        *self.namespace.get_or_init(|| procfs::namespace_of(&self.proc, "thread-self"))
    }

    /// Returns the container or unit of this IPC namespace, judged by a process in it.
    fn container(&self) -> Option<Arc<str>> {
        let find = || {
            let number = self.namespace()?;
            census(self).ok()?.namespaces.into_iter().find(|namespace| namespace.number == number)?.container
        };
        self.container.get_or_init(find).clone()
    }

    /// See [`segment_devices`]; cached.
    pub(super) fn segment_devices(&self) -> Result<Vec<(u32, u32)>, Errno> {
        self.devices.get_or_init(segment_devices).clone()
    }

    /// See [`huge_page_pools`]; cached.
    pub(super) fn huge_page_pools(&self) -> &[(u64, u64)] {
        self.pools.get_or_init(huge_page_pools)
    }

    /// Returns whether /proc belongs to this pid namespace. The /proc of another one shows this process with another
    /// pid, or not at all.
    pub(crate) fn proc_shows_own_pids(&self) -> bool {
        let own = || std::fs::read_link(self.proc.join("self")).ok()?.to_str()?.parse::<u32>().ok();
        *self.proc_shows_own_pids.get_or_init(|| own() == Some(std::process::id()))
    }

    /// Returns whether there is a /proc, of whichever pid namespace.
    pub(super) fn has_proc(&self) -> bool {
        std::fs::symlink_metadata(self.proc.join("self")).is_ok()
    }

    /// Returns whether this is the initial pid namespace, in which every process is visible.
    pub(super) fn is_in_initial_pid_namespace(&self) -> bool {
        std::fs::metadata(self.proc.join("self/ns/pid")).is_ok_and(|file| file.ino() == INITIAL_PID_NAMESPACE)
    }

    /// Adds the needed fields to a record.
    pub(super) fn complete(&self, segment: &mut Segment, needs: Needs) {
        let IdMaps { users, groups } = &self.ids;
        if !users.is_empty() || !groups.is_empty() {
            (segment.uid, segment.cuid) = (to_caller(users, segment.uid), to_caller(users, segment.cuid));
            (segment.gid, segment.cgid) = (to_caller(groups, segment.gid), to_caller(groups, segment.cgid));
        }
        segment.idle_seconds = self.idle_seconds(segment);
        if needs.contains(Needs::NAMES) {
            segment.owner = self.user_name(segment.uid);
            segment.creator = self.user_name(segment.cuid);
            segment.group = self.group_name(segment.gid);
            segment.creator_group = self.group_name(segment.cgid);
        }
        if needs.contains(Needs::STATE) {
            segment.state = Some(self.state(segment));
        }
        if needs.contains(Needs::COMMANDS) {
            segment.creator_command = self.creator_command(segment);
            segment.last_command = self.last_command(segment);
        }
        if needs.contains(Needs::NAMESPACE) {
            segment.ns = self.namespace();
        }
        if needs.contains(Needs::CONTAINER) {
            segment.container = self.container();
        }
    }

    /// Returns the seconds since the last attach, detach or change; `None` while attached.
    fn idle_seconds(&self, segment: &Segment) -> Option<u64> {
        if segment.nattch > 0 {
            return None;
        }
        let last = segment.atime.max(segment.dtime).max(segment.ctime)?;
        Some(u64::try_from(self.now.0.saturating_sub(last.0)).unwrap_or(0))
    }
}

/// Parses an id, or looks up a name.
fn find_account(text: &str, what: &str, look_up: impl FnOnce() -> Option<u32>) -> Result<u32, Error> {
    let unknown = || Error::new(Kind::Usage, format!("invalid {what} {text:?}: no such {what}")).target(text);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // The largest id is -1, which chown(2) and IPC_SET take as "unchanged" or invalid.
        return text.parse().ok().filter(|id| *id != Uid::from_raw(u32::MAX).as_raw()).ok_or_else(unknown);
    }
    look_up().ok_or_else(unknown)
}
