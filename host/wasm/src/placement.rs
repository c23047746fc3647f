//! Where the calls of a method begin: in place, on the thread that has them at hand, or at once on the
//! threads for guests. What decides is how long such calls have computed lately.
//!
//! ```text
//!              took too long                    computed too long
//!  trusted ───────────────────► measured ──────────────────────────► offloaded
//!     ▲ ▲                         │  │                                   │
//!     │ └── so many short calls ──┘  │ took too long without computing:  │
//!     │ ◄────────────────────────────┘ the thread was taken away         │
//!     └────────────────── so many short calls in a row ──────────────────┘
//! ```
//! The time of a trusted call is known anyway; it says too much where the system took the thread away
//! in the middle. So a method is offloaded by processor time alone, which costs two system calls a call
//! and is looked at only while a method is suspected. Each time that a method is offloaded, its way
//! back takes twice as many short calls: one that is slow now and then ends up where it does no harm.
//!
//! Methods are told apart by a hash; those that share a slot share its fate.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::atomic::{
        AtomicU32, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

/// What a guest may compute in one go on a thread that does input and output: a tenth of a tick.
pub(crate) const IN_PLACE_MAX: Duration = Duration::from_millis(1);

/// Slots of one generation. More methods than that share.
const SLOTS: usize = 64;
/// Short calls that clear a method of the first suspicion; doubled with each further one up to
/// `WINDOW_DOUBLINGS` times.
const WINDOW: u32 = 64;
const WINDOW_DOUBLINGS: u32 = 3;
/// Short calls in a row after which a method is trusted again, the first time; doubled with each
/// further time up to `RETURN_DOUBLINGS` times.
const RETURN: u32 = 64;
const RETURN_DOUBLINGS: u32 = 10;

/// Where a call begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    InPlace,
    /// In place, with its processor time taken.
    Measured,
    /// On the threads for guests.
    Offloaded,
}

/// What is known of the methods of one generation.
#[derive(Debug)]
pub(crate) struct Placements {
    /// Slots that are not trusted. While there are none nothing else is looked at.
    n_watched: AtomicUsize,
    slots: Box<[AtomicU32]>,
}

/// What one slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    placement: Placement,
    /// Short calls until it is trusted.
    n_left: u32,
    /// Suspicions without a result.
    n_suspicions: u32,
    /// Times that it was offloaded.
    n_offloads: u32,
}

impl Placements {
    pub(crate) fn new() -> Self {
        Self {
            n_watched: AtomicUsize::new(0),
            slots: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Where a call of `method` begins.
    pub(crate) fn of(&self, service: &str, method: &str) -> Placement {
        if self.n_watched.load(Relaxed) == 0 {
            return Placement::InPlace;
        }
        self.slot(service, method)
            .map_or(Placement::InPlace, |slot| {
                Record::read(slot.load(Relaxed)).placement
            })
    }

    /// A call that began in place has held its thread for `took` and, where that was measured, computed
    /// for `computed`.
    pub(crate) fn on_in_place(
        &self,
        service: &str,
        method: &str,
        took: Duration,
        computed: Option<Duration>,
    ) {
        self.change(service, method, |record| record.on_in_place(took, computed));
    }

    /// A call had to leave the thread on which it began.
    pub(crate) fn on_overrun(&self, service: &str, method: &str) {
        self.change(service, method, Record::offload);
    }

    /// A call on the threads for guests has computed for `computed` in one go at most.
    pub(crate) fn on_computed(&self, service: &str, method: &str, computed: Duration) {
        self.change(service, method, |record| record.on_computed(computed));
    }

    fn change(&self, service: &str, method: &str, change: impl FnOnce(Record) -> Record) {
        let Some(slot) = self.slot(service, method) else {
            return;
        };
        let before = slot.load(Relaxed);
        let (old, new) = (Record::read(before), change(Record::read(before)));
        // Of two at once one is lost, which does no harm; the count stays right.
        if old == new
            || slot
                .compare_exchange(before, new.write(), SeqCst, SeqCst)
                .is_err()
        {
            return;
        }
        match (old.is_trusted(), new.is_trusted()) {
            (true, false) => {
                self.n_watched.fetch_add(1, SeqCst);
            }
            (false, true) => {
                self.n_watched.fetch_sub(1, SeqCst);
            }
            (true, true) | (false, false) => {}
        }
        if old.placement != new.placement {
            tracing::debug!(service, method, from = ?old.placement, to = ?new.placement, "calls begin elsewhere");
        }
    }

    fn slot(&self, service: &str, method: &str) -> Option<&AtomicU32> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((service, method));
        let index = usize::try_from(hash % SLOTS as u64).ok()?;
        self.slots.get(index)
    }
}

impl Record {
    const fn is_trusted(self) -> bool {
        matches!(self.placement, Placement::InPlace)
    }

    fn on_in_place(self, took: Duration, computed: Option<Duration>) -> Self {
        match (self.placement, computed) {
            (Placement::InPlace, _) if took > IN_PLACE_MAX => Self {
                placement: Placement::Measured,
                n_left: WINDOW << self.n_suspicions,
                n_suspicions: (self.n_suspicions + 1).min(WINDOW_DOUBLINGS),
                ..self
            },
            (Placement::Measured, Some(computed)) if computed > IN_PLACE_MAX => self.offload(),
            (Placement::Measured, Some(_)) if took > IN_PLACE_MAX => Self {
                n_suspicions: 0,
                ..self.trust()
            },
            (Placement::Measured, Some(_)) => self.on_short(),
            (Placement::InPlace | Placement::Measured | Placement::Offloaded, _) => self,
        }
    }

