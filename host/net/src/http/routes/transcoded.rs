//! A route that a schema says itself, by `google.api.http`: the rule makes the message of the request and
//! the response of the reply (`core::route::Transcoder`), as JSON on both sides.
//!
//! | method | request | response |
//! | --- | --- | --- |
//! | takes one message | path, query and body | |
//! | takes several | lines of NDJSON, or elements of a JSON array; path and query are of the first | |
//! | gives one message | | JSON |
//! | gives several | | a JSON array; NDJSON or server-sent events where `accept` names them |
//!
//! What is `google.api.HttpBody` is octets of its media type on either side; of a stream, one after the
//! other.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::{Method, Response, Uri, request::Parts};
use http_body::Body as HttpBody;
use postern_core::{
    Body, BodySource, BodyStream, Call, Error, Headers, Reply, Text, json,
    route::{HttpRequest, HttpRoute, RequestPath, RouteEnd, SharedTranscoder, Transcoded},
    service::CallKind,
};

use super::{
    acceptable::check_accepted, asker::RouteAsker, called, conditional, target, with_route,
};
use crate::http::{
    JSON,
    accept::{Accepted, ReplyForm},
    content::{self, TakenBody},
    present::Present,
    problem::ErrorShape,
    reply::{self, ReplyBody, ReplyTo},
    request::{self, Refusal},
};

/// Calls the method of `route`.
///
/// # Errors
/// What the rule refuses, 406, 415, and whatever the method fails with.
pub(super) async fn answer<B>(
    route: &Arc<HttpRoute>,
    transcoder: &SharedTranscoder,
    head: Parts,
    body: B,
    asker: &RouteAsker<'_>,
) -> Result<Response<ReplyBody>, Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let accepted = Accepted::of(&head.headers);
    if !transcoder.gives_octets() {
        check_accepted(&accepted, [JSON])?;
    }
    let (takes_many, gives_many) = directions(transcoder.kind());
    let form = match (accepted.reply_form(), gives_many) {
        (ReplyForm::Usual, true) => ReplyForm::Array,
        (form, _) => form,
    };
    let takes = match transcoder.takes_octets() {
        true => TakenBody::Whole,
        false => TakenBody::Json,
    };
    let RouteEnd::Method(end) = &route.end else {
        return Err(Error::internal(format!("route {} leads to no method", route.name)).into());
    };
    let target = target(route, end.service.clone(), end.method.clone(), takes);
    let (peer, bytes) = (Arc::clone(asker.peer), asker.bytes);
    let present = Present::of(&head.headers);
    let reading = request::read_call(target, &head, present, body, asker.config, peer, bytes);
    let (call, held) = reading.await?;
    let asked = Asked {
        route: Arc::clone(route),
        transcoder: transcoder.clone(),
        uri: head.uri.clone(),
        content_type: content::content_type(&head.headers, present).map(Text::from),
    };
    let limit = asker.config.message_bytes_max;
    let call = match takes_many {
        true => asked.stream(call)?,
        false => asked.single(call, limit).await?,
    };
    let more = match &call.body {
        Body::One(message) => Some(bytes.hold(message.len())?),
        Body::Empty | Body::Messages(_) | Body::Octets(_) => None,
    };
    let reply = with_route(called(call, (held, more), asker).await?, route);
    let reply = match gives_many {
        true => many(reply, transcoder, limit).await?,
        false => one(reply, transcoder, limit).await?,
    };
    let to = ReplyTo {
        form,
        is_head: head.method == Method::HEAD,
        errors: ErrorShape::Status,
    };
    let response = reply::success(reply, to, bytes)?;
    conditional::judge(&head.method, &head.headers, response)
}

/// Whether several messages are taken, and whether several are given.
const fn directions(kind: CallKind) -> (bool, bool) {
    match kind {
        CallKind::Unary => (false, false),
        CallKind::ClientStream => (true, false),
        CallKind::ServerStream => (false, true),
        CallKind::Bidirectional => (true, true),
    }
}

/// What a request says beside its body.
struct Asked {
    route: Arc<HttpRoute>,
    transcoder: SharedTranscoder,
    uri: Uri,
    content_type: Option<Text>,
}

impl Asked {
    /// The call with its one message.
    async fn single(&self, mut call: Call, bytes_max: usize) -> Result<Call, Error> {
        let body = std::mem::replace(&mut call.body, Body::Empty);
        let message = self.message(body.into_one(bytes_max).await?)?;
        Ok(as_json(call, Body::One(message)))
    }

    /// The call with its messages as they come.
    fn stream(self, mut call: Call) -> Result<Call, Error> {
        let body = std::mem::replace(&mut call.body, Body::Empty);
        let messages = match body {
            Body::Messages(lines) => lines,
            // One that may have trailers.
            Body::Octets(octets) => octets,
            Body::Empty => BodyStream::once(Bytes::new(), None),
            Body::One(message) => elements(&message)?,
        };
        let messages = Messages {
            messages,
            asked: self,
            is_first: true,
        };
        let messages = BodyStream::from_source(messages);
        Ok(as_json(call, Body::Messages(messages)))
    }

