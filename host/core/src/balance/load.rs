//! What one member bears: calls in flight, and how long it takes to answer.
//!
//! The response time is a peak EWMA: a slower answer is believed at once, a faster one little by
//! little, and what is not confirmed is forgotten, so that a member that was slow is tried again.
//! With `age` the time since the last answer that counted and `keep = 2 ^ -(age / half_life)`:
//!
//! ```text
//! read at now      average * keep
//! answer           max(sample, average * keep + sample * (1 - keep))
//! error            max(sample, average) * keep + error_cost * (1 - keep)
//! ```
//!
//! An error enters without the jump, so that the average settles at the response time plus the
//! share of errors times `error_cost`: who fails fast does not look fast. Answers within one
//! millisecond have an age of 0, of them only a slower one counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How response times are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Smoothing {
    /// Until half of what was measured is forgotten. Default 7 s: linkerd's decay of 10 s, times
    /// ln 2. At least 1 ms.
    pub half_life: Duration,
    /// Response time before the first answer. Default 30 ms, as in linkerd. It is forgotten like a
    /// measured one, so that a newcomer among fast members gets its first call.
    pub initial: Duration,
    /// What an error counts as. Default 5 s: at 1 % of errors a member looks 50 ms slower.
    pub error_cost: Duration,
}

/// The load of one member. Shared by every set that has the member, so that it survives changes.
#[derive(Debug)]
pub struct Load {
    born: Instant,
    /// The inverse of the half-life: reads multiply, since a division costs more than the rest.
    half_lives_per_ms: f32,
    error_cost_us: f32,
    in_flight: AtomicU32,
    /// `Average::pack`: value and time change together, without a lock.
    average: AtomicU64,
}

/// One call in flight. Dropped without `finish` it counts as cancelled: nothing is learned.
#[derive(Debug)]
#[must_use]
pub struct InFlight(Arc<Load>);

/// A response time and when it was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Average {
    us: f32,
    /// Milliseconds since the load was born, modulo 2^32. After 24 days without an answer a time
    /// seems to lie ahead and its value counts as fresh; by then it was read as 0 for long.
    at_ms: u32,
    is_measured: bool,
}

impl Load {
    /// A load that nothing is known of, with the default smoothing.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self::with_smoothing(now, Smoothing::default())
    }

    #[must_use]
    pub fn with_smoothing(now: Instant, smoothing: Smoothing) -> Self {
        let half_life = smoothing.half_life.max(Duration::from_millis(1));
        let unknown = Average {
            us: micros(smoothing.initial),
            at_ms: 0,
            is_measured: false,
        };
        Self {
            born: now,
            half_lives_per_ms: 1e-3 / half_life.as_secs_f32(),
            error_cost_us: micros(smoothing.error_cost),
            in_flight: AtomicU32::new(0),
            average: AtomicU64::new(unknown.pack()),
        }
    }

    /// Counts a call as in flight until the result is finished or dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// The response time as it is believed at `now`.
    #[must_use]
    pub fn latency(&self, now: Instant) -> Duration {
        Duration::from_secs_f32(self.latency_us(now) / 1e6)
    }

    /// As `latency`, in microseconds.
    pub(super) fn latency_us(&self, now: Instant) -> f32 {
        let average = Average::unpack(self.average.load(Relaxed));
        average.us * self.keep(average, self.tick(now))
    }

    fn record(&self, now: Instant, latency: Duration, is_error: bool) {
        let now_ms = self.tick(now);
        let sample_us = micros(latency);
        // Never refused: the closure always gives a value.
        let _ = self.average.fetch_update(Relaxed, Relaxed, |packed| {
            let average = Average::unpack(packed);
            Some(self.after(average, now_ms, sample_us, is_error).pack())
        });
    }

    fn after(&self, average: Average, now_ms: u32, sample_us: f32, is_error: bool) -> Average {
        let keep = self.keep(average, now_ms);
        let us = if is_error {
            average.us.max(sample_us) * keep + self.error_cost_us * (1.0 - keep)
        } else if average.is_measured {
            sample_us.max(average.us * keep + sample_us * (1.0 - keep))
        } else {
            sample_us
        };
        // An answer that is reported late does not set the clock back.
        let is_late = now_ms.wrapping_sub(average.at_ms) > u32::MAX / 2;
        Average {
            us,
            at_ms: if is_late { average.at_ms } else { now_ms },
            is_measured: true,
        }
    }

    /// The share of `average` that is left at `now_ms`.
    fn keep(&self, average: Average, now_ms: u32) -> f32 {
        let age_ms = now_ms.wrapping_sub(average.at_ms);
        if age_ms == 0 || age_ms > u32::MAX / 2 {
            return 1.0;
        }
        (-(age_ms as f32) * self.half_lives_per_ms).exp2()
    }

    /// Milliseconds since the load was born, modulo 2^32.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "times are compared modulo 2^32"
    )]
    fn tick(&self, now: Instant) -> u32 {
        let age = now.saturating_duration_since(self.born);
        // As `as_millis`, without its division of 128 bits.
        (age.as_secs() as u32)
            .wrapping_mul(1000)
            .wrapping_add(age.subsec_millis())
    }
}

impl InFlight {
    /// The call has ended: at `now`, after `latency`. `is_error` when the member is to blame.
    pub fn finish(self, now: Instant, latency: Duration, is_error: bool) {
        self.0.record(now, latency, is_error);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Average {
    /// Value in the upper half, its sign says whether it was measured; time in the lower.
    fn pack(self) -> u64 {
        let value = if self.is_measured { self.us } else { -self.us };
        u64::from(value.to_bits()) << 32 | u64::from(self.at_ms)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves are taken apart"
    )]
    fn unpack(packed: u64) -> Self {
        let value = f32::from_bits((packed >> 32) as u32);
        Self {
            us: value.abs(),
            at_ms: packed as u32,
            is_measured: value.is_sign_positive(),
        }
    }
}

impl Default for Smoothing {
    fn default() -> Self {
        Self {
            half_life: Duration::from_secs(7),
            initial: Duration::from_millis(30),
            error_cost: Duration::from_secs(5),
        }
    }
}

fn micros(duration: Duration) -> f32 {
    duration.as_secs_f32() * 1e6
}

#[cfg(test)]
mod tests;
