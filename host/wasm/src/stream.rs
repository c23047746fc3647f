//! Role `stream-handler`: messages in by `call.next`, messages out by `call.send`.
//!
//! The guest runs inside the reply's body: whoever polls the body runs the guest, so it goes no
//! faster than the caller reads, and dropping the body cancels it. No task is spawned.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use postern_core::{Body, BodyStream, BoxFuture, Call, Error, Headers, Reply};
use tokio::sync::mpsc;

use crate::{
    convert,
    generation::Home,
    state::{Current, Head, Outbound, Streams},
    stats::Outcome,
};

/// Messages that a guest may be ahead of its caller.
const AHEAD_MAX: usize = 8;

/// The messages of a guest that may still be running.
struct Messages {
    outbound: mpsc::Receiver<Outbound>,
    /// `None` once it has returned.
    guest: Option<BoxFuture<Result<Headers, Error>>>,
    /// Taken by `call` after its first poll.
    first: Option<Bytes>,
    /// How the guest ended, told after its last message.
    end: Option<Result<Headers, Error>>,
}

/// Answers `call` by the guest's `handle-stream`. The reply is there with its first message.
pub(crate) async fn call(home: Arc<Home>, call: Call) -> Result<Reply, Error> {
    let (sender, outbound) = mpsc::channel(AHEAD_MAX);
    let guest: BoxFuture<_> = Box::pin(run(home, call, sender));
    let mut messages = Messages {
        outbound,
        guest: Some(guest),
        first: None,
        end: None,
    };
    match std::future::poll_fn(|cx| messages.poll_message(cx)).await {
        Some(Outbound { headers, message }) => {
            messages.first = Some(message);
            let headers = headers.unwrap_or_default();
            Ok(Reply {
                headers,
                body: Body::Many(BodyStream::new(messages)),
            })
        }
        None => {
            let headers = messages.end.take().unwrap_or_else(|| Ok(Headers::new()))?;
            Ok(Reply {
                headers,
                body: Body::Empty,
            })
        }
    }
}

/// The guest's side: runs until it returns.
async fn run(
    home: Arc<Home>,
    mut call: Call,
    outbound: mpsc::Sender<Outbound>,
) -> Result<Headers, Error> {
    let mut lease = home.lease_fiber(call.context.deadline).await?;
    let (service, method) = (call.service.clone(), call.method.clone());
    let inbound = match std::mem::take(&mut call.body) {
        Body::Empty => None,
        Body::One(message) => Some(BodyStream::new(futures_util::stream::iter([Ok(message)]))),
        Body::Many(stream) => Some(stream),
    };
    let current = Current {
        head: Head::Call(Box::new(call)),
        reply: None,
        streams: Some(Box::new(Streams {
            inbound,
            outbound,
            started: false,
        })),
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
    /// The next message, running the guest as far as that takes. `None` when it has returned and all
    /// is told but how it ended.
    ///
    /// The channel is only looked into, never waited for: while it is empty the guest is what there
    /// is to wait for, and while it is full there is a message to take.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outbound>> {
        if let Ok(message) = self.outbound.try_recv() {
            return Poll::Ready(Some(message));
        }
        let Some(guest) = &mut self.guest else {
            return Poll::Ready(None);
        };
        let polled = guest.as_mut().poll(cx);
        if let Poll::Ready(end) = polled {
            self.guest = None;
            self.end = Some(end);
        }
        match self.outbound.try_recv() {
            Ok(message) => Poll::Ready(Some(message)),
            Err(_) if self.guest.is_none() => Poll::Ready(None),
            Err(_) => Poll::Pending,
        }
    }
}

impl Stream for Messages {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        Poll::Ready(match ready!(self.poll_message(cx)) {
            Some(Outbound { message, .. }) => Some(Ok(message)),
            None => self.end.take().and_then(Result::err).map(Err),
        })
    }
}
