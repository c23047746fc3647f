//! What guests that compute do to the calls of another plugin: nothing that its callers would notice.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream;
use postern_core::{Body, BodyStream, Call, Error, Handler, Kind};
use postern_tests::{CallerTransport, Gateway, Load, Percentiles, Setup, call, component, connect};
use tokio::task::{JoinHandle, JoinSet};

use crate::{figure, own, share};

/// Far above what a busy machine adds to a call, far below what it was while guests computed on the
/// threads that do input and output: p99 443 ms beside two loops.
const HARM_MAX: Duration = Duration::from_millis(50);

async fn gateway(config: &str) -> Gateway {
    let setup = Setup {
        config: config.to_owned(),
        ..Setup::default()
    };
    Gateway::start(setup.plugin("misbehave").plugin("echo")).await
}

/// Latencies of `echo`, one call every millisecond or two.
async fn echo(handler: &Arc<dyn Handler>) -> Percentiles {
    let body = Bytes::from_static(b"1");
    let load = Load::start(handler, "echo/Echo", &body, 2, Duration::from_millis(1));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    outcome.answered
}

fn check(claim: &str, baseline: &Percentiles, loaded: &Percentiles) {
    figure(&format!("echo {claim}: {loaded}"));
    let limit = baseline.at(99) * 2 + HARM_MAX;
    let p99 = loaded.at(99);
    assert!(p99 < limit, "{claim}: p99 {p99:?}, the limit is {limit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_that_compute_do_not_delay_others() {
    let _machine = own().await;
    // The queue is for the 400: at 5 ms each, they take a second on two cores.
    let gateway = gateway("[plugins.instances]\nqueue-timeout = \"1m\"\n").await;
    let (neighbour, computing) = (
        connect(&gateway, CallerTransport::Tcp).await,
        connect(&gateway, CallerTransport::Tcp).await,
    );
    let baseline = echo(&neighbour).await;
    figure(&format!("echo baseline: {baseline}"));
    let n_cores = thread::available_parallelism().map_or(1, usize::from);
    let pause = Duration::ZERO;
    let null = Bytes::from_static(b"null");
    let loops = Load::start(&computing, "misbehave/Loop", &null, n_cores, pause);
    let loaded = echo(&neighbour).await;
    let looped = loops.stop().await;
    check(&format!("beside {n_cores} loops"), &baseline, &loaded);
    assert!(looped.answered.is_empty(), "loops do not end");

    let body = Bytes::from_static(b"{\"ms\":5}");
    let burns = Load::start(&computing, "misbehave/Burn", &body, 400, pause);
    let loaded = echo(&neighbour).await;
    let burned = burns.stop().await;
    check("beside 400 calls of 5 ms", &baseline, &loaded);
    assert!(burned.failures.is_empty(), "{:?}", burned.failures);
    figure(&format!("the calls of 5 ms: {}", burned.answered));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_compute_are_seen_in_flight() {
    let _machine = share().await;
    let gateway = gateway("[services.misbehave.concurrency]\nlimit = 2\nqueue = 0\n").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let mut calls = JoinSet::new();
    for _ in 0..40 {
        let handler = Arc::clone(&handler);
        calls.spawn(async move { call(&*handler, "misbehave/Burn", "{\"ms\":5}").await });
    }
    let answers = calls.join_all().await;
    let kinds = answers
        .into_iter()
        .map(|answer| answer.map_err(|error| error.kind));
    let n_refused = kinds
        .filter(|kind| *kind == Err(Kind::ResourceExhausted))
        .count();
    // Two at a time, and those that came before it was known that they take long.
    assert!(
        (20..=38).contains(&n_refused),
        "{n_refused} of 40 were refused"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_streams_leave_unary_calls_and_health_alone() {
    let _machine = share().await;
    let config = "[plugins]\nhealth-interval = \"100ms\"\n[plugins.instances]\nmax = 4\nqueue-timeout = \"200ms\"\n";
    let gateway = gateway(config).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let mut streams = Vec::new();
    let start = Instant::now();
    for _ in 0..6 {
        let mut request = Call::unary("misbehave", "Flood", "");
        let message = Ok(Bytes::from_static(b"null"));
        request.body = Body::Messages(BodyStream::new(stream::iter([message])));
        match handler.call(request).await {
            Ok(reply) => streams.push(reply),
            Err(error) => {
                assert_eq!(error.kind, Kind::ResourceExhausted, "{error}");
                break;
            }
        }
    }
    assert_eq!(
        streams.len(),
        3,
        "three of four instances, after {:?}",
        start.elapsed()
    );
    // Several health checks.
    for _ in 0..10 {
        call(&*handler, "misbehave/Echo", "1")
            .await
            .expect("a unary call is answered");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let plugin = gateway.admin_json("/plugins/misbehave").await;
    assert_eq!(plugin["health"]["status"], "serving", "{plugin}");
}

/// A call that does not end by itself, under way.
fn looping(handler: &Arc<dyn Handler>) -> JoinHandle<Result<Bytes, Error>> {
    let handler = Arc::clone(handler);
    tokio::spawn(async move { call(&*handler, "misbehave/Loop", "null").await })
}

/// One instance, and callers that do not wait for it for long.
const ONE: &str = "[plugins.limits]\ntime = \"1m\"\n\
    [plugins.instances]\nmax = 1\nqueue-timeout = \"200ms\"\n";

/// What a call is told once a loop holds the one instance; the first may come before it.
async fn refusal(handler: &Arc<dyn Handler>) -> Error {
    for _ in 0..1000 {
        if let Err(error) = call(&**handler, "misbehave/Echo", "1").await {
            return error;
        }
    }
    panic!("every call finds an instance");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_waits_for_an_instance_longer_than_queue_timeout() {
    let _machine = share().await;
    let gateway = gateway(ONE).await;
    let tcp = connect(&gateway, CallerTransport::Tcp).await;
    let looping = looping(&tcp);
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        let error = refusal(&handler).await;
        assert_eq!(error.kind, Kind::ResourceExhausted, "{transport}: {error}");
        let expected = "all 1 instances of plugin misbehave were busy for";
        assert!(error.message.contains(expected), "{transport}: {error}");
    }
    looping.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_replaced_generation_are_cut_off_after_drain_timeout() {
    let _machine = share().await;
    let gateway = gateway(&format!("[plugins]\ndrain-timeout = \"200ms\"\n{ONE}")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let looping = looping(&handler);
    refusal(&handler).await;
    gateway.deploy("misbehave.wasm", &component("probe"));
    let error = looping.await.expect("no panic").expect_err("it is cut off");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert!(error.message.contains("drain-timeout of 200 ms"), "{error}");
}
