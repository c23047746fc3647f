//! Between calls of the gateway and recorded ones.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{
    Blame, Body, BodyKind, BodySource, BodyStream, Call, Context, Error, Headers, HttpFacts,
    HttpStatus, Kind, Origin, Peer, Principal, Reply, Transport, headers::HeadersBuilder,
    origin::UnixPeer, trace::TraceContext,
};

use super::{
    RecordedBody, RecordedBodyKind, RecordedFailure, RecordedHeaders, RecordedHttp, RecordedOctets,
    RecordedOrigin, RecordedPeer, RecordedPrincipal, RecordedReply, RecordedRequest,
};

/// Kinds by their names.
pub(super) mod kind_name {
    use postern_core::Kind;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Kind, D::Error> {
        let name = String::deserialize(deserializer)?;
        let unknown = || de::Error::custom(format!("{name:?} is no kind of failure"));
        Kind::from_name(&name).ok_or_else(unknown)
    }
}

impl RecordedRequest {
    /// What is known of `call` before it begins. Of a body that flows only its kind; headers of the
    /// names `left_out` are left out.
    pub(crate) fn of(call: &Call, left_out: &[String]) -> Self {
        let context = &call.context;
        let (headers, left_out) = RecordedHeaders::of(&call.headers).without(left_out);
        Self {
            service: call.service.to_string(),
            method: call.method.to_string(),
            version: call.version.as_ref().map(ToString::to_string),
            headers,
            left_out,
            body: RecordedBody::of(&call.body),
            http: call.http.as_deref().map(RecordedHttp::of),
            peer: RecordedPeer::of(&context.peer),
            principal: context.principal.as_deref().map(RecordedPrincipal::of),
            correlation: context.correlation.to_string(),
            trace: context.trace.map(|trace| trace.to_string()),
            priority: context.priority,
            depth: context.depth,
        }
    }

    /// The call once more. Nobody waits for it, so it has no deadline.
    ///
    /// # Errors
    /// What of it cannot be, in words.
    pub(crate) fn to_call(&self) -> Result<Call, String> {
        let trace = self.trace.as_deref();
        let context = Context {
            peer: Arc::new(self.peer.to_peer()?),
            principal: self.principal.as_ref().map(|p| Arc::new(p.to_principal())),
            correlation: self.correlation.as_str().into(),
            trace: trace.and_then(TraceContext::parse),
            priority: self.priority,
            depth: self.depth,
            ..Context::default()
        };
        Ok(Call {
            service: self.service.as_str().into(),
            method: self.method.as_str().into(),
            version: self.version.as_deref().map(Into::into),
            headers: self.headers.to_headers()?,
            body: self.body.to_body()?,
            context,
            http: self.http.as_ref().map(|http| Box::new(http.to_facts())),
        })
    }
}

impl RecordedHeaders {
    pub(crate) fn of(headers: &Headers) -> Self {
        let copy = |octets: &[u8]| RecordedOctets(Bytes::copy_from_slice(octets));
        let list = headers
            .iter()
            .map(|(name, value)| (copy(name), copy(&value)));
        Self {
            fields: headers.are_fields(),
            list: list.collect(),
        }
    }

    fn to_headers(&self) -> Result<Headers, String> {
        let mut headers = match self.fields {
            true => HeadersBuilder::fields(self.list.len(), 0),
            false => HeadersBuilder::default(),
        };
        for (name, value) in &self.list {
            let pushed = headers.push(&name.0, &value.0);
            pushed.map_err(|error| error.to_string())?;
        }
        Ok(headers.build())
    }
}

impl RecordedBody {
    fn of(body: &Body) -> Self {
        let messages = match body {
            Body::One(message) => vec![message.clone().into()],
            Body::Empty | Body::Messages(_) | Body::Octets(_) => Vec::new(),
        };
        let kind = match (body.kind(), messages.is_empty()) {
            (BodyKind::One, true) => RecordedBodyKind::Empty,
            (BodyKind::One, false) => RecordedBodyKind::One,
            (BodyKind::Messages, _) => RecordedBodyKind::Messages,
            (BodyKind::Octets, _) => RecordedBodyKind::Octets,
        };
        Self {
            kind,
            messages,
            unread: body.is_stream(),
            ..Self::default()
        }
    }

