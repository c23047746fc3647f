//! The cases of the table. What a transport refuses is the outcome of its case; anything else that is
//! not as it should be fails the test.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use postern_core::{Blame, Body, BodyStream, Call, Error, Headers, Kind};

use super::{
    bodies::{asking, fields, flowing, octets},
    stand::{Stand, until},
};

#[derive(Debug, Clone, Copy)]
pub(super) enum Case {
    Unary,
    Long,
    Trailers,
    ClientStream,
    ServerStream,
    BothWays,
    Ordered,
    ManyForOne,
    Headers,
    Kinds,
    ErrorWithin,
    RequestBroken,
    Panic,
    Deadline,
    DeadlineOfStream,
    TimeLeft,
    CallDropped,
    ReplyDropped,
    Cut,
    CutOfStream,
    SlowReader,
    Drain,
}

type Outcome = Result<(), Error>;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

impl Case {
    pub(super) const ALL: [Self; 22] = [
        Self::Unary,
        Self::Long,
        Self::Trailers,
        Self::ClientStream,
        Self::ServerStream,
        Self::BothWays,
        Self::Ordered,
        Self::ManyForOne,
        Self::Headers,
        Self::Kinds,
        Self::ErrorWithin,
        Self::RequestBroken,
        Self::Panic,
        Self::Deadline,
        Self::DeadlineOfStream,
        Self::TimeLeft,
        Self::CallDropped,
        Self::ReplyDropped,
        Self::Cut,
        Self::CutOfStream,
        Self::SlowReader,
        Self::Drain,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unary => "one message each way, of 0 and 1 octets, 64 KiB, 1 MiB and 7 MiB",
            Self::Long => "octets that flow each way, 64 MiB",
            Self::Trailers => "octets that flow each way, with trailers, 1 MiB",
            Self::ClientStream => "many messages to the server",
            Self::ServerStream => "many messages from the server",
            Self::BothWays => "many messages both ways, sent as answers come",
            Self::Ordered => "1,000 messages of 1 KiB both ways, in order",
            Self::ManyForOne => "many messages for one, of a call that opened no stream",
            Self::Headers => "headers with duplicates, in the order of each name",
            Self::Kinds => "an error of every kind, with message and details",
            Self::ErrorWithin => "an error after the first message of a reply",
            Self::RequestBroken => "a request that its sender breaks off",
            Self::Panic => "a handler that panics fails its call only: `internal`",
            Self::Deadline => "a deadline ends a call at both ends: `deadline-exceeded`",
            Self::DeadlineOfStream => {
                "a deadline ends a call of many messages: `deadline-exceeded`"
            }
            Self::TimeLeft => "the server knows what is left of the deadline",
            Self::CallDropped => "a call of many messages that is dropped ends at the server",
            Self::ReplyDropped => "a reply of many messages that is dropped ends at the server",
            Self::Cut => "a server that is cut off ends calls in flight: `unavailable`",
            Self::CutOfStream => "a server that is cut off ends replies: `unavailable`",
            Self::SlowReader => "a reply that is not read stops its sender and no other call",
            Self::Drain => "a server that drains answers what is in flight",
        }
    }

    /// `Err` with what the transport says where it does not carry the case.
    pub(super) async fn check(self, stand: &Stand) -> Outcome {
        match self {
            Self::Unary => unary(stand).await,
            Self::Long => flow(stand, 64 * MIB, None).await,
            Self::Trailers => {
                let trailers = fields(&[("x-sum", "1"), ("x-end", "2"), ("x-end", "3")]);
                flow(stand, MIB, Some(trailers)).await
            }
            Self::ClientStream => client_stream(stand).await,
            Self::ServerStream => {
                let reply = open(stand, "many", vec![Ok("1".into())]).await?;
                expect_items(reply, &["a", "b"]).await
            }
            Self::BothWays => both_ways(stand).await,
            Self::Ordered => ordered(stand).await,
            Self::ManyForOne => many_for_one(stand).await,
            Self::Headers => headers(stand).await,
            Self::Kinds => kinds(stand).await,
            Self::ErrorWithin => error_within(stand).await,
            Self::RequestBroken => request_broken(stand).await,
            Self::Panic => panic_contained(stand).await,
            Self::Deadline => deadline(stand).await,
            Self::DeadlineOfStream => deadline_of_stream(stand).await,
            Self::TimeLeft => time_left(stand).await,
            Self::CallDropped => call_dropped(stand).await,
            Self::ReplyDropped => reply_dropped(stand).await,
            Self::Cut => cut(stand).await,
            Self::CutOfStream => cut_of_stream(stand).await,
            Self::SlowReader => slow_reader(stand).await,
            Self::Drain => drain(stand).await,
        }
    }
}