    fn on_computed(self, computed: Duration) -> Self {
        match self.placement {
            _ if computed > IN_PLACE_MAX => self.offload(),
            Placement::Offloaded => self.on_short(),
            Placement::InPlace | Placement::Measured => self,
        }
    }

    /// Offloads it; where it is, the way back begins anew.
    fn offload(self) -> Self {
        let n_offloads = match self.placement {
            Placement::Offloaded => self.n_offloads,
            Placement::InPlace | Placement::Measured => {
                (self.n_offloads + 1).min(RETURN_DOUBLINGS + 1)
            }
        };
        Self {
            placement: Placement::Offloaded,
            n_left: RETURN << n_offloads.saturating_sub(1),
            n_suspicions: 0,
            n_offloads,
        }
    }

    const fn on_short(self) -> Self {
        match self.n_left {
            0 | 1 => self.trust(),
            n_left => Self {
                n_left: n_left - 1,
                ..self
            },
        }
    }

    const fn trust(self) -> Self {
        Self {
            placement: Placement::InPlace,
            n_left: 0,
            ..self
        }
    }

    /// | bits | |
    /// |---|---|
    /// | 0 to 19 | calls left |
    /// | 20, 21 | suspicions |
    /// | 22 to 25 | offloads |
    /// | 26, 27 | placement |
    const fn write(self) -> u32 {
        let placement = match self.placement {
            Placement::InPlace => 0,
            Placement::Measured => 1,
            Placement::Offloaded => 2,
        };
        self.n_left | self.n_suspicions << 20 | self.n_offloads << 22 | placement << 26
    }

    const fn read(bits: u32) -> Self {
        Self {
            n_left: bits & 0xf_ffff,
            n_suspicions: bits >> 20 & 0b11,
            n_offloads: bits >> 22 & 0xf,
            placement: match bits >> 26 {
                0 => Placement::InPlace,
                1 => Placement::Measured,
                _ => Placement::Offloaded,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(2);
    const LONG: Duration = Duration::from_millis(5);

    fn placement(placements: &Placements) -> Placement {
        placements.of("s", "m")
    }

    fn in_place(placements: &Placements, took: Duration, computed: Option<Duration>) -> Placement {
        placements.on_in_place("s", "m", took, computed);
        placement(placements)
    }

    #[test]
    fn two_long_calls_are_enough_and_nobody_elses_calls_move() {
        let placements = Placements::new();
        assert_eq!(
            in_place(&placements, IN_PLACE_MAX, None),
            Placement::InPlace
        );
        assert_eq!(in_place(&placements, LONG, None), Placement::Measured);
        assert_eq!(
            in_place(&placements, LONG, Some(LONG)),
            Placement::Offloaded
        );
        assert_eq!(placements.of("s", "other"), Placement::InPlace);
    }

    #[test]
    fn a_thread_that_was_taken_away_is_no_fault_of_the_method() {
        let placements = Placements::new();
        for _ in 0..100 {
            assert_eq!(in_place(&placements, LONG, None), Placement::Measured);
            assert_eq!(in_place(&placements, LONG, Some(SHORT)), Placement::InPlace);
        }
        assert_eq!(placements.n_watched.load(Relaxed), 0);
    }

    #[test]
    fn short_calls_clear_a_method() {
        let placements = Placements::new();
        in_place(&placements, LONG, None);
        for _ in 1..WINDOW {
            assert_eq!(
                in_place(&placements, SHORT, Some(SHORT)),
                Placement::Measured
            );
        }
        assert_eq!(
            in_place(&placements, SHORT, Some(SHORT)),
            Placement::InPlace
        );
        assert_eq!(placements.n_watched.load(Relaxed), 0);
    }

    #[test]
    fn the_way_back_is_twice_as_long_each_time() {
        let placements = Placements::new();
        for times in 0..=RETURN_DOUBLINGS + 2 {
            placements.on_overrun("s", "m");
            placements.on_computed("s", "m", SHORT);
            // A long one on the way begins it anew.
            placements.on_computed("s", "m", LONG);
            for _ in 1..RETURN << times.min(RETURN_DOUBLINGS) {
                placements.on_computed("s", "m", SHORT);
            }
            assert_eq!(placement(&placements), Placement::Offloaded, "{times}");
            placements.on_computed("s", "m", SHORT);
            assert_eq!(placement(&placements), Placement::InPlace, "{times}");
        }
    }

    #[test]
    fn a_record_survives_its_bits() {
        for placement in [
            Placement::InPlace,
            Placement::Measured,
            Placement::Offloaded,
        ] {
            let record = Record {
                placement,
                n_left: RETURN << RETURN_DOUBLINGS,
                n_suspicions: WINDOW_DOUBLINGS,
                n_offloads: RETURN_DOUBLINGS + 1,
            };
            assert_eq!(Record::read(record.write()), record);
        }
    }
}
