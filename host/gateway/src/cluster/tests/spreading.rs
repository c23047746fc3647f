//! Each policy spreads calls as its definition says.

use std::sync::Arc;

use postern_core::{
    Headers, Principal,
    balance::{Plan, Policy, SplitBy, TrafficSplit},
    registry::Version,
};

use super::{
    super::{DecisionLog, HashOn, ServicePolicy, SubsetRule},
    fixture::{Does, Fixture, call, text},
};

const THREE: [&str; 3] = ["a", "b", "c"];

fn counts(fixture: &Fixture) -> [u64; 3] {
    THREE.map(|name| fixture.n_calls(name))
}

fn by(policy: Policy) -> impl FnOnce(&mut ServicePolicy) {
    move |service| service.plan = Plan::from(policy)
}

#[tokio::test(start_paused = true)]
async fn round_robin_and_weighted_are_exact() {
    let fixture = Fixture::new(&THREE, by(Policy::RoundRobin));
    assert_eq!(fixture.calls("Get", 300).await, 0);
    assert_eq!(counts(&fixture), [100, 100, 100]);
    let fixture = Fixture::new(&THREE, |service| {
        service.plan = Plan::from(Policy::Weighted);
        service.weights = [("a".into(), 3), ("b".into(), 2), ("c".into(), 1)].into();
    });
    fixture.calls("Get", 600).await;
    assert_eq!(counts(&fixture), [300, 200, 100]);
    assert_eq!(fixture.numbers().picks["native"], 600);
}

#[tokio::test(start_paused = true)]
async fn least_connections_leaves_who_is_busy() {
    let fixture = Fixture::new(&THREE, by(Policy::LeastConnections));
    fixture.tell("a", Does::Hang);
    let hung: Vec<_> = (0..30).map(|_| tokio::spawn(fixture.call("Get"))).collect();
    tokio::task::yield_now().await;
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let n_hung = u64::from(fixture.instance("a").in_flight);
    assert!((1..=30).contains(&n_hung));
    let before = fixture.n_calls("a");
    fixture.calls("Get", 60).await;
    assert_eq!(
        fixture.n_calls("a"),
        before,
        "the others are free each time"
    );
    hung.into_iter().for_each(|task| task.abort());
}

#[tokio::test(start_paused = true)]
async fn p2c_prefers_who_is_fast() {
    let fixture = Fixture::new(&THREE, by(Policy::P2cEwma));
    fixture.tell(
        "a",
        Does::AnswerAfter(std::time::Duration::from_millis(200)),
    );
    for name in ["b", "c"] {
        fixture.tell(name, Does::AnswerAfter(std::time::Duration::from_millis(5)));
    }
    fixture.calls("Get", 600).await;
    let [slow, b, c] = counts(&fixture);
    // Both of two would have to be the slow one; what is forgotten lets it have a few.
    assert!(slow < 60, "{slow} of 600");
    assert!(b > 200 && c > 200, "{b} {c}");
}