fn one(method: &str, body: impl Into<Bytes>) -> Call {
    Call::unary("test", method, body)
}

async fn echo(stand: &Stand, body: Bytes) -> Result<Bytes, Error> {
    let reply = stand.call(one("echo", body)).await?;
    reply.body.into_one(usize::MAX).await
}

fn is_well(body: Result<Bytes, Error>, sent: &str) {
    assert_eq!(body.expect("an echo"), sent);
}

/// A call whose messages are these.
fn streaming(method: &str, items: Vec<Result<Bytes, Error>>) -> Call {
    Call {
        body: Body::Messages(BodyStream::new(stream::iter(items))),
        ..one(method, "")
    }
}

/// The messages of a reply.
async fn open(
    stand: &Stand,
    method: &str,
    items: Vec<Result<Bytes, Error>>,
) -> Result<BodyStream, Error> {
    messages(stand, streaming(method, items)).await
}

async fn messages(stand: &Stand, call: Call) -> Result<BodyStream, Error> {
    let reply = stand.call(call).await?;
    Ok(reply.body.into_messages(usize::MAX))
}

async fn expect_items(mut reply: BodyStream, expected: &[&str]) -> Outcome {
    for expected in expected {
        let item = reply.next().await.expect("one more")?;
        assert_eq!(item, *expected);
    }
    assert!(reply.next().await.is_none());
    Ok(())
}

/// The outcome where the error has to be one of `kind`.
fn expected(error: Error, kind: Kind) -> Outcome {
    if error.kind == kind {
        Ok(())
    } else {
        Err(error)
    }
}

async fn unary(stand: &Stand) -> Outcome {
    for length in [0, 1, 64 * KIB, MIB, 7 * MIB] {
        let sent = octets(0, length);
        let echoed = echo(stand, sent.clone()).await?;
        assert!(echoed == sent, "{length} octets differ");
    }
    Ok(())
}

async fn flow(stand: &Stand, length: usize, trailers: Option<Headers>) -> Outcome {
    let call = Call {
        body: flowing(length, trailers.clone()),
        headers: fields(&[("trailer", "x-sum, x-end")]),
        ..one("echo", "")
    };
    let mut reply = stand.call(call).await?.body.into_octets();
    let mut at = 0;
    while let Some(piece) = reply.next().await {
        let piece = piece?;
        assert!(piece == octets(at, piece.len()), "octets at {at} differ");
        at += piece.len();
    }
    assert_eq!(at, length);
    assert_eq!(reply.trailers(), trailers);
    Ok(())
}

async fn client_stream(stand: &Stand) -> Outcome {
    let numbers = (1..=1000).map(|n: u32| Ok(n.to_string().into()));
    let reply = stand.call(streaming("sum", numbers.collect())).await?;
    let sum = reply.body.into_one(KIB).await?;
    assert_eq!(sum, "500500");
    Ok(())
}