    fn to_body(&self) -> Result<Body, String> {
        let trailers = self.trailers.as_ref().map(RecordedHeaders::to_headers);
        let stream = RecordedStream {
            messages: self.messages.clone().into_iter(),
            end: self.end(),
            trailers: trailers.transpose()?,
        };
        Ok(match self.kind {
            RecordedBodyKind::Empty => Body::Empty,
            RecordedBodyKind::One => match self.messages.as_slice() {
                [RecordedOctets(message)] => Body::One(message.clone()),
                messages => {
                    let n_messages = messages.len();
                    return Err(format!("a body of kind one has {n_messages} messages"));
                }
            },
            RecordedBodyKind::Messages => Body::Messages(BodyStream::from_source(stream)),
            RecordedBodyKind::Octets => Body::Octets(BodyStream::from_source(stream)),
        })
    }

    /// What comes behind the last message, where it is no orderly end.
    fn end(&self) -> Option<Error> {
        if let Some(failed) = &self.failed {
            return Some(Error::new(
                failed.kind,
                Blame::Client,
                failed.message.clone(),
            ));
        }
        let message = "the recording ends here: nobody read further when it was made";
        self.unread
            .then(|| Error::unavailable(Blame::Gateway, message))
    }
}

/// A body that flows once more.
struct RecordedStream {
    messages: std::vec::IntoIter<RecordedOctets>,
    end: Option<Error>,
    trailers: Option<Headers>,
}

impl futures_util::Stream for RecordedStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(match self.messages.next() {
            Some(RecordedOctets(message)) => Some(Ok(message)),
            None => self.end.take().map(Err),
        })
    }
}

impl BodySource for RecordedStream {
    fn trailers(mut self: std::pin::Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(self: std::pin::Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

impl RecordedHttp {
    fn of(facts: &HttpFacts) -> Self {
        Self {
            method: facts.method.to_string(),
            scheme: facts.scheme.to_string(),
            authority: facts.authority.to_string(),
            path: facts.path.to_string(),
            query: facts.query.as_ref().map(ToString::to_string),
        }
    }

    fn to_facts(&self) -> HttpFacts {
        HttpFacts {
            method: self.method.as_str().into(),
            scheme: self.scheme.as_str().into(),
            authority: self.authority.as_str().into(),
            path: self.path.as_str().into(),
            query: self.query.as_deref().map(Into::into),
            ..HttpFacts::default()
        }
    }
}

impl RecordedPeer {
    fn of(peer: &Peer) -> Self {
        Self {
            transport: peer.transport.name().to_owned(),
            origin: match &peer.origin {
                Origin::Ip(address) => Some(RecordedOrigin::Ip(*address)),
                Origin::Unix(unix) => Some(RecordedOrigin::Unix {
                    uid: unix.uid,
                    gid: unix.gid,
                    pid: unix.pid,
                    path: unix.path.as_ref().map(ToString::to_string),
                }),
                Origin::Local => None,
            },
            session: peer.session.to_string(),
        }
    }

    fn to_peer(&self) -> Result<Peer, String> {
        let transport = Transport::from_name(&self.transport);
        let unknown = || format!("{:?} is no transport", self.transport);
        let origin = match &self.origin {
            None => Origin::Local,
            Some(RecordedOrigin::Ip(address)) => Origin::Ip(*address),
            Some(RecordedOrigin::Unix {
                uid,
                gid,
                pid,
                path,
            }) => Origin::Unix(UnixPeer {
                uid: *uid,
                gid: *gid,
                pid: *pid,
                path: path.as_deref().map(Into::into),
            }),
        };
        let peer = Peer::new(transport.ok_or_else(unknown)?, origin);
        Ok(peer.with_session(self.session.as_str()))
    }
}

impl RecordedPrincipal {
    fn of(principal: &Principal) -> Self {
        let claims = principal.claims.iter();
        Self {
            name: principal.name.to_string(),
            roles: principal.roles.iter().map(ToString::to_string).collect(),
            claims: claims
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
        }
    }

    fn to_principal(&self) -> Principal {
        let claims = self.claims.iter();
        Principal {
            name: self.name.as_str().into(),
            roles: self.roles.iter().map(|role| role.as_str().into()).collect(),
            claims: claims
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
        }
    }
}

impl RecordedReply {
    /// What is known of `reply` before its body flows.
    pub(crate) fn of(reply: &Reply) -> Self {
        Self {
            status: reply.status.map(HttpStatus::number),
            headers: RecordedHeaders::of(&reply.headers),
            body: RecordedBody::of(&reply.body),
        }
    }
}

impl RecordedFailure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            details: None,
            headers: RecordedHeaders::default(),
        }
    }

