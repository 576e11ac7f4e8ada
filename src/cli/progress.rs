use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::Output;

/// A bar on standard error while a person watches; nothing otherwise.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(output: &Output, steps: usize, what: &str) -> Self {
        // Small work is over before anybody could look.
        if !output.attended() || steps < 20 {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(u64::try_from(steps).unwrap_or(u64::MAX));
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}  {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(bar)
    }

    pub(super) fn step(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
