//! `prune` of objects in a loop while other processes open, map and close them. No object may be removed while a
//! process uses it, and no process may be handed one that has just been removed.
//!
//! `SHMADM_CHURN_SECONDS=60` extends the run to one minute, `SHMADM_CHURN_REMOVALS=100000` to that number of removals;
//! by default it ends after a few rounds.
#![expect(unsafe_code, reason = "the openers make their own system calls")]

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;

use super::{create, names};
use crate::support::{Running, run};

/// The argument that starts the test program as an opener, which runs until its input ends.
const OPENER: &str = "--object-opener";
const OPENERS: u64 = 5;
/// The number of objects at the start of a round.
const OBJECTS: usize = 2000;
/// The number of rounds, unless a duration is set.
const ROUNDS: usize = 5;
/// How many objects an opener looks ahead of the last object that it found removed. A tmpfs lists the newest object
/// first.
const NEAR: usize = 6;
/// The number of opens after which it moves on, since an object that is in use is skipped.
const PATIENCE: usize = 12;

/// What openers count: opens, mappings, opens that failed because a removal held the lease, and that found no object;
/// then violations: objects removed before they were opened, and while they were open or mapped.
type Counts = [u64; 6];

/// Runs as an opener, if the program was started as one.
pub(crate) fn run_opener_role() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [OPENER, seed] => open_and_close(seed.parse().unwrap()),
        _ => return false,
    }
    true
}

#[apply(test)]
fn under_churn_no_process_loses_an_object_that_it_uses_or_opens() {
    let start = |seed: u64| {
        let mut command = Command::new("/proc/self/exe");
        command.args([OPENER, &seed.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Running(command.spawn().unwrap())
    };
    let openers: Vec<Running> = (0..OPENERS).map(start).collect();
    let limit = |name| std::env::var(name).ok().map(|value| value.parse().unwrap());
    let seconds = limit("SHMADM_CHURN_SECONDS").map(Duration::from_secs);
    let removals = limit("SHMADM_CHURN_REMOVALS");
    let began = Instant::now();
    let (mut removed, mut skipped, mut rounds) = (0_u64, 0, 0);
    while match (seconds, removals) {
        (Some(seconds), _) => began.elapsed() < seconds,
        (None, Some(removals)) => removed < removals,
        (None, None) => rounds < ROUNDS,
    } {
        rounds += 1;
        let existing: std::collections::HashSet<String> = names().into_iter().collect();
        (0..OBJECTS).map(name).filter(|name| !existing.contains(name)).for_each(|name| drop(create(&name, 4096)));
        let prune = ["prune", "--posix", "--unattached", "--older-than", "0s", "--settle", "0s", "--yes", "--json"];
        let report = run(prune).exits(0).json();
        removed += report["removed"].as_array().unwrap().len() as u64;
        skipped += report["skipped"].as_array().unwrap().len();
        assert_eq!(report["failed"].as_array().unwrap().len(), 0, "{report}");
    }
    let mut counts = Counts::default();
    for mut opener in openers {
        drop(opener.0.stdin.take());
        let mut text = String::new();
        opener.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(opener.0.wait().unwrap().success());
        counts.iter_mut().zip(text.split_whitespace()).for_each(|(sum, count)| *sum += count.parse::<u64>().unwrap());
    }
    let [opened, mapped, denied, missing, dead, lost] = counts;
    say(&format!(
        "{rounds} runs of prune: {removed} removed, {skipped} skipped; {opened} opens, {mapped} mappings, {denied} denied \
         by a lease, {missing} without an object; {dead} opened after the removal, {lost} removed while in use"
    ));
    assert_eq!((dead, lost), (0, 0), "opened after the removal, removed while in use");
    assert!(removed > 0 && skipped > 0 && opened > 0 && mapped > 0, "every kind of event must have occurred");
    assert!(names().iter().all(|name| name.starts_with('o')), "no object is left aside: {:?}", names());
}

/// Prints the counts.
#[expect(clippy::print_stdout, reason = "the counts matter in long runs")]
fn say(line: &str) {
    println!("{line}");
}

fn name(number: usize) -> String {
    format!("o{number:05}")
}

/// Opens, maps and closes objects until its input ends. All openers but one follow the removals from object to object.
fn open_and_close(seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut counts = Counts::default();
    let (mut next, mut found) = (OBJECTS - 1, 0);
    let follows = !seed.is_multiple_of(OPENERS);
    while !input_has_ended() {
        for _ in 0..256 {
            let number =
                if follows { (next + OBJECTS - chance.usize(..NEAR)) % OBJECTS } else { chance.usize(..OBJECTS) };
            found += 1;
            if open(&mut chance, &mut counts, number).is_none() || found > PATIENCE {
                (next, found) = ((number + OBJECTS - 1) % OBJECTS, 0);
            }
        }
    }
    say(&counts.map(|count| count.to_string()).join(" "));
}

/// Opens an object, uses it for a moment and closes it; `None` if there is none.
fn open(chance: &mut fastrand::Rng, counts: &mut Counts, number: usize) -> Option<()> {
    let path = format!("/dev/shm/{}", name(number));
    let flags = if chance.bool() { libc::O_NONBLOCK } else { 0 };
    let opened = File::options().read(true).write(chance.bool()).custom_flags(flags).open(&path);
    let file = match opened.map_err(|error| error.raw_os_error()) {
        Ok(file) => file,
        Err(Some(libc::EAGAIN)) => {
            counts[2] += 1;
            return Some(());
        }
        Err(Some(libc::ENOENT)) => {
            counts[3] += 1;
            return None;
        }
        Err(error) => panic!("cannot open {path}: {error:?}"),
    };
    counts[0] += 1;
    let metadata = file.metadata().unwrap();
    if metadata.nlink() == 0 {
        counts[4] += 1;
        return Some(());
    }
    if chance.u8(..4) > 0 {
        wait(chance);
        counts[5] += u64::from(file.metadata().unwrap().nlink() == 0);
        return Some(());
    }
    // SAFETY: the kernel chooses an unused address.
    let address =
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    assert_ne!(address, libc::MAP_FAILED);
    drop(file);
    counts[1] += 1;
    wait(chance);
    // What is mapped keeps its name.
    counts[5] += u64::from(std::fs::metadata(path).map(|now| now.ino()).ok() != Some(metadata.ino()));
    // SAFETY: mmap returned the address, and nothing uses it any more.
    assert_eq!(unsafe { libc::munmap(address, 4096) }, 0);
    Some(())
}

/// Waits for up to 20 microseconds, or until other processes have run.
fn wait(chance: &mut fastrand::Rng) {
    if chance.u8(..8) == 0 {
        std::thread::yield_now();
    }
    let (began, time) = (Instant::now(), Duration::from_micros(chance.u64(..20)));
    while began.elapsed() < time {}
}

fn input_has_ended() -> bool {
    let mut input = [libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 }];
    // SAFETY: the list has one entry and lives through the call.
    unsafe { libc::poll(input.as_mut_ptr(), 1, 0) > 0 }
}
