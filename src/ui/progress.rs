//! A bar for work that takes long.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long work takes before it is worth a bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// What is shown where the end is known.
const KNOWN: &str = "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
/// What is shown where it is not.
const UNKNOWN: &str = "{msg} {bytes} {bytes_per_sec}";

/// How far work has come; on a terminal, and after a second, a bar shows it, which is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Bar {
    /// The bar; `None` if nobody is there to see it.
    bar: Option<ProgressBar>,
    /// When the work began.
    began: Instant,
    /// Whether the bar shows.
    shown: bool,
}

impl Bar {
    /// Begins, for so many bytes where that is known.
    pub(super) fn begin(visible: bool, doing: &'static str, total: Option<u64>) -> Self {
        let bar = visible.then(|| {
            let style = ProgressStyle::with_template(if total.is_some() { KNOWN } else { UNKNOWN });
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("## ");
            // Fed from the beginning, so that the rate is right when it shows.
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
            bar.with_style(style).with_message(doing)
        });
        Self { bar, began: Instant::now(), shown: false }
    }

    /// Shows nothing.
    pub(crate) fn none() -> Self {
        Self::begin(false, "", None)
    }

    /// Takes note of so many bytes more.
    pub(crate) fn advance(&mut self, bytes: u64) {
        let Some(bar) = &self.bar else { return };
        bar.inc(bytes);
        if !self.shown && self.began.elapsed() >= PATIENCE {
            self.shown = true;
            bar.set_draw_target(super::bar_target());
            bar.tick();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take().filter(|_| self.shown) {
            bar.finish_and_clear();
        }
    }
}
