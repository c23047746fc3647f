//! Shares of keys, which keys move, and the bound on the load.

use proptest::prelude::*;

use super::*;
use crate::{
    balance::{
        BalancerMemory, InFlight, Policy,
        tests::{ask, assert_near, build, hold, members, set},
    },
    testing::Rng,
};

const UNBOUNDED: Policy = Policy::Hash {
    load_factor_percent: None,
};
const BOUNDED: Policy = Policy::Hash {
    load_factor_percent: Some(125),
};

/// The id of the member that has `key`.
fn owner(balance: &dyn Balance, set: &Set, key: u64, may: &dyn Fn(usize) -> bool) -> String {
    let ask = PickRequest {
        key: Some(key),
        ..ask(&mut Rng::new(0), may)
    };
    let picked = balance.pick(&ask).expect("somebody may be");
    set.members()[picked].id.to_string()
}

fn without(set: &Set, index: usize) -> Arc<Set> {
    let mut members = set.members().to_vec();
    members.remove(index);
    Arc::new(Set::new(members))
}

#[test]
fn keys_are_spread_by_weight() {
    let set = set(&[3, 2, 1]);
    let balance = build(UNBOUNDED, &set);
    let mut found = [0; 3];
    for n in 0..60_000 {
        let key = hash(format!("user-{n}").as_bytes());
        let name = owner(&*balance, &set, key, &|_| true);
        found["abc".find(&name).expect("one of three")] += 1;
    }
    println!("balance hash 3:2:1 over 60000 keys: {found:?}");
    // One deviation is 4 %, 6 % and 9 % (one part in the root of the points).
    assert_near(&found, &[30_000, 20_000, 10_000], 18);
}

#[test]
fn without_a_key_chance_decides() {
    let balance = build(UNBOUNDED, &set(&[1; 4]));
    let found = crate::balance::tests::counts(&*balance, 4, 8000);
    println!("balance hash without keys over 8000 picks: {found:?}");
    assert_near(&found, &[2000; 4], 15);
}

#[test]
fn keys_never_change_their_member() {
    // What gateways of different versions must agree on; computed apart from the file's code.
    let set = set(&[1; 5]);
    let balance = build(UNBOUNDED, &set);
    let key = |n: u32| hash(format!("user-{n}").as_bytes());
    let owners = (1..=12).map(|n| owner(&*balance, &set, key(n), &|_| true));
    assert_eq!(owners.collect::<String>(), "bcadbcbecadd");
}

#[test]
fn the_heaviest_member_has_256_to_512_points_and_large_sets_fewer() {
    let count = |weights: &[u32], index: usize| {
        let points = points(&Set::new(members(weights)));
        points.iter().filter(|(_, owner)| *owner == index).count()
    };
    assert_eq!(count(&[1, 1], 0), 512);
    assert_eq!(count(&[3, 1], 0), 384);
    assert_eq!(count(&[3, 1], 1), 128);
    assert_eq!(count(&[257, 1], 0), 257);
    assert_eq!(count(&[u32::MAX, 1], 1), 1);
    assert_eq!(count(&[1, 0], 1), 0);
    let many = |n: u64| {
        let named = |n| Member::new(format!("m{n}"), crate::testing::epoch());
        points(&Set::new((0..n).map(named).collect())).len() as u64
    };
    assert_eq!(many(512), 512 * 512);
    assert_eq!(many(513), 513 * 256);
}

#[test]
fn a_hot_key_fills_its_member_to_the_bound_and_goes_on() {
    let set = set(&[1; 3]);
    let mut found = hold(&*build(BOUNDED, &set), &set, 600, Some(1));
    println!("balance hash, one key, 600 in flight, factor 1.25: {found:?}");
    found.sort_unstable();
    // ceil(1.25 * 600 / 3), twice, and the rest.
    assert_eq!(found, [100, 250, 250]);
    let set = crate::balance::tests::set(&[1; 3]);
    let mut found = hold(&*build(UNBOUNDED, &set), &set, 600, Some(1));
    found.sort_unstable();
    assert_eq!(found, [0, 0, 600]);
}

