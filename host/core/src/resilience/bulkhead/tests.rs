//! The bulkhead, edge by edge, and by chance against what must always hold.

use std::collections::BTreeSet;

use super::*;
use crate::testing::{self, Rng};

#[test]
fn lets_in_as_many_as_the_limit_and_queues_the_next() {
    let (mut bulkhead, now) = bulkhead(2, 10);
    assert_eq!(bulkhead.admit(now, 50, None, 1), BulkheadAdmission::Go);
    assert_eq!(bulkhead.admit(now, 50, None, 2), BulkheadAdmission::Go);
    assert_eq!(bulkhead.admit(now, 50, None, 3), WAIT);
    assert_eq!((bulkhead.in_flight(), bulkhead.n_waiting()), (2, 1));
    assert_eq!(finish(&mut bulkhead, now, 1), [3]);
    assert_eq!(finish(&mut bulkhead, now, 2), []);
    assert_eq!(bulkhead.admit(now, 50, None, 4), BulkheadAdmission::Go);
}

#[test]
fn without_a_queue_what_cannot_go_is_refused() {
    let (mut bulkhead, now) = bulkhead(1, 0);
    assert_eq!(bulkhead.admit(now, 50, None, 1), BulkheadAdmission::Go);
    let full = shed(1000, ShedReason::QueueFull);
    assert_eq!(bulkhead.admit(now, 255, None, 2), full);
}

#[test]
fn the_more_urgent_takes_the_place_of_the_last_of_the_least_urgent() {
    let (mut bulkhead, now) = bulkhead(1, 3);
    assert_eq!(bulkhead.admit(now, 50, None, 1), BulkheadAdmission::Go);
    for (id, priority) in [(2, 50), (3, 10), (4, 10)] {
        assert_eq!(bulkhead.admit(now, priority, None, id), WAIT);
    }
    let full = shed(1000, ShedReason::QueueFull);
    assert_eq!(
        bulkhead.admit(now, 10, None, 5),
        full,
        "as urgent is not more urgent"
    );
    let displaced = Some(BulkheadRefused {
        id: 4,
        retry_after: SECOND,
        reason: ShedReason::Displaced,
    });
    assert_eq!(
        bulkhead.admit(now, 11, None, 6),
        BulkheadAdmission::Wait { displaced }
    );
    let order: Vec<u64> = [1, 2, 6]
        .iter()
        .flat_map(|id| finish(&mut bulkhead, now, *id))
        .collect();
    assert_eq!(order, [2, 6, 3]);
}

#[test]
fn refuses_at_once_what_would_come_too_late() {
    let (mut bulkhead, start) = bulkhead(1, 10);
    assert_eq!(bulkhead.admit(start, 50, None, 1), BulkheadAdmission::Go);
    let now = start + SECOND;
    assert_eq!(finish(&mut bulkhead, now, 1), [], "a call takes a second");
    assert_eq!(bulkhead.admit(now, 50, None, 2), BulkheadAdmission::Go);
    // A second until its turn, and a second for itself.
    let nearly = now + SECOND * 2 - Duration::from_nanos(1);
    let refused = shed(1000, ShedReason::WaitTooLong);
    assert_eq!(bulkhead.admit(now, 50, Some(nearly), 3), refused);
    assert_eq!(bulkhead.admit(now, 50, Some(now + SECOND * 2), 4), WAIT);
    // One waits ahead of it, but not of the urgent.
    let refused = shed(2000, ShedReason::WaitTooLong);
    assert_eq!(bulkhead.admit(now, 50, Some(now + SECOND * 2), 5), refused);
    assert_eq!(bulkhead.admit(now, 51, Some(now + SECOND * 2), 6), WAIT);
}

