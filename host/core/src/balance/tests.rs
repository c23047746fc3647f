//! What holds for every balancer, whatever it prefers; and what the tests beside each share.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    testing::{Rng, epoch},
    text::Text,
};

/// A call for everybody, with a key when `key` says so.
pub(super) fn ask<'a>(rng: &mut Rng, may: &'a dyn Fn(usize) -> bool) -> PickRequest<'a> {
    PickRequest {
        now: epoch(),
        random: rng.next_u64(),
        key: None,
        may,
    }
}

/// Members `a`, `b`, `c`, ... of these weights, available since the epoch.
pub(super) fn members(weights: &[u32]) -> Vec<Member> {
    let member = |(index, weight): (u8, &u32)| Member {
        weight: *weight,
        ..Member::new(name(index), epoch())
    };
    (0..).zip(weights).map(member).collect()
}

pub(super) fn set(weights: &[u32]) -> Arc<Set> {
    Arc::new(Set::new(members(weights)))
}

pub(super) fn build(policy: Policy, set: &Arc<Set>) -> Box<dyn Balance> {
    policy.build(Arc::clone(set), &BalancerMemory::default())
}

/// How often each of `n_members` is picked in `n_picks`, no call lasting until the next.
pub(super) fn counts(balance: &dyn Balance, n_members: usize, n_picks: u32) -> Vec<u32> {
    counts_of(balance, n_members, n_picks, &|_| true)
}

pub(super) fn counts_of(
    balance: &dyn Balance,
    n_members: usize,
    n_picks: u32,
    may: &dyn Fn(usize) -> bool,
) -> Vec<u32> {
    let mut rng = Rng::new(7);
    let mut counts = vec![0; n_members];
    for _ in 0..n_picks {
        let picked = balance.pick(&ask(&mut rng, may)).expect("somebody may be");
        counts[picked] += 1;
    }
    counts
}

/// The names of `n_picks` members in the order in which they are picked.
pub(super) fn sequence(balance: &dyn Balance, set: &Set, n_picks: u32) -> String {
    let mut rng = Rng::new(7);
    let mut pick = || balance.pick(&ask(&mut rng, &|_| true));
    let mut names = (0..n_picks).map(|_| set.members()[pick().expect("somebody")].id.clone());
    names.by_ref().map(|name| name.to_string()).collect()
}

/// Every call stays in flight; what each member has in the end.
pub(super) fn hold(balance: &dyn Balance, set: &Set, n_calls: u32, key: Option<u64>) -> Vec<u32> {
    let mut rng = Rng::new(11);
    let mut held = Vec::new();
    for _ in 0..n_calls {
        let ask = PickRequest {
            key,
            ..ask(&mut rng, &|_| true)
        };
        let picked = balance.pick(&ask).expect("somebody may be");
        held.push(set.members()[picked].begin());
    }
    let loads = set.members().iter().map(|member| member.load.in_flight());
    loads.collect()
}

/// Each count is within `percent` of what is expected.
pub(super) fn assert_near(found: &[u32], expected: &[u32], percent: u32) {
    assert_eq!(found.len(), expected.len());
    for (found_one, expected_one) in found.iter().zip(expected) {
        let off = found_one.abs_diff(*expected_one);
        assert!(
            off * 100 <= expected_one * percent,
            "{found:?}, not {expected:?} within {percent} %"
        );
    }
}

fn name(index: u8) -> String {
    char::from(b'a' + index).to_string()
}

/// A member and whether it may be picked.
fn some_member() -> impl Strategy<Value = (Member, bool)> {
    let text = |values: &'static [&'static str]| {
        let texts = values.iter().map(|value| Text::from_static(value));
        proptest::option::of(proptest::sample::select(texts.collect::<Vec<_>>()))
    };
    let weight = prop_oneof![Just(0), 1..4_u32, Just(u32::MAX)];
    let in_flight = prop_oneof![Just(0_u32), 0..80_u32];
    let age = 0..20_000_u64;
    let parts = (
        weight,
        text(&["eu", "us"]),
        text(&["1", "2"]),
        in_flight,
        age,
    );
    (parts, any::<bool>()).prop_map(|((weight, zone, version, in_flight, age_ms), may)| {
        let mut member = Member::new("", epoch() + Duration::from_millis(age_ms));
        (member.weight, member.zone, member.version) = (weight, zone, version);
        // In flight for as long as the test.
        (0..in_flight).for_each(|_| std::mem::forget(member.begin()));
        (member, may)
    })
}

