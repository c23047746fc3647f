//! Thresholds at their edge, the two sources apart, and the damping of flaps with its bound.

use super::{Health::*, HealthOutcome::*, HealthSource::*, *};
use crate::testing::{Rng, epoch};

#[test]
fn the_third_failure_in_a_row_marks_down() {
    let mut subject = Subject::default();
    subject.check(Probe, Failure, Up);
    subject.check(Probe, Failure, Up);
    subject.check(Probe, Success, Up);
    subject.check(Probe, Failure, Up);
    subject.check(Probe, Failure, Up);
    subject.check(Probe, Failure, Down);
}

#[test]
fn the_second_successful_probe_in_a_row_marks_up() {
    let mut subject = Subject::down();
    subject.check(Probe, Success, Down);
    subject.check(Probe, Failure, Down);
    subject.check(Probe, Success, Down);
    subject.check(Probe, Success, Up);
}

#[test]
fn an_instance_that_answers_probes_and_fails_calls_is_down() {
    let mut subject = Subject::default();
    for expected in [Up, Up, Down] {
        subject.check(Probe, Success, Up);
        subject.check(Call, Failure, expected);
    }
}

#[test]
fn failures_of_calls_and_probes_do_not_add_up() {
    let mut subject = Subject::default();
    for _ in 0..2 {
        subject.check(Probe, Failure, Up);
        subject.check(Call, Failure, Up);
    }
    subject.check(Call, Failure, Down);
}

#[test]
fn calls_that_end_late_neither_revive_nor_delay() {
    let mut subject = Subject::down();
    subject.check(Call, Success, Down);
    subject.check(Call, Success, Down);
    subject.check(Probe, Success, Down);
    subject.check(Call, Failure, Down);
    subject.check(Probe, Success, Up);
}

#[test]
fn the_first_time_down_is_not_held() {
    let mut subject = Subject::down();
    assert_eq!(subject.revive(), Duration::ZERO);
}

#[test]
fn an_instance_that_flaps_stays_down_longer_each_time_up_to_the_bound() {
    let mut subject = Subject::down();
    let mut held = Vec::new();
    for _ in 0..13 {
        held.push(subject.revive().as_secs());
        subject.fail();
    }
    let expected = [0, 30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300];
    assert_eq!(held, expected);
}

#[test]
fn who_was_up_for_the_window_flaps_no_more() {
    let window = HealthConfig::default().flap_window;
    let held = |up: Duration| {
        let mut subject = Subject::down();
        subject.revive();
        subject.now += up;
        subject.fail();
        subject.revive()
    };
    assert_eq!(
        held(window - Duration::from_millis(1)),
        Duration::from_secs(30)
    );
    assert_eq!(held(window), Duration::ZERO);
}

#[test]
fn a_failed_probe_during_the_hold_is_not_forgotten() {
    let mut subject = Subject::down();
    subject.revive();
    subject.fail();
    subject.check(Probe, Success, Down);
    subject.check(Probe, Success, Down);
    assert!(subject.monitor.poll_timeout(&subject.config).is_some());
    subject.check(Probe, Failure, Down);
    assert_eq!(subject.monitor.poll_timeout(&subject.config), None);
    subject.now += Duration::from_secs(3600);
    assert!(!subject.monitor.handle_timeout(&subject.config, subject.now));
}

#[test]
fn a_restart_brings_up_at_once_unless_it_flaps() {
    let mut subject = Subject::down();
    assert!(subject.monitor.on_restart(&subject.config, subject.now));
    assert_eq!(subject.monitor.health(), Up);
    subject.fail();
    assert!(!subject.monitor.on_restart(&subject.config, subject.now));
    let until = subject.monitor.poll_timeout(&subject.config);
    assert_eq!(until, Some(subject.now + Duration::from_secs(30)));
}

#[test]
fn however_it_flaps_it_is_up_within_the_bound_once_probes_succeed() {
    let bound = HealthConfig::default().hold_max;
    for seed in 0..1000 {
        let mut rng = Rng::new(seed);
        let mut subject = Subject::default();
        for _ in 0..rng.below(300) {
            subject.now += Duration::from_secs(rng.below(100));
            let source = if rng.chance(50) { Probe } else { Call };
            let outcome = if rng.chance(50) { Failure } else { Success };
            subject.tell(source, outcome);
        }
        if subject.monitor.health() == Down {
            assert!(subject.revive() <= bound, "seed {seed}");
        }
    }
}

#[test]
fn huge_settings_do_not_overflow() {
    let mut subject = Subject::default();
    subject.config.hold = Duration::MAX;
    subject.monitor.n_downs = u32::MAX;
    subject.fail();
    assert_eq!(subject.revive(), subject.config.hold_max);
}

/// A monitor and its virtual time.
struct Subject {
    config: HealthConfig,
    monitor: Monitor,
    now: Instant,
}

impl Subject {
    fn down() -> Self {
        let mut subject = Self::default();
        subject.fail();
        subject
    }

    fn tell(&mut self, source: HealthSource, outcome: HealthOutcome) {
        let before = self.monitor.health();
        let changed = (self.monitor).on_outcome(&self.config, self.now, source, outcome);
        assert_eq!(changed, self.monitor.health() != before);
    }

    fn check(&mut self, source: HealthSource, outcome: HealthOutcome, expected: Health) {
        self.tell(source, outcome);
        assert_eq!(self.monitor.health(), expected, "{source:?} {outcome:?}");
    }

    fn fail(&mut self) {
        for _ in 0..self.config.failure_threshold {
            self.tell(Probe, Failure);
        }
        assert_eq!(self.monitor.health(), Down);
    }

    /// Probes succeed from here on; how long it takes until the instance is up.
    fn revive(&mut self) -> Duration {
        let begin = self.now;
        for _ in 0..self.config.recovery_threshold {
            self.tell(Probe, Success);
        }
        if let Some(at) = self.monitor.poll_timeout(&self.config) {
            let early = at - Duration::from_millis(1);
            assert!(!self.monitor.handle_timeout(&self.config, early));
            self.now = at;
            assert!(self.monitor.handle_timeout(&self.config, at));
        }
        assert_eq!(self.monitor.health(), Up);
        self.now - begin
    }
}

impl Default for Subject {
    fn default() -> Self {
        Self {
            config: HealthConfig::default(),
            monitor: Monitor::default(),
            now: epoch(),
        }
    }
}
