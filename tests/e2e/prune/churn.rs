//! `prune` in a loop while other processes create, attach, detach and remove. The workers record what must still
//! exist, and `prune` is checked against these records.
//!
//! `SHMADM_CHURN_SECONDS=60` extends the run to one minute; by default it ends after a few rounds.
#![expect(unsafe_code, reason = "the workers make their own system calls")]
#![expect(clippy::disallowed_methods, reason = "the workers make their own system calls")]

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::ptr;
use std::time::{Duration, Instant};

use nix::libc;
use serde_json::Value;

use crate::oracle;
use crate::support::{Running, run};

/// The argument that starts the test program as a worker, which runs until its input ends.
const WORKER: &str = "--churn-worker";
/// The argument that starts it as an orphaner, which creates orphans and exits.
const ORPHANER: &str = "--churn-orphaner";
/// Keys of segments that the workers remove themselves.
const OWN_KEYS: std::ops::Range<i32> = 1..64;
/// Keys of segments that orphaners leave, which only `prune` removes.
const ORPHANS_KEYS: std::ops::Range<i32> = 1000..1400;
const WORKERS: usize = 4;
/// The number of `prune` runs after which a worker is replaced.
const TURN: usize = 5;
/// The number of `prune` runs, unless a duration is set.
const ROUNDS: usize = 60;

/// Runs as a worker or an orphaner, if the program was started as one.
pub(crate) fn run_worker_role() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [WORKER, path, seed, place] => work(path, seed.parse().unwrap(), place.parse().unwrap()),
        [ORPHANER, seed] => leave_orphans(seed.parse().unwrap()),
        _ => return false,
    }
    true
}

/// Runs workers and `prune` at the same time.
pub(super) fn run_workers_and_prune() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("runs");
    let runs = File::options().create(true).truncate(true).write(true).open(&path).unwrap();
    runs.write_all_at(&[0; 16], 0).unwrap();
    let path = path.to_str().unwrap();
    let start = |arguments: &[&str]| {
        let mut command = Command::new("/proc/self/exe");
        Running(command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    };
    let worker = |seed: usize, place: usize| start(&[WORKER, path, &seed.to_string(), &place.to_string()]);
    let mut workers: Vec<Running> = (0..WORKERS).map(|place| worker(place, place)).collect();
    let seconds =
        std::env::var("SHMADM_CHURN_SECONDS").ok().map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
    let began = Instant::now();
    let (mut destroyed, mut marked, mut skipped, mut rounds) = (0, 0, 0, 0_usize);
    let mut seen = [0_u64; 4];
    let mut end = |mut worker: Running| {
        drop(worker.0.stdin.take());
        let mut counts = String::new();
        worker.0.stdout.take().unwrap().read_to_string(&mut counts).unwrap();
        assert!(worker.0.wait().unwrap().success(), "a worker missed a segment that prune must keep: see above");
        for (sum, count) in seen.iter_mut().zip(counts.split_whitespace()) {
            *sum += count.parse::<u64>().unwrap();
        }
    };
    while seconds.map_or(rounds < ROUNDS, |seconds| began.elapsed() < seconds) {
        rounds += 1;
        start(&[ORPHANER, &rounds.to_string()]).0.wait().unwrap();
        if rounds.is_multiple_of(TURN) {
            // From here on, what it created and used is an orphan.
            let place = rounds / TURN % WORKERS;
            end(workers.remove(place));
            workers.insert(place, worker(rounds, place));
        }
        let pids: Vec<u64> = workers.iter().map(|worker| worker.0.id().into()).collect();
        let number = u64::try_from(rounds).unwrap().to_ne_bytes();
        runs.write_all_at(&number, 0).unwrap();
        let report = run(["prune", "--yes", "--older-than", "0s", "--json"]).exits(0).json();
        runs.write_all_at(&number, 8).unwrap();
        for record in report["removed"].as_array().unwrap() {
            // As observed: the creator and the last user have exited.
            let is_running = |field: &Value| field.as_u64().is_some_and(|pid| pids.contains(&pid));
            assert!(!is_running(&record["cpid"]) && !is_running(&record["lpid"]), "{record}");
            assert_eq!(record["nattch"], 0, "{record}");
            if record["outcome"] == "destroyed" { destroyed += 1 } else { marked += 1 }
        }
        skipped += report["skipped"].as_array().unwrap().len();
        assert_eq!(report["failed"].as_array().unwrap().len(), 0, "{report}");
    }
    workers.into_iter().for_each(end);
    let [created, adopted, met_marked, checks] = seen;
    say(&format!(
        "{rounds} runs of prune: {destroyed} destroyed, {marked} marked, {skipped} skipped; workers created {created}, \
         used {adopted} leftovers, found {met_marked} marked, and checked {checks} times that a segment in use exists"
    ));
    assert!(destroyed > 0 && created > 0 && adopted > 0 && checks > 0, "every kind of event must have occurred");
    // When all processes have exited, everything left is an orphan.
    run(["prune", "--yes", "--older-than", "0s"]).exits(0);
    assert_eq!(oracle::rows(), []);
}

/// Prints the counts.
#[expect(clippy::print_stdout, reason = "the counts matter in long runs")]
fn say(line: &str) {
    println!("{line}");
}

/// Creates some segments, uses one of them and exits.
fn leave_orphans(seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    for _ in 0..40 {
        let id = make(chance.i32(ORPHANS_KEYS));
        if id >= 0 && chance.bool() {
            // The exit of the process detaches it.
            attach(id);
        }
    }
}

