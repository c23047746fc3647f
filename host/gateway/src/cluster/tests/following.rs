//! Clusters follow the directory and the policies, and keep what they learned.

use std::sync::Arc;

use postern_core::{
    Kind, Text,
    registry::{Draft, HealthSource, Incarnation, Owner},
    resilience::RetryPolicyConfig,
    service::MethodInfo,
};
use postern_system::clock::now;

use super::{
    super::{Policies, ServicePolicy},
    fixture::{Does, Fixture, SERVICE},
};

fn once(service: &mut ServicePolicy) {
    let config = RetryPolicyConfig {
        attempts_max: 1,
        ..RetryPolicyConfig::default()
    };
    service.retry = postern_core::resilience::RetryPolicy::new(config).expect("it works");
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_keeps_counters_breakers_and_turns() {
    let mut fixture = Fixture::new(&["a", "b"], |service| {
        once(service);
        service.outlier = None;
    });
    let before = fixture.cluster();
    fixture.tell("a", Does::Fail(Kind::Internal));
    assert_eq!(fixture.calls("Get", 9).await, 5);
    assert_eq!(fixture.instance("a").breaker, Some("open"));
    fixture.add("c", |_| {});
    let after = fixture.rebuild();
    assert!(Arc::ptr_eq(&before, &after));
    let instance = fixture.instance("a");
    assert_eq!((instance.breaker, instance.failures), (Some("open"), 5));
    assert_eq!(fixture.numbers().calls, 9);
    assert_eq!(fixture.calls("Get", 10).await, 0);
    assert_eq!((fixture.n_calls("a"), fixture.n_calls("c")), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn a_later_life_of_an_instance_begins_with_a_closed_breaker() {
    let mut fixture = Fixture::new(&["a", "b"], |service| {
        once(service);
        service.outlier = None;
    });
    fixture.tell("a", Does::Fail(Kind::Internal));
    fixture.calls("Get", 9).await;
    assert_eq!(fixture.instance("a").breaker, Some("open"));
    fixture.tell("a", Does::Answer);
    fixture.add("a", |draft| draft.incarnation = Incarnation(1));
    fixture.rebuild();
    assert_eq!(fixture.instance("a").breaker, Some("closed"));
    assert_eq!(fixture.calls("Get", 10).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_changed_policy_takes_effect_and_resets_only_what_it_changes() {
    let mut fixture = Fixture::new(&["a"], |service| {
        once(service);
        service.outlier = None;
    });
    fixture.tell("a", Does::Fail(Kind::Internal));
    fixture.calls("Get", 5).await;
    fixture.policy.timeout = Some(super::fixture::SECOND);
    fixture.rebuild();
    assert_eq!(fixture.instance("a").breaker, Some("open"));
    fixture.policy.breaker = None;
    fixture.rebuild();
    assert_eq!(fixture.instance("a").breaker, None);
    fixture.calls("Get", 1).await;
    assert_eq!(fixture.n_calls("a"), 6);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_for_where_nothing_changed() {
    let mut fixture = Fixture::new(&["a", "b"], |_| {});
    let snapshot = fixture.directory.snapshot();
    let policies = Policies::new(fixture.policy.clone(), [], None);
    let n_asked = std::cell::Cell::new(0);
    let connect = |_: &postern_core::registry::ServiceInstance| {
        n_asked.set(n_asked.get() + 1);
        None
    };
    fixture.clusters.rebuild(&snapshot, &policies, &connect);
    assert_eq!(n_asked.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_left_drains() {
    let mut fixture = Fixture::new(&["a", "b"], |_| {});
    fixture.tell("a", Does::AnswerAfter(super::fixture::SECOND));
    let under_way = [
        tokio::spawn(fixture.call("Get")),
        tokio::spawn(fixture.call("Get")),
    ];
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    fixture.remove("a");
    fixture.rebuild();
    assert_eq!(fixture.calls("Get", 10).await, 0);
    assert_eq!((fixture.n_calls("a"), fixture.n_calls("b")), (1, 11));
    for call in under_way {
        assert!(call.await.expect("no panic").is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_reached_is_asked_for_again() {
    let mut fixture = Fixture::new(&[], |_| {});
    fixture.add("a", |_| {});
    let double = fixture.doubles.lock().remove("a").expect("it was there");
    fixture.rebuild();
    let numbers = fixture.numbers();
    assert_eq!((numbers.instances.len(), numbers.known), (0, 1));
    let (error, _) = fixture.fails("Get").await;
    let message = "service users has no live instance of 1 known";
    assert_eq!((error.kind, &*error.message), (Kind::Unavailable, message));
    fixture.doubles.lock().insert("a".into(), double);
    fixture.rebuild();
    assert_eq!(fixture.calls("Get", 1).await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_dialled_is_named_by_transport_and_not_asked_for_again() {
    let mut fixture = Fixture::new(&[], |_| {});
    fixture.add("a", |draft| {
        let address = postern_core::registry::Address::parse("http://10.0.0.1:1");
        draft.addresses = vec![address.expect("an address")];
    });
    let double = fixture.doubles.lock().remove("a").expect("it was there");
    fixture.rebuild();
    let (error, _) = fixture.fails("Get").await;
    let message = "service users has no live instance of 1 known; some are at http, and this \
                   gateway dials tcp, tls, udp, quic, ws, wss, unix";
    assert_eq!((error.kind, &*error.message), (Kind::Unavailable, message));
    fixture.doubles.lock().insert("a".into(), double);
    fixture.rebuild();
    assert_eq!(fixture.numbers().instances.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_down_gets_no_call_and_all_do_in_a_panic() {
    let mut fixture = Fixture::new(&["a", "b", "c"], |_| {});
    let down = |fixture: &mut Fixture, name: &str| {
        let key = postern_core::registry::EntryKey {
            owner: Owner::Config,
            instance: Draft::new(name, SERVICE).instance,
        };
        for _ in 0..3 {
            let outcome = postern_core::registry::HealthOutcome::Failure;
            fixture
                .directory
                .on_outcome(now(), &key, HealthSource::Probe, outcome);
        }
        fixture.rebuild();
    };
    down(&mut fixture, "a");
    fixture.calls("Get", 10).await;
    assert_eq!((fixture.n_calls("a"), fixture.numbers().panic), (0, false));
    down(&mut fixture, "b");
    fixture.calls("Get", 9).await;
    assert_eq!((fixture.n_calls("a"), fixture.numbers().panic), (3, true));
    assert_eq!(fixture.numbers().picks_in_panic, 9);
}

#[tokio::test(start_paused = true)]
async fn a_lone_plugin_is_called_directly() {
    let mut fixture = Fixture::new(&[], |_| {});
    let draft = Draft::new("users", SERVICE);
    fixture.enter(Owner::Local("users".into()), &draft);
    assert!(fixture.rebuild().direct().is_some());
    fixture.policy.idempotent = vec![super::super::Pattern::new("*")];
    assert!(fixture.rebuild().direct().is_some(), "makes no difference");
    fixture.policy.timeout = Some(super::fixture::SECOND);
    assert!(fixture.rebuild().direct().is_none());
    fixture.policy.timeout = None;
    fixture.add("b", |_| {});
    assert!(fixture.rebuild().direct().is_none());
    let remote = Fixture::new(&["a"], |_| {});
    assert!(remote.cluster().direct().is_none());
}

#[tokio::test(start_paused = true)]
async fn methods_that_describe_themselves_are_believed() {
    let describe = |index: usize, draft: &mut Draft| {
        let method = |name: &str, idempotent| MethodInfo::new(name, idempotent);
        draft.methods = Some(vec![method("Get", true), method("Both", index == 0)]);
    };
    let fixture = Fixture::with(&["a", "b"], None, |_| {}, describe);
    let is = |name: &str| fixture.cluster().is_idempotent(&Text::from(name));
    assert!(is("Get") && !is("Both") && !is("Other"));
}
