//! Claims about one consumer: what is given out when, and what a restart leaves.

use super::*;
use crate::testing::epoch;

const A: MemberId = MemberId(1);
const B: MemberId = MemberId(2);

fn settings() -> ConsumerSettings {
    ConsumerSettings {
        name: "c".into(),
        patterns: vec![TopicPattern::new(">").expect("a pattern")],
        start: ConsumerStart::First,
        ack_wait: Duration::from_secs(30),
        back_off: vec![Duration::from_secs(1), Duration::from_secs(5)],
        deliveries_max: 3,
        in_flight_max: 4,
        is_ordered: false,
    }
}

fn consumer(settings: ConsumerSettings) -> ConsumerState {
    ConsumerState::new(settings, Position(0))
}

/// Events at positions from 1 on, each with its key.
fn offer(state: &mut ConsumerState, keys: &[u64]) {
    for (position, key) in (state.looked().0 + 1..).zip(keys) {
        state.offer(Position(position), OrderKey(*key));
    }
}

fn deliver(state: &mut ConsumerState, at_s: u64, member: MemberId) -> Vec<(u64, u32)> {
    let now = epoch() + Duration::from_secs(at_s);
    state.handle_timeout(now);
    let given = state.deliver(now, member, 10).into_iter();
    given.map(|(position, n)| (position.0, n)).collect()
}

fn refuse(state: &mut ConsumerState, at_s: u64, position: u64, redelivery: Redelivery) -> bool {
    let now = epoch() + Duration::from_secs(at_s);
    state.refuse(now, Position(position), redelivery, "because".into())
}

fn dead(state: &mut ConsumerState, at_s: u64) -> Vec<(u64, u32, String)> {
    state.handle_timeout(epoch() + Duration::from_secs(at_s));
    let dead = state.poll_dead().into_iter();
    dead.map(|one| (one.position.0, one.n_deliveries, one.reason.to_string()))
        .collect()
}

