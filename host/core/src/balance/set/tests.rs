//! Weights, loads that survive, slow start.

use std::time::Duration;

use super::*;
use crate::{
    balance::tests::{ask, members},
    testing::{Rng, epoch},
};

#[test]
fn weights_by_id_win_over_those_of_the_members() {
    let weights = [("b".into(), 7), ("x".into(), 9)].into();
    let set = Set::new(members(&[3, 2, 1])).with_weights(&weights);
    let found: Vec<_> = set.members().iter().map(|member| member.weight).collect();
    assert_eq!(found, [3, 7, 1]);
}

#[test]
fn who_stays_keeps_its_load() {
    let old = Set::new(members(&[1, 1]));
    let call = old.members()[1].begin();
    call.finish(epoch(), Duration::from_millis(4), false);
    let _call = old.members()[1].begin();
    let new = Set::new(members(&[1, 1, 1])[1..].to_vec()).with_loads_of(&old);
    assert_eq!(new.members()[0].load.in_flight(), 1);
    assert_eq!(new.members()[0].load.latency(epoch()).as_micros(), 4000);
    assert_eq!(new.members()[1].load.in_flight(), 0);
}

#[test]
fn weight_rises_until_the_window_ends() {
    let mut members = members(&[2, 2, 0]);
    members[1].since = epoch() + Duration::from_secs(60);
    let slow_start = SlowStart::over(Duration::from_secs(10));
    let set = Set::new(members).with_slow_start(slow_start);
    let weights = |second| {
        let now = epoch() + Duration::from_secs(second);
        let weights = (0..3).map(|member_idx| set.weights(now).of(member_idx));
        (weights.collect::<Vec<_>>(), set.is_warm(now))
    };
    assert_eq!(weights(65), (vec![2048, 1024, 0], false));
    assert!(!weights(69).1);
    assert_eq!(weights(70), (vec![2048, 2048, 0], true));
}

#[test]
fn anybody_is_one_with_weight_if_there_is_one() {
    let set = Set::new(members(&[0, 1, 0]));
    for seed in 0..20 {
        let number = Rng::new(seed).next_u64();
        let any = |may: &dyn Fn(usize) -> bool| set.any(number, &ask(&mut Rng::new(0), may));
        assert_eq!(any(&|_| true), Some(1));
        assert_eq!(any(&|member_idx| member_idx == 2), Some(2));
        assert_eq!(any(&|_| false), None);
    }
}
