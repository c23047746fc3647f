//! A forwarded call as the request that a guest reads.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use http::{Method, Request, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use postern_core::{Blame, Body, BodyStream, Call, Error, Kind};
use postern_system::clock;
use wasmtime_wasi_http::Error as HttpError;

use crate::{
    http_bodies::to_http_error,
    http_fields::to_map,
    progress::Progress,
    waited::{Waited, WaitedFor},
};

/// What a guest is asked.
pub(super) struct WebRequest {
    pub(super) request: Request<RequestBody>,
    pub(super) is_secure: bool,
    unread: Unread,
}

/// The stream of a request, of which something may be left.
#[derive(Clone, Default)]
pub(super) struct Unread(Option<Arc<Mutex<Option<BodyStream>>>>);

/// The body of a request.
pub(super) enum RequestBody {
    Whole(Bytes),
    Stream(RequestStream),
}

/// One that comes over time.
pub(super) struct RequestStream {
    unread: Arc<Mutex<Option<BodyStream>>>,
    progress: Arc<Progress>,
    waited: Arc<Waited>,
    client: WaitedFor,
}

impl WebRequest {
    /// Takes headers and body out of `call`.
    ///
    /// # Errors
    /// `invalid-argument` where it is no request; `unimplemented` where it asks for another protocol.
    pub(super) fn take(
        call: &mut Call,
        progress: &Arc<Progress>,
        waited: &Arc<Waited>,
    ) -> Result<Self, Error> {
        let Some(facts) = call.http.as_deref() else {
            return Err(Error::internal("a forwarded call has no facts of http"));
        };
        if let Some(protocol) = &facts.upgrade {
            let message = format!("the plugin answers requests, and does not go on as {protocol}");
            return Err(Error::new(Kind::Unimplemented, Blame::Client, message));
        }
        let invalid = |what: &str, value: &str| {
            let shown: String = value.escape_debug().take(SHOWN_CHARS_MAX).collect();
            Error::invalid_argument(format!("{what} {shown:?} cannot stand in a request"))
        };
        let method = Method::from_bytes(facts.method.as_bytes());
        let method = method.map_err(|_| invalid("method", &facts.method))?;
        let is_secure = &*facts.scheme == "https" || call.context.peer.tls.is_some();
        let scheme = if is_secure { "https" } else { "http" };
        let authority = match &*facts.authority {
            // A request of HTTP/1.0 need not name one.
            "" => NO_HOST,
            authority => authority,
        };
        let target = facts.target();
        let uri = Uri::builder().scheme(scheme).authority(authority);
        let uri = uri.path_and_query(&*target).build();
        let uri = uri.map_err(|_| invalid("target", &format!("{authority}{target}")))?;
        let headers = to_map(&std::mem::take(&mut call.headers));
        let mut unread = Unread::default();
        let body = match std::mem::take(&mut call.body) {
            Body::Empty => RequestBody::Whole(Bytes::new()),
            Body::One(octets) => RequestBody::Whole(octets),
            Body::Messages(stream) | Body::Octets(stream) => {
                let stream = Arc::new(Mutex::new(Some(stream)));
                unread.0 = Some(Arc::clone(&stream));
                RequestBody::Stream(RequestStream {
                    unread: stream,
                    progress: Arc::clone(progress),
                    waited: Arc::clone(waited),
                    client: WaitedFor::default(),
                })
            }
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(Self {
            request,
            is_secure,
            unread,
        })
    }

    /// Whether its body comes over time.
    pub(super) const fn is_stream(&self) -> bool {
        self.unread.0.is_some()
    }

    pub(super) fn unread(&self) -> Unread {
        self.unread.clone()
    }
}

impl Unread {
    /// Nothing more of it is read.
    pub(super) fn close(self) {
        if let Some(stream) = self.0 {
            // Dropped behind the lock.
            let _left = stream.lock().take();
        }
    }
}

impl RequestStream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let mut unread = self.unread.lock();
        let Some(stream) = &mut *unread else {
            return Poll::Ready(None);
        };
        let Poll::Ready(next) = Pin::new(stream).poll_next(cx) else {
            self.client.begin(&self.waited, clock::now);
            self.progress.waits.store(true, Relaxed);
            return Poll::Pending;
        };
        self.client.end(&self.waited, clock::now);
        self.progress.waits.store(false, Relaxed);
        self.progress.on_message();
        self.waited.on_crossing();
        Poll::Ready(match next {
            Some(Ok(piece)) => Some(Ok(Frame::data(piece))),
            Some(Err(error)) => {
                *unread = None;
                Some(Err(to_http_error(&error)))
            }
            None => {
                let trailers = unread.take().and_then(|mut stream| stream.trailers());
                let trailers = trailers.filter(|trailers| !trailers.is_empty());
                trailers.map(|trailers| Ok(Frame::trailers(to_map(&trailers))))
            }
        })
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        match &mut *self {
            Self::Whole(octets) if octets.is_empty() => Poll::Ready(None),
            Self::Whole(octets) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(octets))))),
            Self::Stream(stream) => Poll::Ready(ready!(stream.poll(cx))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(octets) => octets.is_empty(),
            Self::Stream(stream) => stream.unread.lock().is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(octets) => SizeHint::with_exact(octets.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// The host of a request that names none.
const NO_HOST: &str = "localhost";
/// Characters of a value that an error shows.
const SHOWN_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;
    use postern_core::{Headers, HttpFacts};

    use super::*;

    fn take(facts: HttpFacts, body: Body) -> Result<WebRequest, Error> {
        let mut call = Call::unary("web", "GET", "");
        call.http = Some(Box::new(facts));
        call.body = body;
        WebRequest::take(&mut call, &Arc::default(), &Arc::default())
    }

    fn facts() -> HttpFacts {
        HttpFacts {
            method: "GET".into(),
            path: "/a%20b".into(),
            query: Some("c=1".into()),
            is_forwarded: true,
            ..HttpFacts::default()
        }
    }

    #[test]
    fn a_request_keeps_its_target_and_has_a_host() {
        let request = take(facts(), Body::Empty).expect("a request");
        assert_eq!(request.request.uri(), "http://localhost/a%20b?c=1");
        assert!(!request.is_secure && !request.is_stream());
        let named = HttpFacts {
            authority: "x.org:1".into(),
            scheme: "https".into(),
            ..facts()
        };
        let request = take(named, Body::Empty).expect("a request");
        assert_eq!(request.request.uri(), "https://x.org:1/a%20b?c=1");
        assert!(request.is_secure);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let method = HttpFacts {
            method: "G T".into(),
            ..facts()
        };
        let target = HttpFacts {
            authority: "a b".into(),
            ..facts()
        };
        for facts in [method, target] {
            let error = take(facts, Body::Empty).err().expect("refused");
            assert_eq!(error.kind, Kind::InvalidArgument);
        }
        let upgrade = HttpFacts {
            upgrade: Some("websocket".into()),
            ..facts()
        };
        let error = take(upgrade, Body::Empty).err().expect("refused");
        assert_eq!(error.kind, Kind::Unimplemented);
    }

    #[test]
    fn a_body_that_was_closed_gives_nothing_more() {
        let mut trailers = Headers::new();
        trailers.push("x-sum", "7").expect("it fits");
        let body = || {
            Body::Octets(BodyStream::once(
                Bytes::from_static(b"abc"),
                Some(trailers.clone()),
            ))
        };
        let mut request = take(facts(), body()).expect("a request");
        let mut next = || {
            request
                .request
                .body_mut()
                .frame()
                .now_or_never()
                .expect("at hand")
        };
        assert_eq!(
            next().expect("a piece").expect("data").into_data().ok(),
            Some("abc".into())
        );
        let last = next().expect("trailers").expect("no error");
        assert_eq!(last.trailers_ref().expect("trailers")["x-sum"], "7");
        assert!(next().is_none());
        let mut request = take(facts(), body()).expect("a request");
        request.unread().close();
        assert!(
            request
                .request
                .body_mut()
                .frame()
                .now_or_never()
                .expect("at hand")
                .is_none()
        );
    }
}
