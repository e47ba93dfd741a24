//! `list` while other threads create and remove segments.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::unistd::getpid;
use serde_json::json;

use crate::fixtures::assert_fields;
use crate::oracle;
use crate::support::run;

/// The number of listings.
const LISTINGS: usize = 1000;
/// The number of threads that create and remove.
const THREADS: u32 = 3;
/// The maximum number of segments per thread.
const LIVE: usize = 40;
/// The number of permanent segments.
const STABLE: u32 = 60;
/// The first key of the permanent segments.
const FIRST_STABLE: u32 = 0xffff_0000;

/// Returns the size of the segment with this key.
fn size(key: u32) -> usize {
    1 + usize::try_from(key.wrapping_mul(0x9e37_79b9) >> 12).unwrap()
}

/// Returns the mode of the segment with this key.
fn mode(key: u32) -> i32 {
    (key.wrapping_mul(0x85eb_ca6b) >> 23).cast_signed()
}

/// Creates and removes until stopped; returns the ids of all segments that ever existed, in the order of the keys.
fn create_and_remove(number: u32, stop: &AtomicBool) -> Vec<i32> {
    let mut chance = fastrand::Rng::with_seed(number.into());
    let mut made = Vec::new();
    let mut live = Vec::new();
    // Each thread has its own keys.
    for key in (1 + number..).step_by(THREADS as usize) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = oracle::create(key, size(key), mode(key) | nix::libc::SHM_NORESERVE);
        made.push(id);
        live.push(id);
        while live.len() > LIVE || (!live.is_empty() && chance.u8(..) < 100) {
            assert!(oracle::remove(live.swap_remove(chance.usize(..live.len()))));
        }
        // Fast enough for a hundred changes per listing, while most CPU time is left to the listings.
        std::thread::sleep(Duration::from_micros(100));
    }
    made
}

/// Checks a row against the size and mode that its key implies.
#[track_caller]
fn check(id: u64, key: &str, row_size: u64, nattch: u64) -> (u64, u32) {
    let bits = u32::from_str_radix(key.strip_prefix("0x").unwrap(), 16).unwrap();
    assert_eq!((row_size, nattch), (size(bits) as u64, 0), "no segment {id} with key {key} ever had this state");
    (id, bits)
}

/// Lists all fields as JSON.
fn list_json() -> Vec<(u64, u32)> {
    let json = run(["list", "--json"]).exits(0).json();
    let pid = u64::from(getpid().as_raw().cast_unsigned());
    let uid = u64::from(nix::unistd::geteuid().as_raw());
    let rows = json["segments"].as_array().unwrap().iter().map(|segment| {
        let number = |name: &str| segment[name].as_u64().unwrap();
        let (id, key) = check(number("id"), segment["key"].as_str().unwrap(), number("size"), number("nattch"));
        assert_eq!(segment["mode"], format!("{:04o}", mode(key)), "{segment}");
        assert_eq!((number("uid"), number("cuid"), number("cpid")), (uid, uid, pid), "{segment}");
        assert_fields(segment, json!({ "state": "idle", "dest": false }));
        assert!(segment["atime"].is_null() && segment["lpid"].is_null() && segment["ctime"].is_string(), "{segment}");
        (id, key)
    });
    rows.collect()
}

/// Lists a few columns as TSV, which use another source.
fn list_tsv() -> Vec<(u64, u32)> {
    let ran = run(["list", "-o", "ID,KEY,SIZE,NATTCH,MODE", "--format", "tsv", "--no-headings"]).exits(0);
    let rows = ran.stdout.lines().map(|line| {
        let [id, key, size, nattch, row_mode] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let number = |text: &str| text.parse().unwrap();
        let (id, key) = check(number(id), key, number(size), number(nattch));
        assert_eq!(row_mode, format!("{:04o}", mode(key)), "{line}");
        (id, key)
    });
    rows.collect()
}

/// Lists repeatedly while threads of the test change the kernel's table.
#[apply(test)]
fn a_thousand_listings_are_exact_for_unchanged_segments() {
    let mut stable = HashMap::new();
    for number in 0..STABLE {
        let key = FIRST_STABLE + number;
        // With gaps in between, where the other threads create and remove.
        let gap = oracle::create(0, 1, 0);
        stable.insert(key, u64::try_from(oracle::create(key, size(key), mode(key))).unwrap());
        oracle::remove(gap);
    }
    let stop = AtomicBool::new(false);
    let made = Mutex::new(HashMap::new());
    let mut seen = HashSet::new();
    std::thread::scope(|scope| {
        // Also when an assertion below unwinds: the scope waits for the threads.
        let _stopping = Stopping(&stop);
        for number in 0..THREADS {
            let (stop, made) = (&stop, &made);
            scope.spawn(move || {
                let all = create_and_remove(number, stop);
                made.lock().unwrap().insert(number, all);
            });
        }
        for listing in 0..LISTINGS {
            let rows = if listing % 2 == 0 { list_json() } else { list_tsv() };
            let distinct: HashSet<u64> = rows.iter().map(|(id, _)| *id).collect();
            assert_eq!(distinct.len(), rows.len(), "listing {listing} contains an id twice");
            let by_key: HashMap<u32, u64> = rows.iter().map(|(id, key)| (*key, *id)).collect();
            for (key, id) in &stable {
                assert_eq!(by_key.get(key), Some(id), "listing {listing} lacks a segment that existed all the time");
            }
            seen.extend(rows);
        }
    });
    let made = made.into_inner().unwrap();
    let moving: Vec<_> = seen.iter().filter(|(_, key)| *key < FIRST_STABLE).collect();
    assert!(moving.len() > LISTINGS, "too few changes: {} temporary segments were listed", moving.len());
    for (id, key) in moving {
        let id_of = made[&((key - 1) % THREADS)].get(((key - 1) / THREADS) as usize);
        assert_eq!(id_of.map(|id| u64::try_from(*id).unwrap()), Some(*id), "no segment ever had id {id} and key {key}");
    }
}

/// Stops the threads when dropped.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
