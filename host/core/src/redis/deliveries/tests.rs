//! Who gets what, when it comes again, and what becomes of what never is handled.

use bytes::Bytes;

use super::*;
use crate::{
    event::Publisher,
    headers::Headers,
    testing::{Rng, epoch},
};

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> DeliverySettings {
    DeliverySettings {
        ack_wait: 30 * SECOND,
        back_off: vec![SECOND, 5 * SECOND],
        deliveries_max: 3,
        in_flight_max: 10,
        is_ordered: false,
    }
}

fn event(topic: &str) -> Event {
    Event {
        topic: topic.into(),
        headers: Headers::new(),
        payload: Bytes::new(),
        publisher: Publisher::default(),
    }
}

fn deliveries(settings: DeliverySettings, topics: &[&str]) -> Deliveries {
    let mut deliveries = Deliveries::new(settings);
    for (position, topic) in (1..).zip(topics) {
        assert!(deliveries.insert(Position(position), event(topic), 0));
    }
    deliveries
}

fn taken(deliveries: &mut Deliveries, member: u64, now: Instant) -> Vec<(u64, u32)> {
    let taken = deliveries.take(member, 100, now);
    let pairs = taken.iter().map(|one| (one.position.0, one.n_deliveries));
    pairs.collect()
}

fn refuse(deliveries: &mut Deliveries, position: u64, how: Redelivery, now: Instant) -> bool {
    deliveries.refuse(Position(position), how, "broken".into(), now)
}

#[test]
fn each_event_is_with_one_member_at_a_time() {
    let mut deliveries = deliveries(settings(), &["a", "b", "c"]);
    assert_eq!(deliveries.take(1, 2, epoch()).len(), 2);
    assert_eq!(taken(&mut deliveries, 2, epoch()), [(3, 1)]);
    assert_eq!(deliveries.n_in_flight(), 3);
    assert_eq!(deliveries.forget(&[Position(1), Position(9)]), 1);
    assert_eq!(deliveries.n_in_flight(), 2);
    assert!(!deliveries.insert(Position(2), event("b"), 0));
}

#[test]
fn a_refused_event_comes_again_after_its_back_off_and_dies_after_the_last() {
    let mut deliveries = deliveries(settings(), &["a"]);
    let mut now = epoch();
    for (n_deliveries, pause) in [(1, SECOND), (2, 5 * SECOND)] {
        assert_eq!(taken(&mut deliveries, 1, now), [(1, n_deliveries)]);
        assert!(refuse(&mut deliveries, 1, Redelivery::BackOff, now));
        assert!(!refuse(&mut deliveries, 1, Redelivery::BackOff, now));
        assert_eq!(deliveries.poll_timeout(), Some(now + pause));
        deliveries.handle_timeout(now + pause - Duration::from_nanos(1));
        assert_eq!(taken(&mut deliveries, 1, now), []);
        now += pause;
        deliveries.handle_timeout(now);
    }
    assert_eq!(taken(&mut deliveries, 1, now), [(1, 3)]);
    refuse(&mut deliveries, 1, Redelivery::BackOff, now);
    let dead = deliveries.next_dead().expect("dead").clone();
    assert_eq!(
        (dead.stored.position, dead.stored.n_deliveries),
        (Position(1), 3)
    );
    assert_eq!(dead.reason, "broken, 3 deliveries of 3");
    assert_eq!(deliveries.n_redelivered(), 2);
    deliveries.on_buried();
    assert!(deliveries.next_dead().is_none() && deliveries.positions().is_empty());
}

#[test]
fn what_is_not_acknowledged_in_time_counts_as_refused() {
    let mut deliveries = deliveries(settings(), &["a"]);
    let now = epoch();
    assert_eq!(taken(&mut deliveries, 1, now), [(1, 1)]);
    assert_eq!(deliveries.poll_timeout(), Some(now + 30 * SECOND));
    deliveries.handle_timeout(now + 30 * SECOND);
    assert_eq!(deliveries.n_in_flight(), 0);
    deliveries.handle_timeout(now + 31 * SECOND);
    assert_eq!(taken(&mut deliveries, 2, now + 31 * SECOND), [(1, 2)]);
    // Without a bound it stays where it is.
    let mut settings = settings();
    settings.ack_wait = Duration::ZERO;
    deliveries.apply(settings);
    deliveries.insert(Position(2), event("b"), 0);
    assert_eq!(taken(&mut deliveries, 2, now), [(2, 1)]);
    deliveries.forget(&[Position(1)]);
    assert_eq!(deliveries.poll_timeout(), None);
}

#[test]
fn what_a_member_leaves_comes_again_at_once_and_does_not_count() {
    let mut deliveries = deliveries(settings(), &["a", "b", "c"]);
    let now = epoch();
    assert_eq!(deliveries.take(1, 2, now).len(), 2);
    assert_eq!(taken(&mut deliveries, 2, now), [(3, 1)]);
    deliveries.on_member_gone(1);
    assert_eq!(deliveries.n_in_flight(), 1);
    assert_eq!(taken(&mut deliveries, 2, now), [(1, 1), (2, 1)]);
    refuse(&mut deliveries, 2, Redelivery::Released, now);
    assert_eq!(taken(&mut deliveries, 2, now), [(2, 1)]);
}

