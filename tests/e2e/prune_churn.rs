//! `prune` in a loop while others create, attach, detach and remove: the workers keep a record of their own of what
//! must still be there, and `prune` is held against that.
//!
//! `SHMADM_CHURN_SECONDS=60` makes it go on for a minute; without, it ends after some rounds.
#![expect(unsafe_code, reason = "the workers make their own system calls")]
#![expect(clippy::disallowed_methods, reason = "the workers make their own system calls")]

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::ptr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::libc;
use serde_json::Value;

use crate::oracle;
use crate::support::{Running, run, trial};

/// The word by which the test program knows that it is a worker, which lives until it is told to end.
const WORKER: &str = "--churn-worker";
/// The word by which it knows that it is to leave segments behind.
const ORPHANER: &str = "--churn-orphaner";
/// Keys that workers give, and whose segments they remove themselves.
const OWN_KEYS: std::ops::Range<i32> = 1..64;
/// Keys of those who leave their segments behind, which `prune` alone removes.
const ORPHANS_KEYS: std::ops::Range<i32> = 1000..1400;
/// How many workers there are.
const WORKERS: usize = 4;
/// After how many runs of `prune` a worker ends and another begins.
const TURN: usize = 5;
/// How often `prune` runs, unless it goes by time.
const ROUNDS: usize = 60;

/// Gives the trials of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("prune::under_churn_nothing_goes_that_lives", churn)]
}

/// Is a worker or an orphaner, if the program was started as one.
pub(crate) fn work_if_told() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [WORKER, path, seed, place] => work(path, seed.parse().unwrap(), place.parse().unwrap()),
        [ORPHANER, seed] => leave_orphans(seed.parse().unwrap()),
        _ => return false,
    }
    true
}

/// Runs workers and `prune` beside each other.
fn churn() {
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
        assert!(worker.0.wait().unwrap().success(), "a worker missed a segment that must not go: see above");
        for (sum, count) in seen.iter_mut().zip(counts.split_whitespace()) {
            *sum += count.parse::<u64>().unwrap();
        }
    };
    while seconds.map_or(rounds < ROUNDS, |seconds| began.elapsed() < seconds) {
        rounds += 1;
        start(&[ORPHANER, &rounds.to_string()]).0.wait().unwrap();
        if rounds.is_multiple_of(TURN) {
            // What it made and used is nobody's from here on.
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
            // As it was seen: made by nobody who lives, and used last by nobody who does.
            let lives = |field: &Value| field.as_u64().is_some_and(|pid| pids.contains(&pid));
            assert!(!lives(&record["cpid"]) && !lives(&record["lpid"]), "{record}");
            assert_eq!(record["nattch"], 0, "{record}");
            if record["outcome"] == "destroyed" { destroyed += 1 } else { marked += 1 }
        }
        skipped += report["skipped"].as_array().unwrap().len();
        assert_eq!(report["failed"].as_array().unwrap().len(), 0, "{report}");
    }
    workers.into_iter().for_each(end);
    let [created, adopted, met_marked, checks] = seen;
    say(&format!(
        "{rounds} runs of prune: {destroyed} destroyed, {marked} marked, {skipped} skipped; workers made {created}, used \
         {adopted} that were left behind, met {met_marked} marked, and looked {checks} times for what must be there"
    ));
    assert!(destroyed > 0 && created > 0 && adopted > 0 && checks > 0, "something must have happened");
    // With everybody gone, everything that is left is nobody's.
    run(["prune", "--yes", "--older-than", "0s"]).exits(0);
    assert_eq!(oracle::rows(), []);
}

/// Tells what happened.
#[expect(clippy::print_stdout, reason = "what a run came to is of interest when it is made to go on")]
fn say(line: &str) {
    println!("{line}");
}

/// Makes some segments, uses one of them, and ends.
fn leave_orphans(seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    for _ in 0..40 {
        let id = make(chance.i32(ORPHANS_KEYS));
        if id >= 0 && chance.bool() {
            // The end of the process detaches it.
            attach(id);
        }
    }
}

/// A segment that must be there.
#[derive(Debug)]
struct Claim {
    /// Its id.
    id: i32,
    /// Its creator and key, by which another segment with its id would show.
    identity: (i32, i32),
}

