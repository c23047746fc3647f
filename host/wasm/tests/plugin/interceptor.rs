//! Role `interceptor`: calls on their way in, outcomes on their way out.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use postern_core::{
    Body, Call, Error, Handler, Kind, Reply,
    extension::{
        Asked, CallOutcome, Flow, RequestInterceptor, ResponseInterceptor, SeenOutcome, Step,
    },
};
use postern_wasm::{EntryOutcome, Plugin, PluginSpec};

use crate::guest::{Fixture, interceptor, marked, messages, typed, with_kv};

const TEXT: &str = include_str!("guest/interceptor.wat");

/// Both halves of a plugin.
struct Both {
    requests: Arc<dyn RequestInterceptor>,
    responses: Arc<dyn ResponseInterceptor>,
}

fn both(plugin: &Arc<Plugin>) -> Both {
    Both {
        requests: plugin.request_interceptor().unwrap(),
        responses: plugin.response_interceptor().unwrap(),
    }
}

fn request(method: &str, body: impl Into<Bytes>) -> Box<Call> {
    Box::new(Call::unary("test", method, body))
}

fn done<T: std::fmt::Debug>(step: Step<T>) -> T {
    match step {
        Step::Done(value) => value,
        Step::Later(_) => panic!("it takes the direct way"),
    }
}

fn on_request(interceptor: &Both, call: Box<Call>) -> Flow {
    done(interceptor.requests.on_request(call))
}

fn on_response(interceptor: &Both, method: &str, outcome: CallOutcome) -> SeenOutcome {
    let asked = Asked::of(&request(method, ""), Instant::now());
    done(interceptor.responses.on_response(&asked, outcome))
}

fn proceeded(flow: Flow) -> Box<Call> {
    match flow {
        Flow::Proceed(call) => call,
        other @ (Flow::Answer(_) | Flow::Refuse(_) | Flow::Broken(..)) => {
            panic!("the call goes on, not {other:?}")
        }
    }
}

fn message(body: Body) -> Bytes {
    match body {
        Body::One(message) => message,
        other @ (Body::Empty | Body::Messages(_) | Body::Octets(_)) => {
            panic!("one message, not {other:?}")
        }
    }
}

async fn plugin(fixture: &Fixture) -> (Arc<Plugin>, Both) {
    let plugin = fixture
        .shared("tag", &interceptor(), PluginSpec::default())
        .await;
    let interceptor = both(&plugin);
    (plugin, interceptor)
}

fn count(plugin: &Plugin, outcome: EntryOutcome) -> u64 {
    let snapshot = plugin.stats().snapshot();
    snapshot
        .entries
        .iter()
        .map(|entries| entries.with(outcome))
        .sum()
}

#[tokio::test]
async fn an_interceptor_of_headers_never_touches_the_message() {
    let fixture = Fixture::new();
    let (_, interceptor) = plugin(&fixture).await;
    let body = Bytes::from(vec![7; 100_000]);
    let mut call = request("h", body.clone());
    call.headers.push("x-tag", "off").unwrap();
    call.headers.push("x-other", "1").unwrap();
    let call = proceeded(on_request(&interceptor, call));
    assert_eq!(call.headers.get_str("x-tag").as_deref(), Some("on"));
    assert_eq!(call.headers.iter().count(), 2, "it stands once");
    assert_eq!((&*call.service, &*call.method), ("test", "h"));
    assert_eq!(message(call.body).as_ptr(), body.as_ptr());
    let seen = on_response(&interceptor, " h", Ok(Reply::one(body.clone())));
    let reply = seen.outcome.unwrap();
    assert_eq!(reply.headers.get_str("x-tag").as_deref(), Some("on"));
    assert_eq!(message(reply.body).as_ptr(), body.as_ptr());
}

#[tokio::test]
async fn a_stream_passes_whole_and_its_messages_are_refused_by_name() {
    let fixture = Fixture::new();
    let (_, interceptor) = plugin(&fixture).await;
    let stream = |method: &str| {
        let mut call = request(method, "");
        call.body = messages(vec!["a".into(), "b".into()]);
        call
    };
    let call = proceeded(on_request(&interceptor, stream("h")));
    assert!(call.body.is_stream());
    for method in ["g", "b"] {
        let Flow::Refuse(error) = on_request(&interceptor, stream(method)) else {
            panic!("a stream has no one message");
        };
        assert_eq!(error.kind, Kind::FailedPrecondition);
        let expected = "the request is a stream; its messages do not pass an interceptor";
        assert_eq!(error.message, expected);
    }
}

