//! The codes of errors (Connect protocol, "Error Codes"). Their statuses are those that the kinds have
//! everywhere (`core::error`, `host/docs/errors.md`).

use postern_core::Kind;

/// The code of a kind.
pub(super) const fn of(kind: Kind) -> &'static str {
    match kind {
        Kind::Cancelled => "canceled",
        Kind::Unknown => "unknown",
        Kind::InvalidArgument => "invalid_argument",
        Kind::DeadlineExceeded => "deadline_exceeded",
        Kind::NotFound => "not_found",
        Kind::AlreadyExists => "already_exists",
        Kind::PermissionDenied => "permission_denied",
        Kind::ResourceExhausted => "resource_exhausted",
        Kind::FailedPrecondition => "failed_precondition",
        Kind::Aborted => "aborted",
        Kind::OutOfRange => "out_of_range",
        Kind::Unimplemented => "unimplemented",
        Kind::Internal => "internal",
        Kind::Unavailable => "unavailable",
        Kind::DataLoss => "data_loss",
        Kind::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the protocol.
    const STATUSES: [(&str, u16); 16] = [
        ("canceled", 499),
        ("unknown", 500),
        ("invalid_argument", 400),
        ("deadline_exceeded", 504),
        ("not_found", 404),
        ("already_exists", 409),
        ("permission_denied", 403),
        ("resource_exhausted", 429),
        ("failed_precondition", 400),
        ("aborted", 409),
        ("out_of_range", 400),
        ("unimplemented", 501),
        ("internal", 500),
        ("unavailable", 503),
        ("data_loss", 500),
        ("unauthenticated", 401),
    ];

    #[test]
    fn every_kind_has_the_code_and_the_status_of_the_protocol() {
        let told = Kind::ALL.map(|kind| (of(kind), kind.http()));
        assert_eq!(told, STATUSES);
    }
}
