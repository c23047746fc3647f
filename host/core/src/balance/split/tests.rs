//! Exact shares, callers that stay, versions that are down.

use super::*;
use crate::{
    balance::{
        Plan, Policy,
        tests::{ask, assert_near, counts, counts_of, members, sequence},
    },
    testing::Rng,
};

/// Members of weight 1 of these versions, one digit each.
fn versioned(versions: &str) -> Arc<Set> {
    let mut members = members(&vec![1; versions.len()]);
    for (member, version) in members.iter_mut().zip(versions.chars()) {
        member.version = Some(version.to_string().into());
    }
    Arc::new(Set::new(members))
}

fn split(first: u32, second: u32, by: SplitBy) -> Plan {
    let parts = vec![("1".into(), first), ("2".into(), second)];
    Plan {
        split: Some(TrafficSplit::new(parts, by).expect("a share above 0")),
        ..Policy::RoundRobin.into()
    }
}

fn build(plan: &Plan, set: &Arc<Set>) -> Box<dyn Balance> {
    plan.build(set, &BalancerMemory::default())
}

/// Whether a caller with this key gets version 2 of `12`.
fn is_second(balance: &dyn Balance, key: u64) -> bool {
    let ask = PickRequest {
        key: Some(key),
        ..ask(&mut Rng::new(0), &|_| true)
    };
    balance.pick(&ask) == Some(1)
}

#[test]
fn by_sequence_each_period_is_exact() {
    let set = versioned("1112");
    let balance = build(&split(90, 10, SplitBy::Sequence), &set);
    for _ in 0..20 {
        let names = sequence(&*balance, &set, 10);
        assert_eq!(names.matches('d').count(), 1, "{names}");
    }
    let found = counts(&*balance, 4, 1000);
    println!("balance split 90:10 of 3 and 1 over 1000 picks: {found:?}");
    assert_eq!(found, [300, 300, 300, 100]);
}

#[test]
fn turns_within_a_version_are_not_disturbed() {
    let set = versioned("1112");
    let balance = build(&split(8, 1, SplitBy::Sequence), &set);
    assert_eq!(counts(&*balance, 4, 2700), [800, 800, 800, 300]);
}

#[test]
fn a_set_that_is_built_anew_before_each_pick_has_the_same_shares() {
    let set = versioned("1112");
    let plan = split(3, 1, SplitBy::Sequence);
    let mut memory = BalancerMemory::default();
    let mut names = String::new();
    for _ in 0..12 {
        let balance = plan.build(&set, &memory);
        names += &sequence(&*balance, &set, 1);
        memory = balance.memory();
    }
    let counts = ["a", "b", "c", "d"].map(|name| names.matches(name).count());
    assert_eq!(counts, [3; 4], "{names}");
}

#[test]
fn by_key_a_caller_stays_and_a_growing_share_moves_no_other() {
    let set = versioned("12");
    let small = build(&split(90, 10, SplitBy::Key), &set);
    let large = build(&split(80, 20, SplitBy::Key), &set);
    let mut n_second = [0, 0];
    for n in 0..10_000_u32 {
        let key = hash(&n.to_be_bytes());
        let found = [is_second(&*small, key), is_second(&*large, key)];
        assert_eq!(found[0], is_second(&*small, key));
        assert!(!found[0] || found[1], "{key} went back");
        n_second[0] += u32::from(found[0]);
        n_second[1] += u32::from(found[1]);
    }
    println!("balance split by key, 10 % and 20 % of 10000 callers: {n_second:?}");
    assert_near(&n_second, &[1000, 2000], 8);
}

#[test]
fn by_key_without_a_key_goes_by_sequence() {
    let set = versioned("12");
    let balance = build(&split(3, 1, SplitBy::Key), &set);
    assert_eq!(counts(&*balance, 2, 400), [300, 100]);
}

#[test]
fn a_version_that_is_down_gives_its_calls_away() {
    for by in [SplitBy::Sequence, SplitBy::Key] {
        let set = versioned("123");
        let balance = build(&split(90, 10, by), &set);
        let found = counts_of(&*balance, 3, 100, &|member_idx| member_idx != 0);
        assert_eq!(found, [0, 100, 0], "{by:?}");
        let ask = PickRequest {
            key: Some(5),
            ..ask(&mut Rng::new(1), &|member_idx| member_idx != 0)
        };
        assert_eq!(balance.pick(&ask), Some(1), "{by:?}");
        // An unlisted version is better than none.
        let found = counts_of(&*balance, 3, 10, &|member_idx| member_idx == 2);
        assert_eq!(found, [0, 0, 10], "{by:?}");
    }
}

#[test]
fn a_share_of_zero_gets_nothing() {
    let set = versioned("12");
    let balance = build(&split(0, 10, SplitBy::Sequence), &set);
    assert_eq!(counts(&*balance, 2, 10), [0, 10]);
}

#[test]
fn refuses_shares_that_are_no_split() {
    let parts = |shares: &[(&str, u32)]| {
        let parts = shares.iter().map(|(name, share)| ((*name).into(), *share));
        TrafficSplit::new(parts.collect(), SplitBy::Sequence).map(|_| ())
    };
    assert_eq!(parts(&[]), Err(TrafficSplitError::Nothing));
    assert_eq!(
        parts(&[("1", 0), ("2", 0)]),
        Err(TrafficSplitError::Nothing)
    );
    assert_eq!(parts(&[("1", 0), ("2", 1)]), Ok(()));
    let twice = parts(&[("1", 1), ("1", 2)]).expect_err("named twice");
    assert_eq!(twice.to_string(), "version \"1\" has two shares");
}
