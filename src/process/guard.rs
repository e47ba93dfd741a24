//! The guard: this program executed anew, which removes a segment that is not whole yet should its maker be killed.
//!
//! A key is given to a segment as it is made and never later, so that whoever fills a new segment cannot hide it until it
//! is whole; and a process that is killed cleans up nothing. The guard has the end of a pipe from the maker as its standard
//! input. It is told the segment's id, and that there is nothing to do any more; if the pipe ends without that word, it
//! does what the maker would have done after a failure.

use std::io::{PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Interrupts;
use crate::error::{Error, Kind};
use crate::model::{Mode, Needs, Segment, ShmId};
use crate::query::{Attempt, System, explain, holders, inventory, segment};
use crate::sys;

/// The name of a guard.
pub(crate) const GUARD_NAME: &str = "shmadm-guard";

/// The word that there is nothing to do any more; no id is negative.
const DONE: i32 = -1;

/// A guard at work. Dropped, it has nothing to do any more; and it acts if this process is killed before.
#[derive(Debug)]
pub(crate) struct Guard {
    /// It.
    child: Child,
    /// By which it learns what to do, and that we are gone.
    words: Option<PipeWriter>,
}

impl Guard {
    /// Starts one, before this process makes a segment of so many bytes with [`Mode::PRIVATE`], its only one.
    ///
    /// # Errors
    /// There is no process to be had.
    pub(crate) fn start(size: u64) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::io("cannot start a guard", &error, "execve");
        let (waiting, words) = std::io::pipe().map_err(failed)?;
        let child = Command::new("/proc/self/exe")
            .arg0(GUARD_NAME)
            .args(Made { by: std::process::id().cast_signed(), since: now(), size }.arguments())
            .current_dir("/")
            .stdin(OwnedFd::from(waiting))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C, and what kills our whole group, shall not reach it.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Self { child, words: Some(words) })
    }

    /// Tells which segment it is.
    pub(crate) fn tell(&mut self, id: ShmId) {
        self.say(id.raw());
    }

    /// Says a word. A guard that cannot hear it is gone, and nothing depends on it but who is killed.
    fn say(&mut self, word: i32) {
        let _ = self.words.as_mut().map(|words| words.write_all(&word.to_ne_bytes()));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.say(DONE);
        self.words = None;
        // Where nobody reaps orphans it would stay for ever.
        let _ = self.child.wait();
    }
}

/// What a guard knows of a segment before it is made.
#[derive(Clone, Copy, Debug)]
struct Made {
    /// The pid of its creator.
    by: i32,
    /// The clock before it is made, in seconds since 1970.
    since: i64,
    /// Its size in bytes.
    size: u64,
}

impl Made {
    /// Gives the guard's arguments, which `ps` shows.
    fn arguments(self) -> [String; 3] {
        [format!("by={}", self.by), format!("since={}", self.since), format!("size={}", self.size)]
    }

    /// Reads them back.
    fn from_arguments(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let (mut by, mut since, mut size) = (None, None, None);
        for argument in arguments {
            match argument.split_once('=')? {
                ("by", number) => by = number.parse().ok(),
                ("since", number) => since = number.parse().ok(),
                ("size", number) => size = number.parse().ok(),
                _ => return None,
            }
        }
        Some(Self { by: by?, since: since?, size: size? })
    }

    /// Tells whether a segment of which no id was told is the one: it was made by that process, has just been made, and
    /// nobody has ever attached it, which would have come after the id was told.
    fn is(self, segment: &Segment, uid: u32) -> bool {
        // The kernel's stamps lag behind its clock by up to a tick.
        let new = segment.ctime.is_some_and(|ctime| ctime.0 >= self.since - 1);
        let unused = segment.nattch == 0 && segment.lpid.is_none() && segment.atime.is_none() && !segment.dest;
        let bare = segment.size == self.size && segment.mode == Mode::PRIVATE;
        segment.cpid == Some(self.by) && segment.cuid == uid && new && unused && bare
    }
}

/// Gives the clock in seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Is the guard, until its maker has no more use for it or is gone.
///
/// # Errors
/// It was not started by a maker, or cannot find or remove what that left.
pub(crate) fn stand_guard(arguments: impl Iterator<Item = String>) -> Result<(), Error> {
    let unusable = || Error::new(Kind::Usage, "shmadm-guard is started by `shmadm restore` alone");
    let made = Made::from_arguments(arguments).ok_or_else(unusable)?;
    sys::close_inherited();
    // Whoever asks all processes of a service to end asks the maker as well, who cleans up himself.
    let _signals = Interrupts::note_always();
    let mut heard = Vec::new();
    std::io::stdin().read_to_end(&mut heard).map_err(|error| Error::io("cannot stand guard", &error, "read"))?;
    let words: Vec<_> = heard.as_chunks().0.iter().map(|word| i32::from_ne_bytes(*word)).collect();
    match words.as_slice() {
        [.., DONE] => Ok(()),
        words => clean_up(&System::new(), made, words.first().copied().and_then(ShmId::new)),
    }
}

/// Removes what a maker left that was killed, and ends the holder that it started for it.
fn clean_up(system: &System, made: Made, told: Option<ShmId>) -> Result<(), Error> {
    let left = match told {
        Some(id) => segment(system, id, Needs::empty())?.filter(|segment| segment.cpid == Some(made.by)),
        None => {
            let mut found = inventory(system, Needs::empty())?;
            found.retain(|segment| made.is(segment, system.uid()));
            // The maker makes one: of several it cannot be told which that is.
            if found.len() == 1 { found.pop() } else { None }
        }
    };
    let Some(Segment { id, .. }) = left else { return Ok(()) };
    sys::remove(id).map_err(|error| explain(system, &Attempt::Remove(id), error))?;
    for holder in holders(system, id)? {
        // One that cannot be asked is gone already.
        let _ = sys::ask_to_end(&holder.pidfd, holder.pid);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stamp;

    /// A guard's task.
    const MADE: Made = Made { by: 77, since: 1000, size: 9000 };

    /// A segment that has just been made by that process.
    fn made() -> Segment {
        let mode = Mode::PRIVATE;
        Segment { cpid: Some(77), cuid: 5, ctime: Some(Stamp(1000)), size: 9000, mode, ..Segment::bare() }
    }

    #[test]
    fn the_task_is_told_by_arguments() {
        let told = Made::from_arguments(MADE.arguments().into_iter()).unwrap();
        assert_eq!(told.arguments(), MADE.arguments());
        for wrong in [&["by=77", "since=1000"][..], &["by=77", "since=1000", "size=x"], &["by=77", "more"], &[]] {
            assert!(Made::from_arguments(wrong.iter().map(ToString::to_string)).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn of_what_no_id_was_told_everything_must_fit() {
        assert!(MADE.is(&made(), 5));
        assert!(MADE.is(&Segment { ctime: Some(Stamp(999)), ..made() }, 5), "the kernel's clock lags");
        assert!(!MADE.is(&made(), 6), "another user's");
        for other in [
            Segment { cpid: Some(78), ..made() },
            Segment { cpid: None, ..made() },
            Segment { ctime: Some(Stamp(998)), ..made() },
            Segment { ctime: None, ..made() },
            Segment { size: 9001, ..made() },
            Segment { mode: Mode::parse("640").unwrap(), ..made() },
            Segment { nattch: 1, ..made() },
            Segment { lpid: Some(77), ..made() },
            Segment { atime: Some(Stamp(1000)), ..made() },
            Segment { dest: true, ..made() },
        ] {
            assert!(!MADE.is(&other, 5), "{other:?}");
        }
    }
}
