//! Role `async-stream-handler`: messages within streams of octets, and what a guest does wrong with them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use postern_core::{Body, BodyStream, Call, Error, Handler, Kind, Reply, shadow::ShadowMark};
use postern_wasm::{Instances, Outcome, Plugin, PluginSpec, Retirement, SocketGrant, TrapReason};

use crate::{
    guest::{Fixture, asynchronous, messages, typed},
    sharing::patiently,
};

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(30);

async fn plugin(fixture: &Fixture) -> Plugin {
    fixture
        .plugin("async", &asynchronous(), PluginSpec::default())
        .await
}

async fn ask(plugin: &Plugin, method: &str, body: Body) -> Result<Reply, Error> {
    let mut call = Call::unary("test", method.to_owned(), "");
    call.body = body;
    let asked = tokio::time::timeout(LONG, plugin.call(call)).await;
    asked.expect("it ends")
}

fn stream(reply: Reply) -> BodyStream {
    let Body::Messages(stream) = reply.body else {
        panic!("{:?}", reply.body)
    };
    stream
}

/// What the reply ends with after `n_messages`.
async fn end(mut stream: BodyStream, n_messages: usize) -> Option<Error> {
    for _ in 0..n_messages {
        stream.next().await.expect("a message").expect("whole");
    }
    let end = tokio::time::timeout(LONG, stream.next()).await;
    end.expect("it ends")
        .map(|end| end.expect_err("no more messages"))
}

#[tokio::test]
async fn messages_come_back_with_their_ends() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let lengths = [1, 0, 3, 70_000, 200_000];
    let request = lengths.iter().map(|length| Bytes::from(vec![7; *length]));
    let reply = ask(&plugin, "e", messages(request.collect())).await;
    let mut stream = stream(reply.unwrap());
    let mut found = Vec::new();
    while let Some(message) = stream.next().await {
        found.push(message.unwrap().len());
    }
    assert_eq!(found, lengths);
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.calls_with(Outcome::Ok), 1);
    // One message alone is one as well.
    let reply = ask(&plugin, "e", Body::One("x".into())).await.unwrap();
    assert_eq!(reply.body.into_one(1).await.unwrap(), "x");
}

#[tokio::test]
async fn a_guest_is_ahead_of_its_caller_by_few_messages_and_ends_when_the_reply_is_dropped() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let reply = ask(&plugin, "n", Body::Empty).await.unwrap();
    let mut stream = stream(reply);
    for number in 0..100 {
        assert_eq!(stream.next().await.unwrap().unwrap()[..], [number]);
    }
    drop(stream);
    // Its write says that nobody reads, and it ends: the same instance answers what follows.
    patiently("it is told and ends", || {
        plugin.stats().snapshot().calls_with(Outcome::Cancelled) == 1
    })
    .await;
    let reply = ask(&plugin, "e", Body::One("x".into())).await.unwrap();
    assert_eq!(reply.body.into_one(1).await.unwrap(), "x");
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.instances_created, 2, "those of the start");
}

#[tokio::test]
async fn a_stream_has_its_allowance_between_two_messages() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    (spec.limits.time_max, spec.limits.cpu_max) = (LONG, SHORT);
    let plugin = fixture.plugin("async", &asynchronous(), spec).await;
    let mut stream = stream(ask(&plugin, "n", Body::Empty).await.unwrap());
    // It computes for longer than a call may, and for less between two messages.
    let computed = || Duration::from_nanos(plugin.stats().snapshot().processor_nanos);
    while computed() < SHORT * 3 {
        for _ in 0..1000 {
            stream.next().await.expect("a message").expect("it goes on");
        }
    }
}

#[tokio::test]
async fn a_request_that_waits_ends_when_its_caller_has_left() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let request = futures_util::stream::once(async { Ok(Bytes::from_static(b"a")) });
    let request = request.chain(futures_util::stream::pending());
    let body = Body::Messages(BodyStream::new(request));
    let mut stream = stream(ask(&plugin, "e", body).await.unwrap());
    assert_eq!(stream.next().await.unwrap().unwrap(), "a");
    drop(stream);
    patiently("it is told and ends", || {
        plugin.stats().snapshot().calls_with(Outcome::Cancelled) == 1
    })
    .await;
    let reply = ask(&plugin, "e", Body::One("x".into())).await.unwrap();
    assert_eq!(reply.body.into_one(1).await.unwrap(), "x");
    assert_eq!(plugin.stats().snapshot().instances_created, 2);
}

