//! Progress bar for long operations.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const DELAY: Duration = Duration::from_secs(1);
const WITH_TOTAL: &str = "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const WITHOUT_TOTAL: &str = "{msg} {bytes} {bytes_per_sec}";

/// The progress of an operation. On a terminal a bar appears after a second, and disappears on drop.
#[derive(Debug)]
pub(crate) struct Progress {
    /// `None` if standard error is not a terminal, or with `--quiet`.
    bar: Option<ProgressBar>,
    started: Instant,
    shown: bool,
}

impl Progress {
    /// Starts the operation; `total` is its size in bytes, if known.
    pub(super) fn start(visible: bool, message: &'static str, total: Option<u64>) -> Self {
        let bar = visible.then(|| {
            let style = ProgressStyle::with_template(if total.is_some() { WITH_TOTAL } else { WITHOUT_TOTAL });
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("## ");
            // Updated while it is hidden, so that the rate is right when it appears.
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
            bar.with_style(style).with_message(message)
        });
        Self { bar, started: Instant::now(), shown: false }
    }

    pub(crate) fn hidden() -> Self {
        Self::start(false, "", None)
    }

    pub(crate) fn advance(&mut self, bytes: u64) {
        let Some(bar) = &self.bar else { return };
        bar.inc(bytes);
        if !self.shown && self.started.elapsed() >= DELAY {
            self.shown = true;
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.tick();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take().filter(|_| self.shown) {
            bar.finish_and_clear();
        }
    }
}
