//! A failed call as a response (Connect protocol, "Unary-Response", "Streaming-Response").
//!
//! | request | response |
//! | --- | --- |
//! | unary | the status of the error's code, and the error in JSON |
//! | of envelopes | 200, and one envelope with the error |
//! | either, of a content type, a method or a version of HTTP that is not served | 415, 405, 505 |

use http::{HeaderValue, Method, Response, StatusCode, header};
use postern_core::{Blame, Error, Kind};

use super::{
    code,
    codec::CONTENT_TYPES,
    detect::{ConnectRequest, RequestForm},
    error, metadata, streaming,
};
use crate::http::{
    grpc::StatusDetails,
    problem::ErrorForm,
    reply::{self, ReplyBody},
    request::{Refusal, RefusalDetail},
};

/// Tells a client why its request is not taken, or its call failed.
pub(in crate::http) fn refuse(
    request: &ConnectRequest,
    refusal: Refusal,
    details: &dyn StatusDetails,
) -> Response<ReplyBody> {
    match request.form {
        RequestForm::Stream(codec) if !is_told_by_status(&refusal) => {
            streaming::failure(codec, &refusal.error, details)
        }
        RequestForm::Stream(_)
        | RequestForm::Unary(_)
        | RequestForm::Get(_)
        | RequestForm::Strange(_) => of_unary(refusal, details),
    }
}

/// The response under the status of the error's code. What is too large has that of its kind, and not 413:
/// clients of the protocol compare the two.
fn of_unary(refusal: Refusal, details: &dyn StatusDetails) -> Response<ReplyBody> {
    let (status, code) = status_and_code(&refusal);
    let mut error = refusal.error;
    let metadata = error.headers.take();
    let mut response = reply::refusal(status, &error, ErrorForm::default());
    *response.body_mut() = ReplyBody::whole(error::to_json(code, &error, details));
    let headers = response.headers_mut();
    if let Some(RefusalDetail::Allow(allow)) = refusal.detail.map(|detail| *detail) {
        headers.insert(header::ALLOW, allow);
    }
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        headers.insert(ACCEPT_POST, HeaderValue::from_static(CONTENT_TYPES));
    }
    if let Some(metadata) = metadata {
        metadata::append_missing(headers, &metadata);
    }
    response
}

fn status_and_code(refusal: &Refusal) -> (StatusCode, &'static str) {
    if is_told_by_status(refusal) {
        return (refusal.status, code::of(Kind::Unknown));
    }
    let kind = refusal.error.kind;
    // The statuses of kinds are all legal.
    let status = StatusCode::from_u16(kind.http()).unwrap_or(StatusCode::BAD_GATEWAY);
    (status, code::of(kind))
}

/// Whether the status says what no code does, for streams as well. Beside it stands the code that clients
/// make of it (Connect protocol, "HTTP to Error Code").
fn is_told_by_status(refusal: &Refusal) -> bool {
    matches!(
        refusal.status,
        StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::HTTP_VERSION_NOT_SUPPORTED
    )
}

/// Of a body whose messages nobody here can read.
pub(super) fn strange_type(content_type: &str) -> Refusal {
    let shown = shortened(content_type);
    unsupported(format!(
        "content type {shown:?} is not of Connect; send one of {CONTENT_TYPES}"
    ))
}

/// Of a query whose message nobody here can read.
pub(super) fn strange_codec(name: &str) -> Refusal {
    let shown = shortened(name);
    unsupported(format!(
        "encoding {shown:?} is no codec; send json or proto"
    ))
}

/// Of a method that takes or gives one message where the request says several, or the other way round.
pub(super) fn wrong_kind(method: &str, kind: &str, content_type: &str) -> Refusal {
    unsupported(format!(
        "method {method} is {kind}, which {content_type} does not carry"
    ))
}

/// Of messages in both directions at a time over a version of HTTP that has none.
pub(super) fn half_duplex(method: &str) -> Refusal {
    let message = format!("method {method} is bidirectional, which takes HTTP/2");
    let error = Error::new(Kind::Unimplemented, Blame::Client, message);
    Refusal::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, error)
}

/// Of a call by `GET` of a method that may change something.
pub(super) fn not_idempotent(method: &str) -> Refusal {
    let allow = HeaderValue::from_static("POST");
    let message = format!("method {method} is not said to be idempotent; call it by POST");
    let error = Error::new(Kind::Unimplemented, Blame::Client, message);
    Refusal {
        error,
        ..Refusal::wrong_method(&Method::GET, allow)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

fn unsupported(message: String) -> Refusal {
    let error = Error::new(Kind::Unimplemented, Blame::Client, message);
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error)
}

/// Which bodies a resource takes, with 415 (RFC 9110 section 15.5.16, and W3C LDP section 7.1).
const ACCEPT_POST: &str = "accept-post";
const SHOWN_CHARS_MAX: usize = 100;
