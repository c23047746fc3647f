//! Instances that fail: retried, ejected, broken off, replaced by a fallback.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use postern_core::{
    Blame, Body, BodyStream, Handler, Kind, Retry,
    bounded::BoundedHandler,
    resilience::{
        BreakerConfig, HedgeConfig, HedgeDelay, OutlierConfig, RetryBudgetConfig, RetryPolicy,
        RetryPolicyConfig,
    },
};
use postern_net::Alarm;
use postern_system::clock;

use super::{
    super::{Cluster, DecisionLog, Fallback, Pattern, ServicePolicy},
    fixture::{Does, Fixture, SECOND, call, due, text},
};

const THREE: [&str; 3] = ["a", "b", "c"];

fn idempotent(service: &mut ServicePolicy) {
    service.idempotent = vec![Pattern::new("Get*")];
}

fn retries(change: impl FnOnce(&mut RetryPolicyConfig)) -> RetryPolicy {
    let mut config = RetryPolicyConfig::default();
    change(&mut config);
    RetryPolicy::new(config).expect("it works")
}

/// The service as the pipeline bounds its calls.
fn bounded(fixture: &Fixture) -> BoundedHandler<Arc<Cluster>, Alarm> {
    BoundedHandler::new(fixture.cluster(), Blame::Upstream)
}

