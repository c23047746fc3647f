//! A spinner for what takes over a second, at terminals only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;
use crate::build;

/// Shows what a build does.
pub(super) struct Display<'a> {
    output: &'a Output,
    bar: ProgressBar,
    names: String,
    crates: usize,
}

impl<'a> Display<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        let target = if output.shows_progress() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self {
            output,
            bar,
            names: String::new(),
            crates: 0,
        }
    }

    /// Lines only: several may show something at one time.
    pub(super) fn lines(output: &'a Output) -> Self {
        let display = Self::new(output);
        display.bar.set_draw_target(ProgressDrawTarget::hidden());
        display
    }

    pub(super) fn on(&mut self, progress: build::BuildProgress) {
        match progress {
            build::BuildProgress::InstallingTarget { target } => {
                self.say(&format!("the toolchain lacks {target}; rustup installs it"));
                self.bar.set_message(format!("installing {target}"));
            }
            build::BuildProgress::InstallingTools { tools } => {
                self.say(&format!("installing {tools} into the cache, once"));
                self.bar.set_message(format!("installing {tools}"));
            }
            build::BuildProgress::Waiting { what } => {
                self.say(&format!("{what}: another process is at it, waiting"));
                self.bar.set_message(format!("waiting for {what}"));
            }
            build::BuildProgress::Step { name, step } => {
                self.say(&format!("{name}: {step}"));
                self.bar.set_message(format!("{name}: {step}"));
            }
            build::BuildProgress::Started { names } => {
                self.names = names.join(", ");
                self.crates = 0;
                self.say(&format!("{}: compiling", self.names));
                self.bar.set_message(format!("building {}", self.names));
            }
            build::BuildProgress::Compiled { name, fresh: false } => {
                self.crates += 1;
                let Self { names, crates, .. } = self;
                self.bar.set_message(format!(
                    "building {names}: {crates} crates done, last {name}"
                ));
            }
            build::BuildProgress::Compiled { fresh: true, .. } => {}
            build::BuildProgress::Warned { diagnostics } => self.say(diagnostics.trim_end()),
        }
    }

    /// A line above the spinner.
    fn say(&self, line: &str) {
        self.bar.suspend(|| self.output.note(line));
    }
}

impl Drop for Display<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
