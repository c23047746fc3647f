//! More calls than a service can take, streams that hold their permits, callers that go away.

use std::time::Duration;

use postern_core::{
    Body, Kind, Retry,
    resilience::{BulkheadConfig, BulkheadLimit},
};
use postern_system::clock;

use super::{
    super::{DecisionLog, ServicePolicy},
    fixture::{Does, Fixture, SECOND, call, text},
};

fn room(limit: u32, queue_max: u32) -> impl FnOnce(&mut ServicePolicy) {
    move |service| {
        service.concurrency = Some(BulkheadConfig {
            limit: BulkheadLimit::Fixed(limit),
            queue_max,
            wait_max: SECOND * 2,
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_least_urgent_is_shed_and_told_when_to_come_again() {
    let fixture = Fixture::new(&["a"], room(1, 1));
    fixture.tell("a", Does::AnswerAfter(SECOND));
    let send = |priority: u8| {
        let mut urgent = call("Get");
        urgent.context.priority = priority;
        tokio::spawn(fixture.cluster().call(urgent, &DecisionLog::off()))
    };
    let first = send(50);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (waits, more_urgent) = (send(50), send(200));
    let refused = waits.await.expect("no panic").expect_err("displaced");
    assert_eq!(refused.kind, Kind::ResourceExhausted);
    let Retry::After(after) = refused.retry else {
        panic!("{:?}", refused.retry);
    };
    assert!(after >= Duration::from_millis(100), "{after:?}");
    let details = refused.details.expect("details");
    assert!(details.starts_with(b"{\"shed\":\"displaced\""));
    assert_eq!(text(first.await.expect("no panic")), "a");
    assert_eq!(text(more_urgent.await.expect("no panic")), "a");
    let numbers = fixture.numbers();
    assert_eq!((numbers.sheds["displaced"], numbers.waited), (1, 2));
    fixture.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_allowed() {
    let fixture = Fixture::new(&["a"], room(1, 10));
    fixture.tell("a", Does::Hang);
    let first = tokio::spawn(fixture.call("Get"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let began = clock::now();
    let (error, why) = fixture.fails("Get").await;
    assert_eq!(clock::since(began), SECOND * 2);
    assert_eq!(error.kind, Kind::ResourceExhausted);
    assert_eq!(why, "- - tries=0 waited shed:expired");
    first.abort();
    let _ = first.await;
    fixture.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_gives_every_place_back() {
    let fixture = Fixture::new(&["a", "b"], room(2, 10));
    for name in ["a", "b"] {
        fixture.tell(name, Does::Hang);
    }
    let tasks: Vec<_> = (0..6).map(|_| tokio::spawn(fixture.call("Get"))).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let numbers = fixture.numbers();
    assert_eq!((numbers.admitted, numbers.waiting), (Some(2), 4));
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
    fixture.assert_idle();
    for name in ["a", "b"] {
        fixture.tell(name, Does::Answer);
    }
    assert_eq!(fixture.calls("Get", 10).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_holds_its_places_to_its_last_message() {
    let fixture = Fixture::new(&["a"], room(1, 0));
    fixture.tell("a", Does::Stream(3));
    let reply = fixture.call("Watch").await.expect("answered");
    let Body::Messages(mut stream) = reply.body else {
        panic!("no stream");
    };
    let mut n_messages = 0;
    while n_messages < 3 {
        let message = stream.next().await.expect("a message");
        message.expect("good");
        n_messages += 1;
        assert_eq!(fixture.instance("a").in_flight, 1);
        assert_eq!(fixture.numbers().admitted, Some(1));
        assert!(fixture.call("Watch").await.is_err(), "no place is free");
    }
    assert!(stream.next().await.is_none());
    fixture.assert_idle();
    assert_eq!(fixture.instance("a").successes, 1);
    // A stream that is dropped gives all back as well.
    drop(fixture.call("Watch").await.expect("answered"));
    fixture.assert_idle();
    assert_eq!(fixture.instance("a").others, 1);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_try_ends_at_the_head_of_a_stream() {
    let fixture = Fixture::new(&["a"], |service| {
        let config = postern_core::resilience::RetryPolicyConfig {
            per_try_timeout: Some(Duration::from_millis(500)),
            ..Default::default()
        };
        service.retry = postern_core::resilience::RetryPolicy::new(config).expect("it works");
    });
    fixture.tell("a", Does::Stream(3));
    let reply = fixture.call("Watch").await.expect("answered");
    let Body::Messages(mut stream) = reply.body else {
        panic!("no stream");
    };
    let mut n_messages = 0;
    while let Some(message) = stream.next().await {
        message.expect("good");
        n_messages += 1;
    }
    assert_eq!(n_messages, 3);
    assert_eq!(fixture.instance("a").timeouts, 0);
}
