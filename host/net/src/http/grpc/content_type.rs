//! What the content type of a request says of its call: how messages are framed, and what they are.
//! `grpc/doc/PROTOCOL-HTTP2.md` and `PROTOCOL-WEB.md`, "Content-Type". Pure.
//!
//! | content type | messages come | trailers go |
//! | --- | --- | --- |
//! | `application/grpc[+FORM]` | as they are, over HTTP/2 | in a head of their own |
//! | `application/grpc-web[+FORM]` | as they are | in the last frame |
//! | `application/grpc-web-text[+FORM]` | in base64 | in the last frame, in base64 |
//!
//! FORM is what a message is: `proto`, where it is left out, or `json`, or another word. A message of
//! `application/grpc+WORD` is `application/WORD` at the joint.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, header};

use crate::http::media_type;

/// How messages are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Framing {
    Http2,
    Web,
    WebText,
}

/// What a request and its reply are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct GrpcContent {
    pub(in crate::http) request: Framing,
    pub(in crate::http) reply: Framing,
    /// What a message is, where it is not said: `json`. In lower case.
    form: Option<String>,
}

/// A content type of gRPC that is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "content type {media:?} is not accepted; send application/grpc, application/grpc-web or \
     application/grpc-web-text, each with +proto, +json or nothing"
)]
pub(in crate::http) struct UnknownContent {
    media: String,
}

impl GrpcContent {
    /// Of a request with `headers`; `None` where it is none of gRPC.
    ///
    /// # Errors
    /// A content type that begins as those of gRPC do.
    pub(in crate::http) fn of(headers: &HeaderMap) -> Result<Option<Self>, UnknownContent> {
        let value = headers.get(header::CONTENT_TYPE);
        let Some(value) = value.and_then(|value| value.to_str().ok()) else {
            return Ok(None);
        };
        let begins = value.get(..PREFIX.len());
        if !begins.is_some_and(|begin| begin.eq_ignore_ascii_case(PREFIX)) {
            return Ok(None);
        }
        let media = media_type(value).to_ascii_lowercase();
        let Some((request, form)) = parse(&media) else {
            let media = media.chars().take(SHOWN_CHARS_MAX).collect();
            return Err(UnknownContent { media });
        };
        Ok(Some(Self {
            request,
            reply: wanted(headers, request),
            form: form.map(str::to_owned),
        }))
    }

    /// Whether it is gRPC-Web.
    pub(in crate::http) const fn is_web(&self) -> bool {
        match self.request {
            Framing::Http2 => false,
            Framing::Web | Framing::WebText => true,
        }
    }

    /// Whether its messages are neither protobuf nor JSON.
    pub(in crate::http) fn is_foreign_form(&self) -> bool {
        !matches!(self.form.as_deref(), None | Some("proto" | "json"))
    }

    /// Says that it is not taken.
    pub(in crate::http) fn into_unknown(self) -> UnknownContent {
        let (framing, form) = (self.request.media(), self.form.unwrap_or_default());
        UnknownContent {
            media: format!("{framing}+{form}"),
        }
    }

    /// What a message is at the joint.
    pub(in crate::http) fn of_message(&self) -> Cow<'static, str> {
        match self.form.as_deref() {
            None | Some("proto") => "application/protobuf".into(),
            Some("json") => "application/json".into(),
            Some(form) => format!("application/{form}").into(),
        }
    }

    /// The content type of the reply: of the same form.
    pub(in crate::http) fn of_reply(&self) -> HeaderValue {
        let framing = self.reply.media();
        let Some(form) = &self.form else {
            return HeaderValue::from_static(framing);
        };
        // A form has letters and digits only.
        HeaderValue::from_str(&format!("{framing}+{form}"))
            .unwrap_or_else(|_| HeaderValue::from_static(framing))
    }
}

impl Framing {
    const ALL: [Self; 3] = [Self::Http2, Self::Web, Self::WebText];

    const fn media(self) -> &'static str {
        match self {
            Self::Http2 => PREFIX,
            Self::Web => "application/grpc-web",
            Self::WebText => "application/grpc-web-text",
        }
    }
}

/// Framing and form of a media type in lower case.
fn parse(media: &str) -> Option<(Framing, Option<&str>)> {
    let (framing, form) = match media.split_once('+') {
        Some((framing, form)) => (framing, Some(form)),
        None => (media, None),
    };
    let is_word = |form: &str| {
        let is_of_word = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
        !form.is_empty() && form.len() <= FORM_BYTES_MAX && form.bytes().all(is_of_word)
    };
    let framing = Framing::ALL
        .into_iter()
        .find(|one| one.media() == framing)?;
    form.is_none_or(is_word).then_some((framing, form))
}

/// The framing of a reply to a request of gRPC-Web: what `accept` names, else that of the request.
fn wanted(headers: &HeaderMap, request: Framing) -> Framing {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok());
    let named = accept.and_then(|accept| parse(&media_type(accept).to_ascii_lowercase())?.0.into());
    match (request, named) {
        (Framing::Http2, _) => Framing::Http2,
        (Framing::Web | Framing::WebText, Some(named @ (Framing::Web | Framing::WebText))) => named,
        (Framing::Web | Framing::WebText, Some(Framing::Http2) | None) => request,
    }
}

const PREFIX: &str = "application/grpc";
/// Longest form; those that are known are short.
const FORM_BYTES_MAX: usize = 32;
const SHOWN_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &str, accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = |text| HeaderValue::from_str(text).expect("a value");
        headers.insert(header::CONTENT_TYPE, value(content_type));
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, value(accept));
        }
        headers
    }

    #[track_caller]
    fn check(content_type: &str, accept: &str, request: Framing, message: &str, reply: &str) {
        let content = GrpcContent::of(&headers(content_type, accept));
        let content = content.expect("known").expect("of gRPC");
        assert_eq!(content.request, request);
        assert_eq!(content.of_message(), message);
        assert_eq!(content.of_reply(), reply);
    }

    #[test]
    fn framing_and_form_are_read() {
        let (http2, web, text) = (Framing::Http2, Framing::Web, Framing::WebText);
        let protobuf = "application/protobuf";
        for content_type in ["application/grpc", "Application/GRPC; charset=utf-8"] {
            check(content_type, "", http2, protobuf, "application/grpc");
        }
        let proto = "application/grpc+proto";
        check(proto, "", http2, protobuf, proto);
        let json = "application/grpc+json";
        check(json, "", http2, "application/json", json);
        let thrift = "application/grpc+thrift";
        check(thrift, "", http2, "application/thrift", thrift);
        let proto = "application/grpc-web+proto";
        check(proto, "*/*", web, protobuf, proto);
        let plain = "application/grpc-web-text";
        check(plain, "", text, protobuf, plain);
        check(
            proto,
            plain,
            web,
            protobuf,
            "application/grpc-web-text+proto",
        );
        check(
            plain,
            "application/grpc-web",
            text,
            protobuf,
            "application/grpc-web",
        );
    }

    #[test]
    fn what_only_begins_so_is_refused_and_all_else_is_not_ours() {
        for content_type in [
            "application/grpcx",
            "application/grpc-webby",
            "application/grpc+",
            "application/grpc+a b",
            "application/grpc-web-text+proto/x",
        ] {
            assert!(
                GrpcContent::of(&headers(content_type, "")).is_err(),
                "{content_type}"
            );
        }
        for content_type in ["application/json", "application", "text/grpc"] {
            assert_eq!(GrpcContent::of(&headers(content_type, "")), Ok(None));
        }
        assert_eq!(GrpcContent::of(&HeaderMap::new()), Ok(None));
    }
}
