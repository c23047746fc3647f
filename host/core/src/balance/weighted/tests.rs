//! Shares over a period, their order, and what a change of the set keeps.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    balance::{
        Member, Policy, SlowStart,
        tests::{ask, assert_near, build, counts, counts_of, members, sequence, set},
    },
    testing::{Rng, epoch},
};

#[test]
fn shares_are_exact_and_interleaved() {
    let set = set(&[3, 2, 1]);
    let balance = build(Policy::Weighted, &set);
    assert_eq!(sequence(&*balance, &set, 12), "abacbaabacba");
    let found = counts(&*balance, 3, 6000);
    println!("balance weighted 3:2:1 over 6000 picks: {found:?}");
    assert_eq!(found, [3000, 2000, 1000]);
}

#[test]
fn who_is_down_leaves_its_share_by_weight() {
    let balance = build(Policy::Weighted, &set(&[3, 2, 1]));
    let found = counts_of(&*balance, 3, 4000, &|member_idx| member_idx != 1);
    println!("balance weighted 3:2:1, second down, over 4000 picks: {found:?}");
    assert_eq!(found, [3000, 0, 1000]);
}

#[test]
fn a_set_that_is_built_anew_before_each_pick_has_the_same_order() {
    let set = set(&[3, 2, 1]);
    let mut memory = BalancerMemory::default();
    let mut names = String::new();
    for _ in 0..12 {
        let balance = Policy::Weighted.build(Arc::clone(&set), &memory);
        names += &sequence(&*balance, &set, 1);
        memory = balance.memory();
    }
    assert_eq!(names, "abacbaabacba");
}

#[test]
fn a_member_that_joins_and_one_that_leaves_have_their_share_at_once() {
    let before = build(Policy::Weighted, &set(&[3, 2, 1]));
    counts(&*before, 3, 4);
    let mut members = members(&[3, 2]);
    members.push(Member {
        weight: 5,
        ..Member::new("x", epoch())
    });
    let after = Policy::Weighted.build(Arc::new(Set::new(members)), &before.memory());
    let found = counts(&*after, 3, 100);
    // What was owed from before may show as one pick.
    assert_near(&found, &[30, 20, 50], 6);
}

#[test]
fn a_new_member_rises_to_its_weight_in_slow_start() {
    let mut members = members(&[2, 2]);
    members[1].since = epoch() + Duration::from_secs(100);
    let slow_start = SlowStart::over(Duration::from_secs(10));
    let set = Arc::new(Set::new(members).with_slow_start(slow_start));
    let balance = build(Policy::Weighted, &set);
    // p / (1 + p) of 1100 for the share p.
    for (second, expected) in [(0, 100), (1, 100), (5, 367), (9, 521), (10, 550), (11, 550)] {
        let mut rng = Rng::new(second);
        let now = epoch() + Duration::from_secs(100 + second);
        let picks = (0..1100).filter(|_| {
            let ask = PickRequest {
                now,
                ..ask(&mut rng, &|_| true)
            };
            balance.pick(&ask) == Some(1)
        });
        let found = u32::try_from(picks.count()).expect("few");
        println!("balance weighted slow start at {second} s: {found} of 1100");
        assert_near(&[found], &[expected], 2);
    }
}

#[test]
fn threads_share_exactly() {
    let balance = build(Policy::Weighted, &set(&[3, 2, 1]));
    let run = || counts(&*balance, 3, 1500);
    let found = std::thread::scope(|scope| {
        let threads = [0; 4].map(|_| scope.spawn(run));
        let found = threads.map(|thread| thread.join().expect("no panic"));
        [0, 1, 2].map(|index| found.iter().map(|counts| counts[index]).sum::<u32>())
    });
    assert_eq!(found, [3000, 2000, 1000]);
}

proptest! {
    #[test]
    fn each_period_is_exact_and_no_prefix_far_off(
        weights in proptest::collection::vec(1..30_u32, 1..8),
    ) {
        let mut credits = Credits(vec![0; weights.len()]);
        let total: u32 = weights.iter().sum();
        let mut found = vec![0_u32; weights.len()];
        for n_picks in 1..=total * 2 {
            let shares = weights.iter().map(|weight| u64::from(*weight)).enumerate();
            let index = credits.take(shares).expect("weights");
            found[index] += 1;
            for (found, weight) in found.iter().zip(&weights) {
                let due = f64::from(n_picks * weight) / f64::from(total);
                let off = (f64::from(*found) - due).abs();
                prop_assert!(off < 2.0, "{found} picks, {due} due");
            }
            if n_picks % total == 0 {
                let due: Vec<_> = weights.iter().map(|weight| weight * n_picks / total).collect();
                prop_assert_eq!(&found, &due);
            }
        }
    }
}
