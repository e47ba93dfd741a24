//! What every test uses: namespaces, ways to run the program, and its output.
#![expect(clippy::disallowed_methods, reason = "tests create their own namespaces")]

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, getegid, geteuid};
use serde_json::Value;

/// The uid of the second user in tests that need one.
pub(crate) const NOBODY: u32 = 65534;
/// The longest wait for a condition that is certain to hold. No test depends on the machine's speed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Returns whether the test program runs as the real root, which tests with several users require.
pub(crate) fn is_root() -> bool {
    *REAL_ROOT.get_or_init(|| geteuid().is_root())
}

/// Whether the test program started as root.
static REAL_ROOT: OnceLock<bool> = OnceLock::new();
/// A copy of the program that other users can execute, wherever it was built.
static COPY: Mutex<Option<tempfile::TempDir>> = Mutex::new(None);

/// Enters a user namespace with the same ids, so that IPC namespaces can be created without root.
pub(crate) fn enter_user_namespace() -> Result<(), String> {
    if is_root() {
        // Before there are threads: a process that one of them starts during the copy would inherit the open file,
        // and a file that is open for writing cannot be executed (ETXTBSY).
        reachable_copy();
        return unshare(CloneFlags::CLONE_NEWIPC).map_err(|errno| format!("unshare: {errno}"));
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWIPC).map_err(|errno| format!("unshare: {errno}"))?;
    let write = |file: &str, text: String| std::fs::write(file, text).map_err(|error| format!("{file}: {error}"));
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Removes what the tests have shared.
pub(crate) fn clean_up() {
    drop(COPY.lock().unwrap().take());
}

/// Mounts an empty tmpfs on /mnt, visible to the calling thread only.
pub(crate) fn mount_tmpfs(options: Option<&str>) {
    mount_tmpfs_on("/mnt", options);
}

/// Mounts an empty tmpfs on a directory, visible to the calling thread only.
pub(crate) fn mount_tmpfs_on(directory: &str, options: Option<&str>) {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(none, directory, Some("tmpfs"), MsFlags::empty(), options).unwrap();
}

/// Moves the test to another new IPC namespace.
pub(crate) fn leave_namespace() {
    unshare(CloneFlags::CLONE_NEWIPC).unwrap();
}

/// Returns a command for the program with a minimal environment.
pub(crate) fn shmadm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmadm"));
    command.env_clear().env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Returns a command for the program as another user, without supplementary groups; requires root.
pub(crate) fn shmadm_as(uid: u32) -> Command {
    let mut command = Command::new(reachable_copy());
    command.env_clear().env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).current_dir("/");
    // As root, setting the uid also drops the supplementary groups.
    command.uid(uid).gid(uid);
    command
}

/// Copies the program to a path that every user can execute.
pub(crate) fn reachable_copy() -> PathBuf {
    let mut copy = COPY.lock().unwrap();
    let directory = copy.get_or_insert_with(|| {
        let directory = tempfile::Builder::new().prefix("shmadm-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let path = directory.path().join("shmadm");
        std::fs::copy(env!("CARGO_BIN_EXE_shmadm"), &path).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        directory
    });
    directory.path().join("shmadm")
}

/// The result of a run of the program.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; `None` if a signal ended the process.
    pub(crate) code: Option<i32>,
    /// The signal that ended the process.
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Asserts the exit code; shows the whole result if it differs.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Asserts that standard error contains a text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "standard error lacks {text:?}: {self:#?}");
        self
    }

    /// Asserts that standard output is empty.
    #[track_caller]
    pub(crate) fn prints_nothing(self) -> Self {
        assert_eq!(self.stdout, "", "{self:#?}");
        self
    }

    /// Parses standard output as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

pub(crate) fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    shmadm().args(arguments).output().unwrap().into()
}

/// Runs a prepared command to its end.
pub(crate) fn finish(command: &mut Command) -> Ran {
    command.output().unwrap().into()
}

/// Returns pseudo-random bytes, the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Runs the program with bytes on standard input.
pub(crate) fn run_with_input<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>, input: &[u8]) -> Ran {
    let mut child =
        shmadm().args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The program may stop reading before the end.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().unwrap().into()
    })
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out while waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a second has just begun, so that what is created now has the same time in whole seconds. The clock of
/// the kernel's records begins a second with the next tick of a timer, up to 10 ms late.
pub(crate) fn wait_for_new_second() {
    wait_for("a new second", || (20..100).contains(&UNIX_EPOCH.elapsed().unwrap().subsec_millis()));
}

/// Waits until whatever happens has a later time in whole seconds.
pub(crate) fn wait_until_after(second: u64) {
    wait_for("a later second", || UNIX_EPOCH.elapsed().unwrap().as_secs() > second + 1);
}

/// A process of a test, ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes a file and returns its path.
pub(crate) fn file(directory: &Path, name: &str, contents: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, contents).unwrap();
    path
}
