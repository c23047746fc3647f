//! What became of a forwarded call, as the response that its client reads.
//!
//! | the call ended with | status |
//! | --- | --- |
//! | a reply | its own |
//! | `unavailable`: nobody was there, nothing was sent | 503 |
//! | `unavailable` after the request was sent, and what is no HTTP | 502 |
//! | `deadline-exceeded` | 504 |
//! | any other error | that of its kind |

use http::{Method, Response, StatusCode, Version, request};
use postern_core::{Blame, Body, Error, HttpStatus, Kind, Reply, Retry};

use super::{inbound::Asked, tunnel};
use crate::http::{
    HttpConfig,
    activity::InFlight,
    answer::Asker,
    reply::{self, ReplyBody},
};

/// The response to `head`, of a call that was read as `asked`. A client that asked to go on in another
/// protocol, and is told so, goes on.
pub(in crate::http) fn response(
    outcome: Result<Reply, Error>,
    asked: Asked,
    head: &mut request::Parts,
    config: &HttpConfig,
    asker: &Asker,
    in_flight: &InFlight,
) -> Response<ReplyBody> {
    let mut reply = match outcome {
        Ok(reply) => reply,
        Err(error) => return reply::refusal(status(&error), &error),
    };
    drop(asked.held);
    if reply.status != Some(HttpStatus::SWITCHING_PROTOCOLS) {
        if head.method == Method::HEAD {
            reply.body = Body::Empty;
        }
        return reply::success(reply, false, &asker.bytes);
    }
    let Some(from_client) = asked.from_client else {
        let message = "the upstream goes on in a protocol that nobody asked for";
        let error = Error::new(Kind::Internal, Blame::Upstream, message);
        return reply::refusal(StatusCode::BAD_GATEWAY, &error);
    };
    let to_client = std::mem::take(&mut reply.body).into_octets();
    reply.status = None;
    let protocol = reply.headers.get_bytes(b"upgrade");
    let mut response = reply::success(reply, false, &asker.bytes);
    if let Some(protocol) =
        protocol.and_then(|octets| http::HeaderValue::from_maybe_shared(octets).ok())
    {
        response
            .headers_mut()
            .insert(http::header::UPGRADE, protocol);
    }
    if head.version >= Version::HTTP_2 {
        // It is the answer to a key that the client has not sent.
        response.headers_mut().remove("sec-websocket-accept");
    }
    let go_on = tunnel::go_on(from_client, to_client, config.write_timeout);
    asker.upgrades.grant(head, in_flight, &mut response, go_on);
    response
}

/// The status of a call that failed.
fn status(error: &Error) -> StatusCode {
    let is_of_upstream = error.blame == Blame::Upstream;
    let is_broken = match error.kind {
        Kind::Internal | Kind::Unknown | Kind::DataLoss => true,
        Kind::Unavailable => error.retry == Retry::IfIdempotent,
        Kind::Cancelled
        | Kind::InvalidArgument
        | Kind::DeadlineExceeded
        | Kind::NotFound
        | Kind::AlreadyExists
        | Kind::PermissionDenied
        | Kind::ResourceExhausted
        | Kind::FailedPrecondition
        | Kind::Aborted
        | Kind::OutOfRange
        | Kind::Unimplemented
        | Kind::Unauthenticated => false,
    };
    if is_of_upstream && is_broken {
        return StatusCode::BAD_GATEWAY;
    }
    // `Error::http` gives numbers that are all legal statuses.
    StatusCode::from_u16(error.http()).unwrap_or(StatusCode::BAD_GATEWAY)
}
