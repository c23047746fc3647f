//! When something that changed is read: at once when its writer has closed it, later while it is
//! open, after a time of rest where nobody tells of a close. Pure: time is passed in.
//!
//! ```text
//!            Written                    Closed, Replaced
//! (nothing) ─────────▶ open ───────────────────────────────▶ resting for PAUSE ──▶ due
//!     │                  │ nothing written for HELD_OPEN_MAX ──────────────────────▶ due
//!     ├─ Created, Removed, Differs ──▶ resting for `settle` ────────────────────────▶ due
//! ```
//! What is read is a unit: one file, or a component with its manifest. A unit is due when all of its
//! files are.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What was noticed of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Somebody has it open and changed its content; a close will be told.
    Written,
    /// Its writer closed it.
    Closed,
    /// It, or a link on the path to it, was renamed into place.
    Replaced,
    /// A name came to be, or its attributes changed; whether a close follows is not known.
    Created,
    /// Its name has gone.
    Removed,
    /// It differs from the last look. Says less than any notice, so it never puts one off.
    Differs,
}

/// How long files are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Rest of a file that nobody tells the close of, and of a name that has gone.
    pub settle: Duration,
    /// Rest of a file whose writer has it open.
    pub held_open_max: Duration,
}

/// Units that changed, each with its files.
#[derive(Debug)]
pub(crate) struct Settle<K> {
    timing: Timing,
    units: BTreeMap<K, BTreeMap<PathBuf, Phase>>,
}

/// A unit whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due<K> {
    pub unit: K,
    /// Only looks told of it: it counts if it still is as the last look found it.
    pub is_by_look: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open { written: Instant },
    Resting { until: Instant, is_by_look: bool },
}

impl Timing {
    /// The bounds of this system: where a close is not told, rest decides alone.
    pub(crate) fn new(settle: Duration) -> Self {
        let held_open_max = if CLOSE_IS_TOLD {
            HELD_OPEN_MAX.max(settle)
        } else {
            settle
        };
        Self {
            settle,
            held_open_max,
        }
    }
}

impl<K: Ord + Clone> Settle<K> {
    pub(crate) const fn new(timing: Timing) -> Self {
        Self {
            timing,
            units: BTreeMap::new(),
        }
    }

    pub(crate) fn on_notice(&mut self, now: Instant, unit: K, file: &Path, notice: Notice) {
        let files = self.units.entry(unit).or_default();
        let before = files.get(file).copied();
        let rest = |time| Phase::Resting {
            until: now + time,
            is_by_look: false,
        };
        let phase = match (notice, before) {
            (Notice::Written, _) => Phase::Open { written: now },
            (Notice::Closed | Notice::Replaced, _) => rest(PAUSE.min(self.timing.settle)),
            (Notice::Removed, _) => rest(self.timing.settle),
            // Attributes of a file say nothing about its writer.
            (Notice::Created | Notice::Differs, Some(open @ Phase::Open { .. })) => open,
            (Notice::Created, _) => rest(self.timing.settle),
            (
                Notice::Differs,
                Some(
                    told @ Phase::Resting {
                        is_by_look: false, ..
                    },
                ),
            ) => told,
            (Notice::Differs, _) => Phase::Resting {
                until: now + self.timing.settle,
                is_by_look: true,
            },
        };
        files.insert(file.to_owned(), phase);
    }

    /// Makes `unit` due at `at`, or later if its files ask for that.
    pub(crate) fn again(&mut self, unit: K, at: Instant) {
        let files = self.units.entry(unit).or_default();
        let phase = Phase::Resting {
            until: at,
            is_by_look: false,
        };
        files.insert(PathBuf::new(), phase);
    }

    /// Forgets `unit`.
    pub(crate) fn forget(&mut self, unit: &K) {
        self.units.remove(unit);
    }

    /// Whether something was noticed of `unit` since it was last due, so that what was read of it
    /// does not count.
    pub(crate) fn is_changing(&self, unit: &K) -> bool {
        self.units.contains_key(unit)
    }

    /// A unit whose time has come.
    pub(crate) fn poll_due(&mut self, now: Instant) -> Option<Due<K>> {
        let mut units = self.units.iter();
        let (unit, files) = units.find(|(_, files)| self.due(files) <= Some(now))?;
        let due = Due {
            unit: unit.clone(),
            is_by_look: files.values().all(|phase| {
                matches!(
                    phase,
                    Phase::Resting {
                        is_by_look: true,
                        ..
                    }
                )
            }),
        };
        self.units.remove(&due.unit);
        Some(due)
    }

    /// When `poll_due` has something next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.units
            .values()
            .filter_map(|files| self.due(files))
            .min()
    }

    /// Files that a writer has open and has not written to for `time`.
    pub(crate) fn open_for(&self, now: Instant, time: Duration) -> Vec<(&K, &Path)> {
        let units = self.units.iter();
        let files = units.flat_map(|(unit, files)| files.iter().map(move |file| (unit, file)));
        let long = files.filter(|(_, (_, phase))| match phase {
            Phase::Open { written } => now.saturating_duration_since(*written) >= time,
            Phase::Resting { .. } => false,
        });
        long.map(|(unit, (file, _))| (unit, file.as_path()))
            .collect()
    }

    fn due(&self, files: &BTreeMap<PathBuf, Phase>) -> Option<Instant> {
        let due = files.values().map(|phase| match phase {
            Phase::Open { written } => *written + self.timing.held_open_max,
            Phase::Resting { until, .. } => *until,
        });
        due.max()
    }
}

