//! What a caller sees, the same on every link.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use postern_core::{Blame, Call, Kind};

use crate::links::{Link, body_of, unary, with_header, within};

/// The same tests once per link.
macro_rules! each_link {
    ($($name:ident),+ $(,)?) => {
        mod tcp { $(#[tokio::test] async fn $name() { super::$name(super::Link::Tcp).await; })+ }
        mod quic { $(#[tokio::test] async fn $name() { super::$name(super::Link::Quic).await; })+ }
        mod tls { $(#[tokio::test] async fn $name() { super::$name(super::Link::Tls).await; })+ }
        mod unix { $(#[tokio::test] async fn $name() { super::$name(super::Link::Unix).await; })+ }
        mod ws { $(#[tokio::test] async fn $name() { super::$name(super::Link::WebSocket).await; })+ }
        mod wss { $(#[tokio::test] async fn $name() { super::$name(super::Link::SecureWebSocket).await; })+ }
        mod udp { $(#[tokio::test] async fn $name() { super::$name(super::Link::Udp).await; })+ }
        mod memory_datagram {
            $(#[tokio::test] async fn $name() { super::$name(super::Link::MemoryDatagram).await; })+
        }
        mod memory_stream {
            $(#[tokio::test] async fn $name() { super::$name(super::Link::MemoryStream).await; })+
        }
    };
}

each_link!(
    echoes_every_size,
    a_hundred_calls_are_answered_out_of_order,
    every_kind_of_error_arrives_by_name,
    an_unknown_service_is_not_found,
    a_deadline_ends_a_call_at_both_ends,
    the_server_is_told_what_is_left_of_the_deadline,
    a_panic_costs_one_call_only,
    a_stream_of_messages_is_refused_with_the_remedy,
);

fn octets(length: usize) -> Bytes {
    (0..length).map(|n| (n % 251) as u8).collect()
}

async fn echoes_every_size(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    for length in [0, 1, 1024, 64 * 1024, 1024 * 1024] {
        let echoed = unary(&client, "echo", octets(length))
            .await
            .expect("an echo");
        assert!(echoed == octets(length), "{length} octets differ");
    }
    client.close().await;
    bench.stop().await;
}

async fn a_hundred_calls_are_answered_out_of_order(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let calls = (0..100_u64).map(|n| {
        let client = client.clone();
        async move {
            // Later calls sleep less.
            let ms = (100 - n).to_string();
            let answer = unary(&client, "sleep", ms.clone())
                .await
                .expect("an answer");
            assert_eq!(answer, ms);
            n
        }
    });
    let finished = join_all(calls.map(tokio::spawn));
    let finished = within(Duration::from_secs(10), finished).await;
    assert_eq!(finished.len(), 100);
    for (n, done) in finished.into_iter().enumerate() {
        assert_eq!(done.expect("no panic"), n as u64);
    }
    client.close().await;
    bench.stop().await;
}

async fn every_kind_of_error_arrives_by_name(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    for kind in Kind::ALL {
        let call = with_header(Call::unary("test", "fail", ""), "kind", kind.name());
        let error = body_of(&client, call).await.expect_err("asked to fail");
        assert_eq!(error.kind, kind);
        assert_eq!(error.message, format!("asked for {kind}"));
        assert_eq!(error.details.as_deref(), Some(&br#"{"by":"test"}"#[..]));
    }
    client.close().await;
    bench.stop().await;
}

async fn an_unknown_service_is_not_found(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let error = body_of(&client, Call::unary("nobody", "echo", ""))
        .await
        .expect_err("unknown");
    assert_eq!(
        (error.kind, &*error.message),
        (Kind::NotFound, "no service nobody")
    );
    client.close().await;
    bench.stop().await;
}

async fn a_deadline_ends_a_call_at_both_ends(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let mut call = Call::unary("test", "never", "");
    let now = tokio::time::Instant::now().into_std();
    call.context.deadline = Some(now + Duration::from_millis(100));
    let error = body_of(&client, call).await.expect_err("too slow");
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    within(Duration::from_secs(5), async {
        while bench
            .service
            .n_cancelled
            .load(std::sync::atomic::Ordering::SeqCst)
            == 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // The session is well.
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    client.close().await;
    bench.stop().await;
}

async fn the_server_is_told_what_is_left_of_the_deadline(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let mut call = Call::unary("test", "time-left", "");
    let now = tokio::time::Instant::now().into_std();
    call.context.deadline = Some(now + Duration::from_secs(9));
    let left = body_of(&client, call).await.expect("an answer");
    let left: u64 = String::from_utf8_lossy(&left)
        .parse()
        .expect("milliseconds");
    assert!((5_000..=9_000).contains(&left), "{left} ms are left of 9 s");
    client.close().await;
    bench.stop().await;
}

async fn a_panic_costs_one_call_only(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let error = unary(&client, "panic", "").await.expect_err("panicked");
    assert_eq!((error.kind, error.blame), (Kind::Internal, Blame::Upstream));
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    client.close().await;
    bench.stop().await;
}

async fn a_stream_of_messages_is_refused_with_the_remedy(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let error = unary(&client, "many", "").await.expect_err("a stream");
    assert_eq!(error.kind, Kind::Unimplemented);
    assert!(error.message.contains("over HTTP"), "{}", error.message);
    client.close().await;
    bench.stop().await;
}
