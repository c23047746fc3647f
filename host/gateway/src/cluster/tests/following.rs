//! Clusters follow the directory and the policies, and keep what they learned.

use std::sync::Arc;

use postern_core::{
    Kind, Text,
    registry::{Draft, HealthSource, Incarnation, Owner},
    resilience::RetryConfig,
    service::MethodInfo,
};
use postern_system::clock::now;

use super::{
    super::{Policies, ServicePolicy},
    stage::{Does, SERVICE, Stage},
};

fn once(service: &mut ServicePolicy) {
    let config = RetryConfig {
        attempts_max: 1,
        ..RetryConfig::default()
    };
    service.retry = postern_core::resilience::RetryPolicy::new(config).expect("it works");
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_keeps_counters_breakers_and_turns() {
    let mut stage = Stage::new(&["a", "b"], |service| {
        once(service);
        service.outlier = None;
    });
    let before = stage.cluster();
    stage.tell("a", Does::Fail(Kind::Internal));
    assert_eq!(stage.calls("Get", 9).await, 5);
    assert_eq!(stage.instance("a").breaker, Some("open"));
    stage.add("c", |_| {});
    let after = stage.rebuild();
    assert!(Arc::ptr_eq(&before, &after));
    let instance = stage.instance("a");
    assert_eq!((instance.breaker, instance.failures), (Some("open"), 5));
    assert_eq!(stage.numbers().calls, 9);
    assert_eq!(stage.calls("Get", 10).await, 0);
    assert_eq!((stage.n_calls("a"), stage.n_calls("c")), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn a_later_life_of_an_instance_begins_with_a_closed_breaker() {
    let mut stage = Stage::new(&["a", "b"], |service| {
        once(service);
        service.outlier = None;
    });
    stage.tell("a", Does::Fail(Kind::Internal));
    stage.calls("Get", 9).await;
    assert_eq!(stage.instance("a").breaker, Some("open"));
    stage.tell("a", Does::Answer);
    stage.add("a", |draft| draft.incarnation = Incarnation(1));
    stage.rebuild();
    assert_eq!(stage.instance("a").breaker, Some("closed"));
    assert_eq!(stage.calls("Get", 10).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_changed_policy_takes_effect_and_resets_only_what_it_changes() {
    let mut stage = Stage::new(&["a"], |service| {
        once(service);
        service.outlier = None;
    });
    stage.tell("a", Does::Fail(Kind::Internal));
    stage.calls("Get", 5).await;
    stage.policy.timeout = Some(super::stage::SECOND);
    stage.rebuild();
    assert_eq!(stage.instance("a").breaker, Some("open"));
    stage.policy.breaker = None;
    stage.rebuild();
    assert_eq!(stage.instance("a").breaker, None);
    stage.calls("Get", 1).await;
    assert_eq!(stage.n_calls("a"), 6);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_for_where_nothing_changed() {
    let mut stage = Stage::new(&["a", "b"], |_| {});
    let snapshot = stage.directory.snapshot();
    let policies = Policies::new(stage.policy.clone(), [], None);
    let n_asked = std::cell::Cell::new(0);
    let connect = |_: &postern_core::registry::Instance| {
        n_asked.set(n_asked.get() + 1);
        None
    };
    stage.clusters.rebuild(&snapshot, &policies, &connect);
    assert_eq!(n_asked.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_left_drains() {
    let mut stage = Stage::new(&["a", "b"], |_| {});
    stage.tell("a", Does::AnswerAfter(super::stage::SECOND));
    let under_way = [
        tokio::spawn(stage.call("Get")),
        tokio::spawn(stage.call("Get")),
    ];
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    stage.remove("a");
    stage.rebuild();
    assert_eq!(stage.calls("Get", 10).await, 0);
    assert_eq!((stage.n_calls("a"), stage.n_calls("b")), (1, 11));
    for call in under_way {
        assert!(call.await.expect("no panic").is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_reached_is_asked_for_again() {
    let mut stage = Stage::new(&[], |_| {});
    stage.add("a", |_| {});
    let double = stage.doubles.lock().remove("a").expect("it was there");
    stage.rebuild();
    let numbers = stage.numbers();
    assert_eq!((numbers.instances.len(), numbers.known), (0, 1));
    let (error, _) = stage.fails("Get").await;
    let message = "service users has no live instance of 1 known";
    assert_eq!((error.kind, &*error.message), (Kind::Unavailable, message));
    stage.doubles.lock().insert("a".into(), double);
    stage.rebuild();
    assert_eq!(stage.calls("Get", 1).await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_dialled_is_named_by_transport_and_not_asked_for_again() {
    let mut stage = Stage::new(&[], |_| {});
    stage.add("a", |draft| {
        let address = postern_core::registry::Address::parse("quic://10.0.0.1:1");
        draft.addresses = vec![address.expect("an address")];
    });
    let double = stage.doubles.lock().remove("a").expect("it was there");
    stage.rebuild();
    let (error, _) = stage.fails("Get").await;
    let message = "service users has no live instance of 1 known; some are at quic, and this \
                   gateway dials tcp, udp, unix";
    assert_eq!((error.kind, &*error.message), (Kind::Unavailable, message));
    stage.doubles.lock().insert("a".into(), double);
    stage.rebuild();
    assert_eq!(stage.numbers().instances.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_down_gets_no_call_and_all_do_in_a_panic() {
    let mut stage = Stage::new(&["a", "b", "c"], |_| {});
    let down = |stage: &mut Stage, name: &str| {
        let key = postern_core::registry::EntryKey {
            owner: Owner::Config,
            instance: Draft::new(name, SERVICE).instance,
        };
        for _ in 0..3 {
            let outcome = postern_core::registry::HealthOutcome::Failure;
            stage
                .directory
                .on_outcome(now(), &key, HealthSource::Probe, outcome);
        }
        stage.rebuild();
    };
    down(&mut stage, "a");
    stage.calls("Get", 10).await;
    assert_eq!((stage.n_calls("a"), stage.numbers().panic), (0, false));
    down(&mut stage, "b");
    stage.calls("Get", 9).await;
    assert_eq!((stage.n_calls("a"), stage.numbers().panic), (3, true));
    assert_eq!(stage.numbers().picks_in_panic, 9);
}

#[tokio::test(start_paused = true)]
async fn a_lone_plugin_is_called_directly() {
    let mut stage = Stage::new(&[], |_| {});
    let draft = Draft::new("users", SERVICE);
    stage.enter(Owner::Local("users".into()), &draft);
    assert!(stage.rebuild().direct().is_some());
    stage.policy.idempotent = vec![super::super::Pattern::new("*")];
    assert!(stage.rebuild().direct().is_some(), "makes no difference");
    stage.policy.timeout = Some(super::stage::SECOND);
    assert!(stage.rebuild().direct().is_none());
    stage.policy.timeout = None;
    stage.add("b", |_| {});
    assert!(stage.rebuild().direct().is_none());
    let remote = Stage::new(&["a"], |_| {});
    assert!(remote.cluster().direct().is_none());
}

#[tokio::test(start_paused = true)]
async fn methods_that_describe_themselves_are_believed() {
    let describe = |index: usize, draft: &mut Draft| {
        let method = |name: &str, idempotent| MethodInfo::new(name, idempotent);
        draft.methods = Some(vec![method("Get", true), method("Both", index == 0)]);
    };
    let stage = Stage::with(&["a", "b"], None, |_| {}, describe);
    let is = |name: &str| stage.cluster().is_idempotent(&Text::from(name));
    assert!(is("Get") && !is("Both") && !is("Other"));
}
