//! The rule on services whose latency is known: `n_servers` calls at a time in `service` each,
//! what is beyond that queues inside.

use super::*;
use crate::testing;

#[test]
fn starts_with_the_initial_limit() {
    assert_eq!(Model::new(8).adaptive.limit(), 20);
}

#[test]
fn settles_between_what_the_service_does_at_a_time_and_some_more_than_twice_of_it() {
    for n_servers in [1, 2, 4, 8, 16, 64, 200] {
        let mut model = Model::new(n_servers);
        model.run_saturated(Duration::from_secs(60));
        let (low, high) = (n_servers, n_servers * 23 / 10 + 4);
        let limit = model.limit_outside_probes();
        assert!(
            (low..=high).contains(&limit),
            "{n_servers} at a time: {limit}"
        );
        let baseline = model.adaptive.baseline().expect("measured");
        assert!(
            baseline < model.service * 5 / 4,
            "{n_servers} at a time: {baseline:?}"
        );
    }
}

#[test]
fn a_limit_that_is_not_reached_stays() {
    let mut model = Model::new(100);
    model.run(Duration::from_secs(60), Some(10));
    assert_eq!(model.limit_outside_probes(), 20, "half of it unused");
    model.run(Duration::from_secs(60), Some(11));
    assert!(model.limit_outside_probes() > 20);
}

#[test]
fn follows_a_service_that_becomes_slower_for_good() {
    let mut model = Model::new(16);
    model.run_saturated(Duration::from_secs(30));
    model.service *= 10;
    model.run_saturated(Duration::from_secs(60));
    let limit = model.limit_outside_probes();
    assert!((16..=41).contains(&limit), "{limit}");
}

#[test]
fn refusals_by_the_service_shrink_the_limit_to_its_minimum_and_not_below() {
    let mut model = Model::new(16);
    for _ in 0..10_000 {
        model.now += Duration::from_millis(10);
        model
            .adaptive
            .on_sample(model.now, Sample::Overloaded, 1000);
    }
    assert_eq!(model.adaptive.limit(), 2);
}

#[test]
fn a_limit_grows_to_its_maximum_and_not_beyond() {
    let mut model = Model::new(64);
    let config = AdaptiveConfig {
        limit_max: 24,
        ..AdaptiveConfig::default()
    };
    model.adaptive = Adaptive::new(config, model.now).expect("it works");
    let mut highest = 0;
    for _ in 0..600 {
        model.run_saturated(Duration::from_millis(100));
        highest = highest.max(model.adaptive.limit());
    }
    assert_eq!(highest, 24);
}

#[test]
fn one_refusal_in_twenty_shrinks_the_limit_and_fewer_do_not() {
    for (one_in, limit) in [(20, 18), (25, 20)] {
        let config = AdaptiveConfig {
            samples_min: 100,
            ..AdaptiveConfig::default()
        };
        let start = testing::epoch();
        let mut adaptive = Adaptive::new(config, start).expect("it works");
        for at in 1..=100 {
            let sample = if at % one_in == 0 {
                Sample::Overloaded
            } else {
                Sample::Served(Duration::from_millis(20))
            };
            adaptive.on_sample(start + Duration::from_secs(1), sample, 20);
        }
        adaptive.phase = Phase::Steady;
        assert_eq!(adaptive.limit(), limit, "one in {one_in}");
    }
}

#[test]
fn a_window_has_its_length_and_its_samples() {
    let served = Sample::Served(Duration::from_millis(20));
    let start = testing::epoch();
    let mut adaptive = Adaptive::new(AdaptiveConfig::default(), start).expect("it works");
    (0..1000).for_each(|_| adaptive.on_sample(start, served, 20));
    assert_eq!(adaptive.baseline(), None, "too short");
    adaptive.on_sample(start + Duration::from_millis(100), served, 20);
    assert!(adaptive.baseline().is_some());

    let mut adaptive = Adaptive::new(AdaptiveConfig::default(), start).expect("it works");
    let late = start + Duration::from_secs(1);
    (0..49).for_each(|_| adaptive.on_sample(late, served, 20));
    assert_eq!(adaptive.baseline(), None, "too few");
    adaptive.on_sample(late, served, 20);
    assert!(adaptive.baseline().is_some());
}

