//! Who stays and who leaves, at each edge of the rule.

use super::*;
use crate::{
    balance::{
        InFlight, Plan,
        tests::{ask, assert_near, counts, counts_of, members, sequence},
    },
    testing::Rng,
};

/// Members of weight 1 in these zones (`e` is the gateway's own).
fn zoned(zones: &str) -> Arc<Set> {
    let mut members = members(&vec![1; zones.len()]);
    for (member, zone) in members.iter_mut().zip(zones.chars()) {
        member.zone = Some(zone.to_string().into());
    }
    Arc::new(Set::new(members).in_zone(Some("e".into())))
}

fn build(set: &Arc<Set>, policy: Policy) -> Box<dyn Balance> {
    let plan = Plan {
        spill: Some(Spill::default()),
        ..policy.into()
    };
    plan.build(set, &BalancerMemory::default())
}

/// How many of 6000 calls stay in the zone of `n_near` when the first `n_down` of them are down.
fn stay(n_near: usize, n_down: usize) -> u32 {
    let set = zoned(&("e".repeat(n_near) + "ww"));
    let balance = build(&set, Policy::Weighted);
    let found = counts_of(&*balance, n_near + 2, 6000, &|member_idx| {
        member_idx >= n_down
    });
    let stayed = found[..n_near].iter().sum();
    println!("balance zone: {n_down} of {n_near} down, {stayed} of 6000 calls stay");
    stayed
}

#[test]
fn calls_stay_in_the_zone() {
    let set = zoned("ewewe");
    for policy in Policy::ALL {
        let found = counts(&*build(&set, policy), 5, 600);
        assert_eq!(found[1] + found[3], 0, "{}: {found:?}", policy.name());
        assert_eq!(found.iter().sum::<u32>(), 600);
    }
}

#[test]
fn calls_leave_in_proportion_when_the_zone_is_short() {
    assert_eq!(stay(10, 0), 6000);
    // 70 % is enough, 60 % is 6/7 of it.
    assert_eq!(stay(10, 3), 6000);
    assert_near(&[stay(10, 4)], &[5143], 3);
    assert_near(&[stay(2, 1)], &[4286], 3);
    assert_near(&[stay(10, 9)], &[857], 8);
    assert_eq!(stay(10, 10), 0);
}

#[test]
fn calls_stay_when_nobody_elsewhere_may_be_picked() {
    let set = zoned("eeww");
    let balance = build(&set, Policy::RoundRobin);
    let found = counts_of(&*balance, 4, 100, &|member_idx| member_idx == 1);
    assert_eq!(found, [0, 100, 0, 0]);
}

#[test]
fn calls_leave_when_the_zone_is_busy_until_all_are_as_loaded() {
    let set = zoned("eeww");
    let balance = build(&set, Policy::LeastConnections);
    let mut held: Vec<InFlight> = Vec::new();
    let mut rng = Rng::new(2);
    let mut hold = |n_calls: u32| {
        for _ in 0..n_calls {
            let picked = balance.pick(&ask(&mut rng, &|_| true)).expect("somebody");
            held.push(set.members()[picked].begin());
        }
        let members = set.members().iter();
        let loads = members.map(|member| member.load.in_flight());
        loads.collect::<Vec<_>>()
    };
    assert_eq!(hold(64), [32, 32, 0, 0]);
    assert_eq!(hold(1)[2..].iter().sum::<u32>(), 1);
    assert_eq!(hold(63), [32; 4]);
    println!("balance zone: 400 held calls: {:?}", hold(272));
    assert_near(&hold(0), &[100; 4], 1);
}

#[test]
fn a_key_does_not_wander_when_the_zone_is_short() {
    let set = zoned("eeeeww");
    let balance = build(&set, Policy::Sticky);
    let mut rng = Rng::new(4);
    let mut far = 0;
    for key in 0..400_u32 {
        let mut pick = || {
            let ask = PickRequest {
                key: Some(hash(&key.to_be_bytes())),
                ..ask(&mut rng, &|member_idx| member_idx >= 2)
            };
            balance.pick(&ask).expect("somebody")
        };
        let first = pick();
        assert!((0..10).all(|_| pick() == first));
        far += u32::from(first >= 4);
    }
    // Half is up: 5/7 stay.
    assert_near(&[far], &[114], 20);
}

#[test]
fn calls_that_leave_do_not_disturb_the_turns_of_those_that_stay() {
    let set = zoned("eeew");
    let balance = build(&set, Policy::RoundRobin);
    let found = counts_of(&*balance, 4, 6000, &|member_idx| member_idx != 0);
    assert_eq!(found[0], 0);
    assert!(found[1].abs_diff(found[2]) <= 1, "{found:?}");
}

#[test]
fn without_zones_everybody_shares() {
    let nowhere = Arc::new(Set::new(members(&[1; 3])).in_zone(Some("e".into())));
    for set in [&zoned("eee"), &zoned("www"), &nowhere] {
        let balance = build(set, Policy::RoundRobin);
        assert_eq!(sequence(&*balance, set, 4), "abca");
    }
    let homeless = Set::new(zoned("ewe").members().to_vec());
    let homeless = Arc::new(homeless);
    let balance = build(&homeless, Policy::RoundRobin);
    assert_eq!(sequence(&*balance, &homeless, 4), "abca");
}
