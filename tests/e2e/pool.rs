//! Pools of huge pages. They belong to the whole machine, so only one test at a time uses one.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;

use nix::fcntl::{Flock, FlockArg};

use crate::oracle;
use crate::support::{is_root, wait_for};

/// Where the kernel exposes the pools.
const POOLS: &str = "/sys/kernel/mm/hugepages";
/// The size of the common huge page, in bytes.
pub(crate) const HUGE: usize = 2 << 20;
/// The size of the next larger huge page, in bytes.
pub(crate) const LARGER: usize = 1 << 30;

/// A pool that only one test uses; its numbers are restored on drop.
pub(crate) struct Pool {
    /// Locked by one test, across processes.
    _turn: Flock<File>,
    directory: PathBuf,
    /// `nr_hugepages` and `nr_overcommit_hugepages` before the test.
    before: [(&'static str, u64); 2],
}

impl Pool {
    /// Waits until no other test uses the pool, and has it contain N free pages.
    pub(crate) fn with_free(pages: u64, size: usize) -> Self {
        let pool = Self::take(size).unwrap();
        pool.has(pages);
        pool
    }

    /// Waits until no other test uses the pool.
    fn take(size: usize) -> Option<Self> {
        let turn = Flock::lock(File::open(POOLS).ok()?, FlockArg::LockExclusive).ok()?;
        let directory = PathBuf::from(format!("{POOLS}/hugepages-{}kB", size >> 10));
        let number = |name| Some((name, std::fs::read_to_string(directory.join(name)).ok()?.trim().parse().ok()?));
        let before = [number("nr_hugepages")?, number("nr_overcommit_hugepages")?];
        Some(Self { _turn: turn, directory, before })
    }

    /// Reads one of the pool's numbers.
    pub(crate) fn number(&self, name: &str) -> u64 {
        std::fs::read_to_string(self.directory.join(name)).unwrap().trim().parse().unwrap()
    }

    /// Returns the number of pages in use.
    pub(crate) fn touched(&self) -> u64 {
        self.number("nr_hugepages") - self.number("free_hugepages")
    }

    /// Sets a number; the kernel may allocate fewer pages.
    fn set(&self, name: &str, value: u64) -> bool {
        std::fs::write(self.directory.join(name), value.to_string()).is_ok()
    }

    /// Tries to have N pages in the pool that are free and not reserved.
    fn try_to_have(&self, pages: u64) -> bool {
        let free = || self.number("free_hugepages") - self.number("resv_hugepages");
        let taken = self.number("nr_hugepages") - free();
        self.set("nr_hugepages", taken + pages) && free() == pages
    }

    /// Requires N pages in the pool that are free and not reserved.
    #[track_caller]
    pub(crate) fn has(&self, pages: u64) {
        wait_for("huge pages", || self.try_to_have(pages));
    }

    /// Allows N surplus pages.
    pub(crate) fn may_have_more(&self, pages: u64) {
        assert!(self.set("nr_overcommit_hugepages", self.number("surplus_hugepages") + pages));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Before the next test counts the free pages.
        if !std::thread::panicking() {
            oracle::remove_all();
        }
        for (name, value) in self.before {
            self.set(name, value);
        }
    }
}

/// Returns whether a pool is available at all.
pub(crate) fn is_available(size: usize) -> bool {
    static KNOWN: Mutex<Vec<(usize, bool)>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap();
    if let Some((_, can)) = known.iter().find(|(of, _)| *of == size) {
        return *can;
    }
    let can = is_root() && Pool::take(size).is_some_and(|pool| pool.try_to_have(1));
    known.push((size, can));
    can
}
