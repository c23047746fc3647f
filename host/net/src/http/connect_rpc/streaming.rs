//! Calls of many messages, each in an envelope, in either direction or both (Connect protocol, "Streaming
//! RPCs").
//!
//! ```text
//! body ─▶ grpc/messages.rs ─▶ call ─▶ reply ─▶ grpc/reply_frames.rs ─▶ 200
//! ```
//! The status is 200 whatever comes of the call: the last envelope says it. Over HTTP/1.1 requests and replies
//! flow as over HTTP/2, but clients read nothing before they have sent everything: what goes both ways at a
//! time is refused there where it is known.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Body as HttpBody;
use postern_core::{Body, Error, Reply, service::CallKind};

use super::{
    call::CallMaker,
    codec::Codec,
    coding,
    end_stream::{self, EndEnvelope},
    metadata,
};
use crate::http::{
    compression::Coding,
    grpc::{CallReader, FrameForm, ReplyFrames, StatusDetails},
    reply::ReplyBody,
    request::Refusal,
};

/// Answers a call of a method of `kind`, where that is known.
///
/// # Errors
/// What is wrong with the request, and what the call fails with before it is replied to; for `failure`.
pub(super) async fn answer<B>(
    maker: &CallMaker<'_>,
    kind: Option<CallKind>,
    body: B,
    details: &Arc<dyn StatusDetails>,
) -> Result<Response<ReplyBody>, Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (asker, headers) = (maker.asker, &maker.head.headers);
    let (mut call, kept) = maker.begin()?;
    let sent = coding::of_name(headers.get(CONTENT_ENCODING))?;
    let reader = CallReader {
        config: asker.config,
        peer: asker.peer,
        bytes: asker.bytes,
        kind,
    };
    call.body = reader.body(body, sent, &kept).await?;
    let reply = maker.reply(call, kept).await?;
    let coding = coding::of_reply(headers, ACCEPT_ENCODING, sent, asker.config);
    let fields = fields_of(&reply, maker.codec, coding);
    let body = match reply.body {
        Body::Empty => Body::One(Bytes::from_static(maker.codec.empty_message())),
        body @ (Body::One(_) | Body::Messages(_) | Body::Octets(_)) => body,
    };
    let form = FrameForm::of(&asker.config.grpc, coding, asker.bytes);
    let details = Arc::clone(details);
    let envelopes = ReplyFrames::new(body, form, EndEnvelope { details });
    let mut response = Response::new(ReplyBody::framed(envelopes));
    *response.headers_mut() = fields;
    Ok(response)
}

/// The response to a call that failed before it was replied to.
pub(super) fn failure(
    codec: Codec,
    error: &Error,
    details: &dyn StatusDetails,
) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(end_stream::of_failure(error, details)));
    let content_type = HeaderValue::from_static(codec.stream_type());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

fn fields_of(reply: &Reply, codec: Codec, coding: Option<Coding>) -> HeaderMap {
    let mut fields = metadata::leading(&reply.headers);
    let content_type = HeaderValue::from_static(codec.stream_type());
    fields.insert(header::CONTENT_TYPE, content_type);
    if let Some(coding) = coding {
        let name = HeaderValue::from_static(coding.name());
        fields.insert(CONTENT_ENCODING, name);
    }
    fields
}

/// How messages with flag 1 are compressed, and how those of the reply may be.
const CONTENT_ENCODING: &str = "connect-content-encoding";
const ACCEPT_ENCODING: &str = "connect-accept-encoding";