#[test]
fn an_event_that_nobody_can_handle_dies_at_once() {
    let mut deliveries = deliveries(settings(), &["a"]);
    taken(&mut deliveries, 1, epoch());
    refuse(&mut deliveries, 1, Redelivery::Never, epoch());
    assert_eq!(deliveries.next_dead().expect("dead").reason, "broken");
    // It is kept on the server until it is written.
    assert!(deliveries.positions().contains(&Position(1)));
}

#[test]
fn in_order_each_event_waits_for_the_one_before_it_of_its_lane() {
    let ordered = DeliverySettings {
        is_ordered: true,
        ..settings()
    };
    let mut deliveries = deliveries(ordered, &["a", "a", "b", "a"]);
    let now = epoch();
    assert_eq!(taken(&mut deliveries, 1, now), [(1, 1), (3, 1)]);
    assert_eq!(taken(&mut deliveries, 1, now), []);
    refuse(&mut deliveries, 1, Redelivery::BackOff, now);
    assert_eq!(taken(&mut deliveries, 1, now), []);
    deliveries.handle_timeout(now + SECOND);
    assert_eq!(taken(&mut deliveries, 1, now), [(1, 2)]);
    deliveries.forget(&[Position(1)]);
    assert_eq!(taken(&mut deliveries, 1, now), [(2, 1)]);
    // A dead letter holds nobody up.
    refuse(&mut deliveries, 2, Redelivery::Never, now);
    assert_eq!(taken(&mut deliveries, 1, now), [(4, 1)]);
}

#[test]
fn no_more_is_in_flight_or_held_than_may_be() {
    let few = DeliverySettings {
        in_flight_max: 2,
        ..settings()
    };
    let mut deliveries = deliveries(few, &["a", "b", "c"]);
    assert_eq!(deliveries.room(), 1);
    assert_eq!(taken(&mut deliveries, 1, epoch()), [(1, 1), (2, 1)]);
    deliveries.forget(&[Position(2)]);
    assert_eq!(taken(&mut deliveries, 1, epoch()), [(3, 1)]);
    assert_eq!(deliveries.room(), 2);
}

#[test]
fn large_events_leave_less_room() {
    let many = DeliverySettings {
        in_flight_max: 1000,
        ..settings()
    };
    let mut deliveries = Deliveries::new(many);
    assert_eq!(deliveries.room(), 16);
    for position in 1..=64 {
        deliveries.insert(Position(position), event("a"), 0);
    }
    assert!(deliveries.room() > 1000, "{}", deliveries.room());
    let large = Event {
        payload: Bytes::from(vec![0; 20 * 1024 * 1024]),
        ..event("a")
    };
    deliveries.insert(Position(65), large, 0);
    assert_eq!(deliveries.room(), 0);
    let positions: Vec<_> = (1..=65).map(Position).collect();
    assert_eq!(deliveries.forget(&positions), 65);
    assert!(deliveries.room() >= 1);
    assert_eq!(deliveries.n_bytes, 0);
}

#[test]
fn whatever_happens_an_event_is_held_until_it_is_acknowledged_or_dead() {
    let mut rng = Rng::new(7);
    let ordered = DeliverySettings {
        is_ordered: true,
        in_flight_max: 8,
        ..settings()
    };
    let mut deliveries = Deliveries::new(ordered);
    let (mut now, mut next) = (epoch(), 1);
    let (mut n_inserted, mut n_ended) = (0, 0);
    let mut out: Vec<Position> = Vec::new();
    for _ in 0..20_000 {
        match rng.below(6) {
            0 if deliveries.room() > 0 => {
                let topic = format!("t{}", rng.below(4));
                deliveries.insert(Position(next), event(&topic), 0);
                (next, n_inserted) = (next + 1, n_inserted + 1);
            }
            1 => out.extend(
                deliveries
                    .take(rng.below(3), 4, now)
                    .iter()
                    .map(|one| one.position),
            ),
            2 if !out.is_empty() => {
                let at = usize::try_from(rng.below(out.len() as u64)).expect("small");
                n_ended += deliveries.forget(&[out.swap_remove(at)]);
            }
            3 if !out.is_empty() => {
                let at = usize::try_from(rng.below(out.len() as u64)).expect("small");
                let position = out.swap_remove(at);
                deliveries.refuse(position, Redelivery::BackOff, "no".into(), now);
            }
            4 => {
                now += Duration::from_millis(rng.below(3000));
                deliveries.handle_timeout(now);
            }
            _ => {
                deliveries.on_member_gone(rng.below(3));
                while deliveries.next_dead().is_some() {
                    deliveries.on_buried();
                    n_ended += 1;
                }
            }
        }
        let n_dead = deliveries.dead.len() as u64;
        assert_eq!(deliveries.held.len() as u64 + n_dead + n_ended, n_inserted);
        let n_with = deliveries
            .held
            .values()
            .filter(|held| matches!(held.state, HeldState::With { .. }));
        assert_eq!(n_with.count(), deliveries.n_in_flight());
        assert!(deliveries.n_in_flight() <= 8);
    }
    assert!(n_ended > 100, "{n_ended}");
}