fn some_plan() -> impl Strategy<Value = Plan> {
    let unbounded = Policy::Hash {
        load_factor_percent: None,
    };
    let policies = Policy::ALL.into_iter().chain([unbounded]);
    let by = prop_oneof![Just(SplitBy::Sequence), Just(SplitBy::Key)];
    let split = (by, 0..4_u32, 1..4_u32).prop_map(|(by, first, second)| {
        let parts = vec![("1".into(), first), ("2".into(), second)];
        TrafficSplit::new(parts, by).expect("a share above 0")
    });
    let spill = (0..=100_u8, 0..40_u32).prop_map(|(minimum_percent, busy_calls)| Spill {
        minimum_percent,
        busy_calls,
    });
    (
        proptest::sample::select(policies.collect::<Vec<_>>()),
        proptest::option::of(spill),
        proptest::option::of(split),
    )
        .prop_map(|(policy, spill, split)| Plan {
            policy,
            spill,
            split,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn picks_somebody_exactly_while_somebody_may_be_picked(
        plan in some_plan(),
        chosen in proptest::collection::vec(some_member(), 0..7),
        zone in proptest::option::of(Just(Text::from_static("eu"))),
        keys in proptest::collection::vec(any::<(u64, Option<u64>)>(), 1..6),
    ) {
        let (mut members, may): (Vec<_>, Vec<_>) = chosen.into_iter().unzip();
        for (index, member) in (0..).zip(&mut members) {
            member.id = name(index).into();
        }
        let slow_start = SlowStart::over(Duration::from_secs(10));
        let set = Arc::new(Set::new(members).in_zone(zone).with_slow_start(slow_start));
        let balance = plan.build(&set, &BalancerMemory::default());
        let again = plan.build(&set, &balance.memory());
        for (step, (random, key)) in (0..).zip(keys) {
            let now = epoch() + Duration::from_secs(step * 5);
            let ask = PickRequest { now, random, key, may: &|member_idx| may[member_idx] };
            for balance in [&balance, &again] {
                match balance.pick(&ask) {
                    Some(picked) => prop_assert!(may[picked], "{picked} may not be picked"),
                    None => prop_assert!(!may.contains(&true), "somebody may be picked"),
                }
            }
        }
    }
}

#[test]
fn who_stands_by_is_picked_only_when_nobody_else_may_be() {
    let set = set(&[0, 1, 1]);
    for policy in Policy::ALL {
        let balance = build(policy, &set);
        let found = counts(&*balance, 3, 300);
        assert_eq!(found[0], 0, "{}", policy.name());
        let found = counts_of(&*balance, 3, 10, &|member_idx| member_idx == 0);
        assert_eq!(found, [10, 0, 0], "{}", policy.name());
    }
}

#[test]
fn a_plan_that_gains_or_loses_zones_and_versions_remembers_its_turns() {
    let zoned = |zones: [&str; 3]| {
        let mut members = members(&[1; 3]);
        for (member, zone) in members.iter_mut().zip(zones) {
            (member.zone, member.version) = (Some(zone.into()), Some("1".into()));
        }
        Arc::new(Set::new(members).in_zone(Some("eu".into())))
    };
    let parts = vec![("1".into(), 1)];
    let plain = Plan {
        spill: Some(Spill::default()),
        ..Plan::default()
    };
    let split = Plan {
        split: Some(TrafficSplit::new(parts, SplitBy::Sequence).expect("a share above 0")),
        ..plain.clone()
    };
    let (one, two) = (zoned(["eu"; 3]), zoned(["eu", "eu", "us"]));
    let mut memory = BalancerMemory::default();
    let mut names = String::new();
    for (plan, set) in [
        (&plain, &one),
        (&split, &two),
        (&plain, &two),
        (&plain, &one),
    ] {
        let balance = plan.build(set, &memory);
        names += &sequence(&*balance, set, 1);
        memory = balance.memory();
    }
    assert_eq!(names, "abab");
}
