//! Calls per service, in numbers. A route holds its `CallMetrics`, so that counting a call looks up
//! no label; threads count in shards of their own, so that they do not fight for a cache line.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use postern_core::{Kind, Text, Transport};
use postern_system::shard::{CachePadded, Sharded};

use super::{
    histogram::{Distribution, Histogram},
    sizes::{SizeDistribution, Sizes},
};

/// How a call ended: answered, or the kind of its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BookedOutcome {
    Success,
    Failed(Kind),
}

/// Calls of one service.
#[derive(Debug)]
pub(crate) struct CallMetrics {
    shards: Sharded<CachePadded<Shard>>,
    /// Of methods that the service says it has, ever.
    methods: ArcSwap<BTreeMap<Text, Arc<MethodMetrics>>>,
}

/// Calls of one method.
#[derive(Debug)]
struct MethodMetrics(Sharded<CachePadded<MethodShard>>);

#[derive(Debug, Default)]
struct MethodShard {
    ended: [AtomicU64; N_OUTCOMES],
    durations: Histogram,
}

/// What one thread counted.
#[derive(Debug, Default)]
struct Shard {
    ended: [[AtomicU64; N_OUTCOMES]; Transport::ALL.len()],
    begun: AtomicU64,
    durations: Histogram,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    sizes_in: Sizes,
    sizes_out: Sizes,
}

/// Numbers of one service at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallNumbers {
    /// Calls that ended, by transport and outcome; those of zero are left out.
    pub ended: Vec<(Transport, BookedOutcome, u64)>,
    pub in_flight: u64,
    pub durations: Distribution,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Of each message.
    pub sizes_in: SizeDistribution,
    pub sizes_out: SizeDistribution,
    /// Of the methods that the service says it has, those that were called, by name.
    pub methods: Vec<(Text, MethodNumbers)>,
}

/// Numbers of one method at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct MethodNumbers {
    /// Calls that ended, by outcome; those of zero are left out.
    pub ended: Vec<(BookedOutcome, u64)>,
    pub durations: Distribution,
}

/// The metrics of every service that had a route since the start.
#[derive(Debug, Default)]
pub(crate) struct CallBook {
    services: Mutex<BTreeMap<Text, Arc<CallMetrics>>>,
}

/// One call as it is booked at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Booking {
    pub transport: Transport,
    pub outcome: BookedOutcome,
    pub duration: Duration,
    /// Octets of the request's messages.
    pub bytes_in: u64,
    /// Octets of the reply's messages.
    pub bytes_out: u64,
}

impl BookedOutcome {
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed(kind) => kind.name(),
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Success => 0,
            Self::Failed(kind) => usize::from(kind.grpc()),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Success).chain(Kind::ALL.into_iter().map(Self::Failed))
    }
}

impl CallMetrics {
    fn new() -> Self {
        Self {
            shards: Sharded::new(CachePadded::default),
            methods: ArcSwap::default(),
        }
    }

    /// Counts calls of these methods each by itself, from here on. Of others, whose names callers choose,
    /// nothing is counted by method.
    pub(crate) fn know(&self, methods: &[Text]) {
        let known = self.methods.load();
        let is_known = |method: &Text| known.contains_key(method);
        if methods.iter().all(is_known) {
            return;
        }
        self.methods.rcu(|known| {
            let mut grown = BTreeMap::clone(known);
            let n_free = METHODS_MAX.saturating_sub(grown.len());
            for method in methods
                .iter()
                .filter(|one| !known.contains_key(*one))
                .take(n_free)
            {
                // The name may point into a large buffer that would be kept alive.
                grown.insert(Text::from(method.as_str()), Arc::new(MethodMetrics::new()));
            }
            grown
        });
    }

    /// A call begins; `end` must follow.
    pub(crate) fn begin(&self) {
        self.shards.mine().begun.fetch_add(1, Relaxed);
    }

    /// A message of a request has come.
    pub(crate) fn on_request_message(&self, n_octets: usize) {
        self.shards.mine().sizes_in.observe(n_octets as u64);
    }

    /// A message of a reply has come.
    pub(crate) fn on_reply_message(&self, n_octets: usize) {
        self.shards.mine().sizes_out.observe(n_octets as u64);
    }