#[tokio::test(start_paused = true)]
async fn a_dead_instance_fails_no_idempotent_call() {
    let fixture = Fixture::new(&THREE, idempotent);
    fixture.calls("GetUser", 100).await;
    fixture.tell("b", Does::Cut);
    assert_eq!(fixture.calls("GetUser", 500).await, 0);
    let numbers = fixture.numbers();
    assert!(
        numbers.retries >= 5 && numbers.retries <= 10,
        "{}",
        numbers.retries
    );
    assert!(fixture.instance("b").ejected);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_begun_is_made_once() {
    let fixture = Fixture::new(&THREE, idempotent);
    THREE.iter().for_each(|name| fixture.tell(name, Does::Cut));
    let (error, why) = fixture.fails("CreateUser").await;
    assert_eq!(
        (error.kind, error.retry),
        (Kind::Unavailable, Retry::IfIdempotent)
    );
    assert_eq!(
        THREE.iter().map(|name| fixture.n_calls(name)).sum::<u64>(),
        1
    );
    assert!(why.ends_with("stopped:unsafe"), "{why}");
    assert_eq!(fixture.numbers().retry_stops["unsafe"], 1);
}

#[tokio::test(start_paused = true)]
async fn what_never_began_goes_elsewhere_whatever_it_does() {
    let fixture = Fixture::new(&THREE, |_| {});
    fixture.tell("a", Does::Unreachable);
    fixture.tell("b", Does::Unreachable);
    assert_eq!(fixture.calls("CreateUser", 4).await, 0);
    assert_eq!(fixture.n_calls("c"), 4);
}

#[tokio::test(start_paused = true)]
async fn all_that_was_tried_is_told() {
    let fixture = Fixture::new(&THREE, |_| {});
    THREE
        .iter()
        .for_each(|name| fixture.tell(name, Does::Unreachable));
    let (error, why) = fixture.fails("Get").await;
    let details = error.details.expect("details");
    let details: serde_json::Value = serde_json::from_slice(&details).expect("json");
    let tried = details["tried"].as_array().expect("a list");
    let mut names: Vec<_> = tried
        .iter()
        .map(|t| t["instance"].as_str().expect("name"))
        .collect();
    names.sort_unstable();
    assert_eq!(names, THREE, "each once");
    assert_eq!(tried[0]["error"], "unavailable: told to");
    assert_eq!(details["stopped"], "attempts");
    assert!(
        why.contains("tries=3") && why.ends_with("stopped:attempts"),
        "{why}"
    );
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_caller_are_answers() {
    let fixture = Fixture::new(&THREE, idempotent);
    THREE
        .iter()
        .for_each(|name| fixture.tell(name, Does::Refuse(Kind::InvalidArgument)));
    assert_eq!(fixture.calls("GetUser", 100).await, 100);
    let numbers = fixture.numbers();
    assert_eq!((numbers.tries, numbers.retries), (100, 0));
    assert!(
        numbers
            .instances
            .iter()
            .all(|i| !i.ejected && i.breaker == Some("closed"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_budget_bounds_a_storm() {
    let fixture = Fixture::new(&THREE, |service| {
        idempotent(service);
        service.outlier = None;
        service.breaker = None;
        service.budget = RetryBudgetConfig {
            min_per_second: 0,
            ..RetryBudgetConfig::default()
        };
        service.retry = retries(|config| config.backoff_max = Duration::from_millis(25));
    });
    THREE.iter().for_each(|name| fixture.tell(name, Does::Cut));
    assert_eq!(fixture.calls("GetUser", 500).await, 500);
    let numbers = fixture.numbers();
    // 20 % of 500 first tries, where three tries each would have been 1000 more.
    assert!((90..=100).contains(&numbers.retries), "{}", numbers.retries);
    assert!(numbers.budget_refusals >= 400);
    assert!(fixture.fails("GetUser").await.1.ends_with("stopped:budget"));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_opens_probes_and_closes_by_its_numbers() {
    let fixture = Fixture::new(&["a"], |service| {
        service.outlier = None;
        service.retry = retries(|config| config.attempts_max = 1);
        service.breaker = Some(BreakerConfig::default());
    });
    fixture.tell("a", Does::Fail(Kind::Internal));
    fixture.calls("Get", 4).await;
    assert_eq!(fixture.instance("a").breaker, Some("closed"));
    fixture.calls("Get", 1).await;
    assert_eq!(fixture.instance("a").breaker, Some("open"));
    let (error, why) = fixture.fails("Get").await;
    assert_eq!(error.retry, Retry::After(SECOND * 60));
    assert_eq!(error.details.as_deref(), Some(&b"{\"open\":[\"a\"]}"[..]));
    assert!(why.ends_with("nobody:breakers-open"), "{why}");
    assert_eq!(fixture.n_calls("a"), 5, "nobody asked it");
    tokio::time::advance(SECOND * 60).await;
    assert_eq!(fixture.instance("a").breaker, Some("half-open"));
    fixture.tell("a", Does::AnswerAfter(SECOND));
    let probes: Vec<_> = (0..4).map(|_| tokio::spawn(fixture.call("Get"))).collect();
    let mut n_answered = 0;
    for probe in probes {
        n_answered += u32::from(probe.await.expect("no panic").is_ok());
    }
    assert_eq!(n_answered, 3, "three probes at one time");
    let instance = fixture.instance("a");
    assert_eq!(instance.breaker, Some("closed"));
    assert_eq!((instance.breaker_opened, instance.breaker_closed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_gives_its_place_back() {
    let fixture = Fixture::new(&["a"], |service| {
        service.retry = retries(|config| config.attempts_max = 1);
        service.breaker = Some(BreakerConfig {
            half_open_requests: 1,
            ..BreakerConfig::default()
        });
    });
    fixture.tell("a", Does::Fail(Kind::Internal));
    fixture.calls("Get", 5).await;
    tokio::time::advance(SECOND * 60).await;
    fixture.tell("a", Does::Hang);
    let probe = tokio::spawn(fixture.call("Get"));
    tokio::time::sleep(SECOND).await;
    assert!(fixture.call("Get").await.is_err(), "one probe is under way");
    probe.abort();
    tokio::time::sleep(SECOND).await;
    fixture.tell("a", Does::Answer);
    assert_eq!(fixture.calls("Get", 2).await, 0);
    assert_eq!(fixture.instance("a").breaker, Some("closed"));
    fixture.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_ejected_and_returns() {
    let fixture = Fixture::new(&THREE, |service| {
        service.breaker = None;
        service.outlier = Some(OutlierConfig::default());
    });
    fixture.tell("a", Does::Fail(Kind::Internal));
    // Five errors in a row of its third of the calls.
    assert_eq!(fixture.calls("Get", 15).await, 5);
    assert!(fixture.instance("a").ejected);
    assert_eq!(fixture.calls("Get", 100).await, 0);
    assert_eq!(fixture.n_calls("a"), 5);
    assert_eq!(fixture.instance("a").ejections["consecutive-errors"], 1);
    fixture.tell("a", Does::Answer);
    tokio::time::advance(SECOND * 30).await;
    fixture.calls("Get", 30).await;
    assert_eq!(fixture.n_calls("a"), 15);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_is_too_slow_is_dropped_and_blamed_on_the_instance() {
    let fixture = Fixture::new(&["a", "b"], |service| {
        idempotent(service);
        service.retry = retries(|config| config.per_try_timeout = Some(Duration::from_millis(50)));
    });
    fixture.tell("a", Does::Hang);
    fixture.tell("b", Does::AnswerAfter(Duration::from_millis(49)));
    assert_eq!(fixture.calls("GetUser", 10).await, 0);
    let slow = fixture.instance("a");
    assert_eq!((slow.timeouts, slow.ejected), (5, true));
    assert_eq!(fixture.double("a").n_dropped.load(Relaxed), 5);
    fixture.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn callers_in_a_hurry_take_nobody_out() {
    let fixture = Fixture::new(&["a", "b"], |service| service.timeout = Some(SECOND * 30));
    fixture.tell("a", Does::AnswerAfter(SECOND / 2));
    fixture.tell("b", Does::AnswerAfter(SECOND / 2));
    for _ in 0..40 {
        let hasty = due(call("Get"), Duration::from_millis(10));
        let error = bounded(&fixture).call(hasty).await;
        assert_eq!(error.expect_err("late").kind, Kind::DeadlineExceeded);
    }
    let instances = fixture.numbers().instances;
    assert!(
        instances
            .iter()
            .all(|i| !i.ejected && i.breaker == Some("closed"))
    );
    // A second is enough for anybody.
    for _ in 0..40 {
        fixture.tell("a", Does::Hang);
        let patient = due(call("Get"), SECOND);
        let _ = bounded(&fixture).call(patient).await;
    }
    assert!(fixture.instance("a").ejected);
}

/// Counts how often a call is to be polled.
#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_arms_no_timer_for_the_deadline_and_names_its_instance_when_it_is_asked() {
    for is_hedged in [false, true] {
        let fixture = Fixture::new(&["a", "b"], |service| {
            idempotent(service);
            let delay = HedgeDelay::Fixed(SECOND * 60);
            let hedges_max = 1;
            service.hedge = is_hedged.then_some(HedgeConfig { delay, hedges_max });
            service.retry = retries(|config| config.attempts_max = 1);
        });
        for name in ["a", "b"] {
            fixture.tell(name, Does::Hang);
        }
        let call = due(call("GetUser"), SECOND * 2);
        let mut answering = fixture.cluster().call(call, &DecisionLog::off());
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        let mut poll = || answering.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        tokio::time::sleep(SECOND * 3).await;
        assert_eq!(wakes.0.load(Relaxed), 0, "hedged: {is_hedged}");
        let Poll::Ready(Err(error)) = poll() else {
            panic!("the deadline is over");
        };
        let expected = "no answer from a within 3000 ms, the deadline of the call";
        assert_eq!(
            (error.kind, &*error.message),
            (Kind::DeadlineExceeded, expected)
        );
        assert_eq!(fixture.instance("a").timeouts, 1);
        fixture.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn the_services_timeout_ends_the_call() {
    let fixture = Fixture::new(&["a"], |service| service.timeout = Some(SECOND));
    fixture.tell("a", Does::Hang);
    let began = clock::now();
    let (error, _) = fixture.fails("Get").await;
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    assert_eq!(clock::since(began), SECOND);
    assert_eq!(fixture.instance("a").timeouts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_reply_answers_for_who_cannot() {
    let fixture = Fixture::new(&["a"], |service| {
        service.fallback = Some(Fallback::Reply("{\"users\":[]}".into()));
    });
    fixture.tell("a", Does::Fail(Kind::Internal));
    assert_eq!(text(fixture.call("Get").await), "{\"users\":[]}");
    fixture.tell("a", Does::Refuse(Kind::NotFound));
    assert!(
        fixture.call("Get").await.is_err(),
        "an answer is no failure"
    );
    fixture.tell("a", Does::Answer);
    assert_eq!(text(fixture.call("Get").await), "a");
    assert_eq!(fixture.numbers().fallbacks, 1);
}

#[tokio::test(start_paused = true)]
async fn another_service_answers_once_and_not_in_a_circle() {
    let mut fixture = Fixture::new(&["a"], |service| {
        service.fallback = Some(Fallback::Service("spare".into()));
    });
    let draft = postern_core::registry::Draft::new("s", "spare");
    fixture.enter(postern_core::registry::Owner::Config, &draft);
    fixture.rebuild();
    fixture.tell("a", Does::Fail(Kind::Internal));
    assert_eq!(text(fixture.call("Get").await), "s");
    // Its own fallback is itself.
    fixture.tell("s", Does::Fail(Kind::Internal));
    assert!(fixture.call("Get").await.is_err());
    assert_eq!(fixture.n_calls("s"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_streamed_request_that_nobody_has_read_is_tried_elsewhere() {
    let fixture = Fixture::new(&THREE, idempotent);
    THREE
        .iter()
        .for_each(|name| fixture.tell(name, Does::Unreachable));
    let mut streamed = call("GetUser");
    streamed.body = Body::Messages(BodyStream::new(futures_util::stream::empty()));
    let error = fixture.cluster().call(streamed, &DecisionLog::off()).await;
    assert!(error.is_err());
    assert_eq!(fixture.numbers().tries, 3);
}
