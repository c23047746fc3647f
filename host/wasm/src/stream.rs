//! Role `stream-handler`: messages in by `call.next`, messages out by `call.send`.
//!
//! The guest runs inside the reply's body: whoever polls the body runs the guest, so it goes no
//! faster than the caller reads, and dropping the body cancels it. No task is spawned.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use postern_core::{
    Body, BodyStream, BoxFuture, Call, Error, Headers, Reply, headers::HeadersBuilder,
};
use tokio::sync::mpsc;

use crate::{
    convert,
    generation::Home,
    state::{Current, Outbound, Streams},
    stats::Outcome,
};

/// Messages that a guest may be ahead of its caller.
const AHEAD_MAX: usize = 8;

/// The messages of a guest that is still running.
struct Messages {
    outbound: mpsc::Receiver<Outbound>,
    /// `None` once it has returned.
    guest: Option<BoxFuture<Result<Headers, Error>>>,
    /// Taken by `call` after its first poll.
    first: Option<Bytes>,
    /// How the guest ended, told after its last message.
    end: Option<Error>,
}

/// What the caller learns first.
enum First {
    Message(Outbound),
    /// The guest returned without a message; its headers.
    Nothing(Headers),
}

/// Answers `call` by the guest's `handle-stream`. The reply is there with its first message.
pub(crate) async fn call(home: Arc<Home>, call: Call) -> Result<Reply, Error> {
    let (sender, outbound) = mpsc::channel(AHEAD_MAX);
    let guest: BoxFuture<_> = Box::pin(run(home, call, sender));
    let mut messages = Messages { outbound, guest: Some(guest), first: None, end: None };
    match std::future::poll_fn(|cx| messages.poll_first(cx)).await? {
        First::Nothing(headers) => Ok(Reply { headers, body: Body::Empty }),
        First::Message(Outbound { headers, message }) => {
            messages.first = Some(message);
            let headers = headers.unwrap_or_default();
            Ok(Reply { headers, body: Body::Many(BodyStream::new(messages)) })
        }
    }
}

/// The guest's side: runs until it returns.
async fn run(
    home: Arc<Home>,
    call: Call,
    outbound: mpsc::Sender<Outbound>,
) -> Result<Headers, Error> {
    let Call { service, method, headers, body, context, .. } = call;
    let mut lease = home.lease(context.deadline).await?;
    let inbound = match body {
        Body::Empty => None,
        Body::One(message) => Some(BodyStream::new(futures_util::stream::iter([Ok(message)]))),
        Body::Many(stream) => Some(stream),
    };
    let current = Current {
        service: service.clone(),
        method: method.clone(),
        headers,
        context,
        reply: HeadersBuilder::default(),
        streams: Some(Streams { inbound, outbound, started: false }),
    };
    let instance = lease.begin(Some(current));
    let answer = match instance.handle_stream(&service, &method).await {
        Ok(answer) => answer,
        Err(trapped) => return Err(lease.trap(trapped)),
    };
    let headers = instance.end();
    match answer {
        Ok(()) => {
            lease.finish(Outcome::Ok);
            Ok(headers)
        }
        Err(failure) => {
            lease.finish(Outcome::Failed);
            Err(convert::to_error(failure))
        }
    }
}

impl Messages {
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<First, Error>> {
        loop {
            if let Poll::Ready(Some(message)) = self.outbound.poll_recv(cx) {
                return Poll::Ready(Ok(First::Message(message)));
            }
            let Some(guest) = &mut self.guest else { return Poll::Pending };
            match guest.as_mut().poll(cx) {
                Poll::Ready(result) => {
                    self.guest = None;
                    // What it sent before it returned comes first.
                    if let Ok(message) = self.outbound.try_recv() {
                        self.end = result.err();
                        return Poll::Ready(Ok(First::Message(message)));
                    }
                    return Poll::Ready(result.map(First::Nothing));
                }
                Poll::Pending if self.outbound.is_empty() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }
}

impl Stream for Messages {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        loop {
            if let Poll::Ready(Some(Outbound { message, .. })) = this.outbound.poll_recv(cx) {
                return Poll::Ready(Some(Ok(message)));
            }
            let Some(guest) = &mut this.guest else {
                return Poll::Ready(this.end.take().map(Err));
            };
            match guest.as_mut().poll(cx) {
                Poll::Ready(result) => {
                    this.guest = None;
                    this.end = result.err();
                }
                Poll::Pending if this.outbound.is_empty() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }
}
