//! How tests are declared and run: each in its own IPC namespace, and only where its requirements are met.
#![expect(clippy::disallowed_methods, reason = "each test runs in its own namespace")]

use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use nix::sched::{CloneFlags, unshare};

use crate::pool;
use crate::support::{is_root, mount_tmpfs_on};

/// Declares a function as a test. It is found without an entry in any list, and named after its module:
///
/// ```ignore
/// #[apply(test)]
/// #[requires(Root)]
/// fn another_users_segment_is_denied() { … }
/// ```
///
/// A `macro_rules!` macro in attribute position keeps the function an ordinary item, which rustfmt formats.
macro_rules! test {
    (
        $(#[doc = $doc:expr])*
        #[requires($($requirement:ident $(($argument:expr))?),+)]
        $(#[$attribute:meta])*
        fn $name:ident() $body:block
    ) => {
        $(#[doc = $doc])*
        $(#[$attribute])*
        fn $name() $body

        inventory::submit! {
            $crate::harness::Test {
                path: concat!(module_path!(), "::", stringify!($name)),
                run: $name,
                requirements: &[$($crate::harness::Requirement::$requirement $(($argument))?),+],
            }
        }
    };
    ($(#[$attribute:meta])* fn $name:ident() $body:block) => {
        $(#[$attribute])*
        fn $name() $body

        inventory::submit! {
            $crate::harness::Test {
                path: concat!(module_path!(), "::", stringify!($name)),
                run: $name,
                requirements: &[],
            }
        }
    };
}

/// A function declared with [`test!`].
pub(crate) struct Test {
    /// The path of the function, starting with the crate.
    pub(crate) path: &'static str,
    pub(crate) run: fn(),
    pub(crate) requirements: &'static [Requirement],
}

inventory::collect!(Test);

/// What a test needs from the machine; it is ignored where that is missing.
#[derive(Clone, Copy)]
pub(crate) enum Requirement {
    /// The real root.
    Root,
    /// A pool of huge pages of this size, in bytes.
    HugePages(usize),
    /// A device file.
    Device(&'static str),
    /// A program in PATH with one of these names, of which the first is also its package's.
    Program(&'static [&'static str]),
}

impl Requirement {
    fn is_met(self) -> bool {
        match self {
            Self::Root => is_root(),
            Self::HugePages(size) => pool::is_available(size),
            Self::Device(path) => Path::new(path).exists(),
            Self::Program(names) => program(names).is_some(),
        }
    }

    /// Returns the text that `.ci/run` compares with the requirements that may be missing.
    fn text(self) -> String {
        match self {
            Self::Root => "needs root".to_owned(),
            Self::HugePages(_) => "needs huge pages".to_owned(),
            Self::Device(path) => format!("needs {path}"),
            Self::Program(names) => format!("needs {}", names[0]),
        }
    }
}

/// Returns all declared tests, sorted by name.
pub(crate) fn tests() -> Vec<Trial> {
    let mut tests: Vec<&Test> = inventory::iter::<Test>().collect();
    tests.sort_by_key(|test| test.path);
    tests.into_iter().map(trial).collect()
}

fn trial(test: &'static Test) -> Trial {
    let (_, name) = test.path.split_once("::").unwrap();
    let missing = test.requirements.iter().find(|requirement| !requirement.is_met());
    let trial = isolated(name, test.run).with_ignored_flag(missing.is_some());
    match missing.or(test.requirements.first()) {
        Some(requirement) => trial.with_kind(requirement.text()),
        None => trial,
    }
}

/// Returns a test that runs in its own IPC namespace, with an empty /dev/shm of its own.
pub(crate) fn isolated(name: &str, run: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        unshare(CloneFlags::CLONE_NEWIPC).map_err(|errno| Failed::from(format!("no IPC namespace: {errno}")))?;
        mount_tmpfs_on("/dev/shm", Some("mode=1777"));
        run();
        Ok(())
    })
}

/// Returns the path of a program that has one of these names.
pub(crate) fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut paths =
        std::env::split_paths(&path).flat_map(|directory| names.iter().map(move |name| directory.join(name)));
    paths.find(|path| path.is_file())
}