#[tokio::test]
async fn messages_are_read_and_replaced() {
    let fixture = Fixture::new();
    let (_, interceptor) = plugin(&fixture).await;
    let changed = proceeded(on_request(&interceptor, request("b", "first")));
    assert_eq!(message(changed.body), "changed");
    let back = proceeded(on_request(&interceptor, request("g", "first")));
    assert_eq!(message(back.body), "first");
    let reply = on_response(&interceptor, " b", Ok(Reply::one("first")));
    assert_eq!(message(reply.outcome.unwrap().body), "changed");
    let reply = on_response(&interceptor, " g", Ok(Reply::one("first")));
    assert_eq!(message(reply.outcome.unwrap().body), "first");
}

#[tokio::test]
async fn a_guest_answers_or_refuses_in_the_handlers_place() {
    let fixture = Fixture::new();
    let (_, interceptor) = plugin(&fixture).await;
    let Flow::Answer(reply) = on_request(&interceptor, request("a", "x")) else {
        panic!("it answers");
    };
    assert_eq!(reply.headers.get_str("x-tag").as_deref(), Some("on"));
    assert_eq!(message(reply.body), "changed");
    let Flow::Refuse(error) = on_request(&interceptor, request("r", "x")) else {
        panic!("it refuses");
    };
    assert_eq!(
        (error.kind, &*error.message),
        (Kind::PermissionDenied, "not you")
    );
    let seen = on_response(&interceptor, " r", Ok(Reply::one("x")));
    assert_eq!(seen.outcome.unwrap_err().kind, Kind::PermissionDenied);
    assert!(seen.broken.is_none());
}

#[tokio::test]
async fn a_failure_passes_and_may_become_an_answer() {
    let fixture = Fixture::new();
    let (_, interceptor) = plugin(&fixture).await;
    let failed = || Err(Error::not_found("no user 7"));
    let seen = on_response(&interceptor, "  ", failed());
    assert_eq!(seen.outcome.unwrap_err().message, "no user 7");
    let seen = on_response(&interceptor, " b", failed());
    assert_eq!(message(seen.outcome.unwrap().body), "changed");
    // A failure has no headers to set, and the request is gone.
    for method in [" h", " q"] {
        let seen = on_response(&interceptor, method, failed());
        assert_eq!(seen.outcome.unwrap_err().kind, Kind::FailedPrecondition);
    }
}

#[tokio::test]
async fn a_trap_in_the_middle_leaves_call_and_outcome_as_they_were() {
    let fixture = Fixture::new();
    let (plugin, interceptor) = plugin(&fixture).await;
    let body = Bytes::from(vec![7; 1000]);
    let Flow::Broken(call, error) = on_request(&interceptor, request("t", body.clone())) else {
        panic!("it is broken");
    };
    assert!(call.headers.is_empty());
    assert_eq!(message(call.body).as_ptr(), body.as_ptr());
    assert_eq!(error.message, "plugin tag trapped: unreachable");
    let seen = on_response(&interceptor, " t", Ok(Reply::one(body.clone())));
    assert_eq!(message(seen.outcome.unwrap().body).as_ptr(), body.as_ptr());
    assert!(seen.broken.is_some());
    // One caller's trap shuts nobody else out.
    proceeded(on_request(&interceptor, request("h", "")));
    assert_eq!(count(&plugin, EntryOutcome::Trapped), 2);
}

#[tokio::test]
async fn an_endless_loop_ends_by_the_budget() {
    let fixture = Fixture::new();
    let (plugin, interceptor) = plugin(&fixture).await;
    let Flow::Broken(call, error) = on_request(&interceptor, request("l", "x")) else {
        panic!("it is broken");
    };
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    assert_eq!(error.message, "plugin tag exceeded its budget of 5 ms");
    assert_eq!(message(call.body), "x");
    assert_eq!(count(&plugin, EntryOutcome::OverBudget), 1);
}

#[tokio::test]
async fn the_budget_grows_with_the_message_that_is_asked_for() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    // Enough for an entry, and for a loop over no more than some hundred octets.
    spec.budgets.interceptor = std::time::Duration::from_micros(2);
    let plugin = fixture.shared("tag", &interceptor(), spec).await;
    let interceptor = both(&plugin);
    let body = vec![1; 1024 * 1024];
    proceeded(on_request(&interceptor, request("s", body)));
}

