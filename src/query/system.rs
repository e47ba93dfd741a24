//! The system that is asked, and what it has answered already.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Gid, Group, SysconfVar, Uid, User, getegid, geteuid, getgroups, sysconf};

use super::huge::huge_page_pools;
use super::ids::{IdMaps, inside, outside};
use super::liveness::Life;
use super::namespaces::{Namespace, census};
use super::processes::segment_devices;
use crate::error::{Error, Kind};
use crate::model::{Needs, Segment, Stamp, lossless};
use crate::procfs;
use crate::sys;

/// The inode number of the first pid namespace (PROC_PID_INIT_INO of linux/proc_ns.h).
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

/// What is asked: a /proc, a clock, the user database. No user and no pid is asked for twice.
#[derive(Debug)]
pub(crate) struct System {
    /// Root of the /proc that is read.
    proc: PathBuf,
    /// The time at which the program began, so that all of one report has one now.
    now: Stamp,
    /// Names of users asked for.
    users: RefCell<BTreeMap<u32, Option<Arc<str>>>>,
    /// Names of groups asked for.
    groups: RefCell<BTreeMap<u32, Option<Arc<str>>>>,
    /// Processes asked for.
    lives: RefCell<BTreeMap<i32, Life>>,
    /// Command lines asked for.
    commands: RefCell<BTreeMap<i32, Option<Arc<str>>>>,
    /// The number of our IPC namespace.
    namespace: OnceCell<Option<u64>>,
    /// The devices on which the kernel keeps segments.
    devices: OnceCell<Result<Vec<(u32, u32)>, Errno>>,
    /// The pools of huge pages.
    pools: OnceCell<Vec<(u64, u64)>>,
    /// Whether /proc numbers processes as our pid namespace does.
    owns_proc: OnceCell<bool>,
    /// The container or unit to which our namespace belongs.
    container: OnceCell<Option<Arc<str>>>,
    /// The maps of the user namespace that we had to enter.
    pub(super) ids: IdMaps,
}

impl System {
    /// Makes a system over /proc.
    pub(crate) fn new() -> Self {
        Self::at(PathBuf::from("/proc"))
    }

