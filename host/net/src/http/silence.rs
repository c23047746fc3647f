//! A reply whose stream goes on after its deadline, which is that of its head: nothing bounds it but how long
//! nothing may come of it, and how long its client may take nothing (`activity.rs`, `tracked.rs`).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use postern_core::{Blame, BodySource, BodyStream, Error, Headers, Reply};
use postern_system::clock;
use tokio::time::{Sleep, sleep};

/// The stream of a reply, which ends when nothing comes of it for too long.
struct Unsilent {
    inner: BodyStream,
    limit: Duration,
    /// Made when the stream is first waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// The timer is that of the message that is waited for.
    is_armed: bool,
    has_ended: bool,
}

/// Ends the stream of a reply of which nothing comes for `limit`. A client that takes its time does not count:
/// then nothing is waited for.
pub(super) fn bounded(reply: Reply, limit: Duration) -> Reply {
    let body = reply.body.map_stream(|inner| {
        BodyStream::from_source(Unsilent {
            inner,
            limit,
            timer: None,
            is_armed: false,
            has_ended: false,
        })
    });
    Reply { body, ..reply }
}

impl Unsilent {
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.is_armed {
            self.is_armed = true;
            timer.as_mut().reset((clock::now() + limit).into());
        }
        timer.as_mut().poll(cx)
    }
}

impl Stream for Unsilent {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(next) = Pin::new(&mut this.inner).poll_next(cx) {
            this.is_armed = false;
            this.has_ended = !matches!(next, Some(Ok(_)));
            return Poll::Ready(next);
        }
        ready!(this.poll_late(cx));
        this.has_ended = true;
        // What works for the reply is not to go on for nobody.
        this.inner = BodyStream::empty();
        let limit = this.limit.as_millis();
        let message =
            format!("nothing came of the reply for {limit} ms (idle-timeout of the listener)");
        let error = Error::deadline_exceeded(Blame::Upstream, message);
        Poll::Ready(Some(Err(error)))
    }
}

impl BodySource for Unsilent {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.inner.trailers()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.inner.keep(n_octets)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use postern_core::{Body, Kind};
    use tokio::sync::mpsc::{self, Sender};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A reply of one message, and then of nothing.
    fn one_and_nothing() -> BodyStream {
        let stream = stream::iter([Ok(Bytes::from("a"))]);
        let stream = stream.chain(stream::pending());
        let reply = Reply::new(Headers::new(), Body::Messages(BodyStream::new(stream)));
        bounded(reply, SECOND).body.into_messages(1)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_silent_too_long_ends_with_an_error() {
        let mut stream = one_and_nothing();
        assert_eq!(stream.next().await.expect("one").expect("whole"), "a");
        let before = clock::now();
        let late = stream.next().await.expect("an end").expect_err("late");
        assert_eq!(late.kind, Kind::DeadlineExceeded);
        assert_eq!(clock::since(before), SECOND);
        assert!(stream.next().await.is_none());
    }

    /// A reply of what is sent, which ends with the sender.
    fn sent() -> (Sender<Result<Bytes, Error>>, BodyStream) {
        let (sender, receiver) = mpsc::channel(1);
        let stream = stream::unfold(receiver, |mut receiver| async {
            let next: Result<Bytes, Error> = receiver.recv().await?;
            Some((next, receiver))
        });
        let body = Body::Messages(BodyStream::new(stream));
        let reply = bounded(Reply::new(Headers::new(), body), SECOND);
        (sender, reply.body.into_messages(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_its_time_is_not_silence_of_the_reply() {
        let (sender, mut stream) = sent();
        assert!(stream.next().now_or_never().is_none());
        sender.send(Ok("a".into())).await.expect("taken");
        assert_eq!(stream.next().await.expect("one").expect("whole"), "a");
        tokio::time::advance(3 * SECOND).await;
        // Nobody asked for the second message before.
        assert!(stream.next().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn each_message_begins_the_time_anew() {
        let (sender, mut messages) = sent();
        let sending = async {
            for _ in 0..5 {
                sleep(SECOND * 9 / 10).await;
                sender.send(Ok("a".into())).await.expect("taken");
            }
            drop(sender);
        };
        let reading = async {
            let mut n_messages = 0;
            while let Some(message) = messages.next().await {
                message.expect("in time");
                n_messages += 1;
            }
            n_messages
        };
        let ((), n_messages) = tokio::join!(sending, reading);
        assert_eq!(n_messages, 5);
    }
}
