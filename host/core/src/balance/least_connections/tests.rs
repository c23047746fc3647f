//! The least for its weight, chance among equals.

use crate::{
    balance::{
        Policy,
        tests::{ask, assert_near, build, counts, hold, set},
    },
    testing::Rng,
};

/// Which member is picked when these are in flight.
fn check(weights: &[u32], in_flight: &[u32], expected: usize) {
    let set = set(weights);
    let members = set.members().iter().zip(in_flight);
    let held: Vec<_> = members
        .flat_map(|(member, n)| (0..*n).map(|_| member.begin()))
        .collect();
    let balance = build(Policy::LeastConnections, &set);
    for seed in 0..50 {
        let picked = balance.pick(&ask(&mut Rng::new(seed), &|_| true));
        assert_eq!(picked, Some(expected), "{weights:?} {in_flight:?}");
    }
    drop(held);
}

#[test]
fn the_least_loaded_is_picked() {
    check(&[1, 1, 1], &[3, 1, 2], 1);
    check(&[1, 1, 1], &[3, 4, 2], 2);
    check(&[1], &[9], 0);
}

#[test]
fn load_counts_by_weight() {
    check(&[4, 1], &[3, 1], 0);
    check(&[4, 1], &[5, 1], 1);
    check(&[4, 0], &[5, 0], 0);
}

#[test]
fn among_equals_chance_decides_by_weight() {
    let balance = build(Policy::LeastConnections, &set(&[3, 2, 1]));
    let found = counts(&*balance, 3, 6000);
    println!("balance least-connections 3:2:1, idle, over 6000 picks: {found:?}");
    assert_near(&found, &[3000, 2000, 1000], 6);
    let set = set(&[4, 2]);
    let _held = [set.members()[0].begin(), set.members()[0].begin()];
    let _held = [_held, [set.members()[1].begin(), set.members()[0].begin()]];
    let balance = build(Policy::LeastConnections, &set);
    // 3 of 4 against 1 of 2.
    assert_eq!(counts(&*balance, 2, 100), [0, 100]);
}

#[test]
fn held_calls_fill_members_by_weight() {
    let set = set(&[3, 2, 1]);
    let found = hold(&*build(Policy::LeastConnections, &set), &set, 600, None);
    println!("balance least-connections 3:2:1, 600 in flight: {found:?}");
    assert_near(&found, &[300, 200, 100], 1);
}
