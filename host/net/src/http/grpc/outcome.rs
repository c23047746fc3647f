//! What came of a call, as clients of remote procedures are told it: a reply, or a failure of a kind.

use postern_core::{
    Body, BodyStream, Error, HttpStatus, Kind, Reply,
    service::{CallKind, MethodInfo},
};

use crate::http::reply::read_error;

/// The reply of a call, or its failure.
///
/// A service or method that is not known is `unimplemented` to clients of gRPC
/// (`grpc/doc/statuscodes.md`); what a handler does not find stays `not-found`. A reply under a status
/// that HTTP has for failures is one. Of a method that streams its replies an empty body is none.
///
/// # Errors
/// The failure.
pub(in crate::http) async fn judged(
    outcome: Result<Reply, Error>,
    info: Option<&MethodInfo>,
) -> Result<Reply, Error> {
    let mut reply =
        outcome.map_err(
            |error| match error.kind == Kind::NotFound && info.is_none() {
                true => Error {
                    kind: Kind::Unimplemented,
                    ..error
                },
                false => error,
            },
        )?;
    let kind = info.and_then(|info| info.kind);
    let is_streamed = matches!(kind, Some(CallKind::ServerStream | CallKind::Bidirectional));
    if is_streamed && matches!(reply.body, Body::Empty) {
        reply.body = Body::Messages(BodyStream::empty());
    }
    match reply.status.map(HttpStatus::number) {
        Some(number @ 400..) => Err(error_of_status(number, reply).await),
        Some(_) | None => Ok(reply),
    }
}

/// The failure that a reply is whose handler has set a status of HTTP.
async fn error_of_status(number: u16, reply: Reply) -> Error {
    let read = reply.body.into_one(ERROR_BYTES_MAX).await;
    let body = read.unwrap_or_default();
    let status = http::StatusCode::from_u16(number).ok();
    read_error(Kind::from_http(number), status, &body)
}

/// Longest body of a reply with a failing status that is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;