    pub(crate) fn of(error: &Error) -> Self {
        let headers = error.headers.as_deref().map(RecordedHeaders::of);
        Self {
            details: error.details.clone().map(RecordedOctets),
            headers: headers.unwrap_or_default(),
            ..Self::new(error.kind, error.message.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_the_same_after_a_line_of_json() {
        let mut call = Call::unary("users", "Get", "7");
        call.headers.push("x-a", "1").unwrap();
        call.headers.push("cookie", "secret").unwrap();
        call.http = Some(Box::new(HttpFacts {
            path: "/users".into(),
            query: Some("a=1".into()),
            ..HttpFacts::default()
        }));
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let peer = Peer::new(
            Transport::Http,
            Origin::Ip("127.0.0.1:7".parse().expect("an address")),
        );
        call.context = Context {
            peer: Arc::new(peer.with_session("s")),
            principal: Some(Arc::new(Principal {
                name: "ada".into(),
                roles: vec!["admin".into()],
                claims: vec![("sub".into(), "7".into())],
            })),
            correlation: "c".into(),
            trace: TraceContext::parse(trace),
            depth: 2,
            ..Context::default()
        };
        let recorded = RecordedRequest::of(&call, &["cookie".to_owned()]);
        assert_eq!(recorded.left_out, ["cookie"]);
        let line = serde_json::to_string(&recorded).unwrap();
        assert!(!line.contains("secret"), "{line}");
        let read: RecordedRequest = serde_json::from_str(&line).unwrap();
        assert_eq!(read, recorded);
        let again = read.to_call().unwrap();
        let (context, expected) = (&again.context, &call.context);
        assert_eq!(context.peer, expected.peer);
        assert_eq!(context.principal, expected.principal);
        assert_eq!(context.trace, expected.trace);
        assert_eq!((&*context.correlation, context.depth), ("c", 2));
        assert_eq!((&again.service, &again.http), (&call.service, &call.http));
        assert_eq!(again.headers.get_str("x-a").as_deref(), Some("1"));
        assert!(matches!(again.body, Body::One(message) if message == "7"));
    }

    #[test]
    fn a_body_that_nobody_read_to_its_end_says_so_where_it_ends() {
        let mut recorded = RecordedBody::of(&Body::Messages(BodyStream::empty()));
        recorded.messages.push("a".into());
        let Ok(Body::Messages(mut stream)) = recorded.to_body() else {
            panic!("a stream");
        };
        let mut next =
            || futures_util::FutureExt::now_or_never(stream.next()).expect("all is at hand");
        assert_eq!(next().expect("a message").unwrap(), "a");
        let end = next().expect("not the end").unwrap_err();
        assert_eq!(end.kind, Kind::Unavailable);
        assert!(next().is_none());
    }

    #[test]
    fn what_cannot_be_is_named() {
        let mut recorded = RecordedRequest::of(&Call::unary("a", "B", "1"), &[]);
        recorded.peer.transport = "pigeon".to_owned();
        assert_eq!(
            recorded.to_call().unwrap_err(),
            "\"pigeon\" is no transport"
        );
        recorded.peer.transport = "tcp".to_owned();
        recorded.body.messages.clear();
        assert_eq!(
            recorded.to_call().unwrap_err(),
            "a body of kind one has 0 messages"
        );
    }
}
