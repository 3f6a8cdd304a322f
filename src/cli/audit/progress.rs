//! How far a long tool is: a line that moves on a terminal, a line now and then elsewhere.

use std::io;
use std::io::IsTerminal;
use std::time::Duration;
use std::time::Instant;

use indicatif::ProgressBar;
use indicatif::ProgressStyle;

use crate::ambient::instant;
use crate::cli::output;

/// How often something is said where nothing can move.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// The progress of an audit.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    said: Instant,
}

impl Progress {
    pub(super) fn new(volume: &str) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_message(format!("opening `{volume}`"));
            let style = "{spinner} {msg}: {human_pos} objects, {per_sec}, {elapsed}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, said: instant() }
    }

    pub(super) fn asked(&mut self, objects: u64, repairing: bool) {
        let doing = if repairing { "repairing" } else { "asking" };
        match &self.bar {
            Some(bar) => {
                bar.set_message(doing);
                bar.set_position(objects);
            }
            None if self.said.elapsed() >= SAID_EVERY => {
                self.said = instant();
                output::say(format!("{doing}: {objects} objects so far"));
            }
            None => {}
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
