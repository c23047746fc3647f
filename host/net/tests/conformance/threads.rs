//! Many clients at once on a runtime of several threads: nothing is lost, mixed up or left behind.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use postern_core::{Body, BodyStream, Call, Handler};
use postern_net::Client;

use crate::links::{Link, unary};

const CLIENTS: usize = 8;
const CALLS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tcp() {
    run(Link::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn udp() {
    run(Link::Udp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn quic() {
    run(Link::Quic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ws() {
    run(Link::WebSocket).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_stream() {
    run(Link::MemoryStream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_datagram() {
    run(Link::MemoryDatagram).await;
}

async fn run(link: Link) {
    let bench = link.serve().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(bench.client().await);
    }
    let calls = clients.iter().enumerate().flat_map(|(client_idx, client)| {
        (0..CALLS).map(move |call_idx| {
            tokio::spawn(one(link, client.clone(), client_idx * CALLS + call_idx))
        })
    });
    for done in join_all(calls).await {
        done.expect("an answer of its own");
    }
    assert_eq!(
        bench.service.n_calls.load(Ordering::SeqCst),
        CLIENTS * CALLS
    );
    assert_eq!(bench.service.n_cancelled.load(Ordering::SeqCst), 0);
    for client in clients {
        client.close().await;
    }
    let counters = std::sync::Arc::clone(&bench.counters);
    bench.stop().await;
    assert_eq!(counters.connections_opened.value(), CLIENTS as u64);
    assert_eq!(counters.connections_open(), 0);
    assert_eq!(
        counters.protocol_errors.value() + counters.crc_errors.value(),
        0
    );
}

/// Every third call is answered at once, every third later, every third is a stream where streams
/// are carried.
async fn one(link: Link, client: Client, n: usize) {
    let is_stream_link = !matches!(link, Link::Udp | Link::MemoryDatagram);
    match n % 3 {
        0 => {
            let body: Bytes = format!("{n} ").repeat(n).into();
            assert_eq!(
                unary(&client, "echo", body.clone()).await.expect("an echo"),
                body
            );
        }
        1 if is_stream_link => {
            let items = (0..5).map(move |item| Ok(format!("{n}/{item}").into()));
            let body = Body::Messages(BodyStream::new(stream::iter(items)));
            let call = Call {
                body,
                ..Call::unary("test", "stream-echo", "")
            };
            let Body::Messages(stream) = client.call(call).await.expect("a reply").body else {
                panic!("no stream");
            };
            let items: Vec<Bytes> = stream.map(|item| item.expect("a message")).collect().await;
            let expected: Vec<_> = (0..5).map(|item| format!("{n}/{item}")).collect();
            assert_eq!(items, expected);
        }
        _ => {
            let ms = (n % 7).to_string();
            assert_eq!(
                unary(&client, "sleep", ms.clone())
                    .await
                    .expect("an answer"),
                ms
            );
        }
    }
}
