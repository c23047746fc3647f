//! A stream as the body of a request.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body as HttpBody, Frame};
use postern_core::{BodyStream, Error};

use super::{fields, message_form::to_line};

/// A stream as the body of a request, with its trailers.
pub(super) struct Sent {
    /// `None` once it has ended.
    stream: Option<BodyStream>,
    are_lines: bool,
}

impl Sent {
    /// A message a line.
    pub(super) const fn lines(stream: BodyStream) -> Self {
        Self {
            stream: Some(stream),
            are_lines: true,
        }
    }

    pub(super) const fn octets(stream: BodyStream) -> Self {
        Self {
            stream: Some(stream),
            are_lines: false,
        }
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let are_lines = self.are_lines;
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let next = ready!(Pin::new(&mut *stream).poll_next(cx));
        Poll::Ready(match next {
            Some(Ok(message)) if are_lines => Some(Ok(Frame::data(to_line(&message)))),
            Some(Ok(piece)) => Some(Ok(Frame::data(piece))),
            Some(Err(error)) => Some(Err(error)),
            None => {
                let trailers = stream.trailers();
                self.stream = None;
                trailers.map(|trailers| Ok(Frame::trailers(fields::to_map(&trailers))))
            }
        })
    }
}
