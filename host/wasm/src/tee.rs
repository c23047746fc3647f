//! A body as it flows, and a copy of it for a recording.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use postern_core::{Body, BodySource, BodyStream, Error, Headers};

use crate::{
    journal::Journal,
    recorded::{RecordedBody, RecordedFailure, RecordedHeaders},
};

/// What is known of a body so far.
pub(crate) type Copied = Arc<Mutex<RecordedBody>>;

/// Told when a body has ended, in order or with an error.
pub(crate) type OnEnd = Box<dyn FnOnce() + Send>;

/// `body`, of which `copied` gets a copy while it flows. `on_end` is told of its end, which of a body at
/// hand is at once.
pub(crate) fn tee(body: Body, journal: Journal, copied: Copied, on_end: OnEnd) -> Body {
    if !body.is_stream() {
        on_end();
        return body;
    }
    body.map_stream(|inner| {
        BodyStream::from_source(Tee {
            inner,
            journal,
            copied,
            trailers: None,
            on_end: Some(on_end),
        })
    })
}

struct Tee {
    inner: BodyStream,
    journal: Journal,
    copied: Copied,
    /// What follows the body, until it is asked for.
    trailers: Option<Headers>,
    on_end: Option<OnEnd>,
}

impl Tee {
    fn end(&mut self) {
        if let Some(on_end) = self.on_end.take() {
            self.copied.lock().unread = false;
            on_end();
        }
    }
}

impl Stream for Tee {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.inner).poll_next(cx));
        match &next {
            Some(Ok(message)) if self.journal.charge(message.len()) => {
                self.copied.lock().messages.push(message.clone().into());
            }
            Some(Err(error)) => {
                self.copied.lock().failed = Some(RecordedFailure::of(error));
                self.end();
            }
            None if self.on_end.is_some() => {
                self.trailers = self.inner.trailers();
                let trailers = self.trailers.as_ref().map(RecordedHeaders::of);
                self.copied.lock().trailers = trailers;
                self.end();
            }
            Some(Ok(_)) | None => {}
        }
        Poll::Ready(next)
    }
}

impl BodySource for Tee {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.inner.keep(n_octets)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use futures_util::FutureExt as _;
    use postern_core::Kind;

    use super::*;
    use crate::{journal::JournalStart, recorded::RecordedOctets};

    fn copying(body: Body) -> (Body, Copied, Arc<AtomicBool>) {
        let copied = Copied::default();
        copied.lock().unread = body.is_stream();
        let ended = Arc::<AtomicBool>::default();
        let on_end = {
            let ended = Arc::clone(&ended);
            Box::new(move || ended.store(true, Relaxed))
        };
        let journal = Journal::recording(JournalStart::default());
        let body = tee(body, journal, Arc::clone(&copied), on_end);
        (body, copied, ended)
    }

    fn next(body: &mut Body) -> Option<Result<Bytes, Error>> {
        let Body::Octets(stream) = body else {
            panic!("{body:?}");
        };
        stream.next().now_or_never().expect("all is at hand")
    }

    #[test]
    fn a_body_is_copied_with_what_follows_it_and_its_end_is_told() {
        let mut trailers = Headers::new();
        trailers.push("x-sum", "1").unwrap();
        let once = BodyStream::once("a".into(), Some(trailers));
        let (mut body, copied, ended) = copying(Body::Octets(once));
        assert_eq!(next(&mut body).unwrap().unwrap(), "a");
        assert!(!ended.load(Relaxed) && copied.lock().unread);
        assert!(next(&mut body).is_none());
        assert!(ended.load(Relaxed));
        let Body::Octets(stream) = &mut body else {
            panic!("{body:?}");
        };
        let passed = stream.trailers().expect("they are passed on");
        assert_eq!(passed.get_str("x-sum").as_deref(), Some("1"));
        let copied = copied.lock();
        assert_eq!(copied.messages, [RecordedOctets::from("a")]);
        assert!(!copied.unread && copied.trailers.is_some());
    }

    #[test]
    fn an_error_is_an_end() {
        let error = || Err(Error::not_found("gone"));
        let stream = futures_util::stream::iter([Ok("a".into()), error()]);
        let (mut body, copied, ended) = copying(Body::Octets(BodyStream::new(stream)));
        assert!(next(&mut body).unwrap().is_ok() && next(&mut body).unwrap().is_err());
        assert!(ended.load(Relaxed));
        let failed = copied.lock().failed.clone().expect("noted");
        assert_eq!(
            (failed.kind, failed.message.as_str()),
            (Kind::NotFound, "gone")
        );
    }

    #[test]
    fn a_body_at_hand_has_ended_at_once() {
        let (body, _, ended) = copying(Body::One("a".into()));
        assert!(ended.load(Relaxed) && matches!(body, Body::One(_)));
    }
}