/// A segment that must exist.
#[derive(Debug)]
struct Claim {
    id: i32,
    /// Its creator and key, which distinguish it from another segment with the same id.
    identity: (i32, i32),
}

/// A worker's records.
#[derive(Default)]
struct Record {
    /// Numbers of segments created, adopted and found marked, and of checks.
    counts: [u64; 4],
    /// Segments that this worker created, and removes itself.
    made: Vec<Claim>,
    /// Orphans that this worker used last.
    used: Vec<Claim>,
}

/// Creates, attaches, detaches and removes until its input ends; fails if a segment is missing.
fn work(path: &str, seed: u64, place: i32) {
    let runs = File::open(path).unwrap();
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut record = Record::default();
    let ended = || {
        let mut input = [libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 }];
        // SAFETY: the list has one entry and lives through the call.
        unsafe { libc::poll(input.as_mut_ptr(), 1, 0) > 0 }
    };
    while !ended() {
        match chance.u8(..10) {
            0..4 => record.make(&mut chance),
            4..6 => record.remove(&mut chance),
            6..9 => record.use_what_is_left(&runs, place, &mut chance),
            _ => record.check(),
        }
        // The number of segments is limited, and so is the time for a worker that only creates.
        if record.made.len() > 30 {
            record.remove(&mut chance);
        }
    }
    record.check();
    say(&record.counts.map(|count| count.to_string()).join(" "));
}

impl Record {
    /// Creates a segment, which must exist until this worker removes it.
    fn make(&mut self, chance: &mut fastrand::Rng) {
        let id = make(if chance.bool() { 0 } else { chance.i32(OWN_KEYS) });
        if id >= 0 {
            self.made.push(Claim { id, identity: identity(id).unwrap_or_else(|| panic!("segment {id} is missing")) });
            self.counts[0] += 1;
            if chance.bool() {
                detach(attach(id).unwrap());
            }
        }
    }

    /// Removes one of its own segments, which must exist.
    fn remove(&mut self, chance: &mut fastrand::Rng) {
        if !self.made.is_empty() {
            let claim = self.made.swap_remove(chance.usize(..self.made.len()));
            assert_eq!(identity(claim.id), Some(claim.identity), "a segment whose creator is running is missing");
            assert!(oracle::remove(claim.id), "segment {}, whose creator is running, is missing", claim.id);
        }
    }

    /// Attaches and detaches an orphan, which must exist from then on.
    ///
    /// Each worker has its own keys for orphans: it could not know whether another worker used one later.
    fn use_what_is_left(&mut self, runs: &File, place: i32, chance: &mut fastrand::Rng) {
        let (workers, key) = (i32::try_from(WORKERS).unwrap(), chance.i32(ORPHANS_KEYS));
        // SAFETY: shmget takes no pointer.
        let id = unsafe { libc::shmget(key - key % workers + place, 0, 0) };
        let Some(address) = (id >= 0).then(|| attach(id)).flatten() else { return };
        let before = identity(id).unwrap();
        // The creator may still be running; its exit would then be the last use.
        // SAFETY: signal 0 sends nothing; it only checks that the process exists.
        if unsafe { libc::kill(before.0, 0) } == 0 {
            detach(address);
            return;
        }
        // A run that checked earlier may remove it now, which marks it: the kernel cannot remove only if unattached.
        let number = |place| {
            let mut bytes = [0; 8];
            runs.read_exact_at(&mut bytes, place).unwrap();
            u64::from_ne_bytes(bytes)
        };
        let started = number(0);
        while number(8) < started {
            std::thread::sleep(Duration::from_micros(200));
        }
        if is_marked(id) {
            self.counts[2] += 1;
            detach(address);
            return;
        }
        // Every later check finds it attached, and after that last used by a running process.
        for _ in 0..chance.u8(..4) {
            std::thread::yield_now();
            assert!(!is_marked(id), "segment {id} was marked although the check found it attached");
        }
        detach(address);
        assert_eq!(identity(id), Some(before), "segment {id} was removed although its last user is running");
        if !self.used.iter().any(|claim| claim.id == id) {
            self.used.push(Claim { id, identity: before });
        }
        self.counts[1] += 1;
    }

    /// Checks that every recorded segment exists.
    fn check(&mut self) {
        for claim in self.made.iter().chain(&self.used) {
            self.counts[3] += 1;
            assert_eq!(identity(claim.id), Some(claim.identity), "a segment of a running process is missing");
        }
    }
}

/// Creates a segment; returns a negative number if the key is taken.
fn make(key: i32) -> i32 {
    // SAFETY: shmget takes no pointer.
    unsafe { libc::shmget(key, 4096, 0o600 | libc::IPC_CREAT | libc::IPC_EXCL) }
}

/// Returns a segment's creator and key, if it exists.
fn identity(id: i32) -> Option<(i32, i32)> {
    oracle::stat(id).map(|record| (record.shm_cpid, record.shm_perm.__key))
}

fn is_marked(id: i32) -> bool {
    oracle::stat(id).unwrap().shm_perm.mode & 0o1000 != 0
}

/// Attaches a segment, if it still exists.
fn attach(id: i32) -> Option<*mut libc::c_void> {
    // SAFETY: the kernel chooses an unused address.
    let address = unsafe { libc::shmat(id, ptr::null(), 0) };
    (address as isize != -1).then_some(address)
}

fn detach(address: *mut libc::c_void) {
    // SAFETY: shmat returned the address, and nothing uses it any more.
    assert_eq!(unsafe { libc::shmdt(address) }, 0);
}
