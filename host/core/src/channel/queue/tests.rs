//! Single failures, then random brokers: nothing is lost where nothing may be, and nothing is sent twice
//! where nothing may be.

use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::{
    simulation::for_each_seed,
    testing::{self, Rng},
};

const BOUNDS: ChannelQueueBounds = ChannelQueueBounds {
    in_flight_max: 4,
    waiting_max: 16,
};

fn queue(delivery: ChannelDelivery, n_items: u64) -> ChannelQueue<u64> {
    let mut queue = ChannelQueue::new(delivery, BOUNDS);
    for item in 0..n_items {
        assert_eq!(queue.try_push(item, None), Ok(()));
    }
    queue
}

fn sent(queue: &mut ChannelQueue<u64>) -> Vec<u64> {
    std::iter::from_fn(|| queue.poll_send().map(|(_, item)| *item)).collect()
}

#[test]
fn events_leave_in_order_as_many_as_may_be_in_flight() {
    let mut queue = queue(ChannelDelivery::AtMostOnce, 6);
    assert_eq!(sent(&mut queue), [0, 1, 2, 3]);
    assert_eq!(queue.on_acknowledged(1), Some(1));
    assert_eq!(sent(&mut queue), [4]);
    assert_eq!(queue.on_acknowledged(1), None, "it has ended");
    assert_eq!((queue.n_waiting(), queue.n_in_flight()), (1, 4));
}

#[test]
fn after_a_failure_nothing_leaves_until_all_in_flight_has_ended_and_then_in_order() {
    let mut queue = queue(ChannelDelivery::AtLeastOnce, 6);
    sent(&mut queue);
    assert_eq!(queue.on_failed(2, SendFailure::Unknown), None);
    assert_eq!(queue.on_failed(0, SendFailure::NotSent), None);
    assert_eq!(sent(&mut queue), [0; 0]);
    assert_eq!(queue.on_acknowledged(1), Some(1));
    assert_eq!(sent(&mut queue), [0; 0]);
    assert_eq!(queue.on_failed(3, SendFailure::Unknown), None);
    assert_eq!(sent(&mut queue), [0, 2, 3, 4]);
}

#[test]
fn what_may_have_arrived_is_given_up_at_most_once_and_what_did_not_leave_is_not() {
    let mut queue = queue(ChannelDelivery::AtMostOnce, 2);
    sent(&mut queue);
    assert_eq!(queue.on_failed(0, SendFailure::Unknown), Some(0));
    assert_eq!(queue.on_failed(1, SendFailure::NotSent), None);
    assert_eq!(sent(&mut queue), [1]);
}

#[test]
fn what_no_broker_takes_is_given_up_and_holds_nothing_up() {
    let mut queue = queue(ChannelDelivery::AtLeastOnce, 5);
    sent(&mut queue);
    assert_eq!(queue.on_failed(0, SendFailure::Refused), Some(0));
    assert_eq!(sent(&mut queue), [4]);
}

#[test]
fn one_more_than_may_wait_is_given_back() {
    let mut queue = queue(ChannelDelivery::AtMostOnce, 16);
    assert!(!queue.has_room());
    assert_eq!(queue.try_push(16, None), Err(16));
    sent(&mut queue);
    assert_eq!(queue.try_push(16, None), Ok(()));
}

#[test]
fn what_waits_longer_than_its_time_is_given_up() {
    let now = testing::epoch();
    let second = Duration::from_secs(1);
    let mut queue = queue(ChannelDelivery::AtLeastOnce, 0);
    assert_eq!(queue.try_push(0, Some(now + second)), Ok(()));
    assert_eq!(queue.try_push(1, None), Ok(()));
    assert_eq!(queue.try_push(2, Some(now + second * 2)), Ok(()));
    assert_eq!(queue.poll_timeout(), Some(now + second));
    assert_eq!(queue.take_expired(now), [0; 0]);
    assert_eq!(queue.take_expired(now + second), [0]);
    assert_eq!(queue.poll_timeout(), Some(now + second * 2));
    assert_eq!(queue.drain(), [1, 2]);
}

#[test]
fn whatever_brokers_do_nothing_is_lost_or_sent_twice_that_may_not_be() {
    for delivery in [ChannelDelivery::AtLeastOnce, ChannelDelivery::AtMostOnce] {
        let lost = for_each_seed("queue", 500, |seed| run(seed, delivery));
        let n_lost: usize = lost.iter().sum();
        match delivery {
            ChannelDelivery::AtLeastOnce => assert_eq!(n_lost, 0),
            ChannelDelivery::AtMostOnce => assert!(n_lost > 0),
        }
    }
}

/// How many of 200 events did not arrive.
fn run(seed: u64, delivery: ChannelDelivery) -> usize {
    let mut rng = Rng::new(seed);
    let mut queue = ChannelQueue::new(delivery, BOUNDS);
    let (mut next, mut in_flight) = (0_u64, Vec::new());
    let (mut arrived, mut ended) = (BTreeSet::new(), BTreeSet::new());
    while ended.len() < 200 {
        while next < 200 && queue.try_push(next, None).is_ok() {
            next += 1;
        }
        while let Some((number, item)) = queue.poll_send() {
            assert_eq!(number, *item);
            in_flight.push(number);
        }
        assert!(in_flight.len() <= BOUNDS.in_flight_max);
        let n_in_flight = u64::try_from(in_flight.len()).expect("few");
        let one = usize::try_from(rng.below(n_in_flight)).expect("few");
        let number = in_flight.swap_remove(one);
        let ending = match rng.below(6) {
            0 => queue.on_failed(number, SendFailure::NotSent),
            1 | 2 => {
                if rng.chance(50) {
                    let is_new = arrived.insert(number);
                    assert!(is_new || delivery == ChannelDelivery::AtLeastOnce);
                }
                queue.on_failed(number, SendFailure::Unknown)
            }
            _ => {
                let is_new = arrived.insert(number);
                assert!(is_new || delivery == ChannelDelivery::AtLeastOnce);
                queue.on_acknowledged(number)
            }
        };
        if let Some(item) = ending {
            assert!(ended.insert(item), "an event ends once");
        }
    }
    assert_eq!(queue.drain(), [0; 0]);
    200 - arrived.len()
}
