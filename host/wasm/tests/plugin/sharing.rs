//! What one caller, or one generation, may take from the others: instances, threads and time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_core::{Body, BodyStream, BoxFuture, Call, Error, Handler, Kind, Reply, Retry};
use postern_wasm::{Grants, HealthStatus, Instances, Mode, Outcome, Plugin, PluginSpec};

use crate::guest::{Fixture, all, answer, bounded, call, small};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

fn spec(instances: Instances) -> PluginSpec {
    let mut spec = PluginSpec {
        instances,
        drain_max: LONG,
        ..PluginSpec::default()
    };
    spec.limits.time_max = LONG;
    spec
}

/// A stream of which one message is read; the guest goes on until it is in nobody's interest.
async fn held(plugin: &Plugin) -> Result<BodyStream, Error> {
    let mut request = Call::unary("test", "n", "");
    request.body = Body::Messages(BodyStream::new(futures_util::stream::empty()));
    let reply = plugin.call(request).await?;
    let Body::Messages(mut body) = reply.body else {
        panic!("a stream")
    };
    body.next().await.unwrap().unwrap();
    Ok(body)
}

/// Waits until `holds`, for at most a minute.
pub(crate) async fn patiently(claim: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "{claim}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn streams_hold_their_share_and_unary_calls_find_the_rest() {
    let fixture = Fixture::new();
    let instances = Instances {
        max: 4,
        stream_share: 50,
        queue_time_max: SHORT,
        ..Instances::default()
    };
    let plugin = fixture.plugin("all", &all(), spec(instances)).await;
    let streams = [held(&plugin).await.unwrap(), held(&plugin).await.unwrap()];
    let error = held(&plugin).await.expect_err("two are the share");
    assert_eq!(
        (error.kind, error.retry),
        (Kind::ResourceExhausted, Retry::Elsewhere)
    );
    assert!(
        error.message.starts_with("the 2 streams that plugin all"),
        "{error}"
    );
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
    let health = plugin.check_health(LONG).await.unwrap();
    assert_eq!(health.status, HealthStatus::Serving);
    drop(streams);
    held(&plugin).await.expect("the share is free again");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_loses_its_instance() {
    let fixture = Fixture::new();
    let instances = Instances {
        max: 1,
        stream_idle_max: SHORT,
        ..Instances::default()
    };
    let mut spec = spec(instances);
    // A guest that was at work when its caller stopped reading has this much more.
    spec.limits.time_max = LONG / 6;
    let plugin = fixture.plugin("all", &all(), spec).await;
    let mut body = held(&plugin).await.unwrap();
    patiently("its instance is free", || {
        plugin.stats().snapshot().calls_with(Outcome::Cancelled) == 1
    })
    .await;
    assert_eq!(answer(&plugin, "e", b"free").await, "free");
    let error = loop {
        if let Err(error) = body.next().await.expect("it says how it ended") {
            break error;
        }
    };
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    let expected =
        "the caller of plugin all has neither sent nor read for its stream-idle-timeout of 100 ms";
    assert_eq!(error.message, expected);
}

#[tokio::test]
async fn a_stream_that_is_sent_nothing_loses_its_instance() {
    let fixture = Fixture::new();
    let instances = Instances {
        stream_idle_max: SHORT,
        ..Instances::default()
    };
    let plugin = fixture.plugin("all", &all(), spec(instances)).await;
    let mut request = Call::unary("test", "e", "");
    request.body = Body::Messages(BodyStream::new(futures_util::stream::pending()));
    let ended = tokio::time::timeout(LONG, plugin.call(request)).await;
    let error = ended.expect("it ends").unwrap_err();
    assert_eq!(error.kind, Kind::DeadlineExceeded, "{error}");
}

#[tokio::test]
async fn a_call_waits_for_an_instance_no_longer_than_the_plugin_says() {
    let fixture = Fixture::new();
    let instances = Instances {
        max: 1,
        queue_time_max: SHORT,
        ..Instances::default()
    };
    let plugin = Arc::new(fixture.plugin("all", &all(), spec(instances)).await);
    let looping = looping(&plugin).await;
    let mut request = Call::unary("test", "e", "");
    request.context.deadline = Some(Instant::now() + LONG);
    let start = Instant::now();
    let error = plugin.call(request).await.unwrap_err();
    let waited = start.elapsed();
    assert!((SHORT..LONG / 2).contains(&waited), "{waited:?}");
    assert_eq!(error.kind, Kind::ResourceExhausted);
    let expected = "all 1 instances of plugin all were busy for ";
    assert!(error.message.starts_with(expected), "{error}");
    looping.abort();
}

/// A call that never ends, under way.
async fn looping(plugin: &Arc<Plugin>) -> tokio::task::JoinHandle<Result<Reply, Error>> {
    let looping = tokio::spawn(plugin.call(Call::unary("test", "l", "")));
    // It has an instance now, and has left this thread.
    tokio::time::sleep(SHORT).await;
    looping
}

#[tokio::test]
async fn busy_is_not_ill() {
    let fixture = Fixture::new();
    for (mode, expected) in [
        (Mode::Pooled, HealthStatus::Serving),
        (Mode::Isolated, HealthStatus::Serving),
        // There is nobody else to ask.
        (Mode::Single, HealthStatus::Busy),
    ] {
        let instances = Instances {
            mode,
            max: 1,
            ..Instances::default()
        };
        let plugin = Arc::new(fixture.plugin("all", &all(), spec(instances)).await);
        let looping = looping(&plugin).await;
        let report = plugin.check_health(Duration::from_secs(1)).await.unwrap();
        assert_eq!(report.status, expected, "{mode:?}");
        assert_eq!(report.message.is_some(), expected == HealthStatus::Busy);
        assert_eq!(plugin.status().instances, 1, "the one beyond is gone");
        looping.abort();
    }
}

/// Never answers.
struct Silent;

impl Handler for Silent {
    fn call(&self, _: Call) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(std::future::pending())
    }
}

