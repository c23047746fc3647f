//! Calls of many messages: client, server and two-way streaming on one session.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use postern_core::{Body, BodyStream, Call, Error, Handler, Kind};
use postern_net::{Client, ServerConfig, memory::Conditions};
use tokio::sync::mpsc;

use crate::links::{Link, unary, within};

/// The same tests once per stream link.
macro_rules! each_stream_link {
    ($($name:ident),+ $(,)?) => {
        mod tcp { $(#[tokio::test] async fn $name() { super::$name(super::Link::Tcp).await; })+ }
        mod quic { $(#[tokio::test] async fn $name() { super::$name(super::Link::Quic).await; })+ }
        mod tls { $(#[tokio::test] async fn $name() { super::$name(super::Link::Tls).await; })+ }
        mod unix { $(#[tokio::test] async fn $name() { super::$name(super::Link::Unix).await; })+ }
        mod ws { $(#[tokio::test] async fn $name() { super::$name(super::Link::WebSocket).await; })+ }
        mod wss { $(#[tokio::test] async fn $name() { super::$name(super::Link::SecureWebSocket).await; })+ }
        mod memory_stream {
            $(#[tokio::test] async fn $name() { super::$name(super::Link::MemoryStream).await; })+
        }
    };
}

each_stream_link!(
    a_server_streams_its_reply,
    a_client_streams_its_request,
    both_stream_at_the_same_time,
    a_megabyte_passes_each_way_in_order,
    an_error_in_the_middle_arrives_by_name,
    an_error_at_once_arrives_by_name,
    a_failing_request_body_resets_the_call,
    a_reader_that_does_not_read_stops_its_sender_only,
    dropping_the_reply_drops_the_body_at_the_server,
    dropping_the_call_cancels_it_at_the_server,
    the_deadline_ends_a_stream,
    a_lost_session_ends_streams_with_an_error,
    draining_waits_for_streams,
);

const SOON: Duration = Duration::from_secs(10);

fn streaming(method: &str, items: impl IntoIterator<Item = Result<Bytes, Error>>) -> Call {
    let items: Vec<_> = items.into_iter().collect();
    Call {
        body: Body::Messages(BodyStream::new(stream::iter(items))),
        ..Call::unary("test", method, "")
    }
}

async fn reply(client: &Client, call: Call) -> BodyStream {
    match within(SOON, client.call(call)).await.expect("a reply").body {
        Body::Messages(stream) => stream,
        body @ (Body::Empty | Body::One(_) | Body::Octets(_)) => {
            panic!("{body:?} instead of a stream")
        }
    }
}

async fn all(mut stream: BodyStream) -> Vec<Bytes> {
    let mut items = Vec::new();
    while let Some(item) = within(SOON, stream.next()).await {
        items.push(item.expect("a message"));
    }
    items
}

async fn until(mut is_so: impl FnMut() -> bool) {
    within(SOON, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn a_server_streams_its_reply(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let items = all(reply(&client, streaming("many", [Ok("ask".into())])).await).await;
    assert_eq!(items, ["a", "b"]);
    client.close().await;
    bench.stop().await;
}

async fn a_client_streams_its_request(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let numbers = (1..=1000).map(|n: u32| Ok(n.to_string().into()));
    let call = client.call(streaming("sum", numbers));
    // One message is one message, however it came.
    match within(SOON, call).await.expect("a reply").body {
        Body::One(sum) => assert_eq!(sum, "500500"),
        body @ (Body::Empty | Body::Messages(_) | Body::Octets(_)) => panic!("{body:?}"),
    }
    client.close().await;
    bench.stop().await;
}

async fn both_stream_at_the_same_time(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let (questions, receiver) = mpsc::unbounded_channel::<Result<Bytes, Error>>();
    let body = stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    });
    let body = Body::Messages(BodyStream::new(body));
    let call = Call {
        body,
        ..Call::unary("test", "stream-echo", "")
    };
    let mut answers = reply(&client, call).await;
    // Each answer comes before the next question is asked.
    for n in 0..10 {
        questions
            .send(Ok(n.to_string().into()))
            .expect("the call is open");
        let answer = within(SOON, answers.next())
            .await
            .expect("open")
            .expect("a message");
        assert_eq!(answer, n.to_string());
    }
    drop(questions);
    assert!(within(SOON, answers.next()).await.is_none());
    client.close().await;
    bench.stop().await;
}

async fn a_megabyte_passes_each_way_in_order(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let item = |n: u32| Bytes::from(n.to_be_bytes().repeat(256));
    let items = all(reply(
        &client,
        streaming("stream-echo", (0..1024).map(|n| Ok(item(n)))),
    )
    .await);
    let items = items.await;
    assert_eq!(items.len(), 1024);
    for (n, got) in (0..).zip(items) {
        assert!(got == item(n), "message {n} differs");
    }
    client.close().await;
    bench.stop().await;
}

async fn an_error_in_the_middle_arrives_by_name(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let mut items = reply(&client, streaming("broken-stream", [])).await;
    assert_eq!(items.next().await.expect("open").expect("a message"), "a");
    let error = items.next().await.expect("open").expect_err("broken");
    assert_eq!((error.kind, &*error.message), (Kind::DataLoss, "half way"));
    assert!(items.next().await.is_none());
    client.close().await;
    bench.stop().await;
}

async fn an_error_at_once_arrives_by_name(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let mut call = streaming("many", []);
    call.service = "nobody".into();
    let error = within(SOON, client.call(call)).await.expect_err("unknown");
    assert_eq!(error.kind, Kind::NotFound);
    client.close().await;
    bench.stop().await;
}

async fn a_failing_request_body_resets_the_call(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let broken = Error::new(Kind::Aborted, postern_core::Blame::Client, "no more");
    let error = within(
        SOON,
        client.call(streaming("sum", [Ok("1".into()), Err(broken)])),
    )
    .await;
    assert_eq!(error.expect_err("reset").kind, Kind::Aborted);
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    client.close().await;
    bench.stop().await;
}

async fn a_reader_that_does_not_read_stops_its_sender_only(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let mut unread = reply(&client, streaming("endless", [])).await;
    // The default window is 256 KiB: 1 KiB messages and 64 octets each.
    until(|| bench.service.n_made.load(Ordering::SeqCst) > 200).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let made = bench.service.n_made.load(Ordering::SeqCst);
    assert!(
        made < 300,
        "{made} messages were made for a reader that does not read"
    );
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    // It goes on when it is read.
    for _ in 0..1000 {
        assert_eq!(
            within(SOON, unread.next())
                .await
                .expect("open")
                .expect("a message")
                .len(),
            1024
        );
    }
    drop(unread);
    client.close().await;
    bench.stop().await;
}

async fn dropping_the_reply_drops_the_body_at_the_server(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let mut endless = reply(&client, streaming("endless", [])).await;
    assert!(endless.next().await.is_some());
    drop(endless);
    until(|| bench.service.n_dropped.load(Ordering::SeqCst) == 1).await;
    client.close().await;
    bench.stop().await;
}

async fn dropping_the_call_cancels_it_at_the_server(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let never = tokio::spawn(client.call(streaming("never", [])));
    until(|| bench.service.n_calls.load(Ordering::SeqCst) == 1).await;
    never.abort();
    until(|| bench.service.n_cancelled.load(Ordering::SeqCst) == 1).await;
    client.close().await;
    bench.stop().await;
}

async fn the_deadline_ends_a_stream(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let mut call = Call {
        body: Body::Messages(BodyStream::new(stream::pending())),
        ..Call::unary("test", "stream-echo", "")
    };
    let now = tokio::time::Instant::now().into_std();
    call.context.deadline = Some(now + Duration::from_millis(100));
    let mut items = reply(&client, call).await;
    let error = within(SOON, items.next())
        .await
        .expect("open")
        .expect_err("too slow");
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    client.close().await;
    bench.stop().await;
}

async fn a_lost_session_ends_streams_with_an_error(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let mut endless = reply(&client, streaming("endless", [])).await;
    bench.shutdown.end();
    let error = within(SOON, async {
        loop {
            if let Err(error) = endless.next().await.expect("an error at the end") {
                break error;
            }
        }
    })
    .await;
    assert_eq!(error.kind, Kind::Unavailable);
    until(|| bench.service.n_dropped.load(Ordering::SeqCst) == 1).await;
    bench.stop().await;
}

async fn draining_waits_for_streams(link: Link) {
    let bench = link
        .serve_with(ServerConfig::default(), Conditions::default())
        .await;
    let client = bench.client().await;
    let (questions, receiver) = mpsc::unbounded_channel::<Result<Bytes, Error>>();
    let body = stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    })
    .boxed();
    let call = Call {
        body: Body::Messages(BodyStream::new(body)),
        ..Call::unary("test", "stream-echo", "")
    };
    let mut answers = reply(&client, call).await;
    bench.shutdown.drain();
    tokio::time::sleep(Duration::from_millis(50)).await;
    questions.send(Ok("still there".into())).expect("open");
    assert_eq!(
        within(SOON, answers.next())
            .await
            .expect("open")
            .expect("a message"),
        "still there"
    );
    drop(questions);
    assert!(within(SOON, answers.next()).await.is_none());
    within(Duration::from_secs(5), bench.stop()).await;
    client.close().await;
}
