//! A body as it flows, and how long the next octets of one may take.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http_body::Body as HttpBody;
use postern_core::{Blame, BodySource, Error, Headers};
use postern_system::clock;
use tokio::time::{Sleep, sleep};

use super::{compression, fields};
use crate::byte_budget::Kept;

/// The pieces of a body as they arrive.
pub(super) struct Pieces<B> {
    body: B,
    silence: Silence,
    kept: Option<Kept>,
    trailers: Option<Headers>,
    has_ended: bool,
}

/// How long the next octets of a body may take.
pub(super) struct Silence {
    /// `None` waits for ever.
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whose fault a broken body is.
    pub(super) blame: Blame,
}

impl Silence {
    pub(super) const fn new(limit: Option<Duration>, blame: Blame) -> Self {
        Self {
            limit,
            timer: None,
            blame,
        }
    }

    /// Octets have come.
    pub(super) fn rearm(&mut self) {
        if let (Some(timer), Some(limit)) = (&mut self.timer, self.limit) {
            timer.as_mut().reset((clock::now() + limit).into());
        }
    }

    /// No octets are there.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(limit) = self.limit else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        let message = format!("no octets of the body for {} ms", limit.as_millis());
        Poll::Ready(Error::deadline_exceeded(self.blame, message))
    }

    /// The body broke off.
    pub(super) fn broken(
        &self,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        compression::read_error(error.into(), self.blame)
    }
}

impl<B> Pieces<B> {
    pub(super) const fn new(body: B, silence: Silence, kept: Option<Kept>) -> Self {
        Self {
            body,
            silence,
            kept,
            trailers: None,
            has_ended: false,
        }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Bytes, Error>>> {
        self.has_ended = true;
        Poll::Ready(Some(Err(error)))
    }
}

impl<B> Stream for Pieces<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.has_ended {
                return Poll::Ready(None);
            }
            match pin!(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.silence.rearm();
                    match frame.into_data() {
                        Ok(piece) if piece.is_empty() => {}
                        Ok(piece) => return Poll::Ready(Some(Ok(piece))),
                        Err(frame) => {
                            let trailers = frame.trailers_ref().and_then(fields::of_trailers);
                            self.trailers = trailers;
                        }
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let broken = self.silence.broken(error);
                    return self.fail(broken);
                }
                Poll::Ready(None) => self.has_ended = true,
                Poll::Pending => {
                    let late = ready!(self.silence.poll_late(cx));
                    return self.fail(late);
                }
            }
        }
    }
}

impl<B> BodySource for Pieces<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.kept
            .as_ref()
            .map_or(Ok(()), |kept| kept.grow(n_octets))
    }
}