#[tokio::test]
async fn a_guest_that_computes_while_its_caller_leaves_is_dropped_in_the_middle() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    spec.limits.time_max = LONG;
    let plugin = fixture.plugin("async", &asynchronous(), spec).await;
    let left = tokio::time::timeout(SHORT, plugin.call(Call::unary("test", "s", ""))).await;
    assert!(left.is_err(), "it never answers");
    patiently("its instance is gone", || {
        let stats = plugin.stats().snapshot();
        stats.calls_with(Outcome::Cancelled) == 1 && stats.instances_live == 1
    })
    .await;
    let reply = ask(&plugin, "e", Body::One("x".into())).await.unwrap();
    assert_eq!(reply.body.into_one(1).await.unwrap(), "x");
}

#[tokio::test]
async fn a_request_is_read_no_further_than_the_reply_is_taken() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let endless = futures_util::stream::repeat_with(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(Bytes::from(vec![7; 64 * 1024]))
    });
    let reply = ask(&plugin, "e", Body::Messages(BodyStream::new(endless)));
    let mut stream = stream(reply.await.unwrap());
    for _ in 0..10 {
        stream.next().await.unwrap().unwrap();
    }
    let n_taken = taken.load(std::sync::atomic::Ordering::Relaxed);
    // Eight are sent and not taken, and some lie between the two streams.
    assert!((10..40).contains(&n_taken), "{n_taken}");
}

#[tokio::test]
async fn a_trap_comes_after_the_messages_before_it() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let reply = ask(&plugin, "t", Body::Empty).await.unwrap();
    let error = end(stream(reply), 1).await.unwrap();
    assert_eq!(error.message, "plugin async trapped: unreachable");
}

#[tokio::test]
async fn sockets_of_wasi_3_are_made_by_grant_and_never_for_a_copy() {
    let fixture = Fixture::new();
    for grant in [None, Some("tcp:127.0.0.1:*"), Some("udp:127.0.0.1:*")] {
        let mut spec = PluginSpec::default();
        spec.grants.sockets = grant
            .into_iter()
            .map(|text| SocketGrant::parse(text).expect("a grant"))
            .collect();
        let plugin = fixture.plugin("async", &asynchronous(), spec).await;
        for (method, protocol) in [("k", "tcp"), ("d", "udp")] {
            let is_granted = grant.is_some_and(|grant| grant.starts_with(protocol));
            let made = ask(&plugin, method, Body::One("x".into())).await;
            assert_eq!(made.is_ok(), is_granted, "{method} by {grant:?}: {made:?}");
            let mark = Arc::new(ShadowMark::default());
            let mut copy = Call::unary("test", method, "x");
            copy.context.shadow = Some(Arc::clone(&mark));
            let asked = tokio::time::timeout(LONG, plugin.call(copy)).await;
            let error = asked.expect("it ends").expect_err("it is a copy");
            assert_eq!((error.kind, &*error.message), (Kind::NotFound, "gone"));
            assert_eq!(
                mark.has_wanted_effect(),
                is_granted,
                "{method} by {grant:?}"
            );
        }
        let n_denied = if grant.is_none() { 4 } else { 2 };
        let denied = plugin.sandbox().denied;
        assert!(denied.contains(&("sockets", n_denied)), "{denied:?}");
    }
}

/// A spec that grants sockets.
fn granted(answers_copies: bool) -> PluginSpec {
    let mut spec = PluginSpec {
        answers_copies,
        ..PluginSpec::default()
    };
    spec.grants.sockets = vec![SocketGrant::parse("tcp:127.0.0.1:*").expect("a grant")];
    spec
}

