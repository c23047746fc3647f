//! A `Reply` or an `Error` as a response of gRPC: a head with the initial metadata, messages in frames,
//! and trailers with the status. A call that failed before anything was sent has its status in the head,
//! which is all there is ("Trailers-Only").

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Frame;
use postern_core::{Error, Headers, Kind, Reply};

use super::{
    call::{ACCEPT_ENCODING, ENCODING},
    coding::{self, ACCEPTED, AcceptedCodings},
    content_type::{Framing, GrpcContent},
    metadata,
    reply_frames::{FrameForm, ReplyEnd, ReplyFrames},
    status::{self, StatusDetails},
    web::{self, WebReply},
};
use crate::{
    ConnectionBytes,
    http::{compression::Coding, config::GrpcConfig, reply::ReplyBody},
};

/// How a client is to get a reply.
pub(in crate::http) struct GrpcReply<'a> {
    pub(in crate::http) content: &'a GrpcContent,
    pub(in crate::http) config: &'a GrpcConfig,
    pub(in crate::http) details: &'a Arc<dyn StatusDetails>,
    pub(in crate::http) bytes: &'a ConnectionBytes,
    /// Of the messages of the request.
    pub(in crate::http) coding: Option<Coding>,
    pub(in crate::http) accepted: AcceptedCodings,
}

/// The status of a call in trailers, behind those of its handler.
struct StatusEnd {
    details: Arc<dyn StatusDetails>,
}

impl GrpcReply<'_> {
    /// The response to a call.
    pub(in crate::http) fn respond(&self, outcome: Result<Reply, Error>) -> Response<ReplyBody> {
        match outcome {
            Ok(reply) => self.success(reply),
            Err(error) => refuse(self.content, &error, &**self.details),
        }
    }

    fn success(&self, reply: Reply) -> Response<ReplyBody> {
        let wanted = reply.headers.get(ENCODING.as_bytes());
        let wanted = wanted.map(|name| str::from_utf8(&name).ok().and_then(Coding::from_name));
        let offered = &self.config.encodings;
        let coding = coding::reply_coding(wanted, self.coding, offered, self.accepted);
        let mut headers = metadata::to_map(&reply.headers);
        if let Some(coding) = coding {
            headers.insert(ENCODING, HeaderValue::from_static(coding.name()));
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED));
        let mut form = FrameForm::of(self.config, coding, self.bytes);
        if wanted.is_some() {
            // Whoever names a coding means every message.
            form.packed_bytes_min = 0;
        }
        let details = Arc::clone(self.details);
        let frames = ReplyFrames::new(reply.body, form, StatusEnd { details });
        self.response(headers, frames)
    }

    fn response(
        &self,
        mut headers: HeaderMap,
        frames: ReplyFrames<StatusEnd>,
    ) -> Response<ReplyBody> {
        headers.insert(header::CONTENT_TYPE, self.content.of_reply());
        let body = match self.content.reply {
            Framing::Http2 => ReplyBody::framed(frames),
            Framing::Web => ReplyBody::framed(WebReply::new(frames, false)),
            Framing::WebText => ReplyBody::framed(WebReply::new(frames, true)),
        };
        let mut response = Response::new(body);
        *response.headers_mut() = headers;
        response
    }
}

/// The response to a call that failed before anything of its reply was sent, or was refused.
pub(in crate::http) fn refuse(
    content: &GrpcContent,
    error: &Error,
    details: &dyn StatusDetails,
) -> Response<ReplyBody> {
    let mut trailers = status::failed(error, details);
    if error.kind == Kind::Unimplemented {
        trailers.insert(ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED));
    }
    let (mut headers, body) = match content.reply {
        Framing::Http2 => (trailers, Bytes::new()),
        // A page may not be shown the fields of a head.
        Framing::Web => (HeaderMap::new(), web::last_frame(&trailers, false)),
        Framing::WebText => (HeaderMap::new(), web::last_frame(&trailers, true)),
    };
    headers.insert(header::CONTENT_TYPE, content.of_reply());
    let mut response = Response::new(ReplyBody::whole(body));
    *response.headers_mut() = headers;
    response
}

impl ReplyEnd for StatusEnd {
    fn success(&self, trailers: Option<&Headers>) -> Frame<Bytes> {
        let mut status = status::ok();
        if let Some(of_handler) = trailers {
            metadata::append(&mut status, of_handler);
        }
        Frame::trailers(status)
    }

    fn failure(&self, error: &Error) -> Frame<Bytes> {
        Frame::trailers(status::failed(error, &*self.details))
    }
}
