//! A handler that answers by the name of the method, and what is known of it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use postern_core::{
    Blame, Body, BodySource, BodyStream, BoxFuture, Call, Context, Error, Handler, Headers,
    HttpStatus, Kind, Reply, Retry, Text,
    headers::HeadersBuilder,
    service::{CallKind, MethodInfo},
};
use tokio::time::timeout;

use super::fixture::PATIENCE;
use crate::http::Catalog;

/// Answers by the method's name.
#[derive(Default)]
pub(super) struct Double {
    calls: Mutex<Vec<Seen>>,
    n_hanging: Arc<AtomicUsize>,
}

/// A call as the double saw it.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) headers: Headers,
    pub(super) body: &'static str,
    pub(super) context: Context,
}

impl Double {
    pub(super) fn last_call(&self) -> Seen {
        self.calls.lock().last().expect("a call").clone()
    }

    /// Waits until `n_hanging` calls go on.
    pub(super) async fn wait_for(&self, n_hanging: usize) {
        wait_until(|| self.n_hanging.load(Ordering::SeqCst) == n_hanging).await;
    }

    /// Waits until `n_calls` have come.
    pub(super) async fn wait_for_calls(&self, n_calls: usize) {
        wait_until(|| self.calls.lock().len() >= n_calls).await;
    }

    fn hang(&self) -> Leaves {
        self.n_hanging.fetch_add(1, Ordering::SeqCst);
        Leaves(Arc::clone(&self.n_hanging))
    }
}

async fn wait_until(is_there: impl Fn() -> bool) {
    let there = async {
        while !is_there() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, there).await.expect("calls come and go");
}

impl Handler for Double {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.calls.lock().push(Seen {
            headers: call.headers.clone(),
            body: call.body.kind().name(),
            context: call.context.clone(),
        });
        if &*call.service == "fail" {
            let kind = Kind::from_name(&call.method).expect("a kind");
            return Box::pin(async move { Err(failure(kind)) });
        }
        let hanging = call.method.starts_with("Hang").then(|| self.hang());
        Box::pin(answer(call, hanging))
    }
}

fn failure(kind: Kind) -> Error {
    let mut headers = Headers::new();
    headers.push("x-colour", "green").expect("short");
    Error::new(kind, Blame::Guest, "on purpose: 50% é")
        .with_details("{\"n\":1}")
        .with_retry(Retry::After(Duration::from_millis(1500)))
        .with_headers(headers)
}

async fn answer(call: Call, hanging: Option<Leaves>) -> Result<Reply, Error> {
    let echoed = call.headers.without(|name| !name.starts_with(b"x-"));
    let stream = |stream| Ok(Reply::new(echoed.clone(), Body::Messages(stream)));
    match &*call.method {
        "Up" => {
            let mut messages = call.body.into_messages(0);
            let mut joined = Vec::new();
            while let Some(message) = messages.next().await {
                joined.extend_from_slice(&message?);
            }
            Ok(Reply::one(joined))
        }
        "Down" => {
            let n_messages = call.body.into_one(10).await?;
            let n_messages = String::from_utf8_lossy(&n_messages).parse().unwrap_or(0);
            let message = |number: u32| Ok(Bytes::from(number.to_string()));
            stream(BodyStream::new(stream::iter((0..n_messages).map(message))))
        }
        "Chat" => stream(BodyStream::from_source(Counting {
            messages: call.body.into_messages(0),
            n_messages: 0,
        })),
        "Breaks" => {
            let broken = Error::new(Kind::DataLoss, Blame::Guest, "broken");
            stream(BodyStream::new(stream::iter([
                Ok("first".into()),
                Err(broken),
            ])))
        }
        "Octets" => {
            let mut trailers = HeadersBuilder::fields(1, 10);
            trailers.push("x-sum", "1").expect("short");
            let octets = BodyStream::once("one message".into(), Some(trailers.build()));
            Ok(Reply::new(Headers::new(), Body::Octets(octets)))
        }
        "Nothing" | "NothingDown" => Ok(Reply::new(Headers::new(), Body::Empty)),
        "Status" => {
            let mut reply = Reply::one("{\"error\":\"no such user\"}");
            reply.status = HttpStatus::new(404).ok();
            Ok(reply)
        }
        "Packed" => {
            let mut reply = Reply::new(Headers::new(), call.body);
            let coding = call.headers.get("x-packed".as_bytes());
            reply
                .headers
                .push("grpc-encoding", coding.unwrap_or_default())
                .expect("short");
            Ok(reply)
        }
        "Hang" => {
            let _hanging = hanging;
            std::future::pending().await
        }
        "HangLater" => {
            let first = stream::iter([Ok("first".into())]);
            let rest = stream::once(async move {
                let _hanging = hanging;
                std::future::pending().await
            });
            stream(BodyStream::new(first.chain(rest)))
        }
        "Early" => Ok(Reply::one("early")),
        "Huge" => Ok(Reply::one(vec![7; 5000])),
        _ => Ok(Reply::new(echoed, call.body)),
    }
}

/// Messages as they are, and how many they were.
struct Counting {
    messages: BodyStream,
    n_messages: u32,
}

impl Stream for Counting {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.messages.poll_next_unpin(cx));
        self.n_messages += u32::from(next.is_some());
        Poll::Ready(next)
    }
}

impl BodySource for Counting {
    fn trailers(self: Pin<&mut Self>) -> Option<Headers> {
        let mut trailers = HeadersBuilder::fields(2, 20);
        let number = self.n_messages.to_string();
        trailers.push("x-n-messages", number).expect("short");
        trailers.push("x-sum-bin", [0, 1]).expect("short");
        Some(trailers.build())
    }

    fn keep(self: Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

struct Leaves(Arc<AtomicUsize>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Knows the kinds of the methods of `test.Echo`, and of `open` that there is such a service.
pub(super) struct Methods;

impl Catalog for Methods {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Ok("{}".into()) })
    }

    fn has_service(&self, service: &str) -> bool {
        ["test.Echo", "open", "fail"].contains(&service)
    }

    fn method_info(&self, service: &str, method: &str) -> Option<MethodInfo> {
        let kind = match (service, method) {
            ("test.Echo", "Unary" | "Octets" | "Nothing" | "Packed") => CallKind::Unary,
            ("test.Echo", "Up") => CallKind::ClientStream,
            ("test.Echo", "Down" | "NothingDown") => CallKind::ServerStream,
            ("test.Echo", "Chat") => CallKind::Bidirectional,
            _ => {
                return self
                    .has_service(service)
                    .then(|| MethodInfo::new(method.to_owned(), false));
            }
        };
        Some(MethodInfo {
            kind: Some(kind),
            ..MethodInfo::new(method.to_owned(), false)
        })
    }
}
