//! Ten times as many calls as a service can do, with a limit that adapts and a queue that sheds, and
//! without. What must hold: what is done in time stays at 90 % of the peak, and the most urgent
//! calls, one in twenty, all succeed about as fast as at the peak.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{Agenda, for_each_seed, interarrival, mean, percentile, service::Service};
use crate::{
    resilience::{
        adaptive::AdaptiveConfig,
        bulkhead::{
            Bulkhead, BulkheadAdmission, BulkheadConfig, BulkheadLimit, BulkheadOutcome,
            BulkheadReady,
        },
    },
    testing::{self, Rng},
};

#[test]
fn ten_times_overload_costs_a_tenth_at_most_and_the_urgent_nothing() {
    let runs = for_each_seed("overload", 30, |seed| {
        let peak = Run::measure(seed, 1.0, true);
        let overloaded = Run::measure(seed, 10.0, true);
        let goodput = overloaded.n_good as f64 / peak.n_good as f64;
        assert!(goodput >= 0.9, "goodput {goodput:.3} of the peak");
        let success = overloaded.urgent_success();
        assert!(success >= 0.99, "{success:.4} of the urgent calls succeed");
        (goodput, peak, overloaded)
    });
    let goodputs = || runs.iter().map(|(goodput, ..)| *goodput);
    let peak = Figures::sum(runs.iter().map(|(_, peak, _)| peak));
    let overloaded = Figures::sum(runs.iter().map(|(.., overloaded)| overloaded));
    let success = overloaded.urgent_success();
    assert!(success >= peak.urgent_success().min(0.999), "{success:.5}");
    let bare = Run::measure(0, 10.0, false).n_good as f64 / runs[0].1.n_good as f64;
    assert!(bare < 0.1, "without protection it collapses: {bare}");
    println!(
        "simulation overload: {} seeds, goodput at 10 times overload {:.1} % of peak (worst {:.1} %); most urgent at 10 times: {}; at peak: {}; goodput without limit and queue {:.1} %",
        runs.len(),
        mean(goodputs()) * 100.0,
        goodputs().fold(f64::MAX, f64::min) * 100.0,
        overloaded.of_urgent(),
        peak.of_urgent(),
        bare * 100.0,
    );
}

/// A caller waits that long.
const PATIENCE: Duration = Duration::from_millis(500);
/// The limit is found in this time, and then figures are taken.
const WARM_UP: Duration = Duration::from_secs(6);
const MEASURED: Duration = Duration::from_secs(8);

struct Run {
    rng: Rng,
    bulkhead: Option<Bulkhead>,
    service: Service,
    agenda: Agenda<Event>,
    calls: HashMap<u64, Call>,
    measured_from: Instant,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    /// Answered before the caller stopped waiting.
    n_good: u64,
    n_urgent: u64,
    n_urgent_good: u64,
    urgent: Vec<Duration>,
}

impl Figures {
    fn sum<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        all.fold(Self::default(), |mut sum, figures| {
            sum.n_good += figures.n_good;
            sum.n_urgent += figures.n_urgent;
            sum.n_urgent_good += figures.n_urgent_good;
            sum.urgent.extend(&figures.urgent);
            sum
        })
    }

    fn urgent_success(&self) -> f64 {
        self.n_urgent_good as f64 / self.n_urgent as f64
    }

    fn of_urgent(&self) -> String {
        let mut latencies = self.urgent.clone();
        let mut millis = |percent| percentile(&mut latencies, percent).as_millis();
        let (p50, p99) = (millis(50), millis(99));
        let success = self.urgent_success() * 100.0;
        format!("{success:.2} % succeed, p50 {p50} ms, p99 {p99} ms")
    }
}

struct Call {
    came: Instant,
    is_urgent: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive { id: u64 },
    Done { id: u64 },
    Late,
}

impl Run {
    /// `load` is the calls that come, as a multiple of those that can be done.
    fn measure(seed: u64, load: f64, is_protected: bool) -> Figures {
        let mut rng = Rng::new(seed);
        let start = testing::epoch();
        let n_servers = u32::try_from(2 + rng.below(7)).expect("small");
        let service = Service::new(n_servers, Duration::from_millis(20));
        let between = Duration::from_secs_f64(1.0 / (service.per_second() * load));
        // Ten times as often as by default, so that probes are in what is measured.
        let limit = BulkheadLimit::Adaptive(AdaptiveConfig {
            probe_interval: Duration::from_secs(3),
            ..AdaptiveConfig::default()
        });
        let config = BulkheadConfig {
            limit,
            ..BulkheadConfig::default()
        };
        let bulkhead = Bulkhead::new(config, start).expect("it works");
        let mut run = Self {
            rng,
            bulkhead: is_protected.then_some(bulkhead),
            service,
            agenda: Agenda::new(),
            calls: HashMap::new(),
            measured_from: start + WARM_UP,
            figures: Figures::default(),
        };
        run.agenda.push(start, Event::Arrive { id: 0 });
        let end = start + WARM_UP + MEASURED;
        while let Some((now, event)) = run.agenda.pop() {
            match event {
                Event::Arrive { id } => {
                    let next = now + interarrival(&mut run.rng, between);
                    if next < end {
                        run.agenda.push(next, Event::Arrive { id: id + 1 });
                    }
                    run.on_arrival(now, id);
                }
                Event::Done { id } => run.on_done(now, id),
                Event::Late => run.on_late(now),
            }
        }
        run.figures
    }

    fn on_arrival(&mut self, now: Instant, id: u64) {
        let is_urgent = self.rng.chance(5);
        if is_urgent && now >= self.measured_from {
            self.figures.n_urgent += 1;
        }
        let call = Call {
            came: now,
            is_urgent,
        };
        self.calls.insert(id, call);
        let Some(bulkhead) = &mut self.bulkhead else {
            self.begin(now, id);
            return;
        };
        let priority = if is_urgent { 200 } else { 50 };
        match bulkhead.admit(now, priority, Some(now + PATIENCE), id) {
            BulkheadAdmission::Go => self.begin(now, id),
            BulkheadAdmission::Wait { displaced } => {
                if let Some((at, _)) = bulkhead.poll_timeout() {
                    self.agenda.push(at, Event::Late);
                }
                if let Some(refused) = displaced {
                    self.calls.remove(&refused.id);
                }
            }
            BulkheadAdmission::Shed { .. } => {
                self.calls.remove(&id);
            }
        }
    }

    fn begin(&mut self, now: Instant, id: u64) {
        if let Some(work) = self.service.on_call(id, &mut self.rng) {
            self.agenda.push(now + work, Event::Done { id });
        }
    }

    fn on_done(&mut self, now: Instant, id: u64) {
        if let Some((next, work)) = self.service.on_done(&mut self.rng) {
            self.agenda.push(now + work, Event::Done { id: next });
        }
        let call = self.calls.remove(&id).expect("it came");
        let latency = now - call.came;
        if call.came >= self.measured_from && latency <= PATIENCE {
            self.figures.n_good += 1;
            if call.is_urgent {
                self.figures.n_urgent_good += 1;
                self.figures.urgent.push(latency);
            }
        }
        let ready = match &mut self.bulkhead {
            Some(bulkhead) => bulkhead.on_finish(now, id, BulkheadOutcome::Served),
            None => BulkheadReady::new(),
        };
        for id in ready {
            self.begin(now, id);
        }
        self.on_late(now);
    }

    fn on_late(&mut self, now: Instant) {
        let Some(bulkhead) = &mut self.bulkhead else {
            return;
        };
        while let Some(refused) = bulkhead.poll(now) {
            self.calls.remove(&refused.id);
        }
    }
}
