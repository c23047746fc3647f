//! Gives memory that was freed back to the system. glibc keeps what large messages leave behind in the
//! heaps of the threads that made them, so that a gateway would stay as large as its largest burst
//! (ADR 28).

use std::time::Duration;

use postern_net::Shutdown;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::telemetry::process::resident_bytes;

/// Decides when giving back is worth it, by what is resident.
#[derive(Debug, Default)]
struct Surplus {
    /// The least since memory was given back.
    least: Option<u64>,
    before: u64,
}

/// Looks every `LOOK_INTERVAL` until the gateway drains.
pub(crate) async fn give_back(shutdown: Shutdown) {
    let mut surplus = Surplus::default();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.draining() => return,
        }
        let Some(resident) = resident_bytes() else {
            return;
        };
        if !surplus.is_worth_it(resident) {
            continue;
        }
        // Takes the lock of each heap for as long as its free pages are looked for.
        if tokio::task::spawn_blocking(trim).await.is_err() {
            return;
        }
        let after = resident_bytes().unwrap_or(resident);
        surplus.on_given_back(after);
        debug!(before = resident, after, "memory given back to the system");
    }
}

impl Surplus {
    /// Whether much more is resident than was, and no more is added.
    fn is_worth_it(&mut self, resident: u64) -> bool {
        let is_growing = resident > self.before + GROWTH;
        self.before = resident;
        let least = self.least.map_or(resident, |least| least.min(resident));
        self.least = Some(least);
        !is_growing && resident - least > SURPLUS
    }

    /// What is resident afterwards is in use.
    const fn on_given_back(&mut self, resident: u64) {
        self.least = Some(resident);
        self.before = resident;
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "malloc_trim(3) is in no safe crate; it takes an integer, may be called at any time from \
              any thread, and changes no memory that is in use"
)]
fn trim() {
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // Whether anything was given back shows in what is resident.
    let _ = malloc_trim(0);
}

/// Other allocators give back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes over the least that was resident: a quarter of what connections may hold by default.
const SURPLUS: u64 = 64 * 1024 * 1024;
/// Bytes between two looks that count as a burst that goes on.
const GROWTH: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn memory_is_given_back_once_a_burst_is_over() {
        let mut surplus = Surplus::default();
        // A start, a burst, its end.
        for (resident, expected) in [(40, false), (44, false), (300, false), (500, false)] {
            assert_eq!(surplus.is_worth_it(resident * MIB), expected, "{resident}");
        }
        assert!(surplus.is_worth_it(460 * MIB));
        surplus.on_given_back(60 * MIB);
        assert!(!surplus.is_worth_it(62 * MIB));
    }

    #[test]
    fn memory_that_is_in_use_is_asked_for_once() {
        let mut surplus = Surplus::default();
        assert!(!surplus.is_worth_it(40 * MIB));
        assert!(!surplus.is_worth_it(105 * MIB));
        assert!(surplus.is_worth_it(105 * MIB));
        surplus.on_given_back(105 * MIB);
        for _ in 0..10 {
            assert!(!surplus.is_worth_it(105 * MIB));
        }
    }

    #[test]
    fn the_edge_of_the_surplus_is_no_surplus() {
        let mut surplus = Surplus::default();
        surplus.on_given_back(40 * MIB);
        surplus.before = 104 * MIB;
        assert!(!surplus.is_worth_it(40 * MIB + SURPLUS));
        assert!(surplus.is_worth_it(40 * MIB + SURPLUS + 1));
    }

    #[test]
    fn the_system_takes_it() {
        trim();
    }
}
