//! Pools of huge pages. They belong to the whole machine, so that one trial at a time has them.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;

use libtest_mimic::Trial;
use nix::fcntl::{Flock, FlockArg};

use crate::oracle;
use crate::support::{is_root, trial, wait_for};

/// Where the kernel shows them.
const POOLS: &str = "/sys/kernel/mm/hugepages";
/// Bytes of a huge page of the usual size.
pub(crate) const HUGE: usize = 2 << 20;
/// Bytes of a huge page of the next size.
pub(crate) const LARGER: usize = 1 << 30;

/// A pool that nobody else has; it is given back as it was.
pub(crate) struct Pool {
    /// Held by one trial, whichever process runs it.
    _turn: Flock<File>,
    /// The pool's directory.
    directory: PathBuf,
    /// The two numbers as they were.
    before: [(&'static str, u64); 2],
}

impl Pool {
    /// Waits for its turn.
    fn take(size: usize) -> Option<Self> {
        let turn = Flock::lock(File::open(POOLS).ok()?, FlockArg::LockExclusive).ok()?;
        let directory = PathBuf::from(format!("{POOLS}/hugepages-{}kB", size >> 10));
        let number = |name| Some((name, std::fs::read_to_string(directory.join(name)).ok()?.trim().parse().ok()?));
        let before = [number("nr_hugepages")?, number("nr_overcommit_hugepages")?];
        Some(Self { _turn: turn, directory, before })
    }

    /// Reads one of the kernel's numbers.
    pub(crate) fn number(&self, name: &str) -> u64 {
        std::fs::read_to_string(self.directory.join(name)).unwrap().trim().parse().unwrap()
    }

    /// Gives the pages that somebody has touched.
    pub(crate) fn touched(&self) -> u64 {
        self.number("nr_hugepages") - self.number("free_hugepages")
    }

    /// Sets a number; the kernel makes of it what it can.
    fn set(&self, name: &str, value: u64) -> bool {
        std::fs::write(self.directory.join(name), value.to_string()).is_ok()
    }

    /// Tries to have so many pages in it that are free and promised to nobody.
    fn try_to_have(&self, pages: u64) -> bool {
        let free = || self.number("free_hugepages") - self.number("resv_hugepages");
        let taken = self.number("nr_hugepages") - free();
        self.set("nr_hugepages", taken + pages) && free() == pages
    }

    /// Has so many pages in it that are free and promised to nobody.
    #[track_caller]
    pub(crate) fn has(&self, pages: u64) {
        wait_for("huge pages", || self.try_to_have(pages));
    }

    /// Lets so many pages more be made when they are needed.
    pub(crate) fn may_have_more(&self, pages: u64) {
        assert!(self.set("nr_overcommit_hugepages", self.number("surplus_hugepages") + pages));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for (name, value) in self.before {
            self.set(name, value);
        }
    }
}

/// Tells whether a pool can be had at all.
fn can_be_had(size: usize) -> bool {
    static KNOWN: Mutex<Vec<(usize, bool)>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap();
    if let Some((_, can)) = known.iter().find(|(of, _)| *of == size) {
        return *can;
    }
    let can = is_root() && Pool::take(size).is_some_and(|pool| pool.try_to_have(1));
    known.push((size, can));
    can
}

/// Makes a trial that has a pool with so many free pages, and is ignored where none can be had.
pub(crate) fn pool_trial(name: &str, size: usize, pages: u64, run: impl FnOnce(&Pool) + Send + 'static) -> Trial {
    let with_pool = move || {
        let pool = Pool::take(size).unwrap();
        pool.has(pages);
        run(&pool);
        // Before the next trial counts what is free.
        oracle::remove_all();
    };
    trial(name, with_pool).with_kind("needs huge pages").with_ignored_flag(!can_be_had(size))
}