#[tokio::test]
async fn where_copies_come_a_guest_makes_no_socket_outside_of_a_call() {
    let text = include_str!("guest/async.wat");
    // It traps where its start is given one.
    let start = "(start $begin) (func $begin (call $tcp (i32.const 0) (i32.const 96))
      (if (i32.eqz (i32.load8_u (i32.const 96))) (then (unreachable))))
    (func (export \"handle\")";
    let guest = typed(&text.replacen("(func (export \"handle\")", start, 1));
    let fixture = Fixture::new();
    let plugin = Plugin::new(&fixture.runtime, "async");
    let refusal = plugin.deploy(guest.clone().into(), granted(false)).await;
    assert!(refusal.is_err(), "it has made one");
    let deployed = plugin.deploy(guest.into(), granted(true)).await;
    deployed.expect("it was given none");
    let made = ask(&plugin, "k", Body::One("x".into())).await;
    made.expect("in a call it may");
}

#[tokio::test]
async fn no_copy_finds_what_calls_before_it_have_left_open() {
    let fixture = Fixture::new();
    let plugin = fixture
        .plugin("async", &asynchronous(), granted(true))
        .await;
    // The socket is kept.
    let reply = ask(&plugin, "k", Body::One("x".into()))
        .await
        .expect("made");
    end(stream(reply), 1).await;
    // Another call is under way: its guest has answered and waits for more.
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let more = futures_util::stream::once(async { Ok(receiver.await.expect("sent")) });
    let request = futures_util::stream::iter([Ok(Bytes::from("x"))]).chain(more);
    let body = Body::Messages(BodyStream::new(Box::pin(request)));
    let mut busy = stream(ask(&plugin, "e", body).await.expect("it begins"));
    busy.next().await.expect("a message").expect("whole");
    let retired = || plugin.stats().snapshot().retired_with(Retirement::Copies);
    plugin.begin_copies();
    assert_eq!(retired(), 1, "the idle one");
    sender.send(Bytes::from("x")).expect("it waits");
    end(busy, 1).await;
    patiently("the one that was at work", || retired() == 2).await;
    let made = plugin.stats().snapshot().instances_created;
    let mut copy = Call::unary("test", "e", "x");
    copy.context.shadow = Some(Arc::default());
    plugin.call(copy).await.expect("answered");
    assert_eq!(plugin.stats().snapshot().instances_created, made + 1);
}

#[tokio::test]
async fn a_failure_is_returned_or_said() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    for method in ["r", "f"] {
        let error = ask(&plugin, method, Body::Empty).await.unwrap_err();
        assert_eq!((error.kind, &*error.message), (Kind::NotFound, "gone"));
    }
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.calls_with(Outcome::Failed), 2);
    assert_eq!(stats.instances_created, 2, "those of the start");
}

#[tokio::test]
async fn a_guest_that_computes_or_waits_for_ever_is_stopped_at_its_time() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    spec.limits.time_max = SHORT;
    let plugin = fixture.plugin("async", &asynchronous(), spec).await;
    for (method, n_stopped) in [("s", 1), ("w", 2)] {
        let error = ask(&plugin, method, Body::Empty).await.unwrap_err();
        assert!(error.message.contains("time limit 100 ms"), "{error}");
        let traps = plugin.stats().snapshot().traps_with(TrapReason::TimeLimit);
        assert_eq!(traps, n_stopped);
    }
    let reply = ask(&plugin, "e", Body::One("x".into())).await.unwrap();
    assert_eq!(reply.body.into_one(1).await.unwrap(), "x");
}

#[tokio::test]
async fn a_deadline_ends_a_stream_whose_guest_waits() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let mut call = Call::unary("test", "e", "");
    call.body = Body::Messages(BodyStream::new(futures_util::stream::pending()));
    call.context.deadline = Some(std::time::Instant::now() + SHORT);
    let error = crate::guest::bounded(&plugin, call).await.unwrap_err();
    assert_eq!(error.kind, Kind::DeadlineExceeded, "{error}");
}

#[tokio::test]
async fn a_reply_that_ends_within_a_message_is_internal() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let error = ask(&plugin, "p", Body::Empty).await.unwrap_err();
    assert_eq!(
        (error.kind, &*error.message),
        (Kind::Internal, "the reply has ended within a message")
    );
}

#[tokio::test]
async fn a_message_over_the_limit_is_stopped_by_its_length() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let error = ask(&plugin, "b", Body::Empty).await.unwrap_err();
    assert!(
        error.message.contains("output of 2147483647 octets"),
        "{error}"
    );
    let traps = plugin.stats().snapshot();
    assert_eq!(traps.traps_with(TrapReason::OutputLimit), 1);
}

#[tokio::test]
async fn a_request_that_a_guest_keeps_is_let_go_of_with_the_call() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let request = futures_util::stream::unfold(receiver, async |mut receiver| {
        let message = receiver.recv().await?;
        Some((Ok(message), receiver))
    });
    let body = Body::Messages(BodyStream::new(request));
    let reply = ask(&plugin, "u", body).await.unwrap();
    assert!(matches!(reply.body, Body::Empty), "{:?}", reply.body);
    tokio::time::timeout(LONG, sender.closed())
        .await
        .expect("nobody reads it");
    // The same instance answers what follows.
    let reply = ask(&plugin, "e", Body::One("x".into())).await.unwrap();
    assert_eq!(reply.body.into_one(1).await.unwrap(), "x");
}

#[tokio::test]
async fn a_stream_that_is_sent_nothing_loses_its_instance() {
    let fixture = Fixture::new();
    let instances = Instances {
        stream_idle_max: SHORT,
        ..Instances::default()
    };
    let spec = PluginSpec {
        instances,
        ..PluginSpec::default()
    };
    let plugin = fixture.plugin("async", &asynchronous(), spec).await;
    let body = Body::Messages(BodyStream::new(futures_util::stream::pending()));
    let error = ask(&plugin, "e", body).await.unwrap_err();
    assert_eq!(error.kind, Kind::DeadlineExceeded, "{error}");
}
