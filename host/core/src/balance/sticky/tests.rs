//! Which keys move and which stay.

use super::*;
use crate::{
    balance::{
        Member, Policy,
        sticky_table::SLOTS,
        tests::{ask, assert_near, build, counts, members, set},
    },
    testing::{Rng, epoch},
    text::Text,
};

/// The ids of the members of keys 0 to `n_keys`.
fn owners(balance: &dyn Balance, set: &Set, n_keys: u64, may: &dyn Fn(usize) -> bool) -> Vec<Text> {
    let mut rng = Rng::new(1);
    let mut owner = |key| {
        let ask = PickRequest {
            key: Some(key),
            ..ask(&mut rng, may)
        };
        let picked = balance.pick(&ask).expect("somebody may be");
        set.members()[picked].id.clone()
    };
    (0..n_keys).map(&mut owner).collect()
}

fn moved(before: &[Text], after: &[Text]) -> usize {
    before.iter().zip(after).filter(|(a, b)| a != b).count()
}

fn all(_: usize) -> bool {
    true
}

#[test]
fn new_keys_are_spread_by_weight_and_gateways_agree() {
    let set = set(&[3, 2, 1]);
    let owners_here = owners(&*build(Policy::Sticky, &set), &set, 6000, &all);
    let count = |id: &str| owners_here.iter().filter(|owner| **owner == id).count();
    let found = ["a", "b", "c"].map(|id| u32::try_from(count(id)).expect("few"));
    println!("balance sticky 3:2:1 over 6000 keys: {found:?}");
    assert_near(&found, &[3000, 2000, 1000], 6);
    let owners_there = owners(&*build(Policy::Sticky, &set), &set, 6000, &all);
    assert_eq!(owners_here, owners_there);
}

#[test]
fn a_key_keeps_its_member_when_others_join() {
    let (old, new) = (set(&[1; 3]), set(&[1; 4]));
    let balance = build(Policy::Sticky, &old);
    let before = owners(&*balance, &old, 1000, &all);
    let after = Policy::Sticky.build(Arc::clone(&new), &balance.memory());
    let after = owners(&*after, &new, 1000, &all);
    // Keys that met in a slot have lost their place: 1000 in 16384 slots meet 30 times.
    let n_moved = moved(&before, &after);
    let n_forgotten = moved(
        &before,
        &owners(&*build(Policy::Sticky, &new), &new, 1000, &all),
    );
    println!(
        "balance sticky: a fourth joins, {n_moved} of 1000 keys move; by hashing {n_forgotten}"
    );
    assert!(n_moved < 30, "{n_moved}");
    assert!((200..300).contains(&n_forgotten), "{n_forgotten}");
}

#[test]
fn only_keys_of_who_is_down_move_and_they_stay_when_it_is_back() {
    let set = set(&[1; 3]);
    let balance = build(Policy::Sticky, &set);
    let before = owners(&*balance, &set, 100, &all);
    let down = owners(&*balance, &set, 100, &|member_idx| member_idx != 1);
    for (had, has) in before.iter().zip(&down) {
        assert!(had == has || *had == "b", "{had} {has}");
        assert_ne!(*has, "b");
    }
    let back = owners(&*balance, &set, 100, &all);
    assert_eq!(moved(&down, &back), 0);
}

#[test]
fn a_member_without_weight_keeps_its_keys_and_gets_no_new_ones() {
    let before = set(&[1, 1]);
    let balance = build(Policy::Sticky, &before);
    let had = owners(&*balance, &before, 100, &all);
    let after = set(&[1, 0]);
    let balance = Policy::Sticky.build(Arc::clone(&after), &balance.memory());
    let has = owners(&*balance, &after, 200, &all);
    assert_eq!(moved(&had, &has[..100]), 0);
    assert!(had.iter().any(|owner| *owner == "b"));
    assert!(has[100..].iter().all(|owner| *owner == "a"));
}

#[test]
fn more_keys_than_slots_go_by_hashing() {
    let set = set(&[1; 3]);
    let balance = build(Policy::Sticky, &set);
    let n_keys = SLOTS as u64 * 3;
    let first = owners(&*balance, &set, n_keys, &all);
    let second = owners(&*balance, &set, n_keys, &all);
    assert_eq!(moved(&first, &second), 0);
}

#[test]
fn without_a_key_chance_decides_by_weight_and_nothing_is_remembered() {
    let mut members = members(&[2, 1]);
    members.push(Member {
        weight: 0,
        ..Member::new("c", epoch())
    });
    let set = Arc::new(Set::new(members));
    let sticky = Sticky::new(set, &BalancerMemory::default());
    assert_near(&counts(&sticky, 3, 6000), &[4000, 2000, 0], 6);
    assert!(sticky.table.is_empty());
}