    /// A message of the whole request.
    fn message(&self, body: Bytes) -> Result<Bytes, Error> {
        let path = RequestPath::parse(self.uri.path());
        let path = path.map_err(|error| Error::invalid_argument(error.to_string()))?;
        // The route has taken the path.
        let params = self.route.rule.path.params(&path).unwrap_or_default();
        self.transcoder.message(&HttpRequest {
            params: &params,
            query: self.uri.query(),
            content_type: self.content_type.as_deref(),
            body,
        })
    }

    /// A further message of a request that has several.
    fn further(&self, body: Bytes) -> Result<Bytes, Error> {
        self.transcoder.message(&HttpRequest {
            params: &[],
            query: None,
            content_type: self.content_type.as_deref(),
            body,
        })
    }
}

/// A body in one piece as messages: the elements of an array, or itself.
fn elements(body: &Bytes) -> Result<BodyStream, Error> {
    let mut found = Vec::new();
    let is_list = json::visit_elements(body, &mut |element| found.push(body.slice_ref(element)));
    let is_list = is_list
        .map_err(|error| Error::invalid_argument(format!("the body is no JSON: {error}")))?;
    Ok(match is_list {
        true => BodyStream::new(Elements(found.into_iter())),
        false => BodyStream::once(body.clone(), None),
    })
}

struct Elements(std::vec::IntoIter<Bytes>);

impl Stream for Elements {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

/// The messages of a request, each as the rule makes it.
struct Messages {
    messages: BodyStream,
    asked: Asked,
    is_first: bool,
}

impl Stream for Messages {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.messages).poll_next(cx));
        let Some(Ok(body)) = next else {
            return Poll::Ready(next);
        };
        let message = match std::mem::replace(&mut self.is_first, false) {
            true => self.asked.message(body),
            false => self.asked.further(body),
        };
        Poll::Ready(Some(message))
    }
}

impl BodySource for Messages {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.messages.trailers()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.messages.keep(n_octets)
    }
}

/// The messages of a reply, each as the rule sends it.
struct Sent {
    messages: BodyStream,
    /// One that was waited for.
    first: Option<Bytes>,
    transcoder: SharedTranscoder,
}

impl Stream for Sent {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let next = ready!(Pin::new(&mut self.messages).poll_next(cx));
        let sent = next.map(|message| {
            let Transcoded { content, .. } = self.transcoder.reply(&message?)?;
            Ok(content)
        });
        Poll::Ready(sent)
    }
}

impl BodySource for Sent {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.messages.trailers()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.messages.keep(n_octets)
    }
}

/// A reply of one message.
async fn one(
    mut reply: Reply,
    transcoder: &SharedTranscoder,
    bytes_max: usize,
) -> Result<Reply, Error> {
    let body = std::mem::replace(&mut reply.body, Body::Empty);
    let (message, trailers) = body.collect(bytes_max).await?;
    let Transcoded {
        content,
        media_type,
    } = transcoder.reply(&message)?;
    let body = match trailers {
        Some(trailers) => Body::Octets(BodyStream::once(content, Some(trailers))),
        None => Body::One(content),
    };
    Ok(of_media(reply, media_type.as_deref().unwrap_or(JSON), body))
}

/// A reply of several messages.
async fn many(
    mut reply: Reply,
    transcoder: &SharedTranscoder,
    bytes_max: usize,
) -> Result<Reply, Error> {
    let body = std::mem::replace(&mut reply.body, Body::Empty);
    let mut messages = body.into_messages(bytes_max);
    let mut first = None;
    let mut media_type = None;
    if transcoder.gives_octets()
        && let Some(message) = messages.next().await.transpose()?
    {
        let sent = transcoder.reply(&message)?;
        first = Some(sent.content);
        media_type = sent.media_type;
    }
    let is_octets = transcoder.gives_octets();
    let sent = BodyStream::from_source(Sent {
        messages,
        first,
        transcoder: transcoder.clone(),
    });
    let body = match is_octets {
        true => Body::Octets(sent),
        false => Body::Messages(sent),
    };
    Ok(of_media(reply, media_type.as_deref().unwrap_or(JSON), body))
}

/// The call with these messages, which are JSON whatever the request was.
fn as_json(call: Call, body: Body) -> Call {
    let headers = with_content_type(&call.headers, JSON);
    Call {
        headers,
        body,
        ..call
    }
}

fn of_media(reply: Reply, media_type: &str, body: Body) -> Reply {
    let headers = with_content_type(&reply.headers, media_type);
    Reply {
        headers,
        body,
        ..reply
    }
}

fn with_content_type(headers: &Headers, media_type: &str) -> Headers {
    let is_replaced = |key: &[u8]| {
        let names: [&[u8]; 2] = [b"content-type", b"content-length"];
        names.iter().any(|name| key.eq_ignore_ascii_case(name))
    };
    let mut headers = headers.without(is_replaced);
    // A section without room for it says no media type; whoever answers takes that for JSON.
    let _ = headers.push("content-type", media_type);
    headers
}