#[tokio::test]
async fn messages_beyond_the_plugins_limits_are_refused() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    spec.limits.input_bytes_max = 100;
    spec.limits.output_bytes_max = 6;
    let plugin = fixture.shared("tag", &interceptor(), spec).await;
    let interceptor = both(&plugin);
    for (call, kind) in [
        (request("g", vec![0; 101]), Kind::ResourceExhausted),
        // What a plugin gives out is not the caller's to shorten.
        (request("b", ""), Kind::Internal),
    ] {
        let Flow::Refuse(error) = on_request(&interceptor, call) else {
            panic!("it is refused");
        };
        assert_eq!(error.kind, kind);
    }
    // Without a look at it any length passes.
    proceeded(on_request(&interceptor, request("h", vec![0; 101])));
}

#[tokio::test]
async fn a_guest_that_may_wait_is_entered_through_the_pool() {
    let fixture = Fixture::new();
    let plugin = fixture
        .shared("tag", &with_kv(TEXT), PluginSpec::default())
        .await;
    let interceptor = both(&plugin);
    let step = interceptor.requests.on_request(request("h", "x"));
    assert!(matches!(step, Step::Later(_)));
    let call = proceeded(step.finish().await);
    assert_eq!(call.headers.get_str("x-tag").as_deref(), Some("on"));
    assert_eq!(message(call.body), "x");
    let asked = Asked::of(&request(" b", ""), Instant::now());
    let seen = interceptor
        .responses
        .on_response(&asked, Ok(Reply::one("y")))
        .finish()
        .await;
    assert_eq!(message(seen.outcome.unwrap().body), "changed");
    let Flow::Broken(call, _) = interceptor
        .requests
        .on_request(request("t", "x"))
        .finish()
        .await
    else {
        panic!("it is broken");
    };
    assert!(call.headers.is_empty());
    assert_eq!(message(call.body), "x");
}

#[tokio::test]
async fn a_budget_of_zero_enters_through_the_pool() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    spec.budgets.interceptor = std::time::Duration::ZERO;
    let plugin = fixture.shared("tag", &interceptor(), spec).await;
    let step = both(&plugin).requests.on_request(request("h", "x"));
    assert!(matches!(step, Step::Later(_)));
    proceeded(step.finish().await);
}

#[tokio::test]
async fn a_guest_of_one_half_is_not_asked_about_the_other() {
    let fixture = Fixture::new();
    let (plugin, before) = plugin(&fixture).await;
    let requests = "(export \"postern:gateway/request-interceptor@0.1.0\" (instance $requests))";
    assert!(TEXT.contains(requests));
    let half = typed(&TEXT.replace(requests, ""));
    let deployed = plugin.deploy(half.into(), PluginSpec::default()).await;
    deployed.unwrap();
    assert!(plugin.request_interceptor().is_none());
    // Who still asks the generation before meets no fault.
    let call = proceeded(on_request(&before, request("h", "x")));
    assert!(call.headers.is_empty());
    let responses = plugin.response_interceptor().unwrap();
    let asked = Asked::of(&request(" h", ""), Instant::now());
    let seen = done(responses.on_response(&asked, Ok(Reply::one("x"))));
    let reply = seen.outcome.unwrap();
    assert_eq!(reply.headers.get_str("x-tag").as_deref(), Some("on"));
}

#[tokio::test]
async fn an_interceptor_answers_no_calls_of_its_own() {
    let fixture = Fixture::new();
    let (plugin, _) = plugin(&fixture).await;
    assert!(plugin.services().is_empty());
    assert!(plugin.balancer("users").is_none() && plugin.authorizer().is_none());
    let error = plugin.call(*request("h", "")).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unimplemented);
    plugin.remove().await;
    assert!(plugin.request_interceptor().is_none() && plugin.response_interceptor().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_takes_over_under_calls_without_one_that_fails() {
    let fixture = Fixture::new();
    let plugin = fixture
        .shared("tag", &typed(&marked(TEXT, 0)), PluginSpec::default())
        .await;
    let interceptor = both(&plugin);
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let calls = tokio::spawn(async move {
        while stopped.try_recv().is_err() {
            let call = proceeded(on_request(&interceptor, request("hh", "x")));
            assert_eq!(call.headers.get_str("x-tag").as_deref(), Some("on"));
            let seen = on_response(&interceptor, "hh", Ok(Reply::one("y")));
            assert!(seen.broken.is_none() && seen.outcome.is_ok());
            tokio::task::yield_now().await;
        }
    });
    for number in 1..6 {
        let next = typed(&marked(TEXT, number));
        plugin
            .deploy(next.into(), PluginSpec::default())
            .await
            .unwrap();
    }
    stop.send(()).unwrap();
    calls.await.unwrap();
    assert_eq!(plugin.status().generation, Some(6));
    plugin.remove().await;
    assert_eq!(plugin.stats().snapshot().instances_live, 0);
}
