//! Whether an instance is well, by `grpc.health.v1.Health/Check` (`grpc/doc/health-checking.md`).

use postern_core::{Blame, Call, Error, Kind, service::CallKind};
use prost::Message;

use super::{GrpcUpstream, request::protobuf_headers};

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    pub(super) service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

/// Asks about `service`; all of the server, where that is empty.
///
/// # Errors
/// Why it is not well: it says so, it does not know the service, or it does not answer. A server without
/// `grpc.health.v1` is there, and that is all that can be asked of it.
pub(super) async fn check(upstream: &GrpcUpstream, service: &str) -> Result<(), Error> {
    let question = HealthCheckRequest {
        service: service.to_owned(),
    };
    let mut call = Call::unary(SERVICE, "Check", question.encode_to_vec());
    call.headers = protobuf_headers();
    let answered = upstream.call_of_kind(call, Some(CallKind::Unary)).await;
    let reply = match answered {
        Ok(reply) => reply,
        Err(error) if error.kind == Kind::Unimplemented => return Ok(()),
        Err(error) => return Err(error),
    };
    let answer = reply.body.into_one(ANSWER_BYTES_MAX).await?;
    let answer = HealthCheckResponse::decode(answer);
    let status = answer.map_or(UNKNOWN, |answer| answer.status);
    if status == SERVING {
        return Ok(());
    }
    let of = match service {
        "" => "itself".to_owned(),
        service => format!("{service:?}"),
    };
    let address = upstream.address();
    let message = format!("{address} says of {of}: {}", status_name(status));
    Err(Error::unavailable(Blame::Upstream, message))
}

fn status_name(status: i32) -> String {
    match status {
        UNKNOWN => "UNKNOWN".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => format!("status {other}"),
    }
}

const SERVICE: &str = "grpc.health.v1.Health";
/// `grpc.health.v1.HealthCheckResponse.ServingStatus`.
const UNKNOWN: i32 = 0;
const SERVING: i32 = 1;
/// An answer is two octets; more is no answer.
const ANSWER_BYTES_MAX: usize = 1024;
