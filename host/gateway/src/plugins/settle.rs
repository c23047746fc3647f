//! When a changed plugin is read: at once when its file is complete, later while it is being
//! written. Pure: time is passed in.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What was seen of a plugin's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It is complete: renamed into place, closed after writing, or removed.
    Complete,
    /// It is being written, and whether an end of that will be seen is not known.
    Writing,
    /// It differs from the last look. Says less than a notice, so it never puts one off.
    Differs,
}

/// Plugins that changed, each with the time at which it is to be read.
#[derive(Debug)]
pub struct Settle {
    due: BTreeMap<String, Instant>,
    /// How long a file that is being written must be left alone.
    quiet: Duration,
}

impl Settle {
    #[must_use]
    pub fn new(quiet: Duration) -> Self {
        Self {
            due: BTreeMap::new(),
            quiet,
        }
    }

    pub fn on_sight(&mut self, now: Instant, plugin: String, sight: Sight) {
        match sight {
            Sight::Complete => {
                self.due
                    .insert(plugin, now + COMPLETE_PAUSE.min(self.quiet));
            }
            Sight::Writing => {
                self.due.insert(plugin, now + self.quiet);
            }
            Sight::Differs => {
                self.due.entry(plugin).or_insert(now + self.quiet);
            }
        }
    }

    /// A plugin whose time has come.
    pub fn poll_due(&mut self, now: Instant) -> Option<String> {
        let (plugin, _) = self.due.iter().find(|(_, due)| **due <= now)?;
        let plugin = plugin.clone();
        self.due.remove(&plugin);
        Some(plugin)
    }

    /// When `poll_due` has something next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }
}

/// Component and manifest of one deployment often come within a millisecond of each other: two
/// files, one reload.
const COMPLETE_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_complete_file_is_due_after_a_short_pause() {
        let (mut settle, now) = (Settle::new(QUIET), Instant::now());
        settle.on_sight(now, "users".into(), Sight::Complete);
        assert_eq!(settle.poll_due(now + ms(4)), None);
        assert_eq!(settle.poll_timeout(), Some(now + ms(5)));
        assert_eq!(settle.poll_due(now + ms(5)).as_deref(), Some("users"));
        assert_eq!(settle.poll_timeout(), None);
    }

    #[test]
    fn each_write_puts_the_reading_off() {
        let (mut settle, now) = (Settle::new(QUIET), Instant::now());
        settle.on_sight(now, "users".into(), Sight::Writing);
        settle.on_sight(now + ms(900), "users".into(), Sight::Writing);
        assert_eq!(settle.poll_due(now + ms(1899)), None);
        assert!(settle.poll_due(now + ms(1900)).is_some());
    }

    #[test]
    fn the_end_of_writing_cuts_the_wait_short() {
        let (mut settle, now) = (Settle::new(QUIET), Instant::now());
        settle.on_sight(now, "users".into(), Sight::Writing);
        settle.on_sight(now + ms(10), "users".into(), Sight::Complete);
        assert!(settle.poll_due(now + ms(15)).is_some());
        assert_eq!(
            settle.poll_due(now + QUIET * 2),
            None,
            "one reading for both sights"
        );
    }

    #[test]
    fn a_look_does_not_put_off_a_notice() {
        let (mut settle, now) = (Settle::new(QUIET), Instant::now());
        settle.on_sight(now, "users".into(), Sight::Complete);
        settle.on_sight(now, "users".into(), Sight::Differs);
        assert!(settle.poll_due(now + ms(5)).is_some());
    }

    #[test]
    fn plugins_settle_on_their_own() {
        let (mut settle, now) = (Settle::new(QUIET), Instant::now());
        settle.on_sight(now, "users".into(), Sight::Writing);
        settle.on_sight(now, "chat".into(), Sight::Complete);
        assert_eq!(settle.poll_due(now + ms(5)).as_deref(), Some("chat"));
        assert_eq!(settle.poll_due(now + ms(5)), None);
    }
}
