//! How far a run has come, on a terminal.
//!
//! Owns the bar on standard error. It shows nothing for short runs, nothing when standard error is no
//! terminal, and leaves nothing behind. Host time decides only when it is drawn.

use emu_linux::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Runs shorter than this show no bar.
const QUIET: Duration = Duration::from_millis(500);

/// A bar, drawn once it is worth it.
#[derive(Debug)]
pub struct Bar {
    label: String,
    /// `None`: nobody watches.
    started: Option<Instant>,
    /// Hidden at first, so that its estimate knows the run from the beginning.
    bar: Option<ProgressBar>,
}

impl Bar {
    /// A bar labelled `label`, drawn only if standard error is a terminal.
    pub fn new(label: String) -> Bar {
        let started = std::io::stderr().is_terminal().then(Instant::now);
        Bar {
            label,
            started,
            bar: None,
        }
    }

    /// Says something else beside the bar.
    pub fn tell(&mut self, label: &str) {
        if self.started.is_none() {
            return;
        }
        label.clone_into(&mut self.label);
        if let Some(bar) = &self.bar {
            bar.set_message(label.to_owned());
        }
    }

    /// Shows how far the run has come.
    pub fn update(&mut self, progress: Progress) {
        let Some(started) = self.started else { return };
        let bar = self
            .bar
            .get_or_insert_with(|| hidden(&self.label, progress.total));
        if bar.is_hidden() && started.elapsed() >= QUIET {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.set_position(progress.done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn hidden(label: &str, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
    let template = match total {
        Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} ({percent}%, {eta} left)",
        None => "{spinner} {msg}: {human_pos} operations",
    };
    // A template that indicatif refused would cost the looks of the bar, not the run.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(label.to_owned());
    bar
}