    /// A call of `method` that had begun has ended.
    pub(crate) fn end(&self, method: &str, booking: &Booking) {
        if let Some(metrics) = self.methods.load().get(method) {
            metrics.end(booking);
        }
        let shard = self.shards.mine();
        let by_outcome = shard.ended.get(booking.transport.index());
        if let Some(count) = by_outcome.and_then(|row| row.get(booking.outcome.index())) {
            count.fetch_add(1, Relaxed);
        }
        shard.durations.observe(booking.duration);
        shard.bytes_in.fetch_add(booking.bytes_in, Relaxed);
        shard.bytes_out.fetch_add(booking.bytes_out, Relaxed);
    }

    /// All shards added up.
    #[must_use]
    pub(crate) fn numbers(&self) -> CallNumbers {
        let mut numbers = CallNumbers::default();
        let mut n_ended = 0;
        for transport in Transport::ALL {
            for outcome in BookedOutcome::all() {
                let shards = self.shards.iter();
                let counts = shards.filter_map(|shard| {
                    shard
                        .ended
                        .get(transport.index())
                        .and_then(|row| row.get(outcome.index()))
                });
                let count: u64 = counts.map(|count| count.load(Relaxed)).sum();
                n_ended += count;
                if count > 0 {
                    numbers.ended.push((transport, outcome, count));
                }
            }
        }
        let mut n_begun = 0;
        for shard in &self.shards {
            n_begun += shard.begun.load(Relaxed);
            shard.durations.add_to(&mut numbers.durations);
            numbers.bytes_in += shard.bytes_in.load(Relaxed);
            numbers.bytes_out += shard.bytes_out.load(Relaxed);
            shard.sizes_in.add_to(&mut numbers.sizes_in);
            shard.sizes_out.add_to(&mut numbers.sizes_out);
        }
        for (name, metrics) in &**self.methods.load() {
            let method = metrics.numbers();
            if !method.ended.is_empty() {
                numbers.methods.push((name.clone(), method));
            }
        }
        numbers.in_flight = n_begun.saturating_sub(n_ended);
        numbers
    }
}

impl MethodMetrics {
    fn new() -> Self {
        Self(Sharded::new(CachePadded::default))
    }

    fn end(&self, booking: &Booking) {
        let shard = self.0.mine();
        if let Some(count) = shard.ended.get(booking.outcome.index()) {
            count.fetch_add(1, Relaxed);
        }
        shard.durations.observe(booking.duration);
    }

    fn numbers(&self) -> MethodNumbers {
        let mut numbers = MethodNumbers::default();
        for outcome in BookedOutcome::all() {
            let shards = self.0.iter();
            let counts = shards.filter_map(|shard| shard.ended.get(outcome.index()));
            let count: u64 = counts.map(|count| count.load(Relaxed)).sum();
            if count > 0 {
                numbers.ended.push((outcome, count));
            }
        }
        for shard in &self.0 {
            shard.durations.add_to(&mut numbers.durations);
        }
        numbers
    }
}

impl CallNumbers {
    /// Calls that ended, whatever the outcome.
    #[must_use]
    pub(crate) fn n_ended(&self) -> u64 {
        self.ended.iter().map(|(_, _, count)| count).sum()
    }

    /// Calls that ended with an error.
    #[must_use]
    pub(crate) fn n_failed(&self) -> u64 {
        let failed = self
            .ended
            .iter()
            .filter(|(_, outcome, _)| *outcome != BookedOutcome::Success);
        failed.map(|(_, _, count)| count).sum()
    }
}

impl CallBook {
    /// The metrics of `service`, begun when it is new. Names come from plugins, never from callers:
    /// their number is bounded by what is deployed.
    #[must_use]
    pub(crate) fn service(&self, service: &Text) -> Arc<CallMetrics> {
        let mut services = self.services.lock();
        if let Some(metrics) = services.get(service) {
            return Arc::clone(metrics);
        }
        let metrics = Arc::new(CallMetrics::new());
        // The name may point into a large buffer that would be kept alive.
        services.insert(Text::from(service.as_str()), Arc::clone(&metrics));
        metrics
    }

