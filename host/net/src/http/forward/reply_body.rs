//! The response of an upstream as a reply: what comes of its body, as it comes. The connection is given
//! back at its end, and closed where somebody loses interest before.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, Response, header};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use postern_core::{
    Blame, BodySource, BodyStream, Error, Headers, HttpStatus, Reply, headers::HeadersBuilder,
};

use super::{connections::Lease, fault::bad_answer, request_body::RequestProgress};
use crate::http::{
    fields::{self, listed},
    is_hop_by_hop,
    pieces::Silence,
};

/// A body that arrives.
struct ReplyPieces {
    body: Incoming,
    silence: Silence,
    trailers: Option<Headers>,
    progress: Arc<RequestProgress>,
    /// `None` once it has ended.
    lease: Option<Lease>,
    /// What it ended with, until that is told.
    error: Option<Error>,
}

/// The reply that `response` is.
///
/// # Errors
/// `internal` for a status that no response may have.
pub(super) fn reply(
    response: Response<Incoming>,
    mut lease: Lease,
    progress: Arc<RequestProgress>,
    idle_timeout: Duration,
) -> Result<Reply, Error> {
    let status = HttpStatus::new(response.status().as_u16());
    let status = status.map_err(|error| bad_answer(format_args!("answers with a {error}")))?;
    let (head, body) = response.into_parts();
    let mut reply = Reply::new(of_response(&head.headers), postern_core::Body::Empty);
    reply.status = Some(status).filter(|status| status.number() != 200);
    if body.is_end_stream() {
        lease.finish(progress.is_done());
        return Ok(reply);
    }
    if !progress.is_done() {
        lease.send_on();
    }
    let pieces = ReplyPieces {
        body,
        silence: Silence::new(Some(idle_timeout), Blame::Upstream),
        trailers: None,
        progress,
        lease: Some(lease),
        error: None,
    };
    reply.body = postern_core::Body::Octets(BodyStream::from_source(pieces));
    Ok(reply)
}

/// All fields of a response but those of its connection. `content-length` stays: it is that of what a
/// HEAD or a 304 has not.
pub(super) fn of_response(map: &HeaderMap) -> Headers {
    let listed = listed(map);
    let mut fields = HeadersBuilder::fields(map.len(), fields::n_octets(map));
    for (name, value) in map {
        let is_length = name == header::CONTENT_LENGTH;
        if is_length || !is_hop_by_hop(name.as_str()) && !listed.contains(name.as_str()) {
            // Cannot fail: a field of HTTP is shorter than what fields take.
            let pushed = fields.push(name.as_str(), value);
            debug_assert!(pushed.is_ok());
        }
    }
    fields.build()
}

impl ReplyPieces {
    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.finish(self.progress.is_done());
        }
    }

    /// Tells the error when it is asked again: what came before is sent to the client first, which hyper
    /// does only when there is nothing more at hand.
    fn fail(&mut self, error: Error, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        self.lease = None;
        self.error = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Stream for ReplyPieces {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(error) = this.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        while let Some(lease) = &mut this.lease {
            match lease.poll_frame(&mut this.body, cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.silence.rearm();
                    match frame.into_data() {
                        Ok(piece) if piece.is_empty() => {}
                        Ok(piece) => {
                            // Its length was declared, and all of it has come.
                            if this.body.is_end_stream() {
                                this.end();
                            }
                            return Poll::Ready(Some(Ok(piece)));
                        }
                        Err(frame) => {
                            this.trailers = frame.trailers_ref().and_then(fields::of_trailers);
                        }
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let broken = this.progress.take_fault().unwrap_or_else(|| {
                        let message = "the upstream ended its response early";
                        Error::unavailable(Blame::Upstream, message).with_source(error)
                    });
                    return this.fail(broken, cx);
                }
                Poll::Ready(None) => this.end(),
                Poll::Pending => {
                    let late = ready!(this.silence.poll_late(cx));
                    return this.fail(late, cx);
                }
            }
        }
        Poll::Ready(None)
    }
}

impl BodySource for ReplyPieces {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(self: Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}
