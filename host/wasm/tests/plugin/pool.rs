//! How instances are shared: bounds, queue, retirement, and the three modes.

use std::{sync::Arc, time::Duration};

use postern_core::{Call, Kind};
use postern_wasm::{Instances, Mode, Outcome, PluginSpec};

use crate::guest::{Fixture, all, answer, bounded, call};

fn with(instances: Instances) -> PluginSpec {
    PluginSpec {
        instances,
        ..PluginSpec::default()
    }
}

#[tokio::test]
async fn an_instance_is_replaced_after_its_calls() {
    let fixture = Fixture::new();
    let instances = Instances {
        max: 1,
        calls_max: 4,
        ..Instances::default()
    };
    let plugin = fixture.plugin("all", &all(), with(instances)).await;
    let mut counts = Vec::new();
    for _ in 0..8 {
        counts.push(answer(&plugin, "c", b"").await[0]);
    }
    assert_eq!(counts, [1, 2, 3, 4, 1, 2, 3, 4]);
}

#[tokio::test]
async fn an_instance_is_replaced_when_it_has_grown() {
    let fixture = Fixture::new();
    let instances = Instances {
        max: 1,
        growth_bytes_max: 65536,
        ..Instances::default()
    };
    let plugin = fixture.plugin("all", &all(), with(instances)).await;
    assert_eq!(answer(&plugin, "g", &[1]).await[..], [1]);
    assert_eq!(
        answer(&plugin, "g", &[1]).await[..],
        [2],
        "one page is within the bound"
    );
    assert_eq!(answer(&plugin, "c", b"").await[..], [1], "two are not");
}

#[tokio::test]
async fn isolated_gives_every_call_an_instance_of_its_own() {
    let fixture = Fixture::new();
    let instances = Instances {
        mode: Mode::Isolated,
        ..Instances::default()
    };
    let plugin = fixture.plugin("all", &all(), with(instances)).await;
    assert_eq!(answer(&plugin, "c", b"").await[..], [1]);
    assert_eq!(answer(&plugin, "c", b"").await[..], [1]);
    assert_eq!(plugin.stats().snapshot().instances_live, 0);
}

#[tokio::test]
async fn single_keeps_its_state_until_it_traps() {
    let fixture = Fixture::new();
    let instances = Instances {
        mode: Mode::Single,
        calls_max: 1,
        ..Instances::default()
    };
    let plugin = Arc::new(fixture.plugin("all", &all(), with(instances)).await);
    let calls = (0..10).map(|_| {
        let plugin = Arc::clone(&plugin);
        tokio::spawn(async move { answer(&plugin, "c", b"").await[0] })
    });
    let mut counts = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        counts.push(call.await.unwrap());
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=10).collect::<Vec<u8>>());
    call(&plugin, "t", b"").await.unwrap_err();
    assert_eq!(answer(&plugin, "c", b"").await[..], [1]);
}

#[tokio::test]
async fn calls_wait_in_a_bounded_queue_and_are_then_refused() {
    let fixture = Fixture::new();
    let instances = Instances {
        max: 1,
        queue_max: 1,
        ..Instances::default()
    };
    let mut spec = with(instances);
    spec.limits.time_max = Duration::from_millis(200);
    let plugin = fixture.plugin("all", &all(), spec).await;
    let looping = call(&plugin, "l", b"");
    let waiting = answer(&plugin, "e", b"waited");
    let refused = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        call(&plugin, "e", b"").await
    };
    let (looping, waiting, refused) = tokio::join!(looping, waiting, refused);
    assert_eq!(looping.unwrap_err().kind, Kind::DeadlineExceeded);
    assert_eq!(waiting, "waited");
    let error = refused.unwrap_err();
    assert_eq!(error.kind, Kind::ResourceExhausted);
    assert_eq!(
        error.message,
        "1 calls already wait for an instance of plugin all"
    );
    let stats = plugin.stats().snapshot();
    assert_eq!((stats.queue_waits, stats.queue_length), (1, 0));
    assert!(stats.queue_wait_nanos > 50_000_000);
    assert_eq!(stats.calls_with(Outcome::Refused), 1);
}

#[tokio::test]
async fn a_call_waits_no_longer_than_its_deadline() {
    let fixture = Fixture::new();
    let instances = Instances {
        max: 1,
        ..Instances::default()
    };
    let plugin = fixture.plugin("all", &all(), with(instances)).await;
    let looping = tokio::time::timeout(Duration::from_millis(300), call(&plugin, "l", b""));
    let hurried = async {
        let mut request = Call::unary("test", "e", "");
        request.context.deadline = Some(std::time::Instant::now() + Duration::from_millis(50));
        bounded(&plugin, request).await
    };
    let (looping, hurried) = tokio::join!(looping, hurried);
    assert!(looping.is_err());
    assert_eq!(hurried.unwrap_err().kind, Kind::ResourceExhausted);
    assert_eq!(answer(&plugin, "e", b"free").await, "free");
}

#[tokio::test]
async fn idle_instances_are_dropped() {
    let fixture = Fixture::new();
    let instances = Instances {
        idle_max: Duration::from_millis(10),
        ..Instances::default()
    };
    let plugin = fixture.plugin("all", &all(), with(instances)).await;
    assert_eq!(plugin.stats().snapshot().instances_live, 2);
    // They are looked for every second.
    let mut n_tries = 0;
    while plugin.stats().snapshot().instances_live > 0 && n_tries < 50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        n_tries += 1;
    }
    assert_eq!(plugin.stats().snapshot().instances_live, 0);
    assert_eq!(answer(&plugin, "e", b"back").await, "back");
}
