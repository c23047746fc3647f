//! Calls begin on the inline path; what cannot go on there begins anew on the async path, and nobody sees
//! the difference.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use postern_core::{BoxFuture, Call, Error, Handler, Kind, Reply};
use postern_wasm::{Grants, Instances, Mode, Outcome, Plugin, PluginSpec, TrapReason};

use crate::guest::{Fixture, all, answer, build, call};

/// Answers everything and counts it.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Handler for Counted {
    fn call(&self, _: Call) -> BoxFuture<Result<Reply, Error>> {
        let count = self.0.fetch_add(1, Relaxed) + 1;
        Box::pin(async move { Ok(Reply::one(count.to_string())) })
    }
}

/// A plugin that may call every service, and those services. It has an instance for each path.
async fn with_services(fixture: &Fixture, mode: Mode) -> (Plugin, Arc<Counted>) {
    let services = Arc::<Counted>::default();
    fixture.runtime.set_client(Arc::clone(&services) as _);
    let spec = PluginSpec {
        grants: Grants {
            services: vec!["*".to_owned()],
            ..Grants::default()
        },
        instances: Instances {
            mode,
            max: 2,
            ..Instances::default()
        },
        ..PluginSpec::default()
    };
    (fixture.plugin("all", &all(), spec).await, services)
}

#[tokio::test]
async fn a_loop_is_begun_anew_and_stopped_at_its_time() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    spec.limits.time_max = Duration::from_millis(200);
    let plugin = fixture.plugin("all", &all(), spec).await;
    let n_created = plugin.stats().snapshot().instances_created;
    let start = Instant::now();
    let error = call(&plugin, "l", b"").await.unwrap_err();
    let took = start.elapsed();
    assert_eq!(error.message, "plugin all exceeded its time limit 200 ms");
    assert!(took >= Duration::from_millis(200), "{took:?}");
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.traps_with(TrapReason::TimeLimit), 1);
    assert_eq!(stats.traps.iter().sum::<u64>(), 1, "{stats:?}");
    assert_eq!(stats.calls_with(Outcome::TimedOut), 1);
    assert_eq!(stats.calls.iter().sum::<u64>(), 1, "{stats:?}");
    assert_eq!(stats.instances_created, n_created + 1, "one for the fiber");
}

#[tokio::test]
async fn a_loop_leaves_the_inline_path_long_before_its_time_is_over() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    spec.limits.time_max = Duration::from_secs(60);
    let plugin = fixture.plugin("all", &all(), spec).await;
    let start = Instant::now();
    let looping = plugin.call(Call::unary("test", "l", ""));
    // Two ticks of 10 ms; the rest is for a machine that is busy with other tests.
    let held = start.elapsed();
    assert!(held < Duration::from_secs(10), "{held:?}");
    drop(looping);
    assert_eq!(plugin.stats().snapshot().calls_with(Outcome::Cancelled), 1);
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
}

#[tokio::test]
async fn what_has_an_effect_is_done_once() {
    let fixture = Fixture::new();
    let (plugin, services) = with_services(&fixture, Mode::Pooled).await;
    let reply = plugin
        .call(Call::unary("test", "y", "users"))
        .await
        .unwrap();
    assert_eq!(reply.headers.get_str("x-test").as_deref(), Some("ran"));
    assert_eq!(reply.headers.iter().count(), 1);
    assert_eq!(reply.body.into_one(100).await.unwrap(), "1");
    assert_eq!(services.0.load(Relaxed), 1);
    assert_eq!(plugin.stats().snapshot().calls_with(Outcome::Ok), 1);
    fixture.runtime.shutdown();
}

#[tokio::test]
async fn a_bailout_costs_one_instance_and_calls_stay_on_the_async_path() {
    let fixture = Fixture::new();
    let (plugin, _services) = with_services(&fixture, Mode::Pooled).await;
    assert_eq!(answer(&plugin, "c", b"").await[..], [1]);
    let n_created = plugin.stats().snapshot().instances_created;
    answer(&plugin, "x", b"users").await;
    assert_eq!(answer(&plugin, "c", b"").await[..], [2], "a new instance");
    answer(&plugin, "x", b"users").await;
    assert_eq!(answer(&plugin, "c", b"").await[..], [4], "the same one");
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.instances_created, n_created + 1);
    assert_eq!((stats.instances_live, stats.traps.iter().sum()), (2, 0));
    fixture.runtime.shutdown();
}

#[tokio::test]
async fn one_bailout_closes_the_inline_path_for_a_while_only() {
    let fixture = Fixture::new();
    let (plugin, _services) = with_services(&fixture, Mode::Pooled).await;
    let path = || plugin.status().inline_path.unwrap();
    assert_eq!((path().open, path().bailouts), (true, 0));
    answer(&plugin, "x", b"users").await;
    let closed = path();
    assert_eq!((closed.open, closed.bailouts), (false, 1));
    assert!((1..=8).contains(&closed.opens_in_seconds), "{closed:?}");
    assert_eq!(plugin.stats().snapshot().bailouts_host_call, 1);
    let start = Instant::now();
    while !path().open {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", path());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((path().bailouts, path().opens_in_seconds), (1, 0));
    // Calls that do not ask go on inline; the next one that asks closes it again, for longer.
    assert_eq!(answer(&plugin, "c", b"").await[..], [1], "a new instance");
    assert!(path().open);
    answer(&plugin, "x", b"users").await;
    let closed = path();
    assert_eq!((closed.open, closed.bailouts), (false, 2));
    assert!((9..=16).contains(&closed.opens_in_seconds), "{closed:?}");
    assert_eq!(plugin.stats().snapshot().bailouts_host_call, 2);
    fixture.runtime.shutdown();
}

#[tokio::test]
async fn the_clock_is_looked_at_on_the_inline_path() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let n_created = plugin.stats().snapshot().instances_created;
    assert_eq!(answer(&plugin, "k", b"").await[..], [1]);
    assert_eq!(answer(&plugin, "c", b"").await[..], [2], "the same one");
    assert_eq!(plugin.stats().snapshot().instances_created, n_created);
}

#[tokio::test]
async fn a_guest_that_starts_with_an_effect_starts_on_the_async_path() {
    let start = "(func $begin (call $kv-get (i32.const 16) (i32.const 6) (i32.const 384)))
        (start $begin)
        (func (export \"check\")";
    let text = include_str!("guest/all.wat").replace("(func (export \"check\")", start);
    let fixture = Fixture::new();
    let plugin = fixture
        .plugin("all", &build(&text), PluginSpec::default())
        .await;
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
    assert_eq!(plugin.stats().snapshot().traps.iter().sum::<u64>(), 0);
}

#[tokio::test]
async fn a_single_instance_is_always_entered_on_the_async_path() {
    let fixture = Fixture::new();
    let (plugin, services) = with_services(&fixture, Mode::Single).await;
    assert_eq!(answer(&plugin, "c", b"").await[..], [1]);
    answer(&plugin, "x", b"users").await;
    assert_eq!(answer(&plugin, "c", b"").await[..], [3], "no state is lost");
    assert_eq!(services.0.load(Relaxed), 1);
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.instances_created, 1);
    fixture.runtime.shutdown();
}

#[tokio::test]
async fn a_trap_on_the_inline_path_is_the_guests_and_not_begun_anew() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let n_created = plugin.stats().snapshot().instances_created;
    let error = call(&plugin, "t", b"").await.unwrap_err();
    assert_eq!(error.kind, Kind::Internal);
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.traps_with(TrapReason::Unreachable), 1);
    assert_eq!(stats.instances_created, n_created);
}