#[tokio::test(start_paused = true)]
async fn a_key_stays_with_its_instance() {
    for policy in [Policy::Sticky, Policy::ALL[4]] {
        let fixture = Fixture::new(&THREE, |service| {
            service.plan = Plan::from(policy);
            service.hash_on = HashOn::Header("x-user".into());
        });
        let mut candidates = std::collections::BTreeSet::new();
        for user in 0..60 {
            let ask = || async {
                let mut keyed = call("Get");
                let mut headers = Headers::new();
                let value = format!("user-{user}");
                headers.push(b"x-user", value.as_bytes()).expect("short");
                keyed.headers = headers;
                text(fixture.cluster().call(keyed, &DecisionLog::off()).await)
            };
            let first = ask().await;
            for _ in 0..5 {
                assert_eq!(ask().await, first, "{policy:?}");
            }
            candidates.insert(first);
        }
        assert_eq!(candidates.len(), 3, "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_own_zone_comes_first_and_others_when_it_is_gone() {
    let zones = ["eu", "us", "us"];
    let describe = |index: usize, draft: &mut postern_core::registry::Draft| {
        draft.zone = Some(zones[index].into());
    };
    let mut fixture = Fixture::with(&THREE, None, |_| {}, describe);
    fixture.zone = Some("eu".into());
    fixture.rebuild();
    fixture.calls("Get", 100).await;
    assert_eq!(counts(&fixture), [100, 0, 0]);
    fixture.remove("a");
    fixture.rebuild();
    assert_eq!(fixture.calls("Get", 100).await, 0);
    assert_eq!(counts(&fixture), [100, 50, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_split_of_90_to_10_is_90_to_10() {
    let versions = ["1.4.0", "1.5.2", "2.0.1"];
    let describe = |index: usize, draft: &mut postern_core::registry::Draft| {
        draft.version = Some(Version::parse(versions[index]).expect("a version"));
    };
    let change = |service: &mut ServicePolicy| {
        let parts = vec![("1".into(), 90), ("2".into(), 10)];
        let split = TrafficSplit::new(parts, SplitBy::Sequence).expect("a split");
        service.plan.split = Some(split);
    };
    let fixture = Fixture::with(&THREE, None, change, describe);
    fixture.calls("Get", 1000).await;
    assert_eq!(counts(&fixture), [450, 450, 100]);
}

#[tokio::test(start_paused = true)]
async fn a_call_gets_the_version_that_it_asks_for() {
    let versions = ["1.4.0", "1.5.2", "2.0.1"];
    let describe = |index: usize, draft: &mut postern_core::registry::Draft| {
        draft.version = Some(Version::parse(versions[index]).expect("a version"));
    };
    let fixture = Fixture::with(&THREE, None, |_| {}, describe);
    let ask = |version: &str| {
        let mut versioned = call("Get");
        versioned.version = Some(version.into());
        fixture.cluster().call(versioned, &DecisionLog::off())
    };
    for _ in 0..4 {
        assert_eq!(text(ask("2").await), "c");
    }
    let error = ask("3").await.expect_err("nobody has it");
    assert_eq!(
        error.to_string(),
        "not-found: service users has version 1.4.0, 1.5.2, 2.0.1, not ^3"
    );
}

#[tokio::test(start_paused = true)]
async fn a_header_chooses_a_subset() {
    let describe = |index: usize, draft: &mut postern_core::registry::Draft| {
        let region = ["eu", "us", "us"][index];
        draft.metadata.insert("region".into(), region.into());
    };
    for is_required in [false, true] {
        let change = |service: &mut ServicePolicy| {
            service.subset = SubsetRule {
                headers: vec![("region".into(), "x-region".into())],
                is_required,
            };
        };
        let fixture = Fixture::with(&THREE, None, change, describe);
        let ask = |region: &str| {
            let mut regional = call("Get");
            let mut headers = Headers::new();
            headers.push(b"x-region", region.as_bytes()).expect("short");
            regional.headers = headers;
            fixture.cluster().call(regional, &DecisionLog::off())
        };
        for _ in 0..10 {
            assert_eq!(text(ask("eu").await), "a");
        }
        let asia = ask("asia").await;
        assert_eq!(asia.is_err(), is_required);
        if let Err(error) = asia {
            let message = "service users has no live instance with region=asia";
            assert_eq!(error.message, message);
        }
        assert_eq!(
            fixture.numbers().picks_out_of_subset,
            u64::from(!is_required)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_lacks_the_permission_learns_of_nothing() {
    let describe = |_: usize, draft: &mut postern_core::registry::Draft| {
        draft.permissions.insert("traders".into());
    };
    let fixture = Fixture::with(&["a"], None, |_| {}, describe);
    let (error, _) = fixture.fails("Get").await;
    assert_eq!(error.to_string(), "not-found: no service users");
    let mut allowed = call("Get");
    allowed.context.principal = Some(Arc::new(Principal {
        name: "ann".into(),
        roles: vec!["traders".into()],
        claims: Vec::new(),
    }));
    let reply = fixture.cluster().call(allowed, &DecisionLog::off()).await;
    assert_eq!(text(reply), "a");
    assert!(fixture.cluster().direct().is_none());
}
