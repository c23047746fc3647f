//! The clocks of a journal: read and written down, or as they were read before.

use std::time::{Duration, Instant};

use postern_system::clock;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

use super::Journal;

/// How far a clock goes on between readings that were not recorded: a guest that waits for a second
/// reads it a thousand times.
const STEP_NANOS: u64 = 1_000_000;

/// What one clock showed, and will show.
#[derive(Debug)]
pub(super) struct Readings {
    source: Source,
    /// What the next reading is counted from.
    last: u64,
    steps: Vec<i64>,
    n_read: usize,
}

#[derive(Debug)]
enum Source {
    Wall,
    Monotonic { began: Instant },
    Recorded { steps: Vec<i64> },
}

impl Readings {
    pub(super) const fn wall(began: u64) -> Self {
        Self::new(Source::Wall, began)
    }

    pub(super) fn monotonic() -> Self {
        let began = clock::now();
        Self::new(Source::Monotonic { began }, 0)
    }

    pub(super) fn recorded(base: u64, steps: &[i64]) -> Self {
        let steps = steps.to_vec();
        Self::new(Source::Recorded { steps }, base)
    }

    const fn new(source: Source, base: u64) -> Self {
        Self {
            source,
            last: base,
            steps: Vec::new(),
            n_read: 0,
        }
    }

    /// What the clock shows, in nanoseconds. It is written down where there is room.
    pub(super) fn read(&mut self, has_room: bool) -> u64 {
        let shown = match &self.source {
            Source::Wall => unix_nanos(),
            Source::Monotonic { began } => nanos(clock::since(*began)),
            Source::Recorded { steps } => match steps.get(self.n_read) {
                Some(step) => self.last.saturating_add_signed(*step),
                None => self.last.saturating_add(STEP_NANOS),
            },
        };
        if has_room {
            let step = i128::from(shown) - i128::from(self.last);
            self.steps.push(i64::try_from(step).unwrap_or(if step < 0 {
                i64::MIN
            } else {
                i64::MAX
            }));
        }
        self.n_read += 1;
        self.last = shown;
        shown
    }

    /// What was read, each from the reading before on.
    pub(super) fn steps(&self) -> Vec<i64> {
        self.steps.clone()
    }

    /// How many readings were recorded, and how many there were.
    pub(super) const fn counts(&self) -> (usize, usize) {
        match &self.source {
            Source::Recorded { steps } => (steps.len(), self.n_read),
            Source::Wall | Source::Monotonic { .. } => (self.n_read, self.n_read),
        }
    }
}

/// Now, in nanoseconds since 1970.
pub(super) fn unix_nanos() -> u64 {
    nanos(clock::unix_time())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl HostWallClock for Journal {
    /// One nanosecond, whatever the machine has.
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.wall_nanos())
    }
}

impl HostMonotonicClock for Journal {
    /// One nanosecond, whatever the machine has.
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.monotonic_nanos()
    }
}