/// No timer of its own wakes it.
#[tokio::test]
async fn a_guest_that_waits_stops_when_it_is_polled_at_its_deadline() {
    let fixture = Fixture::new();
    fixture.runtime.set_client(Arc::new(Silent));
    let grants = Grants {
        services: vec!["*".to_owned()],
        ..Grants::default()
    };
    let spec = PluginSpec {
        grants,
        ..spec(Instances::default())
    };
    let plugin = fixture.plugin("all", &all(), spec).await;
    let waits_for_a_call = Call::unary("test", "x", "silent");
    let mut waits_for_a_message = Call::unary("test", "e", "");
    waits_for_a_message.body = Body::Messages(BodyStream::new(futures_util::stream::pending()));
    for mut request in [waits_for_a_call, waits_for_a_message] {
        request.context.deadline = Some(Instant::now() + SHORT);
        let error = bounded(&plugin, request).await.unwrap_err();
        assert_eq!(error.kind, Kind::DeadlineExceeded, "{error}");
        let expected = "plugin all had not answered: the caller's deadline has passed";
        assert_eq!(error.message, expected);
    }
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.calls_with(Outcome::TimedOut), 2);
    fixture.runtime.shutdown();
}

#[tokio::test]
async fn calls_of_a_generation_out_of_service_are_cut_off_after_their_time() {
    let fixture = Fixture::new();
    fixture.runtime.set_client(Arc::new(Silent));
    let grants = Grants {
        services: vec!["*".to_owned()],
        ..Grants::default()
    };
    let spec = PluginSpec {
        drain_max: SHORT,
        grants,
        ..spec(Instances::default())
    };
    let plugin = Arc::new(fixture.plugin("all", &all(), spec.clone()).await);
    let waiting = plugin.call(Call::unary("test", "x", "silent"));
    let cut = [looping(&plugin).await, tokio::spawn(waiting)];
    let mut unread = held(&plugin).await.unwrap();
    plugin.deploy(small().into(), spec).await.unwrap();
    for cut in cut {
        let ended = tokio::time::timeout(LONG / 2, cut).await;
        let error = ended.expect("it is cut off").unwrap().unwrap_err();
        assert_eq!(
            (error.kind, error.retry),
            (Kind::Unavailable, Retry::IfIdempotent)
        );
        assert_eq!(
            error.message,
            "plugin all was replaced, and this call took longer than its drain-timeout of 100 ms"
        );
    }
    patiently(
        "the generation before is freed, though nobody reads",
        || plugin.status().draining == 0,
    )
    .await;
    let error = loop {
        if let Err(error) = unread.next().await.expect("it says how it ended") {
            break error;
        }
    };
    assert_eq!(error.kind, Kind::Unavailable);
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
    fixture.runtime.shutdown();
}

#[tokio::test]
async fn a_removed_plugin_cuts_its_calls_off_and_ends() {
    let fixture = Fixture::new();
    let spec = PluginSpec {
        drain_max: Duration::ZERO,
        ..spec(Instances::default())
    };
    let plugin = Arc::new(fixture.plugin("all", &all(), spec).await);
    let looping = looping(&plugin).await;
    let removed = tokio::time::timeout(LONG / 2, plugin.remove()).await;
    removed.expect("nobody is waited for");
    assert_eq!(looping.await.unwrap().unwrap_err().kind, Kind::Unavailable);
    assert_eq!(plugin.status().stats.instances_live, 0);
}

/// One thread does all input and output here, so a guest on it would show in each of these calls.
#[tokio::test]
async fn endless_calls_leave_the_thread_that_serves_others() {
    let fixture = Fixture::new();
    let plugin = Arc::new(
        fixture
            .plugin("all", &all(), spec(Instances::default()))
            .await,
    );
    let other = fixture
        .plugin("other", &all(), spec(Instances::default()))
        .await;
    let mut loops = Vec::new();
    for _ in 0..8 {
        loops.push(looping(&plugin).await);
    }
    let mut times = Vec::new();
    for _ in 0..101 {
        let start = Instant::now();
        assert_eq!(answer(&other, "e", b"on").await, "on");
        tokio::task::yield_now().await;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    // Eight guests at a tick of 10 ms each were 80 ms.
    let p50 = times.get(50).copied().unwrap_or_default();
    assert!(p50 < Duration::from_millis(20), "{p50:?}");
    for looping in &loops {
        assert!(!looping.is_finished());
        looping.abort();
    }
}

#[tokio::test]
async fn who_drops_a_call_that_computes_elsewhere_stops_it() {
    let fixture = Fixture::new();
    let instances = Instances {
        max: 1,
        ..Instances::default()
    };
    let plugin = Arc::new(fixture.plugin("all", &all(), spec(instances)).await);
    for n_cancelled in 1..5 {
        let looping = call(&plugin, "l", b"");
        let ended = tokio::time::timeout(SHORT, looping).await;
        assert!(ended.is_err(), "it never answers");
        patiently("it is counted", || {
            plugin.stats().snapshot().calls_with(Outcome::Cancelled) == n_cancelled
        })
        .await;
        assert_eq!(answer(&plugin, "e", b"free").await, Bytes::from("free"));
    }
}
