//! Lines that say the same again: each place of the code that logs may do so at a rate, so that no
//! peer fills a log by repeating what makes a line. What was left out is counted and told.
//!
//! Not held to it: lines of level debug and trace, which somebody has asked for; the line of each
//! call (`log.access`); and those of plugins, which have limits of their own.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use parking_lot::{Mutex, RwLock};
use postern_system::clock;
use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier};
use tracing_subscriber::{Layer, layer::Context};

/// Which lines are written. Bounded by the number of places that log.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    buckets: RwLock<HashMap<Identifier, Arc<Bucket>>>,
    suppressed: AtomicU64,
}

/// The layer that asks the throttle.
#[derive(Debug, Clone)]
pub(super) struct ThrottleLayer(pub(super) Arc<Throttle>);

/// One place of the code.
#[derive(Debug)]
struct Bucket {
    metadata: &'static Metadata<'static>,
    state: Mutex<BucketState>,
}

#[derive(Debug)]
struct BucketState {
    /// Lines that may be written at once.
    tokens: f64,
    filled: Instant,
    /// Since it was last told.
    n_suppressed: u64,
}

/// Lines of one place that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suppressed {
    pub target: &'static str,
    pub line: u32,
    pub n_lines: u64,
}

impl Throttle {
    /// Whether a line of that place is written at `now`.
    fn admit(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        if *metadata.level() > Level::INFO || EXEMPT.contains(&metadata.target()) {
            return true;
        }
        let is_admitted = self.bucket(metadata, now).admit(now);
        if !is_admitted {
            self.suppressed.fetch_add(1, Relaxed);
        }
        is_admitted
    }

    /// Lines that were left out since the start.
    pub(super) fn n_suppressed(&self) -> u64 {
        self.suppressed.load(Relaxed)
    }

    /// What was left out since this was last asked.
    pub(super) fn take_suppressed(&self) -> Vec<Suppressed> {
        let buckets = self.buckets.read();
        let suppressed = buckets.values().filter_map(|bucket| {
            let n_lines = std::mem::take(&mut bucket.state.lock().n_suppressed);
            (n_lines > 0).then(|| Suppressed {
                target: bucket.metadata.target(),
                line: bucket.metadata.line().unwrap_or_default(),
                n_lines,
            })
        });
        suppressed.collect()
    }

    fn bucket(&self, metadata: &'static Metadata<'static>, now: Instant) -> Arc<Bucket> {
        let place = metadata.callsite();
        if let Some(bucket) = self.buckets.read().get(&place) {
            return Arc::clone(bucket);
        }
        let full = || {
            Arc::new(Bucket {
                metadata,
                state: Mutex::new(BucketState {
                    tokens: BURST,
                    filled: now,
                    n_suppressed: 0,
                }),
            })
        };
        Arc::clone(self.buckets.write().entry(place).or_insert_with(full))
    }
}

impl Bucket {
    fn admit(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let passed = now.saturating_duration_since(state.filled).as_secs_f64();
        state.tokens = passed.mul_add(PER_SECOND, state.tokens).min(BURST);
        state.filled = now;
        if state.tokens < 1.0 {
            state.n_suppressed += 1;
            return false;
        }
        state.tokens -= 1.0;
        true
    }
}

impl<S: Subscriber> Layer<S> for ThrottleLayer {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.0.admit(event.metadata(), clock::now())
    }
}

/// Target of what the log says of itself.
pub(super) const OWN_TARGET: &str = "postern::log";
/// Targets that are not held to the rate.
const EXEMPT: [&str; 3] = [OWN_TARGET, "postern::access", super::text::GUEST_TARGET];
/// Lines of one place at once: a gateway with 200 plugins starts without a line missing.
const BURST: f64 = 200.0;
/// Lines of one place in the long run, as many as somebody could follow.
const PER_SECOND: f64 = 10.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tracing::{Callsite, subscriber::with_default};
    use tracing_subscriber::{fmt, layer::SubscriberExt, registry};

    use super::*;
    use crate::telemetry::writer::{LogQueue, LogWriter};

    #[test]
    fn one_place_is_held_to_its_rate_and_others_are_not() {
        let throttle = Arc::<Throttle>::default();
        let queue = Arc::new(LogQueue::new(usize::MAX));
        let lines = fmt::layer().with_writer(LogWriter(Arc::clone(&queue)));
        let layers = registry()
            .with(ThrottleLayer(Arc::clone(&throttle)))
            .with(lines);
        with_default(layers, || {
            for _ in 0..1000 {
                tracing::warn!(peer = "p", "what a peer repeats");
                tracing::debug!("what was asked for");
                tracing::info!(target: "postern::access", "call");
            }
            tracing::warn!("another place");
        });
        let text = queue.text();
        let count = |words: &str| text.lines().filter(|line| line.contains(words)).count();
        // A slow machine takes longer than a tenth of a second.
        assert!(
            (200..900).contains(&count("repeats")),
            "{}",
            count("repeats")
        );
        let expected = [("asked for", 1000), ("call", 1000), ("another place", 1)];
        for (words, n_lines) in expected {
            assert_eq!(count(words), n_lines, "{words}");
        }
        let told = throttle.take_suppressed();
        let n_lines = 1000 - count("repeats") as u64;
        assert_eq!(throttle.n_suppressed(), n_lines);
        assert!(
            matches!(&told[..], [one] if one.n_lines == n_lines && one.target == module_path!()),
            "{told:?}"
        );
        assert_eq!(throttle.take_suppressed(), []);
    }

    #[test]
    fn the_rate_holds_at_its_edge() {
        let place = tracing::callsite!(name: "t", kind: tracing::metadata::Kind::EVENT, fields: x);
        let now = clock::now();
        let bucket = Bucket {
            metadata: place.metadata(),
            state: Mutex::new(BucketState {
                tokens: 1.0,
                filled: now,
                n_suppressed: 0,
            }),
        };
        assert!(bucket.admit(now) && !bucket.admit(now));
        assert!(!bucket.admit(now + Duration::from_millis(99)));
        assert!(bucket.admit(now + Duration::from_millis(101)));
    }
}
