//! Symbolic links, hard links and FIFOs where the program writes, placed by another user or by the caller.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::actor::Actor;
use crate::fixtures::file_names;
use crate::leakcheck::leakcheck;
use crate::oracle;
use crate::support::{NOBODY, Ran, finish, mount_tmpfs, run, shmadm, shmadm_as};
use crate::vanish::Stopped;

#[apply(test)]
#[requires(Root)]
fn a_link_of_another_user_is_not_followed_whatever_the_kernel_allows() {
    for_each_protection(|| {
        for target in ["precious", "new"] {
            let stage = Stage::new();
            stage.plant("out", &stage.closed.path().join(target));
            for ran in write_to(Path::new("."), &stage.open.path().join("out")) {
                let ran = ran.says("out: it is a symbolic link").prints_nothing();
                assert!(!ran.stderr.contains("hint: "), "{ran:?}");
            }
            assert!(stage.open.path().join("out").is_symlink());
            stage.is_untouched();
        }
    });
}

#[apply(test)]
#[requires(Root)]
fn a_link_of_another_user_to_a_directory_is_not_followed() {
    for_each_protection(|| {
        let stage = Stage::new();
        let inside = stage.closed.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        stage.plant("link", &inside);
        symlink("link", stage.open.path().join("of-root")).unwrap();
        let absolute = stage.open.path().join("link/../precious");
        for path in [Path::new("link/new"), Path::new("./link/../precious"), Path::new("of-root/new"), &absolute] {
            for ran in write_to(stage.open.path(), path) {
                ran.says(": link is a symbolic link of another user (uid 65534)").prints_nothing();
            }
        }
        std::fs::remove_dir(inside).unwrap();
        stage.is_untouched();
    });
}

#[apply(test)]
#[requires(Root)]
fn a_file_of_another_user_in_a_sticky_directory_is_not_replaced() {
    let id = oracle::create(0, 4096, 0o644).to_string();
    let stage = Stage::new();
    let [path, ran] = ["out", "ran"].map(|name| stage.open.path().join(name).to_string_lossy().into_owned());
    std::fs::write(&path, "").unwrap();
    for (arguments, code) in [
        (&["metrics", "--output", &path][..], 4),
        (&["dump", &id, "--force", "--allow-allocation", "--output", &path], 4),
        (&["leakcheck", "--report", &path, "--", "touch", &ran], 125),
    ] {
        let why = "the file belongs to another user (root), and the sticky bit of its directory lets only its owner \
                   replace it";
        let message = format!("error: cannot write {path}: permission denied\ncause: {why}\n");
        finish(shmadm_as(NOBODY).args(arguments)).exits(code).says(&message);
    }
    assert_eq!(file_names(stage.open.path()), ["out"]);
    run(["metrics", "--output", &path]).exits(0);
}

#[apply(test)]
#[requires(Root)]
fn a_directory_that_becomes_a_link_during_the_write_is_not_followed() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let stage = Stage::new();
    let (mine, moved) = (stage.open.path().join("mine"), stage.open.path().join("moved"));
    let path = mine.join("precious").to_string_lossy().into_owned();
    for arguments in [&["metrics", "--output", &path][..], &["dump", &id, "--force", "--output", &path]] {
        std::fs::create_dir(&mine).unwrap();
        lchown(&mine, Some(NOBODY), None).unwrap();
        let stopped = Stopped::before(1, |call| call.number == libc::SYS_fsync, arguments);
        std::fs::rename(&mine, &moved).unwrap();
        stage.plant("mine", stage.closed.path());
        stopped.go_on().exits(0);
        stage.is_untouched();
        assert!(moved.join("precious").is_file());
        std::fs::remove_file(&mine).unwrap();
        std::fs::remove_dir_all(&moved).unwrap();
    }
}

#[apply(test)]
#[requires(Root)]
fn a_fifo_of_another_user_in_a_shared_directory_gets_no_report() {
    let stage = Stage::new();
    let path = stage.open.path().join("pipe");
    mkfifo(&path, Mode::from_bits_truncate(0o666)).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let _reader = File::options().read(true).write(true).open(&path).unwrap();
    let report = || {
        let mut command = shmadm();
        finish(command.args(["leakcheck", "-q", "--report"]).arg(&path).args(["--", "/bin/echo", "it ran"]))
    };
    report().exits(0);
    lchown(&path, Some(NOBODY), None).unwrap();
    report().exits(125).prints_nothing().says("pipe: it is a FIFO of another user (uid 65534)");
    // In a directory that only the caller can write, the FIFO is the caller's choice.
    std::fs::set_permissions(stage.open.path(), Permissions::from_mode(0o755)).unwrap();
    report().exits(0);
}

