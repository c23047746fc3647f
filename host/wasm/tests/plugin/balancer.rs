//! Role `balancer`: picks, and what becomes of a guest that does not do its part.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use postern_wasm::{
    Ask, Candidate, CandidateSet, Entries, EntryOutcome, OnTrap, Outcome, Plugin, PluginSpec, Role,
    TrapReason,
};

use crate::guest::{Fixture, balancer, marked, typed, waiting};

const TRAP: u64 = 1000;
const LOOP: u64 = 1001;
const NONSENSE: u64 = 1002;
const NONE: u64 = 1003;
const UPDATES: u64 = 1004;
const WEIGHTS: u64 = 1005;
const DONE: u64 = 1006;
const USABLE: u64 = 1007;
const CHANCE: u64 = 1008;
const WORK: u64 = 1009;

/// `n` candidates of weight 100.
fn candidates(n: usize) -> Vec<Candidate> {
    let candidate = |index| Candidate {
        id: format!("users-{index}"),
        weight: 100,
        zone: Some("eu".to_owned()),
        metadata: vec![("rack".to_owned(), "7".to_owned())],
        ..Candidate::default()
    };
    (0..n).map(candidate).collect()
}

fn set(plugin: &Arc<Plugin>, n: usize) -> CandidateSet {
    let balancer = plugin.balancer("users").unwrap();
    balancer.set(candidates(n))
}

fn pick(set: &CandidateSet, key: u64) -> Option<usize> {
    pick_at(set, key, Instant::now())
}

fn pick_at(set: &CandidateSet, key: u64, now: Instant) -> Option<usize> {
    set.pick(&Ask {
        now,
        random: 0,
        key: Some(key),
        call: None,
        may: &|_| true,
    })
}

fn entries(plugin: &Plugin) -> Entries {
    let mut entries = plugin.stats().snapshot().entries;
    entries.retain(|entries| entries.role == Role::Balancer);
    entries.pop().unwrap()
}

#[tokio::test]
async fn a_component_picks_and_is_told_of_its_set_once() {
    let fixture = Fixture::new();
    let plugin = fixture
        .shared("b", &balancer(), PluginSpec::default())
        .await;
    let set = set(&plugin, 300);
    for (key, place) in [(0, 0), (1, 1), (299, 299), (300, 0), (302, 2)] {
        assert_eq!(pick(&set, key), Some(place));
    }
    assert_eq!(pick(&set, UPDATES), Some(1));
    assert_eq!(entries(&plugin).with(EntryOutcome::Answered), 6);
    let status = plugin.status();
    assert_eq!(status.roles, [Role::Balancer]);
    assert!(status.services.is_empty(), "a balancer answers no calls");
}

#[tokio::test]
async fn records_cross_whole_and_a_new_set_is_told() {
    let fixture = Fixture::new();
    let plugin = fixture
        .shared("b", &balancer(), PluginSpec::default())
        .await;
    let balancer = plugin.balancer("users").unwrap();
    let old = balancer.set(candidates(500));
    assert_eq!(pick(&old, WEIGHTS), None, "an index beyond the set");
    let new = balancer.set(vec![
        Candidate {
            weight: 1,
            ..Candidate::default()
        };
        7
    ]);
    assert_eq!(pick(&new, UPDATES), Some(2));
    assert_eq!(pick(&new, 8), Some(1));
    // Seven weights of 1 are one past the last index.
    assert_eq!(pick(&new, WEIGHTS), None);
    assert_eq!(entries(&plugin).with(EntryOutcome::Nonsense), 2);
}

#[tokio::test]
async fn an_endless_pick_ends_by_its_budget_and_a_finite_one_always_fits() {
    let fixture = Fixture::new();
    let plugin = fixture
        .shared("b", &balancer(), PluginSpec::default())
        .await;
    let set = set(&plugin, 3);
    for _ in 0..200 {
        assert_eq!(pick(&set, WORK), Some(0));
    }
    assert_eq!(pick(&set, LOOP), None);
    let entries = entries(&plugin);
    assert_eq!(entries.with(EntryOutcome::OverBudget), 1);
    assert_eq!(entries.with(EntryOutcome::Answered), 200);
    let snapshot = plugin.stats().snapshot();
    assert_eq!(snapshot.traps_with(TrapReason::TimeLimit), 1);
}

#[tokio::test]
async fn a_smaller_budget_refuses_the_same_work() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    spec.budgets.balancer = Duration::from_micros(10);
    let plugin = fixture.shared("b", &balancer(), spec).await;
    let set = set(&plugin, 3);
    assert_eq!(pick(&set, 2), Some(2));
    assert_eq!(pick(&set, WORK), None);
    assert_eq!(entries(&plugin).with(EntryOutcome::OverBudget), 1);
}

#[tokio::test]
async fn a_trap_keeps_the_guest_out_for_a_while_that_doubles() {
    let fixture = Fixture::new();
    let plugin = fixture
        .shared("b", &balancer(), PluginSpec::default())
        .await;
    let set = set(&plugin, 3);
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    assert_eq!(pick_at(&set, TRAP, start), None);
    assert_eq!(pick_at(&set, 1, at(99)), None);
    assert_eq!(pick_at(&set, 1, at(100)), Some(1));
    // The new instance was told of the set, and knows nothing of the one before.
    assert_eq!(pick_at(&set, UPDATES, at(101)), Some(1));
    assert_eq!(pick_at(&set, TRAP, at(110)), None);
    assert_eq!(pick_at(&set, 1, at(309)), None);
    assert_eq!(pick_at(&set, 1, at(310)), Some(1));
    let entries = entries(&plugin);
    assert_eq!(entries.with(EntryOutcome::Trapped), 2);
    assert_eq!(entries.with(EntryOutcome::Quarantined), 2);
}