/// What a worker has seen.
#[derive(Default)]
struct Record {
    /// Segments made, used of others, met marked, and looks for what must be there.
    counts: [u64; 4],
    /// What this worker made, and removes itself.
    made: Vec<Claim>,
    /// What others left behind, and this worker used last.
    used: Vec<Claim>,
}

/// Creates, attaches, detaches and removes until there is no more input; fails if something is missing.
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
        // The room is not endless, and neither is patience with a worker that only fills it.
        if record.made.len() > 30 {
            record.remove(&mut chance);
        }
    }
    record.check();
    say(&record.counts.map(|count| count.to_string()).join(" "));
}

impl Record {
    /// Makes a segment, which must be there until this worker removes it.
    fn make(&mut self, chance: &mut fastrand::Rng) {
        let id = make(if chance.bool() { 0 } else { chance.i32(OWN_KEYS) });
        if id >= 0 {
            self.made
                .push(Claim { id, identity: identity(id).unwrap_or_else(|| panic!("segment {id} is gone at once")) });
            self.counts[0] += 1;
            if chance.bool() {
                detach(attach(id).unwrap());
            }
        }
    }

    /// Removes one of its own, which must be there.
    fn remove(&mut self, chance: &mut fastrand::Rng) {
        if !self.made.is_empty() {
            let claim = self.made.swap_remove(chance.usize(..self.made.len()));
            assert_eq!(identity(claim.id), Some(claim.identity), "a segment of a creator that lives is gone");
            assert!(oracle::remove(claim.id), "segment {} of a creator that lives is gone", claim.id);
        }
    }

    /// Attaches what somebody left behind, detaches it, and expects it to be there from then on.
    ///
    /// Each worker has keys of its own for that: of what another one used later this one could not tell who did last.
    fn use_what_is_left(&mut self, runs: &File, place: i32, chance: &mut fastrand::Rng) {
        let (workers, key) = (i32::try_from(WORKERS).unwrap(), chance.i32(ORPHANS_KEYS));
        // SAFETY: shmget takes no pointer.
        let id = unsafe { libc::shmget(key - key % workers + place, 0, 0) };
        let Some(address) = (id >= 0).then(|| attach(id)).flatten() else { return };
        let before = identity(id).unwrap();
        // Whoever made it may not have ended yet, and would then be the one who uses it last.
        // SAFETY: signal 0 is none; this asks whether the process is there.
        if unsafe { libc::kill(before.0, 0) } == 0 {
            detach(address);
            return;
        }
        // A run that looked before may remove now, which marks it: the kernel has no removal of what is unattached only.
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
        // Whoever looks from here on sees it attached, and then used last by somebody who lives.
        for _ in 0..chance.u8(..4) {
            std::thread::yield_now();
            assert!(!is_marked(id), "segment {id} was marked though it was attached when it was looked at");
        }
        detach(address);
        assert_eq!(identity(id), Some(before), "segment {id} went though its last user lives");
        if !self.used.iter().any(|claim| claim.id == id) {
            self.used.push(Claim { id, identity: before });
        }
        self.counts[1] += 1;
    }

    /// Looks for everything that must be there.
    fn check(&mut self) {
        for claim in self.made.iter().chain(&self.used) {
            self.counts[3] += 1;
            assert_eq!(identity(claim.id), Some(claim.identity), "what somebody who lives made or used is gone");
        }
    }
}

/// Makes a segment; negative if the key is taken.
fn make(key: i32) -> i32 {
    // SAFETY: shmget takes no pointer.
    unsafe { libc::shmget(key, 4096, 0o600 | libc::IPC_CREAT | libc::IPC_EXCL) }
}

/// Gives a segment's creator and key, if it is there.
fn identity(id: i32) -> Option<(i32, i32)> {
    oracle::stat(id).map(|record| (record.shm_cpid, record.shm_perm.__key))
}

/// Tells whether a segment is marked for destruction.
fn is_marked(id: i32) -> bool {
    oracle::stat(id).unwrap().shm_perm.mode & 0o1000 != 0
}

/// Attaches a segment, if it is still there.
fn attach(id: i32) -> Option<*mut libc::c_void> {
    // SAFETY: the kernel finds room of its own.
    let address = unsafe { libc::shmat(id, ptr::null(), 0) };
    (address as isize != -1).then_some(address)
}

/// Detaches it.
fn detach(address: *mut libc::c_void) {
    // SAFETY: shmat gave the address, and nothing uses it any more.
    assert_eq!(unsafe { libc::shmdt(address) }, 0);
}