    /// Makes a system over another /proc.
    pub(crate) fn at(proc: PathBuf) -> Self {
        Self {
            proc,
            now: Stamp(clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |time| time.tv_sec())),
            users: RefCell::default(),
            groups: RefCell::default(),
            lives: RefCell::default(),
            commands: RefCell::default(),
            namespace: OnceCell::new(),
            devices: OnceCell::new(),
            pools: OnceCell::new(),
            owns_proc: OnceCell::new(),
            container: OnceCell::new(),
            ids: IdMaps::default(),
        }
    }

    /// Tells the system that a user namespace was entered, whose ids mean others to the caller.
    #[must_use]
    pub(crate) fn within(mut self, ids: IdMaps) -> Self {
        self.ids = ids;
        self
    }

    /// Tells the system that this thread has entered another IPC namespace; processes and users stay known.
    pub(crate) fn moved_to(&mut self, namespace: &Namespace) {
        self.namespace = OnceCell::from(Some(namespace.number));
        self.container = OnceCell::from(namespace.container.clone());
    }

    /// Gives the root of /proc.
    pub(crate) fn proc(&self) -> &Path {
        &self.proc
    }

    /// Gives the time at which the program began.
    pub(crate) fn now(&self) -> Stamp {
        self.now
    }

    /// Gives the caller's effective user id.
    pub(crate) fn uid(&self) -> u32 {
        outside(&self.ids.users, geteuid().as_raw())
    }

    /// Tells whether the caller is in a group.
    pub(crate) fn is_in_group(&self, gid: u32) -> bool {
        let Some(gid) = inside(&self.ids.groups, gid).map(Gid::from_raw) else { return false };
        getegid() == gid || getgroups().is_ok_and(|groups| groups.contains(&gid))
    }

    /// Gives the bytes in a page.
    #[expect(clippy::unused_self, reason = "a question to the system like the others")]
    pub(crate) fn page_size(&self) -> u64 {
        sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
    }

    /// Gives the release of the kernel, if /proc tells.
    pub(crate) fn kernel_release(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.proc.join("sys/kernel/osrelease")).ok()?;
        Some(text.trim().to_owned())
    }

    /// Gives the name of a user.
    pub(crate) fn user_name(&self, uid: u32) -> Option<Arc<str>> {
        let mut users = self.users.borrow_mut();
        users.entry(uid).or_insert_with(|| sys::user_name(uid).map(|name| lossless(&name).into())).clone()
    }

    /// Gives the name of a group.
    pub(crate) fn group_name(&self, gid: u32) -> Option<Arc<str>> {
        let mut groups = self.groups.borrow_mut();
        groups.entry(gid).or_insert_with(|| sys::group_name(gid).map(|name| lossless(&name).into())).clone()
    }

    /// Gives a user's name, or number where there is none.
    pub(crate) fn user(&self, uid: u32) -> String {
        self.user_name(uid).map_or_else(|| uid.to_string(), |name| name.to_string())
    }

    /// Gives a group's name, or number where there is none.
    pub(crate) fn group(&self, gid: u32) -> String {
        self.group_name(gid).map_or_else(|| gid.to_string(), |name| name.to_string())
    }

    /// Gives the number of a user that is named by name or number.
    ///
    /// # Errors
    /// There is no such user.
    pub(crate) fn find_user(&self, text: &str) -> Result<u32, Error> {
        find_account(text, "user", || User::from_name(text).ok().flatten().map(|user| user.uid.as_raw()))
    }

    /// Gives the number of a group that is named by name or number.
    ///
    /// # Errors
    /// There is no such group.
    pub(crate) fn find_group(&self, text: &str) -> Result<u32, Error> {
        find_account(text, "group", || Group::from_name(text).ok().flatten().map(|group| group.gid.as_raw()))
    }

    /// Tells whether a process lives; each is asked once.
    pub(super) fn life(&self, pid: i32) -> Life {
        *self.lives.borrow_mut().entry(pid).or_insert_with(|| Life::ask(self, pid))
    }

    /// Gives the command line of a process; each is asked once.
    pub(crate) fn command(&self, pid: i32) -> Option<Arc<str>> {
        let mut commands = self.commands.borrow_mut();
        commands
            .entry(pid)
            .or_insert_with(|| {
                let own = self.owns_proc();
                procfs::command(&self.proc, pid).filter(|_| own).map(|command| lossless(&command).into())
            })
            .clone()
    }

    /// Gives the number of the IPC namespace that this thread is in; `None` without /proc.
    pub(crate) fn namespace(&self) -> Option<u64> {
        *self.namespace.get_or_init(|| procfs::namespace_of(&self.proc, "thread-self"))
    }

    /// Gives the container or unit to which our IPC namespace belongs, by some process in it.
    fn container(&self) -> Option<Arc<str>> {
        let find = || {
            let number = self.namespace()?;
            census(self).ok()?.namespaces.into_iter().find(|namespace| namespace.number == number)?.container
        };
        self.container.get_or_init(find).clone()
    }

    /// Gives the devices on which the kernel keeps segments.
    ///
    /// # Errors
    /// memfd_create(2), for want of descriptors.
    pub(super) fn segment_devices(&self) -> Result<Vec<(u32, u32)>, Errno> {
        self.devices.get_or_init(segment_devices).clone()
    }

    /// Gives the sizes of huge pages that the kernel has, in bytes, each with the number of them in its pool.
    pub(super) fn huge_page_pools(&self) -> &[(u64, u64)] {
        self.pools.get_or_init(huge_page_pools)
    }

    /// Tells whether /proc numbers processes as our pid namespace does: there is one, and not that of another namespace,
    /// which numbers us otherwise or not at all.
    pub(crate) fn owns_proc(&self) -> bool {
        let own = || std::fs::read_link(self.proc.join("self")).ok()?.to_str()?.parse::<u32>().ok();
        *self.owns_proc.get_or_init(|| own() == Some(std::process::id()))
    }

    /// Tells whether there is a /proc at all, be it that of another pid namespace.
    pub(super) fn has_proc(&self) -> bool {
        std::fs::symlink_metadata(self.proc.join("self")).is_ok()
    }

    /// Tells whether our pid namespace is the first one, in which every process is seen.
    pub(super) fn sees_all_pids(&self) -> bool {
        std::fs::metadata(self.proc.join("self/ns/pid")).is_ok_and(|file| file.ino() == FIRST_PID_NAMESPACE)
    }

    /// Completes a record with what is needed of it.
    pub(super) fn complete(&self, segment: &mut Segment, needs: Needs) {
        let IdMaps { users, groups } = &self.ids;
        if !users.is_empty() || !groups.is_empty() {
            (segment.uid, segment.cuid) = (outside(users, segment.uid), outside(users, segment.cuid));
            (segment.gid, segment.cgid) = (outside(groups, segment.gid), outside(groups, segment.cgid));
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

    /// Gives the seconds since a segment was last attached, detached or changed; `None` while it is attached.
    fn idle_seconds(&self, segment: &Segment) -> Option<u64> {
        if segment.nattch > 0 {
            return None;
        }
        let last = segment.atime.max(segment.dtime).max(segment.ctime)?;
        Some(u64::try_from(self.now.0.saturating_sub(last.0)).unwrap_or(0))
    }
}

/// Reads a number, or else looks a name up.
fn find_account(text: &str, what: &str, look_up: impl FnOnce() -> Option<u32>) -> Result<u32, Error> {
    let unknown = || Error::new(Kind::Usage, format!("there is no {what} {text:?}")).target(text);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // The largest number is -1, by which the kernel means "leave it as it is".
        return text.parse().ok().filter(|id| *id != Uid::from_raw(u32::MAX).as_raw()).ok_or_else(unknown);
    }
    look_up().ok_or_else(unknown)
}