#[tokio::test]
async fn nonsense_none_and_unusable_are_left_to_the_native_balancer_and_counted_apart() {
    let fixture = Fixture::new();
    let plugin = fixture
        .shared("b", &balancer(), PluginSpec::default())
        .await;
    let set = set(&plugin, 3);
    assert_eq!(pick(&set, NONSENSE), None);
    assert_eq!(pick(&set, NONE), None);
    let ask = |key, may| Ask {
        now: Instant::now(),
        random: 5,
        key,
        call: None,
        may,
    };
    let may = |index| index != 1;
    assert_eq!(set.pick(&ask(Some(1), &may)), None);
    assert_eq!(set.pick(&ask(Some(2), &may)), Some(2));
    // Without a key chance takes its place.
    assert_eq!(set.pick(&ask(None, &may)), Some(2));
    let entries = entries(&plugin);
    assert_eq!(entries.with(EntryOutcome::Nonsense), 1);
    assert_eq!(entries.with(EntryOutcome::Declined), 1);
    assert_eq!(entries.with(EntryOutcome::Unusable), 1);
    assert_eq!(
        plugin.stats().snapshot().traps,
        [0; _],
        "nobody was stopped"
    );
}

#[tokio::test]
async fn a_guest_may_ask_who_is_usable_and_for_chance() {
    let fixture = Fixture::new();
    let plugin = fixture
        .shared("b", &balancer(), PluginSpec::default())
        .await;
    let set = set(&plugin, 70);
    let ask = |key, may| Ask {
        now: Instant::now(),
        random: 73,
        key: Some(key),
        call: None,
        may,
    };
    assert_eq!(set.pick(&ask(USABLE, &|index| index >= 65)), Some(65));
    assert_eq!(set.pick(&ask(CHANCE, &|_| true)), Some(3));
}

#[tokio::test]
async fn a_guest_is_told_how_its_calls_ended() {
    let fixture = Fixture::new();
    let plugin = fixture
        .shared("b", &balancer(), PluginSpec::default())
        .await;
    let old = set(&plugin, 2);
    let set = set(&plugin, 1000);
    assert_eq!(pick(&set, 1), Some(1));
    set.done(1, Outcome::Ok, Duration::from_micros(2));
    set.done(2, Outcome::TimedOut, Duration::from_micros(3));
    set.done(3, Outcome::Failed, Duration::ZERO);
    // Of another set: it could not know what the index means.
    old.done(1, Outcome::Ok, Duration::ZERO);
    assert_eq!(pick(&set, DONE), Some(1 + 200 + 2 + 20 + 300 + 3 + 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_takes_over_under_picks_without_one_that_fails() {
    let fixture = Fixture::new();
    let text = include_str!("guest/balancer.wat");
    let plugin = fixture
        .shared("b", &typed(&marked(text, 0)), PluginSpec::default())
        .await;
    let set = Arc::new(set(&plugin, 3));
    let asking = Arc::clone(&set);
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let picks = tokio::spawn(async move {
        let mut n_picks = 0_u64;
        while stopped.try_recv().is_err() {
            assert_eq!(pick(&asking, n_picks), Some((n_picks % 3) as usize));
            n_picks += 1;
            tokio::task::yield_now().await;
            if n_picks == 1000 {
                n_picks = 0;
            }
        }
    });
    for number in 1..6 {
        let next = typed(&marked(text, number));
        plugin
            .deploy(next.into(), PluginSpec::default())
            .await
            .unwrap();
    }
    stop.send(()).unwrap();
    picks.await.unwrap();
    assert_eq!(pick(&set, 2), Some(2));
    assert_eq!(plugin.status().draining, 0, "no generation is held");
    plugin.remove().await;
    assert_eq!(pick(&set, 2), None);
    assert_eq!(plugin.stats().snapshot().instances_live, 0);
}

#[tokio::test]
async fn what_would_wait_is_a_trap_with_its_name() {
    let fixture = Fixture::new();
    for (key, function) in [(0, "wasi:io/poll.block"), (1, "postern:gateway/kv.get")] {
        let spec = PluginSpec {
            on_trap: OnTrap::Stop,
            ..PluginSpec::default()
        };
        let plugin = fixture.shared("b", &waiting(), spec).await;
        assert_eq!(pick(&set(&plugin, 3), key), None);
        assert_eq!(entries(&plugin).with(EntryOutcome::Trapped), 1);
        let reason = plugin.status().stopped.unwrap();
        assert!(reason.contains(function), "{reason}");
        assert!(reason.contains("may wait"), "{reason}");
    }
}

#[tokio::test]
async fn standard_error_never_waits() {
    let fixture = Fixture::new();
    let plugin = fixture.shared("b", &waiting(), PluginSpec::default()).await;
    assert_eq!(pick(&set(&plugin, 3), 2), Some(0));
    assert_eq!(entries(&plugin).with(EntryOutcome::Answered), 1);
}
