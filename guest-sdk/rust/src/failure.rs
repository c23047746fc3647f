//! Why a call failed: one of sixteen kinds, a text for people, details for programs.

use std::fmt;

/// What went wrong, in the field's standard terms (the sixteen kinds of gRPC). Every front maps it
/// to its own status; the HTTP numbers are given here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 499
    Cancelled,
    /// 500
    Unknown,
    /// 400
    InvalidArgument,
    /// 504
    DeadlineExceeded,
    /// 404
    NotFound,
    /// 409
    AlreadyExists,
    /// 403
    PermissionDenied,
    /// 429
    ResourceExhausted,
    /// 400
    FailedPrecondition,
    /// 409
    Aborted,
    /// 400
    OutOfRange,
    /// 501
    Unimplemented,
    /// 500
    Internal,
    /// 503
    Unavailable,
    /// 500
    DataLoss,
    /// 401
    Unauthenticated,
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: Kind,
    /// For people: lower case, naming the value and the limit.
    pub message: String,
    /// For programs: one JSON value, shown to the caller beside the message.
    pub details: Option<String>,
}

impl Kind {
    /// Every kind, in the order of its gRPC number (1 to 16).
    pub const ALL: [Self; 16] = [
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The name on every wire and in every log: `not-found`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::InvalidArgument => "invalid-argument",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::PermissionDenied => "permission-denied",
            Self::ResourceExhausted => "resource-exhausted",
            Self::FailedPrecondition => "failed-precondition",
            Self::Aborted => "aborted",
            Self::OutOfRange => "out-of-range",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data-loss",
            Self::Unauthenticated => "unauthenticated",
        }
    }

    /// The kind of that name, as `name` spells it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Failure {
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            details: None,
        }
    }

    /// Adds a JSON value for programs. A value that serde cannot write is left out.
    #[must_use]
    pub fn with_details(self, details: &impl serde::Serialize) -> Self {
        Self {
            details: serde_json::to_string(details).ok(),
            ..self
        }
    }

    /// The caller sent something that cannot be served.
    #[must_use]
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArgument, message)
    }

    /// Nothing has that name.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Something has that name.
    #[must_use]
    pub fn already_exists(message: impl Into<String>) -> Self {
        Self::new(Kind::AlreadyExists, message)
    }

    /// The caller is known and may not.
    #[must_use]
    pub fn permission_denied(message: impl Into<String>) -> Self {
        Self::new(Kind::PermissionDenied, message)
    }

    /// The caller is not known.
    #[must_use]
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(Kind::Unauthenticated, message)
    }

    /// A quota is used up.
    #[must_use]
    pub fn resource_exhausted(message: impl Into<String>) -> Self {
        Self::new(Kind::ResourceExhausted, message)
    }

    /// The request is well formed, but the present state does not allow it.
    #[must_use]
    pub fn failed_precondition(message: impl Into<String>) -> Self {
        Self::new(Kind::FailedPrecondition, message)
    }

    /// Somebody else was faster; the caller may try again from the start.
    #[must_use]
    pub fn aborted(message: impl Into<String>) -> Self {
        Self::new(Kind::Aborted, message)
    }

    /// A number or a position lies outside of what there is.
    #[must_use]
    pub fn out_of_range(message: impl Into<String>) -> Self {
        Self::new(Kind::OutOfRange, message)
    }

    /// There is no such operation here.
    #[must_use]
    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(Kind::Unimplemented, message)
    }

    /// Nobody can answer at present.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// The time that the caller gave is over.
    #[must_use]
    pub fn deadline_exceeded(message: impl Into<String>) -> Self {
        Self::new(Kind::DeadlineExceeded, message)
    }

    /// The plugin itself is broken.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// What was stored cannot be read.
    #[must_use]
    pub fn data_loss(message: impl Into<String>) -> Self {
        Self::new(Kind::DataLoss, message)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Failure {}

/// Text that cannot be read is the caller's fault; the message has line and column.
impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        match error.classify() {
            serde_json::error::Category::Io => Self::internal(error.to_string()),
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Data
            | serde_json::error::Category::Eof => Self::invalid_argument(error.to_string()),
        }
    }
}

impl From<std::num::ParseIntError> for Failure {
    fn from(error: std::num::ParseIntError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

impl From<std::num::ParseFloatError> for Failure {
    fn from(error: std::num::ParseFloatError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

impl From<std::str::Utf8Error> for Failure {
    fn from(error: std::str::Utf8Error) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

impl From<std::string::FromUtf8Error> for Failure {
    fn from(error: std::string::FromUtf8Error) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_json_is_an_invalid_argument_with_its_place() {
        let error = serde_json::from_str::<u8>("\n  x").unwrap_err();
        let failure = Failure::from(error);
        assert_eq!(
            failure.to_string(),
            "invalid-argument: expected value at line 2 column 3"
        );
    }

    #[test]
    fn kinds_are_found_by_their_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::from_name("NotFound"), None);
    }

    #[test]
    fn details_are_json() {
        let failure = Failure::out_of_range("page 9 of 3").with_details(&[9, 3]);
        assert_eq!(failure.details.as_deref(), Some("[9,3]"));
    }

    #[test]
    fn unreadable_numbers_and_text_are_invalid_arguments() {
        let octets = vec![0xff];
        let failures: [Failure; 4] = [
            "x".parse::<i32>().unwrap_err().into(),
            "x".parse::<f64>().unwrap_err().into(),
            str::from_utf8(&octets).unwrap_err().into(),
            String::from_utf8(octets.clone()).unwrap_err().into(),
        ];
        for failure in failures {
            assert_eq!(failure.kind, Kind::InvalidArgument, "{failure}");
        }
    }
}
