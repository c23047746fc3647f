//! Bodies of calls as bodies of `wasi:http`, and back. Nothing is held of one but what a read gives.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body as HttpBody, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use postern_core::{Blame, Body, BodySource, BodyStream, Error, Headers, Kind};
use tokio::time::{Sleep, sleep};
use wasmtime_wasi_http::Error as HttpError;

use crate::http_fields::{to_map, to_trailers};

/// A body as a guest gives or takes it.
pub(crate) type GuestBody = UnsyncBoxBody<Bytes, HttpError>;

/// A stream of octets that a guest reads.
pub(crate) struct OctetBody {
    stream: Option<BodyStream>,
    /// Octets that may still come.
    left: u64,
    /// How long nothing may come, and the time that is left of it.
    silence: Option<(Duration, Option<Pin<Box<Sleep>>>)>,
}

/// A body of a guest as a stream of octets.
struct Frames {
    body: GuestBody,
    /// Octets that may still come.
    left: u64,
    trailers: Option<Headers>,
    has_ended: bool,
}

impl OctetBody {
    /// `bytes_max`: of the whole body. `silence`: how long nothing may come of it.
    pub(crate) fn new(body: Body, bytes_max: u64, silence: Option<Duration>) -> Self {
        Self {
            stream: match body {
                Body::Empty => None,
                body @ (Body::One(_) | Body::Messages(_) | Body::Octets(_)) => {
                    Some(body.into_octets())
                }
            },
            left: bytes_max,
            silence: silence.map(|limit| (limit, None)),
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.silence {
            Some((limit, timer)) => {
                let timer = timer.get_or_insert_with(|| Box::pin(sleep(*limit)));
                timer.as_mut().poll(cx)
            }
            None => Poll::Pending,
        }
    }
}

impl HttpBody for OctetBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let Poll::Ready(next) = Pin::new(stream).poll_next(cx) else {
            ready!(self.poll_silence(cx));
            self.stream = None;
            return Poll::Ready(Some(Err(HttpError::ConnectionReadTimeout)));
        };
        if let Some((_, timer)) = &mut self.silence {
            *timer = None;
        }
        let error = match next {
            Some(Ok(piece)) => match self.left.checked_sub(piece.len() as u64) {
                Some(left) => {
                    self.left = left;
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                None => HttpError::HttpResponseBodySize(None),
            },
            Some(Err(error)) => to_http_error(&error),
            None => {
                let trailers = self.stream.take().and_then(|mut stream| stream.trailers());
                let trailers = trailers.filter(|trailers| !trailers.is_empty());
                let frame = trailers.map(|trailers| Ok(Frame::trailers(to_map(&trailers))));
                return Poll::Ready(frame);
            }
        };
        self.stream = None;
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none()
    }
}

/// The body of a guest as that of a call; one that has no octets as none. It has `bytes_max` at most.
pub(crate) fn from_guest(body: GuestBody, bytes_max: u64) -> Body {
    if body.is_end_stream() {
        return Body::Empty;
    }
    Body::Octets(BodyStream::from_source(Frames {
        body,
        left: bytes_max,
        trailers: None,
        has_ended: false,
    }))
}

impl Frames {
    fn end(&mut self, last: Option<Error>) -> Poll<Option<Result<Bytes, Error>>> {
        self.has_ended = true;
        Poll::Ready(last.map(Err))
    }
}

impl Stream for Frames {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.has_ended {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    let message = format!("the plugin ends the body of its request: {error}");
                    return self.end(Some(Error::new(Kind::Cancelled, Blame::Guest, message)));
                }
                None => return self.end(None),
            };
            match frame.into_data() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => match self.left.checked_sub(piece.len() as u64) {
                    Some(left) => {
                        self.left = left;
                        return Poll::Ready(Some(Ok(piece)));
                    }
                    None => {
                        let message = "the body of a plugin's request exceeds its limit";
                        let error = Error::new(Kind::ResourceExhausted, Blame::Guest, message);
                        return self.end(Some(error));
                    }
                },
                Err(frame) => {
                    self.trailers = frame.trailers_ref().and_then(to_trailers);
                }
            }
        }
        Poll::Ready(None)
    }
}