async fn both_ways(stand: &Stand) -> Outcome {
    let (questions, body) = asking();
    let call = Call {
        body,
        ..one("stream-echo", "")
    };
    // What is answered may have to be asked before the reply begins.
    let ask = |n: u32| questions.send(Ok(n.to_string().into())).is_ok();
    assert!(ask(0) && ask(1), "nobody has dropped it");
    let mut answers = messages(stand, call).await?;
    for n in 0..10 {
        let answer = answers.next().await.expect("open")?;
        assert_eq!(answer, n.to_string());
        assert!(ask(n + 2), "the call is open");
    }
    drop(questions);
    for n in ["10", "11"] {
        assert_eq!(answers.next().await.expect("open")?, n);
    }
    assert!(answers.next().await.is_none());
    Ok(())
}

async fn ordered(stand: &Stand) -> Outcome {
    let item = |n: usize| Bytes::from(format!("{n:01024}"));
    let items = (0..1000).map(|n| Ok(item(n))).collect();
    let mut echoed = open(stand, "stream-echo", items).await?;
    for n in 0..1000 {
        let got = echoed.next().await.expect("one more")?;
        assert!(got == item(n), "message {n} differs");
    }
    assert!(echoed.next().await.is_none());
    Ok(())
}

async fn many_for_one(stand: &Stand) -> Outcome {
    let call = Call {
        headers: fields(&[("accept", "application/x-ndjson")]),
        ..one("many", "")
    };
    let reply = messages(stand, call).await?;
    expect_items(reply, &["a", "b"]).await
}

async fn headers(stand: &Stand) -> Outcome {
    let pairs = [
        ("x-one", "1"),
        ("x-two", "2"),
        ("x-one", "3"),
        ("x-two", ""),
    ];
    let call = Call {
        headers: fields(&pairs),
        ..one("echo", "{}")
    };
    let reply = stand.call(call).await?;
    for name in ["x-one", "x-two"] {
        let of_name = |pairs: Vec<(String, String)>| -> Vec<String> {
            let own = pairs.into_iter().filter(|(key, _)| key == name);
            own.map(|(_, value)| value).collect()
        };
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let seen = reply.headers.iter();
        let seen = of_name(seen.map(|(key, value)| (text(key), text(&value))).collect());
        let sent = of_name(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec());
        assert_eq!(seen, sent, "{name}");
    }
    Ok(())
}

