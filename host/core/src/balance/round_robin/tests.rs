//! Turns: in order, shared out when somebody is down, kept over changes of the set.

use std::time::Duration;

use super::*;
use crate::{
    balance::{
        Member, Policy, SlowStart,
        tests::{ask, assert_near, build, counts, counts_of, members, sequence, set},
    },
    testing::{Rng, epoch},
};

#[test]
fn everybody_has_a_turn_whatever_it_weighs() {
    let set = set(&[3, 2, 1]);
    let balance = build(Policy::RoundRobin, &set);
    assert_eq!(sequence(&*balance, &set, 7), "abcabca");
    let found = counts(&*balance, 3, 6000);
    println!("balance round-robin 3:2:1 over 6000 picks: {found:?}");
    assert_eq!(found, [2000; 3]);
}

#[test]
fn who_is_down_leaves_its_turns_to_all() {
    let balance = build(Policy::RoundRobin, &set(&[1; 4]));
    let found = counts_of(&*balance, 4, 3000, &|member_idx| member_idx != 1);
    println!("balance round-robin of 4, second down, over 3000 picks: {found:?}");
    assert_eq!(found, [1000, 0, 1000, 1000]);
}

#[test]
fn goes_on_after_a_change_of_the_set() {
    let old = set(&[1; 4]);
    let check = |n_before: u32, ids: &[&'static str], expected: &str| {
        let before = build(Policy::RoundRobin, &old);
        sequence(&*before, &old, n_before);
        let new = ids.iter().map(|id| Member::new(*id, epoch())).collect();
        let new = Arc::new(Set::new(new));
        let after = Policy::RoundRobin.build(Arc::clone(&new), &before.memory());
        assert_eq!(sequence(&*after, &new, 4), expected, "{n_before} {ids:?}");
    };
    check(2, &["a", "b", "c", "d"], "cdab");
    check(2, &["d", "c", "b", "a"], "cbad");
    check(2, &["a", "b", "d"], "dabd");
    check(3, &["a", "b", "c"], "abca");
    check(2, &["a", "x", "b", "c", "d"], "cdax");
    check(2, &["x", "y"], "xyxy");
}

#[test]
fn a_new_member_takes_its_share_of_turns_in_slow_start() {
    let mut members = members(&[1; 3]);
    members[2].since = epoch() + Duration::from_secs(100);
    let slow_start = SlowStart::over(Duration::from_secs(10));
    let set = Arc::new(Set::new(members).with_slow_start(slow_start));
    let balance = build(Policy::RoundRobin, &set);
    // Its share p against two that are warm: p / (2 + p) of 6000.
    for (second, expected) in [(100, 286), (102, 545), (105, 1200), (110, 2000)] {
        let mut rng = Rng::new(second);
        let picks = (0..6000).filter(|_| {
            let now = epoch() + Duration::from_secs(second);
            let ask = PickRequest {
                now,
                ..ask(&mut rng, &|_| true)
            };
            balance.pick(&ask) == Some(2)
        });
        let found = u32::try_from(picks.count()).expect("few");
        println!(
            "balance round-robin slow start at {} s: {found} of 6000",
            second - 100
        );
        assert_near(&[found], &[expected], 15);
    }
}

#[test]
fn threads_share_turns_exactly() {
    let balance = build(Policy::RoundRobin, &set(&[1; 3]));
    let run = || counts(&*balance, 3, 1500);
    let found = std::thread::scope(|scope| {
        let threads = [0; 4].map(|_| scope.spawn(run));
        let found = threads.map(|thread| thread.join().expect("no panic"));
        [0, 1, 2].map(|index| found.iter().map(|counts| counts[index]).sum::<u32>())
    });
    assert_eq!(found, [2000; 3]);
}