/// Component and manifest of one deployment often come within a millisecond of each other: two
/// files, one reload.
const PAUSE: Duration = Duration::from_millis(5);

/// Long enough for a writer that computes between its writes; a writer that never closes is a rare
/// thing, and what it wrote counts after this rest.
pub(super) const HELD_OPEN_MAX: Duration = Duration::from_secs(30);

/// inotify tells when a file that was open for writing is closed; other systems do not.
const CLOSE_IS_TOLD: bool = cfg!(any(target_os = "linux", target_os = "android"));

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(1);
    const FILES: [&str; 2] = ["users.wasm", "users.toml"];

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Notices of (ms, file, notice) for one unit, and when it is due in ms.
    #[track_caller]
    fn check(notices: &[(u64, usize, Notice)], expected: u64) {
        let timing = Timing {
            settle: SETTLE,
            held_open_max: SETTLE * 30,
        };
        let (mut settle, begin) = (Settle::new(timing), Instant::now());
        for (at, file, notice) in notices {
            settle.on_notice(begin + ms(*at), "users", Path::new(FILES[*file]), *notice);
        }
        assert_eq!(settle.poll_timeout(), Some(begin + ms(expected)));
        assert_eq!(settle.poll_due(begin + ms(expected - 1)), None);
        assert!(settle.is_changing(&"users"));
        assert!(settle.poll_due(begin + ms(expected)).is_some());
        assert!(!settle.is_changing(&"users"));
        assert_eq!(settle.poll_timeout(), None, "one reading for all notices");
    }

    #[test]
    fn a_closed_or_renamed_file_is_due_after_a_short_pause() {
        check(&[(0, 0, Notice::Closed)], 5);
        check(&[(0, 0, Notice::Replaced)], 5);
    }

    #[test]
    fn an_open_file_is_not_due_however_long_its_writer_pauses() {
        check(
            &[(0, 0, Notice::Written), (29_000, 0, Notice::Closed)],
            29_005,
        );
        check(
            &[
                (0, 0, Notice::Written),
                (60, 0, Notice::Written),
                (2_000, 0, Notice::Written),
                (2_100, 0, Notice::Closed),
            ],
            2_105,
        );
    }

    #[test]
    fn a_writer_that_never_closes_counts_after_its_longer_rest() {
        check(
            &[(0, 0, Notice::Written), (500, 0, Notice::Written)],
            30_500,
        );
    }

    #[test]
    fn a_name_that_came_or_went_rests_first() {
        check(&[(0, 0, Notice::Created)], 1_000);
        check(&[(0, 0, Notice::Removed)], 1_000);
        check(&[(0, 0, Notice::Removed), (400, 0, Notice::Replaced)], 405);
        check(&[(0, 0, Notice::Created), (1, 0, Notice::Written)], 30_001);
    }

    #[test]
    fn a_look_puts_no_notice_off_and_ends_no_wait() {
        check(&[(0, 0, Notice::Closed), (0, 0, Notice::Differs)], 5);
        check(
            &[(0, 0, Notice::Written), (900, 0, Notice::Differs)],
            30_000,
        );
        check(
            &[(0, 0, Notice::Written), (900, 0, Notice::Created)],
            30_000,
        );
    }

    #[test]
    fn without_notices_each_difference_begins_the_rest_anew() {
        check(&[(0, 0, Notice::Differs), (900, 0, Notice::Differs)], 1_900);
    }

    #[test]
    fn a_unit_waits_for_all_of_its_files() {
        check(&[(0, 0, Notice::Closed), (1, 1, Notice::Closed)], 6);
        check(
            &[
                (0, 1, Notice::Written),
                (10, 0, Notice::Replaced),
                (3_000, 1, Notice::Closed),
            ],
            3_005,
        );
        check(&[(0, 1, Notice::Removed), (10, 0, Notice::Replaced)], 1_000);
    }

    #[test]
    fn says_what_is_held_open_and_what_only_a_look_found() {
        let (mut settle, now) = (Settle::new(Timing::new(SETTLE)), Instant::now());
        let file = Path::new("users.wasm");
        settle.on_notice(now, "users", file, Notice::Written);
        settle.on_notice(now + ms(900), "users", file, Notice::Written);
        settle.on_notice(now, "chat", Path::new("chat.wasm"), Notice::Differs);
        assert_eq!(settle.open_for(now + ms(1_899), SETTLE), []);
        let held = settle.open_for(now + ms(1_900), SETTLE);
        assert_eq!(held, [(&"users", file)]);
        let due = settle.poll_due(now + SETTLE).expect("chat has rested");
        assert_eq!((due.unit, due.is_by_look), ("chat", true));
        settle.again("chat", now + SETTLE);
        let due = settle.poll_due(now + SETTLE).expect("asked for");
        assert_eq!((due.unit, due.is_by_look), ("chat", false));
    }
}
