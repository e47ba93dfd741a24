//! A segment that is dumped, removed and restored is the same, except for its id, its times and its processes.

use std::os::unix::fs::MetadataExt;

use crate::oracle::{self, Attached};
use crate::support::{NOBODY, is_root, noise, run};

/// The largest segment.
const LARGEST: usize = 64 << 20;
/// The number of segments.
const ROUNDS: u64 = 40;
/// Sizes around pages and pieces.
const EDGES: [usize; 8] = [1, 4095, 4096, 4097, 256 << 10, (4 << 20) - 1, (4 << 20) + 1, LARGEST - 5];

#[apply(test)]
fn a_restored_segment_equals_the_dumped_one() {
    for seed in 0..ROUNDS {
        Case::of(seed).holds();
    }
}

/// A segment.
#[derive(Debug)]
struct Case {
    /// The seed of all other values.
    seed: u64,
    size: usize,
    key: u32,
    mode: u16,
    /// Its owner and group.
    owner: Option<(u32, u32)>,
    /// The writes to it: offset, length, and whether it is noise (otherwise zeros).
    written: Vec<(usize, usize, bool)>,
}

impl Case {
    /// Generates a segment.
    fn of(seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let size = match EDGES.get(usize::try_from(seed).unwrap()) {
            Some(size) => *size,
            // As many small ones as large ones.
            None => {
                let most = 1 << chance.u32(1..=26);
                chance.usize(1..=most)
            }
        };
        let key = if chance.u8(..4) == 0 { 0 } else { chance.u32(1..) };
        // Without root, the owner must have access.
        let mode = chance.u16(..0o1000) | if is_root() { 0 } else { 0o600 };
        let ids = [0, NOBODY, 100_000, 4_000_000_000];
        let mut id = || ids[chance.usize(..ids.len())];
        let owner = is_root().then(|| (id(), id()));
        let part = |_| {
            let start = chance.usize(..size);
            (start, chance.usize(1..=(size - start).min(600_000)), chance.u8(..4) > 0)
        };
        let mut written: Vec<_> = (0..seed % 7).map(part).collect();
        // The last byte, in an incomplete page.
        written.extend(seed.is_multiple_of(2).then_some((size - 1, 1, true)));
        Self { seed, size, key, mode, owner, written }
    }

    /// Creates, dumps, removes, restores and compares the segment.
    #[track_caller]
    fn holds(&self) {
        let id = oracle::create(self.key, self.size, 0o600);
        let mut contents = vec![0; self.size];
        let attached = Attached::new(id);
        for (start, length, noisy) in &self.written {
            let bytes = if *noisy { noise(*length, self.seed) } else { vec![0; *length] };
            attached.write(*start, &bytes);
            contents[*start..start + length].copy_from_slice(&bytes);
        }
        drop(attached);
        let own = oracle::row(id).unwrap();
        let own = |name: &str| own.get(name).parse().unwrap();
        let (uid, gid) = self.owner.unwrap_or_else(|| (own("uid"), own("gid")));
        oracle::set(id, uid, gid, self.mode);
        let before = oracle::row(id).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment.bin");
        let name = path.to_str().unwrap();
        run(["dump", &id.to_string(), "--output", name]).exits(0);
        assert!(std::fs::read(&path).unwrap() == contents, "{self:?}");
        let kept = std::fs::metadata(&path).unwrap().blocks() * 512;
        let rss: u64 = before.get("rss").parse().unwrap();
        // A file system may store metadata in blocks of the file.
        assert!(kept <= rss + (64 << 10), "holes are holes in the file, which takes {kept} bytes: {self:?}");
        assert_eq!(oracle::row(id).unwrap().get("rss"), before.get("rss"), "{self:?}");
        assert!(oracle::remove(id));
        let id = run(["restore", name]).exits(0).stdout.trim().parse().unwrap();
        let after = oracle::row(id).unwrap();
        for field in ["key", "perms", "size", "uid", "gid", "cuid", "cgid", "rss", "swap", "nattch"] {
            assert_eq!(after.get(field), before.get(field), "{field} of {self:?}");
        }
        oracle::set(id, uid, gid, 0o600);
        assert!(oracle::contents(id) == contents, "{self:?}");
        assert!(oracle::remove(id));
    }
}