impl BodySource for Frames {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(self: Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

/// What a guest is told of a request or of a body that failed.
pub(crate) fn to_http_error(error: &Error) -> HttpError {
    match error.kind {
        Kind::DeadlineExceeded => HttpError::HttpResponseTimeout,
        Kind::PermissionDenied => HttpError::DestinationIpProhibited,
        Kind::NotFound => HttpError::DestinationNotFound,
        Kind::Unavailable if error.retry == postern_core::Retry::Elsewhere => {
            HttpError::DestinationUnavailable
        }
        Kind::Unavailable => HttpError::ConnectionTerminated,
        Kind::Cancelled => HttpError::ConnectionTerminated,
        Kind::ResourceExhausted => HttpError::HttpRequestBodySize(None),
        Kind::InvalidArgument => HttpError::HttpProtocolError,
        Kind::Unknown
        | Kind::AlreadyExists
        | Kind::FailedPrecondition
        | Kind::Aborted
        | Kind::OutOfRange
        | Kind::Unimplemented
        | Kind::Internal
        | Kind::DataLoss
        | Kind::Unauthenticated => HttpError::InternalError(Some(error.message.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    fn frame(body: &mut OctetBody) -> Option<Result<Frame<Bytes>, HttpError>> {
        body.frame().now_or_never().expect("it is there")
    }

    fn trailers() -> Headers {
        let mut trailers = Headers::new();
        trailers.push("x-sum", "7").expect("it fits");
        trailers
    }

    #[test]
    fn a_body_comes_with_what_follows_it() {
        let stream = BodyStream::once(Bytes::from_static(b"abc"), Some(trailers()));
        let mut body = OctetBody::new(Body::Octets(stream), 3, None);
        let data = frame(&mut body).expect("a piece").expect("of data");
        assert_eq!(data.into_data().expect("data"), "abc");
        let last = frame(&mut body).expect("trailers").expect("no error");
        assert_eq!(last.trailers_ref().expect("trailers")["x-sum"], "7");
        assert!(frame(&mut body).is_none() && body.is_end_stream());
    }

    #[test]
    fn a_body_of_its_limit_passes_and_one_more_octet_does_not() {
        let body = |limit| OctetBody::new(Body::One(Bytes::from_static(b"abc")), limit, None);
        assert!(frame(&mut body(3)).expect("a piece").is_ok());
        let mut refused = body(2);
        assert!(frame(&mut refused).expect("an error").is_err());
        assert!(frame(&mut refused).is_none());
    }

    #[test]
    fn the_body_of_a_guest_is_octets_within_its_limit() {
        let stream = || BodyStream::once(Bytes::from_static(b"abc"), Some(trailers()));
        let of_guest = |limit| {
            let body = OctetBody::new(Body::Octets(stream()), 100, None).boxed_unsync();
            match from_guest(body, limit) {
                Body::Octets(stream) => stream,
                body @ (Body::Empty | Body::One(_) | Body::Messages(_)) => panic!("{body:?}"),
            }
        };
        let next = |stream: &mut BodyStream| stream.next().now_or_never().expect("at hand");
        let mut stream = of_guest(3);
        assert_eq!(next(&mut stream).expect("a piece").expect("data"), "abc");
        assert!(next(&mut stream).is_none());
        assert!(stream.trailers().is_some());
        let error = next(&mut of_guest(2))
            .expect("an error")
            .expect_err("too long");
        assert_eq!(error.kind, Kind::ResourceExhausted);
        let empty = OctetBody::new(Body::Empty, 1, None).boxed_unsync();
        assert!(matches!(from_guest(empty, 1), Body::Empty));
    }
}