#[test]
fn a_probe_lets_a_third_through_and_at_least_one() {
    // √20 is added, then a third of it: 8. To 1 is added 1: not one whole.
    for (limit_initial, third) in [(20, 8), (1, 1)] {
        let config = AdaptiveConfig {
            limit_initial,
            limit_min: 1,
            smoothing: 1.0,
            ..AdaptiveConfig::default()
        };
        let start = testing::epoch();
        let mut adaptive = Adaptive::new(config, start).expect("it works");
        let later = start + Duration::from_millis(100);
        let served = Sample::Served(Duration::from_millis(20));
        (0..50).for_each(|_| adaptive.on_sample(later, served, limit_initial));
        assert_eq!(adaptive.limit(), third);
    }
}

#[test]
fn refuses_what_cannot_work_by_name() {
    use AdaptiveConfigError as Fault;
    let order = |min, initial, max| Some(Fault::Order { min, initial, max });
    check_config(|_| (), None);
    check_config(|good| good.limit_min = 0, Some(Fault::NoMinimum));
    check_config(|good| good.limit_min = 20, None);
    check_config(|good| good.limit_min = 21, order(21, 20, 1000));
    check_config(|good| good.limit_max = 20, None);
    check_config(|good| good.limit_max = 19, order(2, 20, 19));
    check_config(|good| good.tolerance = 1.0, None);
    for tolerance in [0.9, 10.1, f64::INFINITY] {
        check_config(
            |good| good.tolerance = tolerance,
            Some(Fault::Tolerance(tolerance)),
        );
    }
    check_config(|good| good.smoothing = 1.0, None);
    for smoothing in [0.0, 1.1] {
        check_config(
            |good| good.smoothing = smoothing,
            Some(Fault::Smoothing(smoothing)),
        );
    }
    check_config(|good| good.samples_min = 0, Some(Fault::NoSamples));
    check_config(|good| good.window = Duration::ZERO, Some(Fault::NoWindow));
    let (interval, window) = (Duration::from_secs(1), Duration::from_millis(100));
    let fault = Fault::ProbesTooOften { interval, window };
    check_config(|good| good.probe_interval = interval, Some(fault));
    check_config(|good| good.probe_interval = interval + NANOSECOND, None);
    check_config(|good| good.probe_interval = DURATION_MAX, None);
    let long = DURATION_MAX + NANOSECOND;
    check_config(
        |good| good.probe_interval = long,
        Some(Fault::ProbeIntervalTooLong(long)),
    );
}

const NANOSECOND: Duration = Duration::from_nanos(1);

fn check_config(change: impl FnOnce(&mut AdaptiveConfig), fault: Option<AdaptiveConfigError>) {
    let mut config = AdaptiveConfig::default();
    change(&mut config);
    assert_eq!(Adaptive::new(config, testing::epoch()).err(), fault);
}

/// A limit before a service, both always busy.
struct Model {
    adaptive: Adaptive,
    now: Instant,
    n_servers: u32,
    service: Duration,
}

impl Model {
    fn new(n_servers: u32) -> Self {
        let now = testing::epoch();
        Self {
            adaptive: Adaptive::new(AdaptiveConfig::default(), now).expect("the defaults work"),
            now,
            n_servers,
            service: Duration::from_millis(10),
        }
    }

    fn run_saturated(&mut self, time: Duration) {
        self.run(time, None);
    }

    /// Finishes call after call, with as many under way as the limit and `in_flight_max` allow.
    fn run(&mut self, time: Duration, in_flight_max: Option<u32>) {
        let end = self.now + time;
        while self.now < end {
            let in_flight = self.adaptive.limit().min(in_flight_max.unwrap_or(u32::MAX));
            let n_parallel = in_flight.min(self.n_servers);
            self.now += self.service / n_parallel;
            let latency = self.service * in_flight / n_parallel;
            self.adaptive
                .on_sample(self.now, Sample::Served(latency), in_flight);
        }
    }

    /// The limit that was found, also while a probe takes from it.
    fn limit_outside_probes(&self) -> u32 {
        let steady = Adaptive {
            phase: Phase::Steady,
            ..self.adaptive.clone()
        };
        steady.limit()
    }
}