#[apply(test)]
#[requires(Root)]
fn a_report_inherits_nothing_from_the_file_that_it_replaces() {
    let stage = Stage::new();
    let path = stage.open.path().join("leaks.json");
    for mode in [0o666, 0o777, 0o4666, 0o600] {
        std::fs::write(&path, "planted").unwrap();
        lchown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        for (umask, expected) in [("000", 0o644), ("022", 0o644), ("027", 0o640), ("077", 0o600)] {
            let program = env!("CARGO_BIN_EXE_shmadm");
            let script = format!("umask {umask}; exec {program} leakcheck -q --report leaks.json -- /bin/true");
            let mut command = Command::new("/bin/sh");
            finish(command.args(["-c", &script]).env_clear().current_dir(stage.open.path())).exits(0);
            let report = path.metadata().unwrap();
            assert_eq!((report.mode() & 0o7777, report.uid(), report.gid()), (expected, 0, 0), "{umask}");
        }
    }
}

#[apply(test)]
#[requires(Root)]
fn a_directory_that_becomes_a_link_while_the_command_runs_gets_no_report() {
    let stage = Stage::new();
    let closed = stage.closed.path().display();
    let script = format!("mv mine moved && ln -s {closed} mine && chown -h {NOBODY} mine && echo it ran");
    std::fs::create_dir(stage.open.path().join("mine")).unwrap();
    let mut command = leakcheck(&["--report", "mine/precious"], &script);
    let ran = finish(command.current_dir(stage.open.path())).exits(125);
    assert_eq!(ran.stdout, "it ran\n");
    ran.says("cannot write mine/precious: mine is a symbolic link of another user (uid 65534)");
    stage.is_untouched();
}

#[apply(test)]
#[requires(Root)]
fn a_link_of_root_is_followed_where_root_is_not_mapped() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let real = directory.path().join("real");
    std::fs::create_dir(&real).unwrap();
    lchown(&real, Some(NOBODY - 1), None).unwrap();
    symlink("real", directory.path().join("link")).unwrap();
    let path = directory.path().join("link/report");
    let mut command = shmadm_as(NOBODY - 1);
    command.args(["leakcheck", "-q", "--isolate", "always", "--report"]).arg(path).args(["--", "/bin/true"]);
    finish(&mut command).exits(0);
    assert!(real.join("report").is_file());
}

#[apply(test)]
fn a_link_of_the_caller_is_refused_and_its_target_is_suggested() {
    let directory = tempfile::tempdir().unwrap();
    let report = |path: &str| reporting(directory.path(), &["--report", path]);
    std::fs::create_dir(directory.path().join("other")).unwrap();
    for (target, suggested) in [("new", "other/new"), ("/dev/null", ""), ("pipe", ""), (".", "")] {
        mkfifo(&directory.path().join("other/pipe"), Mode::S_IRWXU).unwrap();
        symlink(target, directory.path().join("other/link")).unwrap();
        let ran = report("other/link").exits(125).prints_nothing();
        let ran = ran.says("error: cannot write other/link: it is a symbolic link\n");
        let hint = format!(" --report {suggested} -- ");
        assert_eq!(
            ran.stderr.contains("hint: name the target of the symbolic link: `shmadm leakcheck ")
                && ran.stderr.contains(&hint),
            !suggested.is_empty(),
            "{ran:?}"
        );
        for name in ["pipe", "link"] {
            std::fs::remove_file(directory.path().join("other").join(name)).unwrap();
        }
    }
    report("other/new").exits(0);
    symlink("new", directory.path().join("other/link")).unwrap();
    report("other/link").exits(125).says(" --report other/new -- ");
}

#[apply(test)]
fn a_link_created_while_the_command_runs_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("precious"), "precious").unwrap();
    for target in ["precious", "missing"] {
        let script = format!("ln -sf {target} report; ln -sf {target} junit");
        let mut command = leakcheck(&["-q", "--report", "report", "--junit", "junit"], &script);
        finish(command.current_dir(&directory)).exits(0);
        for name in ["report", "junit"] {
            assert!(path(name).symlink_metadata().unwrap().is_file());
        }
        assert_eq!(std::fs::read_to_string(path("precious")).unwrap(), "precious");
        assert!(!path("missing").exists());
    }
}

#[apply(test)]
fn only_the_given_name_of_a_hard_link_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("precious"), "precious").unwrap();
    std::fs::hard_link(path("precious"), path("report")).unwrap();
    reporting(directory.path(), &["--report", "report"]).exits(0);
    assert_eq!(std::fs::read_to_string(path("precious")).unwrap(), "precious");
    assert_ne!(path("precious").metadata().unwrap().ino(), path("report").metadata().unwrap().ino());
}

#[apply(test)]
fn two_hard_links_are_replaced_by_two_reports() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("precious"), "precious").unwrap();
    std::fs::hard_link(path("precious"), path("report")).unwrap();
    reporting(directory.path(), &["--report", "report", "--junit", "precious"]).exits(0);
    assert!(std::fs::read_to_string(path("report")).unwrap().starts_with('{'));
    assert!(std::fs::read_to_string(path("precious")).unwrap().starts_with('<'));
}

