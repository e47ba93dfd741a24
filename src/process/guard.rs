//! The guard: this program executed anew, which removes a segment that is not whole yet should its maker be killed.
//!
//! A key is given to a segment as it is made and never later, so that whoever fills a new segment cannot hide it until it
//! is whole; and a process that is killed cleans up nothing. The guard has the end of a pipe from the maker as its standard
//! input. It is told the segment's id, and that there is nothing to do any more; if the pipe ends without that word, it
//! does what the maker would have done after a failure. The maker can be killed before it has told the id: then the guard
//! takes the segment only that can be no other.

use std::ffi::CStr;
use std::io::{ErrorKind, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;

use super::start_failed;
use crate::error::{Error, Kind};
use crate::model::{Key, Mode, Needs, Segment, ShmId};
use crate::query::{Attempt, System, explain, holders, inventory, segment};
use crate::sys;

/// The name of a guard.
pub(crate) const GUARD_NAME: &CStr = c"shmadm-guard";

/// The word that there is nothing to do any more; no id is negative.
const DONE: i32 = -1;
/// How long a guard may take to end; one that takes longer must have been stopped (SIGSTOP), and nothing hangs on it any more.
const PATIENCE: Duration = Duration::from_secs(1);

/// A guard at work. Dropped, it has nothing to do any more; and it acts if this process is killed before.
#[derive(Debug)]
pub(crate) struct Guard {
    /// It.
    child: Child,
    /// By which it learns what to do, and that we are gone.
    words: Option<PipeWriter>,
}

impl Guard {
    /// Starts one, before this process makes a segment with this key, or any but a private one if `None`, with so many bytes
    /// and [`Mode::PRIVATE`]; and returns once it is at work.
    ///
    /// # Errors
    /// There is no process to be had, or it ended, or a signal has asked us to end.
    pub(crate) fn start(key: Option<Key>, size: u64) -> Result<Self, Error> {
        let failed = |error: std::io::Error| start_failed("cannot start a guard", &error);
        let (waiting, words) = std::io::pipe().map_err(failed)?;
        let child = Command::new("/proc/self/exe")
            .arg0(GUARD_NAME.to_string_lossy().as_ref())
            .args(Made { by: std::process::id().cast_signed(), key, size }.arguments())
            .current_dir("/")
            .stdin(OwnedFd::from(waiting))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C, and what kills our whole group, shall not reach it.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let mut guard = Self { child, words: Some(words) };
        let mut answer = guard.child.stdout.take();
        loop {
            match answer.as_mut().map_or(Ok(0), |answer| answer.read(&mut [0])) {
                Ok(0) => return Err(Error::new(Kind::Failed, "cannot start a guard: it ended before it was at work")),
                Ok(_) => return Ok(guard),
                Err(error) if error.kind() == ErrorKind::Interrupted && sys::caught().is_none() => {}
                Err(error) => return Err(failed(error)),
            }
        }
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
        // Where nobody reaps orphans it would stay for ever. A signal ends the wait, as it does any other.
        if let Ok(pidfd) = sys::open_pidfd(self.child.id().cast_signed()) {
            let _ = sys::wait_ended(&pidfd, PATIENCE);
        }
        let _ = self.child.try_wait();
    }
}

/// What a guard knows of a segment before it is made.
#[derive(Clone, Copy, Debug)]
struct Made {
    /// The pid of its creator.
    by: i32,
    /// Its key; any but that of a private one if `None`.
    key: Option<Key>,
    /// Its size in bytes.
    size: u64,
}

impl Made {
    /// Gives the guard's arguments, which `ps` shows.
    fn arguments(self) -> [String; 3] {
        let key = self.key.map_or_else(|| "random".to_owned(), |key| key.to_string());
        [format!("by={}", self.by), format!("key={key}"), format!("size={}", self.size)]
    }

    /// Reads them back.
    fn from_arguments(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let (mut by, mut key, mut size) = (None, None, None);
        for argument in arguments {
            match argument.split_once('=')? {
                ("by", number) => by = number.parse().ok(),
                ("key", "random") => key = Some(None),
                ("key", number) => key = Key::parse(number).ok().map(Some),
                ("size", number) => size = number.parse().ok(),
                _ => return None,
            }
        }
        Some(Self { by: by?, key: key?, size: size? })
    }

    /// Tells whether a segment of which no id was told can be the one: it is as it was to be made, and nobody has ever
    /// attached it, which would have come after the id was told.
    fn can_be(self, segment: &Segment, uid: u32) -> bool {
        let unused = segment.nattch == 0 && segment.lpid.is_none() && segment.atime.is_none() && !segment.dest;
        let bare = segment.size == self.size && segment.mode == Mode::PRIVATE;
        let keyed = self.key.map_or(segment.key != Key::PRIVATE, |key| segment.key == key);
        segment.cpid == Some(self.by) && segment.cuid == uid && bare && keyed && unused
    }
}

/// Is the guard, until its maker has no more use for it or is gone.
///
/// # Errors
/// It was not started by a maker, or cannot find or remove what that left.
pub(crate) fn stand_guard(arguments: impl Iterator<Item = String>) -> Result<(), Error> {
    let unusable = || Error::new(Kind::Usage, "shmadm-guard is started by `shmadm restore` alone");
    let made = Made::from_arguments(arguments).ok_or_else(unusable)?;
    sys::close_inherited();
    sys::set_name(GUARD_NAME);
    // Whoever asks all processes of a service to end asks the maker as well, who cleans up himself.
    sys::block_signals();
    let system = System::new();
    // Its number may become another process's once it is gone.
    let maker = sys::open_pidfd(made.by).ok();
    let mut before = inventory(&system, Needs::empty())?;
    before.retain(|segment| segment.cpid == Some(made.by));
    if !sys::answer_and_let_go(b".") {
        return Ok(());
    }
    let mut heard = Vec::new();
    std::io::stdin().read_to_end(&mut heard).map_err(|error| Error::io("cannot stand guard", &error, "read"))?;
    let words: Vec<_> = heard.as_chunks().0.iter().map(|word| i32::from_ne_bytes(*word)).collect();
    let left = match words.as_slice() {
        [.., DONE] => None,
        [told, ..] => {
            let id = ShmId::new(*told).ok_or_else(unusable)?;
            segment(&system, id, Needs::empty())?.filter(|segment| segment.cpid == Some(made.by))
        }
        [] => find(&system, made, maker.as_ref(), &before)?,
    };
    left.map_or(Ok(()), |left| remove(&system, left.id))
}

/// Finds what a maker made that was killed before it could tell of it, and had not made before the guard was there; `None`
/// also if that cannot be told for certain.
fn find(system: &System, made: Made, maker: Option<&OwnedFd>, before: &[Segment]) -> Result<Option<Segment>, Error> {
    let mut found = inventory(system, Needs::empty())?;
    found.retain(|segment| made.can_be(segment, system.uid()) && before.iter().all(|known| known.id != segment.id));
    // Looked at last, so that nothing found was made by another process that has the number now.
    let nobody_has_it = || sys::open_pidfd(made.by).is_err_and(|error| error.errno == Errno::ESRCH);
    let is_known = maker.is_some_and(sys::is_unreaped) || nobody_has_it();
    // The maker makes one.
    Ok(if found.len() == 1 && is_known { found.pop() } else { None })
}

/// Removes a segment, and ends the holder that was started for it.
fn remove(system: &System, id: ShmId) -> Result<(), Error> {
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
    const MADE: Made = Made { by: 77, key: Some(Key::new(5)), size: 9000 };

    /// A segment that has just been made by that process.
    fn made() -> Segment {
        Segment { cpid: Some(77), cuid: 5, key: Key::new(5), size: 9000, mode: Mode::PRIVATE, ..Segment::bare() }
    }

    #[test]
    fn the_task_is_told_by_arguments() {
        for made in [MADE, Made { key: None, ..MADE }, Made { key: Some(Key::PRIVATE), ..MADE }] {
            let told = Made::from_arguments(made.arguments().into_iter()).unwrap();
            assert_eq!(told.arguments(), made.arguments());
        }
        for wrong in [&["by=77", "key=5"][..], &["by=77", "key=5", "size=x"], &["by=77", "more"], &[]] {
            assert!(Made::from_arguments(wrong.iter().map(ToString::to_string)).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn of_what_no_id_was_told_everything_must_fit() {
        assert!(MADE.can_be(&made(), 5));
        assert!(!MADE.can_be(&made(), 6), "another user's");
        for other in [
            Segment { cpid: Some(78), ..made() },
            Segment { cpid: None, ..made() },
            Segment { key: Key::PRIVATE, ..made() },
            Segment { size: 9001, ..made() },
            Segment { mode: Mode::parse("640").unwrap(), ..made() },
            Segment { nattch: 1, ..made() },
            Segment { lpid: Some(77), ..made() },
            Segment { atime: Some(Stamp(1000)), ..made() },
            Segment { dest: true, ..made() },
        ] {
            assert!(!MADE.can_be(&other, 5), "{other:?}");
        }
        let random = Made { key: None, ..MADE };
        assert!(random.can_be(&made(), 5) && !random.can_be(&Segment { key: Key::PRIVATE, ..made() }, 5));
    }
}