#[test]
fn who_waits_in_vain_is_told_on_time_and_never_goes() {
    let (mut bulkhead, now) = bulkhead(1, 10);
    assert_eq!(bulkhead.admit(now, 50, None, 1), BulkheadAdmission::Go);
    assert_eq!(bulkhead.poll_timeout(), None);
    assert_eq!(bulkhead.admit(now, 50, Some(now + SECOND / 2), 2), WAIT);
    assert_eq!(bulkhead.admit(now, 50, Some(now + SECOND * 9), 3), WAIT);
    let at = |bulkhead: &Bulkhead| bulkhead.poll_timeout().map(|(at, _)| at);
    assert_eq!(at(&bulkhead), Some(now + SECOND / 2));
    let nearly = now + SECOND / 2 - Duration::from_nanos(1);
    assert_eq!(bulkhead.poll(nearly), None);
    assert_eq!(
        bulkhead
            .clone()
            .poll(now + SECOND / 2)
            .map(|refused| refused.id),
        Some(2)
    );
    // The place comes free when 2 has waited in vain and nobody has polled yet.
    assert_eq!(finish(&mut bulkhead, now + SECOND * 3 / 4, 1), [3]);
    let refused = bulkhead.poll(now + SECOND * 3 / 4).expect("2 is told");
    assert_eq!((refused.id, refused.reason), (2, ShedReason::Expired));
    assert_eq!(bulkhead.poll(now + SECOND * 3 / 4), None);
}

#[test]
fn nobody_waits_longer_than_a_second() {
    let (mut bulkhead, now) = bulkhead(1, 10);
    assert_eq!(bulkhead.admit(now, 50, None, 1), BulkheadAdmission::Go);
    assert_eq!(bulkhead.admit(now, 50, None, 2), WAIT);
    assert_eq!(bulkhead.poll(now + SECOND - Duration::from_nanos(1)), None);
    assert_eq!(
        bulkhead.poll(now + SECOND).map(|refused| refused.id),
        Some(2)
    );
}

#[test]
fn says_when_the_queue_will_have_drained() {
    let (mut bulkhead, start) = bulkhead(2, 4);
    assert_eq!(bulkhead.admit(start, 50, None, 1), BulkheadAdmission::Go);
    let now = start + SECOND;
    assert_eq!(finish(&mut bulkhead, now, 1), []);
    for id in 2..8 {
        let _ = bulkhead.admit(now, 50, None, id);
    }
    // Four wait for two places of a second each; the fifth would have to wait for 2.5 s.
    let refused = shed(2500, ShedReason::QueueFull);
    assert_eq!(bulkhead.admit(now, 50, None, 9), refused);
}

#[test]
fn a_cancelled_call_gives_its_place_back_once() {
    let (mut bulkhead, now) = bulkhead(1, 10);
    for id in 1..=4 {
        let _ = bulkhead.admit(now, 50, None, id);
    }
    assert_eq!(cancel(&mut bulkhead, now, 2), [], "it only waited");
    assert_eq!(cancel(&mut bulkhead, now, 1), [3]);
    assert_eq!(cancel(&mut bulkhead, now, 1), []);
    assert_eq!(finish(&mut bulkhead, now, 1), []);
    assert_eq!(cancel(&mut bulkhead, now, 99), [], "nobody knows it");
    assert_eq!((bulkhead.in_flight(), bulkhead.n_waiting()), (1, 1));
}

