//! Calls of one message, whose request and reply are messages as they are (Connect protocol, "Unary
//! (Request-Response) RPCs").
//!
//! ```text
//! POST: body ─────▶ bounded ─▶ content-encoding ─┐
//! GET:  message= ─▶ base64= ─▶ compression= ─────┴▶ call ─▶ reply ─▶ accept-encoding ─▶ 200
//!                                                              └────▶ failure.rs ─────▶ 400 to 504
//! ```

use std::future::poll_fn;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::Body as HttpBody;
use postern_core::{Blame, Body, BodyStream, Error, Headers, Kind, Reply};
use postern_system::wait;

use super::{
    call::CallMaker, codec::Codec, coding, limits::MessageLimits, metadata, query::CallQuery,
};
use crate::{
    byte_budget::Kept,
    http::{
        compression::{self, Coding},
        grpc::coding::{Packing, Unpacking},
        pieces::{Pieces, Silence},
        reply::ReplyBody,
        request::Refusal,
        routes::asker::RouteAsker,
        sized::attach,
    },
};

/// Answers a call whose body is its message.
///
/// # Errors
/// Whatever is wrong with the request, and whatever the call fails with.
pub(super) async fn post<B>(maker: &CallMaker<'_>, body: B) -> Result<Response<ReplyBody>, Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut call, kept) = maker.begin()?;
    let name = maker.head.headers.get(header::CONTENT_ENCODING);
    let coding = coding::of_name(name)?;
    let sent = read(body, &kept, maker.asker).await?;
    call.body = Body::One(unpacked(sent, coding, &kept, maker.asker).await?);
    let reply = maker.reply(call, kept).await?;
    Ok(respond(reply, coding, maker).await?)
}

/// Answers a call whose query has its message.
///
/// # Errors
/// As `post`.
pub(super) async fn get(
    maker: &CallMaker<'_>,
    query: &CallQuery,
) -> Result<Response<ReplyBody>, Refusal> {
    let (mut call, kept) = maker.begin()?;
    let coding = coding::of_name(query.compression()?.as_ref())?;
    call.body = Body::One(unpacked(query.message()?, coding, &kept, maker.asker).await?);
    let reply = maker.reply(call, kept).await?;
    let mut response = respond(reply, coding, maker).await?;
    // Caches may keep it.
    compression::vary(response.headers_mut());
    Ok(response)
}

/// The body of a request, as it was sent.
async fn read<B>(body: B, kept: &Kept, asker: &RouteAsker<'_>) -> Result<Bytes, Error>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limits = MessageLimits::of_requests(asker.config);
    if let Some(declared) = body.size_hint().exact() {
        limits.check(usize::try_from(declared).unwrap_or(usize::MAX))?;
    }
    let time = asker.config.body_timeout;
    let silence = Silence::new(Some(time), Blame::Client);
    let pieces = Pieces::new(body, silence, Some(kept.clone()));
    let octets = Body::Octets(BodyStream::from_source(pieces));
    let read = wait::within(time, limits.collect(octets)).await;
    let (message, _) = read.unwrap_or_else(|| {
        let limit = time.as_millis();
        let told = format!("the message did not arrive within {limit} ms");
        Err(Error::deadline_exceeded(Blame::Client, told))
    })?;
    Ok(message)
}

/// The message of a request, which counts as held from here on. No octets are no content of any coding.
async fn unpacked(
    sent: Bytes,
    coding: Option<Coding>,
    kept: &Kept,
    asker: &RouteAsker<'_>,
) -> Result<Bytes, Error> {
    let limits = MessageLimits::of_requests(asker.config);
    let Some(coding) = coding.filter(|_| !sent.is_empty()) else {
        return Ok(sent);
    };
    let limits = limits.of_unpacked(asker.config);
    let mut unpacking = Unpacking::new(sent, coding, limits, asker.bytes)?;
    let mut n_kept = 0;
    let message = poll_fn(|cx| {
        let polled = unpacking.poll(cx);
        let n_fresh = unpacking.n_unpacked().saturating_sub(n_kept);
        n_kept += n_fresh;
        kept.grow(n_fresh)?;
        polled
    });
    let message = message.await.map_err(of_content)?;
    kept.grow(message.len().saturating_sub(n_kept))?;
    Ok(message)
}

/// Content that is not in its coding is the client's fault, which its status is to say.
fn of_content(error: Error) -> Error {
    match error.kind == Kind::Internal && error.blame == Blame::Client {
        true => Error {
            kind: Kind::InvalidArgument,
            ..error
        },
        false => error,
    }
}

/// A reply under status 200.
///
/// # Errors
/// One that is no message, or too long.
async fn respond(
    reply: Reply,
    of_request: Option<Coding>,
    maker: &CallMaker<'_>,
) -> Result<Response<ReplyBody>, Error> {
    let (codec, asker) = (maker.codec, maker.asker);
    let mut fields = metadata::leading(&reply.headers);
    let (message, trailers) = one_of(reply, codec, asker).await?;
    if let Some(trailers) = trailers {
        metadata::append_prefixed(&mut fields, &trailers);
    }
    let content_type = HeaderValue::from_static(codec.unary_type());
    fields.insert(header::CONTENT_TYPE, content_type);
    let headers = &maker.head.headers;
    let coding = coding::of_reply(headers, ACCEPT_ENCODING, of_request, asker.config);
    let (message, coding) = packed(message, coding, asker).await?;
    if let Some(coding) = coding {
        let name = HeaderValue::from_static(coding.name());
        fields.insert(header::CONTENT_ENCODING, name);
    }
    let mut response = Response::new(ReplyBody::whole(attach(message, asker.bytes)?));
    *response.headers_mut() = fields;
    Ok(response)
}

/// The one message of a reply, and what follows it.
async fn one_of(
    reply: Reply,
    codec: Codec,
    asker: &RouteAsker<'_>,
) -> Result<(Bytes, Option<Headers>), Error> {
    let limits = MessageLimits::of_replies(asker.config);
    let empty = || Bytes::from_static(codec.empty_message());
    let (message, trailers) = match reply.body {
        Body::Empty => (empty(), None),
        Body::One(message) => (message, None),
        Body::Messages(mut messages) => {
            let message = messages.next().await.transpose()?;
            if messages.next().await.transpose()?.is_some() {
                let told = "a unary call has one message for its reply, and there are more";
                return Err(Error::new(Kind::Internal, Blame::Upstream, told));
            }
            (message.unwrap_or_else(empty), messages.trailers())
        }
        body @ Body::Octets(_) => limits.collect(body).await?,
    };
    limits.check(message.len())?;
    Ok((message, trailers))
}

/// A message in the coding of its reply; as it is where it is short, and where the connection has no room for a
/// coder.
async fn packed(
    message: Bytes,
    coding: Option<Coding>,
    asker: &RouteAsker<'_>,
) -> Result<(Bytes, Option<Coding>), Error> {
    let is_long = message.len() >= asker.config.grpc.packed_bytes_min;
    let Some(coding) = coding.filter(|_| is_long) else {
        return Ok((message, None));
    };
    let Ok(mut packing) = Packing::new(message.clone(), coding, asker.bytes) else {
        return Ok((message, None));
    };
    let packed = poll_fn(|cx| packing.poll(cx)).await?;
    Ok((packed, Some(coding)))
}

/// In which codings a client takes its reply.
const ACCEPT_ENCODING: &str = "accept-encoding";