#[test]
fn a_factor_of_one_fills_evenly() {
    let even = Policy::Hash {
        load_factor_percent: Some(100),
    };
    let set = set(&[3, 2, 1]);
    assert_eq!(
        hold(&*build(even, &set), &set, 600, Some(1)),
        [300, 200, 100]
    );
}

#[test]
fn a_bound_holds_in_a_set_that_is_nearly_all_down() {
    // The walk by points gives up, the search by members does not.
    let set = set(&[1; 26]);
    let balance = build(BOUNDED, &set);
    let may = |member_idx: usize| member_idx == 3 || member_idx == 17;
    let mut held = Vec::new();
    let mut rng = Rng::new(9);
    for _ in 0..200 {
        let ask = PickRequest {
            key: Some(rng.next_u64()),
            ..ask(&mut rng, &may)
        };
        let picked = balance.pick(&ask).expect("two may be");
        held.push(set.members()[picked].begin());
        let loads = [3, 17].map(|idx: usize| set.members()[idx].load.in_flight());
        let most = (125 * (loads[0] + loads[1])).div_ceil(200);
        assert!(
            loads.iter().all(|load| *load <= most),
            "{loads:?} over {most}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_member_that_leaves_or_is_down_moves_only_its_own_keys(
        // All between two powers of two: the unit stays.
        weights in proptest::collection::vec(5..=8_u32, 2..8),
        gone in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let gone = gone.index(weights.len());
        let before = set(&weights);
        let after = without(&before, gone);
        let balance = build(UNBOUNDED, &before);
        let rest = build(UNBOUNDED, &after);
        let name = before.members()[gone].id.to_string();
        for step in 0..200 {
            let key = hash::nth(seed, step);
            let had = owner(&*balance, &before, key, &|_| true);
            let has = owner(&*rest, &after, key, &|_| true);
            let down = owner(&*balance, &before, key, &|member_idx| member_idx != gone);
            prop_assert!(had == name || had == has, "{key} moved from {had} to {has}");
            prop_assert_eq!(down, has);
        }
    }

    #[test]
    fn the_order_of_the_set_does_not_matter(weights in proptest::collection::vec(1..9_u32, 1..8)) {
        let one = set(&weights);
        let reversed = one.members().iter().rev().cloned().collect();
        let two = Arc::new(Set::new(reversed));
        let balances = [build(UNBOUNDED, &one), build(UNBOUNDED, &two)];
        for key in 0..100 {
            let first = owner(&*balances[0], &one, key, &|_| true);
            prop_assert_eq!(first, owner(&*balances[1], &two, key, &|_| true));
        }
    }

    #[test]
    fn no_member_is_above_its_bound_while_another_may_take_the_call(
        weights in proptest::collection::vec(1..6_u32, 1..6),
        percent in 100..200_u32,
        down in any::<u8>(),
        seed in any::<u64>(),
    ) {
        let set = set(&weights);
        let policy = Policy::Hash { load_factor_percent: Some(percent) };
        let balance = policy.build(Arc::clone(&set), &BalancerMemory::default());
        // One of them is always up.
        let may = |member_idx: usize| member_idx == 0 || down >> member_idx & 1 == 0;
        let up: Vec<_> = (0..set.len()).filter(|idx| may(*idx)).collect();
        let weight: u64 = up.iter().map(|idx| u64::from(weights[*idx])).sum();
        let mut rng = Rng::new(seed);
        let mut held: Vec<InFlight> = Vec::new();
        for _ in 0..300 {
            if rng.chance(40) && !held.is_empty() {
                let call = usize::try_from(rng.below(held.len() as u64)).expect("small");
                drop(held.swap_remove(call));
            }
            // Few keys, so that some are hot.
            let ask = PickRequest { key: Some(rng.below(3)), ..ask(&mut rng, &may) };
            let picked = balance.pick(&ask).expect("the first is up");
            held.push(set.members()[picked].begin());
            let in_flight = |idx: &usize| u64::from(set.members()[*idx].load.in_flight());
            let calls: u64 = up.iter().map(in_flight).sum();
            let share = u64::from(percent) * calls * u64::from(weights[picked]);
            let most = share.div_ceil(100 * weight);
            prop_assert!(in_flight(&picked) <= most, "{} over {most}", in_flight(&picked));
        }
    }
}