#[test]
fn always_holds_what_it_promises() {
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let limit = u32::try_from(1 + rng.below(4)).expect("small");
        let queue_max = u32::try_from(rng.below(6)).expect("small");
        let (mut bulkhead, mut now) = bulkhead(limit, queue_max);
        let (mut running, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        for id in 0..200 {
            now += Duration::from_millis(rng.below(200));
            let any = |ids: &BTreeSet<u64>, rng: &mut Rng| {
                let n = rng.below(ids.len() as u64);
                ids.iter().nth(usize::try_from(n).expect("small")).copied()
            };
            let mut ready = BulkheadReady::new();
            match rng.below(8) {
                0..4 => {
                    let priority = u8::try_from(rng.below(3)).expect("small");
                    let left = Duration::from_millis(1 + rng.below(2000));
                    let deadline = rng.chance(50).then(|| now + left);
                    match bulkhead.admit(now, priority, deadline, id) {
                        BulkheadAdmission::Go => assert!(running.insert(id) && waiting.is_empty()),
                        BulkheadAdmission::Wait { displaced } => {
                            waiting.insert(id);
                            let is_known = |refused: BulkheadRefused| waiting.remove(&refused.id);
                            assert!(displaced.is_none_or(is_known));
                        }
                        BulkheadAdmission::Shed { retry_after, .. } => {
                            assert!(!retry_after.is_zero())
                        }
                    }
                }
                4..6 => {
                    if let Some(id) = any(&running, &mut rng) {
                        running.remove(&id);
                        ready = bulkhead.on_finish(now, id, BulkheadOutcome::Served);
                    }
                }
                6 => {
                    let from = if rng.chance(50) {
                        &mut running
                    } else {
                        &mut waiting
                    };
                    if let Some(id) = any(from, &mut rng) {
                        from.remove(&id);
                        ready = bulkhead.on_cancel(now, id);
                    }
                }
                _ => {}
            }
            for id in ready {
                assert!(
                    waiting.remove(&id) && running.insert(id),
                    "seed {seed}: {id} goes"
                );
            }
            while let Some(refused) = bulkhead.poll(now) {
                assert!(waiting.remove(&refused.id), "seed {seed}: {refused:?}");
            }
            assert_eq!(bulkhead.in_flight() as usize, running.len(), "seed {seed}");
            assert_eq!(bulkhead.n_waiting(), waiting.len(), "seed {seed}");
            assert!(running.len() <= limit as usize && waiting.len() <= queue_max as usize);
            assert!(
                waiting.is_empty() || running.len() == limit as usize,
                "seed {seed}: idle"
            );
        }
    }
}

#[test]
fn refuses_what_cannot_work_by_name() {
    use BulkheadConfigError as Fault;
    let good = BulkheadConfig::default();
    let check = |config, fault| assert_eq!(Bulkhead::new(config, testing::epoch()).err(), fault);
    check(good, None);
    check(
        BulkheadConfig {
            limit: BulkheadLimit::Fixed(1),
            ..good
        },
        None,
    );
    check(
        BulkheadConfig {
            limit: BulkheadLimit::Fixed(0),
            ..good
        },
        Some(Fault::NoLimit),
    );
    let wait_max = Duration::ZERO;
    check(
        BulkheadConfig { wait_max, ..good },
        Some(Fault::NoWait { queue_max: 1000 }),
    );
    check(
        BulkheadConfig {
            wait_max,
            queue_max: 0,
            ..good
        },
        None,
    );
    let wait_max = DURATION_MAX;
    check(BulkheadConfig { wait_max, ..good }, None);
    let wait_max = DURATION_MAX + Duration::from_nanos(1);
    check(
        BulkheadConfig { wait_max, ..good },
        Some(Fault::WaitTooLong(wait_max)),
    );
    let adaptive = AdaptiveConfig {
        limit_min: 0,
        ..AdaptiveConfig::default()
    };
    let limit = BulkheadLimit::Adaptive(adaptive);
    let fault = Fault::Adaptive(AdaptiveConfigError::NoMinimum);
    check(BulkheadConfig { limit, ..good }, Some(fault));
}

const SECOND: Duration = Duration::from_secs(1);
const WAIT: BulkheadAdmission = BulkheadAdmission::Wait { displaced: None };

fn bulkhead(limit: u32, queue_max: u32) -> (Bulkhead, Instant) {
    let config = BulkheadConfig {
        limit: BulkheadLimit::Fixed(limit),
        queue_max,
        ..BulkheadConfig::default()
    };
    let now = testing::epoch();
    (Bulkhead::new(config, now).expect("it works"), now)
}

fn finish(bulkhead: &mut Bulkhead, now: Instant, id: u64) -> Vec<u64> {
    bulkhead
        .on_finish(now, id, BulkheadOutcome::Served)
        .into_vec()
}

fn cancel(bulkhead: &mut Bulkhead, now: Instant, id: u64) -> Vec<u64> {
    bulkhead.on_cancel(now, id).into_vec()
}

const fn shed(millis: u64, reason: ShedReason) -> BulkheadAdmission {
    BulkheadAdmission::Shed {
        retry_after: Duration::from_millis(millis),
        reason,
    }
}
