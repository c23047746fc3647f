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
//! and is looked at only while a method is suspected. A call that saw two ticks of the epoch counts as
//! one that took too long, and no more: the thread may have been taken away between them as well.
//!
//! Each time that a method is offloaded, its return takes twice as many short calls: one that is slow
//! again and again ends up where it does no harm. A doubling is forgotten for every `DECAY_ROUNDS`
//! rounds of maintenance in which the method did not compute for long, wherever it was.
//!
//! Methods are told apart by a hash; those that share a slot share its fate.

use std::{
    sync::atomic::{
        AtomicU32, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use postern_core::Text;

/// What a guest may compute in one go on a thread that does input and output: a tenth of a tick.
pub(crate) const IN_PLACE_MAX: Duration = Duration::from_millis(1);

/// Slots of one generation. More methods than that share.
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 6;
/// Short calls that clear a method of the first suspicion; doubled with each further one up to
/// `WINDOW_DOUBLINGS` times.
const WINDOW: u32 = 64;
const WINDOW_DOUBLINGS: u32 = 3;
/// Short calls in a row after which a method is trusted again, the first time; doubled with each
/// further time up to `RETURN_DOUBLINGS` times.
const RETURN: u32 = 64;
const RETURN_DOUBLINGS: u32 = 10;
/// Rounds of maintenance (about a second each) without a long call after which one doubling of the
/// return is forgotten: as long as the inline path stays closed after one bailout.
const DECAY_ROUNDS: u32 = 8;

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
    /// Times that it was offloaded, less those that are forgotten.
    n_offloads: u32,
    /// Rounds of maintenance since it computed for long, or since one offload was forgotten.
    n_rounds: u32,
}

impl Placements {
    pub(crate) fn new() -> Self {
        Self {
            n_watched: AtomicUsize::new(0),
            slots: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Where a call of `method` begins.
    pub(crate) fn of(&self, service: &Text, method: &Text) -> Placement {
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
        service: &Text,
        method: &Text,
        took: Duration,
        computed: Option<Duration>,
    ) {
        self.change(service, method, |record| record.on_in_place(took, computed));
    }

    /// A call had to leave the thread on which it began, and has, where that was measured, computed for
    /// `computed` until then.
    pub(crate) fn on_overrun(&self, service: &Text, method: &Text, computed: Option<Duration>) {
        self.change(service, method, |record| record.on_long(computed));
    }

    /// A call on the threads for guests has computed for `computed` in one go at most.
    pub(crate) fn on_computed(&self, service: &Text, method: &Text, computed: Duration) {
        self.change(service, method, |record| record.on_computed(computed));
    }

    /// A round of maintenance has passed.
    pub(crate) fn on_round(&self) {
        for slot in &self.slots {
            self.change_slot(slot, Record::on_round);
        }
    }

    fn change(&self, service: &Text, method: &Text, change: impl FnOnce(Record) -> Record) {
        if let Some(slot) = self.slot(service, method)
            && let Some((from, to)) = self.change_slot(slot, change)
        {
            let (service, method) = (service.as_str(), method.as_str());
            tracing::debug!(service, method, ?from, ?to, "calls begin elsewhere");
        }
    }

    /// Changes what a slot says. The placements before and after, where they differ.
    fn change_slot(
        &self,
        slot: &AtomicU32,
        change: impl FnOnce(Record) -> Record,
    ) -> Option<(Placement, Placement)> {
        let before = slot.load(Relaxed);
        let (old, new) = (Record::read(before), change(Record::read(before)));
        // Of two at once one is lost, which does no harm; the count stays right.
        if old == new
            || slot
                .compare_exchange(before, new.write(), SeqCst, SeqCst)
                .is_err()
        {
            return None;
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
        (old.placement != new.placement).then_some((old.placement, new.placement))
    }

    fn slot(&self, service: &Text, method: &Text) -> Option<&AtomicU32> {
        self.slots.get(index(service.as_bytes(), method.as_bytes()))
    }
}

impl Record {
    const fn is_trusted(self) -> bool {
        matches!(self.placement, Placement::InPlace)
    }

    fn on_in_place(self, took: Duration, computed: Option<Duration>) -> Self {
        match (self.placement, computed) {
            _ if took > IN_PLACE_MAX => self.on_long(computed),
            (Placement::Measured, Some(_)) => self.on_short(),
            (Placement::InPlace | Placement::Measured | Placement::Offloaded, _) => self,
        }
    }

    /// A call has held its thread for too long. A method whose processor time was not taken is only
    /// suspected.
    fn on_long(self, computed: Option<Duration>) -> Self {
        match (self.placement, computed) {
            (Placement::InPlace, _) => Self {
                placement: Placement::Measured,
                n_left: WINDOW << self.n_suspicions,
                n_suspicions: (self.n_suspicions + 1).min(WINDOW_DOUBLINGS),
                ..self
            },
            (Placement::Measured, Some(computed)) if computed > IN_PLACE_MAX => self.offload(),
            (Placement::Measured, Some(_)) => Self {
                n_suspicions: 0,
                ..self.trust()
            },
            (Placement::Measured, None) | (Placement::Offloaded, _) => self,
        }
    }

    fn on_computed(self, computed: Duration) -> Self {
        match self.placement {
            _ if computed > IN_PLACE_MAX => self.offload(),
            Placement::Offloaded => self.on_short(),
            Placement::InPlace | Placement::Measured => self,
        }
    }

    /// Offloads it; where it is, its return begins anew.
    fn offload(self) -> Self {
        let n_offloads = match self.placement {
            Placement::Offloaded => self.n_offloads,
            Placement::InPlace | Placement::Measured => {
                (self.n_offloads + 1).min(RETURN_DOUBLINGS + 1)
            }
        };
        Self {
            placement: Placement::Offloaded,
            n_left: return_calls(n_offloads),
            n_suspicions: 0,
            n_offloads,
            n_rounds: 0,
        }
    }

    fn on_round(self) -> Self {
        let Some(fewer) = self.n_offloads.checked_sub(1) else {
            return self;
        };
        let n_rounds = self.n_rounds + 1;
        if n_rounds < DECAY_ROUNDS {
            return Self { n_rounds, ..self };
        }
        let n_left = match self.placement {
            Placement::Offloaded => self.n_left.min(return_calls(fewer)),
            Placement::InPlace | Placement::Measured => self.n_left,
        };
        Self {
            n_left,
            n_offloads: fewer,
            n_rounds: 0,
            ..self
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
    /// | 28 to 31 | rounds |
    const fn write(self) -> u32 {
        let placement = match self.placement {
            Placement::InPlace => 0,
            Placement::Measured => 1,
            Placement::Offloaded => 2,
        };
        self.n_left
            | self.n_suspicions << 20
            | self.n_offloads << 22
            | placement << 26
            | self.n_rounds << 28
    }

    const fn read(bits: u32) -> Self {
        Self {
            n_left: bits & 0xf_ffff,
            n_suspicions: bits >> 20 & 0b11,
            n_offloads: bits >> 22 & 0xf,
            n_rounds: bits >> 28,
            placement: match bits >> 26 & 0b11 {
                0 => Placement::InPlace,
                1 => Placement::Measured,
                _ => Placement::Offloaded,
            },
        }
    }
}

/// The slot of a method, by FNV-1a, which costs a call of two short names a fifth of what SipHash with a
/// key that everybody knows does. The last octets do not reach its upper bits, so a multiplication by
/// 2^64 / φ spreads them.
fn index(service: &[u8], method: &[u8]) -> usize {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    // What no name contains tells `a`, `bc` and `ab`, `c` apart.
    let octets = service.iter().chain(&[0xff]).chain(method);
    let hash = octets.fold(OFFSET, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(PRIME)
    });
    let hash = hash.wrapping_mul(SPREAD);
    usize::try_from(hash >> (u64::BITS - SLOT_BITS)).unwrap_or_default()
}

/// Short calls in a row after which a method that was offloaded so many times is trusted again.
const fn return_calls(n_offloads: u32) -> u32 {
    RETURN << n_offloads.saturating_sub(1)
}

#[cfg(test)]
mod tests;
