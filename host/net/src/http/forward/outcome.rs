//! What became of a forwarded call, as the response that its client reads.
//!
//! | the call ended with | status |
//! | --- | --- |
//! | a reply | its own |
//! | `unavailable`: nobody was there, nothing was sent | 503 |
//! | `unavailable` after the request was sent, and what is no HTTP | 502 |
//! | `deadline-exceeded` | 504 |
//! | a body of the client that ends early, or is no body | 400 |
//! | any other error | that of its kind |

use http::{HeaderValue, Method, Response, StatusCode, Version, header, request};
use postern_core::{Blame, Error, HttpStatus, Kind, Reply, Retry};

use super::{inbound::Asked, tunnel};
use crate::http::{
    reply::{self, ReplyBody, ReplyTo},
    request::Refusal,
    routes::asker::RouteAsker,
    upgrade::Upgrade,
};

/// The response to `head`, of a call that was read as `asked`. A client that asked to go on in another
/// protocol, and is told so, goes on.
///
/// # Errors
/// What the call failed with.
pub(in crate::http) fn response(
    outcome: Result<Reply, Error>,
    asked: Asked,
    head: &mut request::Parts,
    asker: &RouteAsker<'_>,
) -> Result<Response<ReplyBody>, Refusal> {
    let mut reply = outcome.map_err(refusal)?;
    drop(asked.held);
    let to = ReplyTo {
        is_head: head.method == Method::HEAD,
        ..ReplyTo::default()
    };
    if reply.status != Some(HttpStatus::SWITCHING_PROTOCOLS) {
        return Ok(reply::success(reply, to, asker.bytes)?);
    }
    let Some(from_client) = asked.from_client else {
        let message = "the upstream goes on in a protocol that nobody asked for";
        return Err(refusal(Error::new(
            Kind::Internal,
            Blame::Upstream,
            message,
        )));
    };
    let to_client = std::mem::take(&mut reply.body).into_octets();
    reply.status = None;
    let protocol = reply.headers.get_bytes(b"upgrade");
    let mut response = reply::success(reply, to, asker.bytes)?;
    let headers = response.headers_mut();
    if head.version < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        let protocol = protocol.and_then(|octets| HeaderValue::from_maybe_shared(octets).ok());
        if let Some(protocol) = protocol.or_else(|| head.headers.get(header::UPGRADE).cloned()) {
            headers.insert(header::UPGRADE, protocol);
        }
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    } else {
        // It is the answer to a key that the client has not sent.
        headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    }
    let serve = tunnel::serve(from_client, to_client, asker.config.write_timeout);
    let upgrade = Upgrade::new(head, asker.in_flight, serve);
    // An error says that the connection has gone.
    let _ = asker.connection.upgrades.send(upgrade);
    Ok(response)
}

fn refusal(error: Error) -> Refusal {
    Refusal::new(status(&error), error)
}

/// The status of a call that failed.
fn status(error: &Error) -> StatusCode {
    if error.blame == Blame::Client && error.kind == Kind::Cancelled {
        return StatusCode::BAD_REQUEST;
    }
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