    /// Every service with its numbers, by name.
    #[must_use]
    pub(crate) fn numbers(&self) -> Vec<(Text, CallNumbers)> {
        let services = self.services.lock().clone();
        services
            .into_iter()
            .map(|(name, metrics)| (name, metrics.numbers()))
            .collect()
    }
}

/// Methods of one service that are counted by themselves. Schemas of services have less than a hundred.
const METHODS_MAX: usize = 1000;
/// Success and the sixteen kinds.
const N_OUTCOMES: usize = 1 + Kind::ALL.len();

#[cfg(test)]
mod tests {
    use super::*;

    fn booking(transport: Transport, outcome: BookedOutcome) -> Booking {
        let duration = Duration::from_micros(20);
        Booking {
            transport,
            outcome,
            duration,
            bytes_in: 3,
            bytes_out: 5,
        }
    }

    #[test]
    fn counts_from_several_threads_add_up() {
        let metrics = CallMetrics::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        metrics.begin();
                        metrics.end("m", &booking(Transport::Udp, BookedOutcome::Success));
                    }
                });
            }
        });
        let numbers = metrics.numbers();
        assert_eq!(
            numbers.ended,
            [(Transport::Udp, BookedOutcome::Success, 400)]
        );
        assert_eq!((numbers.bytes_in, numbers.bytes_out), (1200, 2000));
        assert_eq!((numbers.durations.count(), numbers.in_flight), (400, 0));
    }

    #[test]
    fn every_transport_and_outcome_has_a_place_of_its_own() {
        let metrics = CallMetrics::new();
        for transport in Transport::ALL {
            for outcome in BookedOutcome::all() {
                metrics.end("m", &booking(transport, outcome));
            }
        }
        let ended = metrics.numbers().ended;
        assert_eq!(ended.len(), Transport::ALL.len() * N_OUTCOMES);
        assert!(ended.iter().all(|(_, _, count)| *count == 1));
    }

    #[test]
    fn a_call_that_has_not_ended_is_in_flight() {
        let metrics = CallMetrics::new();
        metrics.begin();
        metrics.begin();
        let cancelled = BookedOutcome::Failed(Kind::Cancelled);
        metrics.end("m", &booking(Transport::Tcp, cancelled));
        assert_eq!(metrics.numbers().in_flight, 1);
        assert_eq!(metrics.numbers().n_failed(), 1);
    }

    #[test]
    fn a_service_keeps_its_numbers_over_redeployments() {
        let book = CallBook::default();
        book.service(&"users".into()).begin();
        book.service(&"users".into()).begin();
        let numbers = book.numbers();
        assert_eq!(numbers.len(), 1);
        assert_eq!(numbers[0].1.in_flight, 2);
    }

    #[test]
    fn methods_that_a_service_says_it_has_are_counted_by_themselves() {
        let metrics = CallMetrics::new();
        metrics.know(&["get".into(), "put".into()]);
        let lost = BookedOutcome::Failed(Kind::DataLoss);
        for (method, outcome) in [
            ("get", BookedOutcome::Success),
            ("get", lost),
            ("get", lost),
            ("other", lost),
        ] {
            metrics.end(method, &booking(Transport::Grpc, outcome));
        }
        metrics.know(&["get".into(), "new".into()]);
        let numbers = metrics.numbers();
        let [(name, get)] = &numbers.methods[..] else {
            panic!("{:?}", numbers.methods);
        };
        assert_eq!(*name, "get");
        assert_eq!(get.ended, [(BookedOutcome::Success, 1), (lost, 2)]);
        assert_eq!((get.durations.count(), numbers.n_ended()), (3, 4));
        let many: Vec<Text> = (0..2 * METHODS_MAX).map(|n| n.to_string().into()).collect();
        metrics.know(&many);
        assert_eq!(metrics.methods.load().len(), METHODS_MAX);
    }

    #[test]
    fn messages_have_their_sizes() {
        let metrics = CallMetrics::new();
        metrics.on_request_message(10);
        metrics.on_reply_message(100);
        metrics.on_reply_message(100);
        let numbers = metrics.numbers();
        assert_eq!(
            (numbers.sizes_in.count(), numbers.sizes_out.count()),
            (1, 2)
        );
    }
}