#[apply(test)]
fn two_paths_of_one_file_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("real")).unwrap();
    symlink("real", directory.path().join("link")).unwrap();
    let absolute = directory.path().join("real/one").to_string_lossy().into_owned();
    for other in ["link/one", "./real//one", "link/../real/one", "real/../link/one", &absolute, "real/one"] {
        let ran = reporting(directory.path(), &["--report", "real/one", "--junit", other]).exits(125);
        ran.says("--report and --junit name the same file").prints_nothing();
    }
    reporting(directory.path(), &["--report", "link/one", "--junit", "one"]).exits(0);
    assert!(directory.path().join("real/one").is_file());
}

#[apply(test)]
fn a_path_through_a_loop_or_a_file_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("one"), "").unwrap();
    symlink("round", directory.path().join("round")).unwrap();
    reporting(directory.path(), &["--report", "round/one"]).exits(125).says("(ELOOP, open)");
    reporting(directory.path(), &["--report", "one/one"]).exits(125).says("(ENOTDIR, open)");
}

#[apply(test)]
#[requires(Root)]
fn a_path_through_the_root_directory_of_another_process_is_followed() {
    let actor = std::thread::scope(|scope| {
        let start = || {
            mount_tmpfs(None);
            Actor::start()
        };
        std::thread::Builder::new().spawn_scoped(scope, start).unwrap().join().unwrap()
    });
    // readlink(2) of that link returns "/", which is another directory for this process.
    let path = format!("/proc/{}/root/mnt/metrics", actor.pid());
    assert!(!Path::new("/mnt/metrics").exists());
    run(["metrics", "-q", "--output", &path]).exits(0);
    assert!(Path::new(&path).is_file() && !Path::new("/mnt/metrics").exists());
    actor.leave();
}

/// Runs leakcheck in a directory, with a command that prints something.
fn reporting(directory: &Path, options: &[&str]) -> Ran {
    let mut command = shmadm();
    command.args(["leakcheck", "-q", "--isolate", "always"]).args(options).args(["--", "/bin/echo", "it ran"]);
    finish(command.current_dir(directory))
}

/// Two directories.
struct Stage {
    /// Every user can write it, as /tmp.
    open: tempfile::TempDir,
    /// Only the caller can enter it; it contains the file `precious`.
    closed: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let [open, closed] = [0o1777, 0o700].map(|mode| {
            let directory = tempfile::tempdir_in("/tmp").unwrap();
            std::fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
            directory
        });
        std::fs::write(closed.path().join("precious"), "precious").unwrap();
        Self { open, closed }
    }

    /// Creates a link in the open directory that belongs to another user.
    fn plant(&self, name: &str, target: &Path) {
        let link = self.open.path().join(name);
        symlink(target, &link).unwrap();
        lchown(&link, Some(NOBODY), Some(NOBODY)).unwrap();
        assert_eq!(link.symlink_metadata().unwrap().uid(), NOBODY);
    }

    /// Asserts that the closed directory is as it was.
    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(file_names(self.closed.path()), ["precious"]);
        assert_eq!(std::fs::read_to_string(self.closed.path().join("precious")).unwrap(), "precious");
    }
}

/// Runs each command that writes a file, and asserts the exit code of a refusal.
#[track_caller]
fn write_to(directory: &Path, path: &Path) -> Vec<Ran> {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let run = |before: &[&str], after: &[&str], code: i32| {
        finish(shmadm().current_dir(directory).args(before).arg(path).args(after)).exits(code)
    };
    let runs = vec![
        run(&["leakcheck", "--report"], &["--", "/bin/echo", "it ran"], 125),
        run(&["leakcheck", "--junit"], &["--", "/bin/echo", "it ran"], 125),
        run(&["metrics", "--output"], &[], 5),
        run(&["dump", &id, "--force", "--output"], &[], 5),
    ];
    oracle::remove_all();
    runs
}

/// Runs a check with each value of fs.protected_symlinks, a global setting, and restores it. If it cannot be changed,
/// the check runs only with the current value.
fn for_each_protection(mut run: impl FnMut()) {
    let sysctl = PathBuf::from("/proc/sys/fs/protected_symlinks");
    let Ok(file) = File::options().read(true).write(true).open(&sysctl) else { return run() };
    let lock = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    let _restored = Restored { value: std::fs::read_to_string(&sysctl).unwrap(), sysctl: sysctl.clone(), _lock: lock };
    for value in ["0", "1"] {
        std::fs::write(&sysctl, value).unwrap();
        run();
    }
}

/// A kernel setting whose value is restored on drop. Until then, no other test process changes it.
struct Restored {
    value: String,
    sysctl: PathBuf,
    /// Held until the value is restored.
    _lock: Flock<File>,
}

impl Drop for Restored {
    fn drop(&mut self) {
        // A panic during unwinding would abort.
        let _ = std::fs::write(&self.sysctl, &self.value);
    }
}