#[test]
fn gives_out_no_more_than_may_be_in_flight() {
    let mut state = consumer(settings());
    assert_eq!(state.room(10), 4);
    offer(&mut state, &[1, 2, 3, 4]);
    assert_eq!(state.room(10), 0);
    assert_eq!(deliver(&mut state, 0, A), [(1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!((state.room(10), state.is_ready()), (0, false));
    assert!(state.acknowledge(Position(2)));
    assert!(!state.acknowledge(Position(2)));
    assert_eq!((state.room(10), state.acknowledged()), (1, Position(0)));
    assert!(state.acknowledge(Position(1)));
    assert_eq!(state.acknowledged(), Position(2));
}

#[test]
fn what_is_not_acknowledged_in_time_comes_again_after_its_back_off() {
    let mut state = consumer(settings());
    offer(&mut state, &[1]);
    assert_eq!(deliver(&mut state, 0, A), [(1, 1)]);
    assert_eq!(deliver(&mut state, 29, B), []);
    assert_eq!(deliver(&mut state, 30, B), []);
    assert_eq!(deliver(&mut state, 31, B), [(1, 2)]);
    // The late word of the first counts.
    assert!(state.acknowledge(Position(1)));
    assert_eq!(state.poll_timeout(), None);
    assert_eq!(state.counts().n_redelivered, 1);
}

#[test]
fn a_refused_event_waits_longer_each_time_and_is_dead_after_the_last() {
    let mut state = consumer(settings());
    offer(&mut state, &[1]);
    for (at_s, n) in [(0, 1), (1, 2), (6, 3)] {
        assert_eq!(deliver(&mut state, at_s, A), [(1, n)]);
        assert!(dead(&mut state, at_s).is_empty());
        assert!(refuse(&mut state, at_s, 1, Redelivery::BackOff));
        assert!(!refuse(&mut state, at_s, 1, Redelivery::BackOff));
    }
    assert_eq!(deliver(&mut state, 100, A), []);
    assert_eq!(dead(&mut state, 100), [(1, 3, "because".to_owned())]);
    assert_eq!(dead(&mut state, 101), []);
    state.on_dead_letter_failed(epoch() + Duration::from_secs(101), Position(1));
    assert_eq!(dead(&mut state, 101), []);
    assert_eq!(dead(&mut state, 102).len(), 1);
    assert!(!state.acknowledge(Position(1)));
    state.on_dead_letter_kept(Position(1));
    assert_eq!(
        (state.counts().n_dead, state.acknowledged()),
        (1, Position(1))
    );
}

#[test]
fn what_was_refused_for_good_is_dead_at_once() {
    let mut state = consumer(settings());
    offer(&mut state, &[1]);
    deliver(&mut state, 0, A);
    refuse(&mut state, 0, 1, Redelivery::Never);
    assert_eq!(dead(&mut state, 0), [(1, 1, "because".to_owned())]);
}

#[test]
fn what_a_member_leaves_behind_comes_again_in_order_and_does_not_count() {
    let mut state = consumer(ConsumerSettings {
        ack_wait: Duration::ZERO,
        ..settings()
    });
    offer(&mut state, &[1, 2, 3]);
    assert_eq!(deliver(&mut state, 0, A).len(), 3);
    assert_eq!(deliver(&mut state, 1_000_000, B), []);
    assert!(state.acknowledge(Position(2)));
    state.release(B);
    assert_eq!(state.n_in_flight(), 2);
    state.release(A);
    assert_eq!(deliver(&mut state, 0, B), [(1, 1), (3, 1)]);
    assert!(refuse(&mut state, 0, 3, Redelivery::Released));
    assert_eq!(deliver(&mut state, 0, B), [(3, 1)]);
}

#[test]
fn of_one_key_the_next_waits_for_the_one_before_it() {
    let mut state = consumer(ConsumerSettings {
        is_ordered: true,
        ..settings()
    });
    offer(&mut state, &[7, 7, 8, 7]);
    assert_eq!(deliver(&mut state, 0, A), [(1, 1), (3, 1)]);
    refuse(&mut state, 0, 1, Redelivery::BackOff);
    assert!(state.acknowledge(Position(3)));
    assert_eq!(deliver(&mut state, 0, A), []);
    assert_eq!(deliver(&mut state, 1, A), [(1, 2)]);
    assert!(state.acknowledge(Position(1)));
    assert_eq!(deliver(&mut state, 1, A), [(2, 1)]);
    // A dead letter is kept before the next one.
    refuse(&mut state, 1, 2, Redelivery::Never);
    assert_eq!(deliver(&mut state, 1, A), []);
    assert_eq!(dead(&mut state, 1).len(), 1);
    state.on_dead_letter_kept(Position(2));
    assert_eq!(deliver(&mut state, 1, A), [(4, 1)]);
}

#[test]
fn a_restart_leaves_what_was_not_acknowledged_and_its_deliveries() {
    let mut state = consumer(settings());
    offer(&mut state, &[1, 2, 3, 4]);
    deliver(&mut state, 0, A);
    for position in [1, 3] {
        assert!(state.acknowledge(Position(position)));
    }
    let decoded = ConsumerState::decode("c".into(), &state.encode());
    let mut state = decoded.expect("as written");
    assert!(!state.apply(settings(), Position(6)));
    assert!(state.is_acknowledged(Position(3)) && !state.is_acknowledged(Position(4)));
    assert_eq!(state.looked(), Position(1));
    // It comes back under its name and acknowledges what it had.
    assert!(state.acknowledge(Position(4)));
    offer(&mut state, &[2, 3, 4, 5, 6]);
    assert_eq!(deliver(&mut state, 0, A), [(2, 2), (5, 1), (6, 1)]);
}

#[test]
fn what_the_log_has_dropped_is_lost_and_counted() {
    let mut state = consumer(settings());
    offer(&mut state, &[1, 2, 3, 4]);
    deliver(&mut state, 0, A);
    assert_eq!(state.on_trimmed(Position(3)), [Position(1), Position(2)]);
    assert_eq!((state.counts().n_lost, state.n_in_flight()), (2, 2));
    let mut state = ConsumerState::decode("c".into(), &state.encode()).expect("as written");
    assert_eq!(state.on_trimmed(Position(9)), []);
    assert_eq!(state.counts().n_lost, 4);
    // What has not been looked at is passed over.
    state.apply(settings(), Position(9));
    state.offer(Position(8), OrderKey(1));
    state.offer(Position(9), OrderKey(1));
    assert_eq!(deliver(&mut state, 0, A), [(9, 1)]);
}

#[test]
fn where_it_begins_is_what_its_settings_say() {
    let begin = |start| {
        let settings = ConsumerSettings {
            start,
            ..settings()
        };
        ConsumerState::new(settings, Position(9)).looked().0
    };
    assert_eq!(begin(ConsumerStart::First), 0);
    assert_eq!(begin(ConsumerStart::New), 9);
    assert_eq!(begin(ConsumerStart::After(Position(4))), 4);
    assert_eq!(begin(ConsumerStart::After(Position(44))), 9);
}