async fn kinds(stand: &Stand) -> Outcome {
    for kind in Kind::ALL {
        let call = Call {
            headers: fields(&[("kind", kind.name())]),
            ..one("fail", "")
        };
        let error = stand.call(call).await.expect_err("asked to fail");
        assert_eq!(error.kind, kind, "{error}");
        assert_eq!(error.message, format!("asked for {kind}"));
        assert_eq!(error.details.as_deref(), Some(&br#"{"by":"test"}"#[..]));
    }
    Ok(())
}

async fn error_within(stand: &Stand) -> Outcome {
    let mut items = open(stand, "broken-stream", vec![]).await?;
    assert_eq!(items.next().await.expect("open")?, "a");
    let error = items.next().await.expect("open").expect_err("broken");
    expected(error, Kind::DataLoss)
}

async fn request_broken(stand: &Stand) -> Outcome {
    let broken = Error::new(Kind::Aborted, Blame::Client, "no more");
    let call = streaming("sum", vec![Ok("1".into()), Err(broken)]);
    let error = stand.call(call).await.expect_err("broken off");
    is_well(echo(stand, "after".into()).await, "after");
    expected(error, Kind::Aborted)
}

async fn panic_contained(stand: &Stand) -> Outcome {
    let error = stand.call(one("panic", "")).await.expect_err("panicked");
    is_well(echo(stand, "after".into()).await, "after");
    expected(error, Kind::Internal)
}

fn within(call: Call, left: Duration) -> Call {
    let now = tokio::time::Instant::now().into_std();
    let mut call = call;
    call.context.deadline = Some(now + left);
    call
}

async fn deadline(stand: &Stand) -> Outcome {
    let call = within(one("never", ""), Duration::from_millis(100));
    let error = stand.call(call).await.expect_err("too slow");
    until(|| stand.service.n_cancelled.load(Ordering::SeqCst) == 1).await;
    is_well(echo(stand, "after".into()).await, "after");
    expected(error, Kind::DeadlineExceeded)
}

async fn deadline_of_stream(stand: &Stand) -> Outcome {
    let call = Call {
        body: Body::Messages(BodyStream::new(stream::pending())),
        ..one("stream-echo", "")
    };
    let call = within(call, Duration::from_millis(300));
    let error = match messages(stand, call).await {
        Ok(mut items) => items.next().await.expect("open").expect_err("late"),
        Err(error) => error,
    };
    expected(error, Kind::DeadlineExceeded)
}

async fn time_left(stand: &Stand) -> Outcome {
    let call = within(one("time-left", ""), Duration::from_secs(50));
    let left = stand.call(call).await?.body.into_one(KIB).await?;
    let left: u64 = String::from_utf8_lossy(&left).parse().expect("a number");
    assert!((1..=50_000).contains(&left), "{left} ms are left of 50 s");
    Ok(())
}

async fn call_dropped(stand: &Stand) -> Outcome {
    let (questions, body) = asking();
    for message in ["1", "2"] {
        questions.send(Ok(message.into())).expect("it is there");
    }
    let call = Call {
        body,
        ..one("never", "")
    };
    let mut calling = tokio::spawn(stand.call(call));
    let service = Arc::clone(&stand.service);
    let arrives = until(|| service.n_calls.load(Ordering::SeqCst) == 1);
    tokio::select! {
        () = arrives => {}
        refused = &mut calling => {
            return Err(refused.expect("no panic").expect_err("it is never answered"));
        }
    }
    calling.abort();
    until(|| stand.service.n_cancelled.load(Ordering::SeqCst) == 1).await;
    drop(questions);
    Ok(())
}

async fn reply_dropped(stand: &Stand) -> Outcome {
    let mut endless = open(stand, "endless", vec![]).await?;
    endless.next().await.expect("one of them")?;
    drop(endless);
    until(|| stand.service.n_dropped.load(Ordering::SeqCst) == 1).await;
    Ok(())
}

async fn cut(stand: &Stand) -> Outcome {
    // Whoever is not told waits for it.
    let call = within(one("never", ""), Duration::from_secs(15));
    let calling = tokio::spawn(stand.call(call));
    until(|| stand.service.n_calls.load(Ordering::SeqCst) == 1).await;
    stand.shutdown.end();
    let ended = calling.await.expect("no panic");
    expected(ended.expect_err("cut off"), Kind::Unavailable)
}

async fn cut_of_stream(stand: &Stand) -> Outcome {
    let mut endless = open(stand, "endless", vec![]).await?;
    stand.shutdown.end();
    loop {
        if let Err(error) = endless.next().await.expect("an error at the end") {
            return expected(error, Kind::Unavailable);
        }
    }
}

async fn slow_reader(stand: &Stand) -> Outcome {
    /// Messages of 1 KiB: far above what windows and kernels hold for a reader, and far below what is
    /// made meanwhile where nobody stops.
    const HELD_MAX: usize = 32 * KIB;
    let mut unread = open(stand, "endless", vec![]).await?;
    let n_made = || stand.service.n_made.load(Ordering::SeqCst);
    until(|| n_made() > 50).await;
    for _ in 0..100 {
        is_well(echo(stand, "other".into()).await, "other");
    }
    assert!(n_made() < HELD_MAX, "{} messages for nobody", n_made());
    // It goes on when it is read.
    for _ in 0..n_made() + 100 {
        let item = unread.next().await.expect("open")?;
        assert_eq!(item.len(), KIB);
    }
    Ok(())
}

async fn drain(stand: &Stand) -> Outcome {
    let calling = tokio::spawn(stand.call(one("gate", "{}")));
    until(|| stand.service.n_calls.load(Ordering::SeqCst) == 1).await;
    stand.shutdown.drain();
    stand.service.gate.notify_one();
    let reply = calling.await.expect("no panic")?;
    assert_eq!(reply.body.into_one(KIB).await?, "{}");
    Ok(())
}
