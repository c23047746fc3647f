//! Who gets calls when members differ: in virtual time, from seeds.

use std::time::Duration;

use super::*;
use crate::{
    balance::{
        InFlight, Member, Policy,
        tests::{ask, assert_near, build, counts, counts_of, hold, members, set},
    },
    testing::{Rng, epoch},
};

/// How a member of the simulation answers.
#[derive(Clone, Copy)]
struct Answers {
    latency_ms: u64,
    is_error: bool,
}

const fn after(latency_ms: u64) -> Answers {
    Answers {
        latency_ms,
        is_error: false,
    }
}

/// One call a millisecond for a minute; what each member got.
fn simulate(answers: &[Answers]) -> Vec<u32> {
    let set = set(&vec![1; answers.len()]);
    let balance = build(Policy::P2cEwma, &set);
    let mut rng = Rng::new(3);
    let mut counts = vec![0; answers.len()];
    let mut running: Vec<(u64, Answers, InFlight)> = Vec::new();
    for now_ms in 0..60_000 {
        let now = epoch() + Duration::from_millis(now_ms);
        for (_, answers, call) in running.extract_if(.., |(end_ms, ..)| *end_ms <= now_ms) {
            let latency = Duration::from_millis(answers.latency_ms);
            call.finish(now, latency, answers.is_error);
        }
        let ask = PickRequest {
            now,
            ..ask(&mut rng, &|_| true)
        };
        let picked = balance.pick(&ask).expect("somebody");
        counts[picked] += 1;
        let answers = answers[picked];
        let call = set.members()[picked].begin();
        running.push((now_ms + answers.latency_ms, answers, call));
    }
    counts
}

#[test]
fn equal_members_share_evenly() {
    let found = simulate(&[after(5); 3]);
    println!("balance p2c-ewma 5:5:5 ms over 60000 picks: {found:?}");
    assert_near(&found, &[20_000; 3], 3);
}

#[test]
fn the_faster_of_unequal_members_is_preferred() {
    let found = simulate(&[after(1), after(10), after(10)]);
    println!("balance p2c-ewma 1:10:10 ms over 60000 picks: {found:?}");
    // The fast one wins whenever it is among the two: in two of three pairs.
    assert_near(&found, &[40_000, 10_000, 10_000], 5);
    let found = simulate(&[after(2), after(200)]);
    println!("balance p2c-ewma 2:200 ms over 60000 picks: {found:?}");
    assert!(found[1] < 1500 && found[1] > 0, "{found:?}");
}

#[test]
fn who_fails_fast_gets_little() {
    let fails = Answers {
        latency_ms: 1,
        is_error: true,
    };
    let found = simulate(&[after(20), after(20), fails]);
    println!("balance p2c-ewma 20:20 ms and one that fails in 1 ms: {found:?}");
    assert!(found[2] < 600, "{found:?}");
}

#[test]
fn a_newcomer_among_fast_members_gets_its_first_call() {
    let mut members = members(&[1; 2]);
    let joined = epoch() + Duration::from_secs(60);
    members.push(Member::new("c", joined));
    let set = Arc::new(Set::new(members));
    let balance = build(Policy::P2cEwma, &set);
    let mut rng = Rng::new(5);
    let first = (0..60_000).find(|after_ms| {
        let now = joined + Duration::from_millis(*after_ms);
        let ask = PickRequest {
            now,
            ..ask(&mut rng, &|_| true)
        };
        let picked = balance.pick(&ask).expect("somebody");
        let call = set.members()[picked].begin();
        call.finish(now, Duration::from_millis(1), false);
        picked == 2
    });
    println!(
        "balance p2c-ewma: a newcomer at 30 ms among 1 ms has its first call after {first:?} ms"
    );
    // 30 ms fall to 1 ms in log2(30) half-lives of 7 s.
    assert!(first.is_some_and(|ms| (33_000..36_000).contains(&ms)));
}

#[test]
fn held_calls_fill_members_by_weight() {
    let set = set(&[3, 2, 1]);
    let found = hold(&*build(Policy::P2cEwma, &set), &set, 600, None);
    println!("balance p2c-ewma 3:2:1, 600 in flight: {found:?}");
    assert_near(&found, &[300, 200, 100], 5);
}

#[test]
fn each_pair_of_those_that_may_be_picked_is_as_likely() {
    let balance = build(Policy::P2cEwma, &set(&[1; 6]));
    assert_near(&counts(&*balance, 6, 6000), &[1000; 6], 8);
    let found = counts_of(&*balance, 6, 6000, &|member_idx| member_idx >= 3);
    println!("balance p2c-ewma of 6, 3 down, over 6000 picks: {found:?}");
    assert_near(&found, &[0, 0, 0, 2000, 2000, 2000], 6);
    let found = counts_of(&*balance, 6, 10, &|member_idx| member_idx == 4);
    assert_eq!(found, [0, 0, 0, 0, 10, 0]);
}
