//! Errors as reasons of MQTT.

use postern_core::{Error, Kind, mqtt::Reason};
use postern_net::mqtt::MqttRefusal;

/// What a client is told of a publish that was not taken (MQTT 5 section 3.4.2.1).
pub(super) fn refusal(error: &Error) -> MqttRefusal {
    let reason = match error.kind {
        Kind::PermissionDenied | Kind::Unauthenticated => Reason::NOT_AUTHORIZED,
        Kind::ResourceExhausted => Reason::QUOTA_EXCEEDED,
        Kind::Cancelled
        | Kind::InvalidArgument
        | Kind::NotFound
        | Kind::AlreadyExists
        | Kind::FailedPrecondition
        | Kind::Aborted
        | Kind::OutOfRange
        | Kind::Unimplemented => Reason::IMPLEMENTATION_SPECIFIC,
        Kind::Unknown
        | Kind::DeadlineExceeded
        | Kind::Internal
        | Kind::Unavailable
        | Kind::DataLoss => Reason::UNSPECIFIED,
    };
    MqttRefusal::new(reason, error.to_string())
}
