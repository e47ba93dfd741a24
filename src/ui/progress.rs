//! Progress line for long operations.

use std::io::{Stderr, Write};
use std::time::{Duration, Instant};

use super::terminal_width;
use crate::render::{duration, human_size};

/// A shorter operation shows no progress.
const DELAY: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(100);
/// Erases the line of the cursor.
const ERASE: &str = "\r\x1b[K";

/// The progress of an operation. On a terminal a line appears after a second, and disappears on drop.
#[derive(Debug)]
pub(crate) struct Progress {
    /// `None` if standard error is not a terminal, or with `--quiet`.
    stream: Option<Stderr>,
    message: &'static str,
    /// Bytes in total, if known.
    total: Option<u64>,
    done: u64,
    started: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    /// Starts the operation; `total` is its size in bytes, if known.
    pub(super) fn start(stream: Option<Stderr>, message: &'static str, total: Option<u64>) -> Self {
        Self { stream, message, total, done: 0, started: Instant::now(), drawn: None }
    }

    pub(crate) fn hidden() -> Self {
        Self::start(None, "", None)
    }

    pub(crate) fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        let Some(stream) = &mut self.stream else { return };
        let now = Instant::now();
        let due = self.drawn.map_or(self.started + DELAY, |drawn| drawn + INTERVAL);
        if now < due {
            return;
        }
        self.drawn = Some(now);
        let width = terminal_width(&*stream).unwrap_or(80);
        let line = format_line(self.message, self.done, self.total, now - self.started, width);
        // Progress that cannot be shown is not worth an error.
        let _ = stream.write_all(format!("{ERASE}{line}").as_bytes());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.as_mut().filter(|_| self.drawn.is_some()) {
            let _ = stream.write_all(ERASE.as_bytes());
        }
    }
}

/// Formats a line that is narrower than `width`, so that it does not wrap: `reading [###   ] 384M/1G 96M/s, 6s left`.
fn format_line(message: &str, done: u64, total: Option<u64>, elapsed: Duration, width: usize) -> String {
    let per_second = u128::from(done) * 1000 / elapsed.as_millis().max(1);
    let speed = format!("{}/s", human_size(per_second));
    let Some(total) = total.filter(|total| *total > 0) else {
        return clipped(format!("{message} {} {speed}", human_size(done.into())), width);
    };
    let left = u64::try_from(u128::from(total.saturating_sub(done)) / per_second.max(1)).unwrap_or(u64::MAX);
    let counts = format!("{}/{} {speed}, {} left", human_size(done.into()), human_size(total.into()), duration(left));
    let bar = width.saturating_sub(message.len() + counts.len() + " [] ".len() + 1);
    let filled = usize::try_from(bar as u128 * u128::from(done.min(total)) / u128::from(total)).unwrap_or(bar);
    clipped(format!("{message} [{:<bar$}] {counts}", "#".repeat(filled)), width)
}

/// Cuts a line of ASCII characters.
fn clipped(mut line: String, width: usize) -> String {
    line.truncate(width.saturating_sub(1));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_any_width() {
        let line = |width| format_line("reading", 384 << 20, Some(1 << 30), Duration::from_secs(4), width);
        assert_eq!(line(60), "reading [#########                 ] 384M/1G 96M/s, 6s left");
        assert_eq!(line(20), "reading [] 384M/1G ");
        assert_eq!(line(1), "");
    }

    #[test]
    fn without_a_total_it_has_no_bar() {
        assert_eq!(format_line("writing", 3 << 20, None, Duration::from_millis(1500), 80), "writing 3M 2M/s");
        assert_eq!(format_line("writing", 0, Some(0), Duration::ZERO, 80), "writing 0B 0B/s");
    }
}
