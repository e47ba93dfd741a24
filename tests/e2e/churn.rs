//! `list` while others create and remove segments all the time.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;
use nix::unistd::getpid;

use crate::oracle;
use crate::support::{run, trial};

/// How often is listed.
const LISTINGS: usize = 1000;
/// How many threads create and remove.
const THREADS: u32 = 3;
/// How many segments each of them has at most.
const LIVE: usize = 40;
/// How many segments stay.
const STABLE: u32 = 60;
/// The first key of those that stay.
const FIRST_STABLE: u32 = 0xffff_0000;

/// Gives the trials of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("churn::a_thousand_listings_show_what_was_there_and_nothing_else", churn)]
}

/// Gives the size that a segment with this key has.
fn size(key: u32) -> usize {
    1 + usize::try_from(key.wrapping_mul(0x9e37_79b9) >> 12).unwrap()
}

/// Gives the mode that a segment with this key has.
fn mode(key: u32) -> i32 {
    (key.wrapping_mul(0x85eb_ca6b) >> 23).cast_signed()
}

/// Creates and removes until told to stop; gives the id of everything that ever was, in the order of the keys.
fn create_and_remove(number: u32, stop: &AtomicBool) -> Vec<i32> {
    let mut chance = fastrand::Rng::with_seed(number.into());
    let mut made = Vec::new();
    let mut live = Vec::new();
    // Each thread has keys of its own.
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
        // Enough for a hundred changes during each listing, and the processors are left to the listings.
        std::thread::sleep(Duration::from_micros(100));
    }
    made
}

/// Checks one row against what its key says of it.
#[track_caller]
fn check(id: u64, key: &str, row_size: u64, nattch: u64) -> (u64, u32) {
    let bits = u32::from_str_radix(key.strip_prefix("0x").unwrap(), 16).unwrap();
    assert_eq!((row_size, nattch), (size(bits) as u64, 0), "no segment {id} with key {key} ever was like that");
    (id, bits)
}

/// Lists as JSON, whole.
fn list_json() -> Vec<(u64, u32)> {
    let json = run(["list", "--json"]).exits(0).json();
    let pid = u64::from(getpid().as_raw().cast_unsigned());
    let uid = u64::from(nix::unistd::geteuid().as_raw());
    let rows = json["segments"].as_array().unwrap().iter().map(|segment| {
        let number = |name: &str| segment[name].as_u64().unwrap();
        let (id, key) = check(number("id"), segment["key"].as_str().unwrap(), number("size"), number("nattch"));
        assert_eq!(segment["mode"], format!("{:04o}", mode(key)), "{segment}");
        assert_eq!((number("uid"), number("cuid"), number("cpid")), (uid, uid, pid), "{segment}");
        assert_eq!((&segment["state"], &segment["dest"]), (&"idle".into(), &false.into()), "{segment}");
        assert!(segment["atime"].is_null() && segment["lpid"].is_null() && segment["ctime"].is_string(), "{segment}");
        (id, key)
    });
    rows.collect()
}

/// Lists a few columns as TSV, which come from another source.
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

/// Lists again and again while threads of the trial keep the kernel's table in motion.
fn churn() {
    let mut stable = HashMap::new();
    for number in 0..STABLE {
        let key = FIRST_STABLE + number;
        // With gaps in between, where the others come and go.
        let gap = oracle::create(0, 1, 0);
        stable.insert(key, u64::try_from(oracle::create(key, size(key), mode(key))).unwrap());
        oracle::remove(gap);
    }
    let stop = AtomicBool::new(false);
    let made = Mutex::new(HashMap::new());
    let mut seen = HashSet::new();
    std::thread::scope(|scope| {
        // Also if an assertion below unwinds: the scope waits for the threads.
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
            assert_eq!(distinct.len(), rows.len(), "an id stands twice in listing {listing}");
            let by_key: HashMap<u32, u64> = rows.iter().map(|(id, key)| (*key, *id)).collect();
            for (key, id) in &stable {
                assert_eq!(by_key.get(key), Some(id), "listing {listing} lacks a segment that was there all the time");
            }
            seen.extend(rows);
        }
    });
    let made = made.into_inner().unwrap();
    let moving: Vec<_> = seen.iter().filter(|(_, key)| *key < FIRST_STABLE).collect();
    assert!(moving.len() > LISTINGS, "hardly anything moved: {} segments were seen to come and go", moving.len());
    for (id, key) in moving {
        let id_of = made[&((key - 1) % THREADS)].get(((key - 1) / THREADS) as usize);
        assert_eq!(id_of.map(|id| u64::try_from(*id).unwrap()), Some(*id), "no segment ever had id {id} and key {key}");
    }
}

/// Tells the threads to stop when it goes.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
