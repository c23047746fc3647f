//! Role `stream-handler`: many messages in and out, back pressure, cancellation, errors at the end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use postern_core::{Body, Call, Handler, Kind, Reply};
use postern_wasm::{Outcome, Plugin, PluginSpec};

use crate::{
    guest::{Fixture, all, messages},
    sharing::patiently,
};

async fn stream(plugin: &Plugin, method: &str, n_messages: u8) -> Reply {
    let mut call = Call::unary("test", method, "");
    call.body = messages(
        (0..n_messages)
            .map(|number| Bytes::from(vec![number]))
            .collect(),
    );
    plugin.call(call).await.expect("a reply")
}

#[tokio::test]
async fn every_message_comes_back_in_order_with_the_headers_first() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let reply = stream(&plugin, "e", 100).await;
    assert_eq!(reply.headers.get_str("x-test").as_deref(), Some("ran"));
    let Body::Messages(mut body) = reply.body else {
        panic!("a stream")
    };
    for number in 0..100 {
        assert_eq!(body.next().await.unwrap().unwrap()[..], [number]);
    }
    assert!(body.next().await.is_none());
    assert_eq!(plugin.stats().snapshot().calls_with(Outcome::Ok), 1);
}

#[tokio::test]
async fn a_stream_without_a_message_is_an_empty_body() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let reply = stream(&plugin, "e", 0).await;
    assert!(matches!(reply.body, Body::Empty));
    assert_eq!(reply.headers.get_str("x-test").as_deref(), Some("ran"));
}

#[tokio::test]
async fn an_endless_stream_goes_as_far_as_it_is_read_and_ends_when_it_is_dropped() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let reply = stream(&plugin, "n", 0).await;
    let Body::Messages(mut body) = reply.body else {
        panic!("a stream")
    };
    for number in 0..20 {
        assert_eq!(body.next().await.unwrap().unwrap()[..], [number]);
    }
    drop(body);
    patiently("it is told and ends", || {
        plugin.stats().snapshot().calls_with(Outcome::Cancelled) == 1
    })
    .await;
}

#[tokio::test]
async fn a_guest_that_waits_for_a_caller_that_has_left_ends_and_its_instance_serves_on() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let before = plugin.stats().snapshot();
    for n_left in 1..4 {
        let mut call = Call::unary("test", "e", "");
        let request = futures_util::stream::once(async { Ok(Bytes::from_static(b"a")) });
        let request = request.chain(futures_util::stream::pending());
        call.body = Body::Messages(postern_core::BodyStream::new(request));
        let Body::Messages(mut body) = plugin.call(call).await.unwrap().body else {
            panic!("a stream")
        };
        assert_eq!(body.next().await.unwrap().unwrap(), "a");
        drop(body);
        patiently("it is told and ends", || {
            plugin.stats().snapshot().calls_with(Outcome::Cancelled) == n_left
        })
        .await;
    }
    let after = plugin.stats().snapshot();
    assert_eq!(after.instances_live, before.instances_live);
    assert_eq!(after.instances_created, before.instances_created);
}

#[tokio::test]
async fn a_request_is_read_no_further_than_the_reply_is_taken() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let endless = futures_util::stream::repeat_with(move || {
        counted.fetch_add(1, Relaxed);
        Ok(Bytes::from_static(b"m"))
    });
    let mut call = Call::unary("test", "e", "");
    call.body = Body::Messages(postern_core::BodyStream::new(endless));
    let Body::Messages(mut body) = plugin.call(call).await.unwrap().body else {
        panic!("a stream")
    };
    for _ in 0..10 {
        assert_eq!(body.next().await.unwrap().unwrap(), "m");
    }
    // Eight are sent and not taken, and one is being sent.
    let n_taken = taken.load(Relaxed);
    assert!((10..20).contains(&n_taken), "{n_taken}");
}

#[tokio::test]
async fn a_trap_comes_after_the_messages_before_it() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let reply = stream(&plugin, "t", 0).await;
    let Body::Messages(mut body) = reply.body else {
        panic!("a stream")
    };
    assert_eq!(body.next().await.unwrap().unwrap(), "ran");
    assert_eq!(body.next().await.unwrap().unwrap(), "ran");
    let error = body.next().await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind, &*error.message),
        (Kind::Internal, "plugin all trapped: unreachable")
    );
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn a_failure_without_a_message_is_the_calls_failure() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let mut call = Call::unary("test", "?", "");
    call.body = messages(vec![]);
    assert_eq!(plugin.call(call).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn waiting_for_the_caller_does_not_count_as_the_guests_time() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    spec.limits.time_max = Duration::from_millis(50);
    let plugin = fixture.plugin("all", &all(), spec).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let inbound = futures_util::stream::unfold(receiver, async |mut receiver| {
        let message = receiver.recv().await?;
        Some((Ok(message), receiver))
    });
    let mut call = Call::unary("test", "e", "");
    call.body = Body::Messages(postern_core::BodyStream::new(inbound));
    let slow = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            sender
                .send(Bytes::from_static(b"late"))
                .await
                .expect("it is read");
        }
        drop(sender);
    };
    let read = async {
        let Body::Messages(mut body) = plugin.call(call).await.unwrap().body else {
            panic!("a stream")
        };
        let mut n_messages = 0;
        while let Some(message) = body.next().await {
            assert_eq!(message.unwrap(), "late");
            n_messages += 1;
        }
        n_messages
    };
    let ((), n_messages) = tokio::join!(slow, read);
    assert_eq!(n_messages, 3);
}
